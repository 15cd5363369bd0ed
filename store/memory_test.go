package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/everfresh-go/everfresh/store"
)

func TestMemoryZeroValue(t *testing.T) {
	ctx := t.Context()
	for name, call := range map[string]func(m *store.Memory) error{
		"Load": func(m *store.Memory) error {
			_, err := m.Load(ctx, "k")
			return wantErr(err, store.ErrNotFound)
		},
		"Store": func(m *store.Memory) error {
			_, err := m.Store(ctx, "k", nil, store.Any())
			return err
		},
		"Delete": func(m *store.Memory) error { return m.Delete(ctx, "k", store.Any()) },
		"List":   func(m *store.Memory) error { return wantKeys(ctx, m) },
		"Ping":   func(m *store.Memory) error { return m.Ping(ctx) },
		"Close":  (*store.Memory).Close,
	} {
		t.Run(name, func(t *testing.T) {
			if err := call(new(store.Memory)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMemoryListIsSorted(t *testing.T) {
	var m store.Memory
	for _, key := range []string{"b", "a", "", "c", "a/b", "\xff", "A"} {
		if _, err := put(t.Context(), &m, key, key); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for info, err := range m.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, info.Key)
	}
	if want := []string{"", "A", "a", "a/b", "b", "c", "\xff"}; !slices.Equal(got, want) {
		t.Errorf("List = %q, want %q", got, want)
	}
}

func TestMemoryListIsASnapshot(t *testing.T) {
	ctx := t.Context()
	var m store.Memory
	list := m.List(ctx, "") // made before the first Store, begins after it
	first, err := put(ctx, &m, "a", "old")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := put(ctx, &m, "b", "old"); err != nil {
		t.Fatal(err)
	}
	var got []store.Meta
	for info, err := range list {
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			_, errStore := put(ctx, &m, "c", "new")
			if err := errors.Join(errStore, m.Delete(ctx, "b", store.Any())); err != nil {
				t.Fatal(err)
			}
		}
		got = append(got, info)
	}
	if len(got) != 2 || got[0] != (store.Meta{Key: "a", Version: first, Size: 3}) || got[1].Key != "b" {
		t.Errorf("the loop saw %+v, want a and b as they were when it began", got)
	}
	if err := wantKeys(ctx, &m, "a", "c"); err != nil {
		t.Errorf("a later loop: %v", err)
	}
}

func TestMemoryListOutlivesClose(t *testing.T) {
	ctx := t.Context()
	var m store.Memory
	for _, key := range []string{"a", "b"} {
		if _, err := put(ctx, &m, key, key); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	for _, err := range m.List(ctx, "") {
		if err := errors.Join(err, m.Close()); err != nil {
			t.Fatal(err)
		}
		seen++
	}
	if seen != 2 {
		t.Errorf("the loop saw %d items, want 2", seen)
	}
}

func TestMemoryPing(t *testing.T) {
	var m store.Memory
	if err := m.Ping(t.Context()); err != nil {
		t.Errorf("Ping = %v, want nil", err)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Ping(done); !errors.Is(err, context.Canceled) {
		t.Errorf("Ping with a done ctx = %v, want %v", err, context.Canceled)
	}
}

func put(ctx context.Context, s store.Storage, key, value string) (store.Version, error) {
	return s.Store(ctx, key, []byte(value), store.Any())
}

func wantKeys(ctx context.Context, s store.Storage, want ...string) error {
	var got []string
	for info, err := range s.List(ctx, "") {
		if err != nil {
			return err
		}
		got = append(got, info.Key)
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("the keys are %q, want %q", got, want)
	}
	return nil
}

func wantErr(got, want error) error {
	if !errors.Is(got, want) {
		return fmt.Errorf("the error is %w, want %w", got, want)
	}
	return nil
}
