package jwks_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/jwks"
	"github.com/everfresh-go/everfresh/jwks/jwkstest"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// verifyGoJose returns the subject of a token.
func verifyGoJose(ctx context.Context, src jwks.KeySource, raw string) (string, error) {
	token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA})
	if err != nil {
		return "", err
	}
	key, err := src.Key(ctx, token.Headers[0].KeyID, token.Headers[0].Algorithm)
	if err != nil {
		return "", err
	}
	var claims jwt.Claims
	if err := token.Claims(key, &claims); err != nil {
		return "", err
	}
	if claims.Expiry == nil { // Validate checks what is there
		return "", errors.New("no exp")
	}
	err = claims.Validate(jwt.Expected{Issuer: "https://issuer.example", AnyAudience: jwt.Audience{"api"}, Time: time.Now()})
	return claims.Subject, err
}

// A source finds the key for a token that go-jose has parsed.
func Example_goJose() {
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

	fmt.Println(verifyGoJose(ctx, src, raw))
	// Output: alice <nil>
}
