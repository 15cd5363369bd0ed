package storagetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/everfresh-go/everfresh/store"
)

func checkList(ctx context.Context, s store.Storage, _ config) error {
	keys := []string{"a", "a/b", "a/b/c", "a/bc", "a*", "a%", "ab", "A/b", "b", "é", "\xc3", "\xff", "\xff\xff"}
	want := make(map[string]store.Meta)
	for i, key := range keys {
		version, err := put(ctx, s, key, strings.Repeat("x", i))
		if err != nil {
			return err
		}
		want[key] = store.Meta{Key: key, Version: version, Size: int64(i)}
	}
	for info, err := range s.List(ctx, "") {
		if err != nil {
			return err
		}
		if info != want[info.Key] {
			return fmt.Errorf("it yields %+v, want %+v", info, want[info.Key])
		}
	}
	return errors.Join(
		wantKeys(ctx, s, "", keys...),
		wantKeys(ctx, s, "a/", "a/b", "a/b/c", "a/bc"),
		wantKeys(ctx, s, "a/b", "a/b", "a/b/c", "a/bc"),
		wantKeys(ctx, s, "a*", "a*"),
		wantKeys(ctx, s, "a%", "a%"),
		wantKeys(ctx, s, "\xc3", "é", "\xc3"), // half a character, because some databases treat keys as text
		wantKeys(ctx, s, "\xff", "\xff", "\xff\xff"),
		wantKeys(ctx, s, "absent"),
		wantKeys(ctx, s, strings.Repeat("a", store.MaxKeyLen+1)),
	)
}

func checkListAgain(ctx context.Context, s store.Storage, _ config) error {
	list := s.List(ctx, "k")
	for i := range 3 {
		if _, err := put(ctx, s, fmt.Sprint("k", i), ""); err != nil {
			return err
		}
		keys, err := keysOf(list)
		if err != nil {
			return err
		}
		if len(keys) != i+1 {
			return fmt.Errorf("the loop saw %q after Store %d", keys, i+1)
		}
	}
	return nil
}

func checkListWhileWriting(ctx context.Context, s store.Storage, _ config) error {
	stable := make([]string, 60)
	for i := range stable {
		stable[i] = fmt.Sprint("k/stable", i)
		if _, err := put(ctx, s, stable[i], ""); err != nil {
			return err
		}
	}
	var done atomic.Bool
	return race(4, func(i int) error {
		if i > 0 {
			return churn(ctx, s, i, &done)
		}
		defer done.Store(true)
		for range 20 {
			if err := listOnce(ctx, s, stable); err != nil {
				return err
			}
		}
		return nil
	})
}

// churn writes keys between the stable ones until done is set, and at least once.
func churn(ctx context.Context, s store.Storage, writer int, done *atomic.Bool) error {
	for n := 0; ; n++ {
		key := fmt.Sprintf("k/stable%d-%d", n%60, writer)
		_, err := put(ctx, s, key, fmt.Sprint(n))
		if n%3 == 0 {
			err = errors.Join(err, s.Delete(ctx, key, store.Any()))
		}
		if err != nil || done.Load() {
			return err
		}
	}
}

func listOnce(ctx context.Context, s store.Storage, stable []string) error {
	keys, err := keysOf(s.List(ctx, "k/"))
	if err != nil {
		return err
	}
	times := make(map[string]int)
	for _, key := range keys {
		if times[key]++; times[key] > 1 {
			return fmt.Errorf("%q came twice", key)
		}
	}
	for _, key := range stable {
		if times[key] == 0 {
			return fmt.Errorf("%q was skipped", key)
		}
	}
	return nil
}

func checkListEarlyEnd(ctx context.Context, s store.Storage, _ config) error {
	keys := []string{"a", "b", "c", "d"}
	for _, key := range keys {
		if _, err := put(ctx, s, key, key); err != nil {
			return err
		}
	}
	calls := 0
	s.List(ctx, "")(func(_ store.Meta, err error) bool {
		calls++
		return calls < 2
	})
	if calls != 2 {
		return fmt.Errorf("the loop continued: %d items after it ended", calls-2)
	}
	if _, err := put(ctx, s, "a", "again"); err != nil { // the loop has left nothing locked or open
		return err
	}
	return wantKeys(ctx, s, "", keys...)
}

func checkListBody(ctx context.Context, s store.Storage, _ config) error {
	for _, key := range []string{"k/a", "k/b", "k/c"} {
		if _, err := put(ctx, s, key, key); err != nil {
			return err
		}
	}
	for info, err := range s.List(ctx, "k/") {
		if err != nil {
			return err
		}
		_, errStore := put(ctx, s, "copy/"+info.Key, info.Key)
		_, errList := keysOf(s.List(ctx, "k/"))
		errLoad := wantValue(ctx, s, info.Key, info.Key)
		errDelete := s.Delete(ctx, info.Key, store.IfVersion(info.Version))
		if err := errors.Join(errStore, errList, errLoad, errDelete); err != nil {
			return err
		}
	}
	return wantKeys(ctx, s, "", "copy/k/a", "copy/k/b", "copy/k/c")
}

func checkListContext(ctx context.Context, s store.Storage, _ config) error {
	for _, key := range []string{"a", "b", "c"} {
		if _, err := put(ctx, s, key, key); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var infos []store.Meta
	var errs []error
	for info, err := range s.List(ctx, "") {
		infos, errs = append(infos, info), append(errs, err)
		cancel()
	}
	if len(errs) != 2 || errs[0] != nil || !errors.Is(errs[1], context.Canceled) || infos[1] != (store.Meta{}) {
		return fmt.Errorf("the loop saw %+v with errors %v", infos, errs)
	}
	return nil
}
