package jwks_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/jwks"
	"github.com/everfresh-go/everfresh/jwks/jwkstest"
	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/httprc/v3"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A peer uses the keys of an issuer in the same way as the programs that docs/jwks.md helps
// to move. It verifies a token and only reports whether it is valid.
type peer func(t *testing.T, client *http.Client, url string) (verifies func(token string) bool)

// peers have the versions in go.mod, and their defaults.
var peers = map[string]peer{
	"everfresh": func(t *testing.T, client *http.Client, url string) func(string) bool {
		cache := everfresh.NewCache(context.WithoutCancel(t.Context()), everfresh.WithHTTPClient(client))
		t.Cleanup(func() { require.NoError(t, cache.Close()) })
		src, err := jwks.New(cache, url)
		require.NoError(t, err)
		return func(token string) bool {
			_, err := src.VerifySignature(t.Context(), token)
			return err == nil
		}
	},
	"jwx": func(t *testing.T, client *http.Client, url string) func(string) bool {
		cache, err := jwk.NewCache(t.Context(), httprc.NewClient())
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := cache.Register(ctx, url, jwk.WithHTTPClient(client)); err != nil {
			t.Log(err)
			return func(string) bool { return false }
		}
		set, err := cache.CachedSet(url)
		require.NoError(t, err)
		return func(token string) bool {
			_, _, err := (&verifiers{jwx: set}).jwxVerify(token)
			return err == nil
		}
	},
	"keyfunc": func(t *testing.T, client *http.Client, url string) func(string) bool {
		keys, err := keyfunc.NewDefaultOverrideCtx(t.Context(), []string{url}, keyfunc.Override{Client: client})
		require.NoError(t, err)
		return func(token string) bool {
			_, err := jwt.Parse(token, keys.Keyfunc)
			return err == nil
		}
	},
	"go-oidc": func(t *testing.T, client *http.Client, url string) func(string) bool {
		keys := oidc.NewRemoteKeySet(oidc.ClientContext(t.Context(), client), url)
		return func(token string) bool {
			_, err := keys.VerifySignature(t.Context(), token)
			return err == nil
		}
	},
}

// behaviours is what docs/jwks.md says about the behaviour of this package and the others.
var behaviours = map[string]struct {
	happens func(t *testing.T, iss *jwkstest.Issuer, hold peer) bool
	with    []string
}{
	"a token of a key that is new since the start verifies": {
		func(t *testing.T, iss *jwkstest.Issuer, hold peer) bool {
			verifies := hold(t, iss.Client(), iss.KeySet().URL())
			require.True(t, verifies(iss.Sign(goodClaims())))
			iss.Rotate("ES256")
			return soon(verifies, iss.Sign(goodClaims()))
		},
		[]string{"everfresh", "keyfunc", "go-oidc"},
	},
	"so does one of a second rotation right after": {
		func(t *testing.T, iss *jwkstest.Issuer, hold peer) bool {
			verifies := hold(t, iss.Client(), iss.KeySet().URL())
			iss.Rotate("ES256")
			verifies(iss.Sign(goodClaims()))
			iss.Rotate("ES256")
			return soon(verifies, iss.Sign(goodClaims()))
		},
		[]string{"everfresh", "go-oidc"},
	},
	"bad signatures by a known key cost no fetch": {
		func(t *testing.T, iss *jwkstest.Issuer, hold peer) bool {
			verifies := hold(t, iss.Client(), iss.KeySet().URL())
			require.True(t, verifies(iss.Sign(goodClaims())))
			before := len(iss.KeySet().Requests())
			for range 20 {
				require.False(t, verifies(iss.Sign(goodClaims(), jwkstest.Tampered())))
			}
			return len(iss.KeySet().Requests()) == before
		},
		[]string{"everfresh", "jwx", "keyfunc"},
	},
	"unknown key IDs cost few fetches": {
		func(t *testing.T, iss *jwkstest.Issuer, hold peer) bool {
			verifies := hold(t, iss.Client(), iss.KeySet().URL())
			return !within(time.Second, func() bool {
				require.False(t, verifies(iss.Sign(goodClaims(), jwkstest.WithHeader("kid", "unknown"))))
				return len(iss.KeySet().Requests()) > 3
			})
		},
		[]string{"everfresh", "jwx", "keyfunc"},
	},
	"keys stay when the issuer answers 200 with an error": {
		func(t *testing.T, iss *jwkstest.Issuer, hold peer) bool {
			verifies := hold(t, iss.Client(), iss.KeySet().URL())
			token := iss.Sign(goodClaims())
			require.True(t, verifies(token))
			iss.KeySet().Break(jwkstest.Answer(200, nil, `{"error":"oops"}`))
			return !within(2*time.Second, func() bool {
				verifies(iss.Sign(goodClaims(), jwkstest.WithHeader("kid", "unknown"))) // makes some fetch
				return !verifies(token)
			})
		},
		[]string{"everfresh", "jwx"},
	},
	"one key of an unknown kind leaves the others usable": {
		func(t *testing.T, iss *jwkstest.Issuer, hold peer) bool {
			iss.PublishJWK(`{"kty":"AKP","alg":"ML-DSA-44","kid":"pq","pub":"unH59k4R"}`)
			return hold(t, iss.Client(), iss.KeySet().URL())(iss.Sign(goodClaims()))
		},
		[]string{"everfresh", "keyfunc", "go-oidc"},
	},
	"a start while the issuer fails is made up for in 2 s": {
		func(t *testing.T, iss *jwkstest.Issuer, hold peer) bool {
			iss.KeySet().Break(jwkstest.Answer(503, nil, ""))
			verifies := hold(t, iss.Client(), iss.KeySet().URL())
			token := iss.Sign(goodClaims())
			require.False(t, verifies(token))
			iss.KeySet().Recover()
			return within(2*time.Second, func() bool { return verifies(token) })
		},
		[]string{"everfresh", "go-oidc"},
	},
	"a redirect to another origin is not followed": {
		func(t *testing.T, iss *jwkstest.Issuer, hold peer) bool {
			elsewhere := jwkstest.New(jwkstest.WithURL("https://elsewhere.example"))
			iss.KeySet().Break(jwkstest.Redirect(elsewhere.KeySet().URL()))
			elsewhere.Withdraw("key-1") // its own
			elsewhere.Publish(iss.Key())
			return !hold(t, jwkstest.NewClient(iss, elsewhere), iss.KeySet().URL())(iss.Sign(goodClaims()))
		},
		[]string{"everfresh"},
	},
}

// soon tries more than once, because go-oidc may return the result of the previous fetch.
func soon(verifies func(string) bool, token string) bool {
	return within(2*time.Second, func() bool { return verifies(token) })
}

// within polls for a condition, because the other libraries cannot use virtual time.
func within(limit time.Duration, holds func() bool) bool {
	for start := time.Now(); time.Since(start) < limit; time.Sleep(10 * time.Millisecond) {
		if holds() {
			return true
		}
	}
	return false
}

// The page's table of behaviours is true of each of the four, at the versions it names.
func TestBehavioursOfPeers(t *testing.T) {
	t.Parallel()
	for what, b := range behaviours {
		for name, hold := range peers {
			t.Run(what+"/"+name, func(t *testing.T) {
				t.Parallel()
				iss := jwkstest.New(jwkstest.WithURL("https://issuer.example"))
				var want bool
				for _, n := range b.with {
					want = want || n == name
				}
				assert.Equal(t, want, b.happens(t, iss, hold))
			})
		}
	}
}
