package everfresh_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
)

// allowTries returns what Register says of a URL, by both APIs.
func allowTries(t *testing.T, rawURL string, opts ...everfresh.CacheOption) error {
	t.Helper()
	c := everfreshtest.NewCache(t, append(opts, everfresh.WithHTTPClient(everfreshtest.Client(everfreshtest.Text("x"))), everfresh.WithPrefetch(false))...)
	_, typed := everfresh.Register(c, rawURL, everfresh.Bytes(), everfresh.WithKey("typed"))
	untyped := c.Register(rawURL, everfresh.WithKey("untyped"))
	if (typed == nil) != (untyped == nil) {
		t.Errorf("%.80s: the typed API says %v, the untyped %v", rawURL, typed, untyped)
	}
	if typed == nil {
		if v, err := c.Get(t.Context(), "typed"); err != nil {
			t.Errorf("%.80s: registered, but Get = %v, %v", rawURL, v, err)
		}
	}
	return typed
}

func TestAllow(t *testing.T) {
	no := errors.New("no")
	hosts := everfresh.AllowHosts("a.test", "*.sub.test", "b.test:8443", "bücher.test", "[2001:db8::1]")
	prefix := everfresh.AllowPrefix("https://a.test/keys/")
	expr := everfresh.AllowRegexp(`https://[a-z]+\.test/keys/[0-9]+(\?.*)?`)
	none := func(*url.URL) error { return no }
	tests := []struct {
		name     string
		policies []func(*url.URL) error
		allowed  []string
		denied   []string
	}{
		{
			"hosts",
			[]func(*url.URL) error{hosts},
			[]string{
				"https://a.test", "http://a.test/", "HTTPS://A.TEST/x", "https://a.test:443/", "https://a.test./", "https://x.sub.test/", "https://x.y.sub.test/",
				"https://b.test:8443/", "https://bücher.test/", "https://BÜCHER.test/", "https://xn--bcher-kva.test/", "https://[2001:DB8:0::1]/", "https://[2001:db8::1]:443/",
			},
			[]string{
				"https://sub.test/", "https://evilsub.test/", "https://a.test.evil.test/", "https://a.test:8443/", "https://a.test:80/", "https://b.test/", "https://c.test/?a.test",
				"https://c.test/#https://a.test/", "https://bucher.test/", "https://[2001:db8::2]/", "https://[::ffff:1.2.3.4]/",
			},
		},
		{
			"prefix",
			[]func(*url.URL) error{prefix},
			[]string{"https://a.test/keys/", "https://a.test/keys/x?y", "https://a.test/x/../keys/1", "https://a.test/x/%2e%2e/keys/1", "https://a.test//keys//1", "https://a.test/%6beys/1", "https://a.test:443/keys/1"},
			[]string{
				"https://a.test/keys", "https://a.test/keysx/", "http://a.test/keys/1", "https://a.test/keys/../secret", "https://a.test/keys/%2e%2e/secret", "https://a.test/keys/%2E./secret",
				"https://a.test/keys/%252e%252e/secret", `https://a.test/keys/..%5csecret`, "https://a.test/keys/..%2fsecret", "https://a.test/keys/..;/secret", "https://a.test:444/keys/1", "https://b.test/keys/1",
			},
		},
		{
			"regular expression",
			[]func(*url.URL) error{expr},
			[]string{"https://a.test/keys/1", "https://A.test:443/keys/23?x=y", "https://a.test/./keys/1"},
			[]string{"https://a.test/keys/1x", "https://a.test/keys/", "https://evil.example/?https://a.test/keys/1", "http://a.test/keys/1", "https://a.test/keys/1/../../x"},
		},
		{
			"all",
			[]func(*url.URL) error{everfreshtest.AllowAny},
			[]string{"https://a.test/", "http://127.0.0.1:8080/", "http://[::1]/", "https://a.test/%zz"[:15]},
			nil,
		},
		{"none given", []func(*url.URL) error{}, nil, []string{"https://a.test/", "http://b.test/"}},
		{"custom", []func(*url.URL) error{none}, nil, []string{"https://a.test/"}},
		{"one of several", []func(*url.URL) error{none, prefix, hosts}, []string{"https://a.test/x", "https://a.test/keys/1"}, []string{"https://c.test/"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, raw := range tt.allowed {
				if err := allowTries(t, raw, everfresh.WithAllow(tt.policies...)); err != nil {
					t.Errorf("%s: %v", raw, err)
				}
			}
			for _, raw := range tt.denied {
				if err := allowTries(t, raw, everfresh.WithAllow(tt.policies...)); !errors.Is(err, everfresh.ErrNotAllowed) {
					t.Errorf("%s: error = %v, want ErrNotAllowed", raw, err)
				}
			}
		})
	}
}

