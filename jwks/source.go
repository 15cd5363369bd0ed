package jwks

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/refreshctx"
	"github.com/everfresh-go/everfresh/internal/weburl"
)

// A KeySource finds the public key that verifies a token. [Source] and the result of
// [Failover] are KeySources.
type KeySource interface {
	// Key returns the key with this ID for this algorithm. The errors are those of
	// [Source.Key].
	Key(ctx context.Context, kid, alg string) (crypto.PublicKey, error)
}

// A Source is the key set of one issuer, kept fresh by a cache. Make one with [New],
// [FromIssuer] or [Static] and share it: a cache accepts each key set only once, and all
// users of a source share its fetches. It is safe for concurrent use. It is kept fresh until
// the cache or the source is closed. After the cache is closed, the last set stays in use;
// after [Source.Close] it does not.
//
// While a caller waits for a fetch, the end of its ctx ends the wait but not the fetch.
type Source struct {
	cfg         *config
	cache       *everfresh.Cache          // nil for a static source
	metadataKey string                    // of the resource with the metadata; "" if there is none
	keys        *everfresh.Resource[*Set] // nil for a static source
	fixed       *everfresh.Snapshot[*Set] // of a static source
	refusal     atomic.Pointer[refusal]
}

// New returns the source of the key set at a URL, which must be https. It does not wait for
// the network. The error wraps [ErrOption] or an error of everfresh.Register:
// everfresh.ErrNotAllowed for an invalid URL, everfresh.ErrRegistered if the cache has it
// already.
func New(c *everfresh.Cache, url string, opts ...Option) (*Source, error) {
	cfg, err := newConfig(c, opts)
	if err != nil {
		return nil, err
	}
	s := &Source{cfg: cfg, cache: c}
	s.keys, err = everfresh.Register(c, url, cfg.decode, cfg.resourceOptions(originOf(url))...)
	if err != nil {
		return nil, fmt.Errorf("jwks: %w", err)
	}
	return s, nil
}

// Static returns a source whose set never changes, for tests and for keys that are obtained
// in another way. A nil set counts as empty.
func Static(set *Set) *Source {
	if set == nil {
		set = new(Set)
	}
	return &Source{cfg: &config{algorithms: allAlgorithms}, fixed: &everfresh.Snapshot[*Set]{Value: set}}
}

// originOf returns the origin of a URL, or "" if the URL is invalid, which Register reports.
func originOf(rawURL string) string {
	u, err := weburl.Parse(rawURL)
	if err != nil {
		return ""
	}
	return weburl.Origin(u)
}

// decode parses the key set in a response.
func (c *config) decode(ctx context.Context, resp *http.Response) (*Set, error) {
	data, err := everfresh.Bytes()(ctx, resp)
	if err != nil {
		return nil, err
	}
	set, err := Parse(data, c.parsers...)
	if err != nil {
		return nil, err
	}
	if !c.allowEmpty && !set.usable() {
		return nil, invalidSet("no usable key")
	}
	remark(ctx, set)
	return set, nil
}

// remark reports keys that were left out to the error sink, unless they were also left out
// of the last set for the same reasons.
func remark(ctx context.Context, set *Set) {
	var known []Skipped
	if _, prev := everfresh.Received(ctx); prev != nil {
		if last, ok := prev.Value.(*Set); ok {
			known = last.skipped
		}
	}
	for _, now := range set.skipped {
		same := func(before Skipped) bool {
			return before.ID == now.ID && before.Type == now.Type && before.Err.Error() == now.Err.Error()
		}
		if !slices.ContainsFunc(known, same) {
			refreshctx.Remark(ctx, fmt.Errorf("jwks: %w", now))
		}
	}
}

// Key returns the public key with this ID (the token's kid) for this algorithm (its alg):
// an *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey, or the result of a parser of
// [WithKeyParser]. The key is shared and must not be modified. A known key is found without
// waiting, locking or allocating.
//
// For an unknown key ID the set is fetched, within the limit for such fetches. For a token
// without a key ID, kid is "": Key then returns the key for alg if there is exactly one.
//
// The error is [ErrKeyNotFound], which may be a [*RateLimitError]; [ErrAlgorithm]; or
// [ErrUnavailable], which also wraps the error of ctx if ctx has ended.
func (s *Source) Key(ctx context.Context, kid, alg string) (crypto.PublicKey, error) {
	bit := algorithmBit(alg)
	if set, ok := s.peek(); ok && s.cfg.allows(alg, bit) {
		if k := set.findFor(kid, alg, bit); k != nil {
			return k.Public, nil
		}
	}
	found, _, err := s.candidates(ctx, kid, alg)
	switch {
	case err != nil:
		return nil, err
	case kid == "" && len(found) > 1: // any of them may be the right one
		return nil, notFound(kid, alg)
	default:
		return found[0].Public, nil
	}
}

// Keys returns all public keys for this algorithm, for a token without a key ID. There is at
// least one if the error is nil. If there is none, the set is fetched, and the errors are
// those of [Source.Key]. The caller owns the slice.
func (s *Source) Keys(ctx context.Context, alg string) ([]crypto.PublicKey, error) {
	found, _, err := s.candidates(ctx, "", alg)
	if err != nil {
		return nil, err
	}
	keys := make([]crypto.PublicKey, len(found))
	for i, k := range found {
		keys[i] = k.Public
	}
	return keys, nil
}

// Set returns the key set. It waits for one fetch only if there is no set that may be used.
// The error is [ErrUnavailable].
func (s *Source) Set(ctx context.Context) (*Set, error) {
	if set, ok := s.peek(); ok {
		return set, nil
	}
	snap, err := s.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return snap.Value, nil
}

