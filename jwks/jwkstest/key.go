package jwkstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"math/big"

	_ "crypto/sha256" // for crypto.Hash.New
	_ "crypto/sha512"
)

// A Key signs tokens. Issuers make keys, see [Issuer.NewKey]; a literal with all
// three fields can be used as well.
type Key struct {
	ID        string        // kid
	Algorithm string        // alg, of RFC 7518 or RFC 8037
	Private   crypto.Signer // *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey, or one that only signs
}

// Public returns the key that verifies.
func (k Key) Public() crypto.PublicKey { return k.Private.Public() }

// JWK returns the public key as JSON, with kid, alg and use, as in the key set
// (RFC 7517, section 4).
func (k Key) JWK() json.RawMessage {
	jwk := map[string]string{"kid": k.ID, "alg": k.Algorithm, "use": "sig"}
	switch pub := k.Public().(type) {
	case *rsa.PublicKey:
		jwk["kty"], jwk["n"] = "RSA", encode(pub.N.Bytes())
		jwk["e"] = encode(big.NewInt(int64(pub.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := pub.Bytes() // 4, x, y
		if err != nil {
			panic("jwkstest: " + err.Error())
		}
		half := len(point) / 2
		jwk["kty"], jwk["crv"] = "EC", pub.Curve.Params().Name
		jwk["x"], jwk["y"] = encode(point[1:1+half]), encode(point[1+half:])
	case ed25519.PublicKey:
		jwk["kty"], jwk["crv"], jwk["x"] = "OKP", "Ed25519", encode(pub)
	default:
		panic("jwkstest: unsupported type of key: use PublishJWK")
	}
	return marshal(jwk)
}

// signature returns the signature of a JWS (RFC 7518, section 3; RFC 8037).
func (k Key) signature(input []byte) []byte {
	hash, opts := hashOf(k.Algorithm)
	if hash != 0 {
		h := hash.New()
		h.Write(input) // never fails
		input = h.Sum(nil)
	}
	sig, err := k.Private.Sign(rand.Reader, input, opts)
	if err != nil {
		panic("jwkstest: " + err.Error())
	}
	pub, ok := k.Public().(*ecdsa.PublicKey)
	if !ok {
		return sig
	}
	var der struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(sig, &der); err != nil {
		panic("jwkstest: " + err.Error())
	}
	size := (pub.Curve.Params().BitSize + 7) / 8
	fixed := make([]byte, 2*size)
	der.R.FillBytes(fixed[:size])
	der.S.FillBytes(fixed[size:])
	return fixed
}

// hashOf returns the hash of an algorithm, or 0 for algorithms with a built-in hash.
func hashOf(alg string) (crypto.Hash, crypto.SignerOpts) {
	hashes := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}
	if len(alg) != len("RS256") || hashes[alg[2:]] == 0 {
		return 0, crypto.Hash(0)
	}
	hash := hashes[alg[2:]]
	if alg[:2] == "PS" {
		return hash, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	return hash, hash
}

func generate(alg string) crypto.Signer {
	var key crypto.Signer
	var err error
	switch alg {
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA", "Ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		panic("jwkstest: unknown algorithm " + alg)
	}
	if err != nil {
		panic("jwkstest: " + err.Error())
	}
	return key
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
