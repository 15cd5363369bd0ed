package tiered

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/everfresh-go/everfresh/store"
)

// A behind implements write-behind: it writes to memory, and to the back store later.
// Memory decides conditions. A state that is not in memory is not dirty, so the back
// store has it.
type behind struct {
	*core

	interval time.Duration
	failed   func(error)
	prefix   string // of versions; differs after each start, because versions are never reused

	stores  uint64             // guarded by mu; the number of the latest version
	running bool               // guarded by mu; whether there is a flusher
	cancel  context.CancelFunc // guarded by mu; ends the flusher, if there was one
	flusher sync.WaitGroup

	turn chan struct{} // holds a token during a flush: one at a time keeps the order of a key's writes
}

func newBehind(c *core, interval time.Duration, failed func(error)) *behind {
	return &behind{
		core: c, interval: interval, failed: failed,
		prefix: "b" + rand.Text() + ".", turn: make(chan struct{}, 1),
	}
}

// errNoRoom says that a write has to wait until others have been flushed.
var errNoRoom = errors.New("no room in memory")

// errAgain says that another write came in between, so the call starts again.
var errAgain = errors.New("the key was written meanwhile")

// Load implements [store.Storage].
func (b *behind) Load(ctx context.Context, key string) (store.Item, error) {
	var st state
	if err := b.inspect(ctx, key, func(_ *slot, current state) error {
		st = current
		return nil
	}); err != nil {
		return store.Item{}, err
	}
	if st.absent {
		return store.Item{}, store.ErrNotFound
	}
	return store.Item{Key: key, Value: bytes.Clone(st.value), Version: st.version}, nil
}

// inspect calls f with the state of key, which cannot change during the call. It asks
// the back store if the state is not in memory.
func (b *behind) inspect(ctx context.Context, key string, f func(sl *slot, current state) error) error {
	for {
		err := b.inspectOnce(ctx, key, f)
		if !errors.Is(err, errAgain) {
			return err
		}
	}
}

func (b *behind) inspectOnce(ctx context.Context, key string, f func(sl *slot, current state) error) error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return store.ErrClosed
	}
	sl := b.memory.use(key)
	defer b.release(sl)
	before := sl.changes
	if sl.held {
		defer b.mu.Unlock() // runs before release, which locks mu
		b.memory.touch(sl)
		return f(sl, sl.state)
	}
	b.mu.Unlock()

	// Ask the back store without holding the lock.
	item, err := b.back.Load(ctx, key)
	st := state{value: item.Value, version: item.Version}
	if errors.Is(err, store.ErrNotFound) {
		st, err = state{absent: true}, nil
	}

	// Its answer counts only if the key was not written meanwhile.
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case sl.held || sl.changes != before:
		return errAgain
	case err != nil:
		return err
	case b.closed:
		return store.ErrClosed
	case !st.absent:
		b.memory.keep(sl, st, time.Now())
	}
	return f(sl, st)
}

// Store implements [store.Storage].
func (b *behind) Store(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
	if cost(key, value) > b.memory.max { // max never changes
		return "", store.ErrTooLarge
	}
	st := state{value: bytes.Clone(value)}
	err := b.write(ctx, key, cond, func(sl *slot, current state) error { //nolint:contextcheck // The flusher outlives the call.
		if !cond.Holds(current.version) {
			return &store.ConflictError{Current: current.version}
		}
		b.stores++
		st.version = store.Version(b.prefix + strconv.FormatUint(b.stores, 10))
		return b.putLocked(sl, st)
	})
	if err != nil {
		return "", err
	}
	return st.version, nil
}

// Delete implements [store.Storage].
func (b *behind) Delete(ctx context.Context, key string, cond store.Condition) error {
	return b.write(ctx, key, cond, func(sl *slot, current state) error { //nolint:contextcheck // The flusher outlives the call.
		switch {
		case current.absent:
			return nil
		case !cond.Holds(current.version):
			return &store.ConflictError{Current: current.version}
		}
		return b.putLocked(sl, state{absent: true})
	})
}

// write calls f with the state of key, which cannot change during the call. Without a
// condition f does not need the state, which may then be the zero state. If there is no
// room in memory, write flushes and tries again.
func (b *behind) write(ctx context.Context, key string, cond store.Condition, f func(sl *slot, current state) error) error {
	_, conditional := cond.Want()
	for {
		var err error
		if conditional {
			err = b.inspect(ctx, key, f)
		} else {
			err = b.writeAny(key, f)
		}
		if !errors.Is(err, errNoRoom) {
			return err
		}
		if err := b.flush(ctx); err != nil {
			return fmt.Errorf("%w: no room for more: %w", store.ErrUnavailable, err)
		}
	}
}

func (b *behind) writeAny(key string, f func(sl *slot, current state) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return store.ErrClosed
	}
	sl := b.memory.use(key)
	defer b.memory.done(sl)
	return f(sl, sl.state)
}

// putLocked sets the state of sl to st and makes sure that it will be flushed.
func (b *behind) putLocked(sl *slot, st state) error {
	if !b.memory.write(sl, st) {
		return errNoRoom
	}
	if !b.running {
		ctx, cancel := context.WithCancel(context.Background())
		b.running, b.cancel = true, cancel
		b.flusher.Go(func() {
			defer cancel()
			b.run(ctx)
		})
	}
	return nil
}

// List implements [store.Storage]. It yields the items that were in memory when the loop
// began, and then the others of the back store. A key that is not written meanwhile is
// either in memory at that time or in the back store, and is therefore not missed.
func (b *behind) List(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
	return func(yield func(store.Meta, error) bool) {
		held, err := b.snapshot(ctx, prefix)
		if err != nil {
			yield(store.Meta{}, err)
			return
		}
		if !yieldHeld(ctx, held, yield) {
			return
		}
		for info, err := range b.back.List(ctx, prefix) {
			if _, ok := held[info.Key]; ok && err == nil {
				continue
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// yieldHeld yields the items in held and reports whether the loop continues.
func yieldHeld(ctx context.Context, held map[string]state, yield func(store.Meta, error) bool) bool {
	for key, st := range held {
		if err := ctx.Err(); err != nil {
			yield(store.Meta{}, err)
			return false
		}
		if !st.absent && !yield(store.Meta{Key: key, Version: st.version, Size: int64(len(st.value))}, nil) {
			return false
		}
	}
	return true
}

func (b *behind) snapshot(ctx context.Context, prefix string) (map[string]state, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, store.ErrClosed
	}
	held := make(map[string]state)
	for key, sl := range b.memory.slots {
		if sl.held && strings.HasPrefix(key, prefix) {
			held[key] = sl.state
		}
	}
	return held, nil
}
