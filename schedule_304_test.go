package everfresh_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
)

// A condOrigin serves one body, at first "x", with validators, and remembers those of the requests.
type condOrigin struct {
	*schedOrigin
	mu     sync.Mutex
	body   string
	kv     []string // header fields of a 200
	kv304  []string // header fields of a 304
	code   int      // if not 0, the answer
	never  bool     // do not answer 304
	etags  []string // If-None-Match of each request
	sinces []string // If-Modified-Since of each request
}

func newCondOrigin(kv ...string) *condOrigin {
	o := &condOrigin{body: "x", kv: kv, kv304: kv}
	o.schedOrigin = newSchedOrigin(o.serve)
	return o
}

// set changes the origin.
func (o *condOrigin) set(change func(*condOrigin)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(o)
}

// last returns the validators of the last request.
func (o *condOrigin) last() (etag, since string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.etags[len(o.etags)-1], o.sinces[len(o.sinces)-1]
}

func (o *condOrigin) serve(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	etag, since := r.Header.Get("If-None-Match"), r.Header.Get("If-Modified-Since")
	o.etags, o.sinces = append(o.etags, etag), append(o.sinces, since)
	kv, code := o.kv, http.StatusOK
	switch {
	case o.code != 0:
		kv, code = nil, o.code
	case !o.never && (etag != "" || since != ""):
		kv, code = o.kv304, http.StatusNotModified
	}
	for i := 0; i < len(kv); i += 2 {
		w.Header().Set(kv[i], kv[i+1])
	}
	w.WriteHeader(code)
	if code == http.StatusOK {
		_, _ = w.Write([]byte(o.body))
	}
}

// condCounter returns a decoder that counts its calls.
func condCounter() (everfresh.Decoder[*string], *atomic.Int64) {
	n := new(atomic.Int64)
	return func(_ context.Context, resp *http.Response) (*string, error) {
		n.Add(1)
		b := make([]byte, resp.ContentLength)
		_, err := resp.Body.Read(b)
		s := string(b)
		return &s, err
	}, n
}

const condModified = "Sat, 01 Jan 2000 00:00:00 GMT"

// TestNotModified: a 304 keeps value and version, and renews the freshness.
func TestNotModified(t *testing.T) {
	validators := map[string][]string{
		"etag":     {"ETag", `"v1"`},
		"weak":     {"ETag", `W/"v1"`},
		"modified": {"Last-Modified", condModified},
		"both":     {"ETag", `"v1"`, "Last-Modified", condModified},
	}
	for name, kv := range validators {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				origin := newCondOrigin(append(kv, "Cache-Control", "max-age=3600")...)
				heard := new(listener)
				c := newCache(t, append(heard.options(), everfresh.WithJitter(0), origin.client())...)
				decode, decoded := condCounter()
				r := register(t, c, "https://a.test/", decode)
				synctest.Wait()
				if etag, since := origin.last(); etag != "" || since != "" {
					t.Errorf("first request with validators %q, %q", etag, since)
				}
				first := r.Snapshot()
				origin.sleepUntil(3 * time.Hour)
				h := http.Header{}
				for i := 0; i < len(kv); i += 2 {
					h.Set(kv[i], kv[i+1])
				}
				if etag, since := origin.last(); etag != h.Get("ETag") || since != h.Get("Last-Modified") {
					t.Errorf("validators %q, %q", etag, since)
				}
				condCheckConfirmed(t, origin.schedOrigin, first, r.Snapshot(), 3*time.Hour)
				if n := decoded.Load(); n != 1 {
					t.Errorf("decoded %d times, want once", n)
				}
				if n, m := len(heard.Events("fetched")), len(heard.Events("unchanged")); n != 1 || m != 3 {
					t.Errorf("%d events of a new value, %d of a confirmed one; want 1 and 3", n, m)
				}
				if st := r.Status(); st.Code != http.StatusOK || st.Bytes != 1 {
					t.Errorf("status %d, %d bytes; want those of the value", st.Code, st.Bytes)
				}
				if ev := heard.Events("unchanged")[0]; ev.Status != http.StatusNotModified || ev.Bytes != 0 || ev.Version != first.Version {
					t.Errorf("event of a 304: %+v", ev)
				}
			})
		})
	}
}

