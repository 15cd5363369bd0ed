package everfresh_test

import (
	"context"
	"errors"
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

// A boundToken is a value that carries its own expiry, as access tokens do.
type boundToken struct {
	text string
	end  time.Time
}

func (t boundToken) ExpiresAt() time.Time { return t.end }

// boundDecode makes a token of a body and the header Expires-In, which counts from the
// answer's receipt, in milliseconds.
func boundDecode(ctx context.Context, resp *http.Response) (boundToken, error) {
	body := make([]byte, resp.ContentLength)
	_, _ = resp.Body.Read(body)
	ms, err := strconv.ParseInt(resp.Header.Get("Expires-In"), 10, 64)
	at, _ := everfresh.Received(ctx)
	return boundToken{string(body), at.Add(time.Duration(ms) * time.Millisecond)}, err
}

// boundAnswer answers with a token that lives for life.
func boundAnswer(w http.ResponseWriter, text string, life time.Duration) {
	w.Header().Set("Expires-In", strconv.FormatInt(life.Milliseconds(), 10))
	_, _ = w.Write([]byte(text))
}

// boundMinter answers each request with a new token that lives for life.
func boundMinter(life time.Duration, kv ...string) http.HandlerFunc {
	var n atomic.Int64
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(kv); i += 2 {
			w.Header().Set(kv[i], kv[i+1])
		}
		boundAnswer(w, "token-"+strconv.FormatInt(n.Add(1), 10), life)
	}
}

func TestTokensAreRefreshedAheadOfTheirEnd(t *testing.T) {
	const none = time.Duration(0)
	header := []string{"Cache-Control", "max-age=86400"}
	tests := map[string]struct {
		life, ahead time.Duration
		kv          []string
		opts        []everfresh.RegisterOption
		every       time.Duration
	}{
		"a minute ahead":         {2 * time.Hour, none, header, nil, 119 * time.Minute},
		"a tenth ahead":          {5 * time.Minute, none, header, nil, 270 * time.Second},
		"as far as asked":        {2 * time.Hour, 5 * time.Minute, header, nil, 115 * time.Minute},
		"half, if asked too far": {2 * time.Hour, 3 * time.Hour, header, nil, time.Hour},
		"before the minimum": {10 * time.Minute, none, nil, []everfresh.RegisterOption{
			everfresh.WithMinRefreshInterval(time.Hour),
		}, 9 * time.Minute},
		"before the interval": {10 * time.Minute, none, nil, []everfresh.RegisterOption{
			everfresh.WithRefreshInterval(time.Hour),
		}, 9 * time.Minute},
		"not after the interval": {2 * time.Hour, none, header, []everfresh.RegisterOption{
			everfresh.WithRefreshInterval(20 * time.Minute),
		}, 20 * time.Minute},
		"not after the maximum": {90 * schedDay, none, nil, []everfresh.RegisterOption{
			everfresh.WithMaxRefreshInterval(3 * time.Hour), everfresh.WithRefreshInterval(3 * time.Hour),
		}, 3 * time.Hour},
		"in seconds": {20 * time.Second, none, nil, nil, 18 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				origin := everfreshtest.NewOrigin(boundMinter(tt.life, tt.kv...))
				c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithRefreshAhead(tt.ahead), origin.Option())
				r := everfreshtest.Register(t, c, "https://a.test/", boundDecode, tt.opts...)
				synctest.Wait()
				for origin.Now() < schedDay {
					time.Sleep(min(tt.life/7, 10*time.Minute))
					v, ok := r.Peek()
					if !ok || !v.end.After(time.Now()) {
						t.Fatalf("%v: Peek = %v, %v", origin.Now(), v, ok)
					}
				}
				origin.SleepUntil(25 * time.Hour)
				everfreshtest.WantTimes(t, name, origin.Times("/"), everfreshtest.Every(tt.every, 25*time.Hour))
			})
		})
	}
}

