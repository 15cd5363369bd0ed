package everfresh_test

import (
	"io"
	"maps"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
)

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
	origin *schedOrigin
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
	f.origin = newSchedOrigin(boundMinter(90*time.Minute, "Cache-Control", "max-age=5400"))
	f.origin.down = func() error {
		if f.dead.Load() {
			return errRefused
		}
		return nil
	}
	c := newCache(t, everfresh.WithClock(f.clock.now), f.origin.client(),
		everfresh.WithBackoff(5*time.Minute, 15*time.Minute))
	for i := range clockMany {
		switch i % 3 {
		case 0:
			f.all = append(f.all, clockHandle(register(t, c, loadURL(i), everfresh.Bytes(), everfresh.WithMaxStale(clockStale))))
		case 1:
			f.all = append(f.all, clockHandle(register(t, c, loadURL(i), boundDecode)))
		default:
			f.all = append(f.all, clockHandle(register(t, c, loadURL(i), everfresh.Bytes())))
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
	noticed := f.origin.now() >= clockAt+clockNotice
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
				f.origin.sleepUntil(clockAt)
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
					f.origin.sleepUntil(clockAt + past)
					f.audit(t)
				}
				var woken []time.Duration
				for _, i := range due {
					asked := f.origin.times(loadPath(i))
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
					f.origin.sleepUntil(clockAt + past)
					f.audit(t)
				}
				for i := range f.all { // no deadline was lost
					asked := f.origin.times(loadPath(i))
					if last := asked[len(asked)-1]; f.origin.now()-last > 90*time.Minute+time.Second {
						t.Errorf("resource %d was last refreshed %v ago", i, f.origin.now()-last)
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
				f.origin.sleepUntil(clockAt)
				f.dead.Store(true)
				f.upset(fault.wall, fault.mono)
				for past := time.Second; past <= clockNotice+time.Second; past += time.Second {
					f.origin.sleepUntil(clockAt + past)
					f.audit(t)
				}
				// No value is younger than the fault, so this is past each bound by the
				// monotonic clock.
				f.origin.sleepUntil(clockAt + 90*time.Minute + clockStale + time.Second)
				f.audit(t)
				for i, r := range f.all {
					if _, ok := r.served(); ok && i%3 < 2 {
						t.Fatalf("resource %d is served past its bound", i)
					}
				}
				f.dead.Store(false)
				f.origin.sleepUntil(clockAt + 2*time.Hour)
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
		c := newCache(t,
			everfresh.WithClock(func() (wall, mono int64) {
				ran := 100 * time.Since(start)
				return start.Add(ran).UnixNano(), int64(ran)
			}),
			everfresh.WithRefreshInterval(10*time.Minute),
			everfresh.WithHTTPClient(clientOf(func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				_, _ = io.WriteString(w, "v")
			})))
		register(t, c, "https://a.test/", everfresh.Bytes())
		time.Sleep(2 * time.Hour)
		if n := asked.Load(); n < 10 {
			t.Errorf("%d fetches in two hours of late wake-ups", n)
		}
	})
}
