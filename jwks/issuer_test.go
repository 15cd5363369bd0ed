package jwks_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/jwks"
	"github.com/everfresh-go/everfresh/jwks/jwkstest"
	"github.com/everfresh-go/everfresh/store"
)

// The keys of an issuer are found by its metadata: that of OpenID Connect Discovery, and
// where there is none that of RFC 8414, with and without a path and a slash at the end.
func TestDiscovery(t *testing.T) {
	for _, issuer := range []string{
		"https://issuer.test", "https://issuer.test/", "https://issuer.test/tenant", "https://issuer.test/a/b/",
		"https://issuer.test/with%20space", "https://issuer.test:8443/x",
	} {
		for name, breakIt := range map[string]func(*jwkstest.Issuer){
			"OpenID":       func(iss *jwkstest.Issuer) { iss.Metadata().Break(jwkstest.Answer(http.StatusNotFound, nil, "")) },
			"RFC 8414":     func(iss *jwkstest.Issuer) { iss.Discovery().Break(jwkstest.Answer(http.StatusNotFound, nil, "")) },
			"OpenID, gone": func(iss *jwkstest.Issuer) { iss.Discovery().Break(jwkstest.Answer(http.StatusGone, nil, "")) },
		} {
			t.Run(issuer+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := siteOf(t, jwkstest.New(jwkstest.WithURL(issuer)))
					breakIt(s.iss)
					src := s.discovered(t)
					wantKey(t, src, s.iss.Key())
					wantKey(t, src, s.iss.Rotate("ES256"))
					time.Sleep(3 * time.Hour)
					wantKeyAtOnce(t, src, s.iss.Key())
				})
			})
		}
	}
}

// An issuer whose first place fails is not asked at the second: only 404 and 410 say that
// there is none.
func TestNoFallbackFromAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.iss.Discovery().Break(jwkstest.Answer(http.StatusInternalServerError, nil, ""))
		src := s.discovered(t)
		_, err := src.Key(t.Context(), "key-1", "ES256")
		wantError(t, err, jwks.ErrUnavailable)
		time.Sleep(time.Minute)
		if n := len(s.iss.Metadata().Requests()); n != 0 {
			t.Errorf("the other place was asked %d times", n)
		}
	})
}

// Metadata that is not the issuer's, or has its keys where they are not allowed, is no
// metadata, and no key set is asked for.
func TestBadMetadata(t *testing.T) {
	for name, tt := range map[string]struct {
		field string
		value any
		opts  []jwks.Option
		want  error // nil: it is good
	}{
		"another issuer":      {field: "issuer", value: "https://evil.test", want: jwks.ErrMetadata},
		"issuer with a slash": {field: "issuer", value: "https://issuer.test/", want: jwks.ErrMetadata},
		"issuer in capitals":  {field: "issuer", value: "https://ISSUER.test", want: jwks.ErrMetadata},
		"no issuer":           {field: "issuer", want: jwks.ErrMetadata},
		"no jwks_uri":         {field: "jwks_uri", want: everfresh.ErrNotAllowed},
		"relative jwks_uri":   {field: "jwks_uri", value: "/jwks.json", want: everfresh.ErrNotAllowed},
		"http":                {field: "jwks_uri", value: "http://issuer.test/jwks.json", want: everfresh.ErrNotAllowed},
		"file":                {field: "jwks_uri", value: "file:///etc/passwd", want: everfresh.ErrNotAllowed},
		"another origin":      {field: "jwks_uri", value: "https://cdn.test/jwks.json", want: everfresh.ErrNotAllowed},
		"another port":        {field: "jwks_uri", value: "https://issuer.test:8443/jwks.json", want: everfresh.ErrNotAllowed},
		"userinfo":            {field: "jwks_uri", value: "https://a:b@issuer.test/jwks.json", want: everfresh.ErrNotAllowed},
		"an allowed origin": {
			field: "jwks_uri", value: "https://cdn.test/jwks.json", opts: []jwks.Option{jwks.WithOrigins("https://cdn.test")},
		},
		"jwks_uri is not a string": {field: "jwks_uri", value: 1, want: jwks.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				iss, cdn := jwkstest.New(), jwkstest.New(jwkstest.WithURL("https://cdn.test"))
				s := siteOf(t, iss, withClientOf(iss, cdn))
				iss.SetMetadata(tt.field, tt.value)
				_, err := s.discovered(t, tt.opts...).Key(t.Context(), "key-1", "ES256")
				if tt.want == nil {
					if n := len(cdn.KeySet().Requests()); err != nil || n != 1 {
						t.Errorf("Key = %v after %d requests", err, n)
					}
					return
				}
				wantError(t, err, tt.want, jwks.ErrUnavailable)
				if n := s.fetches() + len(cdn.KeySet().Requests()); n != 0 {
					t.Errorf("%d key sets were asked for", n)
				}
				if text := fmt.Sprint(err); strings.Contains(text, "evil") || strings.Contains(text, "cdn") {
					t.Errorf("the error shows what the metadata says: %s", text)
				}
			})
		})
	}
}

