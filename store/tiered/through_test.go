package tiered_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh/internal/everfreshtest"
	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/sealed"
	"github.com/everfresh-go/everfresh/store/tiered"
)

// counted counts the Loads of a back store.
func counted() (back *everfreshtest.Hooked, loads *int) {
	back, loads = &everfreshtest.Hooked{Storage: new(store.Memory)}, new(int)
	back.LoadFunc = func(ctx context.Context, key string) (store.Item, error) {
		*loads++
		return back.Storage.Load(ctx, key)
	}
	return back, loads
}

func TestMaxAge(t *testing.T) {
	for _, tt := range []struct {
		opts []tiered.Option
		age  time.Duration // of the oldest item that Load returns without asking
		ever bool
	}{
		{nil, 10*time.Second - 1, false},
		{[]tiered.Option{tiered.WithMaxAge(time.Minute)}, time.Minute - 1, false},
		{[]tiered.Option{tiered.WithMaxAge(0)}, 1000 * time.Hour, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			back, loads := counted()
			s := tiered.New(back, tt.opts...)
			put(t, s, "k", "mine")
			put(t, back, "k", "of another process")
			time.Sleep(tt.age)
			wantValue(t, s, "k", "mine")
			if *loads != 0 {
				t.Errorf("the back store was asked %d times", *loads)
			}
			time.Sleep(time.Nanosecond)
			want := "of another process"
			if tt.ever {
				want = "mine"
			}
			wantValue(t, s, "k", want)
			wantValue(t, s, "k", want)
			if want := map[bool]int{false: 1, true: 0}[tt.ever]; *loads != want {
				t.Errorf("the back store was asked %d times, want %d", *loads, want)
			}
		})
	}
}

func TestFailedWriteLeavesNothingInMemory(t *testing.T) {
	for _, took := range []bool{false, true} {
		back := &everfreshtest.Hooked{Storage: new(store.Memory)}
		s := tiered.New(back)
		put(t, s, "k", "old")
		back.StoreFunc = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
			if took {
				_, _ = back.Storage.Store(ctx, key, value, cond)
			}
			return "", store.ErrUnavailable
		}
		if _, err := s.Store(t.Context(), "k", []byte("new"), store.Any()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("Store: %v, want ErrUnavailable", err)
		}
		wantValue(t, s, "k", map[bool]string{false: "old", true: "new"}[took])
	}
}

func TestBackStoreDecidesConditions(t *testing.T) {
	back := new(store.Memory)
	a, b := tiered.New(back), tiered.New(back)
	v := put(t, a, "k", "first")
	wantValue(t, b, "k", "first")
	put(t, a, "k", "second")

	if got := wantValue(t, b, "k", "first"); got != v { // late, as documented
		t.Errorf("version %q, want %q", got, v)
	}
	if _, err := b.Store(t.Context(), "k", []byte("lost"), store.IfVersion(v)); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Store: %v, want a conflict", err)
	}
	v = wantValue(t, b, "k", "second")
	if err := a.Delete(t.Context(), "k", store.IfVersion(v)); err != nil {
		t.Error(err)
	}
	if _, err := b.Store(t.Context(), "k", []byte("new"), store.IfAbsent()); err != nil {
		t.Errorf("Store of a key that memory has and the back store has not: %v", err)
	}
}

// TestWriteBesideALoad: the Load reads the old value and keeps it in memory after the
// Store has returned, if no one looks.
func TestWriteBesideALoad(t *testing.T) {
	for _, write := range []string{"new", ""} {
		back := &everfreshtest.Hooked{Storage: new(store.Memory)}
		s := tiered.New(back)
		put(t, back, "k", "old")
		back.LoadFunc = func(ctx context.Context, key string) (store.Item, error) {
			back.LoadFunc = nil
			item, err := back.Storage.Load(ctx, key)
			if write == "" {
				return item, errors.Join(err, s.Delete(ctx, "k", store.Any()))
			}
			_, errStore := s.Store(ctx, "k", []byte(write), store.Any())
			return item, errors.Join(err, errStore)
		}
		wantValue(t, s, "k", "old")
		wantValue(t, s, "k", write)
	}
}

// TestLoadBesideAWrite: the Load begins and ends while the back store is being written,
// and reads what was there before.
func TestLoadBesideAWrite(t *testing.T) {
	back := &everfreshtest.Hooked{Storage: new(store.Memory)}
	s := tiered.New(back)
	put(t, back, "k", "old")
	back.StoreFunc = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		if item, err := s.Load(ctx, "k"); err != nil || string(item.Value) != "old" {
			t.Errorf("Load = %q, %v", item.Value, err)
		}
		return back.Storage.Store(ctx, key, value, cond)
	}
	put(t, s, "k", "new")
	wantValue(t, s, "k", "new")
}

