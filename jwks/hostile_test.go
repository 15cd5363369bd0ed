package jwks_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh/jwks"
	"github.com/everfresh-go/everfresh/jwks/jwkstest"
)

// Invented key IDs cost an issuer little, also one whose answers differ without end, or
// one that fails every other time: both give fetches back to the budget, but not many.
func TestStormAtAnUnsteadyIssuer(t *testing.T) {
	for name, answer := range map[string]func(n int64, key string) (status int, body string){
		"never the same": func(n int64, key string) (int, string) {
			return http.StatusOK, fmt.Sprintf(`{"keys":[%s],"node":%d}`, key, n%2)
		},
		"fails every other time": func(n int64, key string) (int, string) {
			return []int{http.StatusOK, http.StatusServiceUnavailable}[n%2], fmt.Sprintf(`{"keys":[%s]}`, key)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				src := ready(t, s.source(t))
				var n atomic.Int64
				key := string(s.iss.Key().JWK())
				s.iss.KeySet().Break(func(http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						time.Sleep(5 * time.Millisecond)
						status, body := answer(n.Add(1), key)
						jwkstest.Answer(status, nil, body)(nil).ServeHTTP(w, r)
					})
				})
				ctx, stop := contextFor(t, 10*time.Minute)
				defer stop()
				storm(ctx, src)
				asked := s.iss.KeySet().Requests()[1:]
				if most := mostWithin(asked[len(asked)/2:], time.Minute); most > 20 {
					t.Errorf("%d fetches within a minute, want at most 20", most)
				}
				if len(asked) > 180 {
					t.Errorf("%d fetches in 10 minutes", len(asked))
				}
			})
		})
	}
}

// The reason why a key was left out is short however much is wrong with the key.
func TestReasonOfManyBadOps(t *testing.T) {
	set, err := jwks.Parse([]byte(`{"keys":[{"kty":"RSA","key_ops":[` + strings.Repeat("1,", 1000) + `1]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if text := set.Skipped()[0].Error(); len(text) > 200 {
		t.Errorf("%d bytes of reason", len(text))
	}
}

// Before the key that signed a token without a key ID there may be one of a parser, which
// VerifySignature cannot use.
func TestCandidatesOfAParser(t *testing.T) {
	iss := jwkstest.New(jwkstest.WithAlgorithm("EdDSA"))
	k := iss.Key()
	private, ok := k.Private.(ed25519.PrivateKey)
	if !ok {
		t.Fatal("not an Ed25519 key")
	}
	s := siteOf(t, iss)
	iss.KeySet().Break(jwkstest.Answer(http.StatusOK, nil, fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed448"},%s]}`, k.JWK())))
	src := s.source(t, jwks.WithKeyParser("OKP", func(raw json.RawMessage) (jwks.Key, error) {
		if strings.Contains(string(raw), "Ed448") {
			return jwks.Key{Public: [57]byte{}, Algorithm: "EdDSA"}, nil
		}
		return jwks.Key{}, errors.ErrUnsupported
	}))
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"EdDSA"}`)) + ".e30"
	token := signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(private, []byte(signed)))
	if _, err := src.VerifySignature(t.Context(), token); err != nil {
		t.Errorf("VerifySignature: %v", err)
	}
}

// A long token without a key ID is hashed once and not copied for each key that is tried.
func TestLongTokenCostsItsLengthOnce(t *testing.T) {
	iss := jwkstest.New(jwkstest.WithAlgorithm("RS256"))
	for range 3 {
		iss.Publish(iss.NewKey("RS256"))
	}
	src := siteOf(t, iss).source(t)
	if err := src.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256"}`))
	for name, token := range map[string]string{
		"payload":   header + "." + strings.Repeat("A", 1<<19) + "." + strings.Repeat("A", 342),
		"signature": header + ".AAAA." + strings.Repeat("A", 1<<19),
	} {
		got := testing.Benchmark(func(b *testing.B) {
			for b.Loop() {
				if _, err := src.VerifySignature(b.Context(), token); !errors.Is(err, jwks.ErrSignature) {
					b.Fatal(err)
				}
			}
		})
		if n := got.AllocedBytesPerOp(); n > 5<<18 {
			t.Errorf("long %s: %d bytes", name, n)
		}
	}
}
