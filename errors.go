package everfresh

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/everfresh-go/everfresh/internal/body"
	"github.com/everfresh-go/everfresh/internal/redact"
)

// Conditions to match with errors.Is.
var (
	// ErrNotRegistered means that no resource has this key. The text is that of httprc
	// v1, whose tests check it.
	ErrNotRegistered = errors.New("not registered: did you make sure to call Register() first?")
	// ErrRegistered means that the key is taken.
	ErrRegistered = errors.New("already registered")
	// ErrNotAllowed means that a URL policy refused a URL (the registered one, that of
	// a built request or that of a redirect), or that [WithPublicOnly] refused an address.
	ErrNotAllowed = errors.New("URL not allowed")
	// ErrNotReady means that no value is served, not yet or no longer.
	ErrNotReady = errors.New("no value yet")
	// ErrStale means that there was a value, but it reached its limit and is no longer
	// served. Such an error is also ErrNotReady: test for ErrStale first.
	ErrStale = errors.New("value too old to be served")
	// ErrTooLarge means that a body exceeded a size limit.
	ErrTooLarge = body.ErrTooLarge
	// ErrClosed means that the cache was closed, or that its context ended.
	ErrClosed = errors.New("cache closed")
)

// errCallbackEnded is the error of a callback that ended its goroutine instead of
// returning, as t.FailNow does.
var errCallbackEnded = errors.New("a callback ended its goroutine")

// errNestedCycle is the error of a callback that would wait for its own refresh.
var errNestedCycle = errors.New("resources wait for each other's values in a cycle")

// A RefreshError says what failed for which resource, and what happens next. It is used as a
// pointer.
type RefreshError struct {
	// Key names the resource: its key, or its URL with the query values removed
	// when it has none. It is empty where reports were lost.
	Key string
	// Op is what failed: "load" (from the storage), "request", "fetch", "read",
	// "decode", "wait" (the caller's context ended), "store", "sink" or "observer".
	Op string
	// Attempt counts the failures in a row, from 1; 0 if no refresh failed.
	Attempt int
	// Next is when the resource is tried again; zero if nothing is planned.
	Next time.Time
	// Stale reports whether an older value is still served, as stale as it may be.
	Stale bool
	// Err is the cause. Its text holds no URL, no header value and no body.
	Err error
}

// Error implements error.
func (e *RefreshError) Error() string {
	return fmt.Sprintf("everfresh: %s %q: %v", e.Op, e.Key, e.Err)
}

// GoString keeps %#v from showing more than Error does.
func (e *RefreshError) GoString() string { return e.Error() }

// MarshalText keeps encoders of structs from showing more than Error does.
func (e *RefreshError) MarshalText() ([]byte, error) { return []byte(e.Error()), nil }

// Unwrap returns the cause.
func (e *RefreshError) Unwrap() error { return e.Err }

// Is reports whether target is [ErrNotReady] and e is the error of a refresh that left
// nothing to serve.
func (e *RefreshError) Is(target error) bool {
	return target == ErrNotReady && !e.Stale && e.Op != opSink && e.Op != opObserver
}

// The callbacks whose panics are reported as a RefreshError.
const (
	opSink     = "sink"
	opObserver = "observer"
)

// A StatusError is an answer whose status is neither 200 nor 203, nor a 304 that
// was asked for. It is used as a pointer.
type StatusError struct {
	Code   int
	Header http.Header `json:"-"` // read-only; never part of a text
}

// Error implements error.
func (e *StatusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("unexpected status %d %s", e.Code, http.StatusText(e.Code)))
}

// GoString keeps %#v from showing header values.
func (e *StatusError) GoString() string { return e.Error() }

// A RateLimitError is the error of [Resource.Newer] when the limit of [WithNewerLimit] is
// reached. It is used as a pointer; all calls until Until get the same one.
type RateLimitError struct {
	Until time.Time // when the limit allows the next fetch
	until int64     // the same on the cache's monotonic clock
}

// Error implements error.
func (e *RateLimitError) Error() string {
	return "everfresh: limit of Newer reached, next fetch at " + e.Until.UTC().Format(time.RFC3339)
}

// Permanent marks an error of a [Decoder], [Transformer], [Fetcher] or [WithRequest] as one
// that an early retry will not fix. The next refresh then comes after the minimum
// interval, not after the back-off. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &steeredError{err: err, permanent: true}
}

// RetryAfter marks an error of a [Decoder], [Transformer], [Fetcher] or [WithRequest] as
// one to be followed by a refresh after d, at least the floor of [WithBackoff].
// RetryAfter(nil, d) is nil.
func RetryAfter(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &steeredError{err: err, after: d}
}

// A steeredError is an error that says when to try again.
type steeredError struct {
	err       error
	permanent bool
	after     time.Duration
}

func (e *steeredError) Error() string { return e.err.Error() }
func (e *steeredError) Unwrap() error { return e.err }

// steeringOf returns the part of err that says when to try again, if there is one.
func steeringOf(err error) (*steeredError, bool) {
	var s *steeredError
	return s, errors.As(err, &s)
}

// redactForeign is redact.Foreign for the error of a callback, which may say when to try
// again.
func redactForeign(err error) error {
	return steerLike(err, redact.Foreign(err))
}

// steerLike makes err say when to try again as original does.
func steerLike(original, err error) error {
	if s, ok := steeringOf(original); ok {
		return &steeredError{err: err, permanent: s.permanent, after: s.after}
	}
	return err
}

// statusErrorOf returns the *StatusError in err's tree, or nil.
func statusErrorOf(err error) *StatusError {
	var se *StatusError
	if !errors.As(err, &se) {
		return nil
	}
	return se
}