// A policy's error tells why.
func TestAllowTellsWhy(t *testing.T) {
	no := errors.New("closed on Sundays")
	err := allowTries(t, "https://a.test/", everfresh.WithAllow(
		everfresh.AllowHosts("b.test"), everfresh.AllowPrefix("https://a.test/x"), everfresh.AllowRegexp("x"),
		func(*url.URL) error { return no }))
	for _, part := range []string{"host not on the list", "not under the prefix", "no match", "closed on Sundays"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error = %v, want %q in it", err, part)
		}
	}
	if !errors.Is(err, everfresh.ErrNotAllowed) || !errors.Is(err, no) {
		t.Errorf("error = %v, want ErrNotAllowed and the policy's own", err)
	}
}

// Policies of cache, group and resource must all agree, in whatever order.
func TestAllowOfSeveralLevels(t *testing.T) {
	both := []everfresh.Option{
		everfresh.WithAllow(everfresh.AllowHosts("a.test", "b.test")),
		everfresh.WithAllow(everfresh.AllowHosts("b.test", "c.test")),
	}
	tests := []struct {
		name     string
		cache    []everfresh.CacheOption
		resource []everfresh.RegisterOption
	}{
		{"cache, twice", []everfresh.CacheOption{both[0], both[1]}, nil},
		{"resource, twice", nil, []everfresh.RegisterOption{both[1], both[0]}},
		{"cache and resource", []everfresh.CacheOption{both[0]}, []everfresh.RegisterOption{both[1]}},
		{"cache and group", []everfresh.CacheOption{both[1]}, []everfresh.RegisterOption{everfresh.Options(both[0])}},
		{"a resource cannot widen", []everfresh.CacheOption{both[0], both[1]}, []everfresh.RegisterOption{everfresh.WithAllow(everfreshtest.AllowAny)}},
	}
	for _, tt := range tests {
		for _, host := range []string{"a", "b", "c", "d"} {
			c := everfreshtest.NewCache(t, append(tt.cache, everfresh.WithHTTPClient(everfreshtest.Client(everfreshtest.Text("x"))))...)
			_, err := everfresh.Register(c, "https://"+host+".test/", everfresh.Bytes(), tt.resource...)
			if allowed := err == nil; allowed != (host == "b") {
				t.Errorf("%s: %s.test: %v", tt.name, host, err)
			}
		}
	}
}

// The options of one resource must not reach another's.
func TestAllowDoesNotSpread(t *testing.T) {
	c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(everfreshtest.Client(everfreshtest.Text("x"))), everfresh.WithAllow(everfresh.AllowHosts("a.test", "b.test")))
	narrow := everfresh.WithAllow(everfresh.AllowHosts("b.test"))
	everfreshtest.Register(t, c, "https://b.test/", everfresh.Bytes(), narrow)
	everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithJitter(0))
	if _, err := everfresh.Register(c, "https://a.test/2", everfresh.Bytes(), narrow); !errors.Is(err, everfresh.ErrNotAllowed) {
		t.Errorf("error = %v", err)
	}
}

