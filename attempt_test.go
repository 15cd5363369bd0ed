package everfresh_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
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

// A condOrigin serves one body, at first "x", with validators.
type condOrigin struct {
	*everfreshtest.Origin
	mu    sync.Mutex
	body  string
	kv    []string // header fields of a 200
	kv304 []string // header fields of a 304
	code  int      // if not 0, the answer
	never bool     // do not answer 304
}

func newCondOrigin(kv ...string) *condOrigin {
	o := &condOrigin{body: "x", kv: kv, kv304: kv}
	o.Origin = everfreshtest.NewOrigin(o.serve)
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
	h := o.Last().Header
	return h.Get("If-None-Match"), h.Get("If-Modified-Since")
}

func (o *condOrigin) serve(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	etag, since := r.Header.Get("If-None-Match"), r.Header.Get("If-Modified-Since")
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

// TestNotModified: a 304 keeps value and version, and starts the freshness again.
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
				told := new(everfreshtest.Recorder)
				c := everfreshtest.NewCache(t, append(told.Options(), everfresh.WithJitter(0), origin.Option())...)
				decode, decoded := condCounter()
				r := everfreshtest.Register(t, c, "https://a.test/", decode)
				synctest.Wait()
				if etag, since := origin.last(); etag != "" || since != "" {
					t.Errorf("first request with validators %q, %q", etag, since)
				}
				first := r.Snapshot()
				origin.SleepUntil(3 * time.Hour)
				h := http.Header{}
				for i := 0; i < len(kv); i += 2 {
					h.Set(kv[i], kv[i+1])
				}
				if etag, since := origin.last(); etag != h.Get("ETag") || since != h.Get("Last-Modified") {
					t.Errorf("validators %q, %q", etag, since)
				}
				condCheckConfirmed(t, origin.Origin, first, r.Snapshot(), 3*time.Hour)
				if n := decoded.Load(); n != 1 {
					t.Errorf("decoded %d times, want once", n)
				}
				if n, m := len(told.Events("fetched")), len(told.Events("unchanged")); n != 1 || m != 3 {
					t.Errorf("%d events of a new value, %d of a confirmed one; want 1 and 3", n, m)
				}
				if st := r.Status(); st.Code != http.StatusOK || st.Bytes != 1 {
					t.Errorf("status %d, %d bytes; want those of the value", st.Code, st.Bytes)
				}
				if ev := told.Events("unchanged")[0]; ev.Status != http.StatusNotModified || ev.Bytes != 0 || ev.Version != first.Version {
					t.Errorf("event of a 304: %+v", ev)
				}
			})
		})
	}
}

// condCheckConfirmed checks a snapshot of a value that is fresh for an hour and was
// confirmed at.
func condCheckConfirmed[T comparable](t *testing.T, origin *everfreshtest.Origin, first, now *everfresh.Snapshot[T], at time.Duration) {
	t.Helper()
	if now.Value != first.Value {
		t.Errorf("another value: %v, want %v", now.Value, first.Value)
	}
	if now.Version != first.Version || !now.FetchedAt.Equal(first.FetchedAt) {
		t.Errorf("version %d fetched at %v, want %d and %v", now.Version, now.FetchedAt, first.Version, first.FetchedAt)
	}
	if want := origin.Start.Add(at); !now.CheckedAt.Equal(want) {
		t.Errorf("checked at %v, want %v", now.CheckedAt, want)
	}
	if want := origin.Start.Add(at + time.Hour); !now.FreshUntil.Equal(want) {
		t.Errorf("fresh until %v, want %v", now.FreshUntil, want)
	}
}

