package jwks_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/jwks"
	"github.com/everfresh-go/everfresh/jwks/jwkstest"
)

// A source that was closed has left the cache, so that there can be another; a static one
// has nothing to leave.
func TestClose(t *testing.T) {
	for name, open := range map[string]func(*site, *testing.T) *jwks.Source{
		"New":        func(s *site, t *testing.T) *jwks.Source { return s.source(t) },
		"FromIssuer": func(s *site, t *testing.T) *jwks.Source { return s.discovered(t) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				old := ready(t, open(s, t))
				for range 2 {
					if err := old.Close(); err != nil {
						t.Errorf("Close = %v", err)
					}
				}
				for st := range s.cache.All() {
					t.Errorf("%s is still in the cache", st.Key)
				}
				_, err := old.Key(t.Context(), "key-2", "ES256")
				wantError(t, err, jwks.ErrUnavailable, everfresh.ErrNotRegistered)
				wantKey(t, ready(t, open(s, t)), s.iss.Key())
			})
		})
	}
	if err := jwks.Static(nil).Close(); err != nil {
		t.Errorf("Close of a static source = %v", err)
	}
}

// The caller's header fields go to the issuer, and to no other origin.
func TestHeadersStayWithTheIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := jwkstest.New(), jwkstest.New(jwkstest.WithURL("https://keys.test"))
		a.SetMetadata("jwks_uri", b.KeySet().URL())
		s := siteOf(t, a, withClientOf(a, b))
		src := s.discovered(t, jwks.WithOrigins("https://keys.test"), jwks.WithResource(everfresh.WithHeader("Authorization", "Bearer x")))
		ready(t, src)
		time.Sleep(2 * time.Hour)
		if got := a.Discovery().Requests()[0].Header.Get("Authorization"); got != "Bearer x" {
			t.Errorf("the issuer was sent %q", got)
		}
		asked := b.KeySet().Requests()
		for _, r := range asked {
			if r.Header.Get("Authorization") != "" {
				t.Error("another origin was sent the caller's header")
			}
		}
		if last := asked[len(asked)-1]; last.Status != http.StatusNotModified || last.Header.Get("Accept") == "" {
			t.Errorf("the last request was answered by %d, its header is %v", last.Status, last.Header)
		}
	})
}

// Where the metadata has named another place meanwhile, the keys are asked for there at
// once, and the metadata is not asked for again.
func TestMovedKeySetThatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		moved := false
		ctx := t.Context()
		s.iss.KeySet().Break(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if moved {
					next.ServeHTTP(w, r)
					return
				}
				moved = true // between the request and its answer
				s.iss.KeySet().Move("/new")
				if _, err := s.cache.Refresh(ctx, s.iss.Discovery().URL()); err != nil {
					t.Error(err)
				}
				http.NotFound(w, r)
			})
		})
		wantKey(t, ready(t, s.discovered(t)), s.iss.Key())
		if n := len(s.iss.Discovery().Requests()); n != 2 || len(s.heard.all()) != 0 {
			t.Errorf("the metadata was asked for %d times, want 2; the sink heard %v", n, s.heard.all())
		}
	})
}
