package everfresh_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
	"github.com/everfresh-go/everfresh/store"
)

// decodeText runs a decoder as the engine does.
func decodeText[T any](t testing.TB, d everfresh.Decoder[T], text string) (T, error) {
	t.Helper()
	c := everfreshtest.NewCache(t, clientOfText(text))
	return everfreshtest.Register(t, c, originURL, d).Get(t.Context())
}

func clientOfText(text string) everfresh.Option {
	return everfreshtest.NewOrigin(everfreshtest.Text(text)).Option()
}

type decoded struct {
	Name string
	N    int8
	At   time.Time
	Addr netip.Addr
	Data []byte
	Num  json.Number
	Map  map[string]int
	Big  *big.Int
	Own  ownJSON
	In   struct{ Deep []struct{ N int } }
}

// ownJSON quotes what it refuses, as many types do.
type ownJSON struct{}

func (*ownJSON) UnmarshalJSON(b []byte) error { return fmt.Errorf("cannot use %s", b) }

func TestJSONDecodes(t *testing.T) {
	if v, err := decodeText(t, everfresh.JSON[map[string]int](), " \r\n\t{\"a\": 1}\n \t"); err != nil || v["a"] != 1 {
		t.Errorf("map: %v, %v", v, err)
	}
	if v, err := decodeText(t, everfresh.JSON[*decoded](), `{"Name":"n","N":-128,"At":"2026-01-02T03:04:05Z","Data":"eA=="}`); err != nil ||
		v.Name != "n" || v.N != -128 || v.At.Year() != 2026 || string(v.Data) != "x" {
		t.Errorf("pointer: %+v, %v", v, err)
	}
	if v, err := decodeText(t, everfresh.JSON[[]string](), `[]`); err != nil || v == nil || len(v) != 0 {
		t.Errorf("empty list: %#v, %v", v, err)
	}
	if v, err := decodeText(t, everfresh.JSON[string](), `"x"`); err != nil || v != "x" {
		t.Errorf("string: %q, %v", v, err)
	}
	if v, err := decodeText(t, everfresh.JSON[json.RawMessage](), ` {"a" :1} `); err != nil || string(v) != `{"a" :1}` {
		t.Errorf("raw: %s, %v", v, err)
	}
}

// TestJSONNull: null is a value of every interface, pointer, map and slice type.
func TestJSONNull(t *testing.T) {
	if v, err := decodeText(t, everfresh.JSON[any](), "null"); v != nil || err != nil {
		t.Errorf("any: %v, %v", v, err)
	}
	if v, err := decodeText(t, everfresh.JSON[fmt.Stringer](), "null"); v != nil || err != nil {
		t.Errorf("interface with methods: %v, %v", v, err)
	}
	if v, err := decodeText(t, everfresh.JSON[*decoded](), "null"); v != nil || err != nil {
		t.Errorf("pointer: %v, %v", v, err)
	}
	if v, err := decodeText(t, everfresh.JSON[map[string]int](), "null"); v != nil || err != nil {
		t.Errorf("map: %v, %v", v, err)
	}
	// That type has no use for it, but a panic is an error of that refresh only.
	if v, err := decodeText(t, everfresh.JSON[*loadToken](), "null"); err == nil {
		t.Errorf("pointer to a token: %v, want an error", v)
	}
}

func TestJSONRefuses(t *testing.T) {
	for _, text := range []string{
		`{} {}`, `{}{}`, `{}x`, `{}]`, `[] 1`, `1 2`, `"a" "b"`, `{},`, "{}\x00", // more than one value
		`{`, `[1,`, `"a`, `nul`, `{"a"}`, `{'a':1}`, `{"a":1,}`, `// {}`, "\ufeff{}", ` `, "\n",
		strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000),
	} {
		if v, err := decodeText(t, everfresh.JSON[any](), text); err == nil {
			t.Errorf("%.20q: %v, want an error", text, v)
		}
	}
	if v, err := decodeText(t, everfresh.JSON[any](), ""); err == nil {
		t.Errorf("no bytes: %v, want an error", v)
	}
}

