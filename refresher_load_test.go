package everfresh_test

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
)

var burstSize = flag.Int("burst", 20_000, "how many resources TestBurstOfEqualDeadlines registers at once")

// A burstOrigin answers at once that the value is fresh for one burstCycle, and counts by
// the second.
type burstOrigin struct {
	start  time.Time
	counts [2 * burstCycle]atomic.Int64
}

const burstCycle = 60 // seconds

func (o *burstOrigin) RoundTrip(req *http.Request) (*http.Response, error) {
	if second := int(time.Since(o.start) / time.Second); second < len(o.counts) {
		o.counts[second].Add(1)
	}
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Request: req, ContentLength: 1,
		Header: http.Header{"Cache-Control": {fmt.Sprintf("max-age=%d", burstCycle)}},
		Body:   io.NopCloser(strings.NewReader("x")),
	}, nil
}

// rates returns the requests of each second.
func (o *burstOrigin) rates() []int64 {
	var rates []int64
	for i := range o.counts {
		rates = append(rates, o.counts[i].Load())
	}
	return rates
}

// TestBurstOfEqualDeadlines: what is registered within one second and has the same
// max-age does not stay together: in the second cycle the origin sees at most 2.5 times
// the mean rate in any second. bench runs this with a million resources.
func TestBurstOfEqualDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &burstOrigin{start: time.Now()}
		c := everfreshtest.NewCache(t,
			everfresh.WithHTTPClient(&http.Client{Transport: o}), everfresh.WithMinRefreshInterval(time.Second),
			everfresh.WithMaxPerHost(64))
		n := *burstSize
		for i := range n {
			everfreshtest.Register(t, c, fmt.Sprintf("https://origin.test/%d", i), everfresh.Bytes())
			if i%(n/10) == n/10-1 {
				time.Sleep(time.Second / 10)
			}
		}
		time.Sleep(2*burstCycle*time.Second - time.Since(o.start))
		rates := o.rates()
		t.Logf("requests in each second: %d", rates)
		second := rates[burstCycle:]
		sum := int64(0)
		for _, r := range second {
			sum += r
		}
		if ratio := float64(slices.Max(second)) * burstCycle / float64(sum); !(ratio <= 2.5) || sum < int64(n) {
			t.Errorf("%d requests for %d resources in the second cycle, peak over mean %.2f, want at most 2.5", sum, n, ratio)
		}
	})
}

// loadPeak returns how many of the times fall into the fullest of the slots of one width.
func loadPeak(times []time.Duration, width time.Duration) int {
	slots := make(map[time.Duration]int)
	peak := 0
	for _, at := range times {
		slots[at/width]++
		peak = max(peak, slots[at/width])
	}
	return peak
}

// loadURL returns the URL of the i-th of many resources on a few hosts.
func loadURL(i int) string { return fmt.Sprintf("https://h%d.test/%d", i%7, i) }

func loadPath(i int) string { return "/" + strconv.Itoa(i) }

// TestNoHerd: what was registered in one instant is refreshed over half an interval,
// and stays spread.
func TestNoHerd(t *testing.T) {
	const n, life = 1000, time.Hour
	synctest.Test(t, func(t *testing.T) {
		origin := everfreshtest.NewOrigin(everfreshtest.Text("x", "Cache-Control", "max-age=3600"))
		c := everfreshtest.NewCache(t, origin.Option())
		for i := range n {
			everfreshtest.Register(t, c, loadURL(i), everfresh.Bytes())
		}
		synctest.Wait()
		origin.SleepUntil(12 * life)
		for cycle := range 10 {
			var at []time.Duration
			for i := range n {
				asked := origin.Times(loadPath(i))
				if asked[0] != 0 {
					t.Fatalf("first fetch at %v, want it at once", asked[0])
				}
				at = append(at, asked[cycle+1])
				loadCheckStep(t, cycle, asked[cycle+1]-asked[cycle])
			}
			// Evenly spread these are 20 in a hundredth of the interval; 60 by chance
			// would be nine standard deviations.
			if peak := loadPeak(at, life/100); peak > 60 {
				t.Errorf("cycle %d: %d of %d refreshes in a hundredth of the interval", cycle+1, peak, n)
			}
		}
	})
}

