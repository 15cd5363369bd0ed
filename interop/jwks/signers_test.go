package jwks_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
)

// signers sign with the private keys of RFC 7515, RFC 8037 and one more. The document has
// their public halves, one of them again for RS256 only, one for encryption, and two with
// one name.
type signers struct {
	document []byte
	signers  []signer
}

// A signer signs by one algorithm, whatever the header says.
type signer func(t testing.TB, input string) []byte

func newSigners(t testing.TB) *signers {
	t.Helper()
	var private jose.JSONWebKeySet
	require.NoError(t, json.Unmarshal(readFile(t, "testdata/private.json"), &private))
	byID := make(map[string]*jose.JSONWebKey)
	public := new(jose.JSONWebKeySet)
	for i := range private.Keys {
		key := &private.Keys[i]
		byID[key.KeyID] = key
		public.Keys = append(public.Keys, key.Public())
	}
	again := func(kid, name, alg, use string) {
		key := byID[kid].Public()
		key.KeyID, key.Algorithm, key.Use = name, alg, use
		public.Keys = append(public.Keys, key)
	}
	again("rsa", "rs256", "RS256", "sig")
	again("p256", "enc", "", "enc")
	again("p384", "two", "", "sig")
	again("ed", "two", "EdDSA", "")
	document, err := json.Marshal(public)
	require.NoError(t, err)

	s := &signers{document: document}
	for _, hash := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		pss := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
		s.signers = append(s.signers, by(byID["rsa"], hash, hash), by(byID["rsa"], hash, pss))
	}
	s.signers = append(s.signers, by(byID["p256"], crypto.SHA256, nil), by(byID["p384"], crypto.SHA384, nil),
		by(byID["p521"], crypto.SHA512, nil), by(byID["ed"], 0, crypto.Hash(0)))
	secret, err := json.Marshal(byID["rsa"].Public())
	require.NoError(t, err)
	s.signers = append(s.signers, byHMAC(secret), func(testing.TB, string) []byte { return nil })
	require.Len(t, s.signers, goodHeaders)
	salted := &rsa.PSSOptions{SaltLength: 20, Hash: crypto.SHA256}
	s.signers = append(s.signers, by(byID["rsa"], crypto.SHA256, salted))
	return s
}

// by signs with a private key and a hash.
func by(key *jose.JSONWebKey, hash crypto.Hash, opts crypto.SignerOpts) signer {
	return func(t testing.TB, input string) []byte {
		t.Helper()
		digest := []byte(input)
		if hash != 0 {
			h := hash.New()
			h.Write(digest)
			digest = h.Sum(nil)
		}
		switch private := key.Key.(type) {
		case *ecdsa.PrivateKey:
			r, s, err := ecdsa.Sign(rand.Reader, private, digest)
			require.NoError(t, err)
			size := (private.Curve.Params().BitSize + 7) / 8
			return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		case crypto.Signer: // *rsa.PrivateKey, ed25519.PrivateKey
			signature, err := private.Sign(rand.Reader, digest, opts)
			require.NoError(t, err)
			return signature
		default:
			t.Fatalf("a key is a %T", key.Key)
			return nil
		}
	}
}

func byHMAC(secret []byte) signer {
	return func(_ testing.TB, input string) []byte {
		h := hmac.New(sha256.New, secret)
		h.Write([]byte(input))
		return h.Sum(nil)
	}
}

var _ crypto.Signer = ed25519.PrivateKey(nil)

