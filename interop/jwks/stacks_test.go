package jwks_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/jwks"
	"github.com/everfresh-go/everfresh/jwks/jwkstest"
	"github.com/stretchr/testify/require"
)

// stacks verify a token by the lines of the examples, which docs/jwks.md shows.
var stacks = map[string]func(ctx context.Context, src *jwks.Source, raw string) (subject string, err error){
	"golang-jwt": func(ctx context.Context, src *jwks.Source, raw string) (string, error) {
		return verifyGolangJWT(ctx, src, raw)
	},
	"go-oidc": verifyOIDC,
	"jwx": func(ctx context.Context, src *jwks.Source, raw string) (string, error) {
		return verifyJWX(ctx, src, raw)
	},
	"go-jose": func(ctx context.Context, src *jwks.Source, raw string) (string, error) {
		return verifyGoJose(ctx, src, raw)
	},
}

var stackAlgorithms = []string{"RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"}

// newSource returns an issuer with a key of each algorithm, by their names, and the one
// source that all stacks share. The issuer has the faults before the source asks it.
func newSource(t *testing.T, faults ...jwkstest.Fault) (*jwkstest.Issuer, map[string]jwkstest.Key, *jwks.Source) {
	t.Helper()
	iss := jwkstest.New(jwkstest.WithURL("https://issuer.example"), jwkstest.WithAlgorithm(stackAlgorithms[0]))
	keys := map[string]jwkstest.Key{stackAlgorithms[0]: iss.Key()}
	for _, alg := range stackAlgorithms[1:] {
		keys[alg] = iss.Rotate(alg)
	}
	iss.KeySet().Break(faults...)
	cache := everfresh.NewCache(context.WithoutCancel(t.Context()), everfresh.WithHTTPClient(iss.Client()))
	t.Cleanup(func() { require.NoError(t, cache.Close()) })
	src, err := jwks.New(cache, iss.KeySet().URL())
	require.NoError(t, err)
	return iss, keys, src
}

// goodClaims are the claims that every stack accepts.
func goodClaims() map[string]any {
	return map[string]any{"iss": "https://issuer.example", "aud": "api", "sub": "alice", "exp": time.Now().Add(time.Hour).Unix()}
}

// with returns the good claims, but for one.
func with(name string, value any) map[string]any {
	c := goodClaims()
	c[name] = value
	return c
}

// The four stacks verify the same tokens of all algorithms by one source, which fetches
// once.
func TestStacksVerifyWithOneSource(t *testing.T) {
	t.Parallel()
	iss, keys, src := newSource(t)
	for alg, key := range keys {
		raw := iss.Sign(goodClaims(), jwkstest.SignedBy(key))
		for name, verify := range stacks {
			subject, err := verify(t.Context(), src, raw)
			require.NoError(t, err, "%s by %s", alg, name)
			require.Equal(t, "alice", subject, "%s by %s", alg, name)
		}
	}
	require.Len(t, iss.KeySet().Requests(), 1)
}

// After a rotation the first token verifies, whichever stack gets it, at the cost of one
// fetch; also right after another rotation.
func TestStacksFollowARotation(t *testing.T) {
	t.Parallel()
	iss, _, src := newSource(t)
	require.NoError(t, src.Ready(t.Context()))
	fetches := 1
	for name, verify := range stacks {
		for _, alg := range []string{"ES256", "EdDSA"} {
			iss.Rotate(alg)
			subject, err := verify(t.Context(), src, iss.Sign(goodClaims()))
			require.NoError(t, err, name)
			require.Equal(t, "alice", subject, name)
			fetches++
			require.Len(t, iss.KeySet().Requests(), fetches, name)
		}
	}
}

// badToken is a token that every stack must refuse, and what its caller is told.
type badToken struct {
	raw string
	err error  // of the source; nil if the stack itself refuses it
	but string // the stacks that accept it all the same, of the versions in go.mod
}

