package jwks

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// signers are private keys, made once.
var signers = sync.OnceValue(func() map[string]crypto.Signer {
	made := make(map[string]crypto.Signer)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	made["RSA"] = rsaKey
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		if made[curve.Params().Name], err = ecdsa.GenerateKey(curve, rand.Reader); err != nil {
			panic(err)
		}
	}
	if _, made["Ed25519"], err = ed25519.GenerateKey(rand.Reader); err != nil {
		panic(err)
	}
	return made
})

// signerOf says which of the signers an algorithm needs.
var signerOf = map[string]string{
	"RS256": "RSA", "RS384": "RSA", "RS512": "RSA", "PS256": "RSA", "PS384": "RSA", "PS512": "RSA",
	"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519", "Ed25519": "Ed25519",
}

var hashes = map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}

func encoded(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// signingInput is the part of a token that is signed.
func signingInput(header, payload string) string {
	return encoded([]byte(header)) + "." + encoded([]byte(payload))
}

// signed returns a signature by means of the standard library only.
func signed(t testing.TB, alg, input string) []byte {
	t.Helper()
	key := signers()[signerOf[alg]]
	if signerOf[alg] == "Ed25519" {
		return ed25519.Sign(key.(ed25519.PrivateKey), []byte(input))
	}
	hash := hashes[alg[2:]]
	h := hash.New()
	h.Write([]byte(input))
	var opts crypto.SignerOpts = hash
	if alg[:2] == "PS" {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	sig, err := key.Sign(rand.Reader, h.Sum(nil), opts)
	if err != nil {
		t.Fatal(err)
	}
	if ec, ok := key.(*ecdsa.PrivateKey); ok {
		return rawSignature(t, sig, ec.Curve)
	}
	return sig
}

func rawSignature(t testing.TB, der []byte, curve elliptic.Curve) []byte {
	t.Helper()
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		t.Fatal(err)
	}
	size := (curve.Params().BitSize + 7) / 8
	raw := make([]byte, 2*size)
	rs.R.FillBytes(raw[:size])
	rs.S.FillBytes(raw[size:])
	return raw
}

func token(t testing.TB, alg string) string {
	t.Helper()
	input := signingInput(`{"alg":"`+alg+`","kid":"k"}`, "the payload")
	return input + "." + encoded(signed(t, alg, input))
}

// settled returns the key as if it were read from a set, with an alg or without.
func settled(t testing.TB, signer, alg string) *Key {
	t.Helper()
	k := &Key{ID: "k", Algorithm: alg, Public: signers()[signer].Public()}
	algs, err := examine(k.Public)
	if err == nil {
		err = k.restrict(algs)
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func verifyToken(token string, k *Key) ([]byte, error) {
	j, err := parseJWS(token)
	if err != nil {
		return nil, err
	}
	if err := j.verify(k); err != nil {
		return nil, err
	}
	return j.payload()
}

// A vector is a token of an RFC, with the key that it is for.
type vector struct {
	Name, Token string
	Key         json.RawMessage

	key *Key
}

func vectors(t testing.TB) []vector {
	t.Helper()
	data, err := os.ReadFile("testdata/signatures.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	for i, v := range all {
		set, err := Parse([]byte(`{"keys":[` + string(v.Key) + `]}`))
		if err != nil {
			t.Fatal(err)
		}
		j, err := parseJWS(v.Token)
		if err != nil {
			t.Fatal(err)
		}
		if all[i].key = set.find(j.kid, j.alg); all[i].key == nil {
			t.Fatalf("%s: no key: %v", v.Name, set.Skipped())
		}
	}
	return all
}

func TestVectorsOfTheRFCsVerify(t *testing.T) {
	for _, v := range vectors(t) {
		if _, err := verifyToken(v.Token, v.key); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
		other := strings.Replace(v.Token, ".", "."+encoded([]byte("abc")), 1)
		if _, err := verifyToken(other, v.key); !errors.Is(err, ErrSignature) {
			t.Errorf("%s with another payload: %v", v.Name, err)
		}
	}
}

// Every algorithm verifies with a key of its type, and with no key of another type or of
// another algorithm.
func TestAlgorithmsAndKeys(t *testing.T) {
	for alg, owner := range signerOf {
		signedToken := token(t, alg)
		for signer := range signers() {
			payload, err := verifyToken(signedToken, settled(t, signer, ""))
			switch {
			case signer == owner && (err != nil || string(payload) != "the payload"):
				t.Errorf("%s with %s: %q, %v", alg, signer, payload, err)
			case signer != owner && !errors.Is(err, ErrAlgorithm):
				t.Errorf("%s with %s: %v, want ErrAlgorithm", alg, signer, err)
			}
		}
		for named, namedOwner := range signerOf {
			if namedOwner != owner {
				continue
			}
			_, err := verifyToken(signedToken, settled(t, owner, named))
			same := named == alg || owner == "Ed25519"
			if same && err != nil || !same && !errors.Is(err, ErrAlgorithm) {
				t.Errorf("%s with a key for %s: %v", alg, named, err)
			}
		}
		if _, err := verifyToken(signedToken, &Key{Public: signers()[owner].Public()}); err != nil {
			t.Errorf("%s with a key that is of no set: %v", alg, err)
		}
	}
}

func TestSignatureOfAnotherKeyIsWrong(t *testing.T) {
	for alg, owner := range signerOf {
		input := signingInput(`{"alg":"`+alg+`"}`, "x")
		sig := signed(t, alg, input)
		sig[len(sig)/2] ^= 1
		if _, err := verifyToken(input+"."+encoded(sig), settled(t, owner, "")); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: flipped bit: %v", alg, err)
		}
		for _, bad := range [][]byte{{}, sig[:len(sig)-1], append(sig, 0), append([]byte{0}, sig...), make([]byte, len(sig)), make([]byte, 5000)} {
			if _, err := verifyToken(input+"."+encoded(bad), settled(t, owner, "")); !errors.Is(err, ErrSignature) {
				t.Errorf("%s: signature of %d bytes: %v", alg, len(bad), err)
			}
		}
	}
}

// What is public about a key must not be enough to sign with it.
func TestAlgorithmConfusion(t *testing.T) {
	public := signers()["RSA"].Public()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range []string{"HS256", "hs256", "none", "None", "NONE", "rs256", "RS256 ", "RS1", "ES256K"} {
		input := signingInput(`{"alg":"`+alg+`","kid":"k"}`, "x")
		mac := hmac.New(sha256.New, der)
		mac.Write([]byte(input))
		for _, sig := range []string{"", encoded(mac.Sum(nil))} {
			for _, k := range []*Key{settled(t, "RSA", ""), settled(t, "RSA", "RS256"), {Public: public}, {Public: der}} {
				if _, err := verifyToken(input+"."+sig, k); !errors.Is(err, ErrAlgorithm) {
					t.Errorf("%s with %T: %v, want ErrAlgorithm", alg, k.Public, err)
				}
			}
		}
		if (&Set{keys: []Key{*settled(t, "RSA", "")}}).find("", alg) != nil {
			t.Errorf("%s finds a key", alg)
		}
	}
}

func TestKeysThatAreNotForSignaturesVerifyNothing(t *testing.T) {
	for name, k := range map[string]*Key{
		"use":     {Use: "enc"},
		"key_ops": {Ops: []string{"encrypt"}},
		"no ops":  {Ops: []string{}},
		"alg":     {Algorithm: "RSA-OAEP-256"},
	} {
		k.Public = signers()["RSA"].Public()
		if err := k.restrict(ofRSA); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := verifyToken(token(t, "RS256"), k); !errors.Is(err, ErrAlgorithm) {
			t.Errorf("%s: %v, want ErrAlgorithm", name, err)
		}
	}
}

// A key from another implementation of a source is checked before it is used, as the standard
// library panics for some of these.
func TestMalformedPublicKeys(t *testing.T) {
	ec := signers()["P-256"].Public().(*ecdsa.PublicKey)
	for name, public := range map[string]crypto.PublicKey{
		"nil":           nil,
		"nil RSA":       (*rsa.PublicKey)(nil),
		"RSA without N": &rsa.PublicKey{E: 3},
		"nil EC":        (*ecdsa.PublicKey)(nil),
		"EC, no curve":  &ecdsa.PublicKey{},
		"EC, no point":  &ecdsa.PublicKey{Curve: ec.Curve},
		"short Ed25519": ed25519.PublicKey{1},
		"private":       signers()["RSA"],
	} {
		for alg := range signerOf {
			if _, err := verifyToken(token(t, alg), &Key{Public: public}); !errors.Is(err, ErrAlgorithm) {
				t.Errorf("%s, %s: %v, want ErrAlgorithm", name, alg, err)
			}
		}
	}
}

// JWS has one form of an ECDSA signature (RFC 7518, section 3.4).
func TestFormsOfECDSASignatures(t *testing.T) {
	for alg, owner := range map[string]string{"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"} {
		key := signers()[owner].(*ecdsa.PrivateKey)
		input := signingInput(`{"alg":"`+alg+`"}`, "x")
		raw := signed(t, alg, input)
		size := len(raw) / 2
		h := hashes[alg[2:]].New()
		h.Write([]byte(input))
		der, err := ecdsa.SignASN1(rand.Reader, key, h.Sum(nil))
		if err != nil {
			t.Fatal(err)
		}
		order := key.Params().N.FillBytes(make([]byte, size))
		for name, sig := range map[string][]byte{
			"DER":            der,
			"r is 0":         append(make([]byte, size), raw[size:]...),
			"s is 0":         append(raw[:size:size], make([]byte, size)...),
			"r is the order": append(order, raw[size:]...),
			"s is the order": append(raw[:size:size], order...),
			"one byte more":  append([]byte{0}, raw...),
			"padded halves":  append(append(append([]byte{0}, raw[:size]...), 0), raw[size:]...),
			"one half":       raw[:size],
			"halves swapped": append(raw[size:len(raw):len(raw)], raw[:size]...),
		} {
			if _, err := verifyToken(input+"."+encoded(sig), settled(t, owner, "")); !errors.Is(err, ErrSignature) {
				t.Errorf("%s, %s: %v", alg, name, err)
			}
		}
	}
}

// The salt of PSS has the length of the hash, and no other.
func TestSaltOfAnotherLengthIsWrong(t *testing.T) {
	input := signingInput(`{"alg":"PS256"}`, "x")
	digest := sha256.Sum256([]byte(input))
	for _, length := range []int{0, 20, 31, 33, 64} {
		sig, err := rsa.SignPSS(rand.Reader, signers()["RSA"].(*rsa.PrivateKey), crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: max(length, 1)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := verifyToken(input+"."+encoded(sig), settled(t, "RSA", "")); !errors.Is(err, ErrSignature) {
			t.Errorf("salt of %d bytes: %v", length, err)
		}
	}
}

func TestTokensThatAreMalformed(t *testing.T) {
	good := token(t, "ES256")
	parts := strings.Split(good, ".")
	with := func(header string) string { return encoded([]byte(header)) + "." + parts[1] + "." + parts[2] }
	many := make([]string, maxHeaderMembers+1)
	for i := range many {
		many[i] = fmt.Sprintf(`"m%d":0`, i)
	}
	for name, bad := range map[string]string{
		"empty":                 "",
		"one part":              parts[0],
		"two parts":             parts[0] + "." + parts[1],
		"four parts":            good + ".",
		"five parts, a JWE":     good + "." + parts[2] + "." + parts[2],
		"only dots":             "..",
		"JSON serialisation":    `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"leading space":         " " + good,
		"trailing space":        good + " ",
		"trailing newline":      good + "\n",
		"newline in header":     good[:4] + "\n" + good[4:],
		"carriage return":       parts[0] + "." + parts[1] + "\r." + parts[2],
		"tab":                   parts[0] + ".\t" + parts[1] + "." + parts[2],
		"padded header":         parts[0] + "=." + parts[1] + "." + parts[2],
		"padded payload":        parts[0] + "." + parts[1] + "=." + parts[2],
		"padded signature":      good + "==",
		"standard alphabet":     parts[0] + ".+/+/." + parts[2],
		"not ASCII":             parts[0] + ".äää." + parts[2],
		"zero byte":             good + "\x00",
		"stray bits":            parts[0] + ".YWF." + parts[2],
		"stray bits, header":    encoded([]byte(`{"alg":"ES256"}`))[:19] + "R." + parts[1] + "." + parts[2],
		"odd digit":             parts[0] + ".YWFhY." + parts[2],
		"too long":              parts[0] + "." + strings.Repeat("A", maxToken) + "." + parts[2],
		"header is not JSON":    with(`{"alg":"ES256"`),
		"header and more":       with(`{"alg":"ES256"}{}`),
		"header is an array":    with(`["alg","ES256"]`),
		"header is null":        with(`null`),
		"header is a number":    with(`5`),
		"header is not UTF-8":   with("{\"alg\":\"ES256\",\"x\":\"\xff\"}"),
		"header has a BOM":      with("\ufeff" + `{"alg":"ES256"}`),
		"no alg":                with(`{}`),
		"alg in upper case":     with(`{"ALG":"ES256"}`),
		"empty alg":             with(`{"alg":""}`),
		"alg is null":           with(`{"alg":null}`),
		"alg is a list":         with(`{"alg":["ES256"]}`),
		"alg twice":             with(`{"alg":"ES256","alg":"ES256"}`),
		"alg twice, escaped":    with(`{"alg":"ES256","\u0061lg":"none"}`),
		"another name twice":    with(`{"alg":"ES256","x":1,"y":2,"x":1}`),
		"kid is null":           with(`{"alg":"ES256","kid":null}`),
		"kid is a number":       with(`{"alg":"ES256","kid":1}`),
		"kid is too long":       with(`{"alg":"ES256","kid":"` + strings.Repeat("k", maxKeyID+1) + `"}`),
		"crit":                  with(`{"alg":"ES256","crit":["exp"]}`),
		"crit is empty":         with(`{"alg":"ES256","crit":[]}`),
		"b64":                   with(`{"alg":"ES256","b64":false}`),
		"b64 is true":           with(`{"alg":"ES256","b64":true}`),
		"too many members":      with(`{"alg":"ES256",` + strings.Join(many, ",") + `}`),
		"too many, and too big": with(`{"alg":"ES256"` + strings.Repeat(`,"":0`, 60_000) + `}`),
	} {
		j, err := parseJWS(bad)
		if !errors.Is(err, ErrToken) || j != nil {
			t.Errorf("%s: %v, want ErrToken", name, err)
			continue
		}
		if strings.Contains(err.Error(), "kkk") || len(err.Error()) > 120 {
			t.Errorf("%s: the error shows the token: %v", name, err)
		}
	}
}

func TestTokensThatAreWellFormed(t *testing.T) {
	for name, tc := range map[string]struct{ header, payload, kid, alg string }{
		"empty payload":   {`{"alg":"ES256"}`, "", "", "ES256"},
		"key ID":          {`{"kid":"a","alg":"ES256"}`, "x", "a", "ES256"},
		"escapes":         {`{"\u006bid":"\u00e4\/","alg":"E\u0053256"}`, "x", "ä/", "ES256"},
		"spaces":          {" {\r\n\t\"alg\" : \"none\" , \"kid\":\"\" } ", "x", "", "none"},
		"others members":  {`{"jwk":{"alg":"a","alg":"b"},"alg":"RS256","jku":"https://evil.example","x5c":["a",{"b":[]}]}`, "x", "", "RS256"},
		"longest key ID":  {`{"alg":"x","kid":"` + strings.Repeat("k", maxKeyID) + `"}`, "x", strings.Repeat("k", maxKeyID), "x"},
		"names by case":   {`{"alg":"a","ALG":"b","Kid":5}`, "x", "", "a"},
		"all but too big": {`{"alg":"a"}`, strings.Repeat("p", maxToken/4*3-30), "", "a"},
	} {
		j, err := parseJWS(signingInput(tc.header, tc.payload) + "." + encoded([]byte("s")))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		payload, err := j.payload()
		if err != nil || string(payload) != tc.payload || j.kid != tc.kid || j.alg != tc.alg {
			t.Errorf("%s: %q, %q, payload of %d bytes, %v", name, j.kid, j.alg, len(payload), err)
		}
	}
}

// What a source asks of a set, besides Lookup.
func TestCandidates(t *testing.T) {
	keys := []Key{*settled(t, "RSA", ""), *settled(t, "P-256", ""), *settled(t, "RSA", "RS256"), *settled(t, "RSA", "RSA-OAEP"), *settled(t, "RSA", "")}
	keys[4].ID = ""
	set := newSet(keys, nil)
	for name, tc := range map[string]struct {
		kid, alg string
		want     []int
	}{
		"by ID":        {"k", "RS256", []int{0, 2}},
		"of one type":  {"k", "ES256", []int{1}},
		"without ID":   {"", "RS256", []int{0, 2, 4}},
		"not for this": {"k", "EdDSA", nil},
		"unknown ID":   {"x", "RS256", nil},
		"unknown alg":  {"", "none", nil},
	} {
		var got []int
		for _, k := range set.fitting(tc.kid, tc.alg) {
			got = append(got, slices.IndexFunc(set.keys, func(other Key) bool {
				return other.Public == k.Public && other.Algorithm == k.Algorithm && other.ID == k.ID
			}))
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
	if !set.has("k") || set.has("x") || set.has("") {
		t.Error("has is wrong")
	}
	if enc := newSet(keys[3:4], nil); !set.usable() || enc.usable() || enc.Len() != 1 || !enc.has("k") {
		t.Error("a set with a key for encryption only is usable")
	}
}

func TestFindAllocatesNothing(t *testing.T) {
	set := newSet([]Key{*settled(t, "RSA", ""), *settled(t, "P-256", "")}, nil)
	for _, kid := range []string{"k", "x", ""} {
		if n := testing.AllocsPerRun(100, func() { set.find(kid, "ES256") }); n != 0 {
			t.Errorf("%q: %v allocations", kid, n)
		}
	}
}

// A token that no key is for costs little memory, however long it is.
func TestParsingATokenAllocatesForItsHeaderOnly(t *testing.T) {
	for _, length := range []int{10, 100_000} {
		signedToken := signingInput(`{"alg":"RS256","kid":"k"}`, strings.Repeat("p", length)) + ".AAAA"
		if n := testing.AllocsPerRun(20, func() { _, _ = parseJWS(signedToken) }); n > 3 {
			t.Errorf("%v allocations", n)
		}
	}
}

// An option of a source is one of Parse as well.
func TestKeyParserIsAnOptionOfASource(t *testing.T) {
	read := func(json.RawMessage) (Key, error) { return Key{}, nil }
	var c config
	if err := WithKeyParser("AKP", read).apply(&c); err != nil || len(c.parsers) != 1 {
		t.Errorf("%d parsers, %v", len(c.parsers), err)
	}
	if err := WithKeyParser("oct", read).apply(&config{}); !errors.Is(err, ErrOption) {
		t.Errorf("oct: %v, want ErrOption", err)
	}
}
