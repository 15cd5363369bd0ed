package tiered

import (
	"bytes"
	"context"
	"iter"
	"time"

	"github.com/everfresh-go/everfresh/store"
)

// A through implements write-through: it writes to the back store first. Memory only has
// states that the back store had at some time since the last write of this process. A
// call therefore keeps its result only if no write of the same key ran at the same time,
// because the order of the two is unknown.
type through struct {
	*core

	maxAge time.Duration
}

// Load implements [store.Storage].
func (t *through) Load(ctx context.Context, key string) (store.Item, error) {
	st, sl, before, err := t.begin(key)
	if err != nil {
		return store.Item{}, err
	}
	if sl == nil {
		return store.Item{Key: key, Value: bytes.Clone(st.value), Version: st.version}, nil
	}
	defer t.release(sl)
	item, err := t.back.Load(ctx, key)
	if err != nil {
		return store.Item{}, err
	}
	t.loaded(sl, before, state{value: item.Value, version: item.Version})
	item.Value = bytes.Clone(item.Value)
	return item, nil
}

// begin returns the state that memory has. If it has none, or one that is too old, begin
// returns the slot, which the caller releases, and its count of changes.
func (t *through) begin(key string) (st state, sl *slot, before uint64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return state{}, nil, 0, store.ErrClosed
	}
	sl = t.memory.use(key)
	if sl.held && t.maxAge > 0 && time.Since(sl.since) >= t.maxAge {
		t.memory.forget(sl)
	}
	if !sl.held {
		return state{}, sl, sl.changes, nil
	}
	t.memory.touch(sl)
	st = sl.state
	t.memory.done(sl)
	return st, nil, 0, nil
}

// loaded keeps the result of a Load, unless a write of the key ran at the same time.
func (t *through) loaded(sl *slot, before uint64, st state) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if sl.writers == 0 && sl.changes == before && !t.closed {
		t.memory.keep(sl, st, time.Now())
	}
}

// Store implements [store.Storage].
func (t *through) Store(ctx context.Context, key string, value []byte, cond store.Condition) (v store.Version, err error) {
	sl, before, err := t.beginWrite(key)
	if err != nil {
		return "", err
	}
	defer t.release(sl)
	st := state{absent: true}
	defer func() { t.endWrite(sl, before, st) }()
	if v, err = t.back.Store(ctx, key, value, cond); err == nil {
		st = state{value: bytes.Clone(value), version: v}
	}
	return v, err
}

// Delete implements [store.Storage].
func (t *through) Delete(ctx context.Context, key string, cond store.Condition) error {
	sl, before, err := t.beginWrite(key)
	if err != nil {
		return err
	}
	defer t.release(sl)
	defer t.endWrite(sl, before, state{absent: true})
	return t.back.Delete(ctx, key, cond)
}

// beginWrite makes all Loads of the key ask the back store until endWrite is called. The
// caller releases the slot.
func (t *through) beginWrite(key string) (sl *slot, before uint64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, 0, store.ErrClosed
	}
	sl = t.memory.use(key)
	t.memory.forget(sl)
	sl.writers++
	return sl, sl.changes, nil
}

// endWrite keeps st, unless it is absent or another write of the key ran at the same time.
func (t *through) endWrite(sl *slot, before uint64, st state) {
	t.mu.Lock()
	defer t.mu.Unlock()
	sl.writers--
	if !st.absent && sl.writers == 0 && sl.changes == before && !t.closed {
		t.memory.keep(sl, st, time.Now())
	}
	sl.changes++
}

// List implements [store.Storage].
func (t *through) List(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
	return func(yield func(store.Meta, error) bool) {
		if err := t.open(ctx); err != nil {
			yield(store.Meta{}, err)
			return
		}
		t.back.List(ctx, prefix)(yield)
	}
}
