package everfresh_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
)

// A clockShift is the bubble's clock, but its wall time can be set. The monotonic time,
// as the timers, knows nothing of that: so it is when someone sets a machine's clock,
// and when a machine slept.
type clockShift struct {
	start  time.Time
	offset atomic.Int64
}

func newClockShift() *clockShift { return &clockShift{start: time.Now()} }

// now is the clock as the cache sees it.
func (s *clockShift) now() (wall, mono int64) {
	t := time.Now()
	return t.UnixNano() + s.offset.Load(), int64(t.Sub(s.start))
}

// wall returns the wall time.
func (s *clockShift) wall() time.Time { return time.Now().Add(time.Duration(s.offset.Load())) }

func (s *clockShift) jump(d time.Duration) { s.offset.Add(int64(d)) }

func (s *clockShift) option() everfresh.CacheOption { return everfresh.WithClock(s.now) }

// clockNotice is how long a jump may go unnoticed.
const clockNotice = time.Minute

// TestClockAheadBringsDeadlinesForward: an hour that passed unseen brings each refresh
// an hour forward, and those that it made due start when it is noticed.
func TestClockAheadBringsDeadlinesForward(t *testing.T) {
	const at, jump = 10*time.Minute + 10*time.Second, time.Hour
	synctest.Test(t, func(t *testing.T) {
		clock := newClockShift()
		origin := everfreshtest.NewOrigin(everfreshtest.Text("x"))
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), clock.option(), origin.Option())
		for _, m := range []int{30, 69, 120, 480} {
			everfreshtest.Register(t, c, "https://a.test/"+strconv.Itoa(m), everfresh.Bytes(),
				everfresh.WithRefreshInterval(time.Duration(m)*time.Minute))
		}
		origin.SleepUntil(at)
		clock.jump(jump)
		origin.SleepUntil(8 * time.Hour)
		for _, m := range []int{30, 69} { // due when the jump is noticed
			second := origin.Times("/" + strconv.Itoa(m))[1]
			if second <= at || second > at+clockNotice {
				t.Errorf("every %d min: refreshed at %v, want within a minute of %v", m, second, at)
			}
		}
		for _, m := range []int{120, 480} {
			interval := time.Duration(m) * time.Minute
			want := []time.Duration{0}
			for d := interval - jump; d <= 8*time.Hour; d += interval {
				want = append(want, d)
			}
			everfreshtest.WantTimes(t, strconv.Itoa(m), origin.Times("/"+strconv.Itoa(m)), want)
		}
	})
}

// TestClockAheadIsNoticedOnce: the hour counts once, also for what is refreshed later.
func TestClockAheadIsNoticedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := newClockShift()
		origin := everfreshtest.NewOrigin(everfreshtest.Text("x"))
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), clock.option(), everfresh.WithRefreshInterval(20*time.Minute), origin.Option())
		everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
		origin.SleepUntil(5 * time.Minute)
		clock.jump(time.Hour)
		origin.SleepUntil(10 * time.Hour)
		asked := origin.Times("/")
		for i := 2; i < len(asked); i++ {
			if step := asked[i] - asked[i-1]; step != 20*time.Minute {
				t.Fatalf("refresh %d after %v, want 20m0s", i, step)
			}
		}
		if len(asked) != 31 {
			t.Errorf("%d fetches, want 31", len(asked))
		}
	})
}