// TestEqualBytes: a 200 that brings the same bytes is unchanged, too.
func TestEqualBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := newCondOrigin("Cache-Control", "max-age=3600")
		told := new(everfreshtest.Recorder)
		c := everfreshtest.NewCache(t, append(told.Options(), everfresh.WithJitter(0), origin.Option())...)
		decode, decoded := condCounter()
		r := everfreshtest.Register(t, c, "https://a.test/", decode)
		synctest.Wait()
		first := r.Snapshot()
		origin.SleepUntil(3 * time.Hour)
		condCheckConfirmed(t, origin.Origin, first, r.Snapshot(), 3*time.Hour)
		if n := decoded.Load(); n != 1 {
			t.Errorf("decoded %d times, want once", n)
		}
		evs := told.Events("unchanged")
		if len(evs) != 3 || evs[0].Status != http.StatusOK || evs[0].Bytes != 1 {
			t.Errorf("events %+v", evs)
		}
		origin.set(func(o *condOrigin) { o.body = "y" })
		origin.SleepUntil(4 * time.Hour)
		if snap := r.Snapshot(); *snap.Value != "y" || snap.Version <= first.Version {
			t.Errorf("%q, version %d after the body changed; was %d", *snap.Value, snap.Version, first.Version)
		}
		if snap := r.Snapshot(); !snap.FetchedAt.Equal(origin.Start.Add(4 * time.Hour)) {
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
				c := everfreshtest.NewCache(t, everfresh.WithJitter(0), origin.Option())
				r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
				origin.SleepUntil(time.Hour)
				st := r.Status()
				if want := origin.Start.Add(time.Hour + tt.next); !st.Next.Equal(want) || !st.FreshUntil.Equal(want) || st.Freshness != tt.why {
					t.Errorf("next %v, fresh until %v by %q; want %v by %q", st.Next, st.FreshUntil, st.Freshness, want, tt.why)
				}
				origin.SleepUntil(time.Hour + 3*tt.next)
				asked := everfreshtest.Every(tt.next, 3*tt.next)
				for i := range asked {
					asked[i] += time.Hour
				}
				everfreshtest.WantTimes(t, name, origin.Times("/"), append([]time.Duration{0}, asked...))
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
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), origin.Option())
		everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
		until := 5 * time.Hour
		origin.SleepUntil(until)
		want := []time.Duration{0}
		for at := 15 * time.Minute; at <= until; at += time.Hour {
			want = append(want, at)
		}
		everfreshtest.WantTimes(t, "silent 304", origin.Times("/"), want)
	})
}

// TestValidatorsFollowTheValue: each new value brings its own, and a 304 may change
// them.
func TestValidatorsFollowTheValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		origin := newCondOrigin("ETag", `"v1"`, "Last-Modified", condModified)
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), origin.Option())
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
		refresh := func(what, wantETag, wantSince string) {
			t.Helper()
			everfreshtest.Refresh(t, r)
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
				c := everfreshtest.NewCache(t, everfresh.WithJitter(0), origin.Option())
				decode, decoded := condCounter()
				r := everfreshtest.Register(t, c, "https://a.test/", decode)
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
				everfreshtest.Refresh(t, r)
				if etag, _ := origin.last(); etag != `"v1"` {
					t.Errorf("validator %q after the failures", etag)
				}
				condCheckConfirmed(t, origin.Origin, first, r.Snapshot(), origin.Now())
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
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), origin.Option())
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
		if v, err := r.Get(t.Context()); err == nil {
			t.Errorf("Get = %q", v)
		}
		origin.set(func(o *condOrigin) { o.code = 0 })
		origin.SleepUntil(time.Second)
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
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), origin.Option())
		decode, decoded := condCounter()
		var all []*everfresh.Resource[*string]
		for i := range 50 {
			all = append(all, everfreshtest.Register(t, c, fmt.Sprintf("https://a.test/%d", i), decode))
		}
		synctest.Wait()
		versions := make([]uint64, len(all))
		for i, r := range all {
			versions[i] = r.Snapshot().Version
		}
		origin.SleepUntil(schedDay)
		for i, r := range all {
			if got := r.Snapshot().Version; got != versions[i] {
				t.Errorf("version of %d went from %d to %d", i, versions[i], got)
			}
			everfreshtest.WantTimes(t, loadPath(i), origin.Times(loadPath(i)), everfreshtest.Every(time.Hour, schedDay))
		}
		if n := decoded.Load(); n != 50 {
			t.Errorf("decoded %d times, want 50", n)
		}
	})
}

// limitsChunk is one chunk of the chunked coding.
func limitsChunk(data string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(data), data) }

