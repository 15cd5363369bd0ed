package jwks_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/jwks"
	"github.com/everfresh-go/everfresh/jwks/jwkstest"
)

// A URL that is not https, or no URL, is refused when a source is made, and the error
// shows nothing of it.
func TestURLPolicy(t *testing.T) {
	const canary = "c4n4ry"
	for name, tt := range map[string]struct {
		url      string
		opts     []jwks.Option
		key, iss bool // whether New and FromIssuer take it
	}{
		"https":                  {url: "https://a.test/keys", key: true, iss: true},
		"https with a slash":     {url: "https://a.test/", key: true, iss: true},
		"http":                   {url: "http://a.test/x"},
		"http allowed":           {url: "http://a.test/x", opts: []jwks.Option{jwks.WithInsecureHTTP()}, key: true, iss: true},
		"secret in the query":    {url: "https://a.test/x?token=" + canary, key: true},
		"empty query":            {url: "https://a.test/x?", key: true},
		"fragment":               {url: "https://a.test/x#" + canary, key: true},
		"password":               {url: "https://user:" + canary + "@a.test/"},
		"file":                   {url: "file:///etc/passwd"},
		"no scheme":              {url: "a.test/x?a=" + canary},
		"empty":                  {url: ""},
		"control byte":           {url: "https://a.test/\x00" + canary},
		"other origins, not own": {url: "http://a.test/x", opts: []jwks.Option{jwks.WithOrigins("http://a.test")}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				_, err := jwks.New(s.cache, tt.url, tt.opts...)
				wantTaken(t, "New", err, tt.key, canary)
				other := newSite(t)
				_, err = jwks.FromIssuer(other.cache, tt.url, tt.opts...)
				wantTaken(t, "FromIssuer", err, tt.iss, canary)
			})
		})
	}
}

func wantTaken(t *testing.T, what string, err error, taken bool, canary string) { //nolint:revive // A fact of the case.
	t.Helper()
	if taken {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	wantError(t, err, everfresh.ErrNotAllowed)
	if err != nil && strings.Contains(err.Error(), canary) {
		t.Errorf("%s shows what it was given: %v", what, err)
	}
}

// A redirect of the key set is followed on its own origin and to those of WithOrigins,
// three times, and never from https to http.
func TestRedirectPolicy(t *testing.T) {
	const own, foreign = "https://issuer.test", "https://cdn.test"
	for name, tt := range map[string]struct {
		to   string
		opts []jwks.Option
		good bool
	}{
		"same origin":                {to: own + "/moved.json", good: true},
		"another host":               {to: foreign + "/jwks.json"},
		"another port":               {to: own + ":8443/jwks.json"},
		"http":                       {to: "http://issuer.test/moved.json"},
		"http, though allowed":       {to: "http://issuer.test/moved.json", opts: []jwks.Option{jwks.WithInsecureHTTP(), jwks.WithOrigins("http://issuer.test")}},
		"an allowed origin":          {to: foreign + "/jwks.json", opts: []jwks.Option{jwks.WithOrigins(foreign)}, good: true},
		"one that is allowed second": {to: foreign + "/jwks.json", opts: []jwks.Option{jwks.WithOrigins("https://x.test"), jwks.WithOrigins(foreign)}, good: true},
		"one that looks alike":       {to: "https://cdn.test.evil.test/jwks.json", opts: []jwks.Option{jwks.WithOrigins(foreign)}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				iss := jwkstest.New()
				cdn := jwkstest.New(jwkstest.WithURL(foreign))
				served := recordOrigins(everyHost{iss, cdn})
				s := siteOf(t, iss, everfresh.WithHTTPClient(&http.Client{Transport: served}))
				iss.KeySet().Break(jwkstest.Redirect(tt.to))
				src := s.source(t, tt.opts...)
				_, err := src.Key(t.Context(), "key-1", "ES256")
				if tt.good != (err == nil) {
					t.Fatalf("Key = %v", err)
				}
				if tt.good {
					return
				}
				wantError(t, err, jwks.ErrUnavailable)
				if !strings.Contains(err.Error(), "redirect refused") || len(served.origins) != 1 {
					t.Errorf("asked %v: %v", served.origins, err)
				}
			})
		})
	}
}

