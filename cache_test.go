package everfresh_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
	"github.com/everfresh-go/everfresh/store"
)

func TestStatusTellsOfTheResource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		o := &everfreshtest.Origin{Body: "12345", Delay: time.Second}
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithMaxStale(time.Hour), everfresh.WithBackoff(time.Minute, time.Minute))
		r := everfreshtest.Register(t, c, "https://a.test/?secret=1", everfreshtest.Number, o.Option(), everfresh.WithKey("name"))
		if got, want := r.Status(), (everfresh.Status{Key: "name", Fetching: true}); got != want {
			t.Errorf("before the first value: %+v, want %+v", got, want)
		}
		time.Sleep(2 * time.Second)
		at := begin.Add(time.Second) // what the answer took counts as its age
		want := everfresh.Status{
			Key: "name", Ready: true,
			Info: everfresh.Info{
				Version: r.Snapshot().Version, FetchedAt: at,
				CheckedAt: at, FreshUntil: begin.Add(time.Hour),
				ServeUntil: begin.Add(2 * time.Hour),
			},
			Next: begin.Add(time.Hour), Code: 200, Bytes: 5, Freshness: "max-age", Lifetime: time.Hour, Age: time.Second,
		}
		wantStatus(t, r.Status(), want)
		o.Set(func(o *everfreshtest.Origin) { o.Code, o.Delay = http.StatusBadGateway, 0 })
		_ = r.Refresh(t.Context())
		want.Failures, want.Next = 1, begin.Add(2*time.Second+time.Minute)
		got := r.Status()
		want.Err = got.Err
		if everfreshtest.RefreshError(t, got.Err).Attempt != 1 {
			t.Errorf("Err = %v", got.Err)
		}
		wantStatus(t, got, want)
		var all []everfresh.Status
		for s := range c.All() {
			all = append(all, s)
		}
		if len(all) != 1 {
			t.Fatalf("All yields %d", len(all))
		}
		wantStatus(t, all[0], want)
	})
}

// wantStatus compares statuses, times as instants.
func wantStatus(t *testing.T, got, want everfresh.Status) {
	t.Helper()
	for _, s := range []*everfresh.Status{&got, &want} {
		for _, at := range []*time.Time{&s.FetchedAt, &s.CheckedAt, &s.FreshUntil, &s.ServeUntil, &s.Next} {
			*at = at.UTC()
		}
	}
	if got != want {
		t.Errorf("status\n%+v, want\n%+v", got, want)
	}
}

func TestAllYieldsEveryResource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{}
		c := everfreshtest.NewCache(t, o.Option())
		want := map[string]bool{}
		for i := range 20 {
			key := fmt.Sprintf("https://h%d.test/?q=x", i)
			want[fmt.Sprintf("https://h%d.test/?q=x", i)] = true
			if i%2 == 0 {
				everfreshtest.Register(t, c, key, everfreshtest.Number)
			} else if err := c.Register(key); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		n, ready := 0, 0
		for s := range c.All() {
			n++
			if s.Ready {
				ready++
			}
			if strings.Contains(s.Key, "q=x") {
				t.Errorf("status shows a query value: %q", s.Key)
			}
		}
		if n != 20 || ready != 10 {
			t.Errorf("All yields %d, %d of them ready; want 20, 10", n, ready)
		}
		for range c.All() {
			break // leaving early is allowed
		}
	})
}

func TestLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{}
		c := everfreshtest.NewCache(t, o.Option())
		typed := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, everfresh.WithKey("typed"))
		if err := c.Register("https://b.test/", everfresh.WithKey("untyped")); err != nil {
			t.Fatal(err)
		}
		if r, err := everfresh.Lookup[int](c, "typed"); r != typed || err != nil {
			t.Errorf("Lookup = %v, %v", r, err)
		}
		r, err := everfresh.Lookup[any](c, "untyped")
		if err != nil {
			t.Fatal(err)
		}
		v, err := r.Get(t.Context())
		if body, ok := v.([]byte); !ok || len(body) != 1 || err != nil {
			t.Errorf("Get of the untyped handle = %v, %v", v, err)
		}
		if again, _ := everfresh.Lookup[any](c, "untyped"); again != r {
			t.Error("two handles of one resource")
		}
		_, err = everfresh.Lookup[string](c, "typed")
		everfreshtest.WantIs(t, err, everfresh.ErrRegistered)
		_, err = everfresh.Lookup[any](c, "typed")
		everfreshtest.WantIs(t, err, everfresh.ErrRegistered)
		_, err = everfresh.Lookup[[]byte](c, "untyped")
		everfreshtest.WantIs(t, err, everfresh.ErrRegistered)
		_, err = everfresh.Lookup[int](c, "https://a.test/") // it has a key
		everfreshtest.WantIs(t, err, everfresh.ErrNotRegistered)
		if c.IsRegistered("https://a.test/") || !c.IsRegistered("typed") || !c.IsRegistered("untyped") {
			t.Error("IsRegistered is wrong")
		}
	})
}

// An afterlife is a cache that has ended, with a resource that had a value and one that
// had none.
type afterlife struct {
	c           *everfresh.Cache
	full, empty *everfresh.Resource[int]
	seen        *everfresh.Snapshot[int]
}