// condCheckConfirmed checks a snapshot of a value that is fresh for an hour and was
// confirmed at.
func condCheckConfirmed[T comparable](t *testing.T, origin *schedOrigin, first, now *everfresh.Snapshot[T], at time.Duration) {
	t.Helper()
	if now.Value != first.Value {
		t.Errorf("another value: %v, want %v", now.Value, first.Value)
	}
	if now.Version != first.Version || !now.FetchedAt.Equal(first.FetchedAt) {
		t.Errorf("version %d fetched at %v, want %d and %v", now.Version, now.FetchedAt, first.Version, first.FetchedAt)
	}
	if want := origin.start.Add(at); !now.CheckedAt.Equal(want) {
		t.Errorf("checked at %v, want %v", now.CheckedAt, want)
	}
	if want := origin.start.Add(at + time.Hour); !now.FreshUntil.Equal(want) {
		t.Errorf("fresh until %v, want %v", now.FreshUntil, want)
	}
}

// TestEqualBytes: a 200 that brings the same bytes is unchanged, too.
func TestEqualBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := newCondOrigin("Cache-Control", "max-age=3600")
		heard := new(listener)
		c := newCache(t, append(heard.options(), everfresh.WithJitter(0), origin.client())...)
		decode, decoded := condCounter()
		r := register(t, c, "https://a.test/", decode)
		synctest.Wait()
		first := r.Snapshot()
		origin.sleepUntil(3 * time.Hour)
		condCheckConfirmed(t, origin.schedOrigin, first, r.Snapshot(), 3*time.Hour)
		if n := decoded.Load(); n != 1 {
			t.Errorf("decoded %d times, want once", n)
		}
		evs := heard.Events("unchanged")
		if len(evs) != 3 || evs[0].Status != http.StatusOK || evs[0].Bytes != 1 {
			t.Errorf("events %+v", evs)
		}
		origin.set(func(o *condOrigin) { o.body = "y" })
		origin.sleepUntil(4 * time.Hour)
		if snap := r.Snapshot(); *snap.Value != "y" || snap.Version <= first.Version {
			t.Errorf("%q, version %d after the body changed; was %d", *snap.Value, snap.Version, first.Version)
		}
		if snap := r.Snapshot(); !snap.FetchedAt.Equal(origin.start.Add(4 * time.Hour)) {
			t.Errorf("fetched at %v", snap.FetchedAt)
		}
	})
}

// TestNotModifiedFreshness: a 304 updates the freshness, and what it does not say stays
// as it was stored.
func TestNotModifiedFreshness(t *testing.T) {
	tests := map[string]struct {
		kv304 []string
		next  time.Duration // after the 304 that came at 1 h
		why   string
	}{
		"silent":      {nil, time.Hour, "max-age"},
		"only a tag":  {[]string{"ETag", `"v1"`}, time.Hour, "max-age"},
		"longer":      {[]string{"Cache-Control", "max-age=7200"}, 2 * time.Hour, "max-age"},
		"shorter":     {[]string{"Cache-Control", "max-age=1800"}, 30 * time.Minute, "max-age"},
		"not at all":  {[]string{"Cache-Control", "no-store"}, 15 * time.Minute, "no-store, raised to the minimum"},
		"silent, old": {[]string{"Age", "1200"}, 40 * time.Minute, "max-age"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				origin := newCondOrigin("ETag", `"v1"`, "Cache-Control", "max-age=3600")
				origin.kv304 = tt.kv304
				c := newCache(t, everfresh.WithJitter(0), origin.client())
				r := register(t, c, "https://a.test/", everfresh.Bytes())
				origin.sleepUntil(time.Hour)
				st := r.Status()
				if want := origin.start.Add(time.Hour + tt.next); !st.Next.Equal(want) || !st.FreshUntil.Equal(want) || st.Freshness != tt.why {
					t.Errorf("next %v, fresh until %v by %q; want %v by %q", st.Next, st.FreshUntil, st.Freshness, want, tt.why)
				}
				origin.sleepUntil(time.Hour + 3*tt.next)
				asked := schedEvery(tt.next, 3*tt.next)
				for i := range asked {
					asked[i] += time.Hour
				}
				schedCompare(t, name, origin.times("/"), append([]time.Duration{0}, asked...))
			})
		})
	}
}

// TestSilentNotModifiedKeepsTheLifetime: the lifetime of the header, not what the
// minimum or an earlier age made of it.
func TestSilentNotModifiedKeepsTheLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := newCondOrigin("ETag", `"v1"`, "Cache-Control", "max-age=3600", "Age", "3000")
		origin.kv304 = nil
		c := newCache(t, everfresh.WithJitter(0), origin.client())
		register(t, c, "https://a.test/", everfresh.Bytes())
		until := 5 * time.Hour
		origin.sleepUntil(until)
		want := []time.Duration{0}
		for at := 15 * time.Minute; at <= until; at += time.Hour {
			want = append(want, at)
		}
		schedCompare(t, "silent 304", origin.times("/"), want)
	})
}