var limitsJSON = func(ctx context.Context, resp *http.Response) (json.RawMessage, error) {
	return everfresh.JSON[json.RawMessage]()(ctx, resp)
}

// What is refused never replaces what was there, by either API.
func TestBodiesThatAreRefused(t *testing.T) {
	const (
		ok      = "HTTP/1.1 200 OK\r\n"
		chunked = ok + "Transfer-Encoding: chunked\r\n\r\n"
		good    = `{"good":true}`
	)
	bomb := everfreshtest.Gzip(make([]byte, 3<<20)) // about 3 KB
	packed := string(everfreshtest.Gzip([]byte(`{"packed":true}`)))
	flipped := []byte(packed)
	flipped[len(flipped)-6] ^= 1 // within the checksum
	tests := []struct {
		name, answer, want string
		is                 error
		opts               []everfresh.RegisterOption
	}{
		{"too large by its length", everfreshtest.Framed(strings.Repeat(" ", 101)), "body too large", everfresh.ErrTooLarge, []everfresh.RegisterOption{everfresh.WithMaxBytes(100)}},
		{"too large", chunked + limitsChunk(strings.Repeat(" ", 101)) + "0\r\n\r\n", "body too large", everfresh.ErrTooLarge, []everfresh.RegisterOption{everfresh.WithMaxBytes(100)}},
		{"too large once decoded", everfreshtest.Framed(string(everfreshtest.Gzip(bytes.Repeat([]byte("ab"), 51))), "Content-Encoding: gzip"), "body too large", everfresh.ErrTooLarge, []everfresh.RegisterOption{everfresh.WithMaxBytes(100)}},
		{"default limit", chunked + limitsChunk(strings.Repeat(" ", 10<<20)) + limitsChunk(" ") + "0\r\n\r\n", "body too large", everfresh.ErrTooLarge, nil},
		{"a length that is a threat", ok + "Content-Length: 9223372036854775807\r\n\r\nx", "body too large", everfresh.ErrTooLarge, nil},
		{"gzip bomb", everfreshtest.Framed(string(bomb), "Content-Encoding: gzip"), "out of proportion", everfresh.ErrTooLarge, nil},
		{"gzip bomb without a length", chunked[:len(chunked)-2] + "Content-Encoding: gzip\r\n\r\n" + limitsChunk(string(bomb)) + "0\r\n\r\n", "out of proportion", everfresh.ErrTooLarge, nil},
		{"cut", ok + "Content-Length: 100\r\n\r\n" + good, "truncated", io.ErrUnexpectedEOF, nil},
		{"cut chunks", chunked + limitsChunk(good), "truncated", io.ErrUnexpectedEOF, nil},
		{"cut in a chunk", chunked + "ff\r\n" + good, "truncated", io.ErrUnexpectedEOF, nil},
		{"cut gzip in whole chunks", chunked[:len(chunked)-2] + "Content-Encoding: gzip\r\n\r\n" + limitsChunk(packed[:len(packed)-1]) + "0\r\n\r\n", "truncated", io.ErrUnexpectedEOF, nil},
		{"damaged gzip", everfreshtest.Framed(string(flipped), "Content-Encoding: gzip"), "bad body encoding", nil, nil},
		{"not gzip", everfreshtest.Framed(good, "Content-Encoding: gzip"), "bad body encoding", nil, nil},
		{"another coding", everfreshtest.Framed(good, "Content-Encoding: br"), "coding other than gzip", nil, nil},
		{"two codings", everfreshtest.Framed(good, "Content-Encoding: gzip, gzip"), "more than one", nil, nil},
		{"no end", ok + "\r\n" + good, "without a marked end", nil, nil},
		{"no end in HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n" + good, "without a marked end", nil, nil},
		{"empty, typed", everfreshtest.Framed(""), "body empty", nil, nil},
		{"empty chunks, typed", chunked + "0\r\n\r\n", "body empty", nil, nil},
		{"no end, and lenient: cut JSON is the decoder's to notice", ok + "\r\n" + good[:8], "invalid JSON", nil, []everfresh.RegisterOption{everfresh.WithLenientBody(true)}},
		{"empty, and lenient: the decoder's, too", everfreshtest.Framed(""), "invalid JSON", nil, []everfresh.RegisterOption{everfresh.WithLenientBody(true)}},
		{"lenient does not mean cut", ok + "Content-Length: 100\r\n\r\n" + good, "truncated", io.ErrUnexpectedEOF, []everfresh.RegisterOption{everfresh.WithLenientBody(true)}},
		{"lenient does not mean large", ok + "\r\n" + strings.Repeat(" ", 101), "body too large", everfresh.ErrTooLarge, []everfresh.RegisterOption{everfresh.WithLenientBody(true), everfresh.WithMaxBytes(100)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l everfreshtest.Recorder
				c := everfreshtest.NewCache(t, append(l.Options(), everfresh.WithHTTPClient(everfreshtest.Raw(t, everfreshtest.Framed(good), tt.answer)))...)
				r := everfreshtest.Register(t, c, "http://a.test/", limitsJSON, append(tt.opts, everfresh.WithPrefetch(false))...)
				if _, err := r.Get(t.Context()); err != nil {
					t.Fatal(err)
				}
				before := r.Snapshot()
				err := r.Refresh(t.Context())
				if err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("error = %v, want %q that is %v", err, tt.want, tt.is)
				}
				if errors.Is(err, everfresh.ErrNotReady) || errors.Is(err, everfresh.ErrTooLarge) != errors.Is(tt.is, everfresh.ErrTooLarge) {
					t.Errorf("error = %v Is ErrNotReady: %v, ErrTooLarge: %v", err, errors.Is(err, everfresh.ErrNotReady), errors.Is(err, everfresh.ErrTooLarge))
				}
				after := r.Snapshot()
				if string(after.Value) != good || after.Version != before.Version || !after.FreshUntil.Equal(before.FreshUntil) || after.Err == nil {
					t.Errorf("serves %s of version %d with error %v, want what was there", after.Value, after.Version, after.Err)
				}
				synctest.Wait()
				if got := l.Events("failed"); len(got) != 1 || len(l.Errors()) != 1 {
					t.Errorf("%d events of failure, %d errors; want 1 each", len(got), len(l.Errors()))
				}
			})
		})
	}
}