func TestLifeAfterTheEnd(t *testing.T) {
	registerUntyped := func(_ context.Context, a *afterlife) error { return a.c.Register("https://new.test/") }
	registerTyped := func(_ context.Context, a *afterlife) error {
		_, err := everfresh.Register(a.c, "https://new.test/", everfreshtest.Number)
		return err
	}
	calls := map[string]struct {
		call func(ctx context.Context, a *afterlife) error
		want error
	}{
		"Get, ready":          {func(ctx context.Context, a *afterlife) error { _, err := a.full.Get(ctx); return err }, nil},
		"Get, not ready":      {func(ctx context.Context, a *afterlife) error { _, err := a.empty.Get(ctx); return err }, everfresh.ErrClosed},
		"Refresh":             {func(ctx context.Context, a *afterlife) error { return a.full.Refresh(ctx) }, everfresh.ErrClosed},
		"Refresh, not ready":  {func(ctx context.Context, a *afterlife) error { return a.empty.Refresh(ctx) }, everfresh.ErrClosed},
		"Newer":               {func(ctx context.Context, a *afterlife) error { _, err := a.full.Newer(ctx, a.seen); return err }, everfresh.ErrClosed},
		"Newer than nothing":  {func(ctx context.Context, a *afterlife) error { _, err := a.full.Newer(ctx, nil); return err }, nil},
		"Newer, not ready":    {func(ctx context.Context, a *afterlife) error { _, err := a.empty.Newer(ctx, nil); return err }, everfresh.ErrClosed},
		"Ready":               {func(ctx context.Context, a *afterlife) error { return a.full.Ready(ctx) }, nil},
		"Ready, not ready":    {func(ctx context.Context, a *afterlife) error { return a.empty.Ready(ctx) }, everfresh.ErrClosed},
		"Invalidate":          {func(ctx context.Context, a *afterlife) error { return a.full.Invalidate(ctx, a.seen.Version) }, everfresh.ErrClosed},
		"Cache.Get":           {func(ctx context.Context, a *afterlife) error { _, err := a.c.Get(ctx, "full"); return err }, nil},
		"Cache.Get, empty":    {func(ctx context.Context, a *afterlife) error { _, err := a.c.Get(ctx, "empty"); return err }, everfresh.ErrClosed},
		"Cache.Get, unknown":  {func(ctx context.Context, a *afterlife) error { _, err := a.c.Get(ctx, "x"); return err }, everfresh.ErrNotRegistered},
		"Cache.Refresh":       {func(ctx context.Context, a *afterlife) error { _, err := a.c.Refresh(ctx, "full"); return err }, everfresh.ErrClosed},
		"Cache.Ready":         {func(ctx context.Context, a *afterlife) error { return a.c.Ready(ctx) }, everfresh.ErrClosed},
		"Register":            {registerTyped, everfresh.ErrClosed},
		"Cache.Register":      {registerUntyped, everfresh.ErrClosed},
		"Cache.Register over": {func(_ context.Context, a *afterlife) error { return a.c.Register("https://u.test/") }, everfresh.ErrClosed},
		"Lookup":              {func(_ context.Context, a *afterlife) error { _, err := everfresh.Lookup[int](a.c, "full"); return err }, nil},
	}
	for how, end := range map[string]func(*everfresh.Cache, context.CancelFunc){
		"Close":   func(c *everfresh.Cache, _ context.CancelFunc) { _ = c.Close() },
		"context": func(_ *everfresh.Cache, cancel context.CancelFunc) { cancel() },
		"both": func(c *everfresh.Cache, cancel context.CancelFunc) {
			cancel()
			_ = c.Close()
		},
	} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &everfreshtest.Origin{Delay: time.Second}
				ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
				defer cancel()
				a := &afterlife{c: everfresh.NewCache(ctx, everfresh.WithJitter(0), o.Option())}
				defer a.c.Close()
				a.full = everfreshtest.Register(t, a.c, "https://full.test/", everfreshtest.Number, everfresh.WithKey("full"))
				a.empty = everfreshtest.Register(t, a.c, "https://empty.test/", everfreshtest.Number, everfresh.WithKey("empty"), everfresh.WithPrefetch(false))
				if err := a.c.Register("https://u.test/"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
				a.seen = a.full.Snapshot()
				before := o.Count()
				end(a.c, cancel)
				start := time.Now()
				for name, tt := range calls {
					if err := tt.call(t.Context(), a); !errors.Is(err, tt.want) {
						t.Errorf("%s = %v, want %v", name, err, tt.want)
					}
				}
				if v, ok := a.full.Peek(); !ok || v != a.seen.Value || a.full.Snapshot() != a.seen {
					t.Errorf("Peek = %v, %v", v, ok)
				}
				watch(t.Context(), a.full).want(t, true, a.seen.Value)
				watch(t.Context(), a.empty).want(t, true)
				if s := a.full.Status(); !s.Ready || s.Fetching || !s.Next.IsZero() {
					t.Errorf("status %+v", s)
				}
				everfreshtest.WantElapsed(t, start, 0)
				time.Sleep(48 * time.Hour)
				if n := o.Count(); n != before {
					t.Errorf("%d requests after the end", n-before)
				}
				if err := a.c.Unregister("full"); err != nil {
					t.Errorf("Unregister = %v", err)
				}
				if _, err := a.c.Get(t.Context(), "full"); !errors.Is(err, everfresh.ErrNotRegistered) {
					t.Errorf("Get after Unregister = %v", err)
				}
			})
		})
	}
}

func TestNewerAfterCloseIsNotCooling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Body: "1"}
		c, r, seen := newerResource(t, o)
		wantSpent(t, r, seen)
		_ = c.Close()
		_, err := r.Newer(t.Context(), seen)
		everfreshtest.WantIs(t, err, everfresh.ErrClosed)
	})
}

func TestEndedContextOfTheCacheIsErrClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		c := everfresh.NewCache(ctx)
		defer c.Close()
		r := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, everfresh.WithPrefetch(false))
		cancel()
		_, err := r.Get(ctx) // programs have one context for everything
		everfreshtest.WantIs(t, err, everfresh.ErrClosed)
		everfreshtest.WantIs(t, r.Refresh(ctx), everfresh.ErrClosed)
		everfreshtest.WantIs(t, r.Ready(ctx), everfresh.ErrClosed)
		_, err = r.Newer(ctx, nil)
		everfreshtest.WantIs(t, err, everfresh.ErrClosed)
	})
}

func TestCloseIsIdempotentAndConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Hang: true}
		c := everfresh.NewCache(context.WithoutCancel(t.Context()), o.Option())
		for i := range 10 {
			everfreshtest.Register(t, c, fmt.Sprintf("https://h%d.test/", i), everfreshtest.Number)
		}
		synctest.Wait()
		start := time.Now()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := c.Close(); err != nil {
					t.Errorf("Close = %v", err)
				}
				if now, _ := o.Busy(); now != 0 {
					t.Errorf("Close returned while %d fetches were under way", now)
				}
			})
		}
		wg.Wait()
		if err := c.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
		everfreshtest.WantElapsed(t, start, 0)
	})
}

func TestCloseEndsWaitsAndReportsNothing(t *testing.T) {
	for round := range 100 {
		synctest.Test(t, func(t *testing.T) {
			var l everfreshtest.Recorder
			o := &everfreshtest.Origin{Hang: true}
			ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
			defer cancel()
			c := everfresh.NewCache(ctx, append(l.Options(), o.Option())...)
			var wg sync.WaitGroup
			for i := range 16 {
				r := everfreshtest.Register(t, c, fmt.Sprintf("https://h%d.test/", i%4), everfreshtest.Number, everfresh.WithKey(fmt.Sprint(i)))
				wg.Go(func() {
					if _, err := r.Get(t.Context()); !errors.Is(err, everfresh.ErrClosed) {
						t.Errorf("Get = %v", err)
					}
				})
				wg.Go(func() {
					if err := r.Refresh(t.Context()); !errors.Is(err, everfresh.ErrClosed) {
						t.Errorf("Refresh = %v", err)
					}
				})
			}
			synctest.Wait()
			if round%2 == 0 {
				cancel()
			}
			if err := c.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
			wg.Wait()
			if errs, evs := l.Errors(), l.Events(""); len(errs)+len(evs) > 0 {
				t.Errorf("round %d: reported %v and %v", round, errs, evs)
			}
		})
		if t.Failed() {
			return
		}
	}
}

func TestCloseBeginsNoFetch(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			var fetches atomic.Int64
			c := everfresh.NewCache(context.WithoutCancel(t.Context()), everfresh.WithFetcher(
				everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
					fetches.Add(1)
					<-req.Context().Done()
					return nil, req.Context().Err()
				})))
			var wg sync.WaitGroup
			for i := range 16 {
				r := everfreshtest.Register(t, c, fmt.Sprintf("https://h%d.test/", i), everfreshtest.Number)
				synctest.Wait()
				wg.Go(func() { _ = r.Refresh(t.Context()) }) // to follow the one under way
			}
			synctest.Wait()
			if err := c.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
			wg.Wait()
			if n := fetches.Load(); n != 16 {
				t.Errorf("%d fetches, %d of them begun after the end", n, n-16)
			}
		})
	}
}

func TestCloseWaitsForStuckCallbacksFiveSeconds(t *testing.T) {
	for name, options := range map[string]func(stuck func()) []everfresh.CacheOption{
		"sink": func(stuck func()) []everfresh.CacheOption {
			return []everfresh.CacheOption{everfresh.WithErrSink(everfresh.ErrSinkFunc(func(error) { stuck() }))}
		},
		"observer": func(stuck func()) []everfresh.CacheOption {
			return []everfresh.CacheOption{everfresh.WithObserver(func(everfresh.Event) { stuck() })}
		},
		"fetcher": func(stuck func()) []everfresh.CacheOption {
			return []everfresh.CacheOption{everfresh.WithMiddleware(func(next everfresh.Fetcher) everfresh.Fetcher {
				return everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
					stuck() // whatever its context says
					return next.Fetch(req)
				})
			})}
		},
		"sink and fetcher": func(stuck func()) []everfresh.CacheOption {
			first := new(atomic.Bool)
			return []everfresh.CacheOption{
				everfresh.WithErrSink(everfresh.ErrSinkFunc(func(error) { stuck() })),
				everfresh.WithMiddleware(func(next everfresh.Fetcher) everfresh.Fetcher {
					return everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
						if first.Swap(true) {
							stuck()
						}
						return next.Fetch(req)
					})
				}),
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				defer close(release)
				o := &everfreshtest.Origin{Code: http.StatusBadGateway}
				opts := append(options(func() { <-release }), everfresh.WithBackoff(time.Second, time.Second), o.Option())
				c := everfresh.NewCache(context.WithoutCancel(t.Context()), opts...)
				everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number)
				time.Sleep(10 * time.Second)
				start := time.Now()
				err := c.Close()
				everfreshtest.WantElapsed(t, start, 5*time.Second)
				everfreshtest.WantIs(t, err, context.DeadlineExceeded)
				if err := c.Close(); err == nil { // it is still stuck
					t.Error("second Close says nothing")
				}
			})
		})
	}
}