// Metadata that turns bad replaces none that was good.
func TestBadMetadataEvictsNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		field string
		value any
		want  error
	}{
		"another issuer": {"issuer", "https://evil.test", jwks.ErrMetadata},
		"another origin": {"jwks_uri", "https://evil.test/jwks.json", everfresh.ErrNotAllowed},
		"not https":      {"jwks_uri", "http://issuer.test/jwks.json", everfresh.ErrNotAllowed},
		"nowhere":        {"jwks_uri", nil, everfresh.ErrNotAllowed},
		"no text":        {"jwks_uri", 1, nil},
		"issuer no text": {"issuer", []string{"https://issuer.test"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				src := ready(t, s.discovered(t))
				s.iss.SetMetadata(tt.field, tt.value)
				time.Sleep(6 * time.Hour)
				if len(s.heard.all()) == 0 || tt.want != nil && len(s.heard.about(tt.want)) == 0 {
					t.Errorf("the sink heard %v", s.heard.all())
				}
				wantKey(t, src, s.iss.Rotate("ES256"))
			})
		})
	}
}

// Keys that have moved are found where the metadata now says, within the refresh that did
// not find them; also by a request with a new key.
func TestMovedKeySet(t *testing.T) {
	for name, gone := range map[string]int{"404": http.StatusNotFound, "410": http.StatusGone} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				iss := jwkstest.New()
				client := &http.Client{Transport: statusClient{iss.Client().Transport, gone}}
				s := siteOf(t, iss, everfresh.WithHTTPClient(client))
				src := ready(t, s.discovered(t))
				for _, path := range []string{"/new/keys", "/newer/keys", "/newest/keys"} {
					s.iss.KeySet().Move(path)
					s.iss.Rotate("ES256")
					start, failures := time.Now(), len(s.heard.all())
					wantKey(t, src, s.iss.Key())
					if d := time.Since(start); d != 0 || len(s.heard.all()) != failures {
						t.Errorf("the new place was found after %v: %v", d, s.heard.all())
					}
				}
				s.iss.KeySet().Move("/last/keys")
				next := s.iss.Rotate("ES256")
				time.Sleep(time.Hour + time.Second)
				wantKeyAtOnce(t, src, next)
			})
		})
	}
}

// Refreshes of discovered keys are conditional, as long as they stay where they are.
func TestDiscoveredKeysAreAskedForConditionally(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		ready(t, s.discovered(t))
		time.Sleep(3 * time.Hour)
		wantAllConditional(t, s.iss.KeySet().Requests(), true)
		before := s.fetches()
		s.iss.KeySet().Move("/new/keys")
		time.Sleep(16 * time.Minute)
		if first := s.iss.KeySet().Requests()[before]; first.Conditional() || first.Status != http.StatusOK {
			t.Errorf("the first request at a new place: conditional %v, status %d", first.Conditional(), first.Status)
		}
	})
}

// An ETag is not taken from one place to another: it may be the same there, for other
// keys.
func TestValidatorsStayWithTheirURL(t *testing.T) {
	for name, move := range map[string]func(*site){
		"the old place is gone": func(s *site) { s.iss.KeySet().Move("/new/keys") },
		"the old place answers": func(s *site) { s.iss.SetMetadata("jwks_uri", "https://issuer.test/new/keys") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				iss := jwkstest.New()
				iss.KeySet().SetHeader("ETag", `"1"`)
				s := siteOf(t, iss, everfresh.WithHTTPClient(&http.Client{Transport: twoPlaces{iss}}))
				src := ready(t, s.discovered(t))
				move(s)
				next := iss.Rotate("ES256")
				time.Sleep(31 * time.Minute) // the metadata is refreshed, and then the keys
				wantKeyAtOnce(t, src, next)
			})
		})
	}
}

// twoPlaces has the key set at /new/keys as well as where it is.
type twoPlaces struct{ iss *jwkstest.Issuer }

func (p twoPlaces) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path == "/new/keys" {
		u, err := req.URL.Parse(p.iss.KeySet().URL())
		if err != nil {
			return nil, err
		}
		req = req.Clone(req.Context())
		req.URL = u
	}
	return p.iss.Client().Transport.RoundTrip(req)
}

// A statusClient makes one status of every 404.
type statusClient struct {
	next http.RoundTripper
	code int
}

func (c statusClient) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusNotFound {
		resp.StatusCode = c.code
	}
	return resp, err
}

// Keys that are gone from where the metadata still says they are cost one request for
// each of the two.
func TestGoneKeySetIsAskedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		src := ready(t, s.discovered(t))
		s.iss.KeySet().Break(jwkstest.Answer(http.StatusNotFound, nil, ""))
		wantError(t, src.Refresh(t.Context()), jwks.ErrUnavailable)
		if keys, documents := s.fetches(), len(s.iss.Discovery().Requests()); keys != 2 || documents != 2 {
			t.Errorf("%d requests for the keys and %d for the metadata, want 1 each", keys-1, documents-1)
		}
	})
}

