package everfresh_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
	"github.com/everfresh-go/everfresh/store"
)

// The faults of a store.

// recordName is the name of the record of key. It is part of the format: other versions
// of the module look for records under the same name.
func recordName(key string) string {
	sum := sha256.Sum256([]byte("everfresh/1\x00" + key))
	return hex.EncodeToString(sum[:])
}

// put stores rec as another process would have.
func putRecord(t testing.TB, s store.Storage, rec *everfresh.Record) {
	t.Helper()
	putBytes(t, s, recordName(rec.Key), recordBytes(t, rec))
}

func putBytes(t testing.TB, s store.Storage, name string, b []byte) {
	t.Helper()
	if _, err := s.Store(t.Context(), name, b, store.Any()); err != nil {
		t.Fatal(err)
	}
}

// recordOf returns what is stored for key, or nil.
func recordOf(t testing.TB, s store.Storage, key string) *everfresh.Record {
	t.Helper()
	item, err := s.Load(context.WithoutCancel(t.Context()), recordName(key))
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	rec := new(everfresh.Record)
	if err := rec.UnmarshalBinary(item.Value); err != nil {
		t.Fatal(err)
	}
	return rec
}

const originURL = "https://origin.test/data"

// agedRecord is a record that was fetched age ago and was fresh for life, as its header
// says.
func agedRecord(key, body string, age, life time.Duration) *everfresh.Record {
	at := time.Now().Add(-age).Round(0)
	return &everfresh.Record{
		Key: key,
		Info: everfresh.Info{
			Version: uint64(at.UnixNano()), FetchedAt: at,
			CheckedAt: at, FreshUntil: at.Add(life),
		},
		Status: http.StatusOK, Body: []byte(body),
		Header: http.Header{"Etag": {`"` + body + `"`}, "Cache-Control": {fmt.Sprintf("max-age=%d", life/time.Second)}},
	}
}

// getValue gets the value and reports how long that took.
func getValue(t testing.TB, r *everfresh.Resource[[]byte]) (string, time.Duration) {
	t.Helper()
	start := time.Now()
	v, err := r.Get(t.Context())
	if err != nil {
		t.Fatalf("Get after %v: %v", time.Since(start), err)
	}
	return string(v), time.Since(start)
}

// storageErrors returns the storage errors that l was told, and checks that sink and
// observer were told the same.
func storageErrors(t testing.TB, l *everfreshtest.Recorder) (errs []*everfresh.RefreshError) {
	t.Helper()
	synctest.Wait()
	for _, ev := range l.Events("storage") {
		var re *everfresh.RefreshError
		if !errors.As(ev.Err, &re) {
			t.Fatalf("storage event with %v", ev.Err)
		}
		errs = append(errs, re)
	}
	sunk := 0
	for _, err := range l.Errors() {
		var re *everfresh.RefreshError
		if errors.As(err, &re) && (re.Op == "load" || re.Op == "store") {
			sunk++
		}
	}
	if sunk != len(errs) {
		t.Errorf("sink was told of %d storage errors, observer of %d", sunk, len(errs))
	}
	return errs
}

func TestLoadServesFreshTyped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		o := everfreshtest.NewBody("body", "Cache-Control", "max-age=3600", "Etag", `"e"`, "Last-Modified", "Mon, 24 Nov 2025 15:00:00 GMT")
		opts := []everfresh.CacheOption{everfresh.WithStorage(mem), everfresh.WithJitter(0), o.Option()}
		start := time.Now()

		c := everfreshtest.NewCache(t, opts...)
		r := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
		first, _ := getValue(t, r)
		before := r.Status()
		everfreshtest.Close(t, c)
		time.Sleep(10 * time.Minute)

		r = everfreshtest.Register(t, everfreshtest.NewCache(t, opts...), originURL, everfresh.Bytes())
		v, took := getValue(t, r)
		if v != first || took != 0 {
			t.Errorf("Get = %q after %v, want %q at once", v, took, first)
		}
		synctest.Wait()
		if n := len(o.Requests()); n != 1 {
			t.Errorf("%d requests, want the first one only", n)
		}
		after := r.Status()
		if !after.Next.Equal(start.Add(time.Hour)) {
			t.Errorf("next refresh in %v, want in 50m", time.Until(after.Next))
		}
		after.Freshness, after.Lifetime = before.Freshness, before.Lifetime // see TestLoadKeepsTheRule
		before.Next, after.Next = time.Time{}, time.Time{}
		if fmt.Sprint(before) != fmt.Sprint(after) {
			t.Errorf("status before the restart\n%+v\nafter\n%+v", before, after)
		}

		time.Sleep(50*time.Minute + time.Second)
		asked := o.Requests()
		if len(asked) != 2 || !asked[1].At.Equal(start.Add(time.Hour)) {
			t.Fatalf("%d requests, want a second one after an hour", len(asked))
		}
		if h := asked[1].Header; h.Get("If-None-Match") != `"e"` || h.Get("If-Modified-Since") != "Mon, 24 Nov 2025 15:00:00 GMT" {
			t.Errorf("the first request after the restart has header %v", h)
		}
		snap := r.Snapshot()
		if snap.Version != before.Version || !snap.FetchedAt.Equal(start) || !snap.CheckedAt.Equal(start.Add(time.Hour)) {
			t.Errorf("after a 304: version %d, was %d; %+v", snap.Version, before.Version, snap)
		}
		if rec := recordOf(t, mem, originURL); string(rec.Body) != "body" || !rec.CheckedAt.Equal(snap.CheckedAt) || rec.Version != snap.Version {
			t.Errorf("stored after a 304: %v", rec)
		}
	})
}

func TestLoadServesFreshUntyped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		o := everfreshtest.NewBody("new")
		putRecord(t, mem, agedRecord(originURL, "old", 10*time.Minute, time.Hour))
		c := everfreshtest.NewCache(t, everfresh.WithStorage(mem), everfresh.WithJitter(0), o.Option())
		if err := c.Register(originURL, everfresh.WithTransformer(everfresh.TransformFunc(
			func(url string, resp *http.Response) (any, error) {
				b, err := io.ReadAll(resp.Body)
				return url + " " + string(b), err
			}))); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if v, err := c.Get(t.Context(), originURL); v != originURL+" old" || err != nil || time.Since(start) != 0 {
			t.Errorf("Get = %v, %v after %v", v, err, time.Since(start))
		}
		time.Sleep(50*time.Minute - 1)
		if n := len(o.Requests()); n != 0 {
			t.Errorf("%d requests while the record was fresh", n)
		}
		time.Sleep(time.Second)
		if v, err := c.Get(t.Context(), originURL); v != originURL+" new" || err != nil {
			t.Errorf("Get = %v, %v after the refresh", v, err)
		}
	})
}