// forms spell a token. The parts are header, payload and signature; sign signs the first
// two as they are spelled.
var forms = []func(header, payload []byte, sign func(string) []byte) string{
	func(header, payload []byte, sign func(string) []byte) string {
		return spell(encode, header, payload, sign)
	},
	func(header, payload []byte, sign func(string) []byte) string {
		return spell(base64.URLEncoding.EncodeToString, header, payload, sign)
	},
	func(header, payload []byte, sign func(string) []byte) string {
		return spell(base64.RawStdEncoding.EncodeToString, header, payload, sign)
	},
	func(header, payload []byte, sign func(string) []byte) string {
		return spell(base64.StdEncoding.EncodeToString, header, payload, sign)
	},
	func(header, payload []byte, sign func(string) []byte) string {
		return " " + spell(encode, header, payload, sign) + "\n"
	},
	func(header, payload []byte, sign func(string) []byte) string {
		return spell(broken, header, payload, sign)
	},
	func(header, payload []byte, sign func(string) []byte) string {
		return spell(stray, header, payload, sign)
	},
	func(header, payload []byte, sign func(string) []byte) string {
		return spell(encode, header, payload, sign) + "."
	},
	func(header, payload []byte, sign func(string) []byte) string { // signed with the payload as it is
		return encode(header) + "." + encode(payload) + "." + encode(sign(encode(header)+"."+string(payload)))
	},
	func(header, payload []byte, sign func(string) []byte) string { // detached
		return encode(header) + ".." + encode(sign(encode(header)+"."+encode(payload)))
	},
	func(header, payload []byte, sign func(string) []byte) string { // flattened JSON
		signature := sign(encode(header) + "." + encode(payload))
		return fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, encode(header), encode(payload), encode(signature))
	},
	func(header, payload []byte, sign func(string) []byte) string { // one byte less
		signature := sign(encode(header) + "." + encode(payload))
		return encode(header) + "." + encode(payload) + "." + encode(signature[:max(0, len(signature)-1)])
	},
	func(header, payload []byte, sign func(string) []byte) string { // one byte more
		signature := sign(encode(header) + "." + encode(payload))
		return encode(header) + "." + encode(payload) + "." + encode(append([]byte{0}, signature...))
	},
	// The signature alone is spelled otherwise, which no signature covers.
	func(header, payload []byte, sign func(string) []byte) string {
		return respell(base64.RawStdEncoding.EncodeToString, header, payload, sign)
	},
	func(header, payload []byte, sign func(string) []byte) string {
		return respell(base64.URLEncoding.EncodeToString, header, payload, sign)
	},
	func(header, payload []byte, sign func(string) []byte) string {
		return respell(broken, header, payload, sign)
	},
	func(header, payload []byte, sign func(string) []byte) string {
		return respell(stray, header, payload, sign)
	},
	func(header, payload []byte, sign func(string) []byte) string {
		return spell(encode, header, payload, sign) + "\n"
	},
}

func respell(other func([]byte) string, header, payload []byte, sign func(string) []byte) string {
	input := encode(header) + "." + encode(payload)
	return input + "." + other(sign(input))
}

func spell(encode func([]byte) string, header, payload []byte, sign func(string) []byte) string {
	input := encode(header) + "." + encode(payload)
	return input + "." + encode(sign(input))
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// broken has a line break, as MIME has.
func broken(b []byte) string {
	s := encode(b)
	return s[:len(s)/2] + "\r\n" + s[len(s)/2:]
}

// stray has bits after the last byte, where there is room for them.
func stray(b []byte) string {
	s := encode(b)
	if len(b)%3 == 0 {
		return s
	}
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(digits, s[len(s)-1])
	return s[:len(s)-1] + digits[last+1:last+2]
}

// decodeLeniently returns what part means, in whatever spelling.
func decodeLeniently(part string) []byte {
	part = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(part, "="))
	decoded, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return nil
	}
	return decoded
}

// sign returns a token that is signed by the how-th signer, in the form-th form.
func (s *signers) sign(t testing.TB, header string, payload []byte, how, form uint8) string {
	t.Helper()
	sign := s.signers[int(how)%len(s.signers)]
	return forms[int(form)%len(forms)]([]byte(header), payload, func(input string) []byte { return sign(t, input) })
}

// tokens returns a good token of each algorithm, and others, for the fuzzer to begin with.
func (s *signers) tokens(t testing.TB) []string {
	t.Helper()
	var all []string
	for how, header := range headers[:goodHeaders] {
		all = append(all, s.sign(t, header, []byte("{}"), uint8(how), 0))
	}
	for _, header := range headers {
		all = append(all, s.sign(t, header, []byte("{}"), 9, 0))
	}
	for form := range forms {
		all = append(all, s.sign(t, `{"alg":"EdDSA"}`, []byte("{ }"), 9, uint8(form)))
	}
	for _, vec := range vectors(t) {
		all = append(all, vec.Token)
	}
	return all
}

// goodHeaders is how many of the headers have a signer of their own.
const goodHeaders = 12