// TestJSONErrorsHoldNothingOfTheDocument: it may be a list of keys, or a token.
func TestJSONErrorsHoldNothingOfTheDocument(t *testing.T) {
	for _, text := range []string{
		`{"Name": 314159}`, `{"N": 314159}`, `{"N": "s3cr3t"}`, `{"N": 3.14159}`, `{"N": 1e314159}`,
		`{"At": "s3cr3t"}`, `{"At": "2026-13-02T03:04:05Z s3cr3t"}`, `{"At": 314159}`,
		`{"Addr": "s3cr3t"}`, `{"Addr": "1.2.3.314159"}`, `{"Data": "s3cr3t!"}`, `{"Data": "cyNjcjN0c3Rj*"}`,
		`{"Num": "s3cr3t"}`, `{"Big": "s3cr3t"}`, `{"Big": 3.14159}`, `{"Own": "s3cr3t"}`,
		`{"Map": {"s3cr3t": "x"}}`, `{"Map": {"a": 314159314159314159314159}}`, `{"Map": {"s3cr3t": {"s3cr3t": 1}}}`,
		`{"In": {"Deep": [{"N": 1}, {"N": "s3cr3t"}]}}`, `{"In": {"Deep": [{"N": "s3cr3t"}]}}`,
		`{"Name": "s3cr3t`, `{s3cr3t}`, `s3cr3t`, `{"Name": "\s3cr3t"}`, `"s3cr3t"`, `314159`, `["s3cr3t"]`, `{} s3cr3t`,
		"{\"Name\": \"s3cr3t\n\"}",
	} {
		c := everfreshtest.NewCache(t, clientOfText(text))
		r := everfreshtest.Register(t, c, originURL, everfresh.JSON[decoded]())
		v, err := r.Get(t.Context())
		if err == nil {
			t.Errorf("%s: %+v, want an error", text, v)
			continue
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			for _, shown := range []string{e.Error(), fmt.Sprintf("%+v", e), fmt.Sprintf("%#v", e), fmt.Sprint(r.Status().Err)} {
				for _, canary := range []string{"s3cr3t", "314159", "3.14", "'s'", "eyNjcjN0"} {
					if strings.Contains(shown, canary) {
						t.Errorf("%s: the error shows %q: %s", text, canary, shown)
					}
				}
			}
		}
	}
}

// TestJSONErrorsSayWhere, so that one can find it.
func TestJSONErrorsSayWhere(t *testing.T) {
	for text, want := range map[string]string{
		`{"N": "x"}`:           "does not fit Go type int8",
		`{"In": {"Deep": 1}}`:  "JSON at byte ",
		`{"Name" 1}`:           "invalid JSON at byte ",
		`{"N": 1, "Own": "x"}`: "type",
	} {
		if _, err := decodeText(t, everfresh.JSON[decoded](), text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to say %q", text, err, want)
		}
	}
}

// TestValueMayChangeItsType where the resource's type is an interface.
func TestValueMayChangeItsType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := everfreshtest.NewBody("{}")
		c := everfreshtest.NewCache(t, o.Option(), everfresh.WithStorage(new(store.Memory)))
		r := everfreshtest.Register(t, c, originURL, everfresh.JSON[any]())
		everfreshtest.Ready(t, r)
		for _, tt := range []struct {
			text string
			want any
		}{
			{"[]", []any{}},
			{`"s"`, "s"},
			{"null", nil},
			{"1", 1.0},
			{"{}", map[string]any{}},
			{"true", true},
		} {
			o.Set(func(o *everfreshtest.Origin) { o.Body = tt.text })
			everfreshtest.Refresh(t, r)
			if v, ok := r.Peek(); !reflect.DeepEqual(v, tt.want) || !ok {
				t.Errorf("%s: Peek = %#v, %t", tt.text, v, ok)
			}
			if v, err := c.Get(t.Context(), originURL); !reflect.DeepEqual(v, tt.want) || err != nil {
				t.Errorf("%s: Get by the untyped API = %#v, %v", tt.text, v, err)
			}
			if snap := r.Snapshot(); !reflect.DeepEqual(snap.Value, tt.want) {
				t.Errorf("%s: Snapshot = %#v", tt.text, snap.Value)
			}
		}
	})
}

