package everfresh_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
)

// A nestedGet gets what a resource needs of another one, with the ctx of its callback.
type nestedGet func(ctx context.Context) error

// nestedWays are the callbacks in which one resource can need another one's value: they
// register a resource whose callback calls get.
func nestedWays() map[string]func(t *testing.T, c *everfresh.Cache, url string, get nestedGet) *everfresh.Resource[[]byte] {
	type resource = *everfresh.Resource[[]byte]
	return map[string]func(*testing.T, *everfresh.Cache, string, nestedGet) resource{
		"request": func(t *testing.T, c *everfresh.Cache, url string, get nestedGet) resource {
			return everfreshtest.Register(t, c, url, everfresh.Bytes(), everfresh.WithRequest(
				func(ctx context.Context, _ *everfresh.Snapshot[any]) (*http.Request, error) {
					if err := get(ctx); err != nil {
						return nil, err
					}
					return http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
				}))
		},
		"middleware": func(t *testing.T, c *everfresh.Cache, url string, get nestedGet) resource {
			return everfreshtest.Register(t, c, url, everfresh.Bytes(), everfresh.WithMiddleware(
				func(next everfresh.Fetcher) everfresh.Fetcher {
					return everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
						if err := get(req.Context()); err != nil {
							return nil, err
						}
						return next.Fetch(req)
					})
				}))
		},
		"decoder": func(t *testing.T, c *everfresh.Cache, url string, get nestedGet) resource {
			return everfreshtest.Register(t, c, url, func(ctx context.Context, resp *http.Response) ([]byte, error) {
				if err := get(ctx); err != nil {
					return nil, err
				}
				return everfresh.Bytes()(ctx, resp)
			})
		},
	}
}

// eachNestedWay runs test in a bubble for each way of nesting.
func eachNestedWay(t *testing.T, test func(t *testing.T, add func(c *everfresh.Cache, url string, get nestedGet) *everfresh.Resource[[]byte])) {
	for name, way := range nestedWays() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test(t, func(c *everfresh.Cache, url string, get nestedGet) *everfresh.Resource[[]byte] {
					return way(t, c, url, get)
				})
			})
		})
	}
}

// of returns a nestedGet of r's value.
func nestedOf(r **everfresh.Resource[[]byte]) nestedGet {
	return func(ctx context.Context) error {
		_, err := (*r).Get(ctx)
		return err
	}
}

func nestedNothing(context.Context) error { return nil }

// narrow are the options of a cache that does one thing at a time.
func narrow(o *everfreshtest.Origin, opts ...everfresh.CacheOption) []everfresh.CacheOption {
	return append([]everfresh.CacheOption{
		everfresh.WithWorkers(1), everfresh.WithMaxPerHost(1), everfresh.WithJitter(0), o.Option(),
	}, opts...)
}

// wantCycle checks that err tells of a cycle, and that no time was spent to find it.
func wantCycle(t *testing.T, err error, start time.Time) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "cycle") {
		t.Errorf("error = %v, want one about a cycle", err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v: it was a timeout that found the cycle", err)
	}
	everfreshtest.WantElapsed(t, start, 0)
}

func TestNestedChainNeedsOneWorkerAndOneSlot(t *testing.T) {
	for _, prefetch := range []bool{false, true} {
		for _, order := range []string{"abc", "cba", "bac"} {
			t.Run(fmt.Sprintf("prefetch=%v,order=%s", prefetch, order), func(t *testing.T) {
				eachNestedWay(t, func(t *testing.T, add func(*everfresh.Cache, string, nestedGet) *everfresh.Resource[[]byte]) {
					o := &everfreshtest.Origin{Delay: 10 * time.Millisecond}
					c := everfreshtest.NewCache(t, narrow(o, everfresh.WithPrefetch(false))...)
					rs := make(map[rune]*everfresh.Resource[[]byte])
					for _, name := range order {
						rs[name] = add(c, fmt.Sprintf("https://one.test/%c", name), func(ctx context.Context) error {
							if name == 'c' {
								return nil
							}
							_, err := rs[name+1].Get(ctx)
							return err
						})
					}
					start := time.Now()
					if prefetch {
						if err := c.Ready(t.Context()); err != nil { // all fetches are queued at once
							t.Error(err)
						}
					}
					if _, err := rs['a'].Get(t.Context()); err != nil {
						t.Error(err)
					}
					everfreshtest.WantElapsed(t, start, 30*time.Millisecond)
					everfreshtest.WantRequests(t, o, 3)
				})
			})
		}
	}
}

