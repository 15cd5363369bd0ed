package jwks_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/everfresh-go/everfresh/jwks"
)

// A jwk is a key in JSON, to be made wrong in one place.
type jwk map[string]any

// with returns the key with one member changed, or left out if value is nil.
func (k jwk) with(name string, value any) jwk {
	changed := maps.Clone(k)
	changed[name] = value
	if value == nil {
		delete(changed, name)
	}
	return changed
}

func document(keys ...any) []byte {
	data, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return data
}

// The keys of RFC 7517, appendix A.1; RFC 7520, section 3.1; and RFC 8037, appendix A.2.
var (
	rsaKey = rfc7517("2011-04-29")
	p256   = rfc7517("1").with("use", nil)
	p521   = jwk{
		"kty": "EC", "crv": "P-521",
		"x": "AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt",
		"y": "AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1",
	}
	ed = jwk{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
)

func rfc7517(kid string) jwk {
	data, err := os.ReadFile("testdata/rfc7517.json")
	if err != nil {
		panic(err)
	}
	var set struct{ Keys []jwk }
	if err := json.Unmarshal(data, &set); err != nil {
		panic(err)
	}
	return set.Keys[slices.IndexFunc(set.Keys, func(k jwk) bool { return k["kid"] == kid })]
}

func parse(t testing.TB, data []byte, opts ...jwks.ParseOption) *jwks.Set {
	t.Helper()
	set, err := jwks.Parse(data, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestKeysOfTheRFCsAreRead(t *testing.T) {
	data, err := os.ReadFile("testdata/rfc7517.json")
	if err != nil {
		t.Fatal(err)
	}
	set := parse(t, data)
	if set.Len() != 2 || len(set.Skipped()) != 0 {
		t.Fatalf("%d keys, skipped %v", set.Len(), set.Skipped())
	}
	keys := slices.Collect(set.All())
	ec, ok := keys[0].Public.(*ecdsa.PublicKey)
	if !ok || ec.Params().Name != "P-256" || keys[0].ID != "1" || keys[0].Type != "EC" || keys[0].Use != "enc" {
		t.Errorf("first key: %+v", keys[0])
	}
	key, ok := keys[1].Public.(*rsa.PublicKey)
	if !ok || key.E != 65537 || key.N.BitLen() != 2048 || keys[1].Algorithm != "RS256" {
		t.Errorf("second key: %+v", keys[1])
	}
	if got, ok := set.Lookup("2011-04-29", "RS256"); !ok || got != keys[1] {
		t.Error("the RSA key is not found")
	}
	if _, ok := set.Lookup("1", "ES256"); ok {
		t.Error("a key for encryption is found for a signature")
	}
}

func TestPrivateHalvesAreDropped(t *testing.T) {
	private := ed.with("d", "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	set := parse(t, document(private, rsaKey.with("d", "secret").with("p", 5), p256.with("d", []int{1})))
	if set.Len() != 3 {
		t.Fatalf("skipped: %v", set.Skipped())
	}
	for k := range set.All() {
		switch public := k.Public.(type) {
		case ed25519.PublicKey:
			if len(public) != ed25519.PublicKeySize {
				t.Errorf("an Ed25519 key of %d bytes", len(public))
			}
		case *rsa.PublicKey, *ecdsa.PublicKey:
		default:
			t.Errorf("a %T", public)
		}
		if text := fmt.Sprintf("%+v", k); strings.Contains(text, "secret") || strings.Contains(text, "nWGx") {
			t.Errorf("the private half is in %s", text)
		}
	}
}

// One key of each odd kind is told of once, and the good ones around it are used.
func TestOddKeysAreSkippedOneByOne(t *testing.T) {
	big := func(n int) string { return strings.Repeat("_", n) } // all bits are 1
	for name, tc := range map[string]struct {
		key  any
		want string
	}{
		"AKP":                   {jwk{"kty": "AKP", "alg": "ML-DSA-65", "pub": "AAAA"}, `kty "AKP" is not supported`},
		"Ed448":                 {ed.with("crv", "Ed448"), `crv "Ed448" is not supported`},
		"X25519":                {ed.with("crv", "X25519"), `crv "X25519" is not supported`},
		"secp256k1":             {p256.with("crv", "secp256k1"), `crv "secp256k1" is not supported`},
		"oct":                   {jwk{"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}, "symmetric keys are not accepted"},
		"OCT":                   {jwk{"kty": "OCT", "k": "c2VjcmV0"}, "symmetric keys are not accepted"},
		"no kty":                {rsaKey.with("kty", nil), "kty is missing"},
		"kty by case":           {rsaKey.with("kty", nil).with("KTY", "RSA"), "kty is missing"},
		"kty is a number":       {rsaKey.with("kty", 1), "kty is not a string"},
		"null":                  {nil, "not a JSON object"},
		"text":                  {"RSA", "not a JSON object"},
		"array":                 {[]int{1}, "not a JSON object"},
		"empty object":          {jwk{}, "kty is missing"},
		"kid is a number":       {rsaKey.with("kid", 7), "kid is not a string"},
		"kid is too long":       {rsaKey.with("kid", strings.Repeat("k", 257)), "kid is longer than 256 bytes"},
		"use is a list":         {rsaKey.with("use", []string{"sig"}), "use is not a string"},
		"alg is a list":         {rsaKey.with("alg", []string{"RS256"}), "alg is not a string"},
		"key_ops is a text":     {rsaKey.with("key_ops", "verify"), "key_ops is not an array"},
		"key_ops of numbers":    {rsaKey.with("key_ops", []any{"verify", 1, 2}), "key_ops is not a string"},
		"alg of another type":   {rsaKey.with("alg", "ES256"), `alg "ES256" does not fit this type of key`},
		"alg of another curve":  {p256.with("alg", "ES384"), `alg "ES384" does not fit this type of key`},
		"alg of HMAC":           {rsaKey.with("alg", "HS256"), `alg "HS256" does not fit this type of key`},
		"alg none":              {rsaKey.with("alg", "none"), `alg "none" does not fit this type of key`},
		"unknown alg":           {ed.with("alg", "Ed448"), `alg "Ed448" does not fit this type of key`},
		"no n":                  {rsaKey.with("n", nil), "n is missing"},
		"n is a number":         {rsaKey.with("n", 5), "n is not a string"},
		"n is not base64url":    {rsaKey.with("n", "+/+/"), "n: illegal base64 data at input byte 0"},
		"n is empty":            {rsaKey.with("n", ""), "n is empty"},
		"n is 0":                {rsaKey.with("n", "AAAA"), "RSA modulus is missing or even"},
		"n is even":             {rsaKey.with("n", big(342)+"A"), "RSA modulus is missing or even"},
		"RSA 1024":              {rsaKey.with("n", big(171)), "RSA key of 1024 bits: want 2048 to 8192"},
		"RSA 8200":              {rsaKey.with("n", big(1367)), "RSA key of 8200 bits: want 2048 to 8192"},
		"n is huge":             {rsaKey.with("n", big(100_000)), "n is too long"},
		"no e":                  {rsaKey.with("e", nil), "e is missing"},
		"e is 1":                {rsaKey.with("e", "AQ"), "RSA exponent is not an odd number from 3 to 2^31-1"},
		"e is even":             {rsaKey.with("e", "Ag"), "RSA exponent is not an odd number from 3 to 2^31-1"},
		"e is 2^31+1":           {rsaKey.with("e", "gAAAAQ"), "RSA exponent is not an odd number from 3 to 2^31-1"},
		"e is 2^32+3":           {rsaKey.with("e", "AQAAAAM"), "RSA exponent is not an odd number from 3 to 2^31-1"},
		"no crv":                {p256.with("crv", nil), "crv is missing"},
		"crv is a number":       {p256.with("crv", 256), "crv is not a string"},
		"no x":                  {p256.with("x", nil), "x is missing"},
		"no y":                  {p256.with("y", nil), "y is missing"},
		"not on the curve":      {p256.with("x", p256["y"]), "point of P-256: "},
		"on another curve":      {p256.with("crv", "P-384"), "point of P-384: "},
		"point 0":               {p256.with("x", "AA").with("y", "AA"), "point of P-256: "},
		"coordinate too long":   {p256.with("x", p521["x"]), "x is longer than the curve allows"},
		"coordinate is huge":    {p256.with("y", big(1000)), "y is too long"},
		"no crv of OKP":         {ed.with("crv", nil), "crv is missing"},
		"no x of OKP":           {ed.with("x", nil), "x is missing"},
		"Ed25519 of 31 bytes":   {ed.with("x", big(41)+"8"), "the length of an Ed25519 key is not 32 bytes"},
		"Ed25519 of 33 bytes":   {ed.with("x", big(44)), "the length of an Ed25519 key is not 32 bytes"},
		"Ed25519 is huge":       {ed.with("x", big(10_000)), "x is too long"},
		"kty with odd letters":  {jwk{"kty": "\x00\n\u202e" + strings.Repeat("x", 9999)}, "is not supported"},
		"the same member twice": {json.RawMessage(`{"kty":"RSA","kty":"oct"}`), "symmetric keys are not accepted"},
	} {
		t.Run(name, func(t *testing.T) {
			good := []any{rsaKey.with("kid", "a"), p256.with("kid", "b"), ed.with("kid", "c")}
			set := parse(t, document(good[0], good[1], tc.key, good[2]))
			for kid, alg := range map[string]string{"a": "RS256", "b": "ES256", "c": "EdDSA"} {
				if _, ok := set.Lookup(kid, alg); !ok {
					t.Errorf("key %q is lost", kid)
				}
			}
			skipped := set.Skipped()
			if set.Len() != 3 || len(skipped) != 1 {
				t.Fatalf("%d keys, skipped: %v", set.Len(), skipped)
			}
			if skipped[0].Index != 2 || !strings.Contains(skipped[0].Err.Error(), tc.want) {
				t.Errorf("skipped: %d, %v; want %q", skipped[0].Index, skipped[0].Err, tc.want)
			}
			unsupported := strings.Contains(tc.want, "is not supported")
			if errors.Is(skipped[0], errors.ErrUnsupported) != unsupported {
				t.Errorf("%v is unsupported: %t", skipped[0], !unsupported)
			}
		})
	}
}

// A reason names the key by its ID, and shows neither the key nor a long text of the issuer.
func TestReasonsAreShortAndShowNoKey(t *testing.T) {
	const secret = "c2VjcmV0LWtleS1tYXRlcmlhbA"
	long := strings.Repeat("\n", 50_000)
	for _, key := range []jwk{
		{"kty": "oct", "kid": "a\nb" + long, "k": secret},
		{"kty": long, "kid": "a\nb", "d": secret},
		{"kty": "EC", "crv": long, "x": secret, "y": secret, "d": secret},
		{"kty": "EC", "crv": "P-256", "x": secret, "y": secret, "d": secret},
		{"kty": "OKP", "crv": "Ed25519", "x": secret, "d": secret},
		{"kty": "RSA", "n": secret, "e": "AQAB", "d": secret},
		rsaKey.with("alg", long),
	} {
		skipped := parse(t, document(key)).Skipped()
		if len(skipped) != 1 {
			t.Fatalf("skipped: %v", skipped)
		}
		s := skipped[0]
		text := s.Error()
		if len(text) > 700 || strings.Contains(text, "\n") || strings.Contains(text, secret[:8]) || strings.Contains(text, "secret") {
			t.Errorf("reason: %s", text)
		}
		if len(s.ID) > 256 || len(s.Type) > 256 {
			t.Errorf("ID of %d and type of %d bytes are kept", len(s.ID), len(s.Type))
		}
	}
	s := parse(t, document(ed, jwk{"kty": "AKP", "kid": "a\nb"})).Skipped()[0]
	if got, want := s.Error(), `key 1 (kid "a\nb", kty "AKP") is left out: kty "AKP" is not supported`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Deviations of issuers that leave no doubt about which key is meant.
func TestDeviationsThatChangeNothing(t *testing.T) {
	n, x := rsaKey["n"].(string), p256["x"].(string)
	text := func(k jwk) string { return string(document(k)) }
	for name, tc := range map[string]struct {
		same jwk
		doc  string
	}{
		"padding":                {rsaKey, text(rsaKey.with("n", n+"=="))},
		"a leading zero in e":    {rsaKey, text(rsaKey.with("e", "AAEAAQ"))},
		"null members":           {p256.with("kid", nil), strings.Replace(text(p256.with("kid", nil)), `"kty"`, `"kid":null,"alg":null,"use":null,"key_ops":null,"kty"`, 1)},
		"escapes":                {p256, strings.ReplaceAll(text(p256), `"crv"`, `"\u0063rv"`)},
		"escapes in numbers":     {p256, strings.ReplaceAll(text(p256), x, strings.Replace(x, "M", `\u004d`, 1))},
		"spaces":                 {p256, " \r\n\t" + strings.ReplaceAll(strings.ReplaceAll(text(p256), ":", " : "), ",", "\n,\t") + "\n"},
		"the last of two counts": {p256, strings.Replace(text(p256), `[{`, `[{"crv":"P-384",`, 1)},
		"others members":         {p256, text(p256.with("x5c", []any{"a", []any{map[string]any{"keys": "}]\"\\"}}}).with("CRV", "P-384").with("n", 5).with("t", true))},
		"members of the set":     {p256, strings.Replace(text(p256), `{`, `{"a":[{"keys":[1,2]}],"KEYS":[],"b":-1.5e3,"c":"\"",`, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			want := slices.Collect(parse(t, document(tc.same)).All())
			set := parse(t, []byte(tc.doc))
			got := slices.Collect(set.All())
			if len(got) != 1 {
				t.Fatalf("skipped: %v", set.Skipped())
			}
			if !publicEqual(got[0], want[0]) {
				t.Errorf("got %+v, want %+v", got[0], want[0])
			}
		})
	}
}

func described(k *jwks.Key) string {
	return fmt.Sprintf("%q %q %q %q %q", k.ID, k.Type, k.Algorithm, k.Use, k.Ops)
}

func reencode(text string, change func([]byte) []byte) string {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(change(b))
}

// publicEqual reports whether two keys are the same to a caller.
func publicEqual(a, b *jwks.Key) bool {
	if described(a) != described(b) {
		return false
	}
	switch public := a.Public.(type) {
	case *rsa.PublicKey:
		return public.Equal(b.Public)
	case *ecdsa.PublicKey:
		return public.Equal(b.Public)
	case ed25519.PublicKey:
		return public.Equal(b.Public)
	}
	return false
}

// Issuers on the JVM drop a leading zero of a coordinate, or add one.
func TestCoordinatesOfAnotherLength(t *testing.T) {
	want := slices.Collect(parse(t, document(p521)).All())[0]
	short, long := p521["x"].(string), p521["y"].(string)
	if short[0] != 'A' {
		t.Fatal("the first byte of x is no zero")
	}
	for name, key := range map[string]jwk{
		"one dropped": p521.with("x", reencode(short, func(b []byte) []byte { return bytes.TrimLeft(b, "\x00") })),
		"one added":   p521.with("y", reencode(long, func(b []byte) []byte { return append([]byte{0}, b...) })),
	} {
		set := parse(t, document(key))
		if got := slices.Collect(set.All()); len(got) != 1 || !publicEqual(got[0], want) {
			t.Errorf("%s: %v, skipped %v", name, got, set.Skipped())
		}
	}
}

func TestDocumentsThatAreNoSet(t *testing.T) {
	many := bytes.Repeat([]byte("0,"), 1000)
	for name, data := range map[string]string{
		"nothing":       "",
		"spaces":        " \n",
		"HTML":          "<html>",
		"null":          "null",
		"number":        "5",
		"text":          `"keys"`,
		"array":         string(document(rsaKey))[8:],
		"no keys":       `{"error":"oops"}`,
		"a key":         `{"kty":"RSA","n":"AQAB","e":"AQAB"}`,
		"KEYS":          `{"KEYS":[]}`,
		"keys is null":  `{"keys":null}`,
		"an object":     `{"keys":{"a":{}}}`,
		"last is null":  `{"keys":[],"keys":null}`,
		"truncated":     string(document(rsaKey)[:200]),
		"trailing":      `{"keys":[]}{}`,
		"trailing dot":  `{"keys":[]}.`,
		"comma":         `{"keys":[{},]}`,
		"BOM":           "\ufeff" + `{"keys":[]}`,
		"too many":      `{"keys":[` + string(many) + `0]}`,
		"too deep":      `{"keys":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}`,
		"control chars": "{\"keys\":[\"\n\"]}",
	} {
		set, err := jwks.Parse([]byte(data))
		if !errors.Is(err, jwks.ErrInvalidSet) || set != nil {
			t.Errorf("%s: %v, %v", name, set, err)
		} else if len(err.Error()) > 100 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSetsWithoutKeysAreSets(t *testing.T) {
	thousand := strings.TrimSuffix(strings.Repeat("0,", 1000), ",")
	for data, skipped := range map[string]int{
		`{"keys":[]}`:                                0,
		` { "keys" : [ ] } `:                         0,
		`{"keys":null,"keys":[]}`:                    0,
		`{"keys":[` + thousand + `]}`:                1000,
		`{"keys":[{},{"kty":"oct","k":"AA"},[],{}]}`: 4,
	} {
		set := parse(t, []byte(data))
		if set.Len() != 0 || len(set.Skipped()) != skipped {
			t.Errorf("%.30s: %d keys, %d skipped", data, set.Len(), len(set.Skipped()))
		}
	}
}

// A set keeps nothing of the bytes it was read from.
func TestParseKeepsNothingOfItsInput(t *testing.T) {
	data := document(rsaKey.with("key_ops", []string{"verify"}), ed.with("kid", "some key"), p256, jwk{"kty": "AKP", "kid": "x"})
	set := parse(t, data)
	want := parse(t, bytes.Clone(data))
	for i := range data {
		data[i] = '!'
	}
	wanted := slices.Collect(want.All())
	for i, k := range slices.Collect(set.All()) {
		if !publicEqual(k, wanted[i]) {
			t.Errorf("key %d changed: %+v", i, k)
		}
	}
	if s := set.Skipped()[0]; s.ID != "x" || s.Type != "AKP" {
		t.Errorf("skipped key changed: %v", s)
	}
}