func TestBodiesThatAreAccepted(t *testing.T) {
	const good = `{"good":true}`
	tests := []struct {
		name, answer, want string
		opts               []everfresh.RegisterOption
	}{
		{"as large as may be", everfreshtest.Framed(good), good, []everfresh.RegisterOption{everfresh.WithMaxBytes(int64(len(good)))}},
		{"gzip", everfreshtest.Framed(string(everfreshtest.Gzip([]byte(good))), "Content-Encoding: gzip"), good, nil},
		{"gzip, as large as may be", everfreshtest.Framed(string(everfreshtest.Gzip([]byte(good))), "Content-Encoding: x-gzip"), good, []everfresh.RegisterOption{everfresh.WithMaxBytes(int64(len(good)))}},
		{"no end, lenient", "HTTP/1.1 200 OK\r\n\r\n" + good, good, []everfresh.RegisterOption{everfresh.WithLenientBody(true)}},
		{"no end in HTTP/1.0, lenient", "HTTP/1.0 200 OK\r\n\r\n" + good, good, []everfresh.RegisterOption{everfresh.WithLenientBody(true)}},
		{"gzip without an end, lenient", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + string(everfreshtest.Gzip([]byte(good))), good, []everfresh.RegisterOption{everfresh.WithLenientBody(true)}},
		{"strict again after lenient", everfreshtest.Framed(good), good, []everfresh.RegisterOption{everfresh.WithLenientBody(true), everfresh.WithLenientBody(false)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(everfreshtest.Raw(t, tt.answer)))
				r := everfreshtest.Register(t, c, "http://a.test/", limitsJSON, tt.opts...)
				if v, err := r.Get(t.Context()); string(v) != tt.want || err != nil {
					t.Errorf("Get = %s, %v, want %s", v, err, tt.want)
				}
			})
		})
	}
}