func TestBytesDecodes(t *testing.T) {
	for _, text := range []string{"", "\x00\xff", strings.Repeat("long ", 1<<18)} {
		v, err := decodeText(t, everfresh.Bytes(), text)
		if string(v) != text || v == nil || err != nil {
			t.Errorf("%.10q: %.10q, %v", text, v, err)
		}
	}
}

// TestBytesMayBeRetained: a later refresh does not write into an earlier value.
func TestBytesMayBeRetained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := everfreshtest.NewBody("one")
		r := everfreshtest.Register(t, everfreshtest.NewCache(t, o.Option()), originURL, everfresh.Bytes())
		first, _ := r.Get(t.Context())
		for _, text := range []string{"two", "3", "four"} {
			o.Set(func(o *everfreshtest.Origin) { o.Body = text })
			everfreshtest.Refresh(t, r)
		}
		if string(first) != "one" {
			t.Errorf("the first value is %q now", first)
		}
	})
}

// TestDecoderMayReadAsItLikes: in parts, all, more than once, or nothing; it need not
// close, and may.
func TestDecoderMayReadAsItLikes(t *testing.T) {
	const text = "first line\nsecond line\n"
	type decoder = everfresh.Decoder[string]
	for name, tt := range map[string]struct {
		decode decoder
		want   string
	}{
		"all": {func(_ context.Context, resp *http.Response) (string, error) {
			b, err := io.ReadAll(resp.Body)
			return string(b), err
		}, text},
		"nothing": {func(context.Context, *http.Response) (string, error) { return "none", nil }, "none"},
		"a part": {func(_ context.Context, resp *http.Response) (string, error) {
			b := make([]byte, 5)
			_, err := io.ReadFull(resp.Body, b)
			return string(b), err
		}, "first"},
		"a part, then the rest": {func(ctx context.Context, resp *http.Response) (string, error) {
			if _, err := io.CopyN(io.Discard, resp.Body, 11); err != nil {
				return "", err
			}
			b, err := everfresh.Bytes()(ctx, resp)
			return string(b), err
		}, "second line\n"},
		"twice": {func(_ context.Context, resp *http.Response) (string, error) {
			first, err1 := io.ReadAll(resp.Body)
			second, err2 := io.ReadAll(resp.Body)
			return fmt.Sprintf("%d %d", len(first), len(second)), errors.Join(err1, err2)
		}, "23 0"},
		"wrapped": {func(ctx context.Context, resp *http.Response) (string, error) {
			resp.Body = io.NopCloser(io.LimitReader(resp.Body, 5))
			b, err := everfresh.Bytes()(ctx, resp)
			return string(b), err
		}, "first"},
		"closed": {func(_ context.Context, resp *http.Response) (string, error) {
			b, err := io.ReadAll(resp.Body)
			return string(b), errors.Join(err, resp.Body.Close(), resp.Body.Close())
		}, text},
	} {
		t.Run(name, func(t *testing.T) {
			if v, err := decodeText(t, tt.decode, text); v != tt.want || err != nil {
				t.Errorf("%q, %v; want %q", v, err, tt.want)
			}
		})
	}
}

// TestDecoderGetsDecodedBody with its length, however it came.
func TestDecoderGetsDecodedBody(t *testing.T) {
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	_, _ = zw.Write([]byte(`{"a": 1}`))
	_ = zw.Close()
	o := everfreshtest.NewBody(packed.String(), "Content-Encoding", "gzip", "Content-Type", "application/json", "X-Field", "kept")
	c := everfreshtest.NewCache(t, o.Option())
	r := everfreshtest.Register(t, c, originURL, func(_ context.Context, resp *http.Response) (string, error) {
		b, err := io.ReadAll(resp.Body)
		if resp.ContentLength != int64(len(b)) || resp.StatusCode != http.StatusOK || resp.Header.Get("X-Field") != "kept" {
			t.Errorf("Content-Length %d, status %d, header %v", resp.ContentLength, resp.StatusCode, resp.Header)
		}
		return string(b), err
	})
	if v, err := r.Get(t.Context()); v != `{"a": 1}` || err != nil {
		t.Errorf("Get = %q, %v", v, err)
	}
}

