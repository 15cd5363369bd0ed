package jwks

import (
	"context"
	"errors"
	"fmt"

	"github.com/everfresh-go/everfresh"
)

// maxTried limits how many keys are tried for a token without a key ID.
const maxTried = 16

// VerifySignature verifies the signature of a compact JWS (RFC 7515), such as a signed JWT,
// and returns its payload, which the caller owns. It verifies nothing else: the caller must
// check the claims in the payload, above all exp, iss and aud. With this method, a Source
// implements go-oidc's KeySet.
//
// For a token without a key ID, up to 16 keys for its algorithm are tried. If none of them
// has signed it, the set is fetched, within the limit for unknown keys.
//
// The errors are those of [Source.Key], [ErrToken] and [ErrSignature].
func (s *Source) VerifySignature(ctx context.Context, token string) (payload []byte, err error) {
	j, err := parseJWS(token)
	if err != nil {
		return nil, err
	}
	return s.verify(ctx, j)
}

// verify is VerifySignature for a parsed token.
func (s *Source) verify(ctx context.Context, j *jws) (payload []byte, err error) {
	found, snap, err := s.candidates(ctx, j.kid, j.alg)
	if err != nil {
		return nil, err
	}
	err = j.verifyAny(found)
	if errors.Is(err, ErrSignature) && s.refreshable(j) {
		err = s.verifyNewer(ctx, j, snap, err)
	}
	if err != nil {
		return nil, err
	}
	return j.payload()
}

// refreshable reports whether a newer set may hold the key that signed j.
func (s *Source) refreshable(j *jws) bool {
	return s.keys != nil && (j.kid == "" || s.cfg.refreshSignature)
}

// verifyNewer tries the keys of a set that is newer than seen; failed is the error with seen.
func (s *Source) verifyNewer(ctx context.Context, j *jws, seen *everfresh.Snapshot[*Set], failed error) error {
	snap, err := s.newer(ctx, seen)
	switch {
	case errors.Is(err, ErrKeyNotFound): // the limit is exhausted, but the key is known
		return failed
	case err != nil:
		return err
	case snap.Version == seen.Version:
		return failed
	}
	return j.verifyAny(snap.Value.fitting(j.kid, j.alg))
}

// verifyAny returns nil if one of the keys has signed j. Keys of a parser that cannot be used
// here are skipped.
func (j *jws) verifyAny(keys []*Key) (err error) {
	for _, k := range keys[:min(len(keys), maxTried)] {
		failed := j.verify(k)
		if failed == nil {
			return nil
		}
		if err == nil || !errors.Is(failed, ErrAlgorithm) {
			err = failed
		}
	}
	if err == nil {
		return fmt.Errorf("jwks: %w: no key matches the signature", ErrSignature)
	}
	return err
}

// VerifySignature is [Source.VerifySignature] with the keys of any source. A token without
// a key ID is verified only if src has just one key for its algorithm.
func VerifySignature(ctx context.Context, src KeySource, token string) (payload []byte, err error) {
	j, err := parseJWS(token)
	if err != nil {
		return nil, err
	}
	return verifyWith(ctx, src, j)
}

// verifyWith is VerifySignature for a parsed token.
func verifyWith(ctx context.Context, src KeySource, j *jws) (payload []byte, err error) {
	if s, ok := src.(*Source); ok {
		return s.verify(ctx, j)
	}
	public, err := src.Key(ctx, j.kid, j.alg)
	if err != nil {
		return nil, err
	}
	if err := j.verify(&Key{ID: j.kid, Public: public}); err != nil {
		return nil, err
	}
	return j.payload()
}