// Policies are added to those of the cache in a place of the resource's own, also where
// the cache has room for more behind its own.
func TestAllowDoesNotOverwrite(t *testing.T) {
	for n := range 5 { // some numbers of policies leave room, others do not
		opts := []everfresh.CacheOption{everfresh.WithHTTPClient(everfreshtest.Client(everfreshtest.Text("x"))), everfresh.WithPrefetch(false)}
		for range n {
			opts = append(opts, everfresh.WithAllow(everfreshtest.AllowAny))
		}
		c := everfreshtest.NewCache(t, opts...)
		a := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithAllow(everfresh.AllowHosts("a.test")))
		b := everfreshtest.Register(t, c, "https://b.test/", everfresh.Bytes(), everfresh.WithAllow(everfresh.AllowHosts("b.test")))
		for _, r := range []*everfresh.Resource[[]byte]{a, b} {
			if _, err := r.Get(t.Context()); err != nil {
				t.Errorf("%d policies of the cache: %v", n, err)
			}
		}
	}
}

func TestAllowInvalidPatterns(t *testing.T) {
	bad := map[string]func(*url.URL) error{
		"no hosts":           everfresh.AllowHosts(),
		"host with a scheme": everfresh.AllowHosts("a.test", "https://a.test"),
		"host with a path":   everfresh.AllowHosts("a.test/x"),
		"wild in the middle": everfresh.AllowHosts("a.*.test"),
		"empty host":         everfresh.AllowHosts(""),
		"bad port":           everfresh.AllowHosts("a.test:x"),
		"empty prefix":       everfresh.AllowPrefix(""),
		"relative prefix":    everfresh.AllowPrefix("/keys"),
		"prefix, query":      everfresh.AllowPrefix("https://a.test/?x"),
		"prefix, userinfo":   everfresh.AllowPrefix("https://u:p@a.test/"),
		"prefix, scheme":     everfresh.AllowPrefix("ftp://a.test/"),
		"empty expression":   everfresh.AllowRegexp(""),
		"expression":         everfresh.AllowRegexp("("),
		"unanchored":         everfresh.AllowRegexp("a)|(b"),
	}
	for name, policy := range bad {
		for _, tt := range []struct {
			place    string
			cache    []everfresh.CacheOption
			resource []everfresh.RegisterOption
		}{
			{"alone", nil, []everfresh.RegisterOption{everfresh.WithAllow(policy)}},
			{"before one that allows any", nil, []everfresh.RegisterOption{everfresh.WithAllow(policy, everfreshtest.AllowAny)}},
			{"after one that allows any", nil, []everfresh.RegisterOption{everfresh.WithAllow(everfreshtest.AllowAny, policy)}},
			{"of the cache", []everfresh.CacheOption{everfresh.WithAllow(everfreshtest.AllowAny, policy)}, nil},
		} {
			c := everfreshtest.NewCache(t, append(tt.cache, everfresh.WithHTTPClient(everfreshtest.Client(everfreshtest.Text("x"))))...)
			_, err := everfresh.Register(c, "https://a.test/", everfresh.Bytes(), tt.resource...)
			if err == nil || !strings.Contains(err.Error(), "invalid URL pattern") {
				t.Errorf("%s, %s: error = %v, want an invalid pattern", name, tt.place, err)
			}
		}
	}
	c := everfreshtest.NewCache(t)
	_, err := everfresh.Register(c, "https://a.test/", everfresh.Bytes(), everfresh.WithAllow(everfreshtest.AllowAny, nil))
	if err == nil || !strings.Contains(err.Error(), "nil URL policy") {
		t.Errorf("nil policy: error = %v", err)
	}
}