// Who takes an empty 200: the untyped API, Bytes, and who says so.
func TestEmptyBodies(t *testing.T) {
	for _, answer := range []string{everfreshtest.Framed(""), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", everfreshtest.Framed(string(everfreshtest.Gzip(nil)), "Content-Encoding: gzip")} {
		synctest.Test(t, func(t *testing.T) {
			c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(everfreshtest.Raw(t, answer)))
			length := func(_ context.Context, resp *http.Response) (int64, error) { return resp.ContentLength, nil }
			if err := c.Register("http://a.test/untyped"); err != nil {
				t.Fatal(err)
			}
			if v, err := c.Get(t.Context(), "http://a.test/untyped"); err != nil || len(v.([]byte)) != 0 {
				t.Errorf("untyped: Get = %v, %v", v, err)
			}
			if v, err := everfreshtest.Register(t, c, "http://a.test/bytes", everfresh.Bytes()).Get(t.Context()); v == nil || len(v) != 0 || err != nil {
				t.Errorf("Bytes: Get = %#v, %v", v, err)
			}
			if v, err := everfreshtest.Register(t, c, "http://a.test/lenient", length, everfresh.WithLenientBody(true)).Get(t.Context()); v != 0 || err != nil {
				t.Errorf("lenient: Get = %v, %v", v, err)
			}
			if v, err := everfreshtest.Register(t, c, "http://a.test/typed", length).Get(t.Context()); err == nil || !strings.Contains(err.Error(), "body empty") {
				t.Errorf("typed: Get = %v, %v, want an empty body refused", v, err)
			}
		})
	}
}

// limitsDrip writes piece, then sleeps, n times. It stops when the client is gone.
func limitsDrip(w http.ResponseWriter, r *http.Request, piece string, every time.Duration, n int) {
	for range n {
		_, _ = io.WriteString(w, piece)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(every):
		case <-r.Context().Done():
			return
		}
	}
}

func TestSlowBodies(t *testing.T) {
	tests := []struct {
		name    string
		handler http.HandlerFunc
		opts    []everfresh.RegisterOption
		want    string // part of the error; "" for a good answer
		took    time.Duration
	}{
		{"nothing after the header", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			limitsDrip(w, r, "", time.Hour, 1)
		}, nil, "too slow", 5 * time.Second},
		{"stops in the middle", func(w http.ResponseWriter, r *http.Request) {
			limitsDrip(w, r, strings.Repeat("x", 64<<10), time.Second, 3)
			limitsDrip(w, r, "", time.Hour, 1)
		}, nil, "too slow", 7 * time.Second},
		{"a byte at a time", func(w http.ResponseWriter, r *http.Request) {
			limitsDrip(w, r, "x", 200*time.Millisecond, 1000)
		}, nil, "too slow", 5 * time.Second},
		{"half of the rate", func(w http.ResponseWriter, r *http.Request) {
			limitsDrip(w, r, strings.Repeat("x", 512), time.Second, 1000)
		}, nil, "too slow", 5 * time.Second},
		{"twice the rate", func(w http.ResponseWriter, r *http.Request) {
			limitsDrip(w, r, strings.Repeat("x", 2048), time.Second, 20)
		}, nil, "", 20 * time.Second},
		{"pauses just short of the limit", func(w http.ResponseWriter, r *http.Request) {
			limitsDrip(w, r, strings.Repeat("x", 8<<10), 4900*time.Millisecond, 4)
		}, nil, "", 4 * 4900 * time.Millisecond},
		{"fast enough, but too long", func(w http.ResponseWriter, r *http.Request) {
			limitsDrip(w, r, strings.Repeat("x", 4096), time.Second, 1000)
		}, nil, "no answer within 30s", 30 * time.Second},
		{"no header", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, nil, "no answer within 30s", 30 * time.Second},
		{
			"own timeout", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			[]everfresh.RegisterOption{everfresh.WithTimeout(time.Second)},
			"no answer within 1s", time.Second,
		},
		{"own timeout before the idle one", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			limitsDrip(w, r, "", time.Hour, 1)
		}, []everfresh.RegisterOption{everfresh.WithTimeout(3 * time.Second)}, "no answer within 3s", 3 * time.Second},
		{"at once", everfreshtest.Text("new"), nil, "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first := true
				client := everfreshtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if first {
						first = false
						everfreshtest.Text("old")(w, r)
						return
					}
					tt.handler(w, r)
				}))
				c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(client), everfresh.WithJitter(0))
				r := everfreshtest.Register(t, c, "http://a.test/", everfresh.Bytes(), append(tt.opts, everfresh.WithPrefetch(false))...)
				if _, err := r.Get(t.Context()); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				err := r.Refresh(t.Context())
				if took := time.Since(start); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				v, _ := r.Peek()
				if tt.want == "" {
					if err != nil || string(v) == "old" {
						t.Errorf("Refresh: %v, serves %.10q", err, v)
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error = %v, want %q", err, tt.want)
				}
				timedOut := strings.HasPrefix(tt.want, "no answer")
				if errors.Is(err, context.DeadlineExceeded) != timedOut {
					t.Errorf("error = %v, Is DeadlineExceeded: %v", err, !timedOut)
				}
				if string(v) != "old" {
					t.Errorf("serves %.10q, want the old value", v)
				}
			})
		})
	}
}