func TestNestedCycles(t *testing.T) {
	for n := 1; n <= 4; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			eachNestedWay(t, func(t *testing.T, add func(*everfresh.Cache, string, nestedGet) *everfresh.Resource[[]byte]) {
				c := everfreshtest.NewCache(t, narrow(&everfreshtest.Origin{}, everfresh.WithPrefetch(false))...)
				rs := make([]*everfresh.Resource[[]byte], n)
				for i := range rs {
					rs[i] = add(c, fmt.Sprintf("https://one.test/%d", i), nestedOf(&rs[(i+1)%n]))
				}
				start := time.Now()
				_, err := rs[0].Get(t.Context())
				wantCycle(t, err, start)
				everfreshtest.WantIs(t, err, everfresh.ErrNotReady)
				for _, r := range rs {
					if s := r.Status(); s.Failures != 1 || s.Fetching {
						t.Errorf("%s: %d failures, fetching %v", r.Key(), s.Failures, s.Fetching)
					}
				}
			})
		})
	}
}

func TestNestedCycleOfTwoCallersAtOnce(t *testing.T) {
	eachNestedWay(t, func(t *testing.T, add func(*everfresh.Cache, string, nestedGet) *everfresh.Resource[[]byte]) {
		o := &everfreshtest.Origin{}
		c := everfreshtest.NewCache(t, o.Option(), everfresh.WithJitter(0), everfresh.WithPrefetch(false))
		var a, b *everfresh.Resource[[]byte]
		var both sync.WaitGroup // both callbacks run before either needs the other
		both.Add(2)
		meet := func(other **everfresh.Resource[[]byte]) nestedGet {
			var once sync.Once
			return func(ctx context.Context) error {
				once.Do(both.Done)
				both.Wait()
				return nestedOf(other)(ctx)
			}
		}
		a = add(c, "https://one.test/a", meet(&b))
		b = add(c, "https://one.test/b", meet(&a))
		start := time.Now()
		var wg sync.WaitGroup
		for _, r := range []*everfresh.Resource[[]byte]{a, b} {
			wg.Go(func() {
				_, err := r.Get(t.Context())
				wantCycle(t, err, start)
			})
		}
		wg.Wait()
	})
}

// The flight that follows one under way waits for it, too.
func TestNestedCycleThroughTheFlightThatFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		add := nestedWays()["decoder"]
		c := everfreshtest.NewCache(t, (&everfreshtest.Origin{}).Option(), everfresh.WithPrefetch(false))
		begun := make(chan struct{})
		var a, b, x *everfresh.Resource[[]byte]
		a = add(t, c, "https://one.test/a", nestedOf(&x))
		b = add(t, c, "https://one.test/b", func(ctx context.Context) error {
			<-begun
			return nestedOf(&a)(ctx)
		})
		x = add(t, c, "https://one.test/x", func(ctx context.Context) error { return b.Refresh(ctx) })
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := b.Get(t.Context())
			wantCycle(t, err, start)
		})
		synctest.Wait()
		wg.Go(func() {
			_, err := x.Get(t.Context()) // waits for the refresh of b that follows
			wantCycle(t, err, start)
		})
		synctest.Wait()
		close(begun)
		wg.Wait()
	})
}