// TestTokenSetsItsOwnLifetime: answers with tokens say no-store, or nothing. It is the
// token that says how long it lives.
func TestTokenSetsItsOwnLifetime(t *testing.T) {
	for _, kv := range [][]string{nil, {"Cache-Control", "no-store"}} {
		synctest.Test(t, func(t *testing.T) {
			origin := everfreshtest.NewOrigin(boundMinter(2*time.Hour, kv...))
			c := everfreshtest.NewCache(t, everfresh.WithJitter(0), origin.Option())
			r := everfreshtest.Register(t, c, "https://a.test/", boundDecode)
			origin.SleepUntil(schedDay)
			everfreshtest.WantTimes(t, "token", origin.Times("/"), everfreshtest.Every(119*time.Minute, schedDay))
			if st := r.Status(); st.Freshness != "the value's own expiry" || st.Lifetime != 2*time.Hour {
				t.Errorf("fresh for %v by %q, want 2h0m0s by its own expiry", st.Lifetime, st.Freshness)
			}
		})
	}
}

// TestTokenJustAboveTheTimeAhead: when the time ahead has all but come, the origin is
// not asked again at once, and again.
func TestTokenJustAboveTheTimeAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := everfreshtest.NewOrigin(boundMinter(time.Minute+time.Millisecond, "Cache-Control", "max-age=3600"))
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithRefreshAhead(time.Minute), origin.Option())
		everfreshtest.Register(t, c, "https://a.test/", boundDecode)
		origin.SleepUntil(time.Minute)
		if n := len(origin.Times("/")); n > 10 {
			t.Errorf("%d fetches in the life of one token", n)
		}
	})
}

// TestTokenIsNotServedAfterItsEnd, to the nanosecond, when its origin is dead.
func TestTokenIsNotServedAfterItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const life, back = 2 * time.Hour, 3 * time.Hour
		told := new(everfreshtest.Recorder)
		mint := boundMinter(life, "Cache-Control", "max-age=86400")
		var origin *everfreshtest.Origin
		origin = everfreshtest.NewOrigin(func(w http.ResponseWriter, r *http.Request) {
			if now := origin.Now(); now > time.Hour && now < back {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			mint(w, r)
		})
		c := everfreshtest.NewCache(t, append(told.Options(), everfresh.WithJitter(0), origin.Option())...)
		r := everfreshtest.Register(t, c, "https://a.test/", boundDecode)
		origin.SleepUntil(life - 1)
		if snap := r.Snapshot(); snap == nil || !snap.ServeUntil.Equal(origin.Start.Add(life)) {
			t.Fatalf("just before its end: %+v", snap)
		}
		origin.SleepUntil(life)
		boundCheckStale(t, r, http.StatusBadGateway)
		if n := len(told.Events("expired")); n != 1 {
			t.Errorf("%d events say that it expired, want 1", n)
		}
		origin.SleepUntil(back - 1)
		boundCheckStale(t, r, http.StatusBadGateway)
		origin.SleepUntil(back + 5*time.Minute)
		if v, ok := r.Peek(); !ok || v.text != "token-2" {
			t.Errorf("Peek = %v, %v after the origin came back", v, ok)
		}
	})
}

// boundCheckStale checks that a value is withheld for its age, with the cause.
func boundCheckStale[T any](t *testing.T, r *everfresh.Resource[T], code int) {
	t.Helper()
	if v, ok := r.Peek(); ok || r.Snapshot() != nil {
		t.Errorf("still served: %v", v)
	}
	asked := r.Status().Failures
	start := time.Now()
	_, err := r.Get(t.Context())
	var se *everfresh.StatusError
	if !errors.Is(err, everfresh.ErrStale) || !errors.Is(err, everfresh.ErrNotReady) || !errors.As(err, &se) || se.Code != code {
		t.Errorf("Get: %v, want ErrStale with the status %d", err, code)
	}
	if waited := time.Since(start); waited != 0 {
		t.Errorf("Get waited %v during back-off", waited)
	}
	if got := r.Status().Failures; got != asked {
		t.Errorf("Get made the origin be asked during back-off")
	}
}

