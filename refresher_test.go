package everfresh_test

import (
	"context"
	"errors"
	"fmt"
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
)

// schedOutage returns when a resource is asked for that is fresh for life, whose origin
// fails at some times and may then ask for a pause.
func schedOutage(until, life time.Duration, failing func(at time.Duration) (pause time.Duration, fails bool)) []time.Duration {
	var asked []time.Duration
	backoff := 250 * time.Millisecond
	for at := time.Duration(0); at <= until; {
		asked = append(asked, at)
		pause, fails := failing(at)
		if !fails {
			backoff = 250 * time.Millisecond
			at += life
			continue
		}
		at += max(backoff, min(pause, time.Hour))
		backoff = min(2*backoff, 5*time.Minute)
	}
	return asked
}

// schedHTTPDate formats a time as headers do.
func schedHTTPDate(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

const schedDay = 24 * time.Hour

func TestDayOfLifetimes(t *testing.T) {
	type header = func(h http.Header, now time.Time)
	cacheControl := func(lines ...string) header {
		return func(h http.Header, _ time.Time) { h["Cache-Control"] = lines }
	}
	tests := []struct {
		path  string
		say   header
		opts  []everfresh.RegisterOption
		every time.Duration
		why   string
	}{
		{"/max-age", cacheControl("max-age=3600"), nil, time.Hour, "max-age"},
		{"/quoted", cacheControl(`max-age="3600"`), nil, time.Hour, "max-age"},
		{"/two-lines", cacheControl("public", "max-age=5400"), nil, 90 * time.Minute, "max-age"},
		{"/short", cacheControl("max-age=60"), nil, 15 * time.Minute, "max-age, raised to the minimum"},
		{"/zero", cacheControl("max-age=0"), nil, 15 * time.Minute, "max-age, raised to the minimum"},
		{"/nothing", func(http.Header, time.Time) {}, nil, 15 * time.Minute, "none, raised to the minimum"},
		{"/no-store", cacheControl("no-store, max-age=7200"), nil, 15 * time.Minute, "no-store, raised to the minimum"},
		{"/no-cache", cacheControl("max-age=7200, no-cache"), nil, 15 * time.Minute, "no-cache, raised to the minimum"},
		{"/revalidate", cacheControl("max-age=7200, must-revalidate, stale-if-error=1"), nil, 2 * time.Hour, "max-age"},
		{"/shared", cacheControl("s-maxage=60, max-age=7200"), nil, 2 * time.Hour, "max-age"},
		{"/age", func(h http.Header, _ time.Time) {
			h.Set("Cache-Control", "max-age=3600")
			h.Set("Age", "600")
		}, nil, 50 * time.Minute, "max-age"},
		{"/older", func(h http.Header, _ time.Time) {
			h.Set("Cache-Control", "max-age=3600")
			h.Set("Age", "3000")
		}, nil, 15 * time.Minute, "max-age, raised to the minimum"},
		{"/date", func(h http.Header, now time.Time) {
			h.Set("Cache-Control", "max-age=3600")
			h.Set("Date", schedHTTPDate(now.Add(-20*time.Minute)))
		}, nil, 40 * time.Minute, "max-age"},
		{"/date-and-age", func(h http.Header, now time.Time) {
			h.Set("Cache-Control", "max-age=3600")
			h.Set("Date", schedHTTPDate(now.Add(-5*time.Minute)))
			h.Set("Age", "1200")
		}, nil, 40 * time.Minute, "max-age"},
		{"/date-ahead", func(h http.Header, now time.Time) {
			h.Set("Date", schedHTTPDate(now.Add(5*time.Minute)))
			h.Set("Expires", schedHTTPDate(now.Add(65*time.Minute)))
		}, nil, time.Hour, "expires"},
		{"/expires", func(h http.Header, now time.Time) {
			h.Set("Expires", schedHTTPDate(now.Add(30*time.Minute)))
		}, nil, 30 * time.Minute, "expires"},
		{"/expires-date", func(h http.Header, now time.Time) {
			h.Set("Date", schedHTTPDate(now.Add(-10*time.Minute)))
			h.Set("Expires", schedHTTPDate(now.Add(2*time.Hour)))
		}, nil, 2 * time.Hour, "expires"},
		{"/expires-past", func(h http.Header, now time.Time) {
			h.Set("Expires", schedHTTPDate(now.Add(-time.Hour)))
		}, nil, 15 * time.Minute, "expires, raised to the minimum"},
		{"/expires-0", func(h http.Header, _ time.Time) { h.Set("Expires", "0") }, nil, 15 * time.Minute, "expires, raised to the minimum"},
		{"/both", func(h http.Header, now time.Time) {
			h.Set("Cache-Control", "max-age=7200")
			h.Set("Expires", schedHTTPDate(now.Add(30*time.Minute)))
		}, nil, 2 * time.Hour, "max-age"},

		{"/own-min", cacheControl("max-age=60"), []everfresh.RegisterOption{everfresh.WithMinRefreshInterval(5 * time.Minute)}, 5 * time.Minute, "max-age, raised to the minimum"},
		{"/own-max", cacheControl("max-age=31536000"), []everfresh.RegisterOption{everfresh.WithMaxRefreshInterval(6 * time.Hour)}, 6 * time.Hour, "max-age, cut to the maximum"},
		{"/max", cacheControl("max-age=31536000"), nil, 30 * schedDay, "max-age, cut to the maximum"},
		{"/interval", cacheControl("max-age=3600"), []everfresh.RegisterOption{everfresh.WithRefreshInterval(7 * time.Minute)}, 7 * time.Minute, "refresh interval"},
		{"/ahead", cacheControl("max-age=3600"), []everfresh.RegisterOption{everfresh.WithRefreshAhead(10 * time.Minute)}, 50 * time.Minute, "max-age"},
		{"/too-far-ahead", cacheControl("max-age=3600"), []everfresh.RegisterOption{everfresh.WithRefreshAhead(59 * time.Minute)}, 15 * time.Minute, "max-age"},
		{"/interval-ahead", cacheControl("max-age=3600"), []everfresh.RegisterOption{
			everfresh.WithRefreshInterval(10 * time.Minute), everfresh.WithRefreshAhead(time.Minute),
		}, 10 * time.Minute, "refresh interval"},
	}
	synctest.Test(t, func(t *testing.T) {
		say := make(map[string]header)
		origin := everfreshtest.NewOrigin(func(w http.ResponseWriter, r *http.Request) {
			say[r.URL.Path](w.Header(), time.Now())
			_, _ = w.Write([]byte("x"))
		})
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), origin.Option())
		resources := make(map[string]*everfresh.Resource[[]byte])
		for _, tt := range tests {
			say[tt.path] = tt.say
		}
		for _, tt := range tests {
			resources[tt.path] = everfreshtest.Register(t, c, "https://a.test"+tt.path, everfresh.Bytes(), tt.opts...)
		}
		origin.SleepUntil(schedDay)
		for _, tt := range tests {
			everfreshtest.WantTimes(t, tt.path, origin.Times(tt.path), everfreshtest.Every(tt.every, schedDay))
			st := resources[tt.path].Status()
			if st.Freshness != tt.why {
				t.Errorf("%s: decided by %q, want %q", tt.path, st.Freshness, tt.why)
			}
			asked := origin.Times(tt.path)
			if want := origin.Start.Add(asked[len(asked)-1] + tt.every); !st.Next.Equal(want) {
				t.Errorf("%s: next refresh at %v, want %v", tt.path, st.Next, want)
			}
		}
	})
}

