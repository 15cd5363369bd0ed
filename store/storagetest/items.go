package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/everfresh-go/everfresh/store"
)

func checkKeys(ctx context.Context, s store.Storage, _ config) error {
	keys := []string{
		"", "\x00", "\x00\x00", " ", ".", "..", "../k", "/", "//", "/k", "k", "k/", "k/k", "k/../k", `k\k`,
		"K", "k.", "k ", " k", "k\x00", "k\n", "k*", "k?", "k[a]", "k%", "k_", "k.tmp", ".k", "-k", "k:k", "con", "nul.txt",
		string(allBytes()), "é", "e\u0301", "日本", "\xff", "\xc3", "\xc3\x28", "https://a.test/b?c=d&e=%2F#f",
		strings.Repeat("x", 255), strings.Repeat("x", 256), strings.Repeat("\xff", store.MaxKeyLen), strings.Repeat("/", store.MaxKeyLen),
	}
	for _, key := range keys {
		if _, err := put(ctx, s, key, "value of "+key); err != nil {
			return fmt.Errorf("key %.40q: %w", key, err)
		}
	}
	for _, key := range keys { // in a second loop, to find keys that collide
		if err := wantValue(ctx, s, key, "value of "+key); err != nil {
			return fmt.Errorf("key %.40q: %w", key, err)
		}
	}
	return wantKeys(ctx, s, "", keys...)
}

func checkLongKey(ctx context.Context, s store.Storage, _ config) error {
	key := strings.Repeat("x", store.MaxKeyLen+1)
	_, errLoad := s.Load(ctx, key)
	_, errStore := put(ctx, s, key, "v")
	for _, err := range []error{errLoad, errStore, s.Delete(ctx, key, store.Any())} {
		if err := wantErr(err, store.ErrTooLarge); err != nil {
			return err
		}
	}
	return wantKeys(ctx, s, "")
}

func checkValues(ctx context.Context, s store.Storage, conf config) error {
	all := allBytes()
	for _, value := range [][]byte{nil, {}, {0}, []byte("\r\n"), all, bytes.Repeat(all, 1<<8)} {
		if conf.maxValue >= 0 && int64(len(value)) > conf.maxValue {
			continue
		}
		if _, err := s.Store(ctx, "k", value, store.Any()); err != nil {
			return fmt.Errorf("%d bytes: %w", len(value), err)
		}
		if err := wantValue(ctx, s, "k", string(value)); err != nil {
			return fmt.Errorf("%d bytes: %w", len(value), err)
		}
	}
	if conf.maxValue >= 0 {
		return checkLimit(ctx, s, conf.maxValue)
	}
	return checkLargeValue(ctx, s)
}

func allBytes() []byte {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return all
}

// checkLimit stores a value of the maximum size and one that is a byte larger.
func checkLimit(ctx context.Context, s store.Storage, limit int64) error {
	largest := strings.Repeat("x", int(limit))
	if _, err := put(ctx, s, "large", largest); err != nil {
		return fmt.Errorf("%d bytes: %w", limit, err)
	}
	_, err := put(ctx, s, "large", largest+"y")
	if err := wantErr(err, store.ErrTooLarge); err != nil {
		return fmt.Errorf("%d bytes: %w", limit+1, err)
	}
	return wantValue(ctx, s, "large", largest)
}

// checkLargeValue stores a value that is too large for some stores.
func checkLargeValue(ctx context.Context, s store.Storage) error {
	if _, err := put(ctx, s, "large", "old"); err != nil {
		return err
	}
	want := strings.Repeat("large", 1<<20)
	_, err := put(ctx, s, "large", want)
	if errors.Is(err, store.ErrTooLarge) {
		want, err = "old", nil
	}
	if err != nil {
		return err
	}
	return wantValue(ctx, s, "large", want)
}

func checkLoadAbsent(ctx context.Context, s store.Storage, _ config) error {
	if _, err := put(ctx, s, "k", "v"); err != nil {
		return err
	}
	for _, key := range []string{"", "K", "k/", "kk"} {
		item, err := s.Load(ctx, key)
		if err := wantErr(err, store.ErrNotFound); err != nil {
			return err
		}
		if item.Key != "" || item.Value != nil || item.Version != "" {
			return fmt.Errorf("the item is %+v, want the zero Item", item)
		}
	}
	return nil
}

func checkRoundTrip(ctx context.Context, s store.Storage, _ config) error {
	for _, value := range []string{"first", "second", "second", "", "fifth"} {
		version, err := put(ctx, s, "k", value)
		if err != nil {
			return err
		}
		item, err := s.Load(ctx, "k")
		if err != nil {
			return err
		}
		if item.Key != "k" || string(item.Value) != value || item.Version != version {
			return fmt.Errorf("the item is %+v, want key k, value %q, version %q", item, value, version)
		}
	}
	return nil
}

func checkReadYourWrites(ctx context.Context, s store.Storage, _ config) error {
	const last = 100
	var stored atomic.Int64 // the number in the last value whose Store returned
	if _, err := put(ctx, s, "k", "0"); err != nil {
		return err
	}
	write := func() error {
		defer stored.Store(last) // makes the readers stop, even after an error
		for n := range last {
			if _, err := put(ctx, s, "k", fmt.Sprint(n+1)); err != nil {
				return err
			}
			stored.Store(int64(n + 1))
		}
		return nil
	}
	return race(4, func(i int) error {
		if i == 0 {
			return write()
		}
		for seen := int64(0); seen < last; {
			seen = stored.Load()
			if err := wantAtLeast(ctx, s, "k", seen); err != nil {
				return err
			}
		}
		return nil
	})
}

func wantAtLeast(ctx context.Context, s store.Storage, key string, want int64) error {
	item, err := s.Load(ctx, key)
	if err != nil {
		return err
	}
	var got int64
	if _, err := fmt.Sscan(string(item.Value), &got); err != nil {
		return err
	}
	if got < want {
		return fmt.Errorf("the value is %d, after Store of %d had returned", got, want)
	}
	return nil
}

func checkStoreCopies(ctx context.Context, s store.Storage, _ config) error {
	value := []byte("abc")
	if _, err := s.Store(ctx, "k", value, store.Any()); err != nil {
		return err
	}
	value[0] = 'X'
	return wantValue(ctx, s, "k", "abc")
}

func checkLoadCopies(ctx context.Context, s store.Storage, _ config) error {
	if _, err := put(ctx, s, "k", "abc"); err != nil {
		return err
	}
	changed, err := s.Load(ctx, "k")
	if err != nil {
		return err
	}
	changed.Value[0] = 'X'
	item, err := s.Load(ctx, "k")
	if err != nil {
		return err
	}
	if err := overwriteMany(ctx, s); err != nil {
		return err
	}
	if string(item.Value) != "abc" {
		return fmt.Errorf("the loaded value now reads %q, want abc", item.Value)
	}
	return nil
}

// overwriteMany makes a store reuse pages, buffers and slices that it may have handed out.
func overwriteMany(ctx context.Context, s store.Storage) error {
	for round := range 10 {
		for i := range 20 {
			if _, err := put(ctx, s, fmt.Sprint("k", i), strings.Repeat(fmt.Sprint(round), 500)); err != nil {
				return err
			}
		}
		if _, err := put(ctx, s, "k", fmt.Sprintf("d%02d", round)); err != nil {
			return err
		}
	}
	return s.Delete(ctx, "k", store.Any())
}