// TestLoadOfLazyResource: the untyped API, and a typed one without prefetch, load
// the record before anybody asks, but do not fetch.
func TestLoadOfLazyResource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		o := everfreshtest.NewBody("new")
		putRecord(t, mem, agedRecord("stored", "old", time.Minute, time.Hour))
		c := everfreshtest.NewCache(t, everfresh.WithStorage(mem), o.Option(), everfresh.WithPrefetch(false))
		stored := everfreshtest.Register(t, c, originURL, everfresh.Bytes(), everfresh.WithKey("stored"))
		other := everfreshtest.Register(t, c, originURL, everfresh.Bytes(), everfresh.WithKey("other"))
		time.Sleep(time.Minute)
		if v, ok := stored.Peek(); string(v) != "old" || !ok {
			t.Errorf("Peek = %q, %t", v, ok)
		}
		if st := other.Status(); st.Ready || st.Fetching || len(o.Requests()) != 0 {
			t.Errorf("%d requests, status %+v; want none before the first Get", len(o.Requests()), st)
		}
		if v, _ := getValue(t, other); v != "new" {
			t.Errorf("Get = %q", v)
		}
	})
}

// TestLoadKeepsNextRefresh: the next refresh after a restart is the one that was
// planned before it, whatever decided that, and however often there is a restart.
func TestLoadKeepsNextRefresh(t *testing.T) {
	const date = "Sat, 01 Jan 2000 00:00:00 GMT" // when the bubble begins
	for name, tt := range map[string]struct {
		header      []string
		confirmed   []string // header of a 304 that comes a minute later, if any
		option      everfresh.Option
		delay, next time.Duration // of the answer; from its receipt, or the 304's, to the next refresh
	}{
		"max-age":          {header: []string{"Cache-Control", "max-age=3600"}, next: time.Hour},
		"age":              {header: []string{"Cache-Control", "max-age=3600", "Age", "600"}, next: 50 * time.Minute},
		"expires":          {header: []string{"Expires", "Sat, 01 Jan 2000 02:00:00 GMT", "Date", date}, next: 2 * time.Hour},
		"nothing":          {next: 15 * time.Minute},
		"no-store":         {header: []string{"Cache-Control", "no-store, max-age=3600"}, next: 15 * time.Minute},
		"more than enough": {header: []string{"Cache-Control", "max-age=31536000"}, next: 30 * 24 * time.Hour},
		"refresh ahead": {
			header: []string{"Cache-Control", "max-age=3600"}, option: everfresh.WithRefreshAhead(5 * time.Minute), next: 55 * time.Minute,
		},
		"interval": {
			header: []string{"Cache-Control", "max-age=3600"}, option: everfresh.WithRefreshInterval(time.Minute), next: time.Minute,
		},
		"slow answer": {header: []string{"Cache-Control", "max-age=3600"}, delay: 5 * time.Second, next: time.Hour - 5*time.Second},
		"304 that says the same": {
			header:    []string{"Cache-Control", "max-age=3600", "Date", date},
			confirmed: []string{"Cache-Control", "max-age=3600", "Date", "Sat, 01 Jan 2000 00:01:00 GMT"}, next: time.Hour,
		},
		"304 that says more": {
			header:    []string{"Cache-Control", "max-age=3600", "Date", date},
			confirmed: []string{"Cache-Control", "max-age=7200", "Date", "Sat, 01 Jan 2000 00:01:00 GMT"}, next: 2 * time.Hour,
		},
		"304 that says nothing":             {header: []string{"Cache-Control", "max-age=3600"}, confirmed: []string{"X", "y"}, next: time.Hour},
		"304 without the age of the 200":    {header: []string{"Cache-Control", "max-age=3600", "Age", "600"}, confirmed: []string{"X", "y"}, next: time.Hour},
		"304 without the date of the 200":   {header: []string{"Cache-Control", "max-age=3600", "Date", date}, confirmed: []string{"X", "y"}, next: time.Hour},
		"304 with an age, 200 without":      {header: []string{"Cache-Control", "max-age=3600"}, confirmed: []string{"Age", "600"}, next: 50 * time.Minute},
		"304 with max-age, 200 with expiry": {header: []string{"Expires", "0"}, confirmed: []string{"Cache-Control", "max-age=7200"}, next: 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := everfreshtest.NewBody("body", append(tt.header, "Etag", `"e"`)...)
				o.Delay = tt.delay
				opts := []everfresh.CacheOption{everfresh.WithStorage(new(store.Memory)), everfresh.WithJitter(0), o.Option()}
				if tt.option != nil {
					opts = append(opts, tt.option)
				}
				var want time.Time
				for run := range 4 {
					c := everfreshtest.NewCache(t, opts...)
					r := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
					getValue(t, r)
					if run == 0 && tt.confirmed != nil {
						time.Sleep(time.Minute)
						o.Set(func(o *everfreshtest.Origin) {
							o.Header = everfreshtest.NewBody("", append(tt.confirmed, "Etag", `"e"`)...).Header
						})
						everfreshtest.Refresh(t, r)
					}
					if run == 0 {
						want = time.Now().Add(tt.next)
					}
					if got := r.Status().Next; !got.Equal(want) {
						t.Errorf("run %d: next refresh %v later than it should be", run, got.Sub(want))
					}
					everfreshtest.Close(t, c)
					time.Sleep(10 * time.Second)
				}
			})
		})
	}
}

// TestLoadKeepsResourcesApart: what jitter set apart before a restart must not be
// refreshed in one instant after it.
func TestLoadKeepsResourcesApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 200
		mem := new(store.Memory)
		o := everfreshtest.NewBody("body", "Cache-Control", "max-age=36000")
		run := func() map[time.Time]int {
			c := everfreshtest.NewCache(t, everfresh.WithStorage(mem), o.Option())
			for i := range n {
				everfreshtest.Register(t, c, originURL+strconv.Itoa(i), everfresh.Bytes())
			}
			everfreshtest.Ready(t, c)
			due := map[time.Time]int{}
			for st := range c.All() {
				due[st.Next.Round(time.Second)]++
			}
			everfreshtest.Close(t, c)
			return due
		}
		before, after := run(), run()
		if len(before) < n/2 {
			t.Fatalf("before the restart: %d resources are due in %d different seconds", n, len(before))
		}
		if len(after) < n/2 {
			t.Errorf("after the restart: %d resources are due in %d different seconds, before it in %d", n, len(after), len(before))
		}
		if len(o.Requests()) != n {
			t.Errorf("%d requests, want %d", len(o.Requests()), n)
		}
	})
}