// TestDayOfASlowOrigin: the time an answer takes counts as its age, so that refreshes
// do not drift.
func TestDayOfASlowOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := everfreshtest.NewOrigin(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(1700 * time.Millisecond)
			w.Header().Set("Cache-Control", "max-age=3600")
			_, _ = w.Write([]byte("x"))
		})
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), origin.Option())
		everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
		origin.SleepUntil(schedDay + time.Minute)
		everfreshtest.WantTimes(t, "slow origin", origin.Times("/"), everfreshtest.Every(time.Hour, schedDay))
	})
}

func TestDayOfRetryAfter(t *testing.T) {
	const begins, ends = 6 * time.Hour, 9 * time.Hour
	tests := []struct {
		path  string
		code  int
		value string        // of Retry-After
		until time.Duration // if value is empty: its date
		pause time.Duration // what it means
	}{
		{"/none", 503, "", 0, 0},
		{"/seconds", 429, "600", 0, 10 * time.Minute},
		{"/503", 503, "600", 0, 10 * time.Minute},
		{"/less-than-backoff", 429, "2", 0, 2 * time.Second},
		{"/past-its-cap", 503, "7200", 0, time.Hour},
		{"/zero", 503, "0", 0, 0},
		{"/garbage", 503, "in a while", 0, 0},
		{"/date", 503, "", 6*time.Hour + 20*time.Minute, 0},
		{"/429-date", 429, "", 6*time.Hour + 20*time.Minute, 0},
		{"/far-date", 503, "", 20 * time.Hour, 0},
		{"/past-date", 503, "", time.Hour, 0},
	}
	synctest.Test(t, func(t *testing.T) {
		var origin *everfreshtest.Origin
		byPath := make(map[string]http.HandlerFunc)
		origin = everfreshtest.NewOrigin(func(w http.ResponseWriter, r *http.Request) {
			if now := origin.Now(); now < begins || now >= ends {
				w.Header().Set("Cache-Control", "max-age=3600")
				_, _ = w.Write([]byte("x"))
				return
			}
			byPath[r.URL.Path](w, r)
		})
		for _, tt := range tests {
			byPath[tt.path] = func(w http.ResponseWriter, _ *http.Request) {
				value := tt.value
				if value == "" && tt.until > 0 {
					value = schedHTTPDate(origin.Start.Add(tt.until))
				}
				if value != "" {
					w.Header().Set("Retry-After", value)
				}
				w.WriteHeader(tt.code)
			}
		}
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithRefreshWindow(1), origin.Option())
		for _, tt := range tests {
			everfreshtest.Register(t, c, "https://a.test"+tt.path, everfresh.Bytes())
		}
		origin.SleepUntil(schedDay)
		for _, tt := range tests {
			want := schedOutage(schedDay, time.Hour, func(at time.Duration) (time.Duration, bool) {
				return max(tt.pause, tt.until-at), at >= begins && at < ends
			})
			everfreshtest.WantTimes(t, tt.path, origin.Times(tt.path), want)
		}
	})
}