func TestNestedCycleIsFoundByEveryMethod(t *testing.T) {
	ways := map[string]func(ctx context.Context, c *everfresh.Cache, r *everfresh.Resource[[]byte]) error{
		"Get": func(ctx context.Context, _ *everfresh.Cache, r *everfresh.Resource[[]byte]) error {
			return nestedOf(&r)(ctx)
		},
		"Refresh": func(ctx context.Context, _ *everfresh.Cache, r *everfresh.Resource[[]byte]) error {
			return r.Refresh(ctx)
		},
		"Newer": func(ctx context.Context, _ *everfresh.Cache, r *everfresh.Resource[[]byte]) error {
			_, err := r.Newer(ctx, nil)
			return err
		},
		"Cache.Get": func(ctx context.Context, c *everfresh.Cache, r *everfresh.Resource[[]byte]) error {
			_, err := c.Get(ctx, r.Key())
			return err
		},
		"Cache.Refresh": func(ctx context.Context, c *everfresh.Cache, r *everfresh.Resource[[]byte]) error {
			_, err := c.Refresh(ctx, r.Key())
			return err
		},
	}
	for name, get := range ways {
		t.Run(name, func(t *testing.T) {
			eachNestedWay(t, func(t *testing.T, add func(*everfresh.Cache, string, nestedGet) *everfresh.Resource[[]byte]) {
				c := everfreshtest.NewCache(t, narrow(&everfreshtest.Origin{}, everfresh.WithPrefetch(false))...)
				var a, b *everfresh.Resource[[]byte]
				a = add(c, "https://one.test/a", func(ctx context.Context) error { return get(ctx, c, b) })
				b = add(c, "https://one.test/b", func(ctx context.Context) error { return get(ctx, c, a) })
				start := time.Now()
				_, err := a.Get(t.Context())
				wantCycle(t, err, start)
			})
		})
	}
}