// TestLoadServesStaleAtOnce and spreads the refreshes over a tenth of the interval,
// at most 30 s.
func TestLoadServesStaleAtOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		interval, spread time.Duration
		jitter           float64
	}{
		"long interval":  {time.Hour, 30 * time.Second, 0.05},
		"short interval": {100 * time.Second, 10 * time.Second, 0.05},
		"no jitter":      {time.Hour, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 200
				mem := new(store.Memory)
				o := everfreshtest.NewBody("new", "Cache-Control", "max-age=1000000")
				o.Delay = time.Nanosecond // so that the old value can be seen
				for i := range n {
					putRecord(t, mem, agedRecord(strconv.Itoa(i), "old", tt.interval+time.Minute, tt.interval))
				}
				start := time.Now()
				c := everfreshtest.NewCache(t, everfresh.WithStorage(mem), o.Option(), everfresh.WithJitter(tt.jitter),
					everfresh.WithMinRefreshInterval(time.Second), everfresh.WithMaxPerHost(n), everfresh.WithWorkers(n))
				for i := range n {
					r := everfreshtest.Register(t, c, originURL, everfresh.Bytes(), everfresh.WithKey(strconv.Itoa(i)))
					if v, took := getValue(t, r); v != "old" || took != 0 {
						t.Fatalf("Get = %q after %v, want the stored value at once", v, took)
					}
				}
				time.Sleep(tt.spread + time.Second)
				asked := o.Requests()
				if len(asked) != n {
					t.Fatalf("%d requests within %v, want %d", len(asked), tt.spread, n)
				}
				// The refresh window lets deadlines start together, up to 10 ms late.
				first, last := asked[0].At.Sub(start), asked[n-1].At.Sub(start)
				if last > tt.spread+20*time.Millisecond || last-first < tt.spread/2 {
					t.Errorf("requests from %v to %v, want them spread over %v", first, last, tt.spread)
				}
			})
		})
	}
}

// TestLoadPastServeUntil: the bound of the record holds, also if the program that
// stored it was told one and this one is not.
func TestLoadPastServeUntil(t *testing.T) {
	for name, left := range map[string]time.Duration{"at the end": 0, "long after": -time.Hour, "before": time.Minute} {
		t.Run(name, func(t *testing.T) { loadPastServeUntil(t, left, time.Hour) })
		t.Run(name+", without a limit", func(t *testing.T) { loadPastServeUntil(t, left, 0) })
	}
}

func loadPastServeUntil(t *testing.T, left, maxStale time.Duration) {
	const moment = time.Nanosecond
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		rec := agedRecord(originURL, "old", 2*time.Hour-left, time.Hour)
		rec.ServeUntil = rec.FreshUntil.Add(time.Hour)
		putRecord(t, mem, rec)
		o := everfreshtest.NewBody("new")
		o.Down, o.Delay = everfreshtest.Refuse, time.Second
		c := everfreshtest.NewCache(t, everfresh.WithStorage(mem), o.Option(), everfresh.WithMaxStale(maxStale), everfresh.WithJitter(0))
		r := everfreshtest.Register(t, c, originURL, everfresh.Bytes(), everfresh.WithPrefetch(false))
		synctest.Wait()
		if v, ok := r.Peek(); ok != (left > 0) {
			t.Errorf("Peek = %q, %t", v, ok)
		}
		if left > 0 {
			time.Sleep(left - moment)
			if v, ok := r.Peek(); string(v) != "old" || !ok {
				t.Errorf("Peek = %q, %t just before the end", v, ok)
			}
			time.Sleep(moment)
			synctest.Wait()
		}
		if v, ok := r.Peek(); ok {
			t.Errorf("Peek = %q at the end", v)
		}
		if v, err := r.Get(t.Context()); !errors.Is(err, everfresh.ErrNotReady) {
			t.Errorf("Get = %q, %v, want ErrNotReady", v, err)
		}
		o.Set(func(o *everfreshtest.Origin) { o.Down = nil })
		time.Sleep(10 * time.Minute)
		if v, _ := getValue(t, r); v != "new" {
			t.Errorf("Get = %q", v)
		}
	})
}

// TestLoadEndsValueDuringRefresh: the end of a stored value is kept also while the
// refresh hangs that a caller asked for during the load.
func TestLoadEndsValueDuringRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := everfreshtest.NewHooked()
		rec := agedRecord(originURL, "old", 2*time.Hour-5*time.Second, time.Hour)
		rec.ServeUntil = rec.FreshUntil.Add(time.Hour)
		putRecord(t, s.Storage, rec)
		s.OnLoad(everfreshtest.After(100 * time.Millisecond))
		o := everfreshtest.NewBody("new")
		o.Delay = 20 * time.Second
		c := everfreshtest.NewCache(t, everfresh.WithStorage(s), o.Option(), everfresh.WithMaxStale(time.Hour))
		r := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := r.Refresh(t.Context()); err != nil {
				t.Errorf("Refresh: %v", err)
			}
		})
		time.Sleep(time.Second)
		if v, ok := r.Peek(); string(v) != "old" || !ok {
			t.Errorf("Peek = %q, %t before its end", v, ok)
		}
		time.Sleep(5 * time.Second)
		if v, ok := r.Peek(); ok {
			t.Errorf("Peek = %q, past its end", v)
		}
		wg.Wait()
	})
}

// A loadToken says itself when it ends.
type loadToken struct {
	Text string
	End  time.Time
}

func (w loadToken) ExpiresAt() time.Time { return w.End }

// loadTokens decodes "text seconds", the seconds counting from now. A decoder that is
// careless in this way gives a stored body a new end each time.
func loadTokens(_ context.Context, resp *http.Response) (loadToken, error) {
	var w loadToken
	var seconds int64
	_, err := fmt.Fscan(resp.Body, &w.Text, &seconds)
	w.End = time.Now().Add(time.Duration(seconds) * time.Second)
	return w, err
}

// TestLoadConfirmsTokenToItsEnd: a 304 after the restart confirms the stored token,
// but does not lengthen its life.
func TestLoadConfirmsTokenToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		o := everfreshtest.NewBody("tok 7200", "Etag", `"1"`)
		end := time.Now().Add(2 * time.Hour)
		for range 2 {
			c := everfreshtest.NewCache(t, everfresh.WithStorage(mem), o.Option(), everfresh.WithJitter(0))
			r := everfreshtest.Register(t, c, originURL, loadTokens)
			if _, err := r.Get(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
			everfreshtest.Refresh(t, r)
			if snap := r.Snapshot(); !snap.ServeUntil.Equal(end) {
				t.Errorf("served until %v, want %v", snap.ServeUntil, end)
			}
			everfreshtest.Close(t, c)
		}
		if rec := recordOf(t, mem, originURL); !rec.ExpiresAt.Equal(end) {
			t.Errorf("stored end %v, want %v", rec.ExpiresAt, end)
		}
		if n := len(o.Requests()); n != 3 {
			t.Errorf("%d requests, want one for the value and one for each refresh", n)
		}
	})
}

