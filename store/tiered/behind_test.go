package tiered_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh/internal/everfreshtest"
	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/tiered"
)

// backLog is a back store that notes what is written to it, and fails if told to.
type backLog struct {
	everfreshtest.Hooked

	mu       sync.Mutex
	attempts int
	writes   []string
	err      error
}

func newBackLog() *backLog {
	b := &backLog{Hooked: everfreshtest.Hooked{Storage: new(store.Memory)}}
	b.StoreFunc = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		if err := b.note(key + "=" + string(value)); err != nil {
			return "", err
		}
		return b.Storage.Store(ctx, key, value, cond)
	}
	b.DeleteFunc = func(ctx context.Context, key string, cond store.Condition) error {
		if err := b.note("-" + key); err != nil {
			return err
		}
		return b.Storage.Delete(ctx, key, cond)
	}
	return b
}

func (b *backLog) note(write string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.attempts++
	if b.err == nil {
		b.writes = append(b.writes, write)
	}
	return b.err
}

func (b *backLog) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *backLog) want(t *testing.T, writes ...string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if got := slices.Sorted(slices.Values(b.writes)); !slices.Equal(got, writes) {
		t.Errorf("the back store got %q, want %q", got, writes)
	}
	b.writes = nil
}

// TestWritesAreCoalesced also proves that no goroutine is left when there is nothing to
// write: a bubble ends only with its goroutines.
func TestWritesAreCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newBackLog()
		s := tiered.New(back, tiered.WithWriteBehind(time.Minute, nil))
		for round := range 2 {
			for i := range 100 {
				put(t, s, "k", fmt.Sprint(round, i))
				put(t, s, "gone", "v")
				remove(t, s, "gone")
			}
			time.Sleep(time.Minute - 1)
			back.want(t)
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			back.want(t, "-gone", fmt.Sprint("k=", round, " 99"))
			time.Sleep(time.Hour)
			back.want(t)
		}
	})
}

func TestFailuresAreReportedAndRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reports []error
		back := newBackLog()
		back.fail(store.ErrUnavailable)
		s := tiered.New(back, tiered.WithWriteBehind(time.Minute, func(err error) {
			reports = append(reports, err)
			panic("of the callback")
		}))
		defer s.Close()
		put(t, s, "canary-key", "canary-value")
		put(t, s, "b", "2")
		time.Sleep(3*time.Minute + time.Second)
		synctest.Wait()
		if len(reports) != 3 {
			t.Fatalf("there were %d reports, want 3", len(reports))
		}
		if back.attempts != 3 {
			t.Errorf("there were %d attempts, want one each time while nothing answers", back.attempts)
		}
		var flush *tiered.FlushError
		if err := reports[2]; !errors.As(err, &flush) || flush.Pending != 2 || !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("the report is %v, want two pending writes and the cause", err)
		}
		if strings.Contains(reports[0].Error(), "canary") {
			t.Errorf("the report shows key or value: %v", reports[0])
		}
		wantValue(t, s, "canary-key", "canary-value")

		back.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		back.want(t, "b=2", "canary-key=canary-value")
		if len(reports) != 3 {
			t.Errorf("there were %d reports, want 3", len(reports))
		}
	})
}

// TestOneBadWriteStopsNoOther: an error of one key, as ErrTooLarge is.
func TestOneBadWriteStopsNoOther(t *testing.T) {
	back := newBackLog()
	s := tiered.New(back, tiered.WithWriteBehind(time.Hour, nil))
	good := back.StoreFunc
	back.StoreFunc = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		if key == "bad" {
			return "", store.ErrTooLarge
		}
		return good(ctx, key, value, cond)
	}
	put(t, s, "bad", "v")
	var want []string
	for key := 'a'; key <= 'z'; key++ {
		put(t, s, string(key), "v")
		want = append(want, string(key)+"=v")
	}
	var flush *tiered.FlushError
	if err := s.Flush(t.Context()); !errors.As(err, &flush) || flush.Pending != 1 || !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("Flush: %v, want one pending write", err)
	}
	back.want(t, want...)
	if err := s.Close(); !errors.As(err, &flush) || flush.Pending != 1 {
		t.Errorf("Close: %v, want one lost write", err)
	}
}

func TestPanicOfTheBackStore(t *testing.T) {
	back := newBackLog()
	good := back.StoreFunc
	back.StoreFunc = func(context.Context, string, []byte, store.Condition) (store.Version, error) { panic("secret") }
	s := tiered.New(back, tiered.WithWriteBehind(time.Hour, nil))
	put(t, s, "k", "v")
	if err := s.Flush(t.Context()); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("Flush: %v, want an error without the panic's value", err)
	}
	back.StoreFunc = good
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	back.want(t, "k=v")
}

func TestCloseFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newBackLog()
		s := tiered.New(back, tiered.WithWriteBehind(time.Hour, nil))
		put(t, s, "k", "v")
		start := time.Now()
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("Close took %s", took)
		}
		back.want(t, "k=v")
		again := tiered.New(back, tiered.WithWriteBehind(time.Hour, nil))
		wantValue(t, again, "k", "v")
	})
}

// TestShutdownIsBounded: the back store hangs until its context ends.
func TestShutdownIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newBackLog()
		back.StoreFunc = func(ctx context.Context, _ string, _ []byte, _ store.Condition) (store.Version, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}
		s := tiered.New(back, tiered.WithWriteBehind(time.Second, nil))
		for i := range 20 {
			put(t, s, fmt.Sprint(i), "v")
		}
		time.Sleep(2 * time.Second) // the flusher hangs
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		err := s.Shutdown(ctx)
		var flush *tiered.FlushError
		if !errors.As(err, &flush) || flush.Pending != 20 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v, want 20 lost writes", err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("Shutdown took %s, want 3s", took)
		}
	})
}

// TestFlushWaitsForItsTurn: two flushes of one key could otherwise end in the wrong
// order.
func TestFlushWaitsForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newBackLog()
		good, release := back.StoreFunc, make(chan struct{})
		back.StoreFunc = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
			<-release
			return good(ctx, key, value, cond)
		}
		s := tiered.New(back, tiered.WithWriteBehind(time.Hour, nil))
		defer s.Close()
		put(t, s, "k", "first")
		errs := make(chan error, 2)
		go func() { errs <- s.Flush(t.Context()) }()
		synctest.Wait()
		put(t, s, "k", "second")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a Flush beside another: %v", err)
		}
		go func() { errs <- s.Flush(t.Context()) }()
		synctest.Wait()
		close(release)
		if err := errors.Join(<-errs, <-errs); err != nil {
			t.Error(err)
		}
		wantValue(t, back, "k", "second")
		back.want(t, "k=first", "k=second")
	})
}

func TestFullMemory(t *testing.T) {
	back := newBackLog()
	s := tiered.New(back, tiered.WithWriteBehind(time.Hour, nil), tiered.WithMaxBytes(3*(256+1+10)))
	defer s.Close()
	if _, err := s.Store(t.Context(), "k", make([]byte, 3*(256+1+10)-256), store.Any()); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("a value larger than memory: %v, want ErrTooLarge", err)
	}
	for _, key := range []string{"a", "b", "c"} {
		put(t, s, key, "0123456789")
	}
	put(t, s, "a", "again") // needs no room of others
	back.want(t)

	back.fail(store.ErrUnavailable)
	_, err := s.Store(t.Context(), "d", []byte("0123456789"), store.Any())
	var flush *tiered.FlushError
	if !errors.Is(err, store.ErrUnavailable) || !errors.As(err, &flush) || flush.Pending != 3 {
		t.Errorf("a Store without room: %v, want ErrUnavailable with 3 pending", err)
	}
	wantValue(t, s, "a", "again")
	wantValue(t, s, "d", "")

	back.fail(nil)
	put(t, s, "d", "0123456789")
	back.want(t, "a=again", "b=0123456789", "c=0123456789")
	for key, want := range map[string]string{"a": "again", "b": "0123456789", "c": "0123456789", "d": "0123456789"} {
		wantValue(t, s, key, want)
	}
}

func TestVersionsAcrossFlushAndEviction(t *testing.T) {
	back := newBackLog()
	s := tiered.New(back, tiered.WithWriteBehind(time.Hour, nil), tiered.WithMaxBytes(2*(256+1+1)))
	defer s.Close()
	v := put(t, s, "a", "1")
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := wantValue(t, s, "a", "1"); got != v {
		t.Errorf("after a flush the version is %q, want %q", got, v)
	}
	v, err := s.Store(t.Context(), "a", []byte("2"), store.IfVersion(v))
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "b", "1")
	put(t, s, "c", "1") // flushes, and a or b is evicted
	put(t, s, "d", "1")
	put(t, s, "e", "1")

	// The version is that of the back store now. The old one is refused, nothing else.
	if _, err := s.Store(t.Context(), "a", []byte("x"), store.IfVersion(v)); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Store with the version before eviction: %v, want a conflict", err)
	}
	v = wantValue(t, s, "a", "2")
	if _, err := s.Store(t.Context(), "a", []byte("3"), store.IfVersion(v)); err != nil {
		t.Errorf("Store with the version loaded: %v", err)
	}
}