// TestClockBackChangesNothing: a clock that was set back delays no refresh and lets
// nothing live longer.
func TestClockBackChangesNothing(t *testing.T) {
	run := func(t *testing.T, jumps bool) map[string][]time.Duration {
		asked := make(map[string][]time.Duration)
		synctest.Test(t, func(t *testing.T) {
			clock := newClockShift()
			failing := func(at time.Duration) bool { return at > 5*time.Hour && at < 6*time.Hour }
			var origin *everfreshtest.Origin
			origin = everfreshtest.NewOrigin(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", "max-age=3600")
				if failing(origin.Now()) {
					w.WriteHeader(http.StatusBadGateway)
				}
				_, _ = w.Write([]byte("x"))
			})
			c := everfreshtest.NewCache(t, everfresh.WithJitter(0), clock.option(), origin.Option(), everfresh.WithMaxStale(10*time.Minute))
			paths := []string{"/header", "/interval", "/never-asked-again"}
			opts := [][]everfresh.RegisterOption{nil, {everfresh.WithRefreshInterval(7 * time.Minute)}, {everfresh.WithRefreshInterval(8 * time.Hour)}}
			for i, path := range paths {
				everfreshtest.Register(t, c, "https://a.test"+path, everfresh.Bytes(), opts[i]...)
			}
			for _, at := range []time.Duration{10*time.Minute + 1, 3*time.Hour - 1, 3 * time.Hour, 5*time.Hour + 10*time.Second} {
				origin.SleepUntil(at)
				if jumps {
					clock.jump(-time.Hour)
				}
			}
			origin.SleepUntil(schedDay)
			for _, path := range paths {
				asked[path] = origin.Times(path)
			}
		})
		return asked
	}
	want := run(t, false)
	got := run(t, true)
	for path := range want {
		everfreshtest.WantTimes(t, path, got[path], want[path])
	}
}

// TestClockBackKeepsTheBound: what is served for an hour and ten minutes is served for
// so long, whatever the wall clock says meanwhile.
func TestClockBackKeepsTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := newClockShift()
		origin, dead := clockTokenOrigin("Cache-Control", "max-age=3600")
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), clock.option(), origin.Option(), everfresh.WithMaxStale(10*time.Minute))
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
		origin.SleepUntil(30 * time.Minute)
		dead.Store(true)
		clock.jump(-time.Hour)
		wantServedUntil(t, origin, 70*time.Minute, r)
	})
}

// wantServedUntil checks that the value of r is served until at, and no longer.
func wantServedUntil[T any](t *testing.T, o *everfreshtest.Origin, at time.Duration, r *everfresh.Resource[T]) {
	t.Helper()
	o.SleepUntil(at - 1)
	if _, ok := r.Peek(); !ok {
		t.Errorf("not served until %v", at)
	}
	o.SleepUntil(at)
	if _, ok := r.Peek(); ok {
		t.Errorf("served past %v", at)
	}
}

// clockTokenOrigin returns an origin that can die.
func clockTokenOrigin(kv ...string) (*everfreshtest.Origin, *atomic.Bool) {
	dead := new(atomic.Bool)
	origin := everfreshtest.NewOrigin(everfreshtest.Text("x", kv...))
	origin.Down = func() error {
		if dead.Load() {
			return everfreshtest.ErrRefused
		}
		return nil
	}
	return origin, dead
}

// TestMachineThatSlept: what became due in two hours of sleep is refreshed soon, but not
// all at once, and nothing is asked for twice.
func TestMachineThatSlept(t *testing.T) {
	const n, at, slept = 1000, 10*time.Hour + 10*time.Second, 2 * time.Hour
	synctest.Test(t, func(t *testing.T) {
		clock := newClockShift()
		origin := everfreshtest.NewOrigin(everfreshtest.Text("x", "Cache-Control", "max-age=5400"))
		c := everfreshtest.NewCache(t, clock.option(), origin.Option())
		for i := range n {
			everfreshtest.Register(t, c, loadURL(i), everfresh.Bytes())
		}
		origin.SleepUntil(at)
		before := make([]int, n)
		for i := range before {
			before[i] = len(origin.Times(loadPath(i)))
		}
		clock.jump(slept)
		origin.SleepUntil(at + time.Hour)
		var woken []time.Duration
		for i := range n {
			after := origin.Times(loadPath(i))[before[i]:]
			if len(after) != 1 {
				t.Fatalf("%d fetches of %d in the hour after, want 1", len(after), i)
			}
			woken = append(woken, after[0]-at)
		}
		first, last := woken[0], woken[0]
		for _, d := range woken {
			first, last = min(first, d), max(last, d)
		}
		if first > clockNotice {
			t.Errorf("noticed after %v, want at most %v", first, clockNotice)
		}
		if last-first > 30*time.Second+10*time.Millisecond {
			t.Errorf("spread over %v, want at most 30s", last-first)
		}
		// Evenly spread these are 33 a second.
		if peak := loadPeak(woken, time.Second); peak > 80 {
			t.Errorf("%d of %d refreshes in one second", peak, n)
		}
	})
}