// The storage ignores its context.
func TestCloseWaitsForStuckStorageFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := everfreshtest.NewHooked()
		release := make(chan struct{})
		defer close(release)
		s.OnStore(func(context.Context, string) error { <-release; return nil })
		o := &everfreshtest.Origin{}
		c := everfresh.NewCache(context.WithoutCancel(t.Context()), everfresh.WithStorage(s), o.Option())
		r := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number)
		for range 3 { // one record is being written, another waits for that
			everfreshtest.Refresh(t, r)
			synctest.Wait()
		}
		closed := make(chan error, 1)
		start := time.Now()
		go func() { closed <- c.Close() }()
		select {
		case err := <-closed:
			if d := time.Since(start); d > 5*time.Second || err == nil {
				t.Errorf("Close = %v after %v", err, d)
			}
		case <-time.After(time.Minute):
			t.Error("Close hangs for as long as the storage does")
		}
	})
}

var bubbleName = regexp.MustCompile(`synctest bubble \d+`)

// bubbleGoroutines returns how many goroutines the bubble has.
func bubbleGoroutines() int {
	synctest.Wait()
	buf := make([]byte, 8<<20)
	stacks := string(buf[:runtime.Stack(buf, true)])
	mine := bubbleName.FindString(stacks) // the caller's stack is the first
	n := 0
	for _, name := range bubbleName.FindAllString(stacks, -1) {
		if name == mine {
			n++
		}
	}
	return n
}

func TestGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l everfreshtest.Recorder
		var mem store.Memory
		o := &everfreshtest.Origin{}
		before := bubbleGoroutines()
		want := func(when string, want int) {
			t.Helper()
			if got := bubbleGoroutines() - before; got != want {
				t.Errorf("%s: %d goroutines, want %d", when, got, want)
			}
		}
		c := everfresh.NewCache(context.WithoutCancel(t.Context()), append(l.Options(), everfresh.WithStorage(&mem), o.Option())...)
		want("after NewCache", 1)
		for i := range 200 {
			everfreshtest.Register(t, c, fmt.Sprintf("https://h%d.test/", i), everfreshtest.Number)
		}
		if err := c.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		want("idle after work", 1)
		o.Set(func(o *everfreshtest.Origin) { o.Code = http.StatusBadGateway })
		time.Sleep(2 * time.Hour)
		want("during back-off", 1)
		o.Set(func(o *everfreshtest.Origin) { o.Hang = true })
		time.Sleep(10 * time.Minute)
		if n := bubbleGoroutines() - before; n < 2 || n > 1+64 {
			t.Errorf("%d goroutines while the origin hangs, want the refresher and up to 64 workers", n)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		want("after Close", 0)
	})
}

func TestEndOfContextEndsAllGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := bubbleGoroutines()
		o := &everfreshtest.Origin{Hang: true}
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		c := everfresh.NewCache(ctx, o.Option())
		for i := range 10 {
			everfreshtest.Register(t, c, fmt.Sprintf("https://h%d.test/", i), everfreshtest.Number)
		}
		if n := bubbleGoroutines() - before; n != 11 {
			t.Errorf("%d goroutines for ten fetches, want 11", n)
		}
		cancel()
		if n := bubbleGoroutines() - before; n != 0 {
			t.Errorf("%d goroutines after the end of the context", n)
		}
	})
}

func TestUnregisterEndsTheFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l everfreshtest.Recorder
		o := &everfreshtest.Origin{Hang: true}
		c := everfreshtest.NewCache(t, append(l.Options(), o.Option())...)
		r := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number)
		var wg sync.WaitGroup
		start := time.Now()
		wg.Go(func() { _, err := r.Get(t.Context()); everfreshtest.WantIs(t, err, everfresh.ErrNotRegistered) })
		wg.Go(func() { everfreshtest.WantIs(t, r.Refresh(t.Context()), everfresh.ErrNotRegistered) })
		wg.Go(func() { _, err := r.Newer(t.Context(), nil); everfreshtest.WantIs(t, err, everfresh.ErrNotRegistered) })
		wg.Go(func() { everfreshtest.WantIs(t, r.Ready(t.Context()), everfresh.ErrNotRegistered) })
		wg.Go(func() {
			_, err := c.Get(t.Context(), r.Key())
			everfreshtest.WantIs(t, err, everfresh.ErrNotRegistered)
		})
		synctest.Wait()
		if err := c.Unregister(r.Key()); err != nil {
			t.Errorf("Unregister = %v", err)
		}
		wg.Wait()
		synctest.Wait()
		everfreshtest.WantElapsed(t, start, 0)
		if now, _ := o.Busy(); now != 0 {
			t.Error("the fetch goes on")
		}
		if errs, evs := l.Errors(), l.Events(""); len(errs)+len(evs) > 0 {
			t.Errorf("reported %v and %v", errs, evs)
		}
		time.Sleep(48 * time.Hour)
		everfreshtest.WantRequests(t, o, 1)
	})
}