// TestDayWithADeadOrigin: half a day without the origin loses nothing but its updates.
func TestDayWithADeadOrigin(t *testing.T) {
	const begins, ends = 3*time.Hour + 30*time.Minute, 15*time.Hour + 30*time.Minute
	synctest.Test(t, func(t *testing.T) {
		told := new(everfreshtest.Recorder)
		origin := everfreshtest.NewOrigin(everfreshtest.Text("x", "Cache-Control", "max-age=3600"))
		dead := func(at time.Duration) bool { return at >= begins && at < ends }
		origin.Down = func() error {
			if dead(origin.Now()) {
				return everfreshtest.ErrRefused
			}
			return nil
		}
		c := everfreshtest.NewCache(t, append(told.Options(), everfresh.WithJitter(0), origin.Option())...)
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
		synctest.Wait()
		first := r.Snapshot()
		for origin.Now() < schedDay {
			time.Sleep(10 * time.Second)
			if v, ok := r.Peek(); !ok || string(v) != "x" {
				t.Fatalf("%v: Peek = %q, %v", origin.Now(), v, ok)
			}
		}
		synctest.Wait()
		want := schedOutage(schedDay, time.Hour, func(at time.Duration) (time.Duration, bool) { return 0, dead(at) })
		got := origin.Times("/")
		everfreshtest.WantTimes(t, "dead origin", got, want)

		recovered := got[slices.IndexFunc(got, func(at time.Duration) bool { return at >= ends })]
		if recovered-ends > 5*time.Minute {
			t.Errorf("asked again %v after the origin came back", recovered-ends)
		}
		if got := len(told.Events("unchanged")); got != len(want)-1-len(told.Errors()) {
			t.Errorf("%d confirmations", got)
		}
		schedTold(t, origin, told.Errors())
		if snap := r.Snapshot(); snap.Version != first.Version || snap.Err != nil {
			t.Errorf("version %d, error %v afterwards; want version %d", snap.Version, snap.Err, first.Version)
		}
		if st := r.Status(); st.Failures != 0 || st.Err != nil {
			t.Errorf("%d failures, last error %v afterwards", st.Failures, st.Err)
		}
	})
}