// TestSleepSpreadsShortIntervalsLess: of what is refreshed often, little time is spent
// on catching up.
func TestSleepSpreadsShortIntervalsLess(t *testing.T) {
	const n, at = 300, time.Minute + 100*time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		clock := newClockShift()
		origin := everfreshtest.NewOrigin(everfreshtest.Text("x"))
		c := everfreshtest.NewCache(t, clock.option(), everfresh.WithRefreshInterval(20*time.Second), origin.Option())
		for i := range n {
			everfreshtest.Register(t, c, loadURL(i), everfresh.Bytes())
		}
		origin.SleepUntil(at)
		clock.jump(2 * time.Hour)
		origin.SleepUntil(at + 20*time.Second)
		first, last := time.Hour, time.Duration(0)
		for i := range n {
			asked := origin.Times(loadPath(i))
			next := asked[slices.IndexFunc(asked, func(d time.Duration) bool { return d > at })]
			first, last = min(first, next), max(last, next)
		}
		if last-first > 2*time.Second+10*time.Millisecond {
			t.Errorf("spread over %v, want at most 2s", last-first)
		}
	})
}

// TestSleepEndsWhatIsBounded: the time slept counts. Nothing is served past its bound
// once the refresher has noticed.
func TestSleepEndsWhatIsBounded(t *testing.T) {
	const at = 10*time.Minute + 10*time.Second
	synctest.Test(t, func(t *testing.T) {
		clock := newClockShift()
		origin, dead := clockTokenOrigin("Cache-Control", "max-age=3600", "Expires-In", "5400000")
		c := everfreshtest.NewCache(t, clock.option(), origin.Option())
		bounded := everfreshtest.Register(t, c, "https://a.test/bounded", everfresh.Bytes(), everfresh.WithMaxStale(10*time.Minute))
		token := everfreshtest.Register(t, c, "https://a.test/token", boundDecode)
		far := everfreshtest.Register(t, c, "https://a.test/far", everfresh.Bytes(), everfresh.WithMaxStale(3*time.Hour))
		free := everfreshtest.Register(t, c, "https://a.test/free", everfresh.Bytes())
		origin.SleepUntil(at)
		dead.Store(true)
		clock.jump(2 * time.Hour)
		origin.SleepUntil(at + clockNotice)
		if _, ok := bounded.Peek(); ok {
			t.Error("served past its bound")
		}
		if _, ok := token.Peek(); ok {
			t.Error("token served past its end")
		}
		if _, ok := far.Peek(); !ok {
			t.Error("withdrawn before its bound")
		}
		if _, ok := free.Peek(); !ok {
			t.Error("withdrawn without a bound")
		}
		origin.SleepUntil(at + clockNotice + 31*time.Second)
		if _, err := bounded.Get(t.Context()); !errors.Is(err, everfresh.ErrStale) {
			t.Errorf("Get: %v, want ErrStale", err)
		}
		// 3 h past its freshness, of which the sleep was two.
		wantServedUntil(t, origin, 2*time.Hour, far)
		dead.Store(false)
		origin.SleepUntil(2*time.Hour + 6*time.Minute)
		// The token's bytes are the same, and do not come back to life.
		for _, r := range []interface{ Status() everfresh.Status }{bounded, far, free} {
			if st := r.Status(); !st.Ready || st.Err != nil {
				t.Errorf("%s after the origin came back: ready %v, error %v", st.Key, st.Ready, st.Err)
			}
		}
	})
}

// TestJumpIsNoticedInAWideWindow: a bound is kept however rarely refreshes start.
func TestJumpIsNoticedInAWideWindow(t *testing.T) {
	const at = 30*time.Minute + 10*time.Second
	synctest.Test(t, func(t *testing.T) {
		clock := newClockShift()
		origin, dead := clockTokenOrigin()
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), clock.option(), everfresh.WithRefreshWindow(15*time.Minute),
			everfresh.WithMaxStale(10*time.Minute), origin.Option())
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithRefreshInterval(30*time.Minute))
		origin.SleepUntil(at) // the refresher had something to do 10 s ago
		dead.Store(true)
		clock.jump(2 * time.Hour)
		origin.SleepUntil(at + clockNotice)
		if _, ok := r.Peek(); ok {
			t.Error("served past its bound")
		}
	})
}

