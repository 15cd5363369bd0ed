package jwks_test

import (
	"context"
	"fmt"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/jwks"
	"github.com/everfresh-go/everfresh/jwks/jwkstest"
)

// verifyOIDC returns the subject of an ID token. Without SupportedSigningAlgs a verifier
// takes RS256 only.
func verifyOIDC(ctx context.Context, src *jwks.Source, raw string) (string, error) {
	verifier := oidc.NewVerifier("https://issuer.example", src, &oidc.Config{
		ClientID:             "api",
		SupportedSigningAlgs: []string{oidc.RS256, oidc.PS256, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA},
	})
	token, err := verifier.Verify(ctx, raw)
	if err != nil {
		return "", err
	}
	return token.Subject, nil
}

// A source is an oidc.KeySet.
func Example_goOIDC() {
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

	fmt.Println(verifyOIDC(ctx, src, raw))
	// Output: alice <nil>
}