// schedTold checks that the sink was told of each failure of one outage exactly once, and
// that each told when the next attempt came.
func schedTold(t *testing.T, origin *everfreshtest.Origin, errs []error) {
	t.Helper()
	asked := origin.Times("/")
	from := -1
	for i, err := range errs {
		var re *everfresh.RefreshError
		if !errors.As(err, &re) {
			t.Fatalf("error %d is %T", i, err)
		}
		if from < 0 {
			from = slices.Index(asked, re.Next.Sub(origin.Start)) - 1
		}
		if re.Attempt != i+1 || !re.Stale || re.Op != "fetch" {
			t.Fatalf("error %d: attempt %d, stale %v, %v", i, re.Attempt, re.Stale, err)
		}
		if next := re.Next.Sub(origin.Start); next != asked[from+i+1] {
			t.Fatalf("error %d: next attempt at %v, but it came at %v", i, next, asked[from+i+1])
		}
	}
	want := 0
	for _, at := range asked {
		if at >= 3*time.Hour+30*time.Minute && at < 15*time.Hour+30*time.Minute {
			want++
		}
	}
	if len(errs) != want {
		t.Errorf("the sink got %d errors, want %d", len(errs), want)
	}
}

// TestErrorHeadersChangeNothing: a failing answer says nothing about the stored one.
func TestErrorHeadersChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begins, ends := time.Hour, time.Hour+time.Minute
		failing := func(at time.Duration) bool { return at >= begins && at < ends }
		var origin *everfreshtest.Origin
		origin = everfreshtest.NewOrigin(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"good"`)
			w.Header().Set("Cache-Control", "max-age=3600")
			if failing(origin.Now()) {
				w.Header().Set("ETag", `"bad"`)
				w.Header().Set("Cache-Control", "max-age=86400")
				w.Header().Set("Expires", schedHTTPDate(time.Now().Add(schedDay)))
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			_, _ = w.Write([]byte("x"))
		})
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), origin.Option())
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
		origin.SleepUntil(begins + 30*time.Second)
		snap, st := r.Snapshot(), r.Status()
		if want := origin.Start.Add(time.Hour); !snap.FreshUntil.Equal(want) || st.Lifetime != time.Hour {
			t.Errorf("fresh until %v, lifetime %v; want %v and 1h0m0s", snap.FreshUntil, st.Lifetime, want)
		}
		if st.Code != http.StatusOK || st.Failures == 0 {
			t.Errorf("status %d of the last good answer, %d failures", st.Code, st.Failures)
		}
		origin.SleepUntil(schedDay)
		everfreshtest.WantTimes(t, "with errors", origin.Times("/"), schedOutage(schedDay, time.Hour,
			func(at time.Duration) (time.Duration, bool) { return 0, failing(at) }))
	})
}

// TestRefusedBodyIsRetriedByBackoff: a 200 that the decoder refuses does not count,
// however long it says that it is fresh.
func TestRefusedBodyIsRetriedByBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		garbage := func(at time.Duration) bool { return at >= time.Hour && at < time.Hour+10*time.Minute }
		var origin *everfreshtest.Origin
		origin = everfreshtest.NewOrigin(func(w http.ResponseWriter, _ *http.Request) {
			if garbage(origin.Now()) {
				w.Header().Set("Cache-Control", "max-age=2592000")
				_, _ = w.Write([]byte("<html>maintenance</html>"))
				return
			}
			w.Header().Set("Cache-Control", "max-age=3600")
			_, _ = w.Write([]byte(`{"a":1}`))
		})
		told := new(everfreshtest.Recorder)
		c := everfreshtest.NewCache(t, append(told.Options(), everfresh.WithJitter(0), origin.Option())...)
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.JSON[map[string]int]())
		origin.SleepUntil(time.Hour + 5*time.Minute)
		if v, ok := r.Peek(); !ok || v["a"] != 1 {
			t.Errorf("Peek = %v, %v while the origin sends garbage", v, ok)
		}
		if snap := r.Snapshot(); snap.Err == nil {
			t.Error("the snapshot does not tell of the refused body")
		}
		origin.SleepUntil(schedDay)
		want := schedOutage(schedDay, time.Hour, func(at time.Duration) (time.Duration, bool) { return 0, garbage(at) })
		everfreshtest.WantTimes(t, "garbage", origin.Times("/"), want)
		for _, err := range told.Errors() {
			var re *everfresh.RefreshError
			if !errors.As(err, &re) || re.Op != "decode" {
				t.Fatalf("sink got %v", err)
			}
		}
	})
}

// TestSteeredRetries: what a decoder says about the next attempt goes before the
// back-off.
func TestSteeredRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := everfreshtest.NewOrigin(everfreshtest.Text("x", "Cache-Control", "max-age=60"))
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), origin.Option())
		refuse := func(err error) everfresh.Decoder[int] {
			return func(_ context.Context, _ *http.Response) (int, error) { return 0, err }
		}
		base := errors.New("no")
		everfreshtest.Register(t, c, "https://a.test/permanent", refuse(everfresh.Permanent(base)))
		everfreshtest.Register(t, c, "https://a.test/after", refuse(everfresh.RetryAfter(base, 40*time.Second)))
		everfreshtest.Register(t, c, "https://a.test/plain", refuse(base))
		until := 2 * time.Hour
		origin.SleepUntil(until)
		everfreshtest.WantTimes(t, "permanent", origin.Times("/permanent"), everfreshtest.Every(15*time.Minute, until))
		everfreshtest.WantTimes(t, "retry after", origin.Times("/after"), everfreshtest.Every(40*time.Second, until))
		everfreshtest.WantTimes(t, "plain", origin.Times("/plain"), schedOutage(until, 0,
			func(time.Duration) (time.Duration, bool) { return 0, true }))
	})
}

// TestRetryInAnAge: what a decoder asks for may be for ever, but not the past.
func TestRetryInAnAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := everfreshtest.NewOrigin(everfreshtest.Text("x"))
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), origin.Option())
		origin.SleepUntil(time.Second)
		everfreshtest.Register(t, c, "https://a.test/", func(context.Context, *http.Response) (int, error) {
			return 0, everfresh.RetryAfter(errors.New("never again"), 1<<63-1)
		})
		origin.SleepUntil(time.Minute)
		everfreshtest.WantTimes(t, "retried in an age", origin.Times("/"), []time.Duration{time.Second})
	})
}

// TestIntervalsDoNotDisturbEachOther: a shared ticker refreshed the first of these
// every 18 s, as each refresh of the second pushed it ahead.
func TestIntervalsDoNotDisturbEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := everfreshtest.NewOrigin(everfreshtest.Text("x"))
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), origin.Option())
		until := time.Hour
		for _, s := range []int{10, 9, 7, 2} {
			everfreshtest.Register(t, c, "https://a.test/"+strconv.Itoa(s), everfresh.Bytes(),
				everfresh.WithRefreshInterval(time.Duration(s)*time.Second))
		}
		origin.SleepUntil(until)
		for _, s := range []int{10, 9, 7, 2} {
			everfreshtest.WantTimes(t, fmt.Sprintf("every %d s", s), origin.Times("/"+strconv.Itoa(s)),
				everfreshtest.Every(time.Duration(s)*time.Second, until))
		}
	})
}

// TestIntervalSurvivesOtherResources: one with default options, or its removal, made
// the scheduler forget a constant interval.
func TestIntervalSurvivesOtherResources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := everfreshtest.NewOrigin(everfreshtest.Text("x"))
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), origin.Option())
		everfreshtest.Register(t, c, "https://a.test/often", everfresh.Bytes(), everfresh.WithRefreshInterval(2*time.Second))
		origin.SleepUntil(5 * time.Second)
		everfreshtest.Register(t, c, "https://a.test/default", everfresh.Bytes())
		origin.SleepUntil(15 * time.Second)
		if err := c.Unregister("https://a.test/default"); err != nil {
			t.Fatal(err)
		}
		origin.SleepUntil(time.Minute)
		everfreshtest.WantTimes(t, "every 2 s", origin.Times("/often"), everfreshtest.Every(2*time.Second, time.Minute))
		everfreshtest.WantTimes(t, "default", origin.Times("/default"), []time.Duration{5 * time.Second})
	})
}

// TestRefreshDoesNotStarveOthers: each forced refresh pushed the shared ticker ahead,
// so that nothing else was refreshed.
func TestRefreshDoesNotStarveOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := everfreshtest.NewOrigin(everfreshtest.Text("x"))
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), origin.Option())
		r := everfreshtest.Register(t, c, "https://a.test/1", everfresh.Bytes(), everfresh.WithRefreshInterval(time.Minute))
		everfreshtest.Register(t, c, "https://a.test/2", everfresh.Bytes(), everfresh.WithRefreshInterval(5*time.Second))
		for range 60 {
			time.Sleep(time.Second)
			everfreshtest.Refresh(t, r)
		}
		synctest.Wait()
		everfreshtest.WantTimes(t, "the forced one", origin.Times("/1"), everfreshtest.Every(time.Second, time.Minute))
		everfreshtest.WantTimes(t, "the other one", origin.Times("/2"), everfreshtest.Every(5*time.Second, time.Minute))
	})
}

// TestOneScheduleForEachResource: in httprc v1 each of these calls added another stream
// of fetches, for ever.
func TestOneScheduleForEachResource(t *testing.T) {
	const url = "https://a.test/"
	tests := map[string]func(*testing.T, *everfresh.Cache){
		"Refresh": func(t *testing.T, c *everfresh.Cache) {
			for range 20 {
				if _, err := c.Refresh(t.Context(), url); err != nil {
					t.Fatal(err)
				}
			}
		},
		"concurrent Refresh": func(t *testing.T, c *everfresh.Cache) {
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() { _, _ = c.Refresh(t.Context(), url) })
			}
			wg.Wait()
		},
		"Register again": func(t *testing.T, c *everfresh.Cache) {
			for range 20 {
				if err := c.Register(url); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Get(t.Context(), url); err != nil {
					t.Fatal(err)
				}
			}
		},
		"Unregister and Register": func(t *testing.T, c *everfresh.Cache) {
			for range 10 {
				if err := errors.Join(c.Unregister(url), c.Register(url)); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Get(t.Context(), url); err != nil {
					t.Fatal(err)
				}
			}
		},
	}
	for name, do := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				origin := everfreshtest.NewOrigin(everfreshtest.Text("x", "Cache-Control", "max-age=3600"))
				c := everfreshtest.NewCache(t, everfresh.WithJitter(0), origin.Option())
				if err := c.Register(url); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Get(t.Context(), url); err != nil {
					t.Fatal(err)
				}
				origin.SleepUntil(30 * time.Minute)
				do(t, c)
				synctest.Wait()
				calls := len(origin.Times("/"))
				if calls < 2 {
					t.Fatalf("%d fetches after the calls, want more than the first", calls)
				}
				origin.SleepUntil(schedDay)
				got := origin.Times("/")[calls:]
				want := everfreshtest.Every(time.Hour, 23*time.Hour)
				for i := range want {
					want[i] += 90 * time.Minute
				}
				everfreshtest.WantTimes(t, "afterwards", got, want[:len(want)-1])
			})
		})
	}
}

// TestRefreshMovesTheNextOne: a forced refresh is as good as a scheduled one.
func TestRefreshMovesTheNextOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := everfreshtest.NewOrigin(everfreshtest.Text("x", "Cache-Control", "max-age=3600"))
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), origin.Option())
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
		origin.SleepUntil(59 * time.Minute)
		everfreshtest.Refresh(t, r)
		origin.SleepUntil(3 * time.Hour)
		everfreshtest.WantTimes(t, "refreshed", origin.Times("/"), []time.Duration{
			0, 59 * time.Minute, 119 * time.Minute, 179 * time.Minute,
		})
	})
}

func TestIntervalBelowWindowIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		second := everfreshtest.NewCache(t, everfresh.WithRefreshWindow(time.Second))
		short := everfresh.WithRefreshInterval(time.Second - 1)
		if err := second.Register("https://a.test/", short); err == nil {
			t.Error("Register took an interval below the window")
		}
		if _, err := everfresh.Register(second, "https://a.test/", everfresh.Bytes(), short); err == nil {
			t.Error("the typed Register took an interval below the window")
		}
		if second.IsRegistered("https://a.test/") {
			t.Error("registered in spite of the error")
		}
		if err := second.Register("https://a.test/", everfresh.WithRefreshInterval(time.Second)); err != nil {
			t.Errorf("an interval as long as the window: %v", err)
		}
		all := everfreshtest.NewCache(t, everfresh.WithRefreshWindow(time.Minute), everfresh.WithRefreshInterval(time.Second))
		if err := all.Register("https://a.test/"); err == nil {
			t.Error("Register took the cache's interval, which is below its window")
		}
		if err := everfreshtest.NewCache(t).Register("https://a.test/", everfresh.WithRefreshInterval(9*time.Millisecond)); err == nil {
			t.Error("Register took an interval below the default window")
		}
	})
}

// TestEndlessInterval: "never again" must not become "all the time".
func TestEndlessInterval(t *testing.T) {
	const endless = time.Duration(1<<63 - 1)
	tests := map[string][]everfresh.RegisterOption{
		"interval": {everfresh.WithRefreshInterval(endless)},
		"minimum":  {everfresh.WithMinRefreshInterval(endless), everfresh.WithMaxRefreshInterval(endless)},
		"maximum":  {everfresh.WithMaxRefreshInterval(endless)},
	}
	for name, opts := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				origin := everfreshtest.NewOrigin(everfreshtest.Text("x", "Cache-Control", "max-age=2147483648"))
				c := everfreshtest.NewCache(t, everfresh.WithJitter(0), origin.Option())
				origin.SleepUntil(time.Second)
				r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), opts...)
				origin.SleepUntil(time.Minute)
				everfreshtest.WantTimes(t, name, origin.Times("/"), []time.Duration{time.Second})
				if st := r.Status(); !st.FreshUntil.After(time.Now()) || !st.Next.IsZero() && !st.Next.After(time.Now()) {
					t.Errorf("fresh until %v, next %v", st.FreshUntil, st.Next)
				}
			})
		})
	}
}

func TestHourlyRefreshForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0))
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithHTTPClient(everfreshtest.Client(
			func(w http.ResponseWriter, _ *http.Request) {
				n.Add(1)
				w.Header().Set("Cache-Control", "max-age=3600")
				_, _ = w.Write([]byte("x"))
			})))
		time.Sleep(24*time.Hour + time.Minute)
		if got := n.Load(); got != 25 {
			t.Errorf("fetches = %d, want 25", got)
		}
		if v, err := r.Get(t.Context()); string(v) != "x" || err != nil {
			t.Errorf("Get = %q, %v", v, err)
		}
	})
}
