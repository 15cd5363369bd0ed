package everfresh_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
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

func TestReadyValueIsReadWhileItsRefreshHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Body: "7"}
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0))
		r := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, o.Option(), everfresh.WithRefreshInterval(time.Minute))
		everfreshtest.Ready(t, r)
		o.Set(func(o *everfreshtest.Origin) { o.Hang = true })
		time.Sleep(61 * time.Second)
		if now, _ := o.Busy(); now != 1 || !r.Status().Fetching {
			t.Fatalf("in flight = %d, fetching = %v; the refresh should hang", now, r.Status().Fetching)
		}
		start := time.Now()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if v, err := r.Get(ended); v != 7 || err != nil {
			t.Errorf("Get = %v, %v", v, err)
		}
		if v, ok := r.Peek(); v != 7 || !ok {
			t.Errorf("Peek = %v, %v", v, ok)
		}
		if v, err := c.Get(ended, "https://a.test/"); v != 7 || err != nil {
			t.Errorf("Cache.Get = %v, %v", v, err)
		}
		everfreshtest.WantElapsed(t, start, 0)
	})
}

func TestFirstGetJoinsContextErrorAndCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Code: http.StatusServiceUnavailable}
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithBackoff(time.Second, time.Second))
		r := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, o.Option())
		time.Sleep(500 * time.Millisecond)
		o.Set(func(o *everfreshtest.Origin) { o.Hang = true })
		time.Sleep(time.Second) // the second fetch hangs now
		get := func(ctx context.Context) error { _, err := r.Get(ctx); return err }
		for name, wait := range map[string]func(context.Context) error{
			"Get": get, "Refresh": r.Refresh, "Ready": r.Ready,
			"Newer": func(ctx context.Context) error { _, err := r.Newer(ctx, nil); return err },
			"Cache.Get": func(ctx context.Context) error {
				_, err := c.Get(ctx, "https://a.test/")
				return err
			},
			"Cache.Refresh": func(ctx context.Context) error {
				_, err := c.Refresh(ctx, "https://a.test/")
				return err
			},
			"Cache.Ready": c.Ready,
		} {
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			err := wait(ctx)
			cancel()
			everfreshtest.WantElapsed(t, start, 100*time.Millisecond)
			everfreshtest.WantIs(t, err, context.DeadlineExceeded, everfresh.ErrNotReady)
			var se *everfresh.StatusError
			if !errors.As(err, &se) || se.Code != http.StatusServiceUnavailable {
				t.Errorf("%s: %v does not hold the status of the last fetch", name, err)
			}
			if re := everfreshtest.RefreshError(t, err); re.Op != "wait" || re.Attempt != 1 || re.Stale {
				t.Errorf("%s: %+v", name, *re)
			}
		}
	})
}

func TestFirstGetWithoutFailureHoldsContextError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Hang: true}
		r := everfreshtest.Register(t, everfreshtest.NewCache(t), "https://a.test/", everfreshtest.Number, o.Option())
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		_, err := r.Get(ctx)
		everfreshtest.WantElapsed(t, start, time.Second)
		everfreshtest.WantIs(t, err, context.Canceled, everfresh.ErrNotReady)
		everfreshtest.WantRequests(t, o, 1)
	})
}

func TestCancelledWaiterLeavesFetchAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Delay: time.Second}
		r := everfreshtest.Register(t, everfreshtest.NewCache(t), "https://a.test/", everfreshtest.Number, o.Option(), everfresh.WithPrefetch(false))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { // it starts the flight, and leaves
			if _, err := r.Get(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("first waiter: %v", err)
			}
		})
		synctest.Wait()
		for range 10 {
			wg.Go(func() {
				if v, err := r.Get(t.Context()); v != 1 || err != nil {
					t.Errorf("other waiter: %v, %v", v, err)
				}
			})
		}
		time.Sleep(500 * time.Millisecond)
		cancel()
		wg.Wait()
		everfreshtest.WantRequests(t, o, 1)
	})
}

func TestFetchOutlivesItsWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Delay: 200 * time.Millisecond}
		r := everfreshtest.Register(t, everfreshtest.NewCache(t), "https://a.test/", everfreshtest.Number, o.Option(), everfresh.WithPrefetch(false))
		for i := range 20 {
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			if i > 0 {
				cancel() // all but one are gone before they begin
			}
			_, err := r.Get(ctx)
			everfreshtest.WantIs(t, err, ctx.Err(), everfresh.ErrNotReady)
			if i == 0 {
				everfreshtest.WantElapsed(t, start, 100*time.Millisecond)
			}
			cancel()
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		start := time.Now()
		if v, err := r.Get(t.Context()); v != 1 || err != nil {
			t.Errorf("Get = %v, %v", v, err)
		}
		everfreshtest.WantElapsed(t, start, 0)
		everfreshtest.WantRequests(t, o, 1)
	})
}

func TestShortDeadlinesShareOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Delay: 200 * time.Millisecond}
		c := everfreshtest.NewCache(t)
		if err := c.Register("https://a.test/", o.Option()); err != nil {
			t.Fatal(err)
		}
		get := func() (any, error) {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			return c.Get(ctx, "https://a.test/")
		}
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 5 * time.Millisecond)
				_, err := get()
				everfreshtest.WantIs(t, err, context.DeadlineExceeded, everfresh.ErrNotReady)
			})
		}
		wg.Wait()
		time.Sleep(10 * time.Millisecond)
		if v, err := get(); err != nil || string(v.([]byte)) != "1" {
			t.Errorf("21st Get = %q, %v", v, err)
		}
		everfreshtest.WantRequests(t, o, 1)
	})
}

func TestGetWithDoneContextFetchesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{}
		r := everfreshtest.Register(t, everfreshtest.NewCache(t), "https://a.test/", everfreshtest.Number, o.Option(), everfresh.WithPrefetch(false))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := r.Get(ctx)
		everfreshtest.WantIs(t, err, context.Canceled, everfresh.ErrNotReady)
		everfreshtest.WantIs(t, r.Refresh(ctx), context.Canceled, everfresh.ErrNotReady)
		_, err = r.Newer(ctx, nil)
		everfreshtest.WantIs(t, err, context.Canceled, everfresh.ErrNotReady)
		time.Sleep(time.Minute)
		everfreshtest.WantRequests(t, o, 0)
	})
}

func TestGetJoinsThePrefetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Delay: time.Second}
		c := everfreshtest.NewCache(t)
		r := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, o.Option())
		start := time.Now()
		if v, err := r.Get(t.Context()); v != 1 || err != nil {
			t.Errorf("Get = %v, %v", v, err)
		}
		everfreshtest.WantElapsed(t, start, time.Second)
		everfreshtest.WantRequests(t, o, 1)
	})
}

func TestGetDuringBackoffAnswersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Code: http.StatusInternalServerError}
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithBackoff(time.Minute, time.Hour))
		r := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, o.Option(), everfresh.WithPrefetch(false))
		begun := time.Now()
		_, first := r.Get(t.Context())
		re := everfreshtest.RefreshError(t, first)
		if re.Op != "fetch" || re.Attempt != 1 || re.Stale || !re.Next.Equal(begun.Add(time.Minute)) {
			t.Errorf("error = %+v", *re)
		}
		everfreshtest.WantIs(t, first, everfresh.ErrNotReady)
		time.Sleep(59 * time.Second)
		start := time.Now()
		for range 1000 {
			if _, err := r.Get(t.Context()); !errors.Is(err, first) {
				t.Fatalf("Get = %v, want the last error itself", err)
			}
		}
		_, err := c.Get(t.Context(), r.Key())
		everfreshtest.WantIs(t, err, first)
		everfreshtest.WantElapsed(t, start, 0)
		everfreshtest.WantRequests(t, o, 1)
		time.Sleep(2 * time.Second) // the refresher tries again by itself
		everfreshtest.WantRequests(t, o, 2)
		if _, err := r.Get(t.Context()); everfreshtest.RefreshError(t, err).Attempt != 2 {
			t.Errorf("Get = %v, want the second failure", err)
		}
	})
}

func TestRefreshDuringBackoffAsksTheOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Code: http.StatusInternalServerError}
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithBackoff(time.Minute, time.Hour))
		r := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, o.Option())
		synctest.Wait()
		o.Set(func(o *everfreshtest.Origin) { o.Code = 0 })
		if err := r.Refresh(t.Context()); err != nil {
			t.Errorf("Refresh = %v", err)
		}
		if v, err := r.Get(t.Context()); v != 2 || err != nil {
			t.Errorf("Get = %v, %v", v, err)
		}
		everfreshtest.WantRequests(t, o, 2)
	})
}

func TestFailedRefreshKeepsTheValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{}
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0))
		r := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, o.Option())
		everfreshtest.Ready(t, r)
		o.Set(func(o *everfreshtest.Origin) { o.Code = http.StatusBadGateway })
		err := r.Refresh(t.Context())
		if re := everfreshtest.RefreshError(t, err); !re.Stale || errors.Is(err, everfresh.ErrNotReady) {
			t.Errorf("Refresh = %+v, must say that an older value is served", *re)
		}
		if _, err := c.Refresh(t.Context(), r.Key()); err == nil {
			t.Error("Cache.Refresh hides the failure")
		}
		if v, err := r.Get(t.Context()); v != 1 || err != nil {
			t.Errorf("Get = %v, %v", v, err)
		}
		if snap := r.Snapshot(); snap.Err == nil || snap.Version == 0 {
			t.Errorf("snapshot = %+v, should tell of the failure", *snap)
		}
	})
}

func TestRefreshIsNeverOlderThanItsCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Delay: 10 * time.Millisecond}
		c := everfreshtest.NewCache(t)
		r := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, o.Option())
		var wg sync.WaitGroup
		for i := range 300 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 317 * time.Microsecond)
				for range 5 {
					before := o.Count()
					v, err := c.Refresh(t.Context(), r.Key())
					if err != nil || v.(int) <= before {
						t.Errorf("Refresh after request %d = %v, %v", before, v, err)
					}
					time.Sleep(3 * time.Millisecond)
				}
			})
		}
		wg.Wait()
		if _, most := o.Busy(); most != 1 {
			t.Errorf("requests at once = %d, want 1", most)
		}
	})
}

func TestCrowdOfRefreshesIsTwoFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Delay: 5 * time.Millisecond}
		r := everfreshtest.Register(t, everfreshtest.NewCache(t), "https://a.test/", everfreshtest.Number, o.Option(), everfresh.WithPrefetch(false))
		var wg sync.WaitGroup
		for range crowd() {
			wg.Go(func() {
				if err := r.Refresh(t.Context()); err != nil {
					t.Errorf("Refresh = %v", err)
				}
			})
		}
		wg.Wait()
		if _, most := o.Busy(); o.Count() > 2 || most != 1 {
			t.Errorf("requests = %d, at once %d; want at most 2, and 1", o.Count(), most)
		}
	})
}

func TestRefreshesFollowTheFlightUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Delay: time.Second}
		r := everfreshtest.Register(t, everfreshtest.NewCache(t), "https://a.test/", everfreshtest.Number, o.Option())
		time.Sleep(500 * time.Millisecond)
		start := time.Now()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if err := r.Refresh(t.Context()); err != nil {
					t.Errorf("Refresh = %v", err)
				}
				everfreshtest.WantElapsed(t, start, 1500*time.Millisecond)
			})
			wg.Go(func() { // a Get takes what is under way
				if v, err := r.Get(t.Context()); v != 1 || err != nil {
					t.Errorf("Get = %v, %v", v, err)
				}
				everfreshtest.WantElapsed(t, start, 500*time.Millisecond)
			})
		}
		wg.Wait()
		everfreshtest.WantRequests(t, o, 2)
	})
}

