package everfresh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/everfresh-go/everfresh/internal/dispatch"
)

// An ErrSink receives every refresh error, whether or not a caller was waiting for it.
// Errors are *[RefreshError]s.
//
// Error is called by one goroutine at a time, off the refresher's path. While it runs,
// further reports are queued, up to 1024. Reports that do not fit are counted, and their
// number is reported as soon as there is room.
type ErrSink interface {
	Error(err error)
}

// ErrSinkFunc is a function that is an [ErrSink].
type ErrSinkFunc func(err error)

// Error implements [ErrSink].
func (f ErrSinkFunc) Error(err error) { f(err) }

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

// callbackQueue is how many reports wait for sink and observer.
const callbackQueue = 1024

// A reporter calls sink and observer, one report at a time, on a goroutine of its own.
// It is told and never asks. Its methods only queue, so they may be called under
// engine.mu.
type reporter struct {
	sink     ErrSink     // nil: none
	observer func(Event) // nil: none
	now      clock
	queue    *dispatch.Queue
}

// A cascade says whether a report may cause another one. Two callbacks that both panic
// must not keep each other busy for ever.
type cascade bool

const (
	mayCascade cascade = true
	noCascade  cascade = false
)

func newReporter(sink ErrSink, observer func(Event), now clock) *reporter {
	r := &reporter{sink: sink, observer: observer, now: now}
	r.queue = dispatch.New(callbackQueue, r.overflowed)
	return r
}

// report queues err for the sink, if there is one.
func (r *reporter) report(err *RefreshError) { r.postError(err, mayCascade) }

// observe queues ev for the observer, if there is one.
func (r *reporter) observe(ev Event) { r.postEvent(ev, mayCascade) }

func (r *reporter) postError(err *RefreshError, more cascade) {
	if r.sink != nil {
		r.queue.Post(func() { r.callSink(err, more) })
	}
}

func (r *reporter) postEvent(ev Event, more cascade) {
	if r.observer != nil {
		r.queue.Post(func() { r.callObserver(ev, more) })
	}
}

// callSink calls the sink. A panic in it is reported to the observer.
func (r *reporter) callSink(err *RefreshError, more cascade) {
	defer func() {
		if v := recover(); v != nil && more == mayCascade {
			re := &RefreshError{Key: err.Key, Op: opSink, Err: recovered(v)}
			r.postEvent(Event{Kind: "failed", Key: err.Key, Time: r.now.wall(), Err: re}, noCascade)
		}
	}()
	r.sink.Error(err)
}

// callObserver calls the observer. A panic in it is reported to the sink.
func (r *reporter) callObserver(ev Event, more cascade) {
	defer func() {
		if v := recover(); v != nil && more == mayCascade {
			r.postError(&RefreshError{Key: ev.Key, Op: opObserver, Err: recovered(v)}, noCascade)
		}
	}()
	r.observer(ev)
}

// overflowed tells sink and observer, on the dispatcher, that n reports were lost.
func (r *reporter) overflowed(n int) {
	err := &RefreshError{Op: opSink, Err: fmt.Errorf("%d reports lost: sink or observer too slow", n)}
	if r.sink != nil {
		r.callSink(err, noCascade)
	}
	if r.observer != nil {
		r.callObserver(Event{Kind: "overflow", Time: r.now.wall(), Dropped: n, Err: err}, noCascade)
	}
}

// close delivers what is queued and waits for the callbacks, until ctx ends.
func (r *reporter) close(ctx context.Context) error { return r.queue.Close(ctx) }
