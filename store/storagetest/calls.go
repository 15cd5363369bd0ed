package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/everfresh-go/everfresh/store"
)

func checkConcurrent(ctx context.Context, s store.Storage, _ config) error {
	return race(64, func(i int) error {
		key := fmt.Sprint("own", i)
		for round := range 3 {
			_, errOwn := put(ctx, s, key, fmt.Sprint(i, round))
			_, errShared := put(ctx, s, fmt.Sprint("shared", round%4), fmt.Sprint(i))
			errDelete := s.Delete(ctx, "absent", store.Any())
			_, errList := keysOf(s.List(ctx, "shared"))
			errLoad := wantValue(ctx, s, key, fmt.Sprint(i, round))
			if err := errors.Join(errOwn, errShared, errDelete, errList, errLoad); err != nil {
				return err
			}
		}
		return nil
	})
}

func checkDoneContext(ctx context.Context, s store.Storage, _ config) error {
	if _, err := put(ctx, s, "k", "old"); err != nil {
		return err
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	expired, cancel := context.WithDeadline(ctx, time.Unix(0, 0))
	defer cancel()
	if err := errors.Join(
		wantAllErr(callAll(canceled, s, "k"), context.Canceled),
		wantAllErr(callAll(expired, s, "k"), context.DeadlineExceeded),
	); err != nil {
		return err
	}
	if err := wantKeys(ctx, s, "", "k"); err != nil {
		return err
	}
	return wantValue(ctx, s, "k", "old")
}

// canary is long enough not to occur in any text by accident.
const canary = "canary-in-the-coal-mine"

func checkErrorText(ctx context.Context, s store.Storage, conf config) error {
	_, errAbsent := s.Load(ctx, canary)
	if _, err := put(ctx, s, canary, canary); err != nil {
		return err
	}
	_, errStore := s.Store(ctx, canary, []byte(canary), store.IfAbsent())
	_, errLongKey := s.Load(ctx, strings.Repeat(canary, store.MaxKeyLen))
	errs := []error{errAbsent, errStore, errLongKey, s.Delete(ctx, canary, store.IfAbsent())}
	if conf.maxValue >= 0 {
		large := bytes.Repeat([]byte(canary), int(conf.maxValue)/len(canary)+1)
		_, errLarge := s.Store(ctx, canary, large, store.Any())
		errs = append(errs, errLarge)
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	for _, err := range callAll(done, s, canary) {
		errs = append(errs, err)
	}
	return wantNoCanary(errs)
}

func wantNoCanary(errs []error) error {
	for _, err := range errs {
		if text := fmt.Sprintf("%v %+v", err, err); strings.Contains(text, canary) {
			return fmt.Errorf("the text is %.200q, with %q as key and value", text, canary)
		}
	}
	return nil
}

// soon is how long a call may run after its ctx has ended. It is generous, for slow
// machines; a call that ignores ctx takes longer, or never ends.
const soon = time.Second

func checkContextEnds(ctx context.Context, s store.Storage, conf config) error {
	value := conf.value(1 << 16)
	calls := []func(ctx context.Context) error{
		func(ctx context.Context) error { _, err := s.Load(ctx, "k"); return err },
		func(ctx context.Context) error { _, err := s.Store(ctx, "k", value, store.Any()); return err },
		func(ctx context.Context) error { _, err := keysOf(s.List(ctx, "")); return err },
		func(ctx context.Context) error { return s.Delete(ctx, "other", store.Any()) },
	}
	if _, err := s.Store(ctx, "k", value, store.Any()); err != nil {
		return err
	}
	return race(2*len(calls), func(i int) error {
		for round := range 8 {
			delay := time.Duration(round) * 200 * time.Microsecond
			if err := endsSoon(ctx, delay, calls[i%len(calls)]); err != nil {
				return err
			}
		}
		return nil
	})
}

// endsSoon makes a call whose ctx ends after delay. A call that does not return goes
// on in its own goroutine.
func endsSoon(ctx context.Context, delay time.Duration, call func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, delay)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- call(ctx) }()
	late := time.NewTimer(delay + soon)
	defer late.Stop()
	select {
	case err := <-result:
		if err == nil || errors.Is(err, context.DeadlineExceeded) {
			return nil
		}
		return fmt.Errorf("the error is %w, want the error of ctx", err)
	case <-late.C:
		return fmt.Errorf("a call was still running %v after its ctx had ended", soon)
	}
}

func checkUnknownOutcome(ctx context.Context, s store.Storage, conf config) error {
	older, newer := conf.value(1000), conf.value(1<<16)
	for round := range 16 {
		key := fmt.Sprint("k", round)
		if _, err := s.Store(ctx, key, older, store.Any()); err != nil {
			return err
		}
		short, cancel := context.WithTimeout(ctx, time.Duration(round)*100*time.Microsecond)
		_, errStore := s.Store(short, key, newer, store.Any())
		cancel()
		item, err := s.Load(ctx, key)
		if err != nil {
			return fmt.Errorf("after a Store whose ctx ended: %w", err)
		}
		isOld, isNew := bytes.Equal(item.Value, older), bytes.Equal(item.Value, newer)
		if !isNew && (!isOld || errStore == nil) {
			return fmt.Errorf("after a Store whose ctx ended there are %d bytes, neither the old value nor the new; it returned %w",
				len(item.Value), errStore)
		}
	}
	return nil
}

// value returns n bytes, or the maximum size of the store if that is less.
func (c config) value(n int64) []byte {
	if c.maxValue >= 0 {
		n = min(n, c.maxValue)
	}
	value := make([]byte, n)
	for i := range value {
		value[i] = byte(i * 7)
	}
	return value
}