// TestCatchingUpIsInTime: refreshes are not spread past the end of what they are to
// replace.
func TestCatchingUpIsInTime(t *testing.T) {
	const n, life, left = 200, 2 * time.Hour, 65 * time.Second
	synctest.Test(t, func(t *testing.T) {
		clock := newClockShift()
		origin := everfreshtest.NewOrigin(boundMinter(life, "Cache-Control", "max-age=86400"))
		told := new(everfreshtest.Recorder)
		c := everfreshtest.NewCache(t, append(told.Options(), clock.option(), origin.Option(), everfresh.WithJitter(0.01))...)
		for i := range n {
			everfreshtest.Register(t, c, loadURL(i), boundDecode)
		}
		origin.SleepUntil(30*time.Minute + time.Second)
		// The jump is noticed within a minute, when at least 5 s are left.
		clock.jump(life - 30*time.Minute - time.Second - left)
		origin.SleepUntil(35 * time.Minute)
		if evs := told.Events("expired"); len(evs) != 0 {
			t.Errorf("%d of %d were withdrawn before they were refreshed", len(evs), n)
		}
	})
}

// TestClockGlitchWithdrawsNothing: a clock that is set back and then right again has
// told of no time that passed.
func TestClockGlitchWithdrawsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := newClockShift()
		origin, dead := clockTokenOrigin("Cache-Control", "max-age=3600")
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), clock.option(), everfresh.WithMaxStale(10*time.Minute), origin.Option())
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
		origin.SleepUntil(10 * time.Minute)
		dead.Store(true)
		clock.jump(-2 * time.Hour)
		origin.SleepUntil(20 * time.Minute)
		clock.jump(2 * time.Hour)
		origin.SleepUntil(70*time.Minute - 1)
		if snap := r.Snapshot(); snap == nil {
			t.Error("withdrawn before its bound, by either clock")
		}
		origin.SleepUntil(70 * time.Minute)
		if _, ok := r.Peek(); ok {
			t.Error("served past its bound")
		}
	})
}

// TestSleepShortensBackoff: an origin that failed is asked again when the time it was
// given has passed, asleep or not.
func TestSleepShortensBackoff(t *testing.T) {
	const at = 20 * time.Second
	synctest.Test(t, func(t *testing.T) {
		clock := newClockShift()
		origin := everfreshtest.NewOrigin(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
		})
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), clock.option(), origin.Option())
		everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
		origin.SleepUntil(at)
		clock.jump(2 * time.Hour)
		origin.SleepUntil(at + clockNotice)
		if n := len(origin.Times("/")); n != 2 {
			t.Errorf("%d fetches, want 2", n)
		}
		origin.SleepUntil(50 * time.Minute)
		if n := len(origin.Times("/")); n != 2 {
			t.Errorf("%d fetches within the next hour, want 2", n)
		}
	})
}

