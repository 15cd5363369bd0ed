package everfresh_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
)

// redirectWeb returns an origin that is many hosts: it answers each URL by the table. A
// URL that is not in the table answers "end".
func redirectWeb(table map[string]http.HandlerFunc) *everfreshtest.Origin {
	return everfreshtest.NewOrigin(func(w http.ResponseWriter, req *http.Request) {
		answer, ok := table[req.URL.String()]
		if !ok {
			answer = everfreshtest.Text("end", "ETag", `"end"`)
		}
		answer(w, req)
	})
}

// redirectClients are the kinds of clients that a caller may bring. The policy is the
// same with each.
var redirectClients = map[string]func(http.RoundTripper) *http.Client{
	"plain":   func(tr http.RoundTripper) *http.Client { return &http.Client{Transport: tr} },
	"timeout": func(tr http.RoundTripper) *http.Client { return &http.Client{Transport: tr, Timeout: time.Hour} },
	"jar": func(tr http.RoundTripper) *http.Client {
		jar, err := cookiejar.New(nil)
		if err != nil {
			panic(err)
		}
		return &http.Client{Transport: tr, Jar: jar}
	},
}

// redirectEach runs test with each kind of client.
func redirectEach(t *testing.T, test func(t *testing.T, client func(http.RoundTripper) *http.Client)) {
	t.Helper()
	for name, client := range redirectClients {
		t.Run(name, func(t *testing.T) { test(t, client) })
	}
}

func redirectURLs(hops []everfreshtest.Request) string {
	urls := make([]string, len(hops))
	for i, hop := range hops {
		urls[i] = hop.URL.String()
	}
	return strings.Join(urls, " ")
}

func redirectTo(code int, location string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(code)
	}
}

// redirectSecrets are the caller's header fields. None may cross an origin.
var redirectSecrets = http.Header{
	"Authorization":       {"Bearer s"},
	"Cookie":              {"session=s"},
	"Cookie2":             {"s"},
	"Proxy-Authorization": {"Basic s"},
	"Www-Authenticate":    {"s"},
	"X-Api-Key":           {"s"},
	"X-Auth-Token":        {"s"},
	"Private-Token":       {"s"},
	"X-Vault-Token":       {"s"},
	"X-Custom":            {"s", "t"},
	"Accept":              {"application/jwk-set+json"},
	"User-Agent":          {"mine/1"},
	"Referer":             {"https://a.test/?secret=s"},
	"Origin":              {"https://a.test"},
	"If-None-Match":       {`"mine"`},
	"If-Modified-Since":   {"Sat, 01 Jan 2000 00:00:00 GMT"},
	"Range":               {"bytes=0-"},
}

// redirectOptions are redirectSecrets as options.
func redirectOptions() []everfresh.RegisterOption {
	opts := []everfresh.RegisterOption{everfresh.WithPrefetch(false)}
	for name, values := range redirectSecrets {
		for _, v := range values {
			opts = append(opts, everfresh.WithHeader(name, v))
		}
	}
	return opts
}

// redirectRequest builds a request with redirectSecrets and a body, if it is not empty.
func redirectRequest(method, rawURL, body string) []everfresh.RegisterOption {
	return []everfresh.RegisterOption{everfresh.WithPrefetch(false), everfresh.WithRequest(
		func(ctx context.Context, _ *everfresh.Snapshot[any]) (*http.Request, error) {
			req, err := http.NewRequestWithContext(ctx, method, rawURL, strings.NewReader(body))
			if body == "" {
				req.Body, req.GetBody = nil, nil
			}
			req.Header = redirectSecrets.Clone()
			req.Host = "virtual.a.test"
			return req, err
		})}
}

func TestRedirectMatrix(t *testing.T) { redirectEach(t, redirectMatrix) }

