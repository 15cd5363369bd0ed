package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/everfresh-go/everfresh/jwks"
	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v3/jws"
)

// verifiedKeys is how many keys the set has whose tokens are verified.
const verifiedKeys = 12

// A verification verifies a token and returns how long its payload is.
type verification func() (int, error)

// openVerify opens the candidates that verify a token.
func openVerify(ctx context.Context, _ scale) (*stage, error) {
	h, err := openKeyHolders(ctx, verifiedKeys)
	if err != nil {
		return nil, err
	}
	st := &stage{close: h.close}
	for _, alg := range keyAlgorithms {
		for name, verify := range h.verifications(ctx, alg) {
			c, err := verify.candidate(name + "/" + alg)
			if err != nil {
				return nil, errors.Join(err, st.close())
			}
			st.candidates = append(st.candidates, c)
		}
	}
	return st, nil
}

// candidate returns the candidate that verifies one token in a pass.
func (verify verification) candidate(name string) (candidate, error) {
	n, err := verify()
	if err != nil {
		return candidate{}, fmt.Errorf("%s: %w", name, err)
	}
	read := reading(func(passes int) (sum uint64) {
		for range passes {
			if n, err := verify(); err == nil {
				sum += uint64(n) //nolint:gosec // Not negative.
			}
		}
		return sum
	})
	return read.candidate(name, 1, uint64(n)), nil //nolint:gosec // Not negative.
}

func (h *keyHolders) verifications(ctx context.Context, alg string) map[string]verification {
	token := h.tokens[alg]
	return map[string]verification{
		"everfresh": func() (int, error) {
			payload, err := h.source.VerifySignature(ctx, token)
			return len(payload), err
		},
		"oidc": func() (int, error) {
			payload, err := h.remote.VerifySignature(ctx, token)
			return len(payload), err
		},
		"jwx":           h.verifyJWX([]byte(token)),
		"jose":          h.verifyJose(token, alg),
		"keyfunc":       verifyJWT(token, alg, h.keyfunc.Keyfunc),
		"jwt-everfresh": verifyJWT(token, alg, jwks.Keyfunc(h.source, tokenHeader)),
	}
}

func (h *keyHolders) verifyJWX(token []byte) verification {
	return func() (int, error) {
		payload, err := jws.Verify(token, jws.WithKeySet(h.cached))
		return len(payload), err
	}
}

func (h *keyHolders) verifyJose(token, alg string) verification {
	algs := []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)}
	return func() (int, error) {
		signed, err := jose.ParseSignedCompact(token, algs)
		if err != nil {
			return 0, err
		}
		keys := h.jose.Key(signed.Signatures[0].Header.KeyID)
		if len(keys) != 1 {
			return 0, fmt.Errorf("%d keys", len(keys))
		}
		payload, err := signed.Verify(keys[0])
		return len(payload), err
	}
}

// verifyJWT verifies with golang-jwt, which decodes the claims as well.
func verifyJWT(token, alg string, find jwt.Keyfunc) verification {
	parser := jwt.NewParser(jwt.WithoutClaimsValidation(), jwt.WithValidMethods([]string{alg}))
	return func() (int, error) {
		var claims jwt.RegisteredClaims
		parsed, err := parser.ParseWithClaims(token, &claims, find)
		if err != nil {
			return 0, err
		}
		return len(parsed.Raw), nil
	}
}
