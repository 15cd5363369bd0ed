package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"errors"
	"io"
	"math/big"
	"net/http"

	"github.com/everfresh-go/everfresh/jwks/jwkstest"
)

// keyAlgorithms are those of the keys of a keySet, in turn.
var keyAlgorithms = []string{"RS256", "ES256", "EdDSA"}

// A keySet is a document of keys, and a token by each of the last three of them.
type keySet struct {
	issuer *jwkstest.Issuer // without a network
	data   []byte
	last   jwkstest.Key
	tokens map[string]string // by algorithm
}

// newKeySet makes a set of n keys, a multiple of 3.
func newKeySet(ctx context.Context, n int) (*keySet, error) {
	s := &keySet{issuer: jwkstest.New(jwkstest.WithAlgorithm("EdDSA")), tokens: make(map[string]string)}
	s.issuer.Withdraw(s.issuer.Key().ID)
	s.issuer.KeySet().SetHeader("Cache-Control", "max-age=86400")
	for i := range n {
		alg := keyAlgorithms[i%len(keyAlgorithms)]
		signer, err := newSigner(alg, i >= n-len(keyAlgorithms))
		if err != nil {
			return nil, err
		}
		s.last = jwkstest.Key{ID: newKeyID(), Algorithm: alg, Private: signer}
		s.issuer.Publish(s.last)
		if i >= n-len(keyAlgorithms) {
			s.tokens[alg] = s.issuer.Sign(claims)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.issuer.Client().Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	s.data, err = io.ReadAll(resp.Body)
	return s, err
}

func (s *keySet) url() string { return s.issuer.KeySet().URL() }

// claims are those of an access token.
var claims = map[string]any{
	"iss": "https://issuer.test", "sub": "248289761001", "aud": "https://api.example", "client_id": "s6BhdRkqt3",
	"iat": 1_767_225_600, "exp": 4_102_444_800, "jti": "dbe39bf3-a3ba-4238-a513-f51d6e1691c4", "scope": "openid profile reademail",
}

// newKeyID returns a key ID of the usual length, that of a hash.
func newKeyID() string {
	var id [20]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// newSigner makes a key. Of RSA keys that need not sign, which take long to make, only the
// public half is made up.
func newSigner(alg string, signs bool) (crypto.Signer, error) {
	switch {
	case alg == "ES256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case alg == "EdDSA":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case signs:
		return rsa.GenerateKey(rand.Reader, rsaBits)
	}
	modulus, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), rsaBits))
	if err != nil {
		return nil, err
	}
	modulus.SetBit(modulus.SetBit(modulus, 0, 1), rsaBits-1, 1)
	return madeUp{&rsa.PublicKey{N: modulus, E: 65537}}, nil
}

const rsaBits = 2048

// A madeUp key is a public key without a private key.
type madeUp struct{ public *rsa.PublicKey }

// Public implements crypto.Signer.
func (m madeUp) Public() crypto.PublicKey { return m.public }

// Sign implements crypto.Signer. It is never called.
func (madeUp) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.ErrUnsupported
}
