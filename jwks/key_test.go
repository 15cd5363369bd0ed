package jwks_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/everfresh-go/everfresh/jwks"
)

// A lattice is a public key of a type that is not built in.
type lattice struct{ pub string }

func readLattice(raw json.RawMessage) (jwks.Key, error) {
	var k struct{ Alg, Pub string }
	if err := json.Unmarshal(raw, &k); err != nil {
		return jwks.Key{}, err
	}
	if k.Pub == "" {
		return jwks.Key{}, errors.New("pub is missing")
	}
	return jwks.Key{Public: lattice{k.Pub}, ID: "ignored", Use: "enc"}, nil
}

func TestKeyParserAddsAKind(t *testing.T) {
	akp := jwk{"kty": "AKP", "kid": "a", "alg": "ML-DSA-65", "pub": "AAAA"}
	set := parse(t, document(akp, akp.with("pub", nil), akp.with("alg", nil), akp.with("use", "enc").with("kid", "e"), ed),
		jwks.WithKeyParser("AKP", readLattice))
	k, ok := set.Lookup("a", "ML-DSA-65")
	if !ok || k.Public != (lattice{"AAAA"}) || k.ID != "a" || k.Use != "" || k.Type != "AKP" {
		t.Fatalf("got %+v", k)
	}
	if _, ok := set.Lookup("e", "ML-DSA-65"); ok {
		t.Error("a key for encryption is found for a signature")
	}
	for _, alg := range []string{"", "EdDSA", "ML-DSA-44", "none", "HS256"} {
		if _, ok := set.Lookup("a", alg); ok {
			t.Errorf("it is found for %q", alg)
		}
	}
	skipped := set.Skipped()
	if len(skipped) != 2 || skipped[0].Err.Error() != "pub is missing" || !strings.Contains(skipped[1].Err.Error(), "does not say which algorithm") {
		t.Errorf("skipped: %v", skipped)
	}
	if _, ok := set.Lookup("", "EdDSA"); !ok {
		t.Error("the built-in key is lost")
	}
}

// What parse does not know is left to what is built in.
func TestKeyParserForOneMoreCurve(t *testing.T) {
	custom := &elliptic.CurveParams{Name: "secp256k1", BitSize: 256, P: big.NewInt(7)}
	es256k := jwks.WithKeyParser("EC", func(raw json.RawMessage) (jwks.Key, error) {
		if !strings.Contains(string(raw), `"secp256k1"`) {
			return jwks.Key{}, errors.ErrUnsupported
		}
		return jwks.Key{Algorithm: "ES256K", Public: &ecdsa.PublicKey{Curve: custom}}, nil
	})
	set := parse(t, document(p256.with("crv", "secp256k1").with("kid", "k"), p256, p256.with("crv", "P-224")), es256k)
	if k, ok := set.Lookup("k", "ES256K"); !ok || k.Algorithm != "ES256K" {
		t.Errorf("got %+v, skipped %v", k, set.Skipped())
	}
	if _, ok := set.Lookup("k", "ES256"); ok {
		t.Error("a key on another curve is found for ES256")
	}
	if _, ok := set.Lookup("1", "ES256"); !ok {
		t.Error("P-256 is no longer read")
	}
	if s := set.Skipped(); len(s) != 1 || s[0].Index != 2 || !errors.Is(s[0], errors.ErrUnsupported) {
		t.Errorf("skipped: %v", s)
	}
}

// A parser cannot bring in what Parse would not.
func TestKeysOfParsersAreChecked(t *testing.T) {
	small := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 3}
	point := func(x, y int64) *ecdsa.PublicKey {
		return &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(x), Y: big.NewInt(y)}
	}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]jwks.Key{
		"nothing":              {},
		"RSA of 1024 bits":     {Public: small},
		"nil RSA":              {Public: (*rsa.PublicKey)(nil)},
		"nil EC":               {Public: (*ecdsa.PublicKey)(nil)},
		"EC without a point":   {Public: &ecdsa.PublicKey{Curve: elliptic.P256()}},
		"point off the curve":  {Public: point(1, 1)},
		"negative point":       {Public: point(-1, 1)},
		"short Ed25519":        {Public: private.Public().(ed25519.PublicKey)[:31]},
		"private half":         {Public: private},
		"HMAC secret":          {Public: []byte("secret"), Algorithm: "HS256"},
		"secret, other alg":    {Public: []byte("secret"), Algorithm: "X"},
		"text":                 {Public: "secret", Algorithm: "X"},
		"HS256 of a type":      {Public: lattice{}, Algorithm: "HS256"},
		"none of a type":       {Public: lattice{}, Algorithm: "None"},
		"RS256 of a type":      {Public: lattice{}, Algorithm: "RS256"},
		"ES256 of EdDSA's key": {Public: private.Public(), Algorithm: "ES256"},
	} {
		set := parse(t, document(ed, jwk{"kty": "X"}), jwks.WithKeyParser("X", func(json.RawMessage) (jwks.Key, error) { return key, nil }))
		if set.Len() != 1 || len(set.Skipped()) != 1 {
			t.Errorf("%s: a %T is admitted", name, key.Public)
		} else if text := set.Skipped()[0].Error(); strings.Contains(text, "secret") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestPanicInAKeyParserCostsOneKey(t *testing.T) {
	calls := 0
	set := parse(t, document(jwk{"kty": "X", "secret": 1}, ed, jwk{"kty": "X"}), jwks.WithKeyParser("X", func(raw json.RawMessage) (jwks.Key, error) {
		calls++
		panic(string(raw))
	}))
	skipped := set.Skipped()
	if set.Len() != 1 || calls != 2 || len(skipped) != 2 {
		t.Fatalf("%d keys, %d calls, skipped %v", set.Len(), calls, skipped)
	}
	if got, want := skipped[0].Err.Error(), `panic in the parser of kty "X": value of type string`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A parser may keep and change what it is given.
func TestKeyParserOwnsItsArgument(t *testing.T) {
	data := document(jwk{"kty": "X"}, ed.with("kid", "e"))
	before := slices.Clone(data)
	parse(t, data, jwks.WithKeyParser("X", func(raw json.RawMessage) (jwks.Key, error) {
		raw = append(raw, "!!!!!!!!"...)
		for i := range raw {
			raw[i] = '!'
		}
		return jwks.Key{}, errors.New("none")
	}))
	if string(data) != string(before) {
		t.Errorf("the document is now %s", data)
	}
}

func TestKeyParserReplacesABuiltInAndAnother(t *testing.T) {
	none := jwks.WithKeyParser("OKP", func(json.RawMessage) (jwks.Key, error) { return jwks.Key{}, errors.New("first") })
	second := jwks.WithKeyParser("OKP", func(json.RawMessage) (jwks.Key, error) { return jwks.Key{}, errors.New("second") })
	if s := parse(t, document(ed), none, second).Skipped(); len(s) != 1 || s[0].Err.Error() != "second" {
		t.Errorf("skipped: %v", s)
	}
}

func TestInvalidKeyParsers(t *testing.T) {
	for name, opt := range map[string]jwks.ParseOption{
		"oct":       jwks.WithKeyParser("oct", readLattice),
		"Oct":       jwks.WithKeyParser("Oct", readLattice),
		"no kty":    jwks.WithKeyParser("", readLattice),
		"no parser": jwks.WithKeyParser("AKP", nil),
	} {
		if _, err := jwks.Parse(document(ed), opt); !errors.Is(err, jwks.ErrOption) {
			t.Errorf("%s: Parse: %v, want ErrOption", name, err)
		}
	}
}
