package tiered

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/everfresh-go/everfresh/store"
)

// writeTimeout limits each write of a flush.
const writeTimeout = 10 * time.Second

// A FlushError says that a flush could not write everything. It wraps the errors of the
// back store, one for each write that failed.
type FlushError struct {
	Pending int // the number of writes that are only in memory
	Err     error
}

// Error implements error.
func (e *FlushError) Error() string {
	return fmt.Sprintf("%d writes are not in the back store: %v", e.Pending, e.Err)
}

// Unwrap returns Err.
func (e *FlushError) Unwrap() error { return e.Err }

// run flushes after each interval until there is nothing left to write.
func (b *behind) run(ctx context.Context) {
	timer := time.NewTimer(b.interval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := b.flush(ctx); err != nil && ctx.Err() == nil {
			b.report(err)
		}
		if b.rest() {
			return
		}
		timer.Reset(b.interval)
	}
}

// rest reports whether there is nothing to write. In that case the flusher ends, and the
// next write starts a new one.
func (b *behind) rest() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running = len(b.memory.dirty) > 0
	return !b.running
}

// report calls failed and recovers if it panics.
func (b *behind) report(err error) {
	if b.failed == nil {
		return
	}
	defer func() { _ = recover() }()
	b.failed(err)
}

// stop ends the flusher and waits for it. The store is closed, so no new one starts.
func (b *behind) stop() {
	b.mu.Lock()
	cancel := b.cancel
	b.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	b.flusher.Wait()
}

// flush writes all states that are dirty now. Only one flush runs at a time.
func (b *behind) flush(ctx context.Context) error {
	select {
	case b.turn <- struct{}{}:
	case <-ctx.Done():
		return b.flushError([]error{ctx.Err()})
	}
	defer func() { <-b.turn }()

	var errs []error
	for _, sl := range b.dirty() {
		err := b.flushOne(ctx, sl)
		if err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil || hopeless(err) {
			break
		}
	}
	return b.flushError(errs)
}

// hopeless reports whether, after err, the other writes would fail as well.
func hopeless(err error) bool {
	return errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded)
}

func (b *behind) flushError(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	return &FlushError{Pending: len(b.dirty()), Err: errors.Join(errs...)}
}

func (b *behind) dirty() []*slot {
	b.mu.Lock()
	defer b.mu.Unlock()
	slots := make([]*slot, 0, len(b.memory.dirty))
	for sl := range b.memory.dirty {
		slots = append(slots, sl)
	}
	return slots
}

// flushOne writes the state of sl. If the state changes meanwhile, it stays dirty.
func (b *behind) flushOne(ctx context.Context, sl *slot) error {
	b.mu.Lock()
	st, changes, dirty := sl.state, sl.changes, sl.dirty
	b.mu.Unlock()
	if !dirty {
		return nil
	}

	// Write without holding the lock.
	if err := b.writeBack(ctx, sl.key, st); err != nil {
		return err
	}

	// The state is clean only if no write came in between.
	b.mu.Lock()
	defer b.mu.Unlock()
	if sl.dirty && sl.changes == changes {
		b.memory.written(sl, time.Now())
	}
	return nil
}

// writeBack writes without a condition, so that it can be repeated if it is unknown
// whether it took effect. It recovers a panic of the back store, which would otherwise
// end the program.
func (b *behind) writeBack(ctx context.Context, key string, st state) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic in the back store: value of type %T", r)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if st.absent {
		return b.back.Delete(ctx, key, store.Any())
	}
	_, err = b.back.Store(ctx, key, st.value, store.Any())
	return err
}