// The timeout ends with the decoded value, so that a decoder is told to stop.
func TestTimeoutReachesTheDecoder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(everfreshtest.Client(everfreshtest.Text("x"))), everfresh.WithTimeout(2*time.Second))
		start := time.Now()
		r := everfreshtest.Register(t, c, "https://a.test/", func(ctx context.Context, _ *http.Response) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
		_, err := r.Get(t.Context())
		if took := time.Since(start); took != 2*time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// The ratio of a gzip body counts past the first MiB only: small ones may be dense.
func TestDenseGzipBelowAMebibyte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dense := everfreshtest.Gzip(make([]byte, 1<<20-1))
		c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(everfreshtest.Raw(t, everfreshtest.Framed(string(dense), "Content-Encoding: gzip"))))
		r := everfreshtest.Register(t, c, "http://a.test/", everfresh.Bytes())
		if v, err := r.Get(t.Context()); len(v) != 1<<20-1 || err != nil {
			t.Errorf("Get: %d bytes, %v", len(v), err)
		}
	})
}

// After a refusal the next good answer is taken, in the same connection's life or not.
func TestRecoveryAfterARefusedBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(everfreshtest.Raw(t,
			everfreshtest.Framed("old"), "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnew", everfreshtest.Framed("new"))), everfresh.WithJitter(0))
		r := everfreshtest.Register(t, c, "http://a.test/", everfresh.Bytes(), everfresh.WithPrefetch(false))
		if _, err := r.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.Refresh(t.Context()); err == nil {
			t.Fatal("the cut body was taken")
		}
		time.Sleep(251 * time.Millisecond) // the floor of the back-off
		synctest.Wait()
		if v, _ := r.Peek(); string(v) != "new" {
			t.Errorf("serves %q after the back-off, want new", v)
		}
		if st := r.Status(); st.Failures != 0 || st.Err != nil {
			t.Errorf("%d failures, %v", st.Failures, st.Err)
		}
	})
}

// attackMax is the limit of a body, and attackMemory what an attack may cost at most: all
// memory that is asked for from the request to the error, live or not.
const (
	attackMax    = 2 << 20
	attackMemory = 2*attackMax + 1<<20
)

// An attack is what an origin sends after it has read a request. It ends when the client
// hangs up.
type attack struct {
	name string
	send func(conn net.Conn)
	want string        // part of the error
	took time.Duration // until the error
	opts []everfresh.RegisterOption
}

