package everfresh_test

import (
	"context"
	"errors"
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

// TestDeadHostsDelayNoOther: three hosts whose every fetch hangs until it times out, and
// one that works. The dead ones hold their few places, and nothing else.
func TestDeadHostsDelayNoOther(t *testing.T) {
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