// TestLoadGivesTokenNoNewLife restarts a program three times in the life of a
// token, whose origin is down.
func TestLoadGivesTokenNoNewLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		o := everfreshtest.NewBody("tok 7200")
		end := time.Now().Add(2 * time.Hour)
		var first everfresh.Snapshot[loadToken]
		for i := range 3 {
			c := everfreshtest.NewCache(t, everfresh.WithStorage(mem), o.Option(), everfresh.WithJitter(0))
			r := everfreshtest.Register(t, c, originURL, loadTokens)
			v, err := r.Get(t.Context())
			if v.Text != "tok" || err != nil {
				t.Fatalf("run %d: Get = %v, %v", i, v, err)
			}
			o.Set(func(o *everfreshtest.Origin) { o.Down = everfreshtest.Refuse })
			snap := r.Snapshot()
			if i == 0 {
				first = *snap
			}
			if !snap.ServeUntil.Equal(end) || !snap.FreshUntil.Equal(first.FreshUntil) || snap.Version != first.Version {
				t.Errorf("run %d: served until %v, want %v: %+v", i, snap.ServeUntil, end, snap)
			}
			if rec := recordOf(t, mem, originURL); i > 0 && !rec.ExpiresAt.Equal(end) {
				t.Errorf("run %d: stored end %v, want %v", i, rec.ExpiresAt, end)
			}
			if i < 2 {
				time.Sleep(30 * time.Minute)
				everfreshtest.Close(t, c)
				continue
			}
			time.Sleep(time.Until(end) - time.Nanosecond)
			if _, ok := r.Peek(); !ok {
				t.Error("withdrawn before its end")
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if v, ok := r.Peek(); ok {
				t.Errorf("Peek = %v at its end", v)
			}
		}
		// Once more, after the end: nothing to serve.
		r := everfreshtest.Register(t, everfreshtest.NewCache(t, everfresh.WithStorage(mem), o.Option(), everfresh.WithJitter(0)), originURL, loadTokens)
		if v, err := r.Get(t.Context()); err == nil {
			t.Errorf("Get = %v past the token's end", v)
		}
	})
}

// TestLoadRefreshesTokenAhead: a token that came from the store is replaced before
// its end as one that came from the origin is.
func TestLoadRefreshesTokenAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		o := everfreshtest.NewBody("one 7200")
		end := time.Now().Add(2 * time.Hour)
		opts := []everfresh.CacheOption{everfresh.WithStorage(mem), o.Option(), everfresh.WithJitter(0)}
		c := everfreshtest.NewCache(t, opts...)
		r := everfreshtest.Register(t, c, originURL, loadTokens, everfresh.WithMinRefreshInterval(24*time.Hour))
		if _, err := r.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		if next := r.Status().Next; !next.Equal(end.Add(-time.Minute)) {
			t.Fatalf("before the restart: refresh %v before the end", end.Sub(next))
		}
		everfreshtest.Close(t, c)
		time.Sleep(time.Hour)
		o.Set(func(o *everfreshtest.Origin) { o.Body, o.Delay = "two 7200", time.Second })

		r = everfreshtest.Register(t, everfreshtest.NewCache(t, opts...), originURL, loadTokens, everfresh.WithMinRefreshInterval(24*time.Hour))
		if v, err := r.Get(t.Context()); v.Text != "one" || err != nil {
			t.Fatalf("Get = %v, %v", v, err)
		}
		if next := r.Status().Next; next.After(end.Add(-time.Minute)) {
			t.Errorf("after the restart: refresh %v before the end, want 1m0s", end.Sub(next))
		}
		time.Sleep(time.Until(end))
		synctest.Wait()
		if v, ok := r.Peek(); !ok || v.Text != "two" {
			t.Errorf("Peek = %v, %t at the end of the first token", v, ok)
		}
	})
}

// TestTokenThatNeverEnds: issuers write the year 9999 for a token without an end.
func TestTokenThatNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		o := everfreshtest.NewBody("tok")
		decode := func(context.Context, *http.Response) (loadToken, error) {
			return loadToken{"tok", time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}, nil
		}
		for run := range 2 {
			c := everfreshtest.NewCache(t, everfresh.WithStorage(mem), o.Option(), everfresh.WithJitter(0))
			r := everfreshtest.Register(t, c, originURL, decode)
			if _, err := r.Get(t.Context()); err != nil {
				t.Fatalf("run %d: %v", run, err)
			}
			o.Set(func(o *everfreshtest.Origin) { o.Down = everfreshtest.Refuse })
			time.Sleep(time.Hour)
			if _, ok := r.Peek(); !ok {
				t.Errorf("run %d: withdrawn, served until %v", run, r.Status().ServeUntil)
			}
			everfreshtest.Close(t, c)
		}
	})
}

// TestLoadKeepsVersion through a restart, a 304, a 200 with the same bytes, and the
// wall clock of another machine.
func TestLoadKeepsVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		rec := agedRecord(originURL, "same", 2*time.Hour, time.Hour)
		rec.Version = uint64(time.Now().Add(time.Hour).UnixNano()) // made by a clock that is ahead
		putRecord(t, mem, rec)
		o := everfreshtest.NewBody("same", "Cache-Control", "max-age=3600")
		c := everfreshtest.NewCache(t, everfresh.WithStorage(mem), o.Option(), everfresh.WithJitter(0))
		r := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
		getValue(t, r)
		synctest.Wait()
		if n := len(o.Requests()); n != 1 || o.Requests()[0].Header.Get("If-None-Match") != `"same"` {
			t.Fatalf("%d requests, want one with the stored validator", n)
		}
		snap := r.Snapshot()
		if snap.Version != rec.Version || !snap.CheckedAt.Equal(time.Now()) || !snap.FetchedAt.Equal(rec.FetchedAt) && !snap.FetchedAt.Equal(time.Now()) {
			t.Errorf("version %d after the same bytes, was %d: %+v", snap.Version, rec.Version, snap)
		}
		o.Set(func(o *everfreshtest.Origin) { o.Body = "changed" })
		everfreshtest.Refresh(t, r)
		if got := r.Snapshot().Version; got <= rec.Version {
			t.Errorf("version %d of the new value is not above %d", got, rec.Version)
		}
	})
}

// TestLoadTakesFutureForStale: a record that was made more than 5 minutes from now
// comes from a clock that was wrong.
func TestLoadTakesFutureForStale(t *testing.T) {
	for name, tt := range map[string]struct {
		fetched, checked time.Duration
		stale            bool
	}{
		"within the slack":           {5 * time.Minute, 5 * time.Minute, false},
		"fetched in the future":      {5*time.Minute + 1, 5*time.Minute + 1, true},
		"fetched in the far future":  {24 * 365 * time.Hour, 24 * 365 * time.Hour, true},
		"only checked in the future": {-time.Minute, 24 * 365 * time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := new(store.Memory)
				rec := agedRecord(originURL, "old", -tt.fetched, time.Hour)
				rec.CheckedAt = time.Now().Add(tt.checked)
				rec.FreshUntil = rec.CheckedAt.Add(time.Hour)
				putRecord(t, mem, rec)
				o := everfreshtest.NewBody("new", "Cache-Control", "max-age=3600")
				o.Delay = time.Second
				c := everfreshtest.NewCache(t, everfresh.WithStorage(mem), o.Option(), everfresh.WithJitter(0))
				r := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
				if v, took := getValue(t, r); v != "old" || took != 0 {
					t.Errorf("Get = %q after %v", v, took)
				}
				time.Sleep(2 * time.Second)
				if got := len(o.Requests()) > 0; got != tt.stale {
					t.Errorf("refreshed: %t, want %t", got, tt.stale)
				}
				if snap := r.Snapshot(); tt.stale && (string(snap.Value) != "new" || snap.FreshUntil.After(time.Now().Add(time.Hour))) {
					t.Errorf("after the refresh: %+v", snap)
				}
			})
		})
	}
}

