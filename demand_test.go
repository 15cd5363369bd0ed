package everfresh_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
	"github.com/everfresh-go/everfresh/store"
)

// newerResource returns a resource that has its first value already, and the snapshot of
// that.
func newerResource(t *testing.T, o *everfreshtest.Origin, opts ...everfresh.RegisterOption) (*everfresh.Cache, *everfresh.Resource[int], *everfresh.Snapshot[int]) {
	t.Helper()
	c := everfreshtest.NewCache(t, everfresh.WithJitter(0), o.Option())
	r := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, opts...)
	everfreshtest.Ready(t, r)
	synctest.Wait()
	return c, r, r.Snapshot()
}

// wantCooling checks that err is a *RateLimitError until then.
func wantCooling(t *testing.T, err error, until time.Time) *everfresh.RateLimitError {
	t.Helper()
	var ce *everfresh.RateLimitError
	if !errors.As(err, &ce) {
		t.Fatalf("error = %v, want a *RateLimitError", err)
	}
	if !ce.Until.Equal(until) {
		t.Errorf("cooling until %v, want %v", ce.Until, until)
	}
	return ce
}

// wantSpent checks that the default budget was full, and spends it.
func wantSpent(t *testing.T, r *everfresh.Resource[int], seen *everfresh.Snapshot[int]) {
	t.Helper()
	wantSame(t, r, seen)
	wantSame(t, r, seen)
	_, err := r.Newer(t.Context(), seen)
	wantCooling(t, err, time.Now().Add(15*time.Second))
}

// wantSame checks that Newer found the origin saying the same as in seen.
func wantSame(t *testing.T, r *everfresh.Resource[int], seen *everfresh.Snapshot[int]) {
	t.Helper()
	snap, err := r.Newer(t.Context(), seen)
	if err != nil {
		t.Fatalf("Newer = %v", err)
	}
	if snap.Version != seen.Version || snap.CheckedAt.Before(time.Now()) {
		t.Errorf("Newer = version %d checked at %v, want version %d, checked now", snap.Version, snap.CheckedAt, seen.Version)
	}
}

func TestNewerReturnsNewerVersionAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Delay: time.Second}
		c, r, first := newerResource(t, o)
		everfreshtest.Refresh(t, r)
		second := r.Snapshot()
		if second.Version <= first.Version {
			t.Fatalf("versions %d, then %d", first.Version, second.Version)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		start := time.Now()
		for _, seen := range []*everfresh.Snapshot[int]{first, nil} {
			if snap, err := r.Newer(ended, seen); snap != second || err != nil {
				t.Errorf("Newer = %v, %v", snap, err)
			}
		}
		_ = c.Close()
		if snap, err := r.Newer(ended, first); snap != second || err != nil {
			t.Errorf("Newer after Close = %v, %v", snap, err)
		}
		everfreshtest.WantElapsed(t, start, 0)
		everfreshtest.WantRequests(t, o, 2)
	})
}

func TestNewerFetchesTheFirstValueForFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Body: "5"}
		r := everfreshtest.Register(t, everfreshtest.NewCache(t, everfresh.WithJitter(0)), "https://a.test/", everfreshtest.Number, o.Option(), everfresh.WithPrefetch(false))
		snap, err := r.Newer(t.Context(), nil)
		if err != nil || snap.Value != 5 {
			t.Fatalf("Newer = %v, %v", snap, err)
		}
		wantSame(t, r, snap)
		wantSame(t, r, snap) // the whole budget was left
		everfreshtest.WantRequests(t, o, 3)
	})
}

func TestNewerBudget(t *testing.T) {
	for name, tt := range map[string]struct {
		opts  []everfresh.RegisterOption
		burst int
		every time.Duration
	}{
		"default": {nil, 2, 15 * time.Second},
		"one":     {[]everfresh.RegisterOption{everfresh.WithNewerLimit(1, time.Minute)}, 1, time.Minute},
		"five":    {[]everfresh.RegisterOption{everfresh.WithNewerLimit(5, time.Second)}, 5, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &everfreshtest.Origin{Body: "5", ETag: `"5"`}
				_, r, seen := newerResource(t, o, tt.opts...)
				start := time.Now()
				for range tt.burst {
					wantSame(t, r, seen)
				}
				everfreshtest.WantRequests(t, o, 1+tt.burst)
				_, err := r.Newer(t.Context(), seen)
				until := start.Add(tt.every)
				first := wantCooling(t, err, until)
				time.Sleep(tt.every - time.Millisecond)
				_, err = r.Newer(t.Context(), seen)
				if again := wantCooling(t, err, until); again != first {
					t.Error("two errors in one cooling period")
				}
				everfreshtest.WantRequests(t, o, 1+tt.burst)
				time.Sleep(2 * time.Millisecond)
				everfreshtest.WantRequests(t, o, 2+tt.burst) // it was refreshed when the budget allowed it
				if at := o.Last().At; !at.Equal(until) {
					t.Errorf("refreshed at %v, want %v", at, until)
				}
			})
		})
	}
}

func TestNewerCoolingIsRefreshedOncePerPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Body: "5"}
		_, r, seen := newerResource(t, o)
		wantSpent(t, r, seen)
		time.Sleep(14 * time.Minute) // no one asks again: one refresh, and then the usual ones
		everfreshtest.WantRequests(t, o, 4)
	})
}

func TestNewerBudgetRefillsToItsBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Body: "5"}
		_, r, seen := newerResource(t, o)
		wantSame(t, r, seen)
		wantSame(t, r, seen)
		time.Sleep(10 * time.Minute) // refills no more than two
		wantSpent(t, r, seen)
	})
}

func TestNewerCoolingDoesNotAllocate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Body: "5"}
		_, r, seen := newerResource(t, o)
		wantSame(t, r, seen)
		wantSame(t, r, seen)
		_, first := r.Newer(t.Context(), seen)
		ctx := t.Context()
		if n := testing.AllocsPerRun(1000, func() {
			if _, err := r.Newer(ctx, seen); err != first { //nolint:errorlint // It must be the same value.
				t.Errorf("Newer = %v", err)
			}
		}); n != 0 {
			t.Errorf("allocations = %v, want 0", n)
		}
	})
}

func TestNewerRefundsAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Delay: time.Millisecond} // each answer is another
		_, r, seen := newerResource(t, o)
		for i := range 10 {
			snap, err := r.Newer(t.Context(), seen)
			if err != nil {
				t.Fatalf("rotation %d: %v", i, err)
			}
			if snap.Version <= seen.Version || snap.Value != seen.Value+1 {
				t.Errorf("Newer = %d after %d", snap.Value, seen.Value)
			}
			seen = snap
		}
		o.Set(func(o *everfreshtest.Origin) { o.Body = strconv.Itoa(seen.Value) })
		wantSame(t, r, seen)
		wantSame(t, r, seen)
		_, err := r.Newer(t.Context(), seen)
		var ce *everfresh.RateLimitError
		if !errors.As(err, &ce) {
			t.Errorf("Newer = %v: the refunds added up to more than the burst", err)
		}
	})
}

func TestNewerDoesNotChargeFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Body: "5"}
		_, r, seen := newerResource(t, o, everfresh.WithBackoff(time.Second, time.Second))
		o.Set(func(o *everfreshtest.Origin) { o.Code = http.StatusServiceUnavailable })
		_, err := r.Newer(t.Context(), seen)
		if re := everfreshtest.RefreshError(t, err); !re.Stale || re.Attempt != 1 {
			t.Errorf("Newer = %+v", *re)
		}
		time.Sleep(500 * time.Millisecond)
		if _, again := r.Newer(t.Context(), seen); !errors.Is(again, err) {
			t.Errorf("Newer during back-off = %v, want the last failure", again)
		}
		everfreshtest.WantRequests(t, o, 2)
		o.Set(func(o *everfreshtest.Origin) { o.Code = 0 })
		time.Sleep(600 * time.Millisecond) // it is tried again: too soon for the budget to have refilled
		everfreshtest.WantRequests(t, o, 3)
		wantSpent(t, r, seen)
	})
}

func TestNewerWithoutValueDuringBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Code: http.StatusServiceUnavailable}
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithBackoff(time.Minute, time.Minute))
		r := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, o.Option())
		synctest.Wait()
		_, err := r.Newer(t.Context(), nil)
		everfreshtest.WantIs(t, err, everfresh.ErrNotReady)
		var se *everfresh.StatusError
		if !errors.As(err, &se) {
			t.Errorf("Newer = %v, want the last failure", err)
		}
		everfreshtest.WantRequests(t, o, 1)
	})
}

func TestNewerJoinsParkedFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, slow := &everfreshtest.Origin{Body: "5"}, &everfreshtest.Origin{Delay: time.Minute}
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithWorkers(1))
		r := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, o.Option(), everfresh.WithRefreshInterval(time.Hour))
		everfreshtest.Ready(t, r)
		seen := r.Snapshot()
		time.Sleep(time.Hour - time.Second)
		busy := everfreshtest.Register(t, c, "https://b.test/", everfreshtest.Number, slow.Option(), everfresh.WithTimeout(time.Hour))
		time.Sleep(2 * time.Second)
		if !r.Status().Fetching || o.Count() != 1 {
			t.Fatal("the refresh of a should be parked")
		}
		start := time.Now()
		wantSame(t, r, seen)
		everfreshtest.WantElapsed(t, start, 58*time.Second)
		if err := busy.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		everfreshtest.WantRequests(t, o, 2)
		wantSame(t, r, seen) // the parked one was due anyhow, and is not charged
		wantSame(t, r, seen)
		everfreshtest.WantRequests(t, o, 4)
	})
}

func TestNewerJoinsFlightThatBeganBefore(t *testing.T) {
	for name, tt := range map[string]struct {
		body     string
		requests int
		took     time.Duration
	}{
		"which brings the newer value": {"", 2, 500 * time.Millisecond},
		"which brings the same":        {"1", 3, 1500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &everfreshtest.Origin{Delay: time.Second, Body: tt.body}
				_, r, seen := newerResource(t, o)
				var wg sync.WaitGroup
				wg.Go(func() {
					if err := r.Refresh(t.Context()); err != nil {
						t.Error(err)
					}
				})
				time.Sleep(500 * time.Millisecond)
				start := time.Now()
				snap, err := r.Newer(t.Context(), seen)
				if err != nil {
					t.Error(err)
				} else if changed := snap.Version != seen.Version; changed != (tt.body == "") {
					t.Errorf("version %d after %d", snap.Version, seen.Version)
				}
				everfreshtest.WantElapsed(t, start, tt.took)
				wg.Wait()
				everfreshtest.WantRequests(t, o, tt.requests)
			})
		})
	}
}

// A fetch that began after the call is the answer, no matter who started it, and also for those
// who come to see it only when it has ended.
func TestNewerTakesTheFlightThatFollowed(t *testing.T) {
	for _, delay := range []time.Duration{0, time.Second} {
		t.Run(delay.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &everfreshtest.Origin{Body: "1"}
				_, r, seen := newerResource(t, o)
				wantSame(t, r, seen)
				wantSame(t, r, seen) // the budget is spent
				o.Set(func(o *everfreshtest.Origin) { o.Delay = time.Second })
				var wg sync.WaitGroup
				refresh := func() {
					if err := r.Refresh(t.Context()); err != nil {
						t.Error(err)
					}
				}
				wg.Go(refresh)
				time.Sleep(500 * time.Millisecond)
				o.Set(func(o *everfreshtest.Origin) { o.Delay = delay })
				var refused atomic.Int64
				for range 1000 {
					wg.Go(func() {
						if snap, err := r.Newer(t.Context(), seen); err != nil || snap.Version != seen.Version {
							refused.Add(1)
						}
					})
				}
				synctest.Wait()
				wg.Go(refresh) // begins when the first ends
				wg.Wait()
				if n := refused.Load(); n != 0 {
					t.Errorf("%d of 1000 callers got no answer, though a fetch began after their calls", n)
				}
				everfreshtest.WantRequests(t, o, 5)
			})
		})
	}
}

func TestNewerCoolingIsOneErrorForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Body: "1"}
		_, r, seen := newerResource(t, o)
		wantSame(t, r, seen)
		wantSame(t, r, seen)
		o.Set(func(o *everfreshtest.Origin) { o.Delay = time.Second })
		var wg sync.WaitGroup
		wg.Go(func() { _ = r.Refresh(t.Context()) })
		time.Sleep(500 * time.Millisecond)
		errs := make([]error, 100)
		for i := range errs {
			wg.Go(func() { _, errs[i] = r.Newer(t.Context(), seen) })
		}
		wg.Wait()
		first := wantCooling(t, errs[0], seen.FetchedAt.Add(15*time.Second))
		for _, err := range errs {
			if !errors.Is(err, first) {
				t.Errorf("two errors in one cooling period: %p, %p", first, err)
				return
			}
		}
	})
}