// TestEqualTokenDoesNotLiveLonger: some origins repeat a token with its full life until
// they make a new one.
func TestEqualTokenDoesNotLiveLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const life, changes = time.Hour, 90 * time.Minute
		var origin *everfreshtest.Origin
		origin = everfreshtest.NewOrigin(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Cache-Control", "max-age=86400")
			name := "old"
			if origin.Now() >= changes {
				name = "new"
			}
			boundAnswer(w, name, life)
		})
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithRefreshWindow(1), origin.Option())
		r := everfreshtest.Register(t, c, "https://a.test/", boundDecode)
		synctest.Wait()
		first := r.Snapshot()
		origin.SleepUntil(life - 30*time.Second)
		snap := r.Snapshot()
		if snap.Version != first.Version || !snap.CheckedAt.After(first.CheckedAt) {
			t.Errorf("after a refresh: version %d, want %d; checked at %v", snap.Version, first.Version, snap.CheckedAt)
		}
		if !snap.ServeUntil.Equal(origin.Start.Add(life)) || !snap.Value.end.Equal(first.Value.end) {
			t.Errorf("served until %v, ends at %v", snap.ServeUntil, snap.Value.end)
		}
		origin.SleepUntil(life - 1)
		if _, ok := r.Peek(); !ok {
			t.Error("not served until its end")
		}
		if n := len(origin.Times("/")); n > 15 {
			t.Errorf("%d fetches of a token that does not change", n)
		}
		origin.SleepUntil(life)
		if _, ok := r.Peek(); ok {
			t.Error("served after its end")
		}
		origin.SleepUntil(changes - 1)
		if _, err := r.Get(t.Context()); !errors.Is(err, everfresh.ErrStale) {
			t.Errorf("Get: %v, want ErrStale", err)
		}
		origin.SleepUntil(changes + 5*time.Minute)
		if v, ok := r.Peek(); !ok || v.text != "new" {
			t.Errorf("Peek = %v, %v, want the new token", v, ok)
		}
		if snap := r.Snapshot(); snap.Version <= first.Version {
			t.Errorf("the new token has version %d, the old one had %d", snap.Version, first.Version)
		}
	})
}

// TestEqualTokenMayLiveShorter: an origin that repeats the token and says that less is
// left is believed.
func TestEqualTokenMayLiveShorter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		origin := everfreshtest.NewOrigin(func(w http.ResponseWriter, _ *http.Request) {
			life := time.Hour
			if n.Add(1) > 1 {
				life = 10 * time.Minute
			}
			boundAnswer(w, "token", life)
		})
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithRefreshInterval(20*time.Minute), origin.Option())
		r := everfreshtest.Register(t, c, "https://a.test/", boundDecode)
		origin.SleepUntil(20 * time.Minute)
		if snap := r.Snapshot(); !snap.ServeUntil.Equal(origin.Start.Add(30 * time.Minute)) {
			t.Errorf("served until %v, want 30 min after the start", snap.ServeUntil)
		}
	})
}

func TestTokenThatExpiredOnTheWayIsAnError(t *testing.T) {
	for _, life := range []time.Duration{0, -time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			origin := everfreshtest.NewOrigin(boundMinter(life, "Cache-Control", "max-age=86400"))
			c := everfreshtest.NewCache(t, everfresh.WithJitter(0), origin.Option())
			r := everfreshtest.Register(t, c, "https://a.test/", boundDecode)
			_, err := r.Get(t.Context())
			if !errors.Is(err, everfresh.ErrNotReady) || errors.Is(err, everfresh.ErrStale) {
				t.Errorf("Get: %v", err)
			}
			if _, ok := r.Peek(); ok {
				t.Error("served")
			}
			origin.SleepUntil(time.Minute)
			everfreshtest.WantTimes(t, "back-off", origin.Times("/"), schedOutage(time.Minute, 0,
				func(time.Duration) (time.Duration, bool) { return 0, true }))
		})
	}
}

// TestExpiredAnswerKeepsALivingToken: it is a failure as any other.
func TestExpiredAnswerKeepsALivingToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		origin := everfreshtest.NewOrigin(func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) == 1 {
				boundAnswer(w, "good", time.Hour)
				return
			}
			boundAnswer(w, "dead", -time.Second)
		})
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), origin.Option())
		r := everfreshtest.Register(t, c, "https://a.test/", boundDecode)
		synctest.Wait()
		if err := r.Refresh(t.Context()); err == nil {
			t.Error("Refresh took an expired token")
		}
		if v, ok := r.Peek(); !ok || v.text != "good" {
			t.Errorf("Peek = %v, %v", v, ok)
		}
	})
}