// TestLoadObeysNewOptions: a record may have been stored by a program with other
// options; those of the running one decide when it is refreshed and how long served.
func TestLoadObeysNewOptions(t *testing.T) {
	for name, tt := range map[string]struct {
		opt  everfresh.Option
		next time.Duration // after the record was checked
	}{
		"interval": {everfresh.WithRefreshInterval(time.Hour), time.Hour},
		"maximum":  {everfresh.WithMaxRefreshInterval(2 * time.Hour), 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := new(store.Memory)
				rec := agedRecord(originURL, "old", time.Minute, 30*24*time.Hour)
				putRecord(t, mem, rec)
				c := everfreshtest.NewCache(t, everfresh.WithStorage(mem), everfreshtest.NewBody("new").Option(), everfresh.WithJitter(0), tt.opt)
				r := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
				getValue(t, r)
				if got := r.Status().Next.Sub(rec.CheckedAt); got > tt.next {
					t.Errorf("next refresh %v after the last, want %v", got, tt.next)
				}
			})
		})
	}
	t.Run("staleness", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			mem := new(store.Memory)
			putRecord(t, mem, agedRecord(originURL, "old", 3*time.Hour, time.Hour)) // of a program that set no limit
			o := everfreshtest.NewBody("new")
			o.Down = everfreshtest.Refuse
			c := everfreshtest.NewCache(t, everfresh.WithStorage(mem), o.Option(), everfresh.WithMaxStale(time.Hour))
			r := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
			time.Sleep(time.Second)
			if v, ok := r.Peek(); ok {
				t.Errorf("Peek = %q, 2 h stale with a limit of 1 h", v)
			}
		})
	})
}

// TestLoadKeepsTheRule: Status says what decided the freshness, and a 304 that says
// nothing of it leaves the stored fields in force (RFC 9111, section 3.2).
func TestLoadKeepsTheRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		o := everfreshtest.NewBody("body", "Cache-Control", "max-age=7200", "Age", "1200", "Etag", `"e"`)
		opts := []everfresh.CacheOption{everfresh.WithStorage(mem), everfresh.WithJitter(0), o.Option()}
		c := everfreshtest.NewCache(t, opts...)
		r := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
		getValue(t, r)
		before := r.Status()
		everfreshtest.Close(t, c)
		o.Set(func(o *everfreshtest.Origin) { o.Header = http.Header{"Etag": {`"e"`}} })

		r = everfreshtest.Register(t, everfreshtest.NewCache(t, opts...), originURL, everfresh.Bytes())
		getValue(t, r)
		if after := r.Status(); after.Freshness != before.Freshness || after.Lifetime != before.Lifetime {
			t.Errorf("freshness %q, lifetime %v; before the restart %q, %v", after.Freshness, after.Lifetime, before.Freshness, before.Lifetime)
		}
		everfreshtest.Refresh(t, r)
		if after := r.Status(); !after.Next.Equal(time.Now().Add(2 * time.Hour)) {
			t.Errorf("after a 304 without fields: next refresh in %v (%s), want in 2h", time.Until(after.Next), after.Freshness)
		}
	})
}

func TestLoadWithDecoderThatRefuses(t *testing.T) {
	refuse := errors.New("no longer understood")
	for name, fail := range map[string]func() error{
		"error": func() error { return refuse },
		"panic": func() error { panic(refuse) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := new(store.Memory)
				putRecord(t, mem, agedRecord(originURL, "old", time.Minute, time.Hour))
				o := everfreshtest.NewBody("new", "Etag", `"old"`)
				var l everfreshtest.Recorder
				c := everfreshtest.NewCache(t, append(l.Options(), everfresh.WithStorage(mem), o.Option())...)
				r := everfreshtest.Register(t, c, originURL, func(_ context.Context, resp *http.Response) ([]byte, error) {
					b, err := io.ReadAll(resp.Body)
					if string(b) == "old" {
						err = fail()
					}
					return b, err
				})
				if v, _ := getValue(t, r); v != "new" {
					t.Errorf("Get = %q", v)
				}
				errs := storageErrors(t, &l)
				if len(errs) != 1 || errs[0].Op != "load" || errs[0].Key != originURL {
					t.Fatalf("reported %v, want one load error", errs)
				}
				if name == "error" && !errors.Is(errs[0], refuse) {
					t.Errorf("reported %v, want the decoder's error", errs[0])
				}
				if h := o.Requests()[0].Header; h.Get("If-None-Match") != "" {
					t.Error("the request asks only for a change of what cannot be decoded")
				}
				if rec := recordOf(t, mem, originURL); string(rec.Body) != "new" {
					t.Errorf("stored: %q", rec.Body)
				}
			})
		})
	}
}

// TestLoadWithDamagedRecord: reported once, quarantined, fetched again, overwritten.
func TestLoadWithDamagedRecord(t *testing.T) {
	rec := func() *everfresh.Record { return agedRecord(originURL, "old", time.Minute, time.Hour) }
	for name, damage := range map[string]func(t *testing.T) []byte{
		"flipped bit": func(t *testing.T) []byte {
			b := recordBytes(t, rec())
			b[len(b)/2] ^= 4
			return b
		},
		"cut short": func(t *testing.T) []byte {
			b := recordBytes(t, rec())
			return b[:len(b)-7]
		},
		"empty":        func(*testing.T) []byte { return []byte{} },
		"not a record": func(*testing.T) []byte { return []byte(`{"json":true}`) },
		"record of another key": func(t *testing.T) []byte {
			other := rec()
			other.Key = "https://origin.test/other?secret=s3cr3t"
			return recordBytes(t, other)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := new(store.Memory)
				bad := damage(t)
				putBytes(t, mem, recordName(originURL), bad)
				o := everfreshtest.NewBody("new", "Cache-Control", "max-age=3600", "Etag", `"old"`)
				for run := range 2 {
					var l everfreshtest.Recorder
					c := everfreshtest.NewCache(t, append(l.Options(), everfresh.WithStorage(mem), o.Option())...)
					r := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
					if v, _ := getValue(t, r); v != "new" {
						t.Errorf("run %d: Get = %q", run, v)
					}
					if err := r.Refresh(t.Context()); err != nil {
						t.Error(err)
					}
					errs := storageErrors(t, &l)
					if len(errs) != 1-run {
						t.Fatalf("run %d: reported %v", run, errs)
					}
					for _, err := range errs {
						if !errors.Is(err, store.ErrCorrupt) || err.Op != "load" || strings.Contains(err.Error(), "s3cr3t") {
							t.Errorf("reported %v", err)
						}
					}
					everfreshtest.Close(t, c)
				}
				item, err := mem.Load(t.Context(), "quarantine."+recordName(originURL))
				if err != nil || !bytes.Equal(item.Value, bad) {
					t.Errorf("quarantined: %q, %v; want %q", item.Value, err, bad)
				}
				if rec := recordOf(t, mem, originURL); string(rec.Body) != "new" {
					t.Errorf("stored: %q", rec.Body)
				}
				if o.Requests()[0].Header.Get("If-None-Match") != "" {
					t.Error("validators of a damaged record were sent")
				}
			})
		})
	}
}