func TestNewerChangeEndsCooling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Body: "1"}
		_, r, seen := newerResource(t, o)
		wantSpent(t, r, seen)
		o.Set(func(o *everfreshtest.Origin) { o.Body = "2" })
		time.Sleep(15*time.Second + time.Millisecond)
		snap, ok := r.Snapshot(), true
		if snap.Value != 2 || !ok {
			t.Fatalf("value %d, want the one of the refresh that followed", snap.Value)
		}
		wantSame(t, r, snap) // and the budget is there again
	})
}

func TestNewerIsNotChargedForPlannedRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Body: "1"}
		_, r, seen := newerResource(t, o, everfresh.WithRefreshInterval(time.Hour))
		wantSpent(t, r, seen)
		time.Sleep(14 * time.Second)
		o.Set(func(o *everfreshtest.Origin) { o.Delay = 2 * time.Second })
		if err := r.Refresh(t.Context()); err != nil { // under way when the period ends
			t.Fatal(err)
		}
		o.Set(func(o *everfreshtest.Origin) { o.Delay = 0 })
		before := o.Count()
		time.Sleep(time.Hour + time.Second)
		everfreshtest.WantRequests(t, o, before+1)
		wantSame(t, r, seen)
		wantSame(t, r, seen)
	})
}

func TestNewerIsCancelledByItsContextOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Body: "1"}
		_, r, seen := newerResource(t, o)
		o.Set(func(o *everfreshtest.Origin) { o.Delay = time.Second })
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := r.Newer(ctx, seen)
		everfreshtest.WantElapsed(t, start, 100*time.Millisecond)
		everfreshtest.WantIs(t, err, context.DeadlineExceeded)
		if re := everfreshtest.RefreshError(t, err); re.Op != "wait" || !re.Stale {
			t.Errorf("Newer = %+v", *re)
		}
		time.Sleep(time.Second)
		if snap := r.Snapshot(); !snap.CheckedAt.After(seen.CheckedAt) {
			t.Error("the fetch died with the one who asked for it")
		}
	})
}

func TestNewerWaitsForReplacedOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const key = "https://a.test/"
		o := &everfreshtest.Origin{Body: "x"}
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), o.Option())
		if err := c.Register(key, lifecycleText("one ")); err != nil {
			t.Fatal(err)
		}
		r, err := everfresh.Lookup[any](c, key)
		if err != nil {
			t.Fatal(err)
		}
		everfreshtest.Ready(t, r)
		seen := r.Snapshot()
		o.Set(func(o *everfreshtest.Origin) { o.Delay = time.Second })
		time.AfterFunc(500*time.Millisecond, func() {
			if err := c.Register(key, lifecycleText("two ")); err != nil {
				t.Error(err)
			}
		})
		snap, err := r.Newer(t.Context(), seen)
		if err != nil || snap.Value != "two x" || snap.Version <= seen.Version {
			t.Errorf("Newer = %+v, %v; want what the new options make", snap, err)
		}
	})
}

// newerCrowd has 10,000 callers ask for something newer than seen, again and again for
// so long. It returns when they asked the origin.
func newerCrowd(t *testing.T, o *everfreshtest.Origin, r *everfresh.Resource[int], seen *everfresh.Snapshot[int], long, pause time.Duration) []time.Duration {
	t.Helper()
	start, before := time.Now(), o.Count()
	end := start.Add(long)
	var wg sync.WaitGroup
	for range crowd() {
		wg.Go(func() {
			for time.Now().Before(end) {
				var ce *everfresh.RateLimitError
				if _, err := r.Newer(t.Context(), seen); err != nil && !errors.As(err, &ce) {
					t.Errorf("Newer = %v", err)
				}
				time.Sleep(time.Duration(rand.Int64N(int64(2 * pause))))
			}
		})
	}
	wg.Wait()
	var asked []time.Duration
	for _, req := range o.Requests()[before:] {
		asked = append(asked, req.At.Sub(start))
	}
	return asked
}

func TestNewerCrowdStaysInBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Body: "1", Delay: 5 * time.Millisecond}
		_, r, seen := newerResource(t, o)
		asked := newerCrowd(t, o, r, seen, 3*time.Minute, 5*time.Second)
		for i, at := range asked {
			if j := i + 2; j < len(asked) && asked[j] < 15*time.Second {
				t.Errorf("third request after %v, within 15 s", asked[j])
			}
			if j := i + 6; j < len(asked) && asked[j]-at < time.Minute {
				t.Errorf("seven requests within a minute, from %v to %v", at, asked[j])
				break
			}
		}
		if len(asked) < 10 {
			t.Errorf("%d requests in three minutes: the budget is not used", len(asked))
		}
	})
}

func TestNewerFindsRotationsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Body: "1", Delay: time.Millisecond}
		_, r, seen := newerResource(t, o)
		for _, rotation := range []string{"2", "3"} {
			o.Set(func(o *everfreshtest.Origin) { o.Body = rotation })
			start := time.Now()
			snap, err := r.Newer(t.Context(), seen)
			if err != nil || strconv.Itoa(snap.Value) != rotation {
				t.Fatalf("Newer = %v, %v; want %s", snap, err, rotation)
			}
			everfreshtest.WantElapsed(t, start, time.Millisecond) // one round trip
			seen = snap
		}
		everfreshtest.WantRequests(t, o, 3)
	})
}

func TestNewerFindsRotationDuringStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Body: "1", Delay: 5 * time.Millisecond}
		_, r, seen := newerResource(t, o)
		var found atomic.Int64
		var wg sync.WaitGroup
		wg.Go(func() { newerCrowd(t, o, r, seen, 30*time.Second, time.Second) })
		time.Sleep(3 * time.Second)
		o.Set(func(o *everfreshtest.Origin) { o.Body = "2" })
		rotated := time.Now()
		for v := range r.Watch(t.Context()) {
			if v == 2 {
				found.Store(int64(time.Since(rotated)))
				break
			}
		}
		if d := time.Duration(found.Load()); d > 15*time.Second {
			t.Errorf("rotation found after %v", d)
		}
		wg.Wait()
	})
}

func TestInvalidateIsCompareAndSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Delay: time.Second}
		_, r, first := newerResource(t, o)
		for _, version := range []uint64{0, first.Version - 1, first.Version + 1} {
			if err := r.Invalidate(t.Context(), version); err != nil {
				t.Errorf("Invalidate = %v", err)
			}
		}
		time.Sleep(time.Minute)
		if _, ok := r.Peek(); !ok || o.Count() != 1 {
			t.Fatal("Invalidate of another version did something")
		}
		start := time.Now()
		if err := r.Invalidate(t.Context(), first.Version); err != nil {
			t.Errorf("Invalidate = %v", err)
		}
		everfreshtest.WantElapsed(t, start, 0)
		if v, ok := r.Peek(); ok || r.Snapshot() != nil || r.Status().Ready {
			t.Errorf("Peek = %v, %v after Invalidate", v, ok)
		}
		if v, err := r.Get(t.Context()); v != 2 || err != nil {
			t.Errorf("Get = %v, %v; want the next value", v, err)
		}
		everfreshtest.WantElapsed(t, start, time.Second)
		if v := r.Snapshot().Version; v <= first.Version {
			t.Errorf("version %d after %d", v, first.Version)
		}
		everfreshtest.WantRequests(t, o, 2)
	})
}

func TestInvalidateOfAllCallersIsOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Delay: time.Second}
		_, r, seen := newerResource(t, o)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 50 * time.Millisecond) // some are late: it was replaced already
				if err := r.Invalidate(t.Context(), seen.Version); err != nil {
					t.Errorf("Invalidate = %v", err)
				}
				if v, err := r.Get(t.Context()); v != 2 || err != nil {
					t.Errorf("Get = %v, %v", v, err)
				}
			})
		}
		wg.Wait()
		everfreshtest.WantRequests(t, o, 2)
	})
}