// TestDecoderRunsOnceForEqualBytes: neither a 304 nor a 200 with the same bytes is
// decoded again.
func TestDecoderRunsOnceForEqualBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := everfreshtest.NewBody("x")
		runs := 0
		r := everfreshtest.Register(t, everfreshtest.NewCache(t, o.Option()), originURL, func(context.Context, *http.Response) (int, error) {
			runs++
			return runs, nil
		})
		for i, etag := range []string{"", "", `"e"`, `"e"`} {
			o.Set(func(o *everfreshtest.Origin) { o.Header.Set("Etag", etag) })
			everfreshtest.Refresh(t, r)
			if v, _ := r.Peek(); v != 1 || runs != 1 {
				t.Errorf("after %d refreshes: decoded %d times", i+1, runs)
			}
		}
	})
}

// TestDecoderThatFails leaves the value, costs one error, and the next refresh comes.
func TestDecoderThatFails(t *testing.T) {
	refused := errors.New("refused")
	for name, fail := range map[string]func() error{
		"error":         func() error { return refused },
		"panic":         func() error { panic("s3cr3t") },
		"panic error":   func() error { panic(refused) },
		"runtime panic": func() error { return []error{}[strings.Count("s3cr3t", "3")] },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := everfreshtest.NewBody("good", "Cache-Control", "max-age=3600")
				var l everfreshtest.Recorder
				c := everfreshtest.NewCache(t, append(l.Options(), o.Option(), everfresh.WithJitter(0))...)
				r := everfreshtest.Register(t, c, originURL, func(_ context.Context, resp *http.Response) (string, error) {
					b, err := io.ReadAll(resp.Body)
					if strings.HasPrefix(string(b), "bad") {
						err = fail()
					}
					return string(b), err
				})
				if _, err := r.Get(t.Context()); err != nil {
					t.Fatal(err)
				}
				version := r.Snapshot().Version
				o.Set(func(o *everfreshtest.Origin) { o.Body = "bad" })
				err := r.Refresh(t.Context())
				var re *everfresh.RefreshError
				if !errors.As(err, &re) || re.Op != "decode" || !re.Stale || strings.Contains(err.Error(), "s3cr3t") {
					t.Errorf("Refresh: %v, want an error of decode without the panic's value", err)
				}
				synctest.Wait()
				if got := l.Errors(); len(got) != 1 || len(l.Events("failed")) != 1 {
					t.Errorf("told %v", got)
				}
				if snap := r.Snapshot(); snap.Value != "good" || snap.Version != version || snap.Err == nil {
					t.Errorf("snapshot after the failure: %+v", snap)
				}
				o.Set(func(o *everfreshtest.Origin) { o.Body = "good again" })
				time.Sleep(time.Second)
				if v, _ := r.Peek(); v != "good again" || r.Snapshot().Err != nil {
					t.Errorf("Peek = %q a second later", v)
				}
			})
		})
	}
}

// TestTransformerGetsRegisteredURL as it was written, whatever was fetched in the end.
func TestTransformerGetsRegisteredURL(t *testing.T) {
	client := everfreshtest.Client(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/end" {
			http.Redirect(w, req, "/end", http.StatusFound)
			return
		}
		_, _ = w.Write([]byte("body"))
	})
	const url = "HTTPS://Origin.TEST:443/a/../b?q=1#fragment"
	var got []string
	transform := everfresh.TransformFunc(func(url string, resp *http.Response) (any, error) {
		b, err := io.ReadAll(resp.Body)
		got = append(got, url)
		return len(b), err
	})
	c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(client))
	for key, opts := range map[string][]everfresh.RegisterOption{
		url:     {everfresh.WithTransformer(transform)},
		"named": {everfresh.WithTransformer(transform), everfresh.WithKey("named")},
	} {
		if err := c.Register(url, opts...); err != nil {
			t.Fatal(err)
		}
		if v, err := c.Get(t.Context(), key); v != 4 || err != nil {
			t.Errorf("Get(%q) = %v, %v", key, v, err)
		}
	}
	if !slices.Equal(got, []string{url, url}) {
		t.Errorf("the transformer got %q", got)
	}
}