func attacks() []attack {
	const (
		ok      = "HTTP/1.1 200 OK\r\n"
		chunked = ok + "Transfer-Encoding: chunked\r\n"
		packed  = "Content-Encoding: gzip\r\n"
		moved   = "HTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n"
	)
	bomb := string(everfreshtest.Gzip(make([]byte, 64<<20)))
	chunk := limitsChunk(strings.Repeat("x", 32<<10))
	field := "X-Filler: " + strings.Repeat("f", 1000) + "\r\n"
	lenient := []everfresh.RegisterOption{everfresh.WithLenientBody(true)}
	return []attack{
		{"gzip bomb", attackOnce(everfreshtest.Framed(bomb, "Content-Encoding: gzip")), "too large", 0, nil},
		{"gzip bomb in chunks", attackOnce(chunked + packed + "\r\n" + limitsChunk(bomb)), "too large", 0, nil},
		{"gzip bomb without an end", attackOnce(ok + packed + "\r\n" + bomb), "too large", 0, lenient},
		{"gzip of nothing, without end", attackEndless(chunked+packed+"\r\n", strings.Repeat(limitsChunk(string(everfreshtest.Gzip(nil))), 100)), "too large", 0, nil},
		{"endless body", attackEndless(chunked+"\r\n", chunk), "too large", 0, nil},
		{"endless body in bytes", attackEndless(chunked+"\r\n", strings.Repeat(limitsChunk("x"), 1000)), "", 0, nil},
		{"endless body, no framing", attackEndless(ok+"\r\n", chunk), "too large", 0, lenient},
		{"endless body of a known length", attackEndless(ok+"Content-Length: 9223372036854775807\r\n\r\n", chunk), "too large", 0, nil},
		{"endless body of a redirect", attackEndless("HTTP/1.1 302 Found\r\nLocation: /next\r\nTransfer-Encoding: chunked\r\n\r\n", chunk), "more than 3", 0, nil},
		{"endless body of a failure", attackEndless("HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n", chunk), "500", 0, nil},
		{"endless chunk extension", attackEndless(chunked+"\r\n1;x=", strings.Repeat("x", 1000)), "", 0, nil},
		{"endless trailer", attackEndless(chunked+"\r\n"+limitsChunk("x")+"0\r\n", field), "", 0, nil},
		{"endless fields", attackEndless(ok, field), "headers exceeded", 0, nil},
		{"endless field", attackEndless(ok+"X-Filler: ", strings.Repeat("f", 1000)), "headers exceeded", 0, nil},
		{"endless status", attackEndless("HTTP/1.1 200 ", strings.Repeat("O", 1000)), "headers exceeded", 0, nil},
		{"endless informational answers", attackEndless("", "HTTP/1.1 103 Early Hints\r\n\r\n"), "", 0, nil},
		{"endless informational fields", attackEndless("", "HTTP/1.1 103 Early Hints\r\n"+field+"\r\n"), "headers exceeded", 0, nil},
		{"two lengths", attackOnce(ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), "Content-Length", 0, nil},
		{"redirects without end", attackOnce(moved), "more than 3", 0, nil},

		{"no handshake", attackOnce(""), "TLS handshake timeout", 5 * time.Second, nil},
		{"no answer", attackOnce(""), "awaiting response headers", 10 * time.Second, nil},
		{"slow header", attackDrip(ok+"X-Filler: ", "f", time.Second), "awaiting response headers", 10 * time.Second, nil},
		{"slow informational answers", attackDrip("", "HTTP/1.1 103 Early Hints\r\n\r\n", time.Second), "awaiting response headers", 10 * time.Second, nil},
		{"slow redirects", attackAfter(9*time.Second, moved), "no answer within 30s", 30 * time.Second, nil},
		{"silent body", attackOnce(ok + "Content-Length: 9\r\n\r\n"), "too slow", 5 * time.Second, nil},
		{"slow body", attackDrip(chunked+"\r\n", limitsChunk("x"), 200*time.Millisecond), "too slow", 5 * time.Second, nil},
		{"slow gzip", attackDrip(chunked+packed+"\r\n", limitsChunk(string(everfreshtest.Gzip(nil))), 200*time.Millisecond), "too slow", 5 * time.Second, nil},
		{"slow body of a failure", attackDrip("HTTP/1.1 500 Oops\r\nContent-Length: 9999\r\n\r\n", "x", 200*time.Millisecond), "500", time.Second, nil},
	}
}

func attackOnce(answer string) func(net.Conn) { return attackAfter(0, answer) }

// attackAfter answers each request after a while.
func attackAfter(d time.Duration, text string) func(net.Conn) {
	answer := []byte(text)
	return func(conn net.Conn) {
		if !attackWait(d, conn) {
			return
		}
		r := bufio.NewReader(conn)
		for attackWrite(conn, answer) {
			if _, err := http.ReadRequest(r); err != nil || !attackWait(d, conn) {
				return
			}
		}
	}
}