// URLs that no policy can allow.
func TestURLsThatAreNeverAllowed(t *testing.T) {
	tests := []struct{ name, url string }{
		{"empty", ""},
		{"relative", "/keys"},
		{"relative without a slash", "keys"},
		{"no scheme", "//a.test/"},
		{"no host", "https://"},
		{"no host, path", "https:///keys"},
		{"only a port", "https://:443/"},
		{"opaque", "https:a.test"},
		{"ftp", "ftp://a.test/"},
		{"file", "file:///etc/passwd"},
		{"unix", "unix:///var/run/x"},
		{"ws", "ws://a.test/"},
		{"long s in the scheme", "http\u017f://a.test/"},
		{"userinfo", "https://user:pass@a.test/"},
		{"user", "https://user@a.test/"},
		{"empty userinfo", "https://@a.test/"},
		{"at sign in the path of no host", "https:///u:p@a.test/"},
		{"control character", "https://a.test/\x00"},
		{"line end", "https://a.test/\r\nX: y"},
		{"tab", "https://a\t.test/"},
		{"delete", "https://a.test/\x7f"},
		{"space in the host", "https://a .test/"},
		{"bad escape", "https://a.test/%zz"},
		{"escape in the host", "https://a%2etest/"},
		{"port too large", "https://a.test:65536/"},
		{"port zero", "https://a.test:0/"},
		{"port that is none", "https://a.test:https/"},
		{"zone", "https://[fe80::1%25eth0]/"},
		{"IPv4 in brackets", "https://[127.0.0.1]/"},
		{"open bracket", "https://[::1/"},
		{"empty label", "https://a..test/"},
		{"leading dot", "https://.a.test/"},
		{"label too long", "https://" + strings.Repeat("a", 64) + ".test/"},
		{"host too long", "https://" + strings.Repeat("aaaa.", 60) + "test/"},
		{"not an IDN", "https://\u2488.test/"},
		{"no UTF-8 in the host", "https://a\xff.test/"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, opts := range [][]everfresh.CacheOption{nil, {everfresh.WithAllow(everfreshtest.AllowAny)}} {
				if err := allowTries(t, tt.url, opts...); !errors.Is(err, everfresh.ErrNotAllowed) {
					t.Errorf("error = %v, want ErrNotAllowed", err)
				}
			}
		})
	}
}

// A refusal says neither user nor password, nor what else the URL holds.
func TestRefusedURLIsNotShown(t *testing.T) {
	for _, raw := range []string{"https://me:s3cr3t@a.test/", "https://a.test/?k=s3cr3t\x00", "https://a.test:s3cr3t/", "https:s3cr3t@a.test"} {
		c := everfreshtest.NewCache(t)
		_, err := everfresh.Register(c, raw, everfresh.Bytes())
		if err == nil || strings.Contains(err.Error(), "s3cr3t") || strings.Contains(err.Error(), "me:") {
			t.Errorf("error = %v", err)
		}
	}
}

// The policy sees every URL in one spelling, and the origin sees it as it was written.
func TestAllowSeesTheCanonicalURL(t *testing.T) {
	tests := []struct{ raw, policy, sent string }{
		{"HTTPS://A.Test.:0443", "https://a.test/", "https://A.Test.:0443"},
		{"http://a.test:80/x?Q=%41#frag", "http://a.test/x?Q=%41", "http://a.test:80/x?Q=%41"},
		{"https://Bücher.test/", "https://xn--bcher-kva.test/", "https://B%C3%BCcher.test/"},
		{"https://[2001:DB8:0:0::1]:443/", "https://[2001:db8::1]/", "https://[2001:DB8:0:0::1]:443/"},
		{"https://a.test/x/%2e%2e/y/./z", "https://a.test/y/z", "https://a.test/x/%2e%2e/y/./z"},
		{"https://a.test/%41%2fb", "https://a.test/A/b", "https://a.test/%41%2fb"},
		{`https://a.test/x\..\y`, "https://a.test/y", `https://a.test/x%5C..%5Cy`},
		{"https://a.test/a+b%20c", "https://a.test/a+b%20c", "https://a.test/a+b%20c"},
	}
	for _, tt := range tests {
		web := redirectWeb(nil)
		var asked []string
		c := everfreshtest.NewCache(t, web.Option())
		r := everfreshtest.Register(t, c, tt.raw, everfresh.Bytes(), everfresh.WithPrefetch(false), everfresh.WithAllow(func(u *url.URL) error {
			asked = append(asked, u.String())
			u.Host, u.Path = "evil.test", "/changed" // it is a copy
			return nil
		}))
		if _, err := r.Get(t.Context()); err != nil {
			t.Error(err)
		}
		if got := slices.Compact(asked); !slices.Equal(got, []string{tt.policy}) {
			t.Errorf("%s: the policy saw %q, want %s", tt.raw, got, tt.policy)
		}
		if got := redirectURLs(web.Take()); got != tt.sent {
			t.Errorf("%s: sent %s, want %s", tt.raw, got, tt.sent)
		}
		if r.Key() != tt.raw {
			t.Errorf("key = %s, want the URL as it was registered", r.Key())
		}
	}
}