func TestNestedCycleMendsWhenItIsBroken(t *testing.T) {
	eachNestedWay(t, func(t *testing.T, add func(*everfresh.Cache, string, nestedGet) *everfresh.Resource[[]byte]) {
		var broken atomic.Bool
		c := everfreshtest.NewCache(t, narrow(&everfreshtest.Origin{}, everfresh.WithPrefetch(false))...)
		var a, b *everfresh.Resource[[]byte]
		a = add(c, "https://one.test/a", nestedOf(&b))
		b = add(c, "https://one.test/b", func(ctx context.Context) error {
			if broken.Load() {
				return nil
			}
			return nestedOf(&a)(ctx)
		})
		if _, err := a.Get(t.Context()); err == nil {
			t.Error("no error of the cycle")
		}
		broken.Store(true)
		if err := c.Ready(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestNestedGetOfOwnValueIsNoCycle(t *testing.T) {
	eachNestedWay(t, func(t *testing.T, add func(*everfresh.Cache, string, nestedGet) *everfresh.Resource[[]byte]) {
		var again atomic.Bool
		c := everfreshtest.NewCache(t, narrow(&everfreshtest.Origin{})...)
		var a *everfresh.Resource[[]byte]
		a = add(c, "https://one.test/a", func(ctx context.Context) error {
			if !again.Load() {
				return nil
			}
			return nestedOf(&a)(ctx)
		})
		everfreshtest.Ready(t, a)
		again.Store(true)
		if err := a.Refresh(t.Context()); err != nil {
			t.Errorf("Refresh = %v", err)
		}
	})
}

func TestNestedGetTakesOverParkedFlight(t *testing.T) {
	eachNestedWay(t, func(t *testing.T, add func(*everfresh.Cache, string, nestedGet) *everfresh.Resource[[]byte]) {
		o := &everfreshtest.Origin{}
		c := everfreshtest.NewCache(t, narrow(o)...)
		var b *everfresh.Resource[[]byte]
		go1 := make(chan struct{})
		a := add(c, "https://one.test/a", func(ctx context.Context) error {
			<-go1
			return nestedOf(&b)(ctx)
		})
		synctest.Wait() // a has the only worker
		b = add(c, "https://one.test/b", nestedNothing)
		other := add(c, "https://one.test/other", nestedNothing) // parked behind b
		synctest.Wait()
		if !b.Status().Fetching || b.Status().Ready {
			t.Fatalf("%+v: should be parked", b.Status())
		}
		start := time.Now()
		close(go1)
		if _, err := a.Get(t.Context()); err != nil {
			t.Error(err)
		}
		if err := other.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		everfreshtest.WantElapsed(t, start, 0)
		everfreshtest.WantRequests(t, o, 3)
	})
}

func TestNestedGetOfReadyValueDoesNotWait(t *testing.T) {
	eachNestedWay(t, func(t *testing.T, add func(*everfresh.Cache, string, nestedGet) *everfresh.Resource[[]byte]) {
		o := &everfreshtest.Origin{}
		c := everfreshtest.NewCache(t, o.Option(), everfresh.WithJitter(0), everfresh.WithMaxPerHost(1))
		b := add(c, "https://one.test/b", nestedNothing)
		everfreshtest.Ready(t, b)
		a := add(c, "https://two.test/a", nestedOf(&b))
		stuck := &everfreshtest.Origin{Hang: true}
		hanging := everfreshtest.Register(t, c, "https://one.test/hanging", everfresh.Bytes(), stuck.Option())
		start := time.Now()
		if _, err := a.Get(t.Context()); err != nil {
			t.Error(err)
		}
		everfreshtest.WantElapsed(t, start, 0)
		everfreshtest.WantRequests(t, o, 2)
		if !hanging.Status().Fetching {
			t.Error("the host is not busy: the test shows nothing")
		}
	})
}

func TestNestedWaitEndsWithTheOuterRefresh(t *testing.T) {
	eachNestedWay(t, func(t *testing.T, add func(*everfresh.Cache, string, nestedGet) *everfresh.Resource[[]byte]) {
		o := &everfreshtest.Origin{Delay: 5 * time.Second}
		c := everfreshtest.NewCache(t, o.Option(), everfresh.WithJitter(0), everfresh.WithPrefetch(false),
			everfresh.WithTimeout(7*time.Second), everfresh.WithBackoff(time.Hour, time.Hour))
		slow := add(c, "https://one.test/b", func(ctx context.Context) error {
			select {
			case <-time.After(time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		bounded := everfreshtest.Register(t, c, "https://one.test/a", everfresh.Bytes(), everfresh.WithTimeout(time.Second),
			everfresh.WithRequest(func(ctx context.Context, _ *everfresh.Snapshot[any]) (*http.Request, error) {
				if err := nestedOf(&slow)(ctx); err != nil {
					return nil, err
				}
				return http.NewRequestWithContext(ctx, http.MethodGet, "https://one.test/a", http.NoBody)
			}))
		start := time.Now()
		_, err := bounded.Get(t.Context())
		everfreshtest.WantElapsed(t, start, time.Second)
		everfreshtest.WantIs(t, err, context.DeadlineExceeded, everfresh.ErrNotReady)
		if _, err := slow.Get(t.Context()); err != nil {
			t.Errorf("the inner fetch died with the outer one: %v", err)
		}
		everfreshtest.WantElapsed(t, start, 6*time.Second)
	})
}

func TestNestedFailureIsTheOuterCause(t *testing.T) {
	eachNestedWay(t, func(t *testing.T, add func(*everfresh.Cache, string, nestedGet) *everfresh.Resource[[]byte]) {
		o := &everfreshtest.Origin{Code: http.StatusTeapot}
		good := &everfreshtest.Origin{}
		c := everfreshtest.NewCache(t, good.Option(), everfresh.WithPrefetch(false))
		b := everfreshtest.Register(t, c, "https://one.test/b", everfresh.Bytes(), o.Option())
		a := add(c, "https://one.test/a", nestedOf(&b))
		_, err := a.Get(t.Context())
		var se *everfresh.StatusError
		if !errors.As(err, &se) || se.Code != http.StatusTeapot || everfreshtest.RefreshError(t, err).Key != a.Key() {
			t.Errorf("Get = %v, want the failure of the one inside", err)
		}
	})
}

func TestNestedGetsShareOneFetch(t *testing.T) {
	eachNestedWay(t, func(t *testing.T, add func(*everfresh.Cache, string, nestedGet) *everfresh.Resource[[]byte]) {
		o := &everfreshtest.Origin{Delay: time.Millisecond}
		c := everfreshtest.NewCache(t, o.Option(), everfresh.WithPrefetch(false))
		token := add(c, "https://one.test/token", nestedNothing)
		for i := range 20 {
			add(c, fmt.Sprintf("https://h%d.test/", i), func(ctx context.Context) error {
				var wg sync.WaitGroup // a callback may also ask several times at once
				for range 3 {
					wg.Go(func() {
						if err := nestedOf(&token)(ctx); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				return nil
			})
		}
		if err := c.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		everfreshtest.WantRequests(t, o, 21)
	})
}

func TestNestedRefreshFollowsTheFlightUnderWay(t *testing.T) {
	eachNestedWay(t, func(t *testing.T, add func(*everfresh.Cache, string, nestedGet) *everfresh.Resource[[]byte]) {
		o := &everfreshtest.Origin{Delay: time.Second}
		c := everfreshtest.NewCache(t, o.Option(), everfresh.WithWorkers(2), everfresh.WithMaxPerHost(2), everfresh.WithJitter(0),
			everfresh.WithPrefetch(false))
		b := add(c, "https://one.test/b", nestedNothing)
		a := add(c, "https://one.test/a", func(ctx context.Context) error {
			err := b.Refresh(ctx)
			if err == nil {
				if v, _ := b.Peek(); string(v) != "2" && string(v) != "3" {
					t.Errorf("Refresh left the answer of request %s", v)
				}
			}
			return err
		})
		var wg sync.WaitGroup
		start := time.Now()
		wg.Go(func() { _, _ = b.Get(t.Context()) })
		time.Sleep(500 * time.Millisecond)
		if _, err := a.Get(t.Context()); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if d := time.Since(start); d > 4*time.Second {
			t.Errorf("took %v", d)
		}
		everfreshtest.WantRequests(t, o, 3)
	})
}

func TestNestedWaitEndsWithUnregister(t *testing.T) {
	eachNestedWay(t, func(t *testing.T, add func(*everfresh.Cache, string, nestedGet) *everfresh.Resource[[]byte]) {
		o, stuck := &everfreshtest.Origin{}, &everfreshtest.Origin{Hang: true}
		c := everfreshtest.NewCache(t, o.Option(), everfresh.WithWorkers(1), everfresh.WithPrefetch(false))
		b := everfreshtest.Register(t, c, "https://one.test/b", everfresh.Bytes(), stuck.Option())
		a := add(c, "https://one.test/a", nestedOf(&b))
		start := time.Now()
		time.AfterFunc(time.Second, func() { _ = c.Unregister(b.Key()) })
		_, err := a.Get(t.Context())
		everfreshtest.WantElapsed(t, start, time.Second)
		everfreshtest.WantIs(t, err, everfresh.ErrNotReady, everfresh.ErrNotRegistered)
		synctest.Wait()
		if now, _ := stuck.Busy(); now != 0 {
			t.Error("the inner fetch goes on")
		}
	})
}

func TestNestedReadyRunsInTheCallersTurn(t *testing.T) {
	eachNestedWay(t, func(t *testing.T, add func(*everfresh.Cache, string, nestedGet) *everfresh.Resource[[]byte]) {
		o := &everfreshtest.Origin{}
		c := everfreshtest.NewCache(t, narrow(o, everfresh.WithPrefetch(false))...)
		b := add(c, "https://one.test/b", nestedNothing)
		a := add(c, "https://one.test/a", func(ctx context.Context) error { return b.Ready(ctx) })
		start := time.Now()
		if _, err := a.Get(t.Context()); err != nil {
			t.Error(err)
		}
		everfreshtest.WantElapsed(t, start, 0)
	})
}

func TestNestedReadyWaitsThroughFailures(t *testing.T) {
	eachNestedWay(t, func(t *testing.T, add func(*everfresh.Cache, string, nestedGet) *everfresh.Resource[[]byte]) {
		o, inner := &everfreshtest.Origin{}, &everfreshtest.Origin{Code: http.StatusBadGateway}
		c := everfreshtest.NewCache(t, narrow(o, everfresh.WithPrefetch(false), everfresh.WithBackoff(time.Second, time.Second))...)
		b := everfreshtest.Register(t, c, "https://one.test/b", everfresh.Bytes(), inner.Option())
		a := add(c, "https://one.test/a", func(ctx context.Context) error { return b.Ready(ctx) })
		time.AfterFunc(2500*time.Millisecond, func() { inner.Set(func(o *everfreshtest.Origin) { o.Code = 0 }) })
		start := time.Now()
		if _, err := a.Get(t.Context()); err != nil { // a keeps the only worker meanwhile
			t.Error(err)
		}
		everfreshtest.WantElapsed(t, start, 3*time.Second)
		everfreshtest.WantRequests(t, inner, 4)
	})
}
