package jwks_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/jwks"
	"github.com/everfresh-go/everfresh/jwks/jwkstest"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"
)

// provider gives jwx the keys of src. The context is the one of the request, as jwt.Parse
// does not hand on its own.
func provider(ctx context.Context, src jwks.KeySource) jws.KeyProvider {
	return jws.KeyProviderFunc(func(_ context.Context, sink jws.KeySink, sig *jws.Signature, _ *jws.Message) error {
		kid, _ := sig.ProtectedHeaders().KeyID()
		alg, _ := sig.ProtectedHeaders().Algorithm()
		key, err := src.Key(ctx, kid, alg.String())
		if err != nil {
			return err
		}
		sink.Key(alg, key)
		return nil
	})
}

// verifyJWX returns the subject of a token.
func verifyJWX(ctx context.Context, src jwks.KeySource, raw string) (string, error) {
	token, err := jwt.Parse([]byte(raw), jwt.WithKeyProvider(provider(ctx, src)),
		jwt.WithIssuer("https://issuer.example"), jwt.WithAudience("api"), jwt.WithRequiredClaim("exp"))
	if err != nil {
		return "", err
	}
	subject, ok := token.Subject()
	if !ok {
		return "", errors.New("no subject")
	}
	return subject, nil
}

// A source is the key provider of jwx, by ten lines.
func Example_jwx() {
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

	fmt.Println(verifyJWX(ctx, src, raw))
	// Output: alice <nil>
}