// TestTokenConfirmedTooLate: a 304 that comes after the token's end confirms nothing
// that may be served.
func TestTokenConfirmedTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := everfreshtest.NewOrigin(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"1"`)
			if r.Header.Get("If-None-Match") != "" {
				time.Sleep(2 * time.Minute)
				w.WriteHeader(http.StatusNotModified)
				return
			}
			boundAnswer(w, "token", time.Hour)
		})
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithRefreshInterval(10*schedDay),
			everfresh.WithTimeout(10*time.Minute), origin.Option())
		r := everfreshtest.Register(t, c, "https://a.test/", boundDecode)
		synctest.Wait()
		first := r.Snapshot()
		// It is asked for again at 59 min, and the 304 comes at 61.
		origin.SleepUntil(time.Hour)
		if _, ok := r.Peek(); ok {
			t.Error("served after its end, while a refresh is under way")
		}
		origin.SleepUntil(61 * time.Minute)
		if _, ok := r.Peek(); ok {
			t.Error("served after its end, by a 304")
		}
		if st := r.Status(); st.Failures != 1 {
			t.Errorf("%d failures, want 1", st.Failures)
		}
		// The next request is not conditional, as there is nothing to confirm; it brings
		// equal bytes, which are past their end.
		origin.SleepUntil(62 * time.Minute)
		if _, ok := r.Peek(); ok {
			t.Error("equal bytes came back to life")
		}
		if got := first.ServeUntil; !got.Equal(origin.Start.Add(time.Hour)) {
			t.Errorf("served until %v", got)
		}
	})
}

// TestTokenConfirmedInTime: a 304 does not extend a token's life, either.
func TestTokenConfirmedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := everfreshtest.NewOrigin(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"1"`)
			w.Header().Set("Cache-Control", "max-age=1200")
			if r.Header.Get("If-None-Match") != "" {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			boundAnswer(w, "token", time.Hour)
		})
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithRefreshWindow(1), everfresh.WithRefreshInterval(20*time.Minute), origin.Option())
		r := everfreshtest.Register(t, c, "https://a.test/", boundDecode)
		origin.SleepUntil(50 * time.Minute)
		snap := r.Snapshot()
		if !snap.CheckedAt.Equal(origin.Start.Add(40*time.Minute)) || !snap.ServeUntil.Equal(origin.Start.Add(time.Hour)) {
			t.Errorf("checked at %v, served until %v", snap.CheckedAt, snap.ServeUntil)
		}
		origin.SleepUntil(time.Hour)
		if _, ok := r.Peek(); ok {
			t.Error("served after its end")
		}
	})
}

