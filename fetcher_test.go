package everfresh_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
)

func TestConditionalRequests(t *testing.T) {
	const (
		etag  = `W/"v1"`
		since = "Sat, 01 Jan 2000 00:00:00 GMT"
	)
	tests := []struct {
		name        string
		first       http.HandlerFunc
		opts        []everfresh.RegisterOption
		match, date string // of the second request
	}{
		{"both validators", everfreshtest.Text("a", "ETag", etag, "Last-Modified", since), nil, etag, since},
		{"entity tag", everfreshtest.Text("a", "ETag", etag), nil, etag, ""},
		{"date", everfreshtest.Text("a", "Last-Modified", since), nil, "", since},
		{"no validator", everfreshtest.Text("a"), nil, "", ""},
		{"date that is none, as the origin wrote it", everfreshtest.Text("a", "Last-Modified", "yesterday"), nil, "", "yesterday"},
		{
			"tag of the caller", everfreshtest.Text("a", "ETag", etag, "Last-Modified", since),
			[]everfresh.RegisterOption{everfresh.WithHeader("If-None-Match", `"mine"`)},
			`"mine"`, "",
		},
		{
			"date of the caller", everfreshtest.Text("a", "ETag", etag, "Last-Modified", since),
			[]everfresh.RegisterOption{everfresh.WithHeader("If-Modified-Since", since)},
			"", since,
		},
		{
			"POST", everfreshtest.Text("a", "ETag", etag, "Last-Modified", since),
			[]everfresh.RegisterOption{fetchMethod(http.MethodPost)},
			"", "",
		},
		{
			"HEAD", everfreshtest.Text("", "ETag", etag),
			[]everfresh.RegisterOption{fetchMethod(http.MethodHead)},
			etag, "",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			origin := everfreshtest.NewOrigin(tt.first, everfreshtest.Text("b"))
			c := everfreshtest.NewCache(t, origin.Option())
			r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), tt.opts...)
			if _, err := r.Get(t.Context()); err != nil {
				t.Fatal(err)
			}
			if h := origin.Last().Header; len(tt.opts) == 0 && (h.Get("If-None-Match") != "" || h.Get("If-Modified-Since") != "") {
				t.Errorf("first request is conditional: %v", h)
			}
			everfreshtest.Refresh(t, r)
			h := origin.Last().Header
			if got := strings.Join(h.Values("If-None-Match"), "|"); got != tt.match {
				t.Errorf("If-None-Match = %q, want %q", got, tt.match)
			}
			if got := strings.Join(h.Values("If-Modified-Since"), "|"); got != tt.date {
				t.Errorf("If-Modified-Since = %q, want %q", got, tt.date)
			}
		})
	}
}

// fetchMethod builds a request with another method.
func fetchMethod(method string) everfresh.RegisterOption {
	return everfresh.WithRequest(func(ctx context.Context, _ *everfresh.Snapshot[any]) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, method, "https://a.test/", nil)
	})
}

func TestNotModifiedUpdatesValidators(t *testing.T) {
	origin := everfreshtest.NewOrigin(
		everfreshtest.Text("a", "ETag", `"1"`, "Last-Modified", "Sat, 01 Jan 2000 00:00:00 GMT"),
		everfreshtest.Status(http.StatusNotModified, "ETag", `"2"`),
		everfreshtest.Status(http.StatusNotModified),
	)
	c := everfreshtest.NewCache(t, origin.Option())
	r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
	if _, err := r.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := r.Snapshot()
	for _, want := range []string{`"1"`, `"2"`, `"2"`} {
		everfreshtest.Refresh(t, r)
		h := origin.Last().Header
		if h.Get("If-None-Match") != want || h.Get("If-Modified-Since") == "" {
			t.Errorf("validators = %q, %q, want %s and the date", h.Get("If-None-Match"), h.Get("If-Modified-Since"), want)
		}
	}
	after := r.Snapshot()
	if after.Version != before.Version || string(after.Value) != "a" || after.Err != nil {
		t.Errorf("after 304: version %d, value %q, error %v; want version %d and the old value", after.Version, after.Value, after.Err, before.Version)
	}
}