func TestMergedList(t *testing.T) {
	back := newBackLog()
	for _, key := range []string{"k/back", "k/deleted", "k/replaced", "other"} {
		put(t, back.Storage, key, "old")
	}
	s := tiered.New(back, tiered.WithWriteBehind(time.Hour, nil))
	defer s.Close()
	remove(t, s, "k/deleted")
	put(t, s, "k/replaced", "newer")
	put(t, s, "k/new", "v")
	wantValue(t, s, "k/deleted", "")

	for range 2 { // before and after a flush
		sizes := make(map[string]int64)
		for info, err := range s.List(t.Context(), "k/") {
			if err != nil {
				t.Fatal(err)
			}
			if _, twice := sizes[info.Key]; twice {
				t.Errorf("%s came twice", info.Key)
			}
			sizes[info.Key] = info.Size
			if item, err := s.Load(t.Context(), info.Key); err != nil || item.Version != info.Version {
				t.Errorf("List has version %q, Load %q, %v", info.Version, item.Version, err)
			}
		}
		if want := map[string]int64{"k/back": 3, "k/replaced": 5, "k/new": 1}; fmt.Sprint(sizes) != fmt.Sprint(want) {
			t.Errorf("List = %v, want %v", sizes, want)
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConditionsOnWhatOnlyTheBackStoreHas(t *testing.T) {
	back := newBackLog()
	v := put(t, back.Storage, "k", "old")
	s := tiered.New(back, tiered.WithWriteBehind(time.Hour, nil))
	defer s.Close()
	_, err := s.Store(t.Context(), "k", nil, store.IfAbsent())
	var conflict *store.ConflictError
	if !errors.As(err, &conflict) || conflict.Current != v {
		t.Errorf("Store: %v, want a conflict with the version of the back store", err)
	}
	if err := s.Delete(t.Context(), "k", store.IfVersion(v)); err != nil {
		t.Error(err)
	}
	if _, err := s.Store(t.Context(), "k", []byte("new"), store.IfAbsent()); err != nil {
		t.Error(err)
	}
	back.LoadFunc = func(context.Context, string) (store.Item, error) { return store.Item{}, store.ErrUnavailable }
	if _, err := s.Store(t.Context(), "unknown", nil, store.IfAbsent()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Store of a key of which nothing is known: %v, want ErrUnavailable", err)
	}
	put(t, s, "unknown", "without a condition")
}

// TestWriteBesideAnInspection: a conditional Store asks the back store while another one
// writes; the answer is old then, also if memory knows nothing of the other any more.
func TestWriteBesideAnInspection(t *testing.T) {
	for _, evicting := range []string{"", "evicted"} {
		back := newBackLog()
		s := tiered.New(back, tiered.WithWriteBehind(time.Hour, nil), tiered.WithMaxBytes(600))
		defer s.Close()
		back.LoadFunc = func(ctx context.Context, key string) (store.Item, error) {
			back.LoadFunc = nil
			item, err := back.Storage.Load(ctx, key)
			_, errStore := s.Store(ctx, "k", []byte("first"), store.Any())
			errFlush := s.Flush(ctx)
			if evicting != "" {
				_, errEvict := s.Store(ctx, "other", make([]byte, 300), store.Any())
				errFlush = errors.Join(errFlush, errEvict, s.Flush(ctx))
			}
			if err := errors.Join(errStore, errFlush); err != nil {
				t.Error(err)
			}
			return item, err
		}
		if _, err := s.Store(t.Context(), "k", []byte("second"), store.IfAbsent()); !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: Store: %v, want a conflict", evicting, err)
		}
		wantValue(t, s, "k", "first")
	}
}

// TestNothingIsLost: many write, delete and flush with little memory; after Close the
// back store has the last state of each key.
func TestNothingIsLost(t *testing.T) {
	back := new(store.Memory)
	s := tiered.New(back, tiered.WithWriteBehind(100*time.Microsecond, func(err error) { t.Error(err) }), tiered.WithMaxBytes(2000))
	var wg sync.WaitGroup
	want := make([]string, 8)
	for i := range want {
		wg.Go(func() {
			key := fmt.Sprint("k", i)
			for n := range 300 {
				want[i] = fmt.Sprint(n)
				put(t, s, key, want[i])
				if n%5 == 4 {
					remove(t, s, key)
					want[i] = ""
				}
				if wantValue(t, s, key, want[i]); n%50 == 0 {
					if err := s.Flush(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
			if i%2 == 0 {
				want[i] = "last"
				put(t, s, key, want[i])
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		wantValue(t, back, fmt.Sprint("k", i), want[i])
	}
}

func TestClosed(t *testing.T) {
	for name, s := range map[string]*tiered.Store{
		"through": tiered.New(new(store.Memory)),
		"behind":  tiered.New(new(store.Memory), tiered.WithWriteBehind(time.Hour, nil)),
	} {
		put(t, s, "k", "v")
		var _ io.Closer = s
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		_, errLoad := s.Load(t.Context(), "k")
		_, errStore := s.Store(t.Context(), "k", nil, store.IfAbsent())
		for call, err := range map[string]error{
			"Load": errLoad, "Store": errStore, "Delete": s.Delete(t.Context(), "k", store.Any()), "Flush": s.Flush(t.Context()),
		} {
			if !errors.Is(err, store.ErrClosed) {
				t.Errorf("%s: %s: %v, want ErrClosed", name, call, err)
			}
		}
	}
}
