package jwks_test

import (
	"crypto"
	"encoding/json"
	"errors"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/everfresh-go/everfresh/jwks"
	"github.com/go-jose/go-jose/v4"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// usableHere returns the IDs of the usable keys of a set, or nil if the set is rejected.
func usableHere(t testing.TB, document []byte) []string {
	t.Helper()
	set, err := jwks.Parse(document)
	if err != nil {
		require.ErrorIs(t, err, jwks.ErrInvalidSet)
		return nil
	}
	ids := []string{}
	for key := range set.All() {
		ids = append(ids, key.ID)
	}
	return ids
}

// usableElsewhere is the same for other libraries, with their defaults.
var usableElsewhere = map[string]func(document []byte) []string{
	"go-jose": func(document []byte) []string {
		var set jose.JSONWebKeySet
		if json.Unmarshal(document, &set) != nil {
			return nil
		}
		ids := []string{}
		for _, key := range set.Keys {
			ids = append(ids, key.KeyID)
		}
		return ids
	},
	"jwx": func(document []byte) []string {
		set, err := jwk.Parse(document)
		if err != nil {
			return nil
		}
		ids := []string{}
		for i := range set.Len() {
			key, _ := set.Key(i)
			kid, _ := key.KeyID()
			ids = append(ids, kid)
		}
		return ids
	},
}

// set returns a key set of a good EC key named ok, and one more.
func set(more string) string {
	return `{"keys":[{"kty":"EC","kid":"ok","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}` + more + `]}`
}

var (
	onlyOK = []string{"ok"}
	both   = []string{"ok", "k"}
)

// sets are documents, and the keys that each reader has of them: nil if it has none,
// because it refuses the document.
var sets = map[string]struct {
	document        string
	ours, jose, jwx []string
}{
	"a key of each kind": {
		set(`,{"kty":"OKP","kid":"k","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`), both, both, both,
	},
	"no keys":             {`{"keys":[]}`, []string{}, []string{}, []string{}},
	"private half":        {set(`,{"kty":"OKP","kid":"k","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}`), both, both, both},
	"a foreign member":    {set(`,{"kty":"OKP","kid":"k","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","ext":true}`), both, both, both},
	"an unknown kty":      {set(`,{"kty":"AKP","kid":"k","alg":"ML-DSA-44","pub":"unH59k4R"}`), onlyOK, nil, nil},
	"an unknown curve":    {set(`,{"kty":"EC","kid":"k","crv":"P-257","x":"AAAA","y":"AAAA"}`), onlyOK, nil, nil},
	"Ed448":               {set(`,{"kty":"OKP","kid":"k","crv":"Ed448","x":"X9dEm1m0Yf0s54fsYWrUah2hNCSFpw4fig6nXYDpZ3jt8SR2m0bHBhvWeD3x5Q9s0foavq_oJWGA"}`), onlyOK, nil, both},
	"X25519":              {set(`,{"kty":"OKP","kid":"k","crv":"X25519","x":"hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo"}`), onlyOK, nil, both},
	"a symmetric key":     {set(`,{"kty":"oct","kid":"k","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTMyMzI"}`), onlyOK, both, both},
	"not on the curve":    {set(`,{"kty":"EC","kid":"k","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"}`), onlyOK, nil, nil},
	"a missing member":    {set(`,{"kty":"EC","kid":"k","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"}`), onlyOK, nil, nil},
	"small RSA":           {set(`,{"kty":"RSA","kid":"k","n":"vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv_8","e":"AQAB"}`), onlyOK, both, nil},
	"no kty":              {set(`,{"kid":"k"}`), onlyOK, nil, nil},
	"no object":           {set(`,1`), onlyOK, nil, nil},
	"kid is a number":     {set(`,{"kty":"OKP","kid":1,"crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`), onlyOK, nil, nil},
	"alg of another type": {set(`,{"kty":"OKP","kid":"k","alg":"RS256","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`), onlyOK, both, both},
	"unknown use":         {set(`,{"kty":"OKP","kid":"k","use":"x","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`), both, both, both},
	"padded":              {set(`,{"kty":"OKP","kid":"k","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo="}`), both, nil, both},
	"a broken chain":      {set(`,{"kty":"OKP","kid":"k","x5c":["x"],"crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`), both, nil, nil},
	"a short coordinate": {
		set(`,{"kty":"EC","kid":"k","crv":"P-256","x":"` + shortX + `","y":"` + shortY + `"}`), both, nil, nil,
	},
	"an error":      {`{"error":"oops"}`, nil, []string{}, nil},
	"keys are null": {`{"keys":null}`, nil, []string{}, nil},
	"one bare key":  {`{"kty":"OKP","kid":"k","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`, nil, []string{}, []string{"k"}},
	"an array":      {`[]`, nil, nil, nil},
	"more after it": {set("") + "{}", nil, nil, nil},
	"HTML":          {`<html></html>`, nil, nil, nil},
}

// A point of P-256 whose x begins with a zero byte, which some issuers leave out.
const (
	shortX = "NiH-dGC34Im3_aA5hhibTFlpIbj8SoynfbjqxUdrEA"
	shortY = "3q_jrrJ8R7ztu7IzFMFomdP9VEH162AOyJQ0FfHbLjU"
)

// The usable keys of a set differ from those of other libraries only in these cases: here an
// unusable key never makes another one unusable.
func TestSetsReadByOthers(t *testing.T) {
	t.Parallel()
	for name, c := range sets {
		assert.Equal(t, c.ours, usableHere(t, []byte(c.document)), name)
		assert.Equal(t, c.jose, usableElsewhere["go-jose"]([]byte(c.document)), "%s by go-jose", name)
		assert.Equal(t, c.jwx, usableElsewhere["jwx"]([]byte(c.document)), "%s by jwx", name)
	}
}

// keyHere returns the public key that is read of one JWK.
func keyHere(raw []byte) (crypto.PublicKey, error) {
	set, err := jwks.Parse(slices.Concat([]byte(`{"keys":[`), raw, []byte(`]}`)))
	if err != nil {
		return nil, err
	}
	for key := range set.All() {
		return key.Public, nil
	}
	return nil, set.Skipped()[0]
}

func keyOfGoJose(raw []byte) (crypto.PublicKey, error) {
	var key jose.JSONWebKey
	if err := json.Unmarshal(raw, &key); err != nil {
		return nil, err
	}
	if key.IsPublic() {
		return key.Key, nil
	}
	public := key.Public()
	if public.Key == nil {
		return nil, errors.New("it has no public half")
	}
	return public.Key, nil
}

func keyOfJWX(raw []byte) (crypto.PublicKey, error) {
	key, err := jwk.ParseKey(raw)
	if err != nil {
		return nil, err
	}
	public, err := jwk.PublicKeyOf(key)
	if err != nil {
		return nil, err
	}
	var native any
	err = jwk.Export(public, &native)
	return native, err
}

// FuzzParseKey: a key that is used here is the same elsewhere. One that go-jose and jwx
// both use is used here, too, unless a reason says why not.
func FuzzParseKey(f *testing.F) {
	for _, name := range slices.Sorted(maps.Keys(sets)) {
		var all struct{ Keys []json.RawMessage }
		if json.Unmarshal([]byte(sets[name].document), &all) == nil {
			for _, raw := range all.Keys {
				f.Add([]byte(raw))
			}
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 1<<14 || !json.Valid(raw) {
			return
		}
		ours, ourErr := keyHere(raw)
		theirs := make(map[string]crypto.PublicKey)
		errs := make(map[string]error)
		for name, read := range map[string]func([]byte) (crypto.PublicKey, error){"go-jose": keyOfGoJose, "jwx": keyOfJWX} {
			key, err := read(raw)
			if err != nil {
				errs[name] = err
				continue
			}
			theirs[name] = key
		}
		a, ambiguous := membersOf(raw)
		if ambiguous { // which of them counts is each reader's own affair
			return
		}
		if ourErr != nil {
			require.True(t, len(errs) > 0 || refusable(a), "only we refuse %q: %v", raw, ourErr)
			return
		}
		for name, key := range theirs {
			same, ok := ours.(interface{ Equal(crypto.PublicKey) bool })
			require.True(t, ok && same.Equal(key), "%s has another key of %q", name, raw)
		}
		require.True(t, len(theirs) > 0 || deviates(a), "only we use %q: %v", raw, errs)
	})
}

// refusable reports whether there is a reason to leave out a key.
func refusable(a anatomy) bool {
	for _, holds := range refused {
		if holds(a) {
			return true
		}
	}
	return false
}

// deviates reports whether a key has what others refuse: a member that is not read here, or
// a coordinate that is short of zeros or has too many.
func deviates(a anatomy) bool {
	for name := range a.members {
		if !slices.Contains([]string{"kty", "kid", "alg", "crv", "x", "y", "n", "e"}, name) {
			return true
		}
	}
	size := map[string]int{"P-256": 32, "P-384": 48, "P-521": 66}[a.text("crv")]
	return a.text("kty") == "EC" && (len(decodeLeniently(a.text("x"))) != size || len(decodeLeniently(a.text("y"))) != size)
}

// membersOf returns the members of a JWK, and whether two have one name but for case.
func membersOf(raw []byte) (a anatomy, ambiguous bool) {
	a.header = raw
	a.readMembers()
	folded := make(map[string]bool)
	for name := range a.members {
		folded[strings.ToLower(name)] = true
	}
	return a, a.duplicate || len(folded) < len(a.members)
}

// refused are the reasons for which a key is left out here that both others use.
var refused = map[string]func(a anatomy) bool{
	"a symmetric key is no public key":             func(a anatomy) bool { return strings.EqualFold(a.text("kty"), "oct") },
	"a kid of more than 256 bytes is no name":      func(a anatomy) bool { return len(a.text("kid")) > 256 },
	"alg is not one of this type of key":           func(a anatomy) bool { return !slices.Contains(algorithmsOf[a.text("kty")], a.text("alg")) },
	"RSA of an unsafe size, or exponent":           oddRSA,
	"a member that is read is not of its own type": func(a anatomy) bool { return oddlyTyped(a, "alg", "use", "kid", "crv", "key_ops") },
}

// algorithmsOf are the names that alg may have here; the curve must fit, too.
var algorithmsOf = map[string][]string{
	"RSA": {"", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "RSA1_5", "RSA-OAEP", "RSA-OAEP-256"},
	"EC":  {"", "ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A192KW", "ECDH-ES+A256KW"},
	"OKP": {"", "EdDSA", "Ed25519"},
}

func oddRSA(a anatomy) bool {
	n, e := new(big.Int).SetBytes(decodeLeniently(a.text("n"))), new(big.Int).SetBytes(decodeLeniently(a.text("e")))
	return a.text("kty") == "RSA" &&
		(n.BitLen() < 2048 || n.BitLen() > 8192 || n.Bit(0) == 0 || e.BitLen() > 31 || e.Bit(0) == 0 || e.BitLen() < 2)
}

// oddlyTyped reports whether a member is not of the type that RFC 7517 says.
func oddlyTyped(a anatomy, names ...string) bool {
	for _, name := range names {
		if value := a.members[name]; len(value) > 0 && value[0] != '"' && (name != "key_ops" || value[0] != '[') {
			return true
		}
	}
	return false
}