// TestValidatorsFollowTheValue: each new value brings its own, and a 304 may change
// them.
func TestValidatorsFollowTheValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := newCondOrigin("ETag", `"v1"`, "Last-Modified", condModified)
		c := newCache(t, everfresh.WithJitter(0), origin.client())
		r := register(t, c, "https://a.test/", everfresh.Bytes())
		refresh := func(what, wantETag, wantSince string) {
			t.Helper()
			if err := r.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			if etag, since := origin.last(); etag != wantETag || since != wantSince {
				t.Errorf("%s: validators %q, %q; want %q, %q", what, etag, since, wantETag, wantSince)
			}
		}
		synctest.Wait()
		origin.set(func(o *condOrigin) { o.kv304 = []string{"ETag", `"v1b"`} })
		refresh("of the first value", `"v1"`, condModified)
		refresh("changed by a 304", `"v1b"`, condModified)
		origin.set(func(o *condOrigin) { o.body, o.kv, o.never = "y", []string{"ETag", `"v2"`}, true })
		refresh("still the first", `"v1b"`, condModified)
		refresh("of the second value", `"v2"`, "")
		origin.set(func(o *condOrigin) { o.body, o.kv = "z", nil })
		refresh("still the second", `"v2"`, "")
		refresh("a value without any", "", "")
	})
}

// TestConditionalAfterFailures: a failure costs neither value nor validators, whatever
// the failing answer's headers say.
func TestConditionalAfterFailures(t *testing.T) {
	for _, code := range []int{http.StatusInternalServerError, http.StatusNotFound, http.StatusFound, http.StatusNoContent} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				origin := newCondOrigin("ETag", `"v1"`, "Cache-Control", "max-age=3600")
				c := newCache(t, everfresh.WithJitter(0), origin.client())
				decode, decoded := condCounter()
				r := register(t, c, "https://a.test/", decode)
				synctest.Wait()
				first := r.Snapshot()
				origin.set(func(o *condOrigin) { o.code = code })
				for range 3 {
					if err := r.Refresh(t.Context()); err == nil {
						t.Fatal("Refresh takes it for success")
					}
					if etag, _ := origin.last(); etag != `"v1"` {
						t.Errorf("validator %q", etag)
					}
				}
				origin.set(func(o *condOrigin) { o.code = 0 })
				if err := r.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				if etag, _ := origin.last(); etag != `"v1"` {
					t.Errorf("validator %q after the failures", etag)
				}
				condCheckConfirmed(t, origin.schedOrigin, first, r.Snapshot(), origin.now())
				if n := decoded.Load(); n != 1 {
					t.Errorf("decoded %d times, want once", n)
				}
			})
		})
	}
}

// TestUnaskedNotModified: a 304 to a request that was not conditional is an error.
func TestUnaskedNotModified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := newCondOrigin()
		origin.code = http.StatusNotModified
		c := newCache(t, everfresh.WithJitter(0), origin.client())
		r := register(t, c, "https://a.test/", everfresh.Bytes())
		if v, err := r.Get(t.Context()); err == nil {
			t.Errorf("Get = %q", v)
		}
		origin.set(func(o *condOrigin) { o.code = 0 })
		origin.sleepUntil(time.Second)
		if v, ok := r.Peek(); !ok || string(v) != "x" {
			t.Errorf("Peek = %q, %v", v, ok)
		}
		origin.set(func(o *condOrigin) { o.code = http.StatusNotModified })
		if err := r.Refresh(t.Context()); err == nil {
			t.Error("Refresh takes it for a confirmation, but it sent no validators")
		}
	})
}

// TestManyConfirmations: a day of 304s for many resources runs no decoder and moves no
// version.
func TestManyConfirmations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := newCondOrigin("ETag", `"v1"`, "Cache-Control", "max-age=3600")
		c := newCache(t, everfresh.WithJitter(0), origin.client())
		decode, decoded := condCounter()
		var all []*everfresh.Resource[*string]
		for i := range 50 {
			all = append(all, register(t, c, fmt.Sprintf("https://a.test/%d", i), decode))
		}
		synctest.Wait()
		versions := make([]uint64, len(all))
		for i, r := range all {
			versions[i] = r.Snapshot().Version
		}
		origin.sleepUntil(schedDay)
		for i, r := range all {
			if got := r.Snapshot().Version; got != versions[i] {
				t.Errorf("version of %d went from %d to %d", i, versions[i], got)
			}
			schedCompare(t, loadPath(i), origin.times(loadPath(i)), schedEvery(time.Hour, schedDay))
		}
		if n := decoded.Load(); n != 50 {
			t.Errorf("decoded %d times, want 50", n)
		}
	})
}
