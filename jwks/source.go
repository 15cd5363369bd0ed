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

// A KeySource finds the public key that verifies a token. [Source] is one, and what
// [Failover] returns.
type KeySource interface {
	// Key returns the key with this ID for this algorithm. The errors are those of
	// [Source.Key].
	Key(ctx context.Context, kid, alg string) (crypto.PublicKey, error)
}

// A Source is the key set of one issuer, kept fresh by a cache. Get one from [New],
// [FromIssuer] or [Static], once, and keep it: a cache takes each key set once, and all of
// a source's users share its fetches. It is safe for concurrent use. It lives as long as
// its cache, after whose end the last set stays in use, or until [Source.Close].
//
// While a caller waits for a fetch, the end of its ctx ends the wait and not the fetch.
type Source struct {
	cfg     *config
	cache   *everfresh.Cache          // nil for a static source
	meta    string                    // the key of the metadata's resource, if there is one
	keys    *everfresh.Resource[*Set] // nil for a static source
	fixed   *everfresh.Snapshot[*Set] // of a static source
	refusal atomic.Pointer[refusal]
}

// New returns the source of the key set at a URL, which must be https. It does not wait for
// the network. The error wraps [ErrOption], or is one of everfresh.Register:
// everfresh.ErrNotAllowed for a bad URL, everfresh.ErrRegistered if the cache has it already.
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

// Static returns a source whose set never changes, for tests and for keys that come by
// another way. A nil set is an empty one.
func Static(set *Set) *Source {
	if set == nil {
		set = new(Set)
	}
	return &Source{cfg: &config{algorithms: allAlgorithms}, fixed: &everfresh.Snapshot[*Set]{Value: set}}
}

// originOf returns the origin of a URL, or "" if it is none, which Register says.
func originOf(rawURL string) string {
	u, err := weburl.Parse(rawURL)
	if err != nil {
		return ""
	}
	return weburl.Origin(u)
}

// decode makes a set of an answer.
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

// remark tells the error sink of keys that were left out, unless the last set lacked them
// for the same reasons.
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
// an *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey, or what a parser of
// [WithKeyParser] made. The key is shared and must not be modified. A known key is found
// without waiting, locking or allocating.
//
// An unknown key ID makes the set be fetched, within the budget for these. An empty one,
// that of a token which names no key, finds the only key for alg, if there is just one.
//
// The error is [ErrKeyNotFound], also as a [*RateLimitError]; [ErrAlgorithm]; or
// [ErrUnavailable], which wraps the end of ctx, too.
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
	case kid == "" && len(found) > 1: // any of them may be the one
		return nil, notFound(kid, alg)
	default:
		return found[0].Public, nil
	}
}

// Keys returns all public keys for this algorithm, for a token that names none; it has at
// least one if the error is nil. If there is none, the set is fetched, and the errors are
// those of [Source.Key]. The slice is the caller's.
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

// Set returns the key set. It waits only if there is none that may be used, for one fetch.
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

// Ready waits until there is a key set that may be used, through failures: for the first,
// and after an outage that has outlasted the last for the next. The error, when ctx ends, is
// [ErrUnavailable], and says why the last fetch failed.
func (s *Source) Ready(ctx context.Context) error {
	if s.keys == nil {
		return nil
	}
	if err := s.keys.Ready(ctx); err != nil {
		return unavailable(err)
	}
	return nil
}

// Refresh asks the issuer for a newer set and waits for the answer. It comes out of the
// budget for unknown key IDs, so that a rotation soon afterwards may be noticed 15 s late;
// any number of calls at once cost two fetches. The error is a [*RateLimitError] or
// [ErrUnavailable]. A static source has nothing to ask for.
func (s *Source) Refresh(ctx context.Context) error {
	if s.keys == nil {
		return nil
	}
	_, err := s.newer(ctx, s.keys.Snapshot())
	return err
}

// Close takes the source out of its cache, for a program whose issuers come and go; another
// source of the same issuer or URL can then be made. Stored records stay. Afterwards the
// source has no keys, and the error is [ErrUnavailable]. It need not be called before the
// cache is closed, and may be called again.
func (s *Source) Close() error {
	if s.keys == nil {
		return nil
	}
	err := s.cache.Unregister(s.keys.Key())
	if s.meta != "" {
		err = errors.Join(err, s.cache.Unregister(s.meta))
	}
	if err != nil && !errors.Is(err, everfresh.ErrNotRegistered) {
		return fmt.Errorf("jwks: %w", err)
	}
	return nil
}

// Status describes the key set's resource in the cache. That of a static source is ready
// and says no more.
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

// candidates returns the keys that may have signed a token, at least one, and the snapshot
// they are of. If there are none, a newer set is asked for.
func (s *Source) candidates(ctx context.Context, kid, alg string) ([]*Key, *everfresh.Snapshot[*Set], error) {
	switch {
	case !s.cfg.allows(alg, algorithmBit(alg)):
		return nil, nil, fmt.Errorf("jwks: %w: %q", ErrAlgorithm, cut(alg))
	case len(kid) > maxKeyID:
		return nil, nil, notFound(kid, alg)
	}
	snap, err := s.snapshot(ctx)
	if err != nil {
		return nil, nil, err
	}
	if s.keys != nil && !knows(snap.Value, kid, alg) {
		if snap, err = s.newer(ctx, snap); err != nil {
			return nil, nil, err
		}
	}
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

// knows reports whether a newer set would not help.
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
	return nil, unavailable(everfresh.ErrNotReady) // it was withdrawn again
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

// A refusal is an error of the engine and what is made of it. The engine answers all
// callers with one error until it has changed its mind, so refusing costs no memory.
type refusal struct{ cause, err error }

// refused makes this package's error of one of the engine.
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
