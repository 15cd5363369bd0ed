package main

import (
	"context"
	"errors"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/jwks"
	"github.com/golang-jwt/jwt/v5"
	httprc3 "github.com/lestrrat-go/httprc/v3"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
)

// A verifier verifies tokens with the keys behind a URL.
type verifier struct {
	verify func(ctx context.Context, token string) error
	// refresh fetches the keys again. nil: the library has no call for that, and does it
	// for a token with an unknown key.
	refresh func(ctx context.Context) error
	close   func() error
}

// A library makes verifiers. open does not wait for keys.
type library func(ctx context.Context, url string) (*verifier, error)

func openEverfresh(ctx context.Context, url string) (*verifier, error) {
	cache := everfresh.NewCache(ctx)
	source, err := jwks.New(cache, url, jwks.WithInsecureHTTP())
	if err != nil {
		return nil, errors.Join(err, cache.Close()) //nolint:contextcheck // Close takes none.
	}
	verify := func(ctx context.Context, token string) error {
		_, err := source.VerifySignature(ctx, token)
		return err
	}
	return &verifier{verify: verify, refresh: source.Refresh, close: cache.Close}, nil
}

// openJWXCache opens a cache of jwx. Nothing waits for its end: if it hangs, that never comes.
func openJWXCache(ctx context.Context, url string) (*jwk.Cache, *verifier, error) {
	ctx, cancel := context.WithCancel(ctx)
	v := &verifier{close: func() error { cancel(); return nil }}
	cache, err := jwk.NewCache(ctx, httprc3.NewClient())
	if err == nil {
		err = cache.Register(ctx, url, jwk.WithWaitReady(false))
	}
	if err != nil {
		return nil, nil, errors.Join(err, v.close())
	}
	v.refresh = func(ctx context.Context) error {
		_, err := cache.Refresh(ctx, url)
		return err
	}
	return cache, v, nil
}

// openJWX leaves the refreshing to the cache.
func openJWX(ctx context.Context, url string) (*verifier, error) {
	cache, v, err := openJWXCache(ctx, url)
	if err != nil {
		return nil, err
	}
	set, err := cache.CachedSet(url)
	if err != nil {
		return nil, errors.Join(err, v.close())
	}
	v.verify = func(_ context.Context, token string) error {
		_, err := jws.Verify([]byte(token), jws.WithKeySet(set))
		return err
	}
	return v, nil
}

// openJWXRefreshing refreshes the cache when a key is unknown.
func openJWXRefreshing(ctx context.Context, url string) (*verifier, error) {
	cache, v, err := openJWXCache(ctx, url)
	if err != nil {
		return nil, err
	}
	v.verify = func(ctx context.Context, token string) error {
		kid, err := tokenKeyID(token)
		if err != nil {
			return err
		}
		set, err := cache.Lookup(ctx, url)
		if err != nil || !knows(set, kid) {
			if set, err = cache.Refresh(ctx, url); err != nil {
				return err
			}
		}
		_, err = jws.Verify([]byte(token), jws.WithKeySet(set))
		return err
	}
	return v, nil
}

func knows(set jwk.Set, kid string) bool {
	_, ok := set.LookupKeyID(kid)
	return ok
}

// tokenKeyID returns the key ID of a token.
func tokenKeyID(token string) (string, error) {
	message, err := jws.ParseString(token)
	if err != nil {
		return "", err
	}
	kid, ok := message.Signatures()[0].ProtectedHeaders().KeyID()
	if !ok {
		return "", errors.New("token without a key ID")
	}
	return kid, nil
}

func openKeyfunc(ctx context.Context, url string) (*verifier, error) {
	ctx, cancel := context.WithCancel(ctx)
	quiet := func(string) func(context.Context, error) { return func(context.Context, error) {} }
	keys, err := keyfunc.NewDefaultOverrideCtx(ctx, []string{url}, keyfunc.Override{RefreshErrorHandlerFunc: quiet})
	if err != nil {
		cancel()
		return nil, err
	}
	parser := jwt.NewParser(jwt.WithoutClaimsValidation())
	verify := func(ctx context.Context, token string) error {
		_, err := parser.Parse(token, keys.KeyfuncCtx(ctx))
		return err
	}
	return &verifier{verify: verify, close: func() error { cancel(); return nil }}, nil
}

func openOIDC(ctx context.Context, url string) (*verifier, error) {
	keys := oidc.NewRemoteKeySet(ctx, url)
	verify := func(ctx context.Context, token string) error {
		_, err := keys.VerifySignature(ctx, token)
		return err
	}
	return &verifier{verify: verify, close: func() error { return nil }}, nil
}
