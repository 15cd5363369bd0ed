// Package dispatch runs callbacks in a goroutine of its own, so that its callers need not
// wait for them.
package dispatch

import (
	"context"
	"fmt"
	"sync"
)

// A Queue runs posted callbacks one after another, in the order in which they were
// posted, on one goroutine, the dispatcher. A post starts the dispatcher, and it ends
// when the queue is empty.
//
// The size of the queue is limited. Callbacks that do not fit are dropped and counted. The
// count is reported in order: after all callbacks that were queued when the first was
// dropped.
//
// Callbacks should recover from their own panics. The queue does not report a panic, but
// continues with the next callback.
//
// All methods are safe for concurrent use. Callbacks may call them, too, because no lock
// is held while a callback runs. Only Close blocks. A Queue is made by [New].
type Queue struct {
	overflow func(dropped int) // never changed; may be nil

	mu      sync.Mutex // guards the fields below
	ring    []func()   // of fixed length; the first queued callback is at head
	head    int
	queued  int
	dropped int  // since the last report; always 0 if overflow is nil
	before  int  // the number of queued callbacks that run before dropped is reported
	running bool // whether there is a dispatcher
	closed  bool
	idle    chan struct{} // closed when the dispatcher ends; nil unless a Close needs it
}

// New returns a queue that holds up to size callbacks in addition to the one that runs. A
// size below 1 counts as 1. When callbacks were dropped and there is room again, the
// dispatcher calls overflow once with the number dropped since its last call. Overflow
// may be nil; then only the result of Post reports that a callback was dropped.
func New(size int, overflow func(dropped int)) *Queue {
	return &Queue{ring: make([]func(), max(size, 1)), overflow: overflow}
}

// Post queues f. It never blocks. It returns false, and f will not run, if the queue is
// full or closed. A callback that is posted after Close does not count as dropped.
func (q *Queue) Post(f func()) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	if q.queued == len(q.ring) {
		q.drop()
		return false
	}
	q.ring[(q.head+q.queued)%len(q.ring)] = f
	q.queued++
	if !q.running {
		q.running = true
		go q.dispatch()
	}
	return true
}

// Close ends posting and waits until all posted callbacks have run. If ctx ends first, it
// returns an error that wraps ctx's and says that a callback is stuck; once that callback
// returns, the others still run. A further Close waits again. In a callback, Close only
// returns when ctx ends.
func (q *Queue) Close(ctx context.Context) error {
	idle := q.close()
	if idle == nil {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("callback is stuck, %d more wait behind it: %w", q.waiting(), ctx.Err())
	}
}

// close ends posting. It returns a channel that is closed when the dispatcher ends,
// or nil if there is none.
func (q *Queue) close() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	if q.running && q.idle == nil {
		q.idle = make(chan struct{})
	}
	return q.idle
}

func (q *Queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.queued
}

// drop counts a callback that does not fit. It is called with mu held.
func (q *Queue) drop() {
	if q.overflow == nil {
		return
	}
	if q.dropped == 0 {
		q.before = q.queued
	}
	q.dropped++
}

// dispatch is the dispatcher. A callback that panics or calls runtime.Goexit ends this
// goroutine, and another one takes over.
func (q *Queue) dispatch() {
	ended := false
	defer func() {
		if !ended {
			_ = recover()
			go q.dispatch()
		}
	}()
	for f, ok := q.next(); ok; f, ok = q.next() {
		f()
	}
	ended = true
}

// next returns the function to run now, or false, which ends the dispatcher.
func (q *Queue) next() (func(), bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.dropped > 0 && q.before == 0:
		return q.report(), true
	case q.queued == 0:
		q.end()
		return nil, false
	default:
		return q.pop(), true
	}
}

// report returns the call of overflow that is due. It is called with mu held.
func (q *Queue) report() func() {
	n := q.dropped
	q.dropped = 0
	return func() { q.overflow(n) }
}

// pop takes out the first callback. It is called with mu held.
func (q *Queue) pop() func() {
	f := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = (q.head + 1) % len(q.ring)
	q.queued--
	q.before = max(q.before-1, 0)
	return f
}

// end records that the dispatcher ends. It is called with mu held.
func (q *Queue) end() {
	q.running = false
	if q.idle != nil {
		close(q.idle)
		q.idle = nil
	}
}