func TestUntypedRefreshOfReplacedOptionsIsNotOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Delay: time.Second}
		c := everfreshtest.NewCache(t)
		const url = "https://a.test/"
		if err := c.Register(url, o.Option()); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Get(t.Context(), url); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(500*time.Millisecond, func() {
			if err := c.Register(url, o.Option()); err != nil {
				t.Error(err)
			}
		})
		before := o.Count()
		v, err := c.Refresh(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := strconv.Atoi(string(v.([]byte))); n <= before {
			t.Errorf("Refresh called after request %d returned the body of request %d", before, n)
		}
	})
}

func TestRefreshIsNotAnsweredByTheStorage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mem store.Memory
		o := &everfreshtest.Origin{}
		first := everfreshtest.NewCache(t, everfresh.WithStorage(&mem), o.Option())
		if err := everfreshtest.Register(t, first, "https://a.test/", everfreshtest.Number).Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = first.Close()
		second := everfreshtest.NewCache(t, everfresh.WithStorage(&mem), o.Option())
		r := everfreshtest.Register(t, second, "https://a.test/", everfreshtest.Number)
		if err := r.Refresh(t.Context()); err != nil { // while the record, which is fresh, is being loaded
			t.Error(err)
		}
		if v, _ := r.Peek(); v != 2 {
			t.Errorf("Peek = %v after a Refresh that followed request 1", v)
		}
	})
}

func TestFetchTimeoutEndsTheFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &everfreshtest.Origin{Hang: true}
		r := everfreshtest.Register(t, everfreshtest.NewCache(t), "https://a.test/", everfreshtest.Number, o.Option(), everfresh.WithTimeout(3*time.Second))
		start := time.Now()
		_, err := r.Get(t.Context())
		everfreshtest.WantElapsed(t, start, 3*time.Second)
		everfreshtest.WantIs(t, err, context.DeadlineExceeded, everfresh.ErrNotReady)
		if re := everfreshtest.RefreshError(t, err); re.Op != "fetch" {
			t.Errorf("error = %+v; it is the fetch that ran out of time, not the caller", *re)
		}
	})
}

func TestEachResourceHasItsOwnFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var most, now atomic.Int64
		c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(everfreshtest.Client(func(w http.ResponseWriter, _ *http.Request) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			time.Sleep(time.Second)
			_, _ = w.Write([]byte("1"))
		})))
		start := time.Now()
		for i := range 50 {
			everfreshtest.Register(t, c, fmt.Sprintf("https://h%d.test/", i), everfreshtest.Number)
		}
		if err := c.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		everfreshtest.WantElapsed(t, start, time.Second)
		if most.Load() < 2 {
			t.Error("resources waited for each other")
		}
	})
}

// crowd returns how many goroutines call at once. The race detector allows no more
// than 8128 of them.
func crowd() int {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return 7_000
	}
	for _, s := range info.Settings {
		if s.Key == "-race" && s.Value == "true" {
			return 7_000
		}
	}
	return 10_000
}

// A stormOrigin fails as long as it is told to, and counts how many requests of one
// registration are in flight at once; the URL tells registrations apart.
type stormOrigin struct {
	failing atomic.Bool
	delay   time.Duration
	served  atomic.Int64

	mu       sync.Mutex
	inFlight map[string]int
	most     int
}

func (o *stormOrigin) serve(w http.ResponseWriter, req *http.Request) {
	url := req.URL.String()
	o.count(url, 1)
	defer o.count(url, -1)
	if o.delay > 0 {
		time.Sleep(o.delay)
	}
	if o.failing.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte(strconv.FormatInt(o.served.Add(1), 10)))
}

