package jwks

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxToken         = 1 << 20
	maxHeaderMembers = 64 // so that checking for duplicates stays cheap
	// maxSignature is the length in base64url of the longest signature, RSA's.
	maxSignature = (maxRSABits/8*8 + 5) / 6
)

// A jws is a well-formed compact JWS (RFC 7515, section 7.1). Nothing in it can be trusted
// before verify has succeeded.
type jws struct {
	kid, alg        string
	bit             algorithms // of alg
	signed          string     // header and payload as they were signed
	body, signature string     // in base64url, decoded when needed
	sum             []byte     // the hash of signed; nil until it is needed
}

// parseJWS parses a token. Only one encoding of a token is accepted: base64url without
// padding, line breaks or non-zero trailing bits. Its errors wrap ErrToken and do not quote
// the token.
func parseJWS(token string) (*jws, error) {
	if len(token) > maxToken {
		return nil, malformed("too long")
	}
	header, rest, _ := strings.Cut(token, ".")
	body, signature, ok := strings.Cut(rest, ".")
	if !ok || strings.Contains(signature, ".") {
		return nil, malformed("not three parts")
	}
	if !isBase64(header) || !isBase64(body) || !isBase64(signature) {
		return nil, malformed("not base64url without padding")
	}
	j := &jws{signed: token[:len(header)+1+len(body)], body: body, signature: signature}
	decoded, err := decodePart(header)
	if err != nil {
		return nil, err
	}
	if err := j.readHeader(decoded); err != nil {
		return nil, err
	}
	return j, nil
}

func malformed(reason string) error { return fmt.Errorf("jwks: %w: %s", ErrToken, reason) }

var strictBase64 = base64.RawURLEncoding.Strict()

// isBase64 reports whether part is valid for strictBase64 and has no line breaks, which
// package base64 ignores.
func isBase64(part string) bool {
	for _, c := range []byte(part) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	var buf [3]byte // only the end can still be wrong
	_, err := strictBase64.Decode(buf[:], []byte(part[len(part)/4*4:]))
	return err == nil
}

func decodePart(part string) ([]byte, error) {
	decoded, err := strictBase64.DecodeString(part)
	if err != nil {
		return nil, fmt.Errorf("jwks: %w: %w", ErrToken, err)
	}
	return decoded, nil
}

// payload returns a new copy of the payload.
func (j *jws) payload() ([]byte, error) { return decodePart(j.body) }

// readHeader parses the protected header, which must be a JSON object without duplicate
// names: other parsers might use the other value (RFC 7515, sections 4 and 10.12).
func (j *jws) readHeader(header []byte) error {
	if !json.Valid(header) || !utf8.Valid(header) {
		return malformed("header is not JSON")
	}
	if header = skipSpace(header); header[0] != '{' {
		return malformed("header is not a JSON object")
	}

	// Store the members and reject duplicates.
	var names [maxHeaderMembers][]byte
	n := 0
	err := eachMember(header, func(name, value []byte) error {
		if n == maxHeaderMembers {
			return errors.New("header has too many members")
		}
		if slices.ContainsFunc(names[:n], func(seen []byte) bool { return bytes.Equal(seen, name) }) {
			return errors.New("header has a member twice")
		}
		names[n] = name
		n++
		return j.set(name, value)
	})
	if err != nil {
		return fmt.Errorf("jwks: %w: %w", ErrToken, err)
	}
	if j.alg == "" {
		return malformed("header has no alg")
	}
	j.bit = algorithmBit(j.alg)
	return nil
}

// set stores a member of the header.
func (j *jws) set(name, value []byte) (err error) {
	switch string(name) {
	case "alg":
		j.alg, err = text("alg", value)
	case "kid":
		j.kid, err = text("kid", value)
		if len(j.kid) > maxKeyID {
			return fmt.Errorf("kid is longer than %d bytes", maxKeyID)
		}
	case "crit", "b64": // no extensions are supported (RFC 7515, section 4.1.11; RFC 7797)
		return fmt.Errorf("header has %s", name)
	}
	return err
}

// verify checks the signature with k. The error is ErrAlgorithm if k is not for the token's
// algorithm, and otherwise ErrSignature.
func (j *jws) verify(k *Key) error {
	algs, err := k.allowed()
	if err != nil {
		return fmt.Errorf("jwks: %w: %w", ErrAlgorithm, err)
	}
	if algs&j.bit == 0 {
		return fmt.Errorf("jwks: %w: %q with this key", ErrAlgorithm, cut(j.alg))
	}
	if len(j.signature) > maxSignature {
		return fmt.Errorf("jwks: %w: %w", ErrSignature, errLength)
	}
	signature, err := decodePart(j.signature)
	if err != nil {
		return err
	}
	if err := j.check(k.Public, signature); err != nil {
		return fmt.Errorf("jwks: %w: %w", ErrSignature, err)
	}
	return nil
}

var (
	errLength   = errors.New("wrong length")
	errMismatch = errors.New("verification failed")
)

// check checks the signature with a key that is for the token's algorithm.
func (j *jws) check(public crypto.PublicKey, signature []byte) error {
	switch public := public.(type) {
	case *rsa.PublicKey:
		hash, digest := j.digest()
		if j.bit&(ps256|ps384|ps512) == 0 {
			return rsa.VerifyPKCS1v15(public, hash, digest, signature)
		}
		// The salt is as long as the hash, not of any length (RFC 7518, section 3.5).
		return rsa.VerifyPSS(public, hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	case *ecdsa.PublicKey:
		_, digest := j.digest()
		return verifyECDSA(public, digest, signature)
	case ed25519.PublicKey:
		if !ed25519.Verify(public, []byte(j.signed), signature) {
			return errMismatch
		}
		return nil
	}
	return fmt.Errorf("key is a %T", public) // a type without built-in algorithms
}

// verifyECDSA checks a signature of two numbers of fixed length (RFC 7518, section 3.4).
func verifyECDSA(public *ecdsa.PublicKey, digest, signature []byte) error {
	size := fieldSize(public.Curve)
	if len(signature) != 2*size {
		return errLength
	}
	r := new(big.Int).SetBytes(signature[:size])
	s := new(big.Int).SetBytes(signature[size:])
	if !ecdsa.Verify(public, digest, r, s) {
		return errMismatch
	}
	return nil
}

// digest returns the hash function of the token's algorithm and the hash of the signed text.
// A token without a key ID is checked with several keys, but hashed only once.
func (j *jws) digest() (crypto.Hash, []byte) {
	hash := crypto.SHA512
	switch {
	case j.bit&(rs256|ps256|es256) != 0:
		hash = crypto.SHA256
	case j.bit&(rs384|ps384|es384) != 0:
		hash = crypto.SHA384
	}
	if j.sum != nil {
		return hash, j.sum
	}
	switch hash {
	case crypto.SHA256:
		sum := sha256.Sum256([]byte(j.signed))
		j.sum = sum[:]
	case crypto.SHA384:
		sum := sha512.Sum384([]byte(j.signed))
		j.sum = sum[:]
	default:
		sum := sha512.Sum512([]byte(j.signed))
		j.sum = sum[:]
	}
	return hash, j.sum
}