// Two spellings are two keys, as in httprc: what is registered is what is looked up.
func TestVeryLongURL(t *testing.T) {
	long := "https://a.test/" + strings.Repeat("x/", 25<<10) + "?q=" + strings.Repeat("s3cr3t", 9<<10)
	web := redirectWeb(nil)
	for _, policies := range [][]everfresh.CacheOption{
		nil,
		{everfresh.WithAllow(everfresh.AllowPrefix("https://a.test/x/x"))},
		{everfresh.WithAllow(everfresh.AllowRegexp(`https://a\.test/.*`))},
	} {
		var l everfreshtest.Recorder
		c := everfreshtest.NewCache(t, append(append(l.Options(), web.Option()), policies...)...)
		r := everfreshtest.Register(t, c, long, everfresh.Bytes(), everfresh.WithPrefetch(false))
		if v, err := r.Get(t.Context()); string(v) != "end" || err != nil {
			t.Fatalf("Get = %q, %.200v", v, err)
		}
		if hops := web.Take(); len(hops) != 1 || hops[0].URL.String() != long {
			t.Errorf("%d requests, not the one registered", len(hops))
		}
		if !c.IsRegistered(long) || r.Key() != long {
			t.Error("the key is not the URL")
		}
		if name := r.Status().Key; len(name) > 200 || strings.Contains(name, "s3cr3t") {
			t.Errorf("named by %d bytes: %.300s", len(name), name)
		}
		if err := c.Unregister(long); err != nil {
			t.Error(err)
		}
	}
}

// A built request's URL passes the policy each time, before anything is sent.
func TestAllowOfBuiltRequests(t *testing.T) {
	tests := []struct{ url, want string }{
		{"https://a.test/ok", ""},
		{"https://b.test/", "host not on the list"},
		{"https://a.test:8443/", "host not on the list"},
		{"https://user:pass@a.test/", "userinfo"},
		{"ftp://a.test/", "scheme"},
		{"/relative", "not absolute"},
		{"https:", "not absolute"},
	}
	for _, tt := range tests {
		web := redirectWeb(nil)
		c := everfreshtest.NewCache(t, web.Option(), everfresh.WithAllow(everfresh.AllowHosts("a.test")))
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithPrefetch(false), everfresh.WithRequest(
			func(ctx context.Context, _ *everfresh.Snapshot[any]) (*http.Request, error) {
				return http.NewRequestWithContext(ctx, http.MethodPost, tt.url, strings.NewReader("secret"))
			}))
		_, err := r.Get(t.Context())
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.url, err)
			}
			continue
		}
		if !errors.Is(err, everfresh.ErrNotAllowed) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error = %v, want ErrNotAllowed with %q", tt.url, err, tt.want)
		}
		if hops := web.Take(); len(hops) != 0 {
			t.Errorf("%s: sent to %s", tt.url, redirectURLs(hops))
		}
	}
}

// A fetcher of the caller's own is asked for nothing that the policy refuses either.
func TestAllowOfBuiltRequestsBeforeAFetcher(t *testing.T) {
	fetched := 0
	c := everfreshtest.NewCache(t, everfresh.WithAllow(everfresh.AllowHosts("a.test")), everfresh.WithFetcher(everfresh.FetcherFunc(
		func(*http.Request) (*http.Response, error) {
			fetched++
			return nil, errors.New("fetched")
		})))
	r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithPrefetch(false), everfresh.WithRequest(
		func(ctx context.Context, _ *everfresh.Snapshot[any]) (*http.Request, error) {
			return http.NewRequestWithContext(ctx, http.MethodGet, "https://b.test/", nil)
		}))
	_, err := r.Get(t.Context())
	var re *everfresh.RefreshError
	if !errors.Is(err, everfresh.ErrNotAllowed) || !errors.As(err, &re) || re.Op != "request" || fetched != 0 {
		t.Errorf("error = %v after %d fetches, want ErrNotAllowed of the request", err, fetched)
	}
}