// headers are what tokens begin with: first the good ones, in the order of the signers,
// then what an attacker or a careless issuer might write.
var headers = []string{
	`{"alg":"RS256","kid":"rsa"}`, `{"alg":"PS256","kid":"rsa"}`,
	`{"alg":"RS384","kid":"rsa"}`, `{"alg":"PS384","kid":"rsa"}`,
	`{"alg":"RS512","kid":"rsa"}`, `{"alg":"PS512","kid":"rsa"}`,
	`{"alg":"ES256","kid":"p256"}`, `{"alg":"ES384","kid":"p384"}`, `{"alg":"ES512","kid":"p521"}`,
	`{"alg":"EdDSA","kid":"ed"}`,
	`{"alg":"HS256","kid":"rsa"}`, `{"alg":"none","kid":"rsa"}`,

	`{"alg":"Ed25519","kid":"ed"}`, `{"alg":"NONE"}`, `{"alg":"none"}`, `{"alg":""}`, `{}`, `null`, `[]`, `"x"`, ``, ` `,
	`{"alg":"RS256","kid":"rs256"}`, `{"alg":"RS512","kid":"rs256"}`, `{"alg":"PS256","kid":"rs256"}`,
	`{"alg":"ES256","kid":"enc"}`, `{"alg":"ES384","kid":"two"}`, `{"alg":"EdDSA","kid":"two"}`, `{"alg":"ES256","kid":"two"}`,
	`{"alg":"RS256"}`, `{"alg":"ES256"}`, `{"alg":"EdDSA"}`, `{"alg":"ES256","kid":"unknown"}`,
	`{"alg":"ES256","kid":""}`, `{"alg":"ES256","kid":null}`, `{"alg":"ES256","kid":1}`, `{"alg":"ES256","kid":["p256"]}`,
	`{"alg":"ES256","kid":{"a":1}}`, `{"alg":["ES256"],"kid":"p256"}`, `{"alg":null,"kid":"p256"}`, `{"alg":"es256","kid":"p256"}`,
	`{"alg":"ES256","alg":"ES256","kid":"p256"}`, `{"alg":"none","alg":"ES256","kid":"p256"}`,
	`{"alg":"ES256","kid":"p256","kid":"enc"}`, `{"alg":"ES256","kid":"enc","kid":"p256"}`, `{"alg":"ES256","\u0061lg":"RS256","kid":"p256"}`,
	`{"alg":"ES256","kid":"p256","x":1,"x":2}`, `{"ALG":"ES256","kid":"p256"}`, `{"alg":"ES256","Kid":"p256"}`, `{"alg":"ES256","KID":"x","kid":"p256"}`,
	`{"alg":"ES256","kid":"p256","crit":["b64"],"b64":false}`, `{"alg":"ES256","kid":"p256","crit":["b64"],"b64":true}`,
	`{"alg":"ES256","kid":"p256","b64":false}`, `{"alg":"ES256","kid":"p256","b64":true}`, `{"alg":"ES256","kid":"p256","crit":[]}`,
	`{"alg":"ES256","kid":"p256","crit":["x"],"x":1}`, `{"alg":"ES256","kid":"p256","crit":["exp"],"exp":1}`, `{"alg":"ES256","kid":"p256","crit":null}`,
	`{"alg":"ES256","kid":"p256","typ":"JWT","cty":"JWT"}`, `{"alg":"ES256","kid":"p256","typ":1}`, `{"alg":"ES256","kid":"p256","nonce":"x"}`,
	`{"alg":"ES256","kid":"p256","jku":"https://evil.example","x5u":"https://evil.example","x5t":"x"}`,
	`{"alg":"EdDSA","kid":"ed","jwk":{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}`,
	`{"alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw"}}`,
	`{"alg":"EdDSA","kid":"ed","jwk":1}`, `{"alg":"EdDSA","kid":"ed","jwk":{"kty":"X"}}`, `{"alg":"EdDSA","kid":"ed","x5c":1}`, `{"alg":"EdDSA","kid":"ed","x5c":["x"]}`,
	`{"alg":"ES256","kid":"p256"} `, " \n{\"alg\":\"ES256\"\t,\"kid\" :\r\"p256\"}", `{"alg":"ES256","kid":"p256"}{}`, `{"alg":"ES256","kid":"p256"`,
	`{"alg":"ES256","kid":"p256",}`, `{'alg':'ES256'}`, `{"alg":"ES256","kid":"p256","x":01}`, `{"alg":"ES256","kid":"p256","x":NaN}`,
	"{\"alg\":\"ES256\",\"kid\":\"p256\",\"x\":\"\xff\"}", "{\"alg\":\"ES256\",\"kid\":\"p256\",\"\xff\":1,\"\xfe\":1}", "\ufeff{\"alg\":\"ES256\",\"kid\":\"p256\"}",
	`{"alg":"ES256","kid":"p256","x":"\ud800"}`, `{"alg":"ES256","kid":"p256\u0000"}`, `{"alg":"ES\u0032\u0035\u0036","kid":"p\u0032\u0035\u0036"}`,
	`{"alg":"ES256","kid":"p256","x":[[[[[[[[{"a":[]}]]]]]]]]}`, `{"alg":"ES256","kid":"p256","x":1e400}`, `{"alg":"ES256","kid":"p256","":1}`,
	`{"alg":"ES256","kid":"` + strings.Repeat("k", 300) + `"}`, `{"alg":"ES256","kid":"p256",` + members(70) + `}`,
}

// members returns the text of n members of an object.
func members(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"m%d":%d`, i, i))
	}
	return strings.Join(all, ",")
}