// TestSleepEndsBackoffForCallers: who asks before the origin's turn has come is not told
// of a pause that is long over.
func TestSleepEndsBackoffForCallers(t *testing.T) {
	const n, at = 10, time.Hour + 2*time.Minute + 50*time.Second
	synctest.Test(t, func(t *testing.T) {
		clock := newClockShift()
		var origin *everfreshtest.Origin
		origin = everfreshtest.NewOrigin(func(w http.ResponseWriter, r *http.Request) {
			if now := origin.Now(); r.URL.Path != "/waker" && now > 0 && now <= at {
				w.Header().Set("Retry-After", "3600")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			_, _ = w.Write([]byte("x"))
		})
		c := everfreshtest.NewCache(t, clock.option(), origin.Option())
		var all []*everfresh.Resource[[]byte]
		for i := range n {
			all = append(all, everfreshtest.Register(t, c, "https://a.test"+loadPath(i), everfresh.Bytes(),
				everfresh.WithRefreshInterval(time.Hour), everfresh.WithMaxStale(time.Minute)))
		}
		// The refresher wakes for this one, and notices the jump.
		everfreshtest.Register(t, c, "https://a.test/waker", everfresh.Bytes(),
			everfresh.WithRefreshInterval(10*time.Second), everfresh.WithJitter(0))
		origin.SleepUntil(at)
		for _, r := range all {
			if _, err := r.Get(t.Context()); !errors.Is(err, everfresh.ErrStale) {
				t.Fatalf("Get: %v, want ErrStale", err)
			}
		}
		clock.jump(2 * time.Hour)
		origin.SleepUntil(at + 10*time.Second)
		for _, r := range all { // most are still waiting for their turn
			if v, err := r.Get(t.Context()); string(v) != "x" || err != nil {
				t.Errorf("%s: Get = %q, %v", r.Key(), v, err)
			}
		}
	})
}

// TestClockDriftIsNoJump: a clock that is slewed, or stepped by a second, is none that
// jumped.
func TestClockDriftIsNoJump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := newClockShift()
		origin := everfreshtest.NewOrigin(everfreshtest.Text("x", "Cache-Control", "max-age=3600"))
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), clock.option(), origin.Option())
		everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
		for i := range 23 * 60 {
			origin.SleepUntil(time.Duration(i)*time.Minute + time.Second)
			clock.jump(900 * time.Millisecond)
		}
		origin.SleepUntil(23 * time.Hour)
		everfreshtest.WantTimes(t, "slewed", origin.Times("/"), everfreshtest.Every(time.Hour, 23*time.Hour))
	})
}

// TestFetchBeforeAJumpIsNoticed: what a caller fetched after the jump, but before the
// refresher noticed it, is not aged by it.
func TestFetchBeforeAJumpIsNoticed(t *testing.T) {
	const at = 10*time.Minute + 10*time.Second
	synctest.Test(t, func(t *testing.T) {
		clock := newClockShift()
		origin := everfreshtest.NewOrigin(boundMinter(90*time.Minute, "Cache-Control", "max-age=86400"))
		told := new(everfreshtest.Recorder)
		c := everfreshtest.NewCache(t, append(told.Options(), everfresh.WithJitter(0), clock.option(), origin.Option())...)
		r := everfreshtest.Register(t, c, "https://a.test/token", boundDecode)
		// Another one stands before it in the queue.
		everfreshtest.Register(t, c, "https://a.test/other", boundDecode, everfresh.WithRefreshInterval(30*time.Minute))
		origin.SleepUntil(at)
		clock.jump(2 * time.Hour)
		origin.SleepUntil(at + 10*time.Second)
		everfreshtest.Refresh(t, r)
		fetched := origin.Now()
		fetches := len(origin.Times("/token"))
		origin.SleepUntil(at + 2*clockNotice)
		if _, ok := r.Peek(); !ok {
			t.Error("a new token was withdrawn")
		}
		if n := len(origin.Times("/token")); n != fetches {
			t.Errorf("a new token was fetched again at %v", origin.Times("/token")[fetches])
		}
		for _, ev := range told.Events("expired") {
			if ev.Key == r.Key() && ev.Time.After(clock.start.Add(2*time.Hour+fetched)) {
				t.Errorf("expired after it was fetched: %+v", ev)
			}
		}
		origin.SleepUntil(fetched + 89*time.Minute)
		if n := len(origin.Times("/token")); n != fetches+1 {
			t.Errorf("%d fetches a minute before its end, want one more than %d", n, fetches)
		}
	})
}