// attackWait waits for d, or less if the client has hung up.
func attackWait(d time.Duration, conn net.Conn) bool {
	if d == 0 {
		return true
	}
	_ = conn.SetReadDeadline(time.Now().Add(d))
	defer conn.SetReadDeadline(time.Time{})
	_, err := conn.Read(make([]byte, 1))
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// attackWrite takes bytes, since strings would be copied: the origin's memory counts, too.
func attackWrite(conn net.Conn, p []byte) bool {
	_, err := conn.Write(p)
	return err == nil
}

func attackEndless(head, part string) func(net.Conn) {
	piece := []byte(part)
	return func(conn net.Conn) {
		for more := attackWrite(conn, []byte(head)); more; {
			more = attackWrite(conn, piece)
		}
	}
}

func attackDrip(head, piece string, every time.Duration) func(net.Conn) {
	return func(conn net.Conn) {
		for more := attackWrite(conn, []byte(head)); more; {
			more = attackWait(every, conn) && attackWrite(conn, []byte(piece))
		}
	}
}

// serve answers the first connection well and attacks all others.
func (a *attack) serve() func(net.Conn) {
	var mu sync.Mutex
	asked := 0
	return func(conn net.Conn) {
		if a.name == "no handshake" {
			_, _ = io.Copy(io.Discard, conn)
			return
		}
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
			return
		}
		mu.Lock()
		asked++
		n := asked
		mu.Unlock()
		if n == 1 {
			attackWrite(conn, []byte(everfreshtest.Framed("old", "Connection: close")))
			return
		}
		a.send(conn)
	}
}

// expect refreshes once, and has to fail in time and without much memory.
func (a *attack) expect(t *testing.T, c *everfresh.Cache, origin string) (took time.Duration) {
	t.Helper()
	handshake := a.name == "no handshake"
	if handshake {
		origin = strings.Replace(origin, "http:", "https:", 1)
	}
	r := everfreshtest.Register(t, c, origin, everfresh.Bytes(), append(a.opts, everfresh.WithMaxBytes(attackMax), everfresh.WithPrefetch(false))...)
	if _, err := r.Get(t.Context()); err != nil && !handshake {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	err := r.Refresh(t.Context())
	took = time.Since(start)
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), a.want) {
		t.Errorf("error = %v, want %q", err, a.want)
	}
	if v, ok := r.Peek(); !handshake && (!ok || string(v) != "old") {
		t.Errorf("serves %.10q, %v", v, ok)
	}
	grown := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d KiB, %v, %v", grown>>10, took, err)
	if grown >= attackMemory {
		t.Errorf("%d bytes of memory, want less than %d", grown, attackMemory)
	}
	return took
}

// TestAttacks: each attack ends within the limits of its phase, to the nanosecond of a
// clock that only the limits move, costs less than twice the body's limit and 1 MiB, and
// replaces nothing.
func TestAttacks(t *testing.T) {
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var wg sync.WaitGroup
				serve := a.serve()
				c := everfreshtest.NewCache(t, everfresh.WithJitter(0))
				everfresh.DialWith(c, func(context.Context, string, string) (net.Conn, error) {
					client, server := net.Pipe()
					wg.Go(func() {
						defer server.Close()
						serve(server)
					})
					return client, nil
				})
				if took := a.expect(t, c, "http://a.test/"); took != a.took {
					t.Errorf("took %v, want %v", took, a.took)
				}
				_ = c.Close()
				wg.Wait()
			})
		})
	}
}

// TestAttacksOverLoopback: the same through the kernel's sockets, for those that no clock
// ends.
func TestAttacksOverLoopback(t *testing.T) {
	for _, a := range attacks() {
		if a.took > 0 {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			addr, _ := everfreshtest.Loopback(t, "127.0.0.1:0", a.serve())
			c := everfreshtest.NewCache(t, everfresh.WithJitter(0))
			if took := a.expect(t, c, "http://"+addr+"/"); took >= 10*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}