// TestMaxStale: served until exactly then, then ErrStale with the cause, and back when
// the origin is.
func TestMaxStale(t *testing.T) {
	const ends, back = 70 * time.Minute, 5 * time.Hour
	synctest.Test(t, func(t *testing.T) {
		told := new(everfreshtest.Recorder)
		var origin *everfreshtest.Origin
		origin = everfreshtest.NewOrigin(func(w http.ResponseWriter, _ *http.Request) {
			if now := origin.Now(); now > 0 && now < back {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			w.Header().Set("ETag", `"1"`)
			w.Header().Set("Cache-Control", "max-age=3600")
			_, _ = w.Write([]byte("x"))
		})
		c := everfreshtest.NewCache(t, append(told.Options(), everfresh.WithJitter(0),
			everfresh.WithMaxStale(10*time.Minute), origin.Option())...)
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
		synctest.Wait()
		first := r.Snapshot()
		if want := origin.Start.Add(ends); !first.ServeUntil.Equal(want) {
			t.Errorf("served until %v, want %v", first.ServeUntil, want)
		}
		origin.SleepUntil(ends - 1)
		if v, err := r.Get(t.Context()); string(v) != "x" || err != nil {
			t.Errorf("just before: Get = %q, %v", v, err)
		}
		if n := len(told.Events("stale")); n != 1 {
			t.Errorf("%d events say that it is stale, want 1", n)
		}
		failed := len(told.Errors())
		origin.SleepUntil(ends)
		boundCheckStale(t, r, http.StatusServiceUnavailable)
		if errs := told.Errors(); len(errs) != failed+1 || !errors.Is(errs[failed], everfresh.ErrStale) {
			t.Errorf("the sink got %v of the end", errs[failed:])
		}
		if evs := told.Events("expired"); len(evs) != 1 || evs[0].Version != first.Version || !evs[0].Time.Equal(origin.Start.Add(ends)) {
			t.Errorf("events of the end: %+v", evs)
		}
		origin.SleepUntil(back - time.Second)
		boundCheckStale(t, r, http.StatusServiceUnavailable)
		if st := r.Status(); st.Ready || !errors.Is(st.Err, everfresh.ErrStale) {
			t.Errorf("ready %v, error %v", st.Ready, st.Err)
		}
		want := schedOutage(schedDay, time.Hour, func(at time.Duration) (time.Duration, bool) { return 0, at > 0 && at < back })
		recovered := want[slices.IndexFunc(want, func(at time.Duration) bool { return at >= back })]
		origin.SleepUntil(recovered)
		snap := r.Snapshot()
		if snap == nil || snap.Version != first.Version || snap.Err != nil {
			t.Fatalf("back with %+v, want version %d", snap, first.Version)
		}
		if want := origin.Start.Add(recovered + ends); !snap.ServeUntil.Equal(want) {
			t.Errorf("served until %v, want %v", snap.ServeUntil, want)
		}
		origin.SleepUntil(schedDay)
		everfreshtest.WantTimes(t, "stale", origin.Times("/"), want)
	})
}

// TestTokenMayBeStaleBeforeItsEnd: of two bounds the earlier one counts.
func TestTokenMayBeStaleBeforeItsEnd(t *testing.T) {
	for _, tt := range []struct{ maxStale, ends time.Duration }{
		{5 * time.Minute, 25 * time.Minute},
		{10 * time.Hour, time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) {
			origin, dead := clockTokenOrigin("Expires-In", "3600000")
			c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithMaxStale(tt.maxStale),
				everfresh.WithRefreshInterval(20*time.Minute), origin.Option())
			r := everfreshtest.Register(t, c, "https://a.test/", boundDecode)
			synctest.Wait()
			dead.Store(true)
			origin.SleepUntil(tt.ends - 1)
			if snap := r.Snapshot(); snap == nil || !snap.ServeUntil.Equal(origin.Start.Add(tt.ends)) {
				t.Errorf("just before %v: %+v", tt.ends, snap)
			}
			origin.SleepUntil(tt.ends)
			if _, ok := r.Peek(); ok {
				t.Errorf("served after %v", tt.ends)
			}
		})
	}
}

// TestStaleIsForgotten: a failure after a recovery is a plain one again.
func TestStaleIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin, dead := clockTokenOrigin("Cache-Control", "max-age=3600")
		told := new(everfreshtest.Recorder)
		c := everfreshtest.NewCache(t, append(told.Options(), everfresh.WithJitter(0), everfresh.WithMaxStale(time.Minute), origin.Option())...)
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
		synctest.Wait()
		dead.Store(true)
		origin.SleepUntil(62 * time.Minute)
		if err := r.Refresh(t.Context()); !errors.Is(err, everfresh.ErrStale) {
			t.Errorf("Refresh: %v, want ErrStale", err)
		}
		dead.Store(false)
		everfreshtest.Refresh(t, r)
		dead.Store(true)
		synctest.Wait()
		before := len(told.Errors())
		err := r.Refresh(t.Context())
		if err == nil || errors.Is(err, everfresh.ErrStale) || errors.Is(err, everfresh.ErrNotReady) {
			t.Errorf("Refresh: %v, want a plain failure while the value is served", err)
		}
		if snap := r.Snapshot(); snap == nil || !errors.Is(snap.Err, err) {
			t.Errorf("snapshot %+v, want one that tells of the failure", snap)
		}
		synctest.Wait()
		if errs := told.Errors(); len(errs) != before+1 || !errors.Is(errs[before], err) {
			t.Errorf("the sink got %v, want the error that the caller got", errs[before:])
		}
	})
}

