package tiered_test

import (
	"context"
	"errors"
	"testing"

	"github.com/everfresh-go/everfresh/store"
)

// hooked is a store that calls what it is given instead, and has no powers.
type hooked struct {
	store.Storage

	load   func(ctx context.Context, key string) (store.Item, error)
	put    func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error)
	remove func(ctx context.Context, key string, cond store.Condition) error
}

func (h *hooked) Load(ctx context.Context, key string) (store.Item, error) {
	if h.load != nil {
		return h.load(ctx, key)
	}
	return h.Storage.Load(ctx, key)
}

func (h *hooked) Store(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
	if h.put != nil {
		return h.put(ctx, key, value, cond)
	}
	return h.Storage.Store(ctx, key, value, cond)
}

func (h *hooked) Delete(ctx context.Context, key string, cond store.Condition) error {
	if h.remove != nil {
		return h.remove(ctx, key, cond)
	}
	return h.Storage.Delete(ctx, key, cond)
}

func put(t *testing.T, s store.Storage, key, value string) store.Version {
	t.Helper()
	v, err := s.Store(t.Context(), key, []byte(value), store.Any())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func remove(t *testing.T, s store.Storage, key string) {
	t.Helper()
	if err := s.Delete(t.Context(), key, store.Any()); err != nil {
		t.Fatal(err)
	}
}

// wantValue checks what a Load returns; "" stands for ErrNotFound.
func wantValue(t *testing.T, s store.Storage, key, want string) store.Version {
	t.Helper()
	item, err := s.Load(t.Context(), key)
	switch {
	case want == "" && errors.Is(err, store.ErrNotFound):
	case err != nil || string(item.Value) != want || want == "":
		t.Errorf("Load(%q) = %.40q, %v, want %.40q", key, item.Value, err, want)
	}
	return item.Version
}