func TestHandleOfUnregisteredResource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{}
		c, r, seen := newerResource(t, o)
		if err := c.Unregister(r.Key()); err != nil {
			t.Errorf("Unregister = %v", err)
		}
		everfreshtest.WantIs(t, c.Unregister(r.Key()), everfresh.ErrNotRegistered)
		_, err := r.Get(t.Context())
		everfreshtest.WantIs(t, err, everfresh.ErrNotRegistered)
		_, err = r.Newer(t.Context(), seen)
		everfreshtest.WantIs(t, err, everfresh.ErrNotRegistered)
		everfreshtest.WantIs(t, r.Refresh(t.Context()), everfresh.ErrNotRegistered)
		everfreshtest.WantIs(t, r.Ready(t.Context()), everfresh.ErrNotRegistered)
		everfreshtest.WantIs(t, r.Invalidate(t.Context(), seen.Version), everfresh.ErrNotRegistered)
		if _, ok := r.Peek(); ok || r.Snapshot() != nil || r.Status().Ready {
			t.Error("the value is still served")
		}
		watch(t.Context(), r).want(t, true)
		if err := c.Ready(t.Context()); err != nil {
			t.Errorf("Cache.Ready = %v", err)
		}
		if c.IsRegistered(r.Key()) {
			t.Error("it is still registered")
		}

		again := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, o.Option())
		if v, err := again.Get(t.Context()); v != 2 || err != nil {
			t.Errorf("Get after registering again = %v, %v", v, err)
		}
		_, err = r.Get(t.Context()) // the old handle stays dead
		everfreshtest.WantIs(t, err, everfresh.ErrNotRegistered)
	})
}

func TestRegisterAgainWhileTheOldFetchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Delay: time.Second}
		c := everfreshtest.NewCache(t, o.Option(), everfresh.WithMaxPerHost(1), everfresh.WithWorkers(1))
		for i := range 10 {
			r := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number)
			synctest.Wait()
			if err := c.Unregister(r.Key()); err != nil {
				t.Fatal(i, err)
			}
		}
		r := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number)
		start := time.Now()
		if v, err := r.Get(t.Context()); v != 11 || err != nil {
			t.Errorf("Get = %v, %v", v, err)
		}
		everfreshtest.WantElapsed(t, start, time.Second)
	})
}

func TestCallbacksMayCallTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{}
		var c *everfresh.Cache
		call := func(key string) {
			for s := range c.All() {
				_ = c.IsRegistered(s.Key)
			}
			_ = c.Register("https://new.test/", everfresh.WithPrefetch(true))
			_ = c.Unregister(key)
		}
		c = everfreshtest.NewCache(t, o.Option(),
			everfresh.WithObserver(func(ev everfresh.Event) { call(ev.Key) }),
			everfresh.WithErrSink(everfresh.ErrSinkFunc(func(error) { call("sink") })))
		r := everfreshtest.Register(t, c, "https://a.test/", func(context.Context, *http.Response) (int, error) {
			call("https://a.test/") // itself
			return 0, nil
		})
		start := time.Now()
		_, err := r.Get(t.Context())
		everfreshtest.WantIs(t, err, everfresh.ErrNotRegistered)
		synctest.Wait()
		everfreshtest.WantElapsed(t, start, 0)
	})
}

// lifecycleText is a transformer that marks its values.
func lifecycleText(mark string) everfresh.RegisterOption {
	return everfresh.WithTransformer(everfresh.TransformFunc(func(_ string, resp *http.Response) (any, error) {
		body, err := everfresh.Bytes()(context.Background(), resp)
		return mark + string(body), err
	}))
}

func TestUntypedRegisterAgainReplacesOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const key = "https://a.test/"
		o := &everfreshtest.Origin{Body: "x", ETag: `"x"`, Delay: time.Second}
		c := everfreshtest.NewCache(t, o.Option(), everfresh.WithJitter(0))
		if err := c.Register(key, lifecycleText("one ")); err != nil {
			t.Fatal(err)
		}
		if v, err := c.Get(t.Context(), key); v != "one x" || err != nil {
			t.Fatalf("Get = %v, %v", v, err)
		}
		r, err := everfresh.Lookup[any](c, key)
		if err != nil {
			t.Fatal(err)
		}
		seen := r.Snapshot()
		if err := c.Register(key, lifecycleText("two "), everfresh.WithHeader("X-New", "1")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * time.Millisecond)
		if v, err := c.Get(t.Context(), key); v != "one x" || err != nil {
			t.Errorf("Get = %v, %v; want the value that was there", v, err)
		}
		everfreshtest.WantRequests(t, o, 2) // it was due at once
		if h := o.Last().Header; h.Get("X-New") != "1" || h.Get("If-None-Match") != "" {
			t.Errorf("header = %v: want the new options, unconditionally", h)
		}
		time.Sleep(time.Second)
		if v, _ := r.Peek(); v != "two x" || r.Snapshot().Version <= seen.Version {
			t.Errorf("Peek = %v, version %d after %d; want the same bytes transformed again", v, r.Snapshot().Version, seen.Version)
		}
		if err := r.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		if h := o.Last().Header; h.Get("If-None-Match") == "" {
			t.Error("later refreshes should be conditional again")
		}
		bad := c.Register(key, everfresh.WithTimeout(-1))
		if v, err := c.Get(t.Context(), key); bad == nil || v != "two x" || err != nil {
			t.Errorf("after an invalid Register (%v): Get = %v, %v", bad, v, err)
		}
	})
}

func TestUntypedRegisterAgainWhileFetching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const key = "https://a.test/"
		o := &everfreshtest.Origin{Body: "x", Delay: time.Second}
		c := everfreshtest.NewCache(t, o.Option(), everfresh.WithJitter(0))
		if err := c.Register(key, lifecycleText("one ")); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(500*time.Millisecond, func() {
			if err := c.Register(key, lifecycleText("two ")); err != nil {
				t.Error(err)
			}
		})
		if v, err := c.Get(t.Context(), key); v != "two x" || err != nil {
			t.Errorf("Get = %v, %v; want it by the new options", v, err)
		}
		time.Sleep(2 * time.Hour)
		if n := o.Count(); n < 3 || n > 4 {
			t.Errorf("%d requests in two hours, want the first two and one an hour", n)
		}
	})
}