func redirectMatrix(t *testing.T, client func(http.RoundTripper) *http.Client) {
	const (
		from = "https://a.test/start?secret=s"
		body = "secret=s"
	)
	targets := []struct {
		name, url string
		same      bool
		refused   string // for every method
	}{
		{"same origin", "https://a.test/end", true, ""},
		{"same origin, relative", "/end", true, ""},
		{"same origin, spelled otherwise", "https://a.test:0443/end", true, ""},
		{"other host", "https://b.test/end", false, ""},
		{"subdomain", "https://sub.a.test/end", false, ""},
		{"other port", "https://a.test:8443/end", false, ""},
		{"no scheme, other host", "//b.test/end", false, ""},
		{"downgrade", "http://a.test/end", false, "from https to http"},
		{"downgrade to another host", "http://b.test/end", false, "from https to http"},
		{"downgrade to the port of https", "http://a.test:443/end", false, "from https to http"},
	}
	for _, code := range []int{301, 302, 303, 307, 308} {
		for _, target := range targets {
			for _, kind := range []string{"GET by options", "GET", "POST"} {
				t.Run(fmt.Sprintf("%d/%s/%s", code, target.name, kind), func(t *testing.T) {
					web := redirectWeb(map[string]http.HandlerFunc{from: redirectTo(code, target.url)})
					c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(client(web)))
					method, sent := http.MethodGet, ""
					opts := redirectRequest(method, from, sent)
					switch kind {
					case "POST":
						method, sent = kind, body
						opts = redirectRequest(method, from, sent)
					case "GET by options":
						opts = redirectOptions()
					}
					r := everfreshtest.Register(t, c, from, everfresh.Bytes(), opts...)
					_, err := r.Get(t.Context())
					hops := web.Take()
					if hops[0].Method != method || hops[0].Sent != sent || hops[0].Header.Get("X-Api-Key") == "" {
						t.Fatalf("first hop: %+v", hops[0])
					}
					keeps := code == 307 || code == 308
					refused := target.refused
					if refused == "" && !target.same && keeps && method == http.MethodPost {
						refused = "POST to another origin"
					}
					if refused != "" {
						redirectExpectRefused(t, err, refused, hops)
						return
					}
					if err != nil || len(hops) != 2 {
						t.Fatalf("Get: %v after %d hops", err, len(hops))
					}
					if !keeps {
						method, sent = http.MethodGet, ""
					}
					if hops[1].Method != method || hops[1].Sent != sent {
						t.Errorf("second hop: %s with body %q, want %s with %q", hops[1].Method, hops[1].Sent, method, sent)
					}
					redirectExpectHeader(t, hops[1], target.same)
				})
			}
		}
	}
}

func redirectExpectRefused(t *testing.T, err error, why string, hops []everfreshtest.Request) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), why) {
		t.Errorf("error = %v, want %q", err, why)
	}
	if len(hops) != 1 {
		t.Errorf("went to %s", redirectURLs(hops))
	}
}

func redirectExpectHeader(t *testing.T, hop everfreshtest.Request, same bool) { //nolint:revive // The flag is a fact of the hop.
	t.Helper()
	if got := hop.Header["Referer"]; got != nil {
		t.Errorf("Referer %q was sent", got)
	}
	if !same {
		if len(hop.Header) != 1 || hop.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("crossed the origin: %v, want Accept-Encoding only", hop.Header)
		}
		return
	}
	for name, values := range redirectSecrets {
		if name != "Referer" && !slices.Equal(hop.Header[name], values) {
			t.Errorf("%s = %q within the origin, want %q", name, hop.Header[name], values)
		}
	}
}

// A body is secret whatever its method is.
func TestRedirectCarriesNoBodyToAnotherOrigin(t *testing.T) {
	redirectEach(t, redirectCarriesNoBodyToAnotherOrigin)
}

func redirectCarriesNoBodyToAnotherOrigin(t *testing.T, client func(http.RoundTripper) *http.Client) {
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "QUERY", "OPTIONS"} {
		for _, code := range []int{301, 302, 303, 307, 308} {
			web := redirectWeb(map[string]http.HandlerFunc{"https://a.test/": redirectTo(code, "https://b.test/")})
			c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(client(web)))
			r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithPrefetch(false), everfresh.WithRequest(
				func(ctx context.Context, _ *everfresh.Snapshot[any]) (*http.Request, error) {
					return http.NewRequestWithContext(ctx, method, "https://a.test/", strings.NewReader("secret=s"))
				}))
			_, err := r.Get(t.Context())
			for _, hop := range web.Take()[1:] {
				if hop.Sent != "" || hop.Header.Get("Content-Type") != "" || hop.Header.Get("Content-Length") != "" {
					t.Errorf("%s, %d: %s %s with body %q and %v (%v)", method, code, hop.Method, hop.URL.String(), hop.Sent, hop.Header, err)
				}
			}
		}
	}
}

