package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/jwks"
	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	httprc3 "github.com/lestrrat-go/httprc/v3"
	"github.com/lestrrat-go/jwx/v3/jwk"
)

// keyHolders are everfresh and its peers with the same key set.
type keyHolders struct {
	*keySet
	source  *jwks.Source
	cache   *jwk.Cache
	cached  jwk.CachedSet
	keyfunc keyfunc.Keyfunc
	remote  *oidc.RemoteKeySet
	jose    jose.JSONWebKeySet
	closers []func() error
}

// openKeyHolders opens them all. What was opened before an error is closed.
func openKeyHolders(ctx context.Context, n int) (*keyHolders, error) {
	set, err := newKeySet(ctx, n)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	h := &keyHolders{keySet: set}
	h.closers = append(h.closers, func() error { cancel(); return nil }) // ends keyfunc
	for _, open := range []func(context.Context) error{h.openSource, h.openJWX, h.openOthers} {
		if err := open(ctx); err != nil {
			return nil, errors.Join(err, h.close())
		}
	}
	return h, nil
}

// openSource opens everfresh. After the first unknown key no other is asked for.
func (h *keyHolders) openSource(ctx context.Context) error {
	cache := everfresh.NewCache(ctx, everfresh.WithHTTPClient(h.issuer.Client()))
	h.closers = append(h.closers, cache.Close)
	var err error
	if h.source, err = jwks.New(cache, h.url(), jwks.WithResource(everfresh.WithNewerLimit(1, day))); err != nil {
		return err
	}
	if err := h.source.Ready(ctx); err != nil {
		return err
	}
	for range 2 {
		_, err = h.source.Key(ctx, unknownKeyID, "EdDSA")
	}
	if cooling := (*jwks.RateLimitError)(nil); !errors.As(err, &cooling) {
		return fmt.Errorf("an unknown key is refused with %w", err)
	}
	return nil
}

func (h *keyHolders) openJWX(ctx context.Context) error {
	var err error
	if h.cache, err = jwk.NewCache(ctx, httprc3.NewClient()); err != nil {
		return err
	}
	h.closers = append(h.closers, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
		defer cancel()
		return h.cache.Shutdown(ctx)
	})
	if err := h.cache.Register(ctx, h.url(), jwk.WithHTTPClient(h.issuer.Client())); err != nil {
		return err
	}
	h.cached, err = h.cache.CachedSet(h.url())
	return err
}

func (h *keyHolders) openOthers(ctx context.Context) error {
	if err := json.Unmarshal(h.data, &h.jose); err != nil {
		return err
	}
	client := h.issuer.Client()
	h.remote = oidc.NewRemoteKeySet(oidc.ClientContext(ctx, client), h.url())
	if _, err := h.remote.VerifySignature(ctx, h.tokens["ES256"]); err != nil { // fetches
		return err
	}
	var err error
	h.keyfunc, err = keyfunc.NewDefaultOverrideCtx(ctx, []string{h.url()}, keyfunc.Override{Client: client})
	return err
}

func (h *keyHolders) close() error {
	var errs []error
	for _, c := range h.closers {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// unknownKeyID is the ID of no key.
const unknownKeyID = "ffffffffffffffffffffffffffffffffffffffff"

// tokenHeader is what everfresh needs of a token of golang-jwt.
func tokenHeader(t *jwt.Token) map[string]any { return t.Header }