func TestUntypedRegisterAgainWhileRequestIsBuilt(t *testing.T) {
	for name, fails := range map[string]bool{"which succeeds": false, "which fails": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &everfreshtest.Origin{Body: "x"}
				var paths atomic.Pointer[string]
				c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithBackoff(time.Hour, time.Hour),
					everfresh.WithHTTPClient(everfreshtest.Client(func(w http.ResponseWriter, req *http.Request) {
						paths.Store(&req.URL.Path)
						o.ServeHTTP(w, req)
					})))
				build := everfresh.WithRequest(func(ctx context.Context, _ *everfresh.Snapshot[any]) (*http.Request, error) {
					time.Sleep(time.Second)
					if fails {
						return nil, errors.New("no request")
					}
					return http.NewRequestWithContext(ctx, http.MethodGet, "https://a.test/old", http.NoBody)
				})
				key := everfresh.WithKey("key")
				if err := c.Register("https://a.test/old", key, build, everfresh.WithPrefetch(true)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(500 * time.Millisecond)
				if err := c.Register("https://a.test/new", key, lifecycleText("new ")); err != nil {
					t.Fatal(err)
				}
				if v, err := c.Get(t.Context(), "key"); v != "new x" || err != nil {
					t.Errorf("Get = %v, %v", v, err)
				}
				if p := paths.Load(); p == nil || *p != "/new" {
					t.Errorf("last asked for %v, want the new URL", *p)
				}
				before := o.Count()
				time.Sleep(2*time.Hour + time.Minute)
				if n := o.Count() - before; n != 2 {
					t.Errorf("%d refreshes in two hours, want 2", n)
				}
			})
		})
	}
}

func TestUntypedRegisterAtOnce(t *testing.T) {
	o := &everfreshtest.Origin{}
	c := everfreshtest.NewCache(t, o.Option())
	for i := range 2000 {
		var ready, wg sync.WaitGroup
		ready.Add(4)
		for range 4 {
			wg.Go(func() {
				ready.Done()
				ready.Wait()
				if err := c.Register(fmt.Sprintf("https://h%d.test/", i)); err != nil {
					t.Errorf("Register = %v", err)
				}
			})
		}
		wg.Wait()
	}
}

func TestTypedAndUntypedDoNotMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Body: "1"}
		c := everfreshtest.NewCache(t, o.Option(), everfresh.WithJitter(0))
		typed := func(key string) error {
			_, err := everfresh.Register(c, "https://a.test/", everfreshtest.Number, everfresh.WithKey(key))
			return err
		}
		other := func(key string) error {
			_, err := everfresh.Register(c, "https://a.test/", everfresh.Bytes(), everfresh.WithKey(key))
			return err
		}
		untyped := func(key string) error { return c.Register("https://a.test/", everfresh.WithKey(key)) }
		for key, tt := range map[string]struct{ first, second func(string) error }{
			"typed, typed":      {typed, typed},
			"typed, other type": {typed, other},
			"typed, untyped":    {typed, untyped},
			"untyped, typed":    {untyped, typed},
		} {
			if err := tt.first(key); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Get(t.Context(), key); err != nil {
				t.Error(err)
			}
			before := o.Count()
			everfreshtest.WantIs(t, tt.second(key), everfresh.ErrRegistered)
			synctest.Wait()
			everfreshtest.WantRequests(t, o, before)
			if _, err := c.Get(t.Context(), key); err != nil {
				t.Errorf("%s: the first is gone: %v", key, err)
			}
		}
	})
}

func TestTypedResourceByTheUntypedAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Delay: time.Second}
		c := everfreshtest.NewCache(t, o.Option())
		r := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number)
		if v, err := c.Get(t.Context(), r.Key()); v != 1 || err != nil {
			t.Errorf("Get = %v, %v", v, err)
		}
		if v, err := c.Refresh(t.Context(), r.Key()); v != 2 || err != nil {
			t.Errorf("Refresh = %v, %v", v, err)
		}
		if v, _ := r.Peek(); v != 2 {
			t.Errorf("Peek = %v", v)
		}
	})
}

func TestMiddlewareRunsFromCacheToResource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ran []string
		mark := func(name string) func(everfresh.Fetcher) everfresh.Fetcher {
			return func(next everfresh.Fetcher) everfresh.Fetcher {
				return everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
					ran = append(ran, name)
					return next.Fetch(req)
				})
			}
		}
		with := func(names ...string) everfresh.Option {
			var all []func(everfresh.Fetcher) everfresh.Fetcher
			for _, n := range names {
				all = append(all, mark(n))
			}
			return everfresh.WithMiddleware(all...)
		}
		o := &everfreshtest.Origin{}
		group := everfresh.Options(with("group1"), everfresh.Options(with("group2")), with("group3"))
		c := everfreshtest.NewCache(t, with("cache1", "cache2"), with("cache3"), o.Option())
		want := []string{"cache1", "cache2", "cache3", "group1", "group2", "group3", "own1", "own2", "own3"}
		for i, opts := range [][]everfresh.RegisterOption{
			{with("own1"), group, with("own2", "own3")},
			{group, with("own1", "own2"), with("own3")},
		} {
			ran = nil
			r := everfreshtest.Register(t, c, fmt.Sprintf("https://h%d.test/", i), everfreshtest.Number, opts...)
			if err := r.Ready(t.Context()); err != nil {
				t.Error(err)
			}
			if !slices.Equal(ran, want) {
				t.Errorf("ran %v, want %v", ran, want)
			}
		}
		ran = nil
		inGroup := everfreshtest.NewCache(t, o.Option(), everfresh.Options(with("cache's group")), with("cache"))
		r := everfreshtest.Register(t, inGroup, "https://a.test/", everfreshtest.Number, with("own"))
		if err := r.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		if want := []string{"cache", "cache's group", "own"}; !slices.Equal(ran, want) {
			t.Errorf("ran %v, want %v", ran, want)
		}
	})
}

