package body

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"
)

// wire reads the encoded body, counts its bytes and feeds the watchdog.
type wire struct {
	body  io.Reader
	count int64
	max   int64 // of count
	// err is the first error, including io.EOF. It is kept because bufio.Reader forgets
	// errors that it has returned and then continues to read.
	err   error
	watch watch
}

// Read implements [io.Reader].
func (w *wire) Read(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.body.Read(p)
	w.count += int64(n)
	switch {
	case w.count > w.max:
		err = errEncoded
	case err == nil && n > 0 && !w.watch.progress(w.count):
		err = ErrTooSlow
	}
	w.err = err
	return n, err
}

// failed reports whether reading the body itself failed, as opposed to decoding it.
func (w *wire) failed() bool { return w.err != nil && !errors.Is(w.err, io.EOF) }

const (
	running int32 = iota
	stopped
	barked
)

// watch ends an exchange whose body arrives too slowly. One timer serves both limits:
// it is set to the one that would be exceeded first if no more bytes arrived.
type watch struct {
	timer   *time.Timer // nil if nothing is watched
	cancel  context.CancelCauseFunc
	idle    time.Duration
	rate    int64
	grace   time.Duration // the rate is not checked earlier
	started time.Time
	// state leaves running once: either the timer wins, or the end of the body.
	state atomic.Int32
}

func (w *watch) start(cancel context.CancelCauseFunc, l Limits) {
	if l.Idle <= 0 && l.MinRate <= 0 {
		return
	}
	w.cancel, w.idle, w.rate, w.grace = cancel, l.Idle, l.MinRate, l.Idle
	if w.idle <= 0 {
		w.grace = time.Second
	}
	w.started = time.Now()
	w.timer = time.AfterFunc(w.grace, w.bark)
}

// progress resets the timer to the next limit. It returns false if the watch has ended
// the exchange, which a body may fail to notice.
func (w *watch) progress(count int64) bool {
	if w.timer == nil {
		return true
	}
	if w.state.Load() == barked {
		return false
	}
	w.timer.Reset(w.left(count))
	return true
}

// left returns how long the body may now stay silent. If that is 0 or less, the timer
// fires at once.
func (w *watch) left(count int64) time.Duration {
	if w.rate <= 0 {
		return w.idle
	}
	left := max(w.grace, w.paid(count)) - time.Since(w.started)
	if w.idle > 0 {
		left = min(left, w.idle)
	}
	return left
}

// paid returns the time that count bytes take at the minimum rate.
func (w *watch) paid(count int64) time.Duration {
	const forever = float64(1 << 30) // seconds; more would overflow a Duration
	seconds := min(float64(count)/float64(w.rate), forever)
	return time.Duration(seconds * float64(time.Second))
}

func (w *watch) bark() {
	if w.state.CompareAndSwap(running, barked) {
		w.cancel(ErrTooSlow)
	}
}

// stop ends the watch. It reports false if the watch has ended the exchange, or
// has been stopped before.
func (w *watch) stop() bool {
	if w.timer == nil {
		return true
	}
	w.timer.Stop()
	return w.state.CompareAndSwap(running, stopped)
}
