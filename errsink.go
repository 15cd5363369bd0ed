package everfresh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/everfresh-go/everfresh/internal/body"
	"github.com/everfresh-go/everfresh/internal/redact"
)

// Conditions to match with errors.Is.
var (
	// ErrNotRegistered means that no resource has this key.
	ErrNotRegistered = errors.New("not registered: did you make sure to call Register() first?")
	// ErrRegistered means that the key is taken.
	ErrRegistered = errors.New("registered already")
	// ErrNotAllowed means that the URL policy refused a URL, be it the registered
	// one, that of a built request or that of a redirect, or that [WithPublicOnly]
	// refused an address.
	ErrNotAllowed = errors.New("URL not allowed")
	// ErrNotReady means that there is no value to serve yet.
	ErrNotReady = errors.New("no value yet")
	// ErrStale means that there was a value, and that it may not be served any more.
	ErrStale = errors.New("value too stale")
	// ErrTooLarge means that a body went over a size limit.
	ErrTooLarge = body.ErrTooLarge
	// ErrClosed means that the cache was closed, or that its context ended.
	ErrClosed = errors.New("cache closed")
)

// errCallbackEnded stands for a callback that ended its goroutine instead of returning, as
// t.FailNow does.
var errCallbackEnded = errors.New("a callback ended its goroutine")

var errNestedCycle = errors.New("resources need each other's values in a cycle")

// An ErrSink hears of every failure that no caller waits for, and of those that
// one does. Errors are *[RefreshError]s.
//
// Error is called by one goroutine at a time, off the refresher's path. While it
// runs, further reports are queued, up to 1024; what does not fit is counted and
// reported when there is room.
type ErrSink interface {
	Error(err error)
}

// ErrSinkFunc is a function that is an [ErrSink].
type ErrSinkFunc func(err error)

// Error implements [ErrSink].
func (f ErrSinkFunc) Error(err error) { f(err) }

// A RefreshError says which resource could not be refreshed, at what, and what
// happens next. It is used as a pointer.
type RefreshError struct {
	// Key names the resource: its key, or its URL with the query values removed
	// when it has none.
	Key string
	// Op is what failed: "load" (from the storage), "request", "fetch", "read",
	// "decode", "wait" (the caller's context ended), "store", "sink" or "observer".
	Op string
	// Attempt counts the failures in a row, from 1; 0 if no refresh failed.
	Attempt int
	// Next is when the resource is tried again; zero if nothing is planned.
	Next time.Time
	// Stale says that an older value is still served.
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

// Is reports whether target is [ErrNotReady] and e, as it tells of a refresh, left
// nothing to serve.
func (e *RefreshError) Is(target error) bool {
	return target == ErrNotReady && !e.Stale && e.Op != opSink && e.Op != opObserver
}

// The callbacks whose panics a RefreshError may tell of.
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

// A RateLimitError is the answer of [Resource.Newer] when its budget is spent. It is
// used as a pointer; one value serves a whole cooling period.
type RateLimitError struct {
	Until time.Time // when the budget allows the next fetch
	until int64     // the same on the cache's monotonic clock
}

// Error implements error.
func (e *RateLimitError) Error() string {
	return "everfresh: fetched on demand too often, next at " + e.Until.UTC().Format(time.RFC3339)
}

// Permanent marks an error of a [Decoder], [Transformer], [Fetcher] or [WithRequest] as one
// that trying again soon will not mend. The next refresh then comes after the
// minimum interval, not after the back-off. Permanent(nil) is nil.
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

type steeredError struct {
	err       error
	permanent bool
	after     time.Duration
}

func (e *steeredError) Error() string { return e.err.Error() }
func (e *steeredError) Unwrap() error { return e.err }

func steeringOf(err error) (*steeredError, bool) {
	var s *steeredError
	return s, errors.As(err, &s)
}

// redactForeign is redact.Foreign for the error of a callback, which may steer.
func redactForeign(err error) error {
	return steerLike(err, redact.Foreign(err))
}

// steerLike returns err, steered as original was.
func steerLike(original, err error) error {
	if s, ok := steeringOf(original); ok {
		return &steeredError{err: err, permanent: s.permanent, after: s.after}
	}
	return err
}

func statusErrorOf(err error) *StatusError {
	var se *StatusError
	if !errors.As(err, &se) {
		return nil
	}
	return se
}

// A panicError stands for a recovered panic. A panic's value may hold anything, so
// only the runtime's own texts are shown, and where it happened.
type panicError struct {
	what, where string
}

func (e *panicError) Error() string { return "panic: " + e.what + " at " + e.where }

// recovered turns the value of recover into an error. It is called by the deferred
// function itself.
func recovered(v any) error {
	what := fmt.Sprintf("value of type %T", v)
	if re, ok := v.(runtime.Error); ok {
		what = re.Error()
	}
	return &panicError{what: what, where: panicSite()}
}

// panicSite returns the function and line that panicked.
func panicSite() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	inPanic := false
	for {
		f, more := frames.Next()
		if inPanic && !strings.HasPrefix(f.Function, "runtime.") {
			return fmt.Sprintf("%s:%d", f.Function, f.Line)
		}
		inPanic = inPanic || f.Function == "runtime.gopanic"
		if !more {
			return "unknown place"
		}
	}
}