func TestValidatorsAreWithheld(t *testing.T) {
	conditional := func(r everfreshtest.Request) bool {
		return r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Modified-Since") != ""
	}
	t.Run("after Invalidate", func(t *testing.T) {
		origin := everfreshtest.NewOrigin(everfreshtest.Text("a", "ETag", `"1"`))
		c := everfreshtest.NewCache(t, origin.Option())
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
		if _, err := r.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.Invalidate(t.Context(), r.Snapshot().Version); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		if origin.Count() != 2 || conditional(origin.Last()) {
			t.Errorf("%d requests, last with %v; want 2, the last without validators", origin.Count(), origin.Last().Header)
		}
	})
	t.Run("after an untyped key was registered again", func(t *testing.T) {
		origin := everfreshtest.NewOrigin(everfreshtest.Text("a", "ETag", `"1"`))
		c := everfreshtest.NewCache(t, origin.Option())
		for range 2 {
			if err := c.Register("https://a.test/"); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Refresh(t.Context(), "https://a.test/"); err != nil {
				t.Fatal(err)
			}
		}
		if got := origin.Requests()[1]; conditional(got) {
			t.Errorf("the first request after the replacement has validators: %v", got.Header)
		}
	})
}

func TestAcceptEncodingAndGzip(t *testing.T) {
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	_, _ = io.WriteString(zw, `{"n":7}`)
	_ = zw.Close()
	origin := everfreshtest.NewOrigin(everfreshtest.Text(packed.String(), "Content-Encoding", "gzip", "Content-Type", "application/json"))
	c := everfreshtest.NewCache(t, origin.Option())
	var seen *http.Response
	r := everfreshtest.Register(t, c, "https://a.test/", func(ctx context.Context, resp *http.Response) (map[string]int, error) {
		seen = resp
		return everfresh.JSON[map[string]int]()(ctx, resp)
	})
	v, err := r.Get(t.Context())
	if err != nil || v["n"] != 7 {
		t.Fatalf("Get = %v, %v", v, err)
	}
	if got := origin.Last().Header.Values("Accept-Encoding"); !slices.Equal(got, []string{"gzip"}) {
		t.Errorf("Accept-Encoding = %q, want gzip", got)
	}
	if st := r.Status(); st.Bytes != 7 {
		t.Errorf("Status.Bytes = %d, want the 7 decoded ones", st.Bytes)
	}
	if seen.ContentLength != 7 || seen.Header.Get("Content-Type") != "application/json" {
		t.Errorf("decoder saw length %d and %v", seen.ContentLength, seen.Header)
	}
}

// A decoder that trusts the header would decode the body a second time.
func TestDecoderSeesNoContentEncoding(t *testing.T) {
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	_, _ = io.WriteString(zw, "x")
	_ = zw.Close()
	origin := everfreshtest.NewOrigin(everfreshtest.Text(packed.String(), "Content-Encoding", "gzip"))
	c := everfreshtest.NewCache(t, origin.Option())
	r := everfreshtest.Register(t, c, "https://a.test/", func(_ context.Context, resp *http.Response) (string, error) {
		return resp.Header.Get("Content-Encoding") + "/" + resp.Header.Get("Content-Length"), nil
	})
	if v, err := r.Get(t.Context()); v != "/" || err != nil {
		t.Errorf("decoder saw Content-Encoding/Content-Length %q (%v), want neither: the body is decoded", v, err)
	}
}

func TestAcceptEncodingOfTheCallerStays(t *testing.T) {
	origin := everfreshtest.NewOrigin(everfreshtest.Text("a"))
	c := everfreshtest.NewCache(t, origin.Option(), everfresh.WithHeader("Accept-Encoding", "identity"))
	r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
	if _, err := r.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := origin.Last().Header.Values("Accept-Encoding"); !slices.Equal(got, []string{"identity"}) {
		t.Errorf("Accept-Encoding = %q, want identity", got)
	}
}