func TestAllowOfARequestWithoutURL(t *testing.T) {
	c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(everfreshtest.Client(everfreshtest.Text("x"))))
	r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithPrefetch(false), everfresh.WithRequest(
		func(context.Context, *everfresh.Snapshot[any]) (*http.Request, error) { return &http.Request{}, nil }))
	if _, err := r.Get(t.Context()); !errors.Is(err, everfresh.ErrNotAllowed) {
		t.Errorf("error = %v, want ErrNotAllowed", err)
	}
}

func TestAllowOfWhatMiddlewareChanged(t *testing.T) {
	same := func(ctx context.Context) context.Context { return ctx }
	derived := func(ctx context.Context) context.Context { return context.WithValue(ctx, allowKey{}, 1) }
	for _, tt := range []struct {
		to, want string
		ctx      func(context.Context) context.Context
	}{
		{"https://a.test/moved", "", same},
		{"https://b.test/", "host not on the list", same},
		{"https://b.test/", "host not on the list", derived},
		{"https://u:p@a.test/", "userinfo", same},
	} {
		web := redirectWeb(nil)
		c := everfreshtest.NewCache(t, web.Option(), everfresh.WithAllow(everfresh.AllowHosts("a.test")),
			everfresh.WithMiddleware(everfreshtest.Moves(tt.to, tt.ctx)))
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithPrefetch(false))
		_, err := r.Get(t.Context())
		hops := web.Take()
		if tt.want == "" {
			if err != nil || redirectURLs(hops) != tt.to {
				t.Errorf("%s: %v, sent to %s", tt.to, err, redirectURLs(hops))
			}
			continue
		}
		if !errors.Is(err, everfresh.ErrNotAllowed) || !strings.Contains(err.Error(), tt.want) || len(hops) != 0 {
			t.Errorf("%s: error = %v, sent to %q; want ErrNotAllowed with %q", tt.to, err, redirectURLs(hops), tt.want)
		}
	}
}

type allowKey struct{}

// Middleware that drops the request's context must not thereby drop the policy.
func TestAllowWithoutTheContext(t *testing.T) {
	web := redirectWeb(map[string]http.HandlerFunc{"https://a.test/": redirectTo(http.StatusFound, "https://b.test/")})
	lost := func(context.Context) context.Context { return context.Background() }
	for _, to := range []string{"https://a.test/", "https://b.test/"} {
		c := everfreshtest.NewCache(t, web.Option(), everfresh.WithAllow(everfresh.AllowHosts("a.test")),
			everfresh.WithMiddleware(everfreshtest.Moves(to, lost)))
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithPrefetch(false))
		_, err := r.Get(t.Context())
		if got := redirectURLs(web.Take()); strings.Contains(got, "b.test") || err == nil {
			t.Errorf("went to %s (%v): the policy allows a.test only", got, err)
		}
	}
}

// A policy that panics fails that refresh, or passes its panic to the caller of
// Register, whose policy it is.
func TestAllowPanics(t *testing.T) {
	calls := 0
	c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(everfreshtest.Client(everfreshtest.Text("x"))))
	r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithPrefetch(false), everfresh.WithAllow(func(*url.URL) error {
		if calls++; calls == 2 {
			panic("s3cr3t")
		}
		return nil
	}))
	if _, err := r.Get(t.Context()); err == nil || !strings.Contains(err.Error(), "panic") || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("error = %v", err)
	}
	if err := r.Refresh(t.Context()); err != nil {
		t.Errorf("after the panic: %v", err)
	}
}