// everyHost serves the first issuer's key set at /moved.json of any host, and the second
// one's elsewhere, but for the first one's own.
type everyHost struct{ iss, cdn *jwkstest.Issuer }

func (e everyHost) RoundTrip(req *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	key := e.iss.Key().JWK()
	switch {
	case req.URL.Path == "/moved.json":
		_, _ = rec.Write([]byte(`{"keys":[` + string(key) + `]}`))
	case req.URL.Host == "issuer.test":
		return e.iss.Client().Transport.RoundTrip(req)
	default:
		e.cdn.ServeHTTP(rec, req)
	}
	resp := rec.Result()
	resp.Request, resp.ContentLength = req, int64(rec.Body.Len())
	return resp, nil
}

// recordedOrigins is a transport that remembers whom it asked.
type recordedOrigins struct {
	next    http.RoundTripper
	origins []string
}

func recordOrigins(next http.RoundTripper) *recordedOrigins { return &recordedOrigins{next: next} }

func (r *recordedOrigins) RoundTrip(req *http.Request) (*http.Response, error) {
	r.origins = append(r.origins, req.URL.Scheme+"://"+req.URL.Host)
	return r.next.RoundTrip(req)
}

// More redirects than three are none.
func TestRedirectsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.iss.KeySet().Break(jwkstest.Redirect("https://issuer.test/jwks.json"))
		_, err := s.source(t).Key(t.Context(), "key-1", "ES256")
		wantError(t, err, jwks.ErrUnavailable)
		if n := s.fetches(); n != 4 {
			t.Errorf("%d requests, want the first and 3 redirects", n)
		}
	})
}

// With the cache's WithPublicOnly no key set is asked for at an address that is not
// public, be it given, discovered or redirected to.
func TestPublicOnly(t *testing.T) {
	c := everfresh.NewCache(t.Context(), everfresh.WithPublicOnly())
	t.Cleanup(func() { _ = c.Close() })
	for _, url := range []string{"https://169.254.169.254/keys", "https://127.0.0.1/keys", "https://[::1]/keys", "https://10.0.0.1/"} {
		_, err := jwks.New(c, url)
		wantError(t, err, everfresh.ErrNotAllowed)
		_, err = jwks.FromIssuer(c, url)
		wantError(t, err, everfresh.ErrNotAllowed)
	}
}

// TestPublicOnlyAfterDiscovery uses the loopback, as only what the cache dials itself is
// judged.
func TestPublicOnlyAfterDiscovery(t *testing.T) {
	const metadata = "http://169.254.169.254"
	var issuer atomic.Pointer[jwkstest.Issuer]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { issuer.Load().ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	for name, breakIt := range map[string]func(*jwkstest.Issuer){
		"jwks_uri": func(iss *jwkstest.Issuer) { iss.SetMetadata("jwks_uri", metadata+"/keys") },
		"redirect": func(iss *jwkstest.Issuer) { iss.KeySet().Break(jwkstest.Redirect(metadata + "/keys")) },
	} {
		iss := jwkstest.New(jwkstest.WithURL(server.URL))
		breakIt(iss)
		issuer.Store(iss)
		c := everfresh.NewCache(t.Context(), everfresh.WithPublicOnly(netip.MustParsePrefix("127.0.0.1/32")))
		src, err := jwks.FromIssuer(c, server.URL, jwks.WithInsecureHTTP(), jwks.WithOrigins(metadata))
		if err != nil {
			t.Fatal(err)
		}
		wantError(t, finalError(t, src), everfresh.ErrNotAllowed, jwks.ErrUnavailable)
		if err := c.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// finalError returns the error of src, which a slow machine may delay by time-outs.
func finalError(t *testing.T, src *jwks.Source) error {
	t.Helper()
	ctx, cancel := contextFor(t, time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := src.Key(ctx, "key-1", "ES256")
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			return err
		}
		<-tick.C
	}
}
