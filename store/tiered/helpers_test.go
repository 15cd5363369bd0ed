package tiered_test

import (
	"errors"
	"testing"

	"github.com/everfresh-go/everfresh/store"
)

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