// loadCheckStep checks the time between two fetches of a resource that is fresh for an
// hour.
func loadCheckStep(t *testing.T, cycle int, step time.Duration) {
	t.Helper()
	least := 57 * time.Minute
	if cycle == 0 {
		least = 30 * time.Minute
	}
	if step < least || step > time.Hour+10*time.Millisecond {
		t.Fatalf("cycle %d after %v, want between %v and 1h0m0s", cycle+1, step, least)
	}
}

// TestJitterKeepsTheMinimum: where the minimum decides, jitter only adds.
func TestJitterKeepsTheMinimum(t *testing.T) {
	const minimum = 15 * time.Minute
	synctest.Test(t, func(t *testing.T) {
		origin := everfreshtest.NewOrigin(everfreshtest.Text("x", "Cache-Control", "max-age=910"))
		c := everfreshtest.NewCache(t, origin.Option())
		for i := range 300 {
			said := []everfresh.RegisterOption{}
			if i%2 == 0 { // the header's lifetime is below the minimum
				said = append(said, everfresh.WithMinRefreshInterval(minimum+20*time.Second))
			}
			everfreshtest.Register(t, c, loadURL(i), everfresh.Bytes(), said...)
		}
		origin.SleepUntil(4 * time.Hour)
		for i := range 300 {
			least, most := minimum, 910*time.Second
			if i%2 == 0 {
				least, most = 920*time.Second, 966*time.Second
			}
			asked := origin.Times(loadPath(i))
			for k := 1; k < len(asked); k++ {
				limit := most
				if k == 1 && i%2 == 0 {
					limit = 1380 * time.Second
				}
				if step := asked[k] - asked[k-1]; step < least || step > limit+10*time.Millisecond {
					t.Fatalf("refresh %d of %d after %v, want between %v and %v", k, i, step, least, limit)
				}
			}
		}
	})
}

// TestSpreadStaysSpread: ten resources registered half a second apart ended up in
// lockstep in httprc v3.
func TestSpreadStaysSpread(t *testing.T) {
	const n, interval = 10, 8 * time.Second
	for name, opt := range map[string][]everfresh.CacheOption{
		"exact": {everfresh.WithJitter(0)}, "jitter": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				origin := everfreshtest.NewOrigin(everfreshtest.Text("x"))
				c := everfreshtest.NewCache(t, append(opt, origin.Option())...)
				for i := range n {
					everfreshtest.Register(t, c, loadURL(i), everfresh.Bytes(), everfresh.WithRefreshInterval(interval))
					time.Sleep(interval / 2 / n)
				}
				origin.SleepUntil(time.Hour)
				var last []time.Duration
				for i := range n {
					asked := origin.Times(loadPath(i))
					last = append(last, asked[len(asked)-1])
				}
				slices.Sort(last)
				if spread := last[n-1] - last[0]; spread < time.Second {
					t.Errorf("all %d refreshed within %v of each other after an hour", n, spread)
				}
				if opt == nil {
					return
				}
				for i := range n {
					want := time.Duration(i) * interval / 2 / n
					if got := origin.Times(loadPath(i))[400]; got != want+400*interval {
						t.Errorf("refresh 400 of %d at %v, want %v", i, got, want+400*interval)
					}
				}
			})
		})
	}
}

// TestDeadlinesAreExact: deadlines that are close to each other start at most one
// window late, and never early.
func TestDeadlinesAreExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := everfreshtest.NewOrigin(everfreshtest.Text("x"))
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), origin.Option())
		const n = 300
		interval := func(i int) time.Duration { return time.Minute + time.Duration(i)*1300*time.Microsecond }
		for i := range n {
			everfreshtest.Register(t, c, loadURL(i), everfresh.Bytes(), everfresh.WithRefreshInterval(interval(i)))
		}
		origin.SleepUntil(time.Hour)
		for i := range n {
			asked := origin.Times(loadPath(i))
			for k := 1; k < len(asked); k++ {
				late := asked[k] - asked[k-1] - interval(i)
				if late < 0 || late > 10*time.Millisecond {
					t.Fatalf("refresh %d of %d is %v late", k, i, late)
				}
			}
		}
	})
}