// An Event is what an observer hears. Fields that do not apply are zero.
type Event struct {
	// Kind is one of
	//
	//	fetched    a new value was published
	//	unchanged  the origin confirmed the value, by a 304 or by the same bytes
	//	failed     a refresh failed; Err says why
	//	stale      the value outlived its freshness, and the refresh failed
	//	expired    the value may not be served any more
	//	storage    the storage failed, or held a damaged record; Err says which
	//	overflow   reports were lost, as sink or observer did not keep up
	Kind string
	// Key names the resource as [RefreshError] does; empty for overflow.
	Key      string
	Time     time.Time
	Version  uint64        // of the value that is served
	Status   int           // of the answer
	Bytes    int           // of the decoded body
	Duration time.Duration // of the refresh
	Attempt  int           // failures in a row
	Next     time.Time     // when the resource is asked for again
	Dropped  int           // how many reports an overflow lost
	Err      error
}

// LogSink returns an [ErrSink] that logs every failure to l, as a warning while an
// older value is served and as an error otherwise.
func LogSink(l *slog.Logger) ErrSink {
	return ErrSinkFunc(func(err error) {
		var re *RefreshError
		if !errors.As(err, &re) {
			l.Error("everfresh", slog.Any("err", err))
			return
		}
		level := slog.LevelError
		if re.Stale {
			level = slog.LevelWarn
		}
		l.LogAttrs(context.Background(), level, "refresh failed",
			slog.String("key", re.Key), slog.String("op", re.Op), slog.Int("attempt", re.Attempt),
			slog.Time("next", re.Next), slog.Bool("stale", re.Stale), slog.String("err", fmt.Sprint(re.Err)))
	})
}

// LogObserver returns an observer that logs every event to l: fetched as info,
// unchanged as debug, everything else as a warning.
func LogObserver(l *slog.Logger) func(Event) {
	return func(ev Event) {
		attrs := []slog.Attr{
			slog.String("key", ev.Key), slog.Uint64("version", ev.Version), slog.Int("status", ev.Status),
			slog.Int("bytes", ev.Bytes), slog.Duration("duration", ev.Duration), slog.Time("next", ev.Next),
		}
		if ev.Err != nil {
			attrs = append(attrs, slog.Int("attempt", ev.Attempt), slog.String("err", ev.Err.Error()))
		}
		if ev.Dropped > 0 {
			attrs = append(attrs, slog.Int("dropped", ev.Dropped))
		}
		l.LogAttrs(context.Background(), levelOf(ev.Kind), ev.Kind, attrs...)
	}
}

func levelOf(kind string) slog.Level {
	switch kind {
	case "fetched":
		return slog.LevelInfo
	case "unchanged":
		return slog.LevelDebug
	default:
		return slog.LevelWarn
	}
}

// report queues err for the sink, if there is one.
func (c *Cache) report(err *RefreshError) {
	c.post(err, nil, true)
}

// observe queues ev for the observer, if there is one.
func (c *Cache) observe(ev Event) {
	c.post(nil, &ev, true)
}

// post queues err for the sink and ev for the observer. A panic in either is
// reported to the other; second says whether this report may cause another, as two
// callbacks that both panic must not keep each other busy.
func (c *Cache) post(err *RefreshError, ev *Event, second bool) {
	if err != nil && c.cfg.sink != nil {
		c.callbacks.Post(func() { c.callSink(err, second) })
	}
	if ev != nil && c.cfg.observer != nil {
		c.callbacks.Post(func() { c.callObserver(*ev, second) })
	}
}

func (c *Cache) callSink(err *RefreshError, second bool) { //nolint:revive // See post.
	defer func() {
		if v := recover(); v != nil && second {
			re := &RefreshError{Key: err.Key, Op: opSink, Err: recovered(v)}
			c.post(nil, &Event{Kind: "failed", Key: err.Key, Time: c.wall(), Err: re}, false)
		}
	}()
	c.cfg.sink.Error(err)
}

func (c *Cache) callObserver(ev Event, second bool) { //nolint:revive // See post.
	defer func() {
		if v := recover(); v != nil && second {
			c.post(&RefreshError{Key: ev.Key, Op: opObserver, Err: recovered(v)}, nil, false)
		}
	}()
	c.cfg.observer(ev)
}

// overflowed tells sink and observer, on the dispatcher, that n reports were lost.
func (c *Cache) overflowed(n int) {
	err := &RefreshError{Op: opSink, Err: fmt.Errorf("%d reports lost: sink or observer too slow", n)}
	if c.cfg.sink != nil {
		c.callSink(err, false)
	}
	if c.cfg.observer != nil {
		c.callObserver(Event{Kind: "overflow", Time: c.wall(), Dropped: n, Err: err}, false)
	}
}