// TestClockJumpsWhileARefreshIsUnderWay: the schedule of a value counts from its receipt
// by the clock that no one can set.
func TestClockJumpsWhileARefreshIsUnderWay(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		for _, where := range []string{"fetch", "decode"} {
			t.Run(where+" "+jump.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					clock := newClockShift()
					var armed atomic.Bool
					upset := func(at string) {
						if at == where && armed.CompareAndSwap(true, false) {
							clock.jump(jump)
						}
					}
					origin := everfreshtest.NewOrigin(func(w http.ResponseWriter, _ *http.Request) {
						upset("fetch")
						_, _ = w.Write([]byte(strconv.FormatInt(time.Now().UnixNano(), 10)))
					})
					decode := func(context.Context, *http.Response) (int, error) {
						upset("decode")
						return 0, nil
					}
					c := everfreshtest.NewCache(t, everfresh.WithJitter(0), clock.option(), everfresh.WithRefreshInterval(30*time.Minute), origin.Option())
					everfreshtest.Register(t, c, "https://a.test/", decode)
					origin.SleepUntil(45 * time.Minute)
					armed.Store(true)
					origin.SleepUntil(6 * time.Hour)
					asked := origin.Times("/")
					for i := 3; i < len(asked); i++ {
						// One refresh may come early, when a jump ahead is noticed.
						step := asked[i] - asked[i-1]
						if step > 30*time.Minute || jump < 0 && step != 30*time.Minute {
							t.Errorf("refresh %d after %v, want 30m0s", i, step)
						}
					}
					if n := len(asked); n < 13 || n > 14 {
						t.Errorf("%d fetches in 6 hours, want 13 or 14", n)
					}
				})
			})
		}
	}
}

// TestClockSetBackWhileDecodingKeepsTheBound: nor does it let a value be served longer.
func TestClockSetBackWhileDecodingKeepsTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := newClockShift()
		origin, dead := clockTokenOrigin("Cache-Control", "max-age=3600")
		decode := func(context.Context, *http.Response) (int, error) {
			clock.jump(-time.Hour)
			return 1, nil
		}
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), clock.option(), everfresh.WithMaxStale(10*time.Minute), origin.Option())
		r := everfreshtest.Register(t, c, "https://a.test/", decode)
		synctest.Wait()
		dead.Store(true)
		wantServedUntil(t, origin, 70*time.Minute, r)
	})
}

// TestSleepWhileDecodingCounts: a machine that slept while it worked on an answer has
// an answer that is as old as that.
func TestSleepWhileDecodingCounts(t *testing.T) {
	for _, took := range []time.Duration{0, 3 * time.Minute} { // the refresher notices after, or before
		t.Run(took.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clock := newClockShift()
				origin, dead := clockTokenOrigin("Cache-Control", "max-age=3600")
				decode := func(context.Context, *http.Response) (int, error) {
					clock.jump(time.Hour)
					dead.Store(true)
					time.Sleep(took)
					return 1, nil
				}
				c := everfreshtest.NewCache(t, everfresh.WithJitter(0), clock.option(), everfresh.WithMaxStale(10*time.Minute),
					everfresh.WithTimeout(10*time.Minute), origin.Option())
				r := everfreshtest.Register(t, c, "https://a.test/", decode)
				wantServedUntil(t, origin, 10*time.Minute, r)
				if n := len(origin.Times("/")); n < 2 {
					t.Errorf("%d fetches, but its freshness ended in the sleep", n)
				}
			})
		})
	}
}

// TestVersionsGrowWhenTheClockIsSetBack: they are made of the time, but not only.
func TestVersionsGrowWhenTheClockIsSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := newClockShift()
		origin := everfreshtest.NewOrigin(boundMinter(time.Hour))
		c := everfreshtest.NewCache(t, clock.option(), origin.Option())
		r := everfreshtest.Register(t, c, "https://a.test/", boundDecode)
		synctest.Wait()
		last := r.Snapshot().Version
		for range 3 {
			clock.jump(-24 * time.Hour)
			everfreshtest.Refresh(t, r)
			v := r.Snapshot().Version
			if v <= last {
				t.Errorf("version %d after %d", v, last)
			}
			last = v
		}
	})
}

