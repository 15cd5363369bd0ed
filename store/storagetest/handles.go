package storagetest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/everfresh-go/everfresh/store"
)

func checkReopen(ctx context.Context, open func() store.Storage) error {
	s := open()
	if err := fill(ctx, s); err != nil {
		return err
	}
	want, err := contents(ctx, s)
	if err != nil {
		return err
	}
	if err := closeStore(s); err != nil {
		return err
	}
	s = open()
	got, err := contents(ctx, s)
	if err != nil {
		return err
	}
	for key, item := range want {
		if got[key] != item {
			return fmt.Errorf("key %.40q: after Close and open there is %.80q, want %.80q", key, got[key], item)
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("there are %d items after Close and open, want %d", len(got), len(want))
	}
	item, err := s.Load(ctx, "")
	if err != nil {
		return err
	}
	_, err = s.Store(ctx, "", nil, store.IfVersion(item.Version))
	return err
}

// fill leaves items in s that were created, replaced, or left alone while others were
// deleted.
func fill(ctx context.Context, s store.Storage) error {
	for i, key := range []string{"", "k", "K", "k", "\x00\xff", "/../k", strings.Repeat("k", store.MaxKeyLen), "gone", "gone/not"} {
		if _, err := put(ctx, s, key, strings.Repeat("x", i)); err != nil {
			return err
		}
	}
	return s.Delete(ctx, "gone", store.Any())
}

// contents returns all items of s, each as a string.
func contents(ctx context.Context, s store.Storage) (map[string]string, error) {
	keys, err := keysOf(s.List(ctx, ""))
	if err != nil {
		return nil, err
	}
	items := make(map[string]string)
	for _, key := range keys {
		item, err := s.Load(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("key %.40q: %w", key, err)
		}
		items[key] = string(item.Version) + ": " + string(item.Value)
	}
	return items, nil
}

func checkReopenVersions(ctx context.Context, open func() store.Storage) error {
	seen := make(map[store.Version]bool)
	for round := range 6 {
		s := open()
		if err := errors.Join(putFresh(ctx, s, seen), putFresh(ctx, s, seen)); err != nil {
			return fmt.Errorf("handle %d: %w", round+1, err)
		}
		if round%2 == 1 {
			if err := s.Delete(ctx, "k", store.Any()); err != nil {
				return err
			}
		}
		if err := closeStore(s); err != nil {
			return err
		}
	}
	return nil
}

func checkTwoHandles(ctx context.Context, open func() store.Storage) error {
	a, b := open(), open()
	for round := range 8 {
		value := fmt.Sprint(round)
		version, err := put(ctx, a, "k", value)
		if err != nil {
			return err
		}
		item, err := b.Load(ctx, "k")
		if err != nil {
			return fmt.Errorf("the other handle: %w", err)
		}
		if string(item.Value) != value || item.Version != version {
			return fmt.Errorf("the other handle loads %+v, want value %q, version %q", item, value, version)
		}
		if err := errors.Join(wantKeys(ctx, b, "", "k"), b.Delete(ctx, "k", store.IfVersion(version))); err != nil {
			return fmt.Errorf("the other handle: %w", err)
		}
		_, err = a.Load(ctx, "k")
		if err := wantErr(err, store.ErrNotFound); err != nil {
			return fmt.Errorf("after the other handle has deleted: %w", err)
		}
		a, b = b, a
	}
	if err := closeStore(a); err != nil {
		return err
	}
	_, err := put(ctx, b, "k", "after the other handle was closed")
	return err
}

func checkTwoHandlesRace(ctx context.Context, open func() store.Storage) error {
	return oneStoreWins(ctx, open(), open())
}