func TestHeadersOfCacheGroupAndResource(t *testing.T) {
	origin := everfreshtest.NewOrigin(everfreshtest.Text("a"))
	c := everfreshtest.NewCache(t, origin.Option(), everfresh.WithHeader("x-from", "cache"))
	group := everfresh.Options(everfresh.WithHeader("X-From", "group"))
	r := everfreshtest.Register(t, c, "https://a.test/1", everfresh.Bytes(), group, everfresh.WithHeader("X-From", "resource"))
	if _, err := r.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := origin.Last().Header.Values("X-From"); !slices.Equal(got, []string{"cache", "group", "resource"}) {
		t.Errorf("X-From = %q", got)
	}
	other := everfreshtest.Register(t, c, "https://a.test/2", everfresh.Bytes())
	if _, err := other.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := origin.Last().Header.Values("X-From"); !slices.Equal(got, []string{"cache"}) {
		t.Errorf("X-From of another resource = %q", got)
	}
}

// A program may build its request once and return it each time: neither headers nor
// validators of one refresh may be found in it by the next.
func TestBuiltRequestIsNotModified(t *testing.T) {
	origin := everfreshtest.NewOrigin(everfreshtest.Text("a", "ETag", `"1"`), everfreshtest.Status(http.StatusNotModified))
	template, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://a.test/", nil)
	if err != nil {
		t.Fatal(err)
	}
	template.Header.Set("X-Own", "1")
	want := maps.Clone(template.Header)
	c := everfreshtest.NewCache(t, origin.Option())
	r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(),
		everfresh.WithHeader("X-Added", "1"),
		everfresh.WithRequest(func(context.Context, *everfresh.Snapshot[any]) (*http.Request, error) { return template, nil }))
	for i := range 3 {
		if err := r.Refresh(t.Context()); err != nil {
			t.Errorf("refresh %d: %v", i+1, err)
		}
	}
	if !maps.EqualFunc(template.Header, want, slices.Equal) {
		t.Errorf("header of the built request became %v, was %v", template.Header, want)
	}
	if got := origin.Last().Header.Values("X-Added"); len(got) != 1 {
		t.Errorf("X-Added was sent %d times", len(got))
	}
}

func TestBuiltRequest(t *testing.T) {
	origin := everfreshtest.NewOrigin(everfreshtest.Text("a"))
	c := everfreshtest.NewCache(t, origin.Option())
	var prevs []string
	r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithHeader("X-Option", "1"), everfresh.WithPrefetch(false),
		everfresh.WithRequest(func(ctx context.Context, prev *everfresh.Snapshot[any]) (*http.Request, error) {
			v := "none"
			if prev != nil {
				v = string(prev.Value.([]byte))
			}
			prevs = append(prevs, v)
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://b.test/p?q=1", strings.NewReader("prev="+v))
			req.Header.Set("X-Built", "1")
			return req, err
		}))
	for range 2 {
		everfreshtest.Refresh(t, r)
	}
	if !slices.Equal(prevs, []string{"none", "a"}) {
		t.Errorf("prev = %q", prevs)
	}
	got := origin.Last()
	if got.Method != http.MethodPost || got.URL.String() != "https://b.test/p?q=1" || origin.Requests()[1].Sent != "prev=a" {
		t.Errorf("sent %s %s with body %q", got.Method, got.URL, origin.Requests()[1].Sent)
	}
	if got.Header.Get("X-Built") != "1" || got.Header.Get("X-Option") != "1" {
		t.Errorf("header = %v", got.Header)
	}
}

func TestStatuses(t *testing.T) {
	for _, code := range []int{200, 203} {
		origin := everfreshtest.NewOrigin(everfreshtest.Status(code))
		c := everfreshtest.NewCache(t, origin.Option())
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
		if v, err := r.Get(t.Context()); string(v) != "body of the answer" || err != nil {
			t.Errorf("%d: Get = %q, %v", code, v, err)
		}
		if st := r.Status(); st.Code != code {
			t.Errorf("Status.Code = %d, want %d", st.Code, code)
		}
	}
	for _, code := range []int{201, 202, 204, 205, 206, 226, 300, 304, 400, 401, 403, 404, 410, 418, 429, 500, 502, 503, 504, 599, 999} {
		origin := everfreshtest.NewOrigin(everfreshtest.Text("old"), everfreshtest.Status(code, "X-Why", "because"))
		c := everfreshtest.NewCache(t, origin.Option())
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
		if _, err := r.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		err := r.Refresh(t.Context())
		var se *everfresh.StatusError
		if !errors.As(err, &se) || se.Code != code || se.Header.Get("X-Why") != "because" {
			t.Errorf("%d: error %v, want a *StatusError with code and header", code, err)
		}
		if v, ok := r.Peek(); string(v) != "old" || !ok {
			t.Errorf("%d: Peek = %q, %v, want the old value", code, v, ok)
		}
		if st := r.Status(); st.Code != 200 || st.Failures != 1 || st.Err == nil {
			t.Errorf("%d: status after it: %+v", code, st)
		}
	}
}