// TestSnapshotTimesFollowTheWallClock: times that are shown are wall-clock times.
func TestSnapshotTimesFollowTheWallClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := newClockShift()
		clock.jump(1000 * time.Hour)
		origin := everfreshtest.NewOrigin(everfreshtest.Text("x", "Cache-Control", "max-age=3600"))
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), clock.option(), origin.Option())
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
		synctest.Wait()
		snap := r.Snapshot()
		if !snap.FetchedAt.Equal(clock.wall()) || !snap.FreshUntil.Equal(clock.wall().Add(time.Hour)) {
			t.Errorf("fetched at %v, fresh until %v; it is %v", snap.FetchedAt, snap.FreshUntil, clock.wall())
		}
		if next := r.Status().Next; !next.Equal(clock.wall().Add(time.Hour)) {
			t.Errorf("next refresh at %v", next)
		}
		origin.SleepUntil(3 * time.Hour)
		everfreshtest.WantTimes(t, "a clock set before the start", origin.Times("/"), everfreshtest.Every(time.Hour, 3*time.Hour))
	})
}

// A faultyClock is a clockShift whose monotonic time can jump, too: so it is when a
// machine is paused and that clock, unlike the one of a laptop, goes on.
type faultyClock struct {
	*clockShift
	paused atomic.Int64
}

func (c *faultyClock) now() (wall, mono int64) {
	wall, mono = c.clockShift.now()
	return wall, mono + c.paused.Load()
}

// A clockFault is how far the clocks jump.
type clockFault struct{ wall, mono time.Duration }

var clockFaults = map[string]clockFault{
	"pause of 2 h":      {wall: 2 * time.Hour, mono: 2 * time.Hour},
	"sleep of 2 h":      {wall: 2 * time.Hour},
	"step of 1 h ahead": {wall: time.Hour},
	"step of 1 h back":  {wall: -time.Hour},
}

const (
	clockMany  = 1000
	clockAt    = 3*time.Hour + 10*time.Second // when it happens
	clockStale = 10 * time.Minute
)

// clockFleet is many resources: in turn one with a bound, a token, and one without end.
type clockFleet struct {
	clock  *faultyClock
	origin *everfreshtest.Origin
	dead   atomic.Bool
	all    []clockResource
}

// A clockResource is a handle of either type.
type clockResource struct {
	status func() everfresh.Status
	served func() (until time.Time, ok bool)
}

func newClockFleet(t *testing.T) *clockFleet {
	f := &clockFleet{clock: &faultyClock{clockShift: newClockShift()}}
	f.origin = everfreshtest.NewOrigin(boundMinter(90*time.Minute, "Cache-Control", "max-age=5400"))
	f.origin.Down = func() error {
		if f.dead.Load() {
			return everfreshtest.ErrRefused
		}
		return nil
	}
	c := everfreshtest.NewCache(t, everfresh.WithClock(f.clock.now), f.origin.Option(),
		everfresh.WithBackoff(5*time.Minute, 15*time.Minute))
	for i := range clockMany {
		switch i % 3 {
		case 0:
			f.all = append(f.all, clockHandle(everfreshtest.Register(t, c, loadURL(i), everfresh.Bytes(), everfresh.WithMaxStale(clockStale))))
		case 1:
			f.all = append(f.all, clockHandle(everfreshtest.Register(t, c, loadURL(i), boundDecode)))
		default:
			f.all = append(f.all, clockHandle(everfreshtest.Register(t, c, loadURL(i), everfresh.Bytes())))
		}
	}
	return f
}

func clockHandle[T any](r *everfresh.Resource[T]) clockResource {
	return clockResource{r.Status, func() (until time.Time, ok bool) {
		if snap := r.Snapshot(); snap != nil {
			return snap.ServeUntil, true
		}
		return time.Time{}, false
	}}
}

// upset lets the clocks jump.
func (f *clockFleet) upset(wall, mono time.Duration) {
	f.clock.jump(wall)
	f.clock.paused.Add(int64(mono))
}

// audit reports what is served past its bound, once the fault must have been noticed, and
// what has no value although it has no bound.
func (f *clockFleet) audit(t *testing.T) {
	t.Helper()
	now := f.clock.wall()
	noticed := f.origin.Now() >= clockAt+clockNotice
	for i, r := range f.all {
		until, ok := r.served()
		if ok && noticed && !until.IsZero() && now.After(until) {
			t.Fatalf("resource %d is served %v past its bound", i, now.Sub(until))
		}
		if !ok && i%3 == 2 {
			t.Fatalf("resource %d, without a bound, is not served", i)
		}
	}
}

