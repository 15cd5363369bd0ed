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
)

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
	s := &storm{o: o, c: newCache(t,
		everfresh.WithHTTPClient(clientOf(o.serve)),
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
				o := &flightOrigin{delay: 5 * time.Millisecond}
				c := newCache(t, everfresh.WithWorkers(tt.workers), everfresh.WithJitter(0), o.option())
				r := register(t, c, "https://a.test/", number, everfresh.WithRefreshInterval(time.Minute))
				other := register(t, c, "https://b.test/", number)
				if err := c.Ready(t.Context()); err != nil {
					t.Fatal(err)
				}
				refreshAll(t, r, tt.calls, nil)
				refreshAll(t, other, tt.calls, nil)
				before := o.requests()
				time.Sleep(10*time.Minute + time.Second)
				if n := o.requests() - before; n != 10 {
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
			c := newCache(t, everfresh.WithWorkers(tt.workers), everfresh.WithHTTPClient(clientOf(
				func(w http.ResponseWriter, req *http.Request) {
					if i := n.Add(1); i > 1 && !strings.Contains(req.URL.Path, "open") {
						<-gate
					}
					_, _ = w.Write([]byte(strconv.FormatInt(n.Load(), 10)))
				})))
			r := register(t, c, "https://a.test/", number)
			if err := r.Ready(t.Context()); err != nil {
				t.Fatal(err)
			}
			refreshAll(t, r, tt.calls, gate)
			other := register(t, c, "https://b.test/open", number)
			refreshAll(t, other, tt.calls, nil)
			if err := r.Refresh(t.Context()); err != nil {
				t.Errorf("Refresh afterwards = %v", err)
			}
		})
	}
}
