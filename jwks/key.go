package jwks

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// A Key is a public key of a [Set] with its parameters (RFC 7517, section 4). It is
// immutable and shared by all callers: change neither its fields nor the values that they
// point to.
//
// A key can be used with the algorithms that its type and curve allow, or with only one of
// them if its Algorithm says so. A key that is not for verifying signatures cannot be used
// with any: one with a Use other than "sig", with Ops without "verify", or with an Algorithm
// for encryption. Such keys are common in key sets, so they are in [Set.All], but
// [Set.Lookup] does not return them.
//
// Certificates (x5c, x5u, x5t) are not read. Keys are trusted because of the connection over
// which they were received.
type Key struct {
	ID        string           // kid; "" if there is none
	Type      string           // kty: "RSA", "EC", "OKP", or one of WithKeyParser
	Algorithm string           // alg, such as "RS256"; "" if there is none
	Use       string           // use: "sig", or "enc", which is for encryption; "" if there is none
	Ops       []string         // key_ops, such as "verify"; nil if there are none
	Public    crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey, or the result of a key parser

	algs    algorithms // the built-in algorithms that it can verify
	own     string     // the algorithm of a Public of a type that is not built in
	settled bool       // whether algs and own have been set from the document
	next    *Key       // the next one in the set with the same ID
}

// A set of the algorithms that are built in.
type algorithms uint32

const (
	rs256 algorithms = 1 << iota
	rs384
	rs512
	ps256
	ps384
	ps512
	es256
	es384
	es512
	edDSA
	ed25519Only // "Ed25519", the name of RFC 9864 for EdDSA with that curve

	allAlgorithms = 1<<iota - 1

	ofRSA     = rs256 | rs384 | rs512 | ps256 | ps384 | ps512
	ofEd25519 = edDSA | ed25519Only
)

// algorithmBit returns the bit of a built-in algorithm, and 0 for any other name. Names are
// case-sensitive (RFC 7515, section 4.1.1).
func algorithmBit(alg string) algorithms {
	switch alg {
	case "RS256":
		return rs256
	case "RS384":
		return rs384
	case "RS512":
		return rs512
	case "PS256":
		return ps256
	case "PS384":
		return ps384
	case "PS512":
		return ps512
	case "ES256":
		return es256
	case "ES384":
		return es384
	case "ES512":
		return es512
	case "EdDSA":
		return edDSA
	case "Ed25519":
		return ed25519Only
	}
	return 0
}

// fits reports whether k may verify signatures of alg, whose algorithmBit is bit.
func (k *Key) fits(alg string, bit algorithms) bool {
	return k.algs&bit != 0 || k.own != "" && k.own == alg
}

// fitsAny reports whether there is an algorithm that k fits.
func (k *Key) fitsAny() bool { return k.algs != 0 || k.own != "" }

// allowed returns the algorithms that k can verify. For a key from another implementation
// of [KeySource], these are all algorithms of its type.
func (k *Key) allowed() (algorithms, error) {
	if k.settled {
		return k.algs, nil
	}
	return examine(k.Public)
}

// restrict sets the algorithms of k: those of the possible ones that its parameters allow.
// None are possible if Public is not of a built-in type.
func (k *Key) restrict(possible algorithms) error {
	k.settled = true
	if !k.verifies() || isEncryption(k.Algorithm) {
		return nil
	}
	if possible == 0 {
		return k.restrictOwn()
	}
	if k.Algorithm == "" {
		k.algs = possible
		return nil
	}
	k.algs = algorithmBit(k.Algorithm) & possible
	if k.algs == 0 {
		return fmt.Errorf("alg %q does not fit this type of key", cut(k.Algorithm))
	}
	if k.algs&ofEd25519 != 0 {
		k.algs = ofEd25519 // two names of one algorithm (RFC 9864, section 2.2)
	}
	return nil
}

func (k *Key) verifies() bool {
	return (k.Use == "" || k.Use == "sig") && (k.Ops == nil || slices.Contains(k.Ops, "verify"))
}

