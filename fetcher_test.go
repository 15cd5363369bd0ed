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
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
)

// A fetchLog answers requests from a list and remembers what it was asked. Its last
// answer is repeated.
type fetchLog struct {
	mu      sync.Mutex
	answers []http.HandlerFunc
	seen    []*http.Request
	bodies  []string
}

func fetchAnswers(answers ...http.HandlerFunc) *fetchLog { return &fetchLog{answers: answers} }

func (l *fetchLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var data []byte
	if r.Body != nil {
		data, _ = io.ReadAll(r.Body)
	}
	l.mu.Lock()
	kept := r.Clone(context.WithoutCancel(r.Context())) // the header is the sender's, and may still change
	l.seen = append(l.seen, kept)
	l.bodies = append(l.bodies, string(data))
	answer := l.answers[min(len(l.seen), len(l.answers))-1]
	l.mu.Unlock()
	answer(w, r)
}

func (l *fetchLog) client() *http.Client { return clientOf(l.ServeHTTP) }

// last returns the last request.
func (l *fetchLog) last(t *testing.T) *http.Request {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.seen) == 0 {
		t.Fatal("no request was sent")
	}
	return l.seen[len(l.seen)-1]
}

func (l *fetchLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.seen)
}

// status answers with a code, header fields kv and a short body.
func status(code int, kv ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(kv); i += 2 {
			w.Header().Set(kv[i], kv[i+1])
		}
		w.WriteHeader(code)
		if code != http.StatusNoContent && code != http.StatusNotModified {
			_, _ = io.WriteString(w, "body of the answer")
		}
	}
}

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
		{"both validators", text("a", "ETag", etag, "Last-Modified", since), nil, etag, since},
		{"entity tag", text("a", "ETag", etag), nil, etag, ""},
		{"date", text("a", "Last-Modified", since), nil, "", since},
		{"no validator", text("a"), nil, "", ""},
		{"date that is none, as the origin wrote it", text("a", "Last-Modified", "yesterday"), nil, "", "yesterday"},
		{
			"tag of the caller", text("a", "ETag", etag, "Last-Modified", since),
			[]everfresh.RegisterOption{everfresh.WithHeader("If-None-Match", `"mine"`)},
			`"mine"`, "",
		},
		{
			"date of the caller", text("a", "ETag", etag, "Last-Modified", since),
			[]everfresh.RegisterOption{everfresh.WithHeader("If-Modified-Since", since)},
			"", since,
		},
		{
			"POST", text("a", "ETag", etag, "Last-Modified", since),
			[]everfresh.RegisterOption{fetchMethod(http.MethodPost)},
			"", "",
		},
		{
			"HEAD", text("", "ETag", etag),
			[]everfresh.RegisterOption{fetchMethod(http.MethodHead)},
			etag, "",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			origin := fetchAnswers(tt.first, text("b"))
			c := newCache(t, everfresh.WithHTTPClient(origin.client()))
			r := register(t, c, "https://a.test/", everfresh.Bytes(), tt.opts...)
			if _, err := r.Get(t.Context()); err != nil {
				t.Fatal(err)
			}
			if h := origin.last(t).Header; len(tt.opts) == 0 && (h.Get("If-None-Match") != "" || h.Get("If-Modified-Since") != "") {
				t.Errorf("first request is conditional: %v", h)
			}
			if err := r.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			h := origin.last(t).Header
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

func TestNotModifiedRenewsValidators(t *testing.T) {
	origin := fetchAnswers(
		text("a", "ETag", `"1"`, "Last-Modified", "Sat, 01 Jan 2000 00:00:00 GMT"),
		status(http.StatusNotModified, "ETag", `"2"`),
		status(http.StatusNotModified),
	)
	c := newCache(t, everfresh.WithHTTPClient(origin.client()))
	r := register(t, c, "https://a.test/", everfresh.Bytes())
	if _, err := r.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := r.Snapshot()
	for _, want := range []string{`"1"`, `"2"`, `"2"`} {
		if err := r.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		h := origin.last(t).Header
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
	conditional := func(r *http.Request) bool {
		return r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Modified-Since") != ""
	}
	t.Run("after Invalidate", func(t *testing.T) {
		origin := fetchAnswers(text("a", "ETag", `"1"`))
		c := newCache(t, everfresh.WithHTTPClient(origin.client()))
		r := register(t, c, "https://a.test/", everfresh.Bytes())
		if _, err := r.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.Invalidate(t.Context(), r.Snapshot().Version); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		if origin.count() != 2 || conditional(origin.last(t)) {
			t.Errorf("%d requests, last with %v; want 2, the last without validators", origin.count(), origin.last(t).Header)
		}
	})
	t.Run("after an untyped key was registered again", func(t *testing.T) {
		origin := fetchAnswers(text("a", "ETag", `"1"`))
		c := newCache(t, everfresh.WithHTTPClient(origin.client()))
		for range 2 {
			if err := c.Register("https://a.test/"); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Refresh(t.Context(), "https://a.test/"); err != nil {
				t.Fatal(err)
			}
		}
		if got := origin.seen[1]; conditional(got) {
			t.Errorf("the first request after the replacement has validators: %v", got.Header)
		}
	})
}

func TestAcceptEncodingAndGzip(t *testing.T) {
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	_, _ = io.WriteString(zw, `{"n":7}`)
	_ = zw.Close()
	origin := fetchAnswers(text(packed.String(), "Content-Encoding", "gzip", "Content-Type", "application/json"))
	c := newCache(t, everfresh.WithHTTPClient(origin.client()))
	var seen *http.Response
	r := register(t, c, "https://a.test/", func(ctx context.Context, resp *http.Response) (map[string]int, error) {
		seen = resp
		return everfresh.JSON[map[string]int]()(ctx, resp)
	})
	v, err := r.Get(t.Context())
	if err != nil || v["n"] != 7 {
		t.Fatalf("Get = %v, %v", v, err)
	}
	if got := origin.last(t).Header.Values("Accept-Encoding"); !slices.Equal(got, []string{"gzip"}) {
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
	origin := fetchAnswers(text(packed.String(), "Content-Encoding", "gzip"))
	c := newCache(t, everfresh.WithHTTPClient(origin.client()))
	r := register(t, c, "https://a.test/", func(_ context.Context, resp *http.Response) (string, error) {
		return resp.Header.Get("Content-Encoding") + "/" + resp.Header.Get("Content-Length"), nil
	})
	if v, err := r.Get(t.Context()); v != "/" || err != nil {
		t.Errorf("decoder saw Content-Encoding/Content-Length %q (%v), want neither: the body is decoded", v, err)
	}
}

func TestAcceptEncodingOfTheCallerStays(t *testing.T) {
	origin := fetchAnswers(text("a"))
	c := newCache(t, everfresh.WithHTTPClient(origin.client()), everfresh.WithHeader("Accept-Encoding", "identity"))
	r := register(t, c, "https://a.test/", everfresh.Bytes())
	if _, err := r.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := origin.last(t).Header.Values("Accept-Encoding"); !slices.Equal(got, []string{"identity"}) {
		t.Errorf("Accept-Encoding = %q, want identity", got)
	}
}

func TestHeadersOfCacheGroupAndResource(t *testing.T) {
	origin := fetchAnswers(text("a"))
	c := newCache(t, everfresh.WithHTTPClient(origin.client()), everfresh.WithHeader("x-from", "cache"))
	group := everfresh.Options(everfresh.WithHeader("X-From", "group"))
	r := register(t, c, "https://a.test/1", everfresh.Bytes(), group, everfresh.WithHeader("X-From", "resource"))
	if _, err := r.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := origin.last(t).Header.Values("X-From"); !slices.Equal(got, []string{"cache", "group", "resource"}) {
		t.Errorf("X-From = %q", got)
	}
	other := register(t, c, "https://a.test/2", everfresh.Bytes())
	if _, err := other.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := origin.last(t).Header.Values("X-From"); !slices.Equal(got, []string{"cache"}) {
		t.Errorf("X-From of another resource = %q", got)
	}
}

// A program may build its request once and return it each time: neither headers nor
// validators of one refresh may be found in it by the next.
func TestBuiltRequestIsNotModified(t *testing.T) {
	origin := fetchAnswers(text("a", "ETag", `"1"`), status(http.StatusNotModified))
	template, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://a.test/", nil)
	if err != nil {
		t.Fatal(err)
	}
	template.Header.Set("X-Own", "1")
	want := maps.Clone(template.Header)
	c := newCache(t, everfresh.WithHTTPClient(origin.client()))
	r := register(t, c, "https://a.test/", everfresh.Bytes(),
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
	if got := origin.last(t).Header.Values("X-Added"); len(got) != 1 {
		t.Errorf("X-Added was sent %d times", len(got))
	}
}

func TestBuiltRequest(t *testing.T) {
	origin := fetchAnswers(text("a"))
	c := newCache(t, everfresh.WithHTTPClient(origin.client()))
	var prevs []string
	r := register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithHeader("X-Option", "1"), everfresh.WithPrefetch(false),
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
		if err := r.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(prevs, []string{"none", "a"}) {
		t.Errorf("prev = %q", prevs)
	}
	got := origin.last(t)
	if got.Method != http.MethodPost || got.URL.String() != "https://b.test/p?q=1" || origin.bodies[1] != "prev=a" {
		t.Errorf("sent %s %s with body %q", got.Method, got.URL, origin.bodies[1])
	}
	if got.Header.Get("X-Built") != "1" || got.Header.Get("X-Option") != "1" {
		t.Errorf("header = %v", got.Header)
	}
}

func TestStatuses(t *testing.T) {
	for _, code := range []int{200, 203} {
		origin := fetchAnswers(status(code))
		c := newCache(t, everfresh.WithHTTPClient(origin.client()))
		r := register(t, c, "https://a.test/", everfresh.Bytes())
		if v, err := r.Get(t.Context()); string(v) != "body of the answer" || err != nil {
			t.Errorf("%d: Get = %q, %v", code, v, err)
		}
		if st := r.Status(); st.Code != code {
			t.Errorf("Status.Code = %d, want %d", st.Code, code)
		}
	}
	for _, code := range []int{201, 202, 204, 205, 206, 226, 300, 304, 400, 401, 403, 404, 410, 418, 429, 500, 502, 503, 504, 599, 999} {
		origin := fetchAnswers(text("old"), status(code, "X-Why", "because"))
		c := newCache(t, everfresh.WithHTTPClient(origin.client()))
		r := register(t, c, "https://a.test/", everfresh.Bytes())
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
		{"value without validators", text("old"), everfresh.WithPrefetch(true)},
		{"POST", text("old", "ETag", `"1"`), fetchMethod(http.MethodPost)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answers := []http.HandlerFunc{tt.first, status(http.StatusNotModified)}
			if tt.first == nil {
				answers = answers[1:]
			}
			origin := fetchAnswers(answers...)
			c := newCache(t, everfresh.WithHTTPClient(origin.client()))
			r := register(t, c, "https://a.test/", everfresh.Bytes(), tt.opt)
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
			return ok(io.NopCloser(io.MultiReader(strings.NewReader("half"), fetchBroken{boom}))), nil
		}, "", "boom"},
		{"panic", func(*http.Request) (*http.Response, error) { panic("no") }, "", "panic"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCache(t)
			r := register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithFetcher(tt.fetch))
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

type fetchBroken struct{ err error }

func (b fetchBroken) Read([]byte) (int, error) { return 0, b.err }

// The body of an answer that is of no use is read a little and closed.
func TestUselessBodiesAreClosed(t *testing.T) {
	for _, code := range []int{200, 500} {
		closed := make(chan struct{})
		c := newCache(t, everfresh.WithMaxBytes(4))
		r := register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithFetcher(everfresh.FetcherFunc(
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
	c := newCache(t)
	_, err := everfresh.Register(c, "https://a.test/", everfresh.Bytes(), everfresh.WithHTTPClient(&http.Client{}),
		everfresh.WithFetcher(everfresh.FetcherFunc(func(*http.Request) (*http.Response, error) { return nil, nil })))
	if err == nil || !strings.Contains(err.Error(), "exclude") {
		t.Errorf("error = %v", err)
	}
}

// Middleware stands in the order cache, group, resource, and sees the engine's fields.
func TestMiddlewareAroundTheFetcher(t *testing.T) {
	origin := fetchAnswers(text("a"))
	var order []string
	mark := func(name string) func(everfresh.Fetcher) everfresh.Fetcher {
		return func(next everfresh.Fetcher) everfresh.Fetcher {
			return everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
				order = append(order, name+" "+req.Header.Get("Accept-Encoding"))
				return next.Fetch(req)
			})
		}
	}
	c := newCache(t, everfresh.WithHTTPClient(origin.client()), everfresh.WithMiddleware(mark("cache")))
	r := register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithMiddleware(mark("resource")),
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
	origin := fetchAnswers(status(http.StatusFound, "Location", "/next"), text("a"), status(http.StatusFound, "Location", "/next"), text("b"))
	transport := &fetchTransport{origin.client().Transport}
	client := &http.Client{Transport: transport, CheckRedirect: own, Timeout: time.Hour}
	c := newCache(t)
	r := register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithHTTPClient(client))
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
		client := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		client.Timeout = 2 * time.Second
		c := newCache(t)
		r := register(t, c, "http://a.test/", everfresh.Bytes(), everfresh.WithHTTPClient(client))
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