// TestMaxStaleWithAHangingOrigin: nothing has failed yet when the value's time is over.
func TestMaxStaleWithAHangingOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		origin := everfreshtest.NewOrigin(func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) > 1 {
				<-r.Context().Done()
				return
			}
			w.Header().Set("Cache-Control", "max-age=3600")
			_, _ = w.Write([]byte("x"))
		})
		told := new(everfreshtest.Recorder)
		c := everfreshtest.NewCache(t, append(told.Options(), everfresh.WithJitter(0), everfresh.WithMaxStale(10*time.Second), origin.Option())...)
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
		wantServedUntil(t, origin, time.Hour+10*time.Second, r)
		if errs := told.Errors(); len(errs) != 1 || !errors.Is(errs[0], everfresh.ErrStale) {
			t.Errorf("the sink got %v", errs)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Get(ctx); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, everfresh.ErrStale) {
			t.Errorf("Get: %v, want ctx's error and ErrStale", err)
		}
		_, err := r.Get(t.Context()) // waits for the outcome of the fetch
		if !errors.Is(err, everfresh.ErrStale) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Get: %v, want ErrStale and the timeout", err)
		}
		if now := origin.Now(); now != time.Hour+30*time.Second {
			t.Errorf("Get returned at %v, want when the fetch timed out", now)
		}
	})
}

// TestConfirmedAfterItWasWithdrawn: a 304 that comes after MaxStale brings the value
// back.
func TestConfirmedAfterItWasWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := everfreshtest.NewOrigin(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"1"`)
			w.Header().Set("Cache-Control", "max-age=3600")
			if r.Header.Get("If-None-Match") == `"1"` {
				time.Sleep(5 * time.Minute)
				w.WriteHeader(http.StatusNotModified)
				return
			}
			_, _ = w.Write([]byte("x"))
		})
		var decoded atomic.Int64
		decode := func(context.Context, *http.Response) (int64, error) { return decoded.Add(1), nil }
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithMaxStale(time.Minute),
			everfresh.WithTimeout(10*time.Minute), origin.Option())
		r := everfreshtest.Register(t, c, "https://a.test/", decode)
		synctest.Wait()
		first := r.Snapshot()
		wantServedUntil(t, origin, 61*time.Minute, r)
		v, err := r.Get(t.Context())
		if v != 1 || err != nil || origin.Now() != 65*time.Minute {
			t.Errorf("%v: Get = %d, %v; want the value when the 304 comes, at 65 min", origin.Now(), v, err)
		}
		if snap := r.Snapshot(); snap.Version != first.Version || decoded.Load() != 1 {
			t.Errorf("version %d, decoded %d times; want version %d, once", snap.Version, decoded.Load(), first.Version)
		}
		if st := r.Status(); st.Err != nil || st.Failures != 0 {
			t.Errorf("error %v, %d failures afterwards", st.Err, st.Failures)
		}
	})
}

// TestBoundsHoldInAWideWindow: the window is for refreshes; what ends, ends then.
func TestBoundsHoldInAWideWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dead atomic.Bool
		origin := everfreshtest.NewOrigin(boundMinter(90*time.Second, "Cache-Control", "max-age=3600"))
		origin.Down = func() error {
			if dead.Load() {
				return everfreshtest.ErrRefused
			}
			return nil
		}
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), everfresh.WithRefreshWindow(time.Minute), origin.Option())
		r := everfreshtest.Register(t, c, "https://a.test/token", boundDecode)
		synctest.Wait()
		dead.Store(true)
		origin.SleepUntil(90*time.Second - 1) // it was refreshed, in vain, at 81 s
		if _, ok := r.Peek(); !ok {
			t.Error("not served until its end")
		}
		origin.SleepUntil(90 * time.Second)
		if _, ok := r.Peek(); ok {
			t.Error("served after its end")
		}
	})
}
