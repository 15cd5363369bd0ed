package jwks

import (
	"errors"
	"fmt"
	"time"
)

// Errors that callers distinguish with errors.Is. All but [ErrUnavailable] are the fault of
// the token.
var (
	// ErrUnavailable says that it is unknown whether the token is valid: there is no key
	// set yet (the error then also wraps [everfresh.ErrNotReady]), the key set is too old
	// ([everfresh.ErrStale]), or the key is not in it and the issuer cannot be asked.
	ErrUnavailable = errors.New("keys are unavailable")
	// ErrKeyNotFound says that the issuer has no such key, or that there were too many
	// requests for unknown keys recently; the latter is a [*RateLimitError].
	ErrKeyNotFound = errors.New("no such key")
	// ErrAlgorithm says that the algorithm is not on the list of [WithAlgorithms], or that
	// the key may not be used with it.
	ErrAlgorithm = errors.New("algorithm is not allowed")
	// ErrToken says that the token is not a compact JWS with one signature.
	ErrToken = errors.New("malformed token")
	// ErrSignature says that the signature was not made with the key.
	ErrSignature = errors.New("signature is wrong")
	// ErrIssuer says that the token's issuer is not in the set of [Multi].
	ErrIssuer = errors.New("unknown issuer")
	// ErrMetadata says that the metadata of an issuer cannot be used: it names another
	// issuer, or a URL for the keys that is not allowed. It is a cause of
	// [ErrUnavailable].
	ErrMetadata = errors.New("issuer metadata is not usable")
	// ErrInvalidSet says that a document is not a JSON Web Key Set, or has no usable key.
	ErrInvalidSet = errors.New("invalid key set")
	// ErrOption says that an option of [New], [FromIssuer] or [Parse] is invalid.
	ErrOption = errors.New("invalid option")
)

// A RateLimitError is the error for an unknown key ID while the rate limit for such fetches
// is exhausted. It matches [ErrKeyNotFound]. It is returned as a pointer. All callers get the
// same value until the limit allows a fetch again, so that rejecting costs no memory.
type RateLimitError struct {
	Until time.Time // when the set may be fetched again

	cause error // of the cache
}

// Error implements error.
func (e *RateLimitError) Error() string {
	return fmt.Sprintf("jwks: %v in the current key set, and the issuer was asked too often: next fetch at %s",
		ErrKeyNotFound, e.Until.UTC().Format(time.RFC3339))
}

// Is reports whether target is [ErrKeyNotFound].
func (e *RateLimitError) Is(target error) bool { return target == ErrKeyNotFound }

// Unwrap returns the cache's [*everfresh.RateLimitError].
func (e *RateLimitError) Unwrap() error { return e.cause }

// RetryAfter returns the time from now to Until, at least 0.
func (e *RateLimitError) RetryAfter() time.Duration { return max(time.Until(e.Until), 0) }

// unavailable wraps an error of the cache. All of them are causes of [ErrUnavailable]: no
// value, one that is too old, a failed fetch, the end of the wait or of the cache.
func unavailable(err error) error { return fmt.Errorf("jwks: %w: %w", ErrUnavailable, err) }

// maxKeyID limits the length of key IDs in look-ups and in errors.
const maxKeyID = 256

// notFound is the error for a key ID that the issuer does not know.
func notFound(kid, alg string) error {
	if kid == "" {
		return fmt.Errorf("jwks: %w: the token has no kid, and the set does not have exactly one key for %s", ErrKeyNotFound, alg)
	}
	return fmt.Errorf("jwks: %w: %q for %s", ErrKeyNotFound, cut(kid), alg)
}

// cut shortens untrusted text.
func cut(s string) string {
	const shown = 64
	if len(s) <= shown {
		return s
	}
	return s[:shown] + "..."
}
