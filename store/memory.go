package store

import (
	"bytes"
	"context"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
)

var (
	_ Storage   = (*Memory)(nil)
	_ Pinger    = (*Memory)(nil)
	_ io.Closer = (*Memory)(nil)
)

// A Memory is a [Storage] in the memory of the process. It is meant for tests and
// for programs that do not need records after a restart. The zero value is an empty
// store, ready for use. A Memory must not be copied after first use.
//
// All methods are safe for concurrent use, and wait only for each other. Values are
// copied when they are stored and when they are loaded. Versions come from one
// counter for all keys. A List is sorted by key and shows the store as it was when
// the loop began. Neither the size of a value nor the number of items is limited,
// and nothing is evicted. The errors of a Memory are [ErrNotFound],
// [*ConflictError], [ErrTooLarge] for a key, [ErrClosed], and the error of ctx.
type Memory struct {
	mu     sync.RWMutex
	items  map[string]memoryItem // guarded by mu; nil before the first Store and after Close
	stores uint64                // guarded by mu; the number of successful Stores, which only grows
	closed bool                  // guarded by mu
}

type memoryItem struct {
	value   []byte // never modified, so it may be read without the lock
	version Version
}

// Load implements [Storage].
func (m *Memory) Load(ctx context.Context, key string) (Item, error) {
	if err := checkCall(ctx, key); err != nil {
		return Item{}, err
	}
	item, err := m.load(key)
	if err != nil {
		return Item{}, err
	}
	return Item{Key: key, Value: bytes.Clone(item.value), Version: item.version}, nil
}

func (m *Memory) load(key string) (memoryItem, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return memoryItem{}, ErrClosed
	}
	item, ok := m.items[key]
	if !ok {
		return memoryItem{}, ErrNotFound
	}
	return item, nil
}

// Store implements [Storage].
func (m *Memory) Store(ctx context.Context, key string, value []byte, cond Condition) (Version, error) {
	if err := checkCall(ctx, key); err != nil {
		return "", err
	}
	value = bytes.Clone(value) // before locking, to hold the lock only briefly

	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return "", ErrClosed
	}
	if current := m.items[key].version; !cond.Holds(current) {
		return "", &ConflictError{Current: current}
	}
	if m.items == nil {
		m.items = make(map[string]memoryItem)
	}
	m.stores++
	version := Version(strconv.FormatUint(m.stores, 10))
	m.items[key] = memoryItem{value: value, version: version}
	return version, nil
}

// Delete implements [Storage].
func (m *Memory) Delete(ctx context.Context, key string, cond Condition) error {
	if err := checkCall(ctx, key); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	item, ok := m.items[key]
	if ok && !cond.Holds(item.version) {
		return &ConflictError{Current: item.version}
	}
	delete(m.items, key)
	return nil
}

// List implements [Storage].
func (m *Memory) List(ctx context.Context, prefix string) iter.Seq2[Meta, error] {
	return func(yield func(Meta, error) bool) {
		infos, err := m.snapshot(ctx, prefix)
		for _, info := range infos {
			if err = ctx.Err(); err != nil {
				break
			}
			if !yield(info, nil) {
				return
			}
		}
		if err != nil {
			yield(Meta{}, err)
		}
	}
}

func (m *Memory) snapshot(ctx context.Context, prefix string) ([]Meta, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	infos, err := m.infos(prefix)
	slices.SortFunc(infos, func(a, b Meta) int { return strings.Compare(a.Key, b.Key) })
	return infos, err
}

func (m *Memory) infos(prefix string) ([]Meta, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, ErrClosed
	}
	var infos []Meta
	for key, item := range m.items {
		if strings.HasPrefix(key, prefix) {
			infos = append(infos, Meta{Key: key, Version: item.version, Size: int64(len(item.value))})
		}
	}
	return infos, nil
}

// Ping implements [Pinger].
func (m *Memory) Ping(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return ErrClosed
	}
	return nil
}

// Close drops all items. Every later call except Close returns [ErrClosed]; Close
// always returns nil. A List in progress continues with the items it has.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.items = nil
	return nil
}

// checkCall returns the error of a call with ctx and key that does not depend on the
// state of the store.
func checkCall(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(key) > MaxKeyLen {
		return ErrTooLarge
	}
	return nil
}