func TestInvalidateAsksUnconditionally(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Body: "5", ETag: `"5"`}
		_, r, seen := newerResource(t, o)
		everfreshtest.Refresh(t, r)
		if o.Last().Header.Get("If-None-Match") != `"5"` {
			t.Fatal("a refresh should be conditional")
		}
		if err := r.Invalidate(t.Context(), seen.Version); err != nil {
			t.Fatal(err)
		}
		if v, err := r.Get(t.Context()); v != 5 || err != nil {
			t.Errorf("Get = %v, %v", v, err)
		}
		if got := o.Last().Header["If-None-Match"]; got != nil {
			t.Errorf("If-None-Match = %q after Invalidate", got)
		}
		if v := r.Snapshot().Version; v != seen.Version {
			t.Errorf("version %d after %d, though the bytes are the same", v, seen.Version)
		}
	})
}

func TestInvalidateDoubtsTheAnswerUnderWay(t *testing.T) {
	for name, tt := range map[string]struct {
		etag, body string
		accepted   bool
	}{
		"304":         {`"1"`, "1", false},
		"same bytes":  {"", "1", false},
		"other bytes": {"", "2", true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &everfreshtest.Origin{Body: "1", ETag: tt.etag, Delay: time.Second}
				_, r, seen := newerResource(t, o)
				var wg sync.WaitGroup
				wg.Go(func() { _ = r.Refresh(t.Context()) })
				time.Sleep(500 * time.Millisecond)
				o.Set(func(o *everfreshtest.Origin) { o.Body = tt.body })
				if err := r.Invalidate(t.Context(), seen.Version); err != nil {
					t.Fatal(err)
				}
				time.Sleep(600 * time.Millisecond) // the answer is there, the next one is not
				if _, ok := r.Peek(); ok != tt.accepted {
					t.Errorf("Peek = %v, want %v", ok, tt.accepted)
				}
				if tt.accepted {
					wg.Wait()
					return
				}
				if v, err := r.Get(t.Context()); v != 1 || err != nil {
					t.Errorf("Get = %v, %v", v, err)
				}
				wg.Wait()
				everfreshtest.WantRequests(t, o, 3)
				if got := o.Last().Header["If-None-Match"]; got != nil {
					t.Errorf("If-None-Match = %q after Invalidate", got)
				}
				if v := r.Snapshot().Version; v != seen.Version {
					t.Errorf("version %d after %d", v, seen.Version)
				}
			})
		})
	}
}

func TestInvalidateThenFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{}
		_, r, seen := newerResource(t, o, everfresh.WithBackoff(time.Second, time.Second))
		o.Set(func(o *everfreshtest.Origin) { o.Code = http.StatusBadGateway })
		if err := r.Invalidate(t.Context(), seen.Version); err != nil {
			t.Fatal(err)
		}
		_, err := r.Get(t.Context())
		everfreshtest.WantIs(t, err, everfresh.ErrNotReady)
		if err := r.Invalidate(t.Context(), seen.Version); err != nil {
			t.Errorf("second Invalidate = %v", err)
		}
		everfreshtest.WantRequests(t, o, 2)
		o.Set(func(o *everfreshtest.Origin) { o.Code = 0 })
		if err := r.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		if snap := r.Snapshot(); snap.Version <= seen.Version || snap.Value != 3 {
			t.Errorf("snapshot %+v", *snap)
		}
	})
}

func TestInvalidateRemovesTheStoredRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mem store.Memory
		o := &everfreshtest.Origin{Delay: time.Second}
		c := everfreshtest.NewCache(t, everfresh.WithStorage(&mem), o.Option())
		r := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number)
		everfreshtest.Ready(t, r)
		synctest.Wait()
		if n := newerStored(t, &mem); n != 1 {
			t.Fatalf("records = %d, want 1", n)
		}
		if err := r.Invalidate(t.Context(), r.Snapshot().Version); err != nil {
			t.Fatal(err)
		}
		if n := newerStored(t, &mem); n != 0 {
			t.Errorf("records = %d after Invalidate, want 0", n)
		}
		everfreshtest.Ready(t, r)
		synctest.Wait()
		if n := newerStored(t, &mem); n != 1 {
			t.Errorf("records = %d after the next value, want 1", n)
		}
	})
}

// newerStored returns how many items s has.
func newerStored(t *testing.T, s store.Storage) int {
	t.Helper()
	n := 0
	for _, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

func TestInvalidateWithoutValueDoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{}
		r := everfreshtest.Register(t, everfreshtest.NewCache(t), "https://a.test/", everfreshtest.Number, o.Option(), everfresh.WithPrefetch(false))
		if err := r.Invalidate(t.Context(), 0); err != nil {
			t.Errorf("Invalidate = %v", err)
		}
		time.Sleep(time.Minute)
		everfreshtest.WantRequests(t, o, 0)
	})
}

