package storagetest

import (
	"context"
	"fmt"
	"sync"

	"github.com/everfresh-go/everfresh/store"
)

// A handle is one of several on a place, which is a Memory that outlives them.
type handle struct {
	store.Storage
	load func(ctx context.Context, key string) (store.Item, error)
	put  func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error)
}

func (h *handle) Load(ctx context.Context, key string) (store.Item, error) {
	if h.load != nil {
		return h.load(ctx, key)
	}
	return h.Storage.Load(ctx, key)
}

func (h *handle) Store(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
	if h.put != nil {
		return h.put(ctx, key, value, cond)
	}
	return h.Storage.Store(ctx, key, value, cond)
}

// handleMutants break what only shows with two handles on a place.
var handleMutants = []struct {
	name  string
	fails []string
	open  func(place *store.Memory) store.Storage
}{
	{"keeps nothing", []string{"Reopen", "TwoHandles"}, func(*store.Memory) store.Storage { return new(store.Memory) }},
	{"counts versions from 1 in each handle", []string{"ReopenVersions"}, countFromOne},
	{"caches what it loaded", []string{"TwoHandles"}, cacheLoads},
	{"checks conditions under a lock of the handle", []string{"TwoHandlesRace"}, lockInHandle},
}

func countFromOne(place *store.Memory) store.Storage {
	h, n := &handle{Storage: place}, 0
	h.put = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		n++
		_, err := place.Store(ctx, key, value, cond)
		return store.Version(fmt.Sprint(n)), err
	}
	return h
}

func cacheLoads(place *store.Memory) store.Storage {
	h, cache := &handle{Storage: place}, make(map[string]store.Item)
	h.load = func(ctx context.Context, key string) (store.Item, error) {
		if item, ok := cache[key]; ok {
			return item, nil
		}
		item, err := place.Load(ctx, key)
		if err == nil {
			cache[key] = item
		}
		return item, err
	}
	return h
}

// lockInHandle lets both handles see that the condition holds before either writes,
// so that two winners do not depend on luck.
func lockInHandle(place *store.Memory) store.Storage {
	h := &handle{Storage: place}
	var mu sync.Mutex
	current := store.Version("") // as this handle knows it
	h.put = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		mu.Lock()
		defer mu.Unlock()
		if !cond.Holds(current) {
			return "", &store.ConflictError{Current: current}
		}
		v, err := place.Store(ctx, key, value, store.Any())
		current = v
		return v, err
	}
	return h
}