// A request may name another host than its URL does. That name is for the first origin,
// also where the target has no scheme, which net/http takes for a relative one.
func TestRedirectKeepsHostWithinTheOrigin(t *testing.T) {
	redirectEach(t, redirectKeepsHostWithinTheOrigin)
}

func redirectKeepsHostWithinTheOrigin(t *testing.T, client func(http.RoundTripper) *http.Client) {
	const from, virtual = "https://a.test/0", "virtual.a.test"
	tests := []struct {
		location string
		stays    bool
	}{
		{"/1", true},
		{"//a.test/1", true},
		{"//b.test/1", false},
		{"//a.test:8443/1", false},
		{"https://b.test/1", false},
	}
	for _, tt := range tests {
		web := redirectWeb(map[string]http.HandlerFunc{from: redirectTo(http.StatusFound, tt.location)})
		c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(client(web)))
		r := everfreshtest.Register(t, c, from, everfresh.Bytes(), redirectRequest(http.MethodGet, from, "")...)
		if _, err := r.Get(t.Context()); err != nil {
			t.Errorf("%s: %v", tt.location, err)
			continue
		}
		hops := web.Take()
		if hops[0].Host != virtual || (hops[1].Host == virtual) != tt.stays {
			t.Errorf("%s: Host %q, then %q; want it kept: %v", tt.location, hops[0].Host, hops[1].Host, tt.stays)
		}
	}
}

// What was lost on the way stays lost, also when a hop comes back.
func TestRedirectThereAndBack(t *testing.T) { redirectEach(t, redirectThereAndBack) }

func redirectThereAndBack(t *testing.T, client func(http.RoundTripper) *http.Client) {
	tests := []struct {
		name  string
		route []string
		bare  int // first hop without the caller's fields
	}{
		{"back at once", []string{"https://a.test/0", "https://b.test/1", "https://a.test/2"}, 1},
		{"back after a hop within", []string{"https://a.test/0", "https://a.test/1", "https://b.test/2", "https://a.test/3"}, 2},
		{"round within the other", []string{"https://a.test/0", "https://b.test/1", "https://b.test/2", "https://a.test/3"}, 1},
		{"port and back", []string{"https://a.test/0", "https://a.test:444/1", "https://a.test/2", "https://a.test/3"}, 1},
		{"upgrade and on", []string{"http://a.test/0", "https://a.test/1", "https://a.test/2"}, 1},
		{"never left", []string{"https://a.test/0", "https://a.test/1", "https://a.test/2", "https://a.test/3"}, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			table := make(map[string]http.HandlerFunc)
			web := redirectWeb(table)
			for i, u := range tt.route[1:] {
				table[tt.route[i]] = redirectTo(http.StatusFound, u)
			}
			c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(client(web)))
			r := everfreshtest.Register(t, c, tt.route[0], everfresh.Bytes(), redirectRequest(http.MethodGet, tt.route[0], "")...)
			if _, err := r.Get(t.Context()); err != nil {
				t.Fatal(err)
			}
			hops := web.Take()
			if got := redirectURLs(hops); got != strings.Join(tt.route, " ") {
				t.Fatalf("went to %s", got)
			}
			for i, hop := range hops {
				if i == 0 {
					continue
				}
				if sent := hop.Header.Get("Authorization") != ""; sent != (i < tt.bare) {
					t.Errorf("hop %d: the caller's fields were sent: %v", i, sent)
				}
				if i >= tt.bare && len(hop.Header) != 1 {
					t.Errorf("hop %d: %v", i, hop.Header)
				}
				if hop.Header["Referer"] != nil {
					t.Errorf("hop %d: Referer %q", i, hop.Header["Referer"])
				}
			}
		})
	}
}