// Keys that are nowhere are asked for as seldom as those of a dead issuer, and the
// metadata is not asked each time.
func TestKeySetThatIsNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		src := ready(t, s.discovered(t))
		s.iss.SetMetadata("jwks_uri", "https://issuer.test/nowhere")
		before := len(s.iss.Discovery().Requests())
		s.iss.KeySet().Break(jwkstest.Answer(http.StatusNotFound, nil, ""))
		wantError(t, src.Refresh(t.Context()), jwks.ErrUnavailable)
		for range 3600 {
			time.Sleep(time.Second)
			wantKeyAtOnce(t, src, s.iss.Key())
		}
		if n := len(s.iss.Discovery().Requests()) - before; n < 2 || n > 260 {
			t.Errorf("the metadata was asked for %d times in an hour", n)
		}
		if n := s.fetches(); n > 140 {
			t.Errorf("the keys were asked for %d times in an hour", n)
		}
		s.iss.SetMetadata("jwks_uri", nil)
		s.iss.SetMetadata("jwks_uri", s.iss.KeySet().URL())
		s.iss.KeySet().Recover()
		if d := seenAfter(t, src, s.iss.Rotate("ES256")); d > 40*time.Second {
			t.Errorf("found again after %v", d)
		}
	})
}

// While only the metadata is down, keys are refreshed where it said they are; also by a
// process that has it from its storage.
func TestMetadataDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := new(store.Memory)
		last := newSite(t, everfresh.WithStorage(disk))
		ready(t, last.discovered(t))
		if err := last.cache.Close(); err != nil {
			t.Fatal(err)
		}
		last.iss.Discovery().Break(jwkstest.Hang)
		last.iss.Metadata().Break(jwkstest.Hang)
		s := siteOf(t, last.iss, everfresh.WithStorage(disk))
		src := s.discovered(t)
		wantKeyAtOnce(t, src, s.iss.Key())
		for range 20 {
			time.Sleep(31 * time.Minute)
			wantKey(t, src, s.iss.Rotate("ES256"))
		}
	})
}

// The keys follow the metadata at once when that is there again: the delays of the two
// do not add up, and the keys' URL is not asked for meanwhile.
func TestBackoffsDoNotAddUp(t *testing.T) {
	for name, fault := range map[string]jwkstest.Fault{
		"refused": jwkstest.Drop, "hangs": jwkstest.Hang, "garbage": jwkstest.Answer(http.StatusOK, nil, html),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				s.iss.Discovery().Break(fault)
				src := s.discovered(t)
				for range 10 {
					time.Sleep(311 * time.Second)
					if src.Status().Ready || s.fetches() != 0 {
						t.Fatalf("keys from nowhere: %d fetches", s.fetches())
					}
				}
				s.iss.Discovery().Recover()
				if err := src.Ready(t.Context()); err != nil {
					t.Fatal(err)
				}
				asked := s.iss.Discovery().Requests()
				found, used := asked[len(asked)-1].At, s.iss.KeySet().Requests()[0].At
				if name != "hangs" && used.Sub(found) > 20*time.Millisecond {
					t.Errorf("the keys were asked for %v after the metadata", used.Sub(found))
				}
			})
		})
	}
}

// A cache takes each issuer and each key set once, and a FromIssuer that fails leaves
// nothing behind.
func TestSecondRegistration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.source(t)
		_, err := jwks.New(s.cache, s.iss.KeySet().URL())
		wantError(t, err, everfresh.ErrRegistered)
		s.discovered(t) // another resource, so not the same source
		_, err = jwks.FromIssuer(s.cache, s.iss.URL())
		wantError(t, err, everfresh.ErrRegistered)

		other := newSite(t)
		metadata := other.iss.Discovery().URL()
		if err := other.cache.Register(other.iss.URL() + "/(keys)"); err != nil {
			t.Fatal(err)
		}
		_, err = jwks.FromIssuer(other.cache, other.iss.URL())
		wantError(t, err, everfresh.ErrRegistered)
		if err := other.cache.Unregister(other.iss.URL() + "/(keys)"); err != nil {
			t.Fatal(err)
		}
		wantError(t, other.cache.Unregister(metadata), everfresh.ErrNotRegistered)
		wantKey(t, other.discovered(t), other.iss.Key())

		if err := other.cache.Close(); err != nil {
			t.Fatal(err)
		}
		_, err = jwks.FromIssuer(other.cache, "https://another.test")
		wantError(t, err, everfresh.ErrClosed)
	})
}

// A caller who waits for keys whose metadata hangs is answered when its context ends, and
// without one within two time-outs.
func TestHungMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.iss.Discovery().Break(jwkstest.Hang)
		src := s.discovered(t)
		ctx, cancel := contextFor(t, 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := src.Key(ctx, "key-1", "ES256")
		wantError(t, err, jwks.ErrUnavailable, context.DeadlineExceeded)
		if d := time.Since(start); d != 100*time.Millisecond {
			t.Errorf("Key returned after %v", d)
		}
		_, err = src.Key(t.Context(), "key-1", "ES256")
		wantError(t, err, jwks.ErrUnavailable, everfresh.ErrNotReady)
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("Key returned after %v", d)
		}
	})
}