// TestLoadCannotQuarantine reports both failures and goes on.
func TestLoadCannotQuarantine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := everfreshtest.NewHooked()
		putBytes(t, s.Storage, recordName(originURL), []byte("damaged"))
		full := errors.New("no space left")
		s.OnStore(func(_ context.Context, key string) error {
			if strings.HasPrefix(key, "quarantine.") {
				return full
			}
			return nil
		})
		var l everfreshtest.Recorder
		c := everfreshtest.NewCache(t, append(l.Options(), everfresh.WithStorage(s), everfreshtest.NewBody("new").Option())...)
		if v, _ := getValue(t, everfreshtest.Register(t, c, originURL, everfresh.Bytes())); v != "new" {
			t.Errorf("Get = %q", v)
		}
		errs := storageErrors(t, &l)
		if len(errs) != 1 || !errors.Is(errs[0], store.ErrCorrupt) || !errors.Is(errs[0], full) {
			t.Errorf("reported %v", errs)
		}
	})
}

// TestLoadLeavesNewerRecordAlone, whatever happens to the resource: during a rolling
// upgrade it is what the newer programs of the fleet share.
func TestLoadLeavesNewerRecordAlone(t *testing.T) {
	newer := recordEnvelope([]byte(`{"schema":2,"key":"`+originURL+`","form":"unknown"}`), []byte("newer"))
	for name, act := range map[string]func(t *testing.T, r *everfresh.Resource[[]byte], o *everfreshtest.Origin){
		"fetched": func(*testing.T, *everfresh.Resource[[]byte], *everfreshtest.Origin) {},
		"confirmed": func(t *testing.T, r *everfresh.Resource[[]byte], _ *everfreshtest.Origin) {
			if err := r.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
		},
		"changed": func(t *testing.T, r *everfresh.Resource[[]byte], o *everfreshtest.Origin) {
			o.Set(func(o *everfreshtest.Origin) { o.Body = "changed"; o.Header.Set("Etag", `"2"`) })
			if err := r.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
		},
		"invalidated": func(t *testing.T, r *everfresh.Resource[[]byte], _ *everfreshtest.Origin) {
			if err := r.Invalidate(t.Context(), r.Snapshot().Version); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := new(store.Memory)
				putBytes(t, mem, recordName(originURL), newer)
				o := everfreshtest.NewBody("new", "Etag", `"1"`)
				var l everfreshtest.Recorder
				c := everfreshtest.NewCache(t, append(l.Options(), everfresh.WithStorage(mem), o.Option())...)
				r := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
				if v, _ := getValue(t, r); v != "new" {
					t.Errorf("Get = %q", v)
				}
				act(t, r, o)
				errs := storageErrors(t, &l)
				if len(errs) != 1 || errs[0].Op != "load" || errors.Is(errs[0], store.ErrCorrupt) {
					t.Errorf("reported %v, want one load error that is not ErrCorrupt", errs)
				}
				everfreshtest.Close(t, c)
				item, err := mem.Load(t.Context(), recordName(originURL))
				if err != nil || !bytes.Equal(item.Value, newer) {
					t.Errorf("stored: %q, %v; want the newer record", item.Value, err)
				}
				for item := range mem.List(t.Context(), "quarantine.") {
					t.Errorf("quarantined: %s", item.Key)
				}
			})
		})
	}
}

// TestLoadKeepsUnknownFields: a refresh rewrites the record of a newer program, and
// what only that one understands stays.
func TestLoadKeepsUnknownFields(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		header := recordHeaderOf(t, recordBytes(t, agedRecord(originURL, "old", 2*time.Hour, time.Hour)))
		header = append(bytes.TrimSuffix(header, []byte("}")), `,"rotated":{"by":"newer"}}`...)
		putBytes(t, mem, recordName(originURL), recordEnvelope(header, []byte("old")))
		o := everfreshtest.NewBody("old", "Etag", `"old"`)
		r := everfreshtest.Register(t, everfreshtest.NewCache(t, everfresh.WithStorage(mem), o.Option()), originURL, everfresh.Bytes())
		for _, body := range []string{"old", "new"} { // a 304, then a 200
			o.Set(func(o *everfreshtest.Origin) { o.Body = body; o.Header.Set("Etag", `"`+body+`"`) })
			everfreshtest.Refresh(t, r)
			synctest.Wait()
			item, err := mem.Load(t.Context(), recordName(originURL))
			if err != nil || !bytes.Contains(recordHeaderOf(t, item.Value), []byte(`"rotated":{"by":"newer"}`)) || !bytes.Contains(item.Value, []byte(body)) {
				t.Errorf("after %q: stored %q, %v", body, item.Value, err)
			}
		}
	})
}

// TestFirstGetWaitsForStoreAtMost300ms, whether the load began with the Get, before it,
// or is still queued behind others.
func TestFirstGetWaitsForStoreAtMost300ms(t *testing.T) {
	for name, tt := range map[string]struct {
		others int           // loads that hang before it
		before time.Duration // from Register to Get
	}{
		"at once":                 {0, 0},
		"load began 1 s before":   {0, time.Second},
		"behind four others":      {4, 0},
		"behind four, 1 s before": {4, time.Second},
		"behind a thousand":       {1000, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := everfreshtest.NewHooked()
				s.OnLoad(everfreshtest.Stuck)
				o := everfreshtest.NewBody("new")
				c := everfreshtest.NewCache(t, everfresh.WithStorage(s), o.Option())
				for i := range tt.others {
					everfreshtest.Register(t, c, originURL, everfresh.Bytes(), everfresh.WithKey(strconv.Itoa(i)), everfresh.WithPrefetch(false))
				}
				typed := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
				if err := c.Register("https://origin.test/untyped"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(tt.before)
				var wg sync.WaitGroup
				wg.Go(func() {
					if v, took := getValue(t, typed); v != "new" || took != 300*time.Millisecond {
						t.Errorf("typed: Get = %q after %v, want 300ms", v, took)
					}
				})
				wg.Go(func() {
					start := time.Now()
					v, err := c.Get(t.Context(), "https://origin.test/untyped")
					if took := time.Since(start); err != nil || took != 300*time.Millisecond {
						t.Errorf("untyped: Get = %s, %v after %v, want 300ms", v, err, took)
					}
				})
				wg.Wait()
			})
		})
	}
}

