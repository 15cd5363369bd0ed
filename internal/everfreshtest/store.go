package everfreshtest

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/everfresh-go/everfresh/store"
)

// A Hook is called before a method of a storage with its key. Its error is the method's.
type Hook func(ctx context.Context, key string) error

// Hooked is a storage that calls hooks before it does what the storage in it does, or what
// a function does in its place, and counts the calls. It has none of the optional
// capabilities of the storage in it.
type Hooked struct {
	store.Storage

	LoadFunc   func(ctx context.Context, key string) (store.Item, error)
	StoreFunc  func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error)
	DeleteFunc func(ctx context.Context, key string, cond store.Condition) error
	ListFunc   func(ctx context.Context, prefix string) iter.Seq2[store.Meta, error]

	mu                        sync.Mutex
	onLoad, onStore, onDelete Hook
	loads, stores, deletes    int
}

// NewHooked returns a storage without hooks in front of an empty one in memory.
func NewHooked() *Hooked { return &Hooked{Storage: new(store.Memory)} }

// OnLoad makes Load call hook first; nil ends that.
func (s *Hooked) OnLoad(hook Hook) { s.set(hook, &s.onLoad) }

// OnStore makes Store call hook first.
func (s *Hooked) OnStore(hook Hook) { s.set(hook, &s.onStore) }

// OnDelete makes Delete call hook first.
func (s *Hooked) OnDelete(hook Hook) { s.set(hook, &s.onDelete) }

// OnAll makes Load, Store and Delete call hook first.
func (s *Hooked) OnAll(hook Hook) { s.set(hook, &s.onLoad, &s.onStore, &s.onDelete) }

func (s *Hooked) set(hook Hook, hooks ...*Hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range hooks {
		*h = hook
	}
}

func (s *Hooked) before(ctx context.Context, key string, n *int, hook *Hook) error {
	s.mu.Lock()
	*n++
	f := *hook
	s.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(ctx, key)
}

// Load implements [store.Storage].
func (s *Hooked) Load(ctx context.Context, key string) (store.Item, error) {
	if err := s.before(ctx, key, &s.loads, &s.onLoad); err != nil {
		return store.Item{}, err
	}
	if s.LoadFunc != nil {
		return s.LoadFunc(ctx, key)
	}
	return s.Storage.Load(ctx, key)
}

// Store implements [store.Storage].
func (s *Hooked) Store(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
	if err := s.before(ctx, key, &s.stores, &s.onStore); err != nil {
		return "", err
	}
	if s.StoreFunc != nil {
		return s.StoreFunc(ctx, key, value, cond)
	}
	return s.Storage.Store(ctx, key, value, cond)
}

// Delete implements [store.Storage].
func (s *Hooked) Delete(ctx context.Context, key string, cond store.Condition) error {
	if err := s.before(ctx, key, &s.deletes, &s.onDelete); err != nil {
		return err
	}
	if s.DeleteFunc != nil {
		return s.DeleteFunc(ctx, key, cond)
	}
	return s.Storage.Delete(ctx, key, cond)
}

// List implements [store.Storage].
func (s *Hooked) List(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
	if s.ListFunc != nil {
		return s.ListFunc(ctx, prefix)
	}
	return s.Storage.List(ctx, prefix)
}

// Count returns how often Load, Store and Delete were called.
func (s *Hooked) Count() (loads, stores, deletes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loads, s.stores, s.deletes
}

// Stuck is a [Hook]: the call takes until its context ends.
func Stuck(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// Unavailable is a [Hook]: the storage is down.
func Unavailable(context.Context, string) error { return store.ErrUnavailable }

// Panic is a [Hook]: the storage panics.
func Panic(context.Context, string) error { panic("store is broken") }

// After returns a [Hook]: the call takes d, or until its context ends.
func After(d time.Duration) Hook {
	return func(ctx context.Context, _ string) error {
		if !Sleep(ctx, d) {
			return ctx.Err()
		}
		return nil
	}
}