// A 304 that answers an unconditional request confirms nothing.
func TestUnexpected304(t *testing.T) {
	tests := []struct {
		name  string
		first http.HandlerFunc
		opt   everfresh.RegisterOption
	}{
		{"no value", nil, everfresh.WithPrefetch(true)},
		{"value without validators", everfreshtest.Text("old"), everfresh.WithPrefetch(true)},
		{"POST", everfreshtest.Text("old", "ETag", `"1"`), fetchMethod(http.MethodPost)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answers := []http.HandlerFunc{tt.first, everfreshtest.Status(http.StatusNotModified)}
			if tt.first == nil {
				answers = answers[1:]
			}
			origin := everfreshtest.NewOrigin(answers...)
			c := everfreshtest.NewCache(t, origin.Option())
			r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), tt.opt)
			var err error
			for range len(answers) {
				err = r.Refresh(t.Context())
			}
			var se *everfresh.StatusError
			if !errors.As(err, &se) || se.Code != http.StatusNotModified {
				t.Errorf("error = %v, want a *StatusError of 304", err)
			}
			if _, ok := r.Peek(); ok != (tt.first != nil) {
				t.Errorf("Peek = %v", ok)
			}
		})
	}
}

func TestFetcherResults(t *testing.T) {
	boom := errors.New("boom")
	ok := func(body io.ReadCloser) *http.Response { return &http.Response{StatusCode: http.StatusOK, Body: body} }
	tests := []struct {
		name  string
		fetch everfresh.FetcherFunc
		value string
		want  string // part of the error
	}{
		{"neither response nor error", func(*http.Request) (*http.Response, error) { return nil, nil }, "", "neither response nor error"},
		{"error", func(*http.Request) (*http.Response, error) { return nil, boom }, "", "boom"},
		{"both", func(*http.Request) (*http.Response, error) { return ok(nil), boom }, "", "boom"},
		{"no body", func(*http.Request) (*http.Response, error) { return ok(nil), nil }, "", ""},
		{"no header", func(*http.Request) (*http.Response, error) {
			return ok(io.NopCloser(strings.NewReader("v"))), nil
		}, "v", ""},
		{"zero response", func(*http.Request) (*http.Response, error) { return &http.Response{}, nil }, "", "unexpected status 0"},
		{"failing body", func(*http.Request) (*http.Response, error) {
			return ok(io.NopCloser(io.MultiReader(strings.NewReader("half"), iotest.ErrReader(boom)))), nil
		}, "", "boom"},
		{"panic", func(*http.Request) (*http.Response, error) { panic("no") }, "", "panic"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := everfreshtest.NewCache(t)
			r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithFetcher(tt.fetch))
			v, err := r.Get(t.Context())
			if tt.want == "" {
				if err != nil || string(v) != tt.value {
					t.Errorf("Get = %q, %v, want %q", v, err, tt.value)
				}
				return
			}
			var re *everfresh.RefreshError
			if !errors.As(err, &re) || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, everfresh.ErrNotReady) {
				t.Errorf("error = %v, want a *RefreshError with %q that Is ErrNotReady", err, tt.want)
			}
			if strings.Contains(tt.want, "boom") && !errors.Is(err, boom) {
				t.Errorf("error %v does not wrap the fetcher's", err)
			}
		})
	}
}