// TestFirstGetWaitsForNoSave: saves that hang keep no load from its turn.
func TestFirstGetWaitsForNoSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := everfreshtest.NewHooked()
		s.OnStore(everfreshtest.Stuck)
		c := everfreshtest.NewCache(t, everfresh.WithStorage(s), everfreshtest.NewBody("new").Option())
		for i := range 20 {
			r := everfreshtest.Register(t, c, originURL, everfresh.Bytes(), everfresh.WithKey(strconv.Itoa(i)))
			if _, took := getValue(t, r); took > 300*time.Millisecond {
				t.Fatalf("Get %d waited %v for the storage", i, took)
			}
		}
		s.OnStore(nil)
		time.Sleep(10 * time.Second) // until those that hang have ended
	})
}

// TestFirstGetLeavesSlowStoreInTime: an answer that comes within 300 ms counts.
func TestFirstGetLeavesSlowStoreInTime(t *testing.T) {
	for took, want := range map[time.Duration]string{299 * time.Millisecond: "old", 301 * time.Millisecond: "new"} {
		synctest.Test(t, func(t *testing.T) {
			s := everfreshtest.NewHooked()
			putRecord(t, s.Storage, agedRecord(originURL, "old", time.Minute, time.Hour))
			s.OnLoad(everfreshtest.After(took))
			var l everfreshtest.Recorder
			c := everfreshtest.NewCache(t, append(l.Options(), everfresh.WithStorage(s), everfreshtest.NewBody("new").Option())...)
			v, waited := getValue(t, everfreshtest.Register(t, c, originURL, everfresh.Bytes()))
			if v != want || waited != min(took, 300*time.Millisecond) {
				t.Errorf("store needs %v: Get = %q after %v", took, v, waited)
			}
			if errs := storageErrors(t, &l); len(errs) != 0 != (want == "new") {
				t.Errorf("store needs %v: reported %v", took, errs)
			}
		})
	}
}

// TestBackgroundLoadMayTakeLonger: while no one waits, the store has seconds.
func TestBackgroundLoadMayTakeLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := everfreshtest.NewHooked()
		putRecord(t, s.Storage, agedRecord(originURL, "old", time.Minute, time.Hour))
		s.OnLoad(everfreshtest.After(3 * time.Second))
		o := everfreshtest.NewBody("new")
		r := everfreshtest.Register(t, everfreshtest.NewCache(t, everfresh.WithStorage(s), o.Option()), originURL, everfresh.Bytes())
		time.Sleep(3*time.Second + 1)
		if v, ok := r.Peek(); string(v) != "old" || !ok || len(o.Requests()) != 0 {
			t.Errorf("Peek = %q, %t after %d requests", v, ok, len(o.Requests()))
		}
	})
}

// TestBlackHoleDelaysPrefetchOnce: a store that never answers delays the first fetch of
// each resource, but not without end.
func TestBlackHoleDelaysPrefetchOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := everfreshtest.NewHooked()
		s.OnLoad(everfreshtest.Stuck)
		o := everfreshtest.NewBody("new")
		r := everfreshtest.Register(t, everfreshtest.NewCache(t, everfresh.WithStorage(s), o.Option(), everfresh.WithJitter(0)), originURL, everfresh.Bytes())
		time.Sleep(5*time.Second + 1)
		if v, ok := r.Peek(); string(v) != "new" || !ok {
			t.Errorf("Peek = %q, %t after the store's 5 s", v, ok)
		}
		before := len(o.Requests())
		start := time.Now()
		if err := r.Refresh(t.Context()); err != nil || time.Since(start) != 0 || len(o.Requests()) != before+1 {
			t.Errorf("Refresh: %v after %v", err, time.Since(start))
		}
	})
}

func TestLoadThatGetWaitsForOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := everfreshtest.NewHooked()
		s.OnLoad(everfreshtest.After(10 * time.Millisecond))
		putRecord(t, s.Storage, agedRecord("wanted", "old", time.Minute, time.Hour))
		o := everfreshtest.NewBody("new")
		c := everfreshtest.NewCache(t, everfresh.WithStorage(s), o.Option(), everfresh.WithPrefetch(false))
		for i := range 10_000 {
			everfreshtest.Register(t, c, originURL, everfresh.Bytes(), everfresh.WithKey(strconv.Itoa(i)))
		}
		r := everfreshtest.Register(t, c, originURL, everfresh.Bytes(), everfresh.WithKey("wanted"))
		// Those that run, then this one.
		if v, took := getValue(t, r); v != "old" || took > 20*time.Millisecond {
			t.Errorf("Get = %q after %v", v, took)
		}
		if loads, _, _ := s.Count(); loads > 12 {
			t.Errorf("%d loads came first", loads)
		}
		time.Sleep(time.Minute)
		if loads, _, _ := s.Count(); loads != 10_001 {
			t.Errorf("%d loads in the end, want one a resource", loads)
		}
	})
}

func TestLoadWithOriginDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		putRecord(t, mem, agedRecord(originURL, "old", 48*time.Hour, time.Hour))
		o := everfreshtest.NewBody("new")
		o.Down, o.Delay = everfreshtest.Refuse, time.Hour // every request hangs until its timeout
		var l everfreshtest.Recorder
		c := everfreshtest.NewCache(t, append(l.Options(), everfresh.WithStorage(mem), o.Option())...)
		if n := len(o.Requests()); n != 0 {
			t.Fatalf("%d requests", n)
		}
		r := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
		if v, took := getValue(t, r); v != "old" || took != 0 || len(o.Requests()) != 0 {
			t.Errorf("Get = %q after %v and %d requests", v, took, len(o.Requests()))
		}
		time.Sleep(12 * time.Hour)
		if v, took := getValue(t, r); v != "old" || took != 0 {
			t.Errorf("Get = %q after %v", v, took)
		}
		if n := len(l.Events("stale")); n != 1 {
			t.Errorf("%d stale events, want one", n)
		}
	})
}

// TestRefreshDuringLoadFetches: Refresh promises a fetch, also if the record that is
// being loaded turns out to be fresh.
func TestRefreshDuringLoadFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := everfreshtest.NewHooked()
		putRecord(t, s.Storage, agedRecord(originURL, "old", time.Minute, time.Hour))
		s.OnLoad(everfreshtest.After(200 * time.Millisecond))
		o := everfreshtest.NewBody("new", "Cache-Control", "max-age=3600")
		o.Delay = 5 * time.Second
		c := everfreshtest.NewCache(t, everfresh.WithStorage(s), o.Option(), everfresh.WithJitter(0))
		r := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := r.Refresh(t.Context()); err != nil || time.Since(start) != 5200*time.Millisecond {
				t.Errorf("Refresh: %v after %v", err, time.Since(start))
			}
		})
		synctest.Wait()
		time.Sleep(201 * time.Millisecond)
		if v, took := getValue(t, r); v != "old" || took != 0 {
			t.Errorf("Get = %q after %v, want the stored value while the refresh goes on", v, took)
		}
		wg.Wait()
		if v, _ := r.Peek(); string(v) != "new" || o.Requests()[0].Header.Get("If-None-Match") != `"old"` {
			t.Errorf("Peek = %q", v)
		}
		if next := r.Status().Next; !next.Equal(time.Now().Add(time.Hour - o.Delay)) { // the delay counts as age
			t.Errorf("next refresh in %v", time.Until(next))
		}
	})
}