// A countingTransformer has state, as a Transformer that is no function may.
type countingTransformer struct{ n int }

func (c *countingTransformer) Transform(string, *http.Response) (any, error) {
	c.n++
	return c.n, nil
}

func TestTransformer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := everfreshtest.NewBody("x")
		c := everfreshtest.NewCache(t, o.Option())
		tr := new(countingTransformer)
		if err := c.Register(originURL, everfresh.WithTransformer(tr)); err != nil {
			t.Fatal(err)
		}
		for i, text := range []string{"", "y", "y"} { // the untyped API takes an empty body
			o.Set(func(o *everfreshtest.Origin) { o.Body = text })
			if v, err := c.Refresh(t.Context(), originURL); v != min(i+1, 2) || err != nil {
				t.Errorf("Refresh %d = %v, %v", i, v, err)
			}
		}
		r, err := everfresh.Lookup[any](c, originURL)
		if err != nil {
			t.Fatal(err)
		}
		if v, ok := r.Peek(); v != 2 || !ok {
			t.Errorf("Peek = %v, %t", v, ok)
		}
	})
	if _, err := everfresh.Register(everfreshtest.NewCache(t), originURL, everfresh.Bytes(), everfresh.WithTransformer(new(countingTransformer))); err == nil {
		t.Error("the typed API took a transformer")
	}
}

// TestReceived tells when the answer came, and what it replaces. The value that came
// after the invalidation had the same bytes: it is the one received before.
func TestReceived(t *testing.T) {
	if at, prev := everfresh.Received(t.Context()); !at.IsZero() || prev != nil {
		t.Errorf("outside a decoder: %v, %v", at, prev)
	}
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		type call struct {
			at   time.Time
			prev *everfresh.Snapshot[any]
		}
		var calls []call
		decode := func(ctx context.Context, resp *http.Response) (string, error) {
			at, prev := everfresh.Received(ctx)
			calls = append(calls, call{at, prev})
			b, err := io.ReadAll(resp.Body)
			time.Sleep(time.Second) // the receipt is before the decoder
			return string(b), err
		}
		o := everfreshtest.NewBody("one", "Cache-Control", "max-age=36000")
		o.Delay = 2 * time.Second
		start := time.Now()
		c := everfreshtest.NewCache(t, o.Option(), everfresh.WithStorage(mem))
		r := everfreshtest.Register(t, c, originURL, decode)
		if _, err := r.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		first := r.Snapshot()
		o.Set(func(o *everfreshtest.Origin) { o.Body = "two" })
		time.Sleep(7 * time.Second)
		everfreshtest.Refresh(t, r)
		second := r.Snapshot()
		if err := r.Invalidate(t.Context(), second.Version); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		everfreshtest.Close(t, c)
		time.Sleep(time.Hour)
		r = everfreshtest.Register(t, everfreshtest.NewCache(t, o.Option(), everfresh.WithStorage(mem)), originURL, decode)
		if _, err := r.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(calls) != 4 {
			t.Fatalf("%d calls", len(calls))
		}
		for i, want := range []struct {
			at   time.Duration
			prev any
		}{{2 * time.Second, nil}, {12 * time.Second, "one"}, {15 * time.Second, nil}, {12 * time.Second, nil}} {
			got := calls[i]
			if !got.at.Equal(start.Add(want.at)) {
				t.Errorf("call %d: received after %v, want %v", i, got.at.Sub(start), want.at)
			}
			if (got.prev == nil) != (want.prev == nil) || got.prev != nil && got.prev.Value != want.prev {
				t.Errorf("call %d: previous %v, want %v", i, got.prev, want.prev)
			}
		}
		if prev := calls[1].prev; prev.Version != first.Version || !prev.FetchedAt.Equal(first.FetchedAt) || !prev.FreshUntil.Equal(first.FreshUntil) {
			t.Errorf("previous snapshot %+v, want %+v", prev, first)
		}
		if !first.FetchedAt.Equal(start.Add(2*time.Second)) || !second.FetchedAt.Equal(start.Add(12*time.Second)) {
			t.Errorf("snapshots were fetched at %v and %v", first.FetchedAt, second.FetchedAt)
		}
	})
}