// The engine's own validators are no secret of the caller's, and without them a
// resource behind a redirect would be fetched whole each time.
func TestRedirectKeepsTheEnginesValidators(t *testing.T) {
	web := redirectWeb(map[string]http.HandlerFunc{
		"https://a.test/": redirectTo(http.StatusFound, "https://b.test/"),
		"https://b.test/": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"1"`)
			w.Header().Set("Last-Modified", "Sat, 01 Jan 2000 00:00:00 GMT")
			if r.Header.Get("If-None-Match") == `"1"` {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			_, _ = io.WriteString(w, "b")
		},
	})
	var l everfreshtest.Recorder
	c := everfreshtest.NewCache(t, append(l.Options(), web.Option(), everfresh.WithHeader("X-Api-Key", "s"))...)
	r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithPrefetch(false))
	for range 2 {
		everfreshtest.Refresh(t, r)
	}
	last := web.Take()[3]
	want := http.Header{"Accept-Encoding": {"gzip"}, "If-None-Match": {`"1"`}, "If-Modified-Since": {"Sat, 01 Jan 2000 00:00:00 GMT"}}
	if fmt.Sprint(last.Header) != fmt.Sprint(want) {
		t.Errorf("last hop: %v, want %v", last.Header, want)
	}
	if st := r.Status(); st.Err != nil || st.Failures != 0 {
		t.Errorf("the 304 behind the redirect failed: %v", st.Err)
	}
}

func TestRedirectHops(t *testing.T) { redirectEach(t, redirectHops) }

func redirectHops(t *testing.T, client func(http.RoundTripper) *http.Client) {
	hop := func(i int) string { return fmt.Sprintf("https://a.test/%d", i) }
	for n := range 6 {
		table := make(map[string]http.HandlerFunc)
		web := redirectWeb(table)
		for i := range n {
			table[hop(i)] = redirectTo(http.StatusFound, hop(i+1))
		}
		c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(client(web)))
		r := everfreshtest.Register(t, c, hop(0), everfresh.Bytes(), everfresh.WithPrefetch(false))
		_, err := r.Get(t.Context())
		if n <= 3 {
			if err != nil {
				t.Errorf("%d redirects: %v", n, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "more than 3") {
			t.Errorf("%d redirects: error = %v", n, err)
		}
		if got := len(web.Take()); got != 4 {
			t.Errorf("%d redirects: %d requests, want the first and 3 hops", n, got)
		}
	}
}

func TestRedirectInACircle(t *testing.T) {
	web := redirectWeb(map[string]http.HandlerFunc{
		"https://a.test/": redirectTo(http.StatusMovedPermanently, "https://a.test/"),
	})
	c := everfreshtest.NewCache(t, web.Option())
	r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithPrefetch(false))
	if _, err := r.Get(t.Context()); err == nil || !strings.Contains(err.Error(), "more than 3") {
		t.Errorf("error = %v", err)
	}
}

// Every hop passes the policy, in its canonical form.
func TestRedirectAsksThePolicy(t *testing.T) { redirectEach(t, redirectAsksThePolicy) }

func redirectAsksThePolicy(t *testing.T, client func(http.RoundTripper) *http.Client) {
	route := []string{"https://a.test/0", "https://B.test:443/1", "https://c.test/%2e%2e/2", "https://d.test/3"}
	canonical := []string{"https://a.test/0", "https://b.test/1", "https://c.test/2", "https://d.test/3"}
	for denied := 1; denied <= len(route); denied++ {
		table := make(map[string]http.HandlerFunc)
		web := redirectWeb(table)
		for i, u := range route[1:] {
			table[route[i]] = redirectTo(http.StatusFound, u)
		}
		no := errors.New("not this one")
		var mu sync.Mutex
		var asked []string
		c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(client(web)))
		r := everfreshtest.Register(t, c, route[0], everfresh.Bytes(), everfresh.WithPrefetch(false), everfresh.WithAllow(func(u *url.URL) error {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, u.String())
			if denied < len(route) && u.String() == canonical[denied] {
				return no
			}
			return nil
		}))
		asked = asked[1:] // the registered one, by Register
		_, err := r.Get(t.Context())
		want := canonical[:min(denied+1, len(canonical))]
		if got := slices.Compact(asked); !slices.Equal(got, want) {
			t.Errorf("denied %d: asked for %q, want %q", denied, got, want)
		}
		hops := web.Take()
		if len(hops) != denied {
			t.Errorf("denied %d: went to %s", denied, redirectURLs(hops))
		}
		if denied == len(route) {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if !errors.Is(err, everfresh.ErrNotAllowed) || !errors.Is(err, no) || !strings.Contains(err.Error(), "redirect refused") {
			t.Errorf("denied %d: error = %v, want a refused redirect that Is ErrNotAllowed and the policy's error", denied, err)
		}
	}
}

// These targets are refused before anybody is asked.
func TestRedirectTargetsThatAreNeverFollowed(t *testing.T) {
	redirectEach(t, redirectTargetsThatAreNeverFollowed)
}

func redirectTargetsThatAreNeverFollowed(t *testing.T, client func(http.RoundTripper) *http.Client) {
	tests := []struct{ location, want string }{
		{"https://user:pass@a.test/", "userinfo"},
		{"https://@a.test/", "userinfo"},
		{"ftp://a.test/", "scheme"},
		{"file:///etc/passwd", "scheme"},
		{"data:text/plain,x", "scheme"},
		{"javascript:alert(1)", "scheme"},
		{"https:a.test", "not absolute"},
		{"https://a_%20b.test/", "Location"},
		{"https://a.test:99999/", "port"},
		{"https://a..test/", "host"},
		{"https:///path", ""},
		{"https://[fe80::1%25eth0]/", "host"},
		{"https://a.test/%zz", "Location"},
		{"://", "Location"},
	}
	for _, tt := range tests {
		web := redirectWeb(map[string]http.HandlerFunc{"https://a.test/0": redirectTo(http.StatusFound, tt.location)})
		c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(client(web)), everfresh.WithAllow(everfreshtest.AllowAny))
		r := everfreshtest.Register(t, c, "https://a.test/0", everfresh.Bytes(), everfresh.WithPrefetch(false))
		_, err := r.Get(t.Context())
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error = %v, want %q", tt.location, err, tt.want)
		}
		if hops := web.Take(); len(hops) != 1 {
			t.Errorf("%s: went to %s", tt.location, redirectURLs(hops))
		}
	}
}

// A 3xx without a target, or one that is no redirect, is an answer like any other.
func TestRedirectWithoutATarget(t *testing.T) { redirectEach(t, redirectWithoutATarget) }

func redirectWithoutATarget(t *testing.T, client func(http.RoundTripper) *http.Client) {
	for _, code := range []int{300, 301, 302, 303, 304, 305, 306, 307, 308} {
		answer := everfreshtest.Status(code)
		if code == 300 || code == 304 || code == 305 || code == 306 { // no redirect, whatever it names
			answer = everfreshtest.Status(code, "Location", "https://b.test/")
		}
		web := redirectWeb(map[string]http.HandlerFunc{"https://a.test/": answer})
		c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(client(web)))
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithPrefetch(false))
		_, err := r.Get(t.Context())
		var se *everfresh.StatusError
		if !errors.As(err, &se) || se.Code != code {
			t.Errorf("%d: error = %v", code, err)
		}
		if hops := web.Take(); len(hops) != 1 {
			t.Errorf("%d: went to %s", code, redirectURLs(hops))
		}
	}
}

// A permanent redirect changes nothing of what is registered, and a refused one
// nothing of what is served.
func TestRedirectLeavesTheResourceAlone(t *testing.T) {
	const from = "https://a.test/0"
	web := redirectWeb(map[string]http.HandlerFunc{from: redirectTo(http.StatusMovedPermanently, "https://b.test/1")})
	c := everfreshtest.NewCache(t, web.Option())
	r := everfreshtest.Register(t, c, from, everfresh.Bytes(), everfresh.WithPrefetch(false))
	for range 2 {
		everfreshtest.Refresh(t, r)
		if got := redirectURLs(web.Take()); got != from+" https://b.test/1" {
			t.Errorf("went to %s", got)
		}
	}
	if r.Key() != from || r.Status().Key != from {
		t.Errorf("key = %s, named %s", r.Key(), r.Status().Key)
	}
	web.Say(redirectTo(http.StatusMovedPermanently, "http://b.test/1"))
	if err := r.Refresh(t.Context()); err == nil || errors.Is(err, everfresh.ErrNotReady) {
		t.Errorf("error = %v, want a refused redirect with a value to serve", err)
	}
	if v, ok := r.Peek(); string(v) != "end" || !ok {
		t.Errorf("Peek = %q, %v", v, ok)
	}
}