// TestGetDuringRefreshTakesStoredValue: a Get waits only while there is no value, also
// if the flight it waits for has more to do.
func TestGetDuringRefreshTakesStoredValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := everfreshtest.NewHooked()
		putRecord(t, s.Storage, agedRecord(originURL, "old", time.Minute, time.Hour))
		s.OnLoad(everfreshtest.After(200 * time.Millisecond))
		o := everfreshtest.NewBody("new")
		o.Delay = 20 * time.Second
		r := everfreshtest.Register(t, everfreshtest.NewCache(t, everfresh.WithStorage(s), o.Option()), originURL, everfresh.Bytes())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := r.Refresh(t.Context()); err != nil {
				t.Errorf("Refresh: %v", err)
			}
		})
		synctest.Wait()
		if v, took := getValue(t, r); v != "old" || took != 200*time.Millisecond {
			t.Errorf("Get = %q after %v, want the stored value when it is there", v, took)
		}
		wg.Wait()
	})
}

// TestRegisterAgainDuringLoad: options that were replaced while the record was loaded
// make no value.
func TestRegisterAgainDuringLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := everfreshtest.NewHooked()
		putRecord(t, s.Storage, agedRecord(originURL, "old", time.Minute, time.Hour))
		s.OnLoad(everfreshtest.After(100 * time.Millisecond))
		c := everfreshtest.NewCache(t, everfresh.WithStorage(s), everfreshtest.NewBody("new", "Cache-Control", "max-age=3600").Option())
		mark := func(mark string) everfresh.RegisterOption {
			return everfresh.WithTransformer(everfresh.TransformFunc(func(_ string, resp *http.Response) (any, error) {
				b, err := io.ReadAll(resp.Body)
				return mark + " " + string(b), err
			}))
		}
		if err := c.Register(originURL, mark("first")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		if err := c.Register(originURL, mark("second")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if v, err := c.Get(t.Context(), originURL); err != nil || !strings.HasPrefix(fmt.Sprint(v), "second ") {
			t.Errorf("Get = %v, %v, want what the second transformer makes", v, err)
		}
	})
}

func TestLoadWakesWatchAndReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := everfreshtest.NewHooked()
		putRecord(t, s.Storage, agedRecord(originURL, "old", time.Minute, time.Hour))
		s.OnLoad(everfreshtest.After(100 * time.Millisecond))
		o := everfreshtest.NewBody("new")
		r := everfreshtest.Register(t, everfreshtest.NewCache(t, everfresh.WithStorage(s), o.Option()), originURL, everfresh.Bytes())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		var seen []string
		wg.Go(func() {
			for v := range r.Watch(ctx) {
				seen = append(seen, string(v))
				if len(seen) == 1 {
					_ = r.Refresh(ctx)
				}
			}
		})
		start := time.Now()
		if err := r.Ready(ctx); err != nil || time.Since(start) != 100*time.Millisecond {
			t.Errorf("Ready: %v after %v", err, time.Since(start))
		}
		wg.Wait()
		if !slices.Equal(seen, []string{"old", "new"}) {
			t.Errorf("Watch yielded %q", seen)
		}
	})
}

// TestCloseEndsLoad: Close does not wait for a store that hangs, and reports no load that
// it called off.
func TestCloseEndsLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := everfreshtest.NewHooked()
		s.OnLoad(everfreshtest.Stuck)
		var l everfreshtest.Recorder
		c := everfreshtest.NewCache(t, append(l.Options(), everfresh.WithStorage(s), everfreshtest.NewBody("new").Option())...)
		for i := range 10 {
			everfreshtest.Register(t, c, originURL, everfresh.Bytes(), everfresh.WithKey(strconv.Itoa(i)))
		}
		synctest.Wait()
		start := time.Now()
		everfreshtest.Close(t, c)
		if d := time.Since(start); d != 0 {
			t.Errorf("Close took %v", d)
		}
		if errs := storageErrors(t, &l); len(errs) != 0 {
			t.Errorf("reported %v", errs)
		}
	})
}

// TestLoadOfMany starts with ten thousand records, a tenth of them stale: while the
// origin is down every Get succeeds, and once it is back only the stale ones are fetched,
// spread over their time.
func TestLoadOfMany(t *testing.T) {
	const resources, every = 10_000, 10 // every tenth is stale
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		key := func(i int) string { return fmt.Sprintf("https://origin.test/%d", i) }
		for i := range resources {
			age := time.Minute
			if i%every == 0 {
				age = 3 * time.Hour
			}
			putRecord(t, mem, agedRecord(key(i), fmt.Sprint("value ", i), age, 2*time.Hour))
		}
		o := everfreshtest.NewBody("new")
		o.Set(func(o *everfreshtest.Origin) { o.Down = everfreshtest.Refuse })
		c := everfreshtest.NewCache(t, everfresh.WithStorage(mem), o.Option(),
			everfresh.WithBackoff(10*time.Minute, 10*time.Minute), everfresh.WithMinRefreshInterval(time.Hour))
		handles := make([]*everfresh.Resource[[]byte], resources)
		for i := range handles {
			handles[i] = everfreshtest.Register(t, c, key(i), everfresh.Bytes())
		}
		for i, r := range handles {
			if v, err := r.Get(t.Context()); string(v) != fmt.Sprint("value ", i) || err != nil {
				t.Fatalf("Get of %d = %q, %v", i, v, err)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		checkSpread(t, o.Requests(), resources/every)

		o.Set(func(o *everfreshtest.Origin) { o.Down = nil })
		o.Take()
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		for _, req := range o.Requests() {
			if !strings.HasSuffix(req.URL.String(), "0") {
				t.Fatalf("%s was fetched, which is fresh", req.URL.String())
			}
		}
		for i, r := range handles {
			v, ok := r.Peek()
			if stale := i%every == 0; !ok || stale != (string(v) == "new") {
				t.Fatalf("value of %d is %q, %t", i, v, ok)
			}
		}
	})
}

// checkSpread checks that want resources were asked for, and no tenth of them in a second.
func checkSpread(t *testing.T, asked []everfreshtest.Request, want int) {
	t.Helper()
	urls, seconds := map[string]bool{}, map[int64]int{}
	for _, req := range asked {
		urls[req.URL.String()] = true
		if seconds[req.At.Unix()]++; seconds[req.At.Unix()] > want/10 {
			t.Fatalf("more than %d requests in one second", want/10)
		}
	}
	if len(urls) != want {
		t.Errorf("%d resources were asked for, want %d", len(urls), want)
	}
}