// TestStoredResponseOfDecoder: what a decoder gets of a stored record is as complete as
// what it got of the origin's answer, as far as the record goes.
func TestStoredResponseOfDecoder(t *testing.T) {
	got := storedResponses(t, func(resp *http.Response) string {
		b, err := io.ReadAll(resp.Body)
		return fmt.Sprint(resp.StatusCode, resp.ProtoMajor, resp.ProtoMinor, resp.ContentLength, resp.Header, string(b), err)
	})
	if got[0] != got[1] {
		t.Errorf("of the origin %s\nof the store  %s", got[0], got[1])
	}
}

// TestStoredResponseHasRequest, as decoders resolve relative links by it.
func TestStoredResponseHasRequest(t *testing.T) {
	got := storedResponses(t, func(resp *http.Response) string { return resp.Request.URL.String() })
	if got[0] != originURL || got[1] != originURL {
		t.Errorf("URL of the origin's answer %q, of the stored one %q", got[0], got[1])
	}
}

// storedResponses describes what a decoder gets from the origin, and from the store.
func storedResponses(t *testing.T, describe func(*http.Response) string) (got []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		o := everfreshtest.NewBody("body", "Content-Type", "text/x", "Etag", `"e"`, "Last-Modified", "Mon, 24 Nov 2025 15:00:00 GMT", "Cache-Control", "max-age=3600")
		for range 2 {
			c := everfreshtest.NewCache(t, o.Option(), everfresh.WithStorage(mem))
			r := everfreshtest.Register(t, c, originURL, func(_ context.Context, resp *http.Response) (string, error) {
				return describe(resp), nil
			})
			if v, err := r.Get(t.Context()); err == nil {
				got = append(got, v)
			}
			everfreshtest.Close(t, c)
		}
		if len(o.Requests()) != 1 {
			t.Errorf("%d requests, want the second answer to be the stored one", len(o.Requests()))
		}
	})
	if len(got) != 2 {
		t.Fatalf("got %q", got)
	}
	return got
}

// TestConcurrentReaders read and refresh at once; the race detector judges.
func TestConcurrentReaders(t *testing.T) {
	o := everfreshtest.NewBody(`{"n": 0}`)
	c := everfreshtest.NewCache(t, o.Option(), everfresh.WithStorage(new(store.Memory)))
	r := everfreshtest.Register(t, c, originURL, everfresh.JSON[map[string]int]())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			last := 0
			for ctx.Err() == nil {
				v, err := r.Get(ctx)
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("Get: %v", err)
					}
					return
				}
				if v["n"] < last {
					t.Errorf("value %d after %d", v["n"], last)
				}
				last = v["n"]
				if snap := r.Snapshot(); snap.Value["n"] < last || snap.Version == 0 {
					t.Errorf("snapshot of %d after %d", snap.Value["n"], last)
				}
				_, _ = r.Peek()
				_ = r.Status()
			}
		})
	}
	wg.Go(func() {
		last := -1
		for v := range r.Watch(ctx) {
			if v["n"] <= last {
				t.Errorf("Watch yielded %d after %d", v["n"], last)
			}
			last = v["n"]
		}
	})
	for i := range 200 {
		o.Set(func(o *everfreshtest.Origin) { o.Body = fmt.Sprintf(`{"n": %d}`, i) })
		if err := r.Refresh(ctx); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	wg.Wait()
}