// TestRefreshWindow: deadlines within the window start together; none starts early, and
// a lone one not late.
func TestRefreshWindow(t *testing.T) {
	const interval = 30 * time.Second
	synctest.Test(t, func(t *testing.T) {
		origin := everfreshtest.NewOrigin(everfreshtest.Text("x"))
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithRefreshWindow(time.Second), origin.Option())
		offsets := []int{0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 5000, 5000, 17300} // ms
		for i, offset := range offsets {
			origin.SleepUntil(time.Duration(offset) * time.Millisecond)
			everfreshtest.Register(t, c, loadURL(i), everfresh.Bytes(), everfresh.WithRefreshInterval(interval))
		}
		origin.SleepUntil(10*interval - 1)
		starts := make(map[time.Duration]bool)
		for i, offset := range offsets {
			asked := origin.Times(loadPath(i))
			want := time.Duration(offset) * time.Millisecond
			for k, at := range asked {
				if k > 0 {
					starts[at] = true
				}
				if at != want {
					t.Fatalf("refresh %d of %d at %v, want %v", k, i, at, want)
				}
				want += interval
				if k == 0 && i > 0 && i < 10 { // with the others, one window after the first
					want = interval + time.Second
				}
			}
			if len(asked) != 10 {
				t.Errorf("%d fetches of %d, want 10", len(asked), i)
			}
		}
		if len(starts) != 4*9 {
			t.Errorf("refreshes started at %d instants, want 36", len(starts))
		}
	})
}

// TestRefreshWindowOfMinutes: also longer than the refresher sleeps at most.
func TestRefreshWindowOfMinutes(t *testing.T) {
	const window, interval = 10 * time.Minute, time.Hour
	synctest.Test(t, func(t *testing.T) {
		origin := everfreshtest.NewOrigin(everfreshtest.Text("x"))
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithRefreshWindow(window), origin.Option())
		for i := range 6 { // at 0, 2, 4, 6, 8 and 10 min
			origin.SleepUntil(time.Duration(i) * 2 * time.Minute)
			everfreshtest.Register(t, c, loadURL(i), everfresh.Bytes(), everfresh.WithRefreshInterval(interval))
		}
		origin.SleepUntil(2 * interval)
		for i := range 6 {
			want := interval
			if i > 0 {
				want += window
			}
			if got := origin.Times(loadPath(i))[1]; got != want {
				t.Errorf("refresh of %d at %v, want %v", i, got, want)
			}
		}
	})
}

func TestLoneResourceIsExactInAWideWindow(t *testing.T) {
	for _, life := range []time.Duration{time.Second, 1500 * time.Millisecond, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			origin := everfreshtest.NewOrigin(everfreshtest.Text("x"))
			c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithRefreshWindow(time.Second), origin.Option())
			everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithRefreshInterval(life))
			origin.SleepUntil(10 * time.Minute)
			everfreshtest.WantTimes(t, life.String(), origin.Times("/"), everfreshtest.Every(life, 10*time.Minute))
		})
	}
}

// TestFirstFetchDoesNotWaitForTheWindow: a wide window delays refreshes, not callers.
func TestFirstFetchDoesNotWaitForTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := everfreshtest.NewOrigin(everfreshtest.Text("x"))
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithRefreshWindow(time.Minute), origin.Option())
		everfreshtest.Register(t, c, "https://a.test/1", everfresh.Bytes(), everfresh.WithRefreshInterval(time.Minute))
		origin.SleepUntil(time.Minute + time.Second)
		r := everfreshtest.Register(t, c, "https://a.test/2", everfresh.Bytes())
		if _, err := r.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		everfreshtest.Refresh(t, r)
		if now := origin.Now(); now != time.Minute+time.Second {
			t.Errorf("served after %v", now-time.Minute-time.Second)
		}
	})
}

// A loadLateness measures how long after its time each refresh of a host starts.
type loadLateness struct {
	mu   sync.Mutex
	next map[string]time.Time
	late []time.Duration
}

// observe notes when a refresh is to come.
func (l *loadLateness) observe(ev everfresh.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next[ev.Key] = ev.Next
}

// started notes that it has come.
func (l *loadLateness) started(url string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if next, ok := l.next[url]; ok {
		l.late = append(l.late, time.Since(next))
	}
}

