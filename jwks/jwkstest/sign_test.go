package jwkstest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"maps"
	"math/big"
	"slices"
	"testing"

	"github.com/everfresh-go/everfresh/jwks/jwkstest"
)

// parsed makes a public key of a published one, without the code that published it.
func parsed(t *testing.T, jwk map[string]any) crypto.PublicKey {
	t.Helper()
	number := func(field string) *big.Int {
		b := decode(t, jwk[field].(string))
		return new(big.Int).SetBytes(b)
	}
	curves := map[any]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}
	switch jwk["kty"] {
	case "RSA":
		return &rsa.PublicKey{N: number("n"), E: int(number("e").Int64())}
	case "EC":
		curve := curves[jwk["crv"]]
		x, y := decode(t, jwk["x"].(string)), decode(t, jwk["y"].(string))
		pub, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
		if err != nil {
			t.Fatal(err)
		}
		return pub
	case "OKP":
		return ed25519.PublicKey(decode(t, jwk["x"].(string)))
	}
	t.Fatalf("kty is %v", jwk["kty"])
	return nil
}

// verified reports whether a signature is one of alg by this key.
func verified(alg string, key crypto.PublicKey, input string, sig []byte) bool {
	digest, hash := []byte(nil), crypto.SHA256
	switch alg[len(alg)-3:] {
	case "256":
		d := sha256.Sum256([]byte(input))
		digest = d[:]
	case "384":
		d := sha512.Sum384([]byte(input))
		digest, hash = d[:], crypto.SHA384
	case "512":
		d := sha512.Sum512([]byte(input))
		digest, hash = d[:], crypto.SHA512
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		if alg[:2] == "PS" {
			return rsa.VerifyPSS(key, hash, digest, sig, &rsa.PSSOptions{SaltLength: hash.Size()}) == nil
		}
		return rsa.VerifyPKCS1v15(key, hash, digest, sig) == nil
	case *ecdsa.PublicKey:
		size := map[string]int{"ES256": 32, "ES384": 48, "ES512": 66}[alg]
		return len(sig) == 2*size &&
			ecdsa.Verify(key, digest, new(big.Int).SetBytes(sig[:size]), new(big.Int).SetBytes(sig[size:]))
	case ed25519.PublicKey:
		return ed25519.Verify(key, []byte(input), sig)
	}
	return false
}

// Every algorithm gives tokens that the standard library verifies with nothing but
// the published key. One RSA key serves all six of RSA, as making them is slow.
func TestTokensVerifyWithThePublishedKey(t *testing.T) {
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range []string{
		"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
	} {
		t.Run(alg, func(t *testing.T) {
			iss := jwkstest.New()
			if alg[1:2] == "S" && alg[0] != 'E' {
				iss.Publish(jwkstest.Key{ID: "key-2", Algorithm: alg, Private: long})
			} else {
				iss.Rotate(alg)
			}
			jwk := set(t, iss)[1].(map[string]any)
			if jwk["kid"] != "key-2" || jwk["alg"] != alg || jwk["use"] != "sig" {
				t.Errorf("the published key is %v", jwk)
			}
			for range 20 { // an r or s may be short
				header, payload, sig, input := split(t, iss.Sign(map[string]int{"n": 1}))
				want := map[string]any{"alg": alg, "kid": "key-2", "typ": "JWT"}
				if !maps.Equal(header, want) || payload != `{"n":1}` {
					t.Fatalf("header %v, payload %s", header, payload)
				}
				if !verified(alg, parsed(t, jwk), input, sig) {
					t.Fatal("the signature is wrong")
				}
				if verified(alg, parsed(t, jwk), input+"x", sig) {
					t.Fatal("any signature is right")
				}
			}
		})
	}
}

// New and NewKey make RSA keys of 2048 bits by themselves.
func TestRSAKeyIsMade(t *testing.T) {
	k := jwkstest.New(jwkstest.WithAlgorithm("PS256")).Key()
	if pub, ok := k.Public().(*rsa.PublicKey); !ok || pub.Size() != 256 || k.Algorithm != "PS256" {
		t.Errorf("the key is %T of %s", k.Public(), k.Algorithm)
	}
}

// Each option changes what it says, and the signature stays right unless it is the
// signature that it changes.
func TestSignOptions(t *testing.T) {
	iss := jwkstest.New()
	hidden := iss.NewKey("EdDSA")
	pub, err := x509.MarshalPKIXPublicKey(iss.Key().Public())
	if err != nil {
		t.Fatal(err)
	}
	byKey := func(k jwkstest.Key) func(string, []byte) bool {
		return func(input string, sig []byte) bool { return verified(k.Algorithm, k.Public(), input, sig) }
	}
	own := byKey(iss.Key())
	tests := map[string]struct {
		opts   []jwkstest.SignOption
		header map[string]any
		signed func(input string, sig []byte) bool
	}{
		"no kid": {
			[]jwkstest.SignOption{jwkstest.WithHeader("kid", nil)},
			map[string]any{"alg": "ES256", "typ": "JWT"},
			own,
		},
		"another kid": {
			[]jwkstest.SignOption{jwkstest.WithHeader("kid", "x"), jwkstest.WithHeader("crit", "b64")},
			map[string]any{"alg": "ES256", "kid": "x", "typ": "JWT", "crit": "b64"},
			own,
		},
		"another alg": {
			[]jwkstest.SignOption{jwkstest.WithHeader("alg", "RS256")},
			map[string]any{"alg": "RS256", "kid": "key-1", "typ": "JWT"},
			own,
		},
		"a key that is not published": {
			[]jwkstest.SignOption{jwkstest.SignedBy(hidden)},
			map[string]any{"alg": "EdDSA", "kid": "key-2", "typ": "JWT"},
			byKey(hidden),
		},
		"unsigned": {
			[]jwkstest.SignOption{jwkstest.Unsigned()},
			map[string]any{"alg": "none", "kid": "key-1", "typ": "JWT"},
			func(_ string, sig []byte) bool { return len(sig) == 0 },
		},
		"tampered": {
			[]jwkstest.SignOption{jwkstest.Tampered()},
			map[string]any{"alg": "ES256", "kid": "key-1", "typ": "JWT"},
			func(input string, sig []byte) bool { return len(sig) == 64 && !own(input, sig) },
		},
		"the public key as a secret": {
			[]jwkstest.SignOption{jwkstest.HMAC(pub)},
			map[string]any{"alg": "HS256", "kid": "key-1", "typ": "JWT"},
			func(input string, sig []byte) bool {
				h := hmac.New(sha256.New, pub)
				h.Write([]byte(input))
				return hmac.Equal(h.Sum(nil), sig)
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			header, payload, sig, input := split(t, iss.Sign([]byte("any bytes"), test.opts...))
			if !maps.Equal(header, test.header) {
				t.Errorf("the header is %v, want %v", header, test.header)
			}
			if payload != "any bytes" {
				t.Errorf("the payload is %q", payload)
			}
			if !test.signed(input, sig) {
				t.Error("the signature is not what it should be")
			}
		})
	}
}