func (o *stormOrigin) count(url string, d int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.inFlight == nil {
		o.inFlight = make(map[string]int)
	}
	o.inFlight[url] += d
	o.most = max(o.most, o.inFlight[url])
}

// A storm is 64 resources that are called in every way at once.
type storm struct {
	c     *everfresh.Cache
	o     *stormOrigin
	count atomic.Int64 // of registrations
}

const stormResources = 64

func newStorm(t *testing.T, o *stormOrigin) *storm {
	o.failing.Store(true)
	s := &storm{o: o, c: everfreshtest.NewCache(t,
		everfresh.WithHTTPClient(everfreshtest.Client(o.serve)),
		everfresh.WithRefreshInterval(50*time.Millisecond),
		everfresh.WithBackoff(time.Millisecond, 20*time.Millisecond),
	)}
	for i := range stormResources {
		if err := s.register(i); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func stormKey(i int) string { return fmt.Sprintf("key%d", i%stormResources) }

func (s *storm) register(i int) error {
	url := fmt.Sprintf("https://host%d.test/%d", i%8, s.count.Add(1))
	_, err := everfresh.Register(s.c, url, everfresh.Bytes(), everfresh.WithKey(stormKey(i)))
	return err
}

// call is the i-th call.
func (s *storm) call(ctx context.Context, i int) error {
	key := stormKey(i / 6)
	switch i % 6 {
	case 0:
		_, err := s.c.Get(ctx, key)
		return err
	case 1:
		_, err := s.c.Refresh(ctx, key)
		return err
	case 2:
		r, err := everfresh.Lookup[[]byte](s.c, key)
		if err == nil {
			_, err = r.Newer(ctx, r.Snapshot())
		}
		return err
	case 3:
		r, err := everfresh.Lookup[[]byte](s.c, key)
		if err == nil {
			err = r.Refresh(ctx)
		}
		return err
	case 4:
		return s.register(i / 6)
	default:
		return s.c.Unregister(key)
	}
}

// expected reports whether a call may end with err while the origin fails.
func (*storm) expected(err error) bool {
	var se *everfresh.StatusError
	return err == nil || errors.As(err, &se) || errors.Is(err, everfresh.ErrClosed) ||
		errors.Is(err, everfresh.ErrNotRegistered) || errors.Is(err, everfresh.ErrRegistered)
}

// rage makes 10,000 calls at once, or as many as the race detector allows, and waits
// for them.
func (s *storm) rage(ctx context.Context, t *testing.T) {
	var wg sync.WaitGroup
	for i := range 10_000 {
		if i == crowd() {
			wg.Wait()
		}
		wg.Go(func() {
			if err := s.call(ctx, i); !s.expected(err) {
				t.Errorf("call %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// recover heals the origin and checks that every resource is refreshed again and again
// without being asked.
func (s *storm) recover(ctx context.Context, t *testing.T) {
	s.o.failing.Store(false)
	var wg sync.WaitGroup
	for i := range stormResources {
		if err := s.register(i); err != nil && !errors.Is(err, everfresh.ErrRegistered) {
			t.Error(err)
		}
		r, err := everfresh.Lookup[[]byte](s.c, stormKey(i))
		if err != nil {
			t.Error(err)
			continue
		}
		wg.Go(func() {
			seen := 0
			for range r.Watch(ctx) {
				if seen++; seen == 3 {
					return
				}
			}
			t.Errorf("%s: only %d values: %v", r.Key(), seen, r.Status().Err)
		})
	}
	wg.Wait()
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	if s.o.most != 1 {
		t.Errorf("fetches in flight of one resource = %d, want 1", s.o.most)
	}
}

func TestStormOfCallsReturns(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s := newStorm(t, &stormOrigin{})
	s.rage(ctx, t)
	s.recover(ctx, t)
}

func TestStormOfCallsReturnsWhileOriginIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		s := newStorm(t, &stormOrigin{delay: 5 * time.Millisecond})
		start := time.Now()
		s.rage(ctx, t)
		if d := time.Since(start); d > time.Second {
			t.Errorf("calls took %v", d)
		}
		s.recover(ctx, t)
	})
}

func TestStormOfCallsReturnsWhileClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		s := newStorm(t, &stormOrigin{delay: 5 * time.Millisecond})
		time.AfterFunc(2*time.Millisecond, func() {
			if err := s.c.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
		})
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 2000 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 2 * time.Microsecond)
				if err := s.call(ctx, i); !s.expected(err) {
					t.Errorf("call %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(start); d > time.Second {
			t.Errorf("calls took %v", d)
		}
	})
}

// refreshCrowds are how many concurrent calls of Refresh must all return: httprc v3
// stops for good at 3(W+1), which is 18 at its 5 workers, and often at 16.
func refreshCrowds() map[string]struct{ workers, calls int } {
	crowds := make(map[string]struct{ workers, calls int })
	for _, workers := range []int{1, 2, 5, 64} {
		for _, calls := range []int{16, 3 * (workers + 1)} {
			name := fmt.Sprintf("workers=%d,calls=%d", workers, calls)
			crowds[name] = struct{ workers, calls int }{workers, calls}
		}
	}
	return crowds
}

func TestConcurrentRefreshesOfHealthyOriginReturn(t *testing.T) {
	for name, tt := range refreshCrowds() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &everfreshtest.Origin{Delay: 5 * time.Millisecond}
				c := everfreshtest.NewCache(t, everfresh.WithWorkers(tt.workers), everfresh.WithJitter(0), o.Option())
				r := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, everfresh.WithRefreshInterval(time.Minute))
				other := everfreshtest.Register(t, c, "https://b.test/", everfreshtest.Number)
				everfreshtest.Ready(t, c)
				refreshAll(t, r, tt.calls, nil)
				refreshAll(t, other, tt.calls, nil)
				before := o.Count()
				time.Sleep(10*time.Minute + time.Second)
				if n := o.Count() - before; n != 10 {
					t.Errorf("%d refreshes in ten minutes afterwards, want 10", n)
				}
				if _, err := everfresh.Lookup[int](c, r.Key()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// refreshAll refreshes r so often at once. The first call is begun by each before gate
// opens.
func refreshAll(t *testing.T, r *everfresh.Resource[int], calls int, gate chan struct{}) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var calling, wg sync.WaitGroup
	calling.Add(calls)
	for range calls {
		wg.Go(func() {
			calling.Done()
			if err := r.Refresh(ctx); err != nil {
				t.Errorf("Refresh = %v", err)
			}
		})
	}
	calling.Wait()
	if gate != nil {
		close(gate)
	}
	wg.Wait()
}

func TestConcurrentRefreshesReturnInRealTime(t *testing.T) {
	for name, tt := range refreshCrowds() {
		t.Run(name, func(t *testing.T) {
			var n atomic.Int64
			gate := make(chan struct{}) // the origin is slow until all have called
			c := everfreshtest.NewCache(t, everfresh.WithWorkers(tt.workers), everfresh.WithHTTPClient(everfreshtest.Client(
				func(w http.ResponseWriter, req *http.Request) {
					if i := n.Add(1); i > 1 && !strings.Contains(req.URL.Path, "open") {
						<-gate
					}
					_, _ = w.Write([]byte(strconv.FormatInt(n.Load(), 10)))
				})))
			r := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number)
			everfreshtest.Ready(t, r)
			refreshAll(t, r, tt.calls, gate)
			other := everfreshtest.Register(t, c, "https://b.test/open", everfreshtest.Number)
			refreshAll(t, other, tt.calls, nil)
			if err := r.Refresh(t.Context()); err != nil {
				t.Errorf("Refresh afterwards = %v", err)
			}
		})
	}
}
