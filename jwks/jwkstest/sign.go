package jwkstest

import (
	"crypto/hmac"
	"crypto/sha256"
)

// A SignOption changes one token: its key, its header, or what is wrong with it.
type SignOption func(*token)

type token struct {
	header    map[string]any
	signature func(input []byte) []byte
}

// Sign returns a token in compact serialization (RFC 7515, section 3.1). Its
// header has alg, kid and typ JWT. The payload is the JSON of claims, or claims
// itself if it is a []byte; nothing is added. The key is [Issuer.Key]. Sign panics if there
// is no key and no option that signs.
func (i *Issuer) Sign(claims any, opts ...SignOption) string {
	t := token{header: make(map[string]any)}
	if k, ok := i.signer(); ok {
		SignedBy(k)(&t)
	}
	for _, o := range opts {
		o(&t)
	}
	if t.signature == nil {
		panic("jwkstest: no published key can sign")
	}
	payload, ok := claims.([]byte)
	if !ok {
		payload = marshal(claims)
	}
	input := encode(marshal(t.header)) + "." + encode(payload)
	return input + "." + encode(t.signature([]byte(input)))
}

// SignedBy signs with this key, which need not be published. It sets alg and kid, so options
// that change them must come after it.
func SignedBy(k Key) SignOption {
	return func(t *token) {
		t.header = map[string]any{"alg": k.Algorithm, "kid": k.ID, "typ": "JWT"}
		t.signature = k.signature
	}
}

// WithHeader sets a field of the header; nil removes it. The key signs with its own
// algorithm, whatever the header says.
func WithHeader(field string, value any) SignOption {
	return func(t *token) {
		t.header[field] = value
		if value == nil {
			delete(t.header, field)
		}
	}
}

// Unsigned is the attack with the algorithm none and an empty signature.
func Unsigned() SignOption {
	return func(t *token) {
		t.header["alg"] = "none"
		t.signature = func([]byte) []byte { return nil }
	}
}

// Tampered makes the signature wrong without changing its length.
func Tampered() SignOption {
	return func(t *token) {
		signature := t.signature
		t.signature = func(input []byte) []byte {
			sig := signature(input)
			sig[len(sig)-1] ^= 1
			return sig
		}
	}
}

// HMAC signs with HS256 and a secret. With the public key as the secret, in any encoding,
// it is the attack on verifiers that let the token choose the algorithm.
func HMAC(secret []byte) SignOption {
	return func(t *token) {
		t.header["alg"] = "HS256"
		t.signature = func(input []byte) []byte {
			h := hmac.New(sha256.New, secret)
			h.Write(input) // never fails
			return h.Sum(nil)
		}
	}
}