// watching collects what a Watch yields until it ends.
type watching struct {
	mu   sync.Mutex
	seen []int
	done chan struct{} // closed when Watch has ended
}

func watch(ctx context.Context, r *everfresh.Resource[int]) *watching {
	w := &watching{done: make(chan struct{})}
	go func() {
		defer close(w.done)
		for v := range r.Watch(ctx) {
			w.mu.Lock()
			w.seen = append(w.seen, v)
			w.mu.Unlock()
		}
	}()
	return w
}

// want checks what was seen so far, and whether the watch has ended.
func (w *watching) want(t *testing.T, ended bool, values ...int) { //nolint:revive // The flag is what is wanted.
	t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.seen, values) {
		t.Errorf("watched %v, want %v", w.seen, values)
	}
	select {
	case <-w.done:
		if !ended {
			t.Error("Watch has ended")
		}
	default:
		if ended {
			t.Error("Watch goes on")
		}
	}
}

func TestWatchYieldsNewerValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Body: "1", ETag: `"1"`}
		ctx, cancel := context.WithCancel(t.Context())
		c, r, seen := newerResource(t, o)
		w := watch(ctx, r)
		w.want(t, false, 1)
		refresh := func() {
			t.Helper()
			if err := r.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
		}
		refresh() // a 304
		o.Set(func(o *everfreshtest.Origin) { o.ETag = "" })
		refresh() // the same bytes
		w.want(t, false, 1)
		o.Set(func(o *everfreshtest.Origin) { o.Body = "2" })
		refresh()
		w.want(t, false, 1, 2)
		o.Set(func(o *everfreshtest.Origin) { o.Code = http.StatusBadGateway })
		_ = r.Refresh(t.Context())
		w.want(t, false, 1, 2)
		o.Set(func(o *everfreshtest.Origin) { o.Code = 0 })
		if err := r.Invalidate(t.Context(), r.Snapshot().Version); err != nil {
			t.Error(err)
		}
		w.want(t, false, 1, 2) // the same bytes came back
		o.Set(func(o *everfreshtest.Origin) { o.Body = "3" })
		refresh()
		w.want(t, false, 1, 2, 3)
		cancel()
		w.want(t, true, 1, 2, 3)
		_, _ = c, seen
	})
}

func TestWatchEnds(t *testing.T) {
	for name, end := range map[string]func(c *everfresh.Cache, r *everfresh.Resource[int], cancelCache func()){
		"with Close":                 func(c *everfresh.Cache, _ *everfresh.Resource[int], _ func()) { _ = c.Close() },
		"with the cache's context":   func(_ *everfresh.Cache, _ *everfresh.Resource[int], cancel func()) { cancel() },
		"when it is not registered ": func(c *everfresh.Cache, r *everfresh.Resource[int], _ func()) { _ = c.Unregister(r.Key()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &everfreshtest.Origin{}
				ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
				defer cancel()
				c := everfresh.NewCache(ctx)
				defer c.Close()
				with := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, o.Option())
				without := everfreshtest.Register(t, c, "https://b.test/", everfreshtest.Number, o.Option(), everfresh.WithPrefetch(false))
				synctest.Wait()
				full, empty := watch(t.Context(), with), watch(t.Context(), without)
				full.want(t, false, 1)
				empty.want(t, false)
				start := time.Now()
				end(c, with, cancel)
				end(c, without, cancel)
				full.want(t, true, 1)
				empty.want(t, true)
				everfreshtest.WantElapsed(t, start, 0)
			})
		})
	}
}

func TestWatchWaitsThroughFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Code: http.StatusBadGateway}
		r := everfreshtest.Register(t, everfreshtest.NewCache(t), "https://a.test/", everfreshtest.Number, o.Option())
		ctx, cancel := context.WithCancel(t.Context())
		w := watch(ctx, r)
		time.Sleep(time.Minute)
		w.want(t, false)
		o.Set(func(o *everfreshtest.Origin) { o.Code, o.Body = 0, "7" })
		time.Sleep(10 * time.Minute)
		w.want(t, false, 7)
		cancel()
		w.want(t, true, 7)
	})
}

func TestWatchGivesSlowConsumerTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{}
		_, r, _ := newerResource(t, o)
		var seen []int
		for v := range r.Watch(t.Context()) {
			seen = append(seen, v)
			if len(seen) == 3 {
				break // a consumer may leave
			}
			for range 10 { // others refresh meanwhile
				everfreshtest.Refresh(t, r)
			}
		}
		if want := []int{1, 11, 21}; !slices.Equal(seen, want) {
			t.Errorf("watched %v, want %v", seen, want)
		}
	})
}

func TestReadyWaitsThroughFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Code: http.StatusServiceUnavailable}
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithBackoff(time.Second, time.Minute))
		r := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, o.Option(), everfresh.WithPrefetch(false))
		time.AfterFunc(20*time.Second, func() { o.Set(func(o *everfreshtest.Origin) { o.Code = 0 }) })
		start := time.Now()
		if err := r.Ready(t.Context()); err != nil {
			t.Errorf("Ready = %v", err)
		}
		everfreshtest.WantElapsed(t, start, 31*time.Second) // tried after 0, 1, 3, 7, 15, 31
		everfreshtest.WantRequests(t, o, 6)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.Ready(ended); err != nil {
			t.Errorf("Ready of a ready value = %v", err)
		}
	})
}

func TestReadyEndsWithTheResource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Hang: true}
		c := everfreshtest.NewCache(t)
		gone := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, o.Option())
		closed := everfreshtest.Register(t, c, "https://b.test/", everfreshtest.Number, o.Option())
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() { everfreshtest.WantIs(t, gone.Ready(t.Context()), everfresh.ErrNotRegistered) })
		wg.Go(func() { everfreshtest.WantIs(t, closed.Ready(t.Context()), everfresh.ErrClosed) })
		wg.Go(func() { everfreshtest.WantIs(t, c.Ready(t.Context()), everfresh.ErrClosed) })
		synctest.Wait()
		if err := c.Unregister(gone.Key()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		_ = c.Close()
		wg.Wait()
		everfreshtest.WantElapsed(t, start, 0)
	})
}

func TestCacheReadyFetchesWhatNoOneAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, late := &everfreshtest.Origin{Delay: time.Second}, &everfreshtest.Origin{Hang: true}
		c := everfreshtest.NewCache(t)
		for _, u := range []string{"https://a.test/", "https://b.test/"} {
			if err := c.Register(u, o.Option()); err != nil {
				t.Fatal(err)
			}
		}
		everfreshtest.Register(t, c, "https://c.test/", everfreshtest.Number, o.Option(), everfresh.WithPrefetch(false))
		everfreshtest.Register(t, c, "https://d.test/", everfreshtest.Number, late.Option(), everfresh.WithKey("slow"))
		time.Sleep(time.Minute)
		everfreshtest.WantRequests(t, o, 0)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := c.Ready(ctx)
		everfreshtest.WantIs(t, err, context.DeadlineExceeded, everfresh.ErrNotReady)
		if re := everfreshtest.RefreshError(t, err); re.Key != "slow" {
			t.Errorf("Ready = %v, should name the resource that is not", err)
		}
		everfreshtest.WantElapsed(t, start, 10*time.Second)
		everfreshtest.WantRequests(t, o, 3)
		time.AfterFunc(time.Second, func() { _ = c.Unregister("slow") })
		if err := c.Ready(t.Context()); err != nil {
			t.Errorf("Ready = %v, though all that are registered are ready", err)
		}
		if err := everfreshtest.NewCache(t).Ready(ctx); err != nil {
			t.Errorf("Ready of an empty cache = %v", err)
		}
	})
}

// That a resource fails because another one is not registered does not mean that it is
// itself gone.
func TestCacheReadyWaitsForWhatNeedsAnUnregisteredOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := everfreshtest.NewCache(t, (&everfreshtest.Origin{}).Option())
		r := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, everfresh.WithRequest(
			func(ctx context.Context, _ *everfresh.Snapshot[any]) (*http.Request, error) {
				_, err := c.Get(ctx, "unknown")
				return nil, err
			}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		everfreshtest.WantIs(t, r.Ready(ctx), context.DeadlineExceeded)
		everfreshtest.WantIs(t, c.Ready(ctx), context.DeadlineExceeded)
	})
}