// TestDeadHostsDelayNobody: three hosts whose every fetch hangs until it times out, and
// one that works. The dead ones hold their few places, and nothing else.
func TestDeadHostsDelayNobody(t *testing.T) {
	const dies, ends = 2 * time.Minute, 12 * time.Minute
	synctest.Test(t, func(t *testing.T) {
		healthy := &loadLateness{next: make(map[string]time.Time)}
		var hung sync.Map
		var origin *everfreshtest.Origin
		origin = everfreshtest.NewOrigin(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Host == "healthy.test":
				healthy.started(r.URL.String())
				time.Sleep(20 * time.Millisecond)
			case origin.Now() >= dies:
				hung.Store(r.URL.String(), true)
				<-r.Context().Done()
				return
			}
			_, _ = w.Write([]byte("x"))
		})
		c := everfreshtest.NewCache(t, origin.Option(), everfresh.WithObserver(healthy.observe))
		minute := everfresh.WithRefreshInterval(time.Minute)
		for i := range 1000 {
			for host := range 3 {
				everfreshtest.Register(t, c, fmt.Sprintf("https://dead%d.test/%d/%d", host, host, i), everfresh.Bytes(), minute)
			}
			if i < 300 {
				everfreshtest.Register(t, c, fmt.Sprintf("https://healthy.test/%d", i), everfresh.Bytes(), minute)
			}
		}
		origin.SleepUntil(ends)
		healthy.mu.Lock()
		late := healthy.late
		healthy.mu.Unlock()
		slices.Sort(late)
		if len(late) < 300*10 {
			t.Fatalf("%d refreshes of the healthy host", len(late))
		}
		if late[0] < 0 {
			t.Errorf("a refresh started %v early", -late[0])
		}
		if p99 := late[len(late)*99/100]; p99 >= 50*time.Millisecond {
			t.Errorf("lateness at the 99th percentile = %v, want below 50ms (median %v, worst %v)",
				p99, late[len(late)/2], late[len(late)-1])
		}
		n := 0
		hung.Range(func(any, any) bool { n++; return true })
		if n < 3*4*10 {
			t.Errorf("only %d fetches hung: the dead hosts were not dead", n)
		}
	})
}

// TestCallersGoFirst: ten thousand refreshes of a host are due, and a caller waits for
// another one of it.
func TestCallersGoFirst(t *testing.T) {
	const n, took = 10_000, 100 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		var slow atomic.Bool
		origin := everfreshtest.NewOrigin(func(w http.ResponseWriter, _ *http.Request) {
			if slow.Load() {
				time.Sleep(took)
			}
			_, _ = w.Write([]byte("x"))
		})
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithRefreshInterval(time.Hour), origin.Option())
		all := make([]*everfresh.Resource[[]byte], n)
		for i := range all {
			all[i] = everfreshtest.Register(t, c, "https://a.test"+loadPath(i), everfresh.Bytes())
		}
		origin.SleepUntil(time.Hour - time.Second)
		slow.Store(true)
		origin.SleepUntil(time.Hour + time.Second)
		// parked returns one that is due, but not under way.
		parked := func() *everfresh.Resource[[]byte] {
			i := slices.IndexFunc(all, func(r *everfresh.Resource[[]byte]) bool {
				return r.Status().Fetching && len(origin.Times(strings.TrimPrefix(r.Key(), "https://a.test"))) == 1
			})
			if i < 0 {
				t.Fatal("nothing is due any more")
			}
			return all[i]
		}
		within := func(what string, do func() error) {
			t.Helper()
			start := time.Now()
			if err := do(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			// What is under way ends first; then it is the caller's turn.
			if waited := time.Since(start); waited > 2*took {
				t.Errorf("%s waited %v, want at most %v", what, waited, 2*took)
			}
		}
		within("a first Get", func() error {
			r := everfreshtest.Register(t, c, "https://a.test/new", everfresh.Bytes(), everfresh.WithPrefetch(false))
			_, err := r.Get(t.Context())
			return err
		})
		within("a Refresh of what is parked", func() error { return parked().Refresh(t.Context()) })
		within("a Get of what was prefetched", func() error {
			r := everfreshtest.Register(t, c, "https://a.test/prefetched", everfresh.Bytes())
			_, err := r.Get(t.Context())
			return err
		})
		within("a Newer", func() error {
			r := parked()
			_, err := r.Newer(t.Context(), r.Snapshot())
			return err
		})
		if origin.Now() > time.Hour+5*time.Second {
			t.Errorf("all that took until %v", origin.Now())
		}
		origin.SleepUntil(time.Hour + 260*time.Second)
		for i := range n {
			asked := origin.Times(loadPath(i))
			if len(asked) != 2 {
				t.Fatalf("%d fetches of %d, want 2: %s", len(asked), i, strings.Trim(fmt.Sprint(asked), "[]"))
			}
		}
	})
}
