package jwks

import (
	"errors"
	"fmt"
	"time"
)

// Errors that callers tell apart with errors.Is. Only [ErrUnavailable] is not the fault of
// the token.
var (
	// ErrUnavailable says that it cannot be known whether the token is good: there is no
	// key set yet (then the error is [everfresh.ErrNotReady] as well), none young enough
	// ([everfresh.ErrStale]), or the key is not in it and the issuer cannot be asked.
	ErrUnavailable = errors.New("keys are unavailable")
	// ErrKeyNotFound says that the issuer has no such key, or that too many unknown keys
	// were asked for lately; the latter is a [*RateLimitError].
	ErrKeyNotFound = errors.New("no such key")
	// ErrAlgorithm says that the algorithm is not on the list of [WithAlgorithms], or not
	// one that the key may be used with.
	ErrAlgorithm = errors.New("algorithm is not allowed")
	// ErrToken says that the token is not a compact JWS with one signature.
	ErrToken = errors.New("malformed token")
	// ErrSignature says that the signature is not one of the key.
	ErrSignature = errors.New("signature is wrong")
	// ErrIssuer says that the token's issuer is not in the set of [Multi].
	ErrIssuer = errors.New("unknown issuer")
	// ErrMetadata says that the metadata of an issuer cannot be used: it names another
	// issuer, or a place for the keys that is not allowed. It is a cause of
	// [ErrUnavailable].
	ErrMetadata = errors.New("issuer metadata is not usable")
	// ErrInvalidSet says that a document is not a JSON Web Key Set, or holds no usable key.
	ErrInvalidSet = errors.New("invalid key set")
	// ErrOption says that an option of [New], [FromIssuer] or [Parse] is invalid.
	ErrOption = errors.New("invalid option")
)

// A RateLimitError is the answer for an unknown key ID while the budget of fetches for these
// is spent. It Is [ErrKeyNotFound]. It is used as a pointer; one value serves a whole
// cooling period, so that refusing costs no memory.
type RateLimitError struct {
	Until time.Time // when the set is asked for again

	cause error // of the engine
}

// Error implements error.
func (e *RateLimitError) Error() string {
	return fmt.Sprintf("jwks: %v as far as is known: the issuer was asked too often, next fetch at %s",
		ErrKeyNotFound, e.Until.UTC().Format(time.RFC3339))
}

// Is reports whether target is [ErrKeyNotFound].
func (e *RateLimitError) Is(target error) bool { return target == ErrKeyNotFound }

// Unwrap returns the cache's [*everfresh.RateLimitError].
func (e *RateLimitError) Unwrap() error { return e.cause }

// RetryAfter returns how long it is from now to Until, at least 0.
func (e *RateLimitError) RetryAfter() time.Duration { return max(time.Until(e.Until), 0) }

// unavailable wraps an error of the engine, which is a cause of [ErrUnavailable] whatever
// it is: no value, one too old, a failed fetch, the end of the wait or of the cache.
func unavailable(err error) error { return fmt.Errorf("jwks: %w: %w", ErrUnavailable, err) }

// maxKeyID bounds the key IDs that are looked for, and what an error shows of one.
const maxKeyID = 256

// notFound is the error for a key ID that the issuer does not know.
func notFound(kid, alg string) error {
	if kid == "" {
		return fmt.Errorf("jwks: %w: the token names none, and not just one is for %s", ErrKeyNotFound, alg)
	}
	return fmt.Errorf("jwks: %w: %q for %s", ErrKeyNotFound, cut(kid), alg)
}

// cut shortens text of a stranger.
func cut(s string) string {
	const shown = 64
	if len(s) <= shown {
		return s
	}
	return s[:shown] + "..."
}