// TestWritesBesideEachOther: the first Store reaches the back store before the second,
// and returns after it.
func TestWritesBesideEachOther(t *testing.T) {
	back := &everfreshtest.Hooked{Storage: new(store.Memory)}
	s := tiered.New(back)
	back.StoreFunc = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		back.StoreFunc = nil
		v, err := back.Storage.Store(ctx, key, value, cond)
		_, errSecond := s.Store(ctx, "k", []byte("second"), store.Any())
		return v, errors.Join(err, errSecond)
	}
	put(t, s, "k", "first")
	wantValue(t, s, "k", "second")
}

// TestMemoryIsNeverAhead: while many write and read, memory ends with what the back
// store has.
func TestMemoryIsNeverAhead(t *testing.T) {
	back := new(store.Memory)
	s := tiered.New(back, tiered.WithMaxBytes(1200))
	for range 50 {
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				key := fmt.Sprint("k", i%2)
				if _, err := s.Store(t.Context(), key, fmt.Append(nil, i), store.Any()); err != nil {
					t.Error(err)
				}
				if _, err := s.Load(t.Context(), key); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, key := range []string{"k0", "k1"} {
			got, _ := s.Load(t.Context(), key)
			want, _ := back.Load(t.Context(), key)
			if got.Version != want.Version || string(got.Value) != string(want.Value) {
				t.Fatalf("Load = %+v, the back store has %+v", got, want)
			}
		}
	}
}

func TestLeastRecentlyUsedGoesFirst(t *testing.T) {
	back, loads := counted()
	s := tiered.New(back, tiered.WithMaxBytes(3*(256+1+10)))
	for _, key := range []string{"a", "b", "c"} {
		put(t, s, key, "0123456789")
	}
	wantValue(t, s, "a", "0123456789")
	put(t, s, "d", "0123456789")
	for key, want := range map[string]int{"a": 0, "c": 0, "d": 0} {
		if *loads = 0; wantValue(t, s, key, "0123456789") == "" || *loads != want {
			t.Errorf("%s: the back store was asked %d times, want %d", key, *loads, want)
		}
	}
	if wantValue(t, s, "b", "0123456789"); *loads != 1 {
		t.Errorf("b: the back store was asked %d times, want 1", *loads)
	}
}

func TestPowers(t *testing.T) {
	back := new(store.Memory)
	s := tiered.New(back)
	p, ok := store.As[store.Pinger](s)
	if !ok || p.Ping(t.Context()) != nil {
		t.Error("the store is no Pinger, or does not answer")
	}
	for name, has := range map[string]bool{
		"the back store":            has[*store.Memory](s),
		"Rekey of a Memory":         has[store.Rekeyer](s),
		"Ping of a store without":   has[store.Pinger](tiered.New(&everfreshtest.Hooked{Storage: back})),
		"the back store of another": has[*sealed.Store](tiered.New(sealed.New(back, sealed.Keys{}))),
	} {
		if has {
			t.Errorf("the store has %s", name)
		}
	}
	c, ok := store.As[io.Closer](s)
	if !ok || c.Close() != nil || !errors.Is(p.Ping(t.Context()), store.ErrClosed) {
		t.Error("after Close, Ping does not say so")
	}
	if !errors.Is(s.Flush(t.Context()), store.ErrClosed) {
		t.Error("after Close, Flush does not say so")
	}
	if err := back.Ping(t.Context()); err != nil {
		t.Errorf("Close closed the back store, which belongs to its opener: %v", err)
	}
}

func has[P any](s store.Storage) bool {
	_, ok := store.As[P](s)
	return ok
}

func TestRekey(t *testing.T) {
	for name, opts := range map[string][]tiered.Option{
		"through": nil,
		"behind":  {tiered.WithWriteBehind(time.Hour, nil)},
	} {
		t.Run(name, func(t *testing.T) {
			older := sealed.Key{ID: "older", Secret: sealed.NewSecret()}
			newer := sealed.Key{ID: "newer", Secret: sealed.NewSecret()}
			ring, err := sealed.NewKeyRing(older)
			if err != nil {
				t.Fatal(err)
			}
			back := sealed.New(new(store.Memory), sealed.Keys{Names: sealed.NewSecret(), Records: ring})
			s := tiered.New(back, opts...)
			defer s.Close()
			put(t, s, "written", "v")
			if err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			put(t, s, "pending", "v") // with write-behind
			if err := ring.Set(newer, older); err != nil {
				t.Fatal(err)
			}
			r, ok := store.As[store.Rekeyer](s)
			if !ok {
				t.Fatal("the store is no Rekeyer")
			}
			if n, err := r.Rekey(t.Context()); n == 0 || err != nil {
				t.Errorf("Rekey = %d, %v", n, err)
			}
			if err := ring.Set(newer); err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"written", "pending"} {
				wantValue(t, back, key, "v")
				v := wantValue(t, s, key, "v")
				if _, err := s.Store(t.Context(), key, nil, store.IfVersion(v)); err != nil {
					t.Errorf("%s: a write with the version just loaded: %v", key, err)
				}
			}
		})
	}
}