// TestClockFaultsWhileTheOriginLives: what a jump of the clocks made due is refreshed
// soon, but not all at once, and nothing is served past its bound.
func TestClockFaultsWhileTheOriginLives(t *testing.T) {
	for name, fault := range clockFaults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newClockFleet(t)
				f.origin.SleepUntil(clockAt)
				var due []int
				for i, r := range f.all {
					if next := r.status().Next; !next.After(f.clock.wall().Add(fault.wall)) {
						due = append(due, i)
					}
				}
				if fault.wall > 0 && len(due) < clockMany/3 {
					t.Fatalf("%d of %d become due: too few", len(due), clockMany)
				}
				f.upset(fault.wall, fault.mono)
				const end = clockNotice + 31*time.Second
				for past := time.Second; past <= end; past += time.Second {
					f.origin.SleepUntil(clockAt + past)
					f.audit(t)
				}
				var woken []time.Duration
				for _, i := range due {
					asked := f.origin.Times(loadPath(i))
					if last := asked[len(asked)-1]; last > clockAt {
						woken = append(woken, last)
						continue
					}
					t.Errorf("resource %d was due and is not refreshed after %v", i, end)
				}
				// Evenly spread over 30 s these are at most 33 a second.
				if peak := loadPeak(woken, time.Second); peak > 80 {
					t.Errorf("%d of %d refreshes in one second", peak, len(due))
				}
				for past := end; past <= 4*time.Hour; past += time.Minute {
					f.origin.SleepUntil(clockAt + past)
					f.audit(t)
				}
				for i := range f.all { // no deadline was lost
					asked := f.origin.Times(loadPath(i))
					if last := asked[len(asked)-1]; f.origin.Now()-last > 90*time.Minute+time.Second {
						t.Errorf("resource %d was last refreshed %v ago", i, f.origin.Now()-last)
					}
				}
			})
		})
	}
}

// TestClockFaultsWhileTheOriginIsDead: nothing is served past its bound by the clock that
// went ahead, nor longer because one was set back; and what has no bound is served.
func TestClockFaultsWhileTheOriginIsDead(t *testing.T) {
	faults := maps.Clone(clockFaults)
	faults["pause of 2 h"] = clockFault{wall: 2 * time.Hour, mono: 2 * time.Hour}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newClockFleet(t)
				f.origin.SleepUntil(clockAt)
				f.dead.Store(true)
				f.upset(fault.wall, fault.mono)
				for past := time.Second; past <= clockNotice+time.Second; past += time.Second {
					f.origin.SleepUntil(clockAt + past)
					f.audit(t)
				}
				// No value is younger than the fault, so this is past each bound by the
				// monotonic clock.
				f.origin.SleepUntil(clockAt + 90*time.Minute + clockStale + time.Second)
				f.audit(t)
				for i, r := range f.all {
					if _, ok := r.served(); ok && i%3 < 2 {
						t.Fatalf("resource %d is served past its bound", i)
					}
				}
				f.dead.Store(false)
				f.origin.SleepUntil(clockAt + 2*time.Hour)
				for i, r := range f.all {
					if _, ok := r.served(); !ok {
						t.Fatalf("resource %d is not served after the origin came back", i)
					}
				}
			})
		})
	}
}

// TestLateRefresherMakesProgress has a clock that runs ahead, so that every wake-up is
// late, as on a machine without processor time to spare: what is due is spread, but not for
// ever.
func TestLateRefresherMakesProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var asked atomic.Int32
		c := everfreshtest.NewCache(t,
			everfresh.WithClock(func() (wall, mono int64) {
				ran := 100 * time.Since(start)
				return start.Add(ran).UnixNano(), int64(ran)
			}),
			everfresh.WithRefreshInterval(10*time.Minute),
			everfresh.WithHTTPClient(everfreshtest.Client(func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				_, _ = io.WriteString(w, "v")
			})))
		everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
		time.Sleep(2 * time.Hour)
		if n := asked.Load(); n < 10 {
			t.Errorf("%d fetches in two hours of late wake-ups", n)
		}
	})
}