// Ready waits, despite failures, until there is a key set that may be used: the first one, or
// a new one if the last has become too old during an outage. When ctx ends, the error is
// [ErrUnavailable] and says why the last fetch failed.
func (s *Source) Ready(ctx context.Context) error {
	if s.keys == nil {
		return nil
	}
	if err := s.keys.Ready(ctx); err != nil {
		return unavailable(err)
	}
	return nil
}

// Refresh fetches a newer set from the issuer and waits for it. It counts against the limit
// for unknown key IDs, so a rotation soon afterwards may be noticed 15 s late. Any number of
// concurrent calls cause at most two fetches. The error is a [*RateLimitError] or
// [ErrUnavailable]. It does nothing for a static source.
func (s *Source) Refresh(ctx context.Context) error {
	if s.keys == nil {
		return nil
	}
	_, err := s.newer(ctx, s.keys.Snapshot())
	return err
}

// Close removes the source from its cache, for a program whose issuers come and go. Another
// source for the same issuer or URL can then be made. Stored records stay. Afterwards the
// source has no keys, and calls return [ErrUnavailable]. Close need not be called before the
// cache is closed, and may be called more than once.
func (s *Source) Close() error {
	if s.keys == nil {
		return nil
	}
	err := s.cache.Unregister(s.keys.Key())
	if s.metadataKey != "" {
		err = errors.Join(err, s.cache.Unregister(s.metadataKey))
	}
	if err != nil && !errors.Is(err, everfresh.ErrNotRegistered) {
		return fmt.Errorf("jwks: %w", err)
	}
	return nil
}

// Status returns the status of the key set's resource in the cache. The status of a static
// source only says that it is ready.
func (s *Source) Status() everfresh.Status {
	if s.keys == nil {
		return everfresh.Status{Ready: true}
	}
	return s.keys.Status()
}

func (s *Source) peek() (*Set, bool) {
	if s.keys == nil {
		return s.fixed.Value, true
	}
	return s.keys.Peek()
}

// candidates returns the keys that may have signed a token, at least one, and their snapshot.
// If there are none, it fetches a newer set.
func (s *Source) candidates(ctx context.Context, kid, alg string) ([]*Key, *everfresh.Snapshot[*Set], error) {
	switch {
	case !s.cfg.allows(alg, algorithmBit(alg)):
		return nil, nil, fmt.Errorf("jwks: %w: %q", ErrAlgorithm, cut(alg))
	case len(kid) > maxKeyID:
		return nil, nil, notFound(kid, alg)
	}

	// Fetch a newer set only if the present one does not know the key.
	snap, err := s.snapshot(ctx)
	if err != nil {
		return nil, nil, err
	}
	if s.keys != nil && !knows(snap.Value, kid, alg) {
		if snap, err = s.newer(ctx, snap); err != nil {
			return nil, nil, err
		}
	}

	// Say why there is no key: the ID is unknown, or its key is for another algorithm.
	found := snap.Value.fitting(kid, alg)
	switch {
	case len(found) > 0:
		return found, snap, nil
	case kid != "" && snap.Value.has(kid):
		return nil, nil, fmt.Errorf("jwks: %w: key %q is not for %s", ErrAlgorithm, cut(kid), alg)
	default:
		return nil, nil, notFound(kid, alg)
	}
}

// knows reports whether set has the answer, so that a newer set is not needed.
func knows(set *Set, kid, alg string) bool {
	if kid != "" {
		return set.has(kid)
	}
	return len(set.fitting("", alg)) > 0
}

// snapshot returns the set with its version. It waits for the first.
func (s *Source) snapshot(ctx context.Context) (*everfresh.Snapshot[*Set], error) {
	if s.keys == nil {
		return s.fixed, nil
	}
	if snap := s.keys.Snapshot(); snap != nil {
		return snap, nil
	}
	if _, err := s.keys.Get(ctx); err != nil {
		return nil, s.refused(err)
	}
	if snap := s.keys.Snapshot(); snap != nil {
		return snap, nil
	}
	return nil, unavailable(everfresh.ErrNotReady) // the value was invalidated again
}

// newer returns a set that is newer than seen, or seen if the issuer has no other.
func (s *Source) newer(ctx context.Context, seen *everfresh.Snapshot[*Set]) (*everfresh.Snapshot[*Set], error) {
	snap, err := s.keys.Newer(ctx, seen)
	if err != nil {
		return nil, s.refused(err)
	}
	if snap == nil {
		return nil, unavailable(everfresh.ErrNotReady)
	}
	return snap, nil
}

// A refusal is a rate-limit error of the cache and the error of this package made from it.
// The cache returns the same error to all callers until it allows a fetch again, so the
// refusal is cached and rejecting costs no memory.
type refusal struct{ cause, err error }

// refused returns an error of the cache as an error of this package.
func (s *Source) refused(cause error) error {
	switch e := cause.(type) { //nolint:errorlint // Only these very values are shared.
	case *everfresh.RateLimitError:
		return s.remembered(cause, func() error { return &RateLimitError{Until: e.Until, cause: cause} })
	case *everfresh.RefreshError:
		return s.remembered(cause, func() error { return unavailable(cause) })
	default:
		return unavailable(cause)
	}
}

func (s *Source) remembered(cause error, wrap func() error) error {
	if last := s.refusal.Load(); last != nil && last.cause == cause { //nolint:errorlint // As above.
		return last.err
	}
	err := wrap()
	s.refusal.Store(&refusal{cause, err})
	return err
}