// invalidOptions are options that Register must refuse.
func invalidOptions() map[string]any {
	var (
		noRequest   func(context.Context, *everfresh.Snapshot[any]) (*http.Request, error)
		noMiddle    func(everfresh.Fetcher) everfresh.Fetcher
		noPolicy    func(*url.URL) error
		keep        = func(next everfresh.Fetcher) everfresh.Fetcher { return next }
		longTime    = 31 * 24 * time.Hour
		someFetcher = everfresh.FetcherFunc(http.DefaultTransport.RoundTrip)
	)
	return map[string]any{
		"refresh window 0":           everfresh.WithRefreshWindow(0),
		"refresh window negative":    everfresh.WithRefreshWindow(-1),
		"workers 0":                  everfresh.WithWorkers(0),
		"workers negative":           everfresh.WithWorkers(-1),
		"per host 0":                 everfresh.WithMaxPerHost(0),
		"per host negative":          everfresh.WithMaxPerHost(-1),
		"allow nil":                  everfresh.WithAllow(everfreshtest.AllowAny, noPolicy),
		"allow no host":              everfresh.WithAllow(everfresh.AllowHosts()),
		"allow bad host":             everfresh.WithAllow(everfresh.AllowHosts("https://a.test/")),
		"allow bad host or all":      everfresh.WithAllow(everfreshtest.AllowAny, everfresh.AllowHosts("a b")),
		"allow bad prefix":           everfresh.WithAllow(everfresh.AllowPrefix("a.test/x")),
		"allow bad regexp":           everfresh.WithAllow(everfresh.AllowRegexp("(")),
		"client nil":                 everfresh.WithHTTPClient(nil),
		"minimum 0":                  everfresh.WithMinRefreshInterval(0),
		"minimum negative":           everfresh.WithMinRefreshInterval(-1),
		"minimum above maximum":      everfresh.WithMinRefreshInterval(longTime),
		"maximum 0":                  everfresh.WithMaxRefreshInterval(0),
		"maximum negative":           everfresh.WithMaxRefreshInterval(-1),
		"maximum below minimum":      everfresh.WithMaxRefreshInterval(time.Minute),
		"interval negative":          everfresh.WithRefreshInterval(-1),
		"interval below window":      everfresh.WithRefreshInterval(time.Millisecond),
		"jitter negative":            everfresh.WithJitter(-0.1),
		"jitter above 1":             everfresh.WithJitter(1.1),
		"jitter NaN":                 everfresh.WithJitter(math.NaN()),
		"ahead negative":             everfresh.WithRefreshAhead(-1),
		"max stale negative":         everfresh.WithMaxStale(-1),
		"back-off floor 0":           everfresh.WithBackoff(0, time.Second),
		"back-off floor negative":    everfresh.WithBackoff(-1, time.Second),
		"back-off cap below floor":   everfresh.WithBackoff(time.Second, time.Millisecond),
		"timeout 0":                  everfresh.WithTimeout(0),
		"timeout negative":           everfresh.WithTimeout(-1),
		"max bytes 0":                everfresh.WithMaxBytes(0),
		"max bytes negative":         everfresh.WithMaxBytes(-1),
		"key empty":                  everfresh.WithKey(""),
		"request nil":                everfresh.WithRequest(noRequest),
		"header name empty":          everfresh.WithHeader("", "v"),
		"header name with space":     everfresh.WithHeader("a b", "v"),
		"header value with newline":  everfresh.WithHeader("A", "v\r\nB: w"),
		"transformer nil":            everfresh.WithTransformer(nil),
		"fetcher nil":                everfresh.WithFetcher(nil),
		"fetcher and client":         everfresh.Options(everfresh.WithFetcher(someFetcher), everfresh.WithHTTPClient(http.DefaultClient)),
		"middleware nil":             everfresh.WithMiddleware(keep, noMiddle),
		"on demand burst 0":          everfresh.WithNewerLimit(0, time.Second),
		"on demand refill 0":         everfresh.WithNewerLimit(1, 0),
		"on demand refill negative":  everfresh.WithNewerLimit(1, -1),
		"bundle with an invalid one": everfresh.Options(everfresh.WithTimeout(time.Second), everfresh.WithTimeout(0)),
		"bundle with nil":            everfresh.Options(nil),
	}
}

func TestInvalidOptionsAreErrorsOfRegister(t *testing.T) {
	for name, option := range invalidOptions() {
		t.Run(name, func(t *testing.T) {
			cacheOption, ok := option.(everfresh.CacheOption)
			if ok {
				wantNoRegister(t, []everfresh.CacheOption{cacheOption}, nil)
			}
			if registerOption, both := option.(everfresh.RegisterOption); both {
				wantNoRegister(t, nil, []everfresh.RegisterOption{registerOption})
			} else if !ok {
				t.Errorf("%T is no option", option)
			}
		})
	}
	t.Run("nil", func(t *testing.T) {
		wantNoRegister(t, []everfresh.CacheOption{nil}, nil)
		wantNoRegister(t, nil, []everfresh.RegisterOption{nil})
	})
}

