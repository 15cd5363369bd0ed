package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/everfresh-go/everfresh/store"
)

func put(ctx context.Context, s store.Storage, key, value string) (store.Version, error) {
	return s.Store(ctx, key, []byte(value), store.Any())
}

// callAll calls every method of Storage and returns their errors.
func callAll(ctx context.Context, s store.Storage, key string) map[string]error {
	_, errLoad := s.Load(ctx, key)
	_, errStore := put(ctx, s, key, "new")
	_, errCreate := s.Store(ctx, key+"2", nil, store.IfAbsent())
	_, errList := keysOf(s.List(ctx, key))
	return map[string]error{
		"Load":   errLoad,
		"Store":  errStore,
		"Create": errCreate,
		"Delete": s.Delete(ctx, key, store.Any()),
		"List":   errList,
	}
}

// race runs f in n goroutines that start together, and joins their errors.
func race(n int, f func(i int) error) error {
	var wg sync.WaitGroup
	start := make(chan struct{})
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return errors.Join(errs...)
}

func keysOf(list func(func(store.Meta, error) bool)) ([]string, error) {
	var keys []string
	for info, err := range list {
		if err != nil {
			return nil, err
		}
		keys = append(keys, info.Key)
	}
	return keys, nil
}

func wantKeys(ctx context.Context, s store.Storage, prefix string, want ...string) error {
	got, err := keysOf(s.List(ctx, prefix))
	if err != nil {
		return err
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		return fmt.Errorf("the keys of prefix %.40q are %.40q, want %.40q", prefix, got, want)
	}
	return nil
}

func wantValue(ctx context.Context, s store.Storage, key, want string) error {
	item, err := s.Load(ctx, key)
	if err != nil {
		return err
	}
	if string(item.Value) != want {
		return fmt.Errorf("the value is %.20q (%d bytes), want %.20q (%d bytes)", item.Value, len(item.Value), want, len(want))
	}
	return nil
}

func wantErr(got, want error) error {
	switch {
	case errors.Is(got, want):
		return nil
	case got == nil:
		return fmt.Errorf("no error, want %w", want)
	}
	return fmt.Errorf("the error is %w, want %w", got, want)
}

func wantAllErr(calls map[string]error, want error) error {
	for name, err := range calls {
		if err := wantErr(err, want); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func wantConflict(err error) error {
	var conflict *store.ConflictError
	switch {
	case err == nil:
		return errors.New("no error, want a *ConflictError")
	case errors.As(err, &conflict) && errors.Is(err, store.ErrConflict):
		return nil
	}
	return fmt.Errorf("the error is %w, want a *ConflictError", err)
}

func wantCurrent(err error, want store.Version) error {
	var conflict *store.ConflictError
	if !errors.As(err, &conflict) {
		return wantConflict(err)
	}
	if conflict.Current != want {
		return fmt.Errorf("the current version is %q, want %q", conflict.Current, want)
	}
	return nil
}