// The body of an answer that is of no use is read a little and closed.
func TestUselessBodiesAreClosed(t *testing.T) {
	for _, code := range []int{200, 500} {
		closed := make(chan struct{})
		c := everfreshtest.NewCache(t, everfresh.WithMaxBytes(4))
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithFetcher(everfresh.FetcherFunc(
			func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: code, Body: &fetchBody{closed: closed}}, nil
			})))
		if _, err := r.Get(t.Context()); err == nil {
			t.Errorf("%d: no error", code)
		}
		select {
		case <-closed:
		default:
			t.Errorf("%d: the body was not closed", code)
		}
	}
}

// fetchBody is an endless body.
type fetchBody struct {
	closed chan struct{}
	once   sync.Once
}

func (*fetchBody) Read(p []byte) (int, error) { return len(p), nil }

func (b *fetchBody) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}

func TestWithFetcherAndHTTPClientExcludeEachOther(t *testing.T) {
	c := everfreshtest.NewCache(t)
	_, err := everfresh.Register(c, "https://a.test/", everfresh.Bytes(), everfresh.WithHTTPClient(&http.Client{}),
		everfresh.WithFetcher(everfresh.FetcherFunc(func(*http.Request) (*http.Response, error) { return nil, nil })))
	if err == nil || !strings.Contains(err.Error(), "exclude") {
		t.Errorf("error = %v", err)
	}
}

// Middleware stands in the order cache, group, resource, and sees the engine's fields.
func TestMiddlewareAroundTheFetcher(t *testing.T) {
	origin := everfreshtest.NewOrigin(everfreshtest.Text("a"))
	var order []string
	mark := func(name string) func(everfresh.Fetcher) everfresh.Fetcher {
		return func(next everfresh.Fetcher) everfresh.Fetcher {
			return everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
				order = append(order, name+" "+req.Header.Get("Accept-Encoding"))
				return next.Fetch(req)
			})
		}
	}
	c := everfreshtest.NewCache(t, origin.Option(), everfresh.WithMiddleware(mark("cache")))
	r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithMiddleware(mark("resource")),
		everfresh.Options(everfresh.WithMiddleware(mark("group"))))
	if _, err := r.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{"cache gzip", "group gzip", "resource gzip"}; !slices.Equal(order, want) {
		t.Errorf("order = %q, want %q", order, want)
	}
}

type fetchTransport struct{ http.RoundTripper }

func TestHTTPClientIsCopied(t *testing.T) {
	var asked atomic.Int64
	own := func(*http.Request, []*http.Request) error {
		asked.Add(1)
		return http.ErrUseLastResponse
	}
	origin := everfreshtest.NewOrigin(everfreshtest.Status(http.StatusFound, "Location", "/next"), everfreshtest.Text("a"), everfreshtest.Status(http.StatusFound, "Location", "/next"), everfreshtest.Text("b"))
	transport := &fetchTransport{origin.Client().Transport}
	client := &http.Client{Transport: transport, CheckRedirect: own, Timeout: time.Hour}
	c := everfreshtest.NewCache(t)
	r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithHTTPClient(client))
	if v, err := r.Get(t.Context()); string(v) != "a" || err != nil {
		t.Fatalf("Get = %q, %v, want the redirect followed", v, err)
	}
	if asked.Load() != 0 {
		t.Error("the client's own CheckRedirect was asked")
	}
	if client.Transport != transport || client.Timeout != time.Hour || !errors.Is(client.CheckRedirect(nil, nil), http.ErrUseLastResponse) {
		t.Error("the caller's client was changed")
	}
	client.Transport = nil // what becomes of the caller's client is the caller's
	client.Timeout = time.Nanosecond
	if err := r.Refresh(t.Context()); err != nil {
		t.Errorf("Refresh after the caller changed its client: %v", err)
	}
}

const fetchProxyEnv = "EVERFRESH_TEST_PROXIED_ORIGIN"

// A caller's timeout on its client is kept, and tells of itself.
func TestTimeoutOfTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := everfreshtest.Serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		client.Timeout = 2 * time.Second
		c := everfreshtest.NewCache(t)
		r := everfreshtest.Register(t, c, "http://a.test/", everfresh.Bytes(), everfresh.WithHTTPClient(client))
		start := time.Now()
		_, err := r.Get(t.Context())
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("failed after %v, want 2 s", took)
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error = %v", err)
		}
	})
}
