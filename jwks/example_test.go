package jwks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/jwks"
	"github.com/everfresh-go/everfresh/jwks/jwkstest"
)

// One source for the process, and a key for each request: a known key is one atomic load
// away, and after a rotation the first token finds the new one.
func ExampleNew() {
	ctx := context.Background()
	iss := jwkstest.New(jwkstest.WithURL("https://issuer.example")) // stands for yours
	cache := everfresh.NewCache(ctx, everfresh.WithHTTPClient(iss.Client()))
	defer cache.Close()

	src, err := jwks.New(cache, "https://issuer.example/jwks.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := src.Key(ctx, "key-1", "ES256")
	fmt.Printf("%T %v\n", key, err)

	iss.Rotate("EdDSA")
	key, err = src.Key(ctx, "key-2", "EdDSA")
	fmt.Printf("%T %v\n", key, err)

	_, err = src.Key(ctx, "key-2", "HS256") // whatever a token says
	fmt.Println(err)
	_, err = src.Key(ctx, "invented", "ES256")
	fmt.Println(err, errors.Is(err, jwks.ErrUnavailable))
	// Output:
	// *ecdsa.PublicKey <nil>
	// ed25519.PublicKey <nil>
	// jwks: algorithm is not allowed: "HS256"
	// jwks: no such key: "invented" for ES256 false
}

// An issuer says itself where its keys are. Those of some are on another origin, which
// must be allowed.
func ExampleFromIssuer() {
	ctx := context.Background()
	iss := jwkstest.New(jwkstest.WithURL("https://issuer.example")) // stands for yours
	cdn := jwkstest.New(jwkstest.WithURL("https://keys.example"))
	iss.SetMetadata("jwks_uri", cdn.KeySet().URL())
	cache := everfresh.NewCache(ctx, everfresh.WithHTTPClient(jwkstest.NewClient(iss, cdn)))
	defer cache.Close()

	src, err := jwks.FromIssuer(cache, "https://issuer.example", jwks.WithOrigins("https://keys.example"))
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := src.Key(ctx, "key-1", "ES256")
	fmt.Printf("%T %v\n", key, err)
	// Output: *ecdsa.PublicKey <nil>
}

// A verifier of tokens without a JWT library. VerifySignature says that the claims are
// the issuer's; whether they are good today, and for this service, is checked after it.
type verifier struct {
	src              *jwks.Source
	issuer, audience string
}

type claims struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"` // of some issuers it is a list
	Subject  string `json:"sub"`
	Expires  int64  `json:"exp"`
}

var errClaims = errors.New("the token is expired, or for another audience")

func (v *verifier) verify(ctx context.Context, token string) (claims, error) {
	payload, err := v.src.VerifySignature(ctx, token)
	if err != nil {
		return claims{}, err
	}
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return claims{}, err
	}
	if c.Issuer != v.issuer || c.Audience != v.audience || time.Now().Unix() >= c.Expires {
		return claims{}, errClaims
	}
	return c, nil
}

// protect accepts requests with a valid token. An invalid token is 401. While it is unknown
// whether it is valid, the answer is 503, so that clients keep the token and try again.
func (v *verifier) protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "token required", http.StatusUnauthorized)
			return
		}
		c, err := v.verify(r.Context(), token)
		switch {
		case errors.Is(err, jwks.ErrUnavailable):
			http.Error(w, "try again later", http.StatusServiceUnavailable)
		case err != nil:
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			http.Error(w, "invalid token", http.StatusUnauthorized)
		default:
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), subjectKey{}, c.Subject)))
		}
	})
}

type subjectKey struct{}

// An HTTP handler behind a verifier, with the standard library alone.
func ExampleSource_VerifySignature() {
	ctx := context.Background()
	iss := jwkstest.New(jwkstest.WithURL("https://issuer.example")) // stands for yours
	iss.KeySet().Break(jwkstest.Answer(503, nil, ""))
	cache := everfresh.NewCache(ctx, everfresh.WithHTTPClient(iss.Client()))
	defer cache.Close()
	src, err := jwks.New(cache, "https://issuer.example/jwks.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	v := &verifier{src, "https://issuer.example", "api"}
	handler := v.protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %v", r.Context().Value(subjectKey{}))
	}))
	call := func(what, token string) {
		w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		handler.ServeHTTP(w, r)
		fmt.Println(what, w.Code, strings.TrimSpace(w.Body.String()))
	}
	sign := func(aud string, life time.Duration, opts ...jwkstest.SignOption) string {
		return iss.Sign(claims{"https://issuer.example", aud, "alice", time.Now().Add(life).Unix()}, opts...)
	}

	call("issuer down:", sign("api", time.Hour))
	iss.KeySet().Recover()
	_ = src.Ready(ctx)
	call("good:", sign("api", time.Hour))
	call("expired:", sign("api", -time.Hour))
	call("for others:", sign("mail", time.Hour))
	call("tampered:", sign("api", time.Hour, jwkstest.Tampered()))
	call("unsigned:", sign("api", time.Hour, jwkstest.Unsigned()))
	call("garbage:", "x")
	// Output:
	// issuer down: 503 try again later
	// good: 200 hello alice
	// expired: 401 invalid token
	// for others: 401 invalid token
	// tampered: 401 invalid token
	// unsigned: 401 invalid token
	// garbage: 401 invalid token
}