func badTokens(iss *jwkstest.Issuer, keys map[string]jwkstest.Key) map[string]badToken {
	rsa := jwkstest.SignedBy(keys["RS256"])
	stranger := jwkstest.New(jwkstest.WithURL("https://evil.example")).Key()
	impostor := stranger
	impostor.ID = keys["ES256"].ID
	good := goodClaims()
	return map[string]badToken{
		"unsigned":               {raw: iss.Sign(good, rsa, jwkstest.Unsigned())},
		"HMAC by the public key": {raw: iss.Sign(good, rsa, jwkstest.HMAC(keys["RS256"].JWK()))},
		"tampered RSA":           {raw: iss.Sign(good, rsa, jwkstest.Tampered())},
		"tampered ECDSA":         {raw: iss.Sign(good, jwkstest.SignedBy(keys["ES512"]), jwkstest.Tampered())},
		"tampered EdDSA":         {raw: iss.Sign(good, jwkstest.SignedBy(keys["EdDSA"]), jwkstest.Tampered())},
		"a stranger's key":       {raw: iss.Sign(good, jwkstest.SignedBy(impostor))},
		"alg of another type":    {raw: iss.Sign(good, rsa, jwkstest.WithHeader("alg", "ES256")), err: jwks.ErrAlgorithm},
		"alg of another curve":   {raw: iss.Sign(good, jwkstest.SignedBy(keys["ES256"]), jwkstest.WithHeader("alg", "ES384")), err: jwks.ErrAlgorithm},
		"alg not of this key":    {raw: iss.Sign(good, rsa, jwkstest.WithHeader("alg", "PS256")), err: jwks.ErrAlgorithm},
		"unknown key":            {raw: iss.Sign(good, jwkstest.SignedBy(stranger), jwkstest.WithHeader("kid", "stranger")), err: jwks.ErrKeyNotFound},
		"jku": {
			raw: iss.Sign(good, jwkstest.SignedBy(stranger), jwkstest.WithHeader("kid", "stranger"), jwkstest.WithHeader("jku", "https://evil.example/jwks.json")),
			err: jwks.ErrKeyNotFound,
		},
		"crit":             {raw: iss.Sign(good, rsa, jwkstest.WithHeader("crit", []string{"x"}), jwkstest.WithHeader("x", 1)), but: "golang-jwt, jwx"},
		"expired":          {raw: iss.Sign(with("exp", time.Now().Add(-time.Hour).Unix()), rsa)},
		"without exp":      {raw: iss.Sign(with("exp", nil), rsa)},
		"another issuer":   {raw: iss.Sign(with("iss", "https://evil.example"), rsa)},
		"another audience": {raw: iss.Sign(with("aud", "mail"), rsa)},
	}
}

// The four stacks refuse the same bad tokens, and no error says that the issuer is to
// blame.
func TestStacksRefuseBadTokens(t *testing.T) {
	t.Parallel()
	iss, keys, src := newSource(t)
	for what, bad := range badTokens(iss, keys) {
		for name, verify := range stacks {
			_, err := verify(t.Context(), src, bad.raw)
			if strings.Contains(bad.but, name) {
				require.NoError(t, err, "%s by %s", what, name)
				continue
			}
			require.Error(t, err, "%s by %s", what, name)
			require.NotErrorIs(t, err, jwks.ErrUnavailable, "%s by %s", what, name)
			if bad.err != nil && handsOnErrors(name) {
				require.ErrorIs(t, err, bad.err, "%s by %s", what, name)
			}
		}
	}
	require.LessOrEqual(t, len(iss.KeySet().Requests()), 3, "the two unknown keys are asked for once each")
}

// handsOnErrors: go-oidc v3.21.0 writes the error of a KeySet into the text of its own.
func handsOnErrors(stack string) bool { return stack != "go-oidc" }

// While the issuer cannot be asked, errors.Is tells that from a bad token through every
// stack but go-oidc, for which the source says it again.
func TestStacksTellAnOutageFromABadToken(t *testing.T) {
	t.Parallel()
	iss, _, src := newSource(t, jwkstest.Answer(503, nil, ""))
	for name, verify := range stacks {
		_, err := verify(t.Context(), src, iss.Sign(goodClaims()))
		require.Error(t, err, name)
		require.Equal(t, handsOnErrors(name), errors.Is(err, jwks.ErrUnavailable), "%s: %v", name, err)
	}
	_, err := src.VerifySignature(t.Context(), iss.Sign(goodClaims()))
	require.ErrorIs(t, err, jwks.ErrUnavailable)
}

// The end of a request's context ends the wait for an unknown key in every stack.
func TestStacksHandOnTheContext(t *testing.T) {
	t.Parallel()
	for name, verify := range stacks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			iss, _, src := newSource(t, jwkstest.Hang)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			start := time.Now()
			_, err := verify(ctx, src, iss.Sign(goodClaims()))
			require.Error(t, err)
			require.Less(t, time.Since(start), 3*time.Second, "a fetch ends after 5 s")
		})
	}
}
