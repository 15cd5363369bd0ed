package jwks_test

import (
	"context"
	"fmt"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/jwks"
	"github.com/everfresh-go/everfresh/jwks/jwkstest"
	"github.com/golang-jwt/jwt/v5"
)

// verifyGolangJWT returns the subject of a token. ctx bounds the wait for an unknown key.
func verifyGolangJWT(ctx context.Context, src jwks.KeySource, raw string) (string, error) {
	header := func(t *jwt.Token) map[string]any { return t.Header }
	token, err := jwt.Parse(raw, jwks.KeyfuncContext(ctx, src, header),
		jwt.WithIssuer("https://issuer.example"), jwt.WithAudience("api"), jwt.WithExpirationRequired())
	if err != nil {
		return "", err
	}
	return token.Claims.GetSubject()
}

// A source is the key function of golang-jwt.
func Example_golangJWT() {
	ctx := context.Background()
	iss := jwkstest.New(jwkstest.WithURL("https://issuer.example")) // stands for yours
	cache := everfresh.NewCache(ctx, everfresh.WithHTTPClient(iss.Client()))
	defer cache.Close()

	src, err := jwks.FromIssuer(cache, "https://issuer.example")
	if err != nil {
		fmt.Println(err)
		return
	}
	raw := iss.Sign(map[string]any{"iss": iss.URL(), "aud": "api", "sub": "alice", "exp": time.Now().Add(time.Hour).Unix()})

	subject, err := verifyGolangJWT(ctx, src, raw)
	fmt.Println(subject, err)

	// Where no context is at hand.
	token, err := jwt.Parse(raw, jwks.Keyfunc(src, func(t *jwt.Token) map[string]any { return t.Header }))
	fmt.Println(token.Valid, err)
	// Output:
	// alice <nil>
	// true <nil>
}