// restrictOwn sets the algorithm of a key of a type that is not built in. It may be EdDSA,
// which has more than one curve.
func (k *Key) restrictOwn() error {
	switch {
	case k.Algorithm == "":
		return errors.New("the key parser does not say which algorithm the key is for")
	case isSymmetric(k.Algorithm), algorithmBit(k.Algorithm)&^edDSA != 0:
		return fmt.Errorf("alg %q does not fit a key of type %T", cut(k.Algorithm), k.Public)
	}
	k.own = k.Algorithm
	return nil
}

func isEncryption(alg string) bool {
	return alg == "RSA1_5" || strings.HasPrefix(alg, "RSA-OAEP") || strings.HasPrefix(alg, "ECDH-ES")
}

// isSymmetric reports whether alg is symmetric. That includes "none", which anyone can use.
func isSymmetric(alg string) bool {
	return strings.EqualFold(alg, "none") || len(alg) >= 2 && strings.EqualFold(alg[:2], "HS")
}

// examine checks a public key that was made elsewhere and returns its algorithms. It checks
// the key like one that was parsed here, because verifying with a malformed key can panic.
func examine(public crypto.PublicKey) (algorithms, error) {
	switch public := public.(type) {
	case nil:
		return 0, errors.New("no public key")
	case *rsa.PublicKey:
		return ofRSA, checkRSA(public)
	case *ecdsa.PublicKey:
		return examineEC(public)
	case ed25519.PublicKey:
		if len(public) != ed25519.PublicKeySize {
			return 0, errEd25519Size
		}
		return ofEd25519, nil
	case []byte, string:
		return 0, errSymmetric // libraries would use it as an HMAC secret
	case interface{ Public() crypto.PublicKey }:
		return 0, errors.New("the key is a private key")
	}
	return 0, nil
}

var (
	errSymmetric   = errors.New("symmetric keys are not accepted")
	errEd25519Size = fmt.Errorf("the length of an Ed25519 key is not %d bytes", ed25519.PublicKeySize)
	errRSAModulus  = errors.New("RSA modulus is missing or even")
)

const (
	minRSABits = 2048 // RFC 7518, section 3.3
	maxRSABits = 8192 // the time to verify grows with the square of the length
)

func checkRSA(public *rsa.PublicKey) error {
	if public == nil || public.N == nil || public.N.Sign() <= 0 || public.N.Bit(0) == 0 {
		return errRSAModulus
	}
	if bits := public.N.BitLen(); bits < minRSABits || bits > maxRSABits {
		return fmt.Errorf("RSA key of %d bits: want %d to %d", bits, minRSABits, maxRSABits)
	}
	if e := public.E; e < 3 || e%2 == 0 || e > 1<<31-1 {
		return errRSAExponent
	}
	return nil
}

var errRSAExponent = errors.New("RSA exponent is not an odd number from 3 to 2^31-1")

func examineEC(public *ecdsa.PublicKey) (algorithms, error) {
	if public == nil || public.Curve == nil {
		return 0, errors.New("the key has no curve")
	}
	algs := ofCurve(public.Curve)
	if algs == 0 {
		return 0, nil // such as secp256k1
	}
	if public.X == nil || public.Y == nil { // ECDH panics
		return 0, errors.New("the key has no point")
	}
	if _, err := public.ECDH(); err != nil { // not on the curve
		return 0, fmt.Errorf("point of the key: %w", err)
	}
	return algs, nil
}

// ofCurve returns 0 for a curve that is not built in.
func ofCurve(curve elliptic.Curve) algorithms {
	switch curve {
	case elliptic.P256():
		return es256
	case elliptic.P384():
		return es384
	case elliptic.P521():
		return es512
	}
	return 0
}