// A list of policies that turns out empty must not allow everything.
func TestAllowOfNoPolicyRefuses(t *testing.T) {
	wantNoRegister(t, []everfresh.CacheOption{everfresh.WithAllow()}, nil)
	wantNoRegister(t, nil, []everfresh.RegisterOption{everfresh.WithAllow()})
}

// wantNoRegister checks that neither API takes a resource.
func wantNoRegister(t *testing.T, cacheOptions []everfresh.CacheOption, options []everfresh.RegisterOption) {
	t.Helper()
	c := everfreshtest.NewCache(t, cacheOptions...)
	if err := c.Register("https://a.test/", options...); err == nil {
		t.Error("Cache.Register took it")
	}
	if r, err := everfresh.Register(c, "https://b.test/", everfreshtest.Number, options...); err == nil || r != nil {
		t.Error("Register took it")
	}
	for s := range c.All() {
		t.Errorf("%s is registered", s.Key)
	}
}

func TestRegisterRefusesWhatItCannotServe(t *testing.T) {
	c := everfreshtest.NewCache(t)
	if _, err := everfresh.Register[int](c, "https://a.test/", nil); err == nil {
		t.Error("a nil decoder was taken")
	}
	if _, err := everfresh.Register(c, "https://a.test/", everfreshtest.Number, lifecycleText("")); err == nil {
		t.Error("a transformer was taken by the typed API")
	}
	for _, u := range []string{"", "a.test", "/path", "ftp://a.test/", "file:///etc/passwd", "https://", "https://u:p@a.test/", "https://a.test:x/", "ht tp://a", "https://a.test/%zz"} {
		_, err := everfresh.Register(c, u, everfreshtest.Number)
		everfreshtest.WantIs(t, err, everfresh.ErrNotAllowed)
		everfreshtest.WantIs(t, c.Register(u), everfresh.ErrNotAllowed)
		if c.IsRegistered(u) {
			t.Errorf("%q is registered", u)
		}
	}
}

// TestReadsOfReadyValueDoNotAllocate reads the three ways that README.md promises.
func TestReadsOfReadyValueDoNotAllocate(t *testing.T) {
	c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(everfreshtest.Client(everfreshtest.Text("v"))))
	r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
	everfreshtest.Ready(t, r)
	if err := c.Register("https://b.test/"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), "https://b.test/"); err != nil {
		t.Fatal(err)
	}
	r.Snapshot() // the first makes it; the others share it
	for name, read := range map[string]func() bool{
		"Get":       func() bool { v, err := r.Get(t.Context()); return string(v) == "v" && err == nil },
		"Peek":      func() bool { v, ok := r.Peek(); return string(v) == "v" && ok },
		"Snapshot":  func() bool { return string(r.Snapshot().Value) == "v" },
		"Cache.Get": func() bool { v, err := c.Get(t.Context(), "https://b.test/"); return v != nil && err == nil },
	} {
		if n := testing.AllocsPerRun(1000, func() {
			if !read() {
				t.Errorf("%s has no value", name)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// A bundle of options for the whole cache may hold those of one resource, too.
func TestBundleOfTheCache(t *testing.T) {
	const u = "https://a.test/x"
	asked := make(chan string, 1)
	fetch := everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
		asked <- req.URL.String()
		return &http.Response{
			StatusCode: http.StatusOK, ContentLength: 1, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("x")),
		}, nil
	})
	transform := everfresh.TransformFunc(func(url string, _ *http.Response) (any, error) { return url, nil })
	for name, opt := range map[string]everfresh.RegisterOption{
		"transformer": everfresh.WithTransformer(transform), "key": everfresh.WithKey("k"),
	} {
		t.Run(name, func(t *testing.T) {
			c := everfresh.NewCache(t.Context(), everfresh.WithFetcher(fetch), everfresh.Options(opt))
			defer c.Close()
			if err := c.Register(u); err != nil {
				t.Fatal(err)
			}
			key := u
			if name == "key" {
				key = "k"
			}
			v, err := c.Get(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			if got := <-asked; got != u {
				t.Errorf("asked for %q", got)
			}
			if name == "transformer" && v != u {
				t.Errorf("the transformer was given %q", v)
			}
		})
	}
}

// A refresh that waits for its turn when its resource is registered again sends nothing: its
// credentials may have been revoked.
func TestReplacedOptionsSendNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var sent []string
		fetch := everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
			mu.Lock()
			sent = append(sent, req.URL.Path)
			mu.Unlock()
			time.Sleep(time.Second)
			return &http.Response{
				StatusCode: http.StatusOK, ContentLength: 1, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("x")),
			}, nil
		})
		c := everfresh.NewCache(t.Context(), everfresh.WithFetcher(fetch), everfresh.WithWorkers(1), everfresh.WithPrefetch(true))
		defer c.Close()
		for _, r := range []struct{ path, key string }{{"/first", "first"}, {"/old", "k"}, {"/new", "k"}} {
			if err := c.Register("https://a.test"+r.path, everfresh.WithKey(r.key)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		time.Sleep(5 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if want := []string{"/first", "/new"}; !slices.Equal(sent, want) {
			t.Errorf("sent %v, want %v", sent, want)
		}
	})
}