func (m *members) rsa() (crypto.PublicKey, algorithms, error) {
	var buf [maxRSABits/8 + 8]byte // with room for some leading zeros
	n, err := decode("n", m.n, buf[:])
	if err != nil {
		return nil, 0, err
	}
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(n)}
	e, err := decode("e", m.e, buf[:])
	if err != nil {
		return nil, 0, err
	}
	if e = trimZeros(e); len(e) > 4 {
		return nil, 0, errRSAExponent
	}
	var exponent uint32
	for _, b := range e {
		exponent = exponent<<8 | uint32(b)
	}
	if exponent > 1<<31-1 { // does not fit an int on every platform
		return nil, 0, errRSAExponent
	}
	public.E = int(exponent)
	return public, ofRSA, checkRSA(public)
}

func (m *members) ec() (crypto.PublicKey, algorithms, error) {
	crv, err := text("crv", m.crv)
	if err != nil {
		return nil, 0, err
	}
	var curve elliptic.Curve
	switch crv {
	case "":
		return nil, 0, errors.New("crv is missing")
	case "P-256":
		curve = elliptic.P256()
	case "P-384":
		curve = elliptic.P384()
	case "P-521":
		curve = elliptic.P521()
	default:
		return nil, 0, unsupportedError{"crv", crv}
	}
	var buf [1 + 2*66]byte
	size := fieldSize(curve)
	point := buf[:1+2*size]
	point[0] = 4 // uncompressed
	if err := coordinate("x", m.x, point[1:1+size]); err != nil {
		return nil, 0, err
	}
	if err := coordinate("y", m.y, point[1+size:]); err != nil {
		return nil, 0, err
	}
	public, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil { // not on the curve
		return nil, 0, fmt.Errorf("point of %s: %w", crv, err)
	}
	return public, ofCurve(curve), nil
}

// fieldSize is the length of a coordinate, and of each half of a signature, in bytes.
func fieldSize(curve elliptic.Curve) int { return (curve.Params().BitSize + 7) / 8 }

// coordinate decodes value and pads it to the length of field. RFC 7518, section 6.2.1.2,
// requires the full length, and go-jose and WebCrypto insist on it, but issuers on the JVM
// have dropped a leading zero (Keycloak, one key in 128) or added one. The meaning is
// unambiguous and the point is checked, so rejecting the key would only cause an outage.
func coordinate(name string, value, field []byte) error {
	var buf [66 + 8]byte
	b, err := decode(name, value, buf[:])
	if err != nil {
		return err
	}
	if b = trimZeros(b); len(b) > len(field) {
		return fmt.Errorf("%s is longer than the curve allows", name)
	}
	copy(field[len(field)-len(b):], b)
	return nil
}

func (m *members) okp() (crypto.PublicKey, algorithms, error) {
	crv, err := text("crv", m.crv)
	if err != nil {
		return nil, 0, err
	}
	switch crv {
	case "":
		return nil, 0, errors.New("crv is missing")
	case "Ed25519":
	default:
		return nil, 0, unsupportedError{"crv", crv}
	}
	public := make(ed25519.PublicKey, ed25519.PublicKeySize+8)
	x, err := decode("x", m.x, public)
	if err != nil {
		return nil, 0, err
	}
	if len(x) != ed25519.PublicKeySize {
		return nil, 0, errEd25519Size
	}
	return ed25519.PublicKey(x), ofEd25519, nil
}

func trimZeros(b []byte) []byte { return bytes.TrimLeft(b, "\x00") }

// decode decodes the base64url in a JSON string into buf. Its errors do not quote it.
func decode(name string, value, buf []byte) ([]byte, error) {
	if value == nil {
		return nil, fmt.Errorf("%s is missing", name)
	}
	if value[0] != '"' {
		return nil, fmt.Errorf("%s is not a string", name)
	}
	digits, err := unquote(value)
	if err != nil {
		return nil, err
	}
	digits = bytes.TrimRight(digits, "=") // some issuers add padding
	if base64.RawURLEncoding.DecodedLen(len(digits)) > len(buf) {
		return nil, fmt.Errorf("%s is too long", name)
	}
	n, err := base64.RawURLEncoding.Decode(buf, digits)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if n == 0 {
		return nil, fmt.Errorf("%s is empty", name)
	}
	return buf[:n], nil
}
