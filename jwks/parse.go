package jwks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// A ParseOption changes how [Parse] or a [Source] parses key sets.
type ParseOption interface {
	Option
	parse(p *parser)
}

// WithKeyParser parses keys with the given kty with parse: types that are not built in, such
// as "AKP", or other curves of "EC" and "OKP". The latter are passed to parse first, and
// parsed as usual if its error is [errors.ErrUnsupported]. A second parser for the same kty
// replaces the first. A Source calls parse concurrently.
//
// parse receives a copy of the JSON object of one key, which may include private members. Of
// the Key that it returns, only Public and Algorithm are used; ID, Type, Use and Ops always
// come from the document, and so does Algorithm if parse leaves it empty. Algorithm is the
// name for which the key can be looked up, such as "ES256K". If Public is an *rsa.PublicKey,
// an *ecdsa.PublicKey on a NIST curve or an ed25519.PublicKey, it is checked like a built-in
// one, Algorithm may stay empty, and VerifySignature can use the key.
//
// If parse returns an error or panics, only that key is left out; the text of the error may
// appear in logs. Symmetric keys cannot be accepted: kty "oct", an empty kty and a nil parse
// are [ErrOption].
func WithKeyParser(kty string, parse func(json.RawMessage) (Key, error)) ParseOption {
	return keyParser{kty, parse}
}

type keyParser struct {
	kty  string
	read func(json.RawMessage) (Key, error)
}

func (o keyParser) apply(c *config) error {
	c.parsers = append(c.parsers, o)
	return o.check()
}

func (o keyParser) parse(p *parser) {
	if p.custom == nil {
		p.custom = make(map[string]keyParser)
	}
	p.custom[o.kty] = o
	p.err = errors.Join(p.err, o.check())
}

func (o keyParser) check() error {
	switch {
	case o.kty == "", o.read == nil:
		return fmt.Errorf("jwks: %w: WithKeyParser without a kty or without a parser", ErrOption)
	case strings.EqualFold(o.kty, "oct"):
		return fmt.Errorf("jwks: %w: WithKeyParser: %w", ErrOption, errSymmetric)
	}
	return nil
}

// call parses raw into k.
func (o keyParser) call(raw []byte, k *Key) (algs algorithms, err error) {
	defer func() {
		if r := recover(); r != nil { // the panic's text might contain the key
			err = fmt.Errorf("panic in the parser of kty %q: value of type %T", cut(o.kty), r)
		}
	}()
	got, err := o.read(bytes.Clone(raw))
	if err != nil {
		return 0, err
	}
	k.Public = got.Public
	if got.Algorithm != "" {
		k.Algorithm = got.Algorithm
	}
	return examine(got.Public)
}

type parser struct {
	custom map[string]keyParser // by kty
	err    error                // of the options
}

// key parses one key. With an error, the key has its ID and type if they could be read.
func (p *parser) key(raw []byte) (Key, error) {
	var k Key
	if raw[0] != '{' {
		return k, errors.New("not a JSON object")
	}

	// Collect the members first: their order is arbitrary.
	var m members
	if err := eachMember(raw, m.set); err != nil {
		return k, err
	}
	if err := k.describe(&m); err != nil {
		return k, err
	}

	// Then parse the public key, and keep those of its algorithms that the document allows.
	algs, err := p.public(raw, &k, &m)
	if err != nil {
		return k, err
	}
	return k, k.restrict(algs)
}

// public sets the public key of k and returns its possible algorithms.
func (p *parser) public(raw []byte, k *Key, m *members) (algorithms, error) {
	if strings.EqualFold(k.Type, "oct") {
		return 0, errSymmetric
	}
	// A parser of the caller goes first, and may leave the key to the built-in ones.
	if custom, ok := p.custom[k.Type]; ok {
		algs, err := custom.call(raw, k)
		if !errors.Is(err, errors.ErrUnsupported) {
			return algs, err
		}
	}

	// The built-in types.
	var (
		algs algorithms
		err  error
	)
	switch k.Type {
	case "":
		return 0, errors.New("kty is missing")
	case "RSA":
		k.Public, algs, err = m.rsa()
	case "EC":
		k.Public, algs, err = m.ec()
	case "OKP":
		k.Public, algs, err = m.okp()
	default:
		return 0, unsupportedError{"kty", k.Type}
	}
	return algs, err
}

// An unsupportedError is about a key that may be valid but is not supported.
type unsupportedError struct{ member, value string }

func (e unsupportedError) Error() string {
	return fmt.Sprintf("%s %q is not supported", e.member, cut(e.value))
}

// Is reports whether target is errors.ErrUnsupported.
func (e unsupportedError) Is(target error) bool { return target == errors.ErrUnsupported }

// members are the raw values of a key's members; nil if absent.
type members struct{ kty, kid, use, alg, ops, crv, n, e, x, y []byte }

func (m *members) set(name, value []byte) error {
	if string(value) == "null" {
		value = nil
	}
	switch string(name) {
	case "kty":
		m.kty = value
	case "kid":
		m.kid = value
	case "use":
		m.use = value
	case "alg":
		m.alg = value
	case "key_ops":
		m.ops = value
	case "crv":
		m.crv = value
	case "n":
		m.n = value
	case "e":
		m.e = value
	case "x":
		m.x = value
	case "y":
		m.y = value
	}
	return nil
}

// describe sets all fields of k except the key itself.
func (k *Key) describe(m *members) (err error) {
	if k.Type, err = text("kty", m.kty); err != nil {
		return err
	}
	if k.ID, err = text("kid", m.kid); err != nil {
		return err
	}
	if len(k.ID) > maxKeyID {
		return fmt.Errorf("kid is longer than %d bytes", maxKeyID)
	}
	if k.Use, err = text("use", m.use); err != nil {
		return err
	}
	if k.Algorithm, err = text("alg", m.alg); err != nil {
		return err
	}
	if m.ops == nil {
		return nil
	}
	if m.ops[0] != '[' {
		return errors.New("key_ops is not an array")
	}
	k.Ops = []string{}
	eachElement(m.ops, func(raw []byte) {
		op, bad := text("key_ops", raw)
		if k.Ops = append(k.Ops, op); err == nil {
			err = bad // the first is enough; there may be very many
		}
	})
	return err
}

// text returns the value of a JSON string, or "" if value is nil.
func text(name string, value []byte) (string, error) {
	if value == nil {
		return "", nil
	}
	if value[0] != '"' {
		return "", fmt.Errorf("%s is not a string", name)
	}
	b, err := unquote(value)
	if err != nil {
		return "", err
	}
	return intern(b), nil
}

// intern is string(b) without an allocation for common values.
func intern(b []byte) string {
	switch string(b) {
	case "RSA":
		return "RSA"
	case "EC":
		return "EC"
	case "OKP":
		return "OKP"
	case "sig":
		return "sig"
	case "P-256":
		return "P-256"
	case "Ed25519":
		return "Ed25519"
	case "RS256":
		return "RS256"
	case "ES256":
		return "ES256"
	case "EdDSA":
		return "EdDSA"
	case "PS256":
		return "PS256"
	}
	return string(b)
}

// The functions below walk JSON that json.Valid accepts. Unlike encoding/json they are
// case-sensitive, show duplicates, and do not allocate.

// eachMember calls visit with the members of an object until it returns an error. Values
// include their quotes or brackets; names do not.
func eachMember(object []byte, visit func(name, value []byte) error) error {
	rest := skipSpace(object[1:])
	for rest[0] != '}' {
		n := valueLen(rest)
		name, err := unquote(rest[:n])
		if err != nil {
			return err
		}
		rest = skipSpace(skipSpace(rest[n:])[1:]) // the colon
		n = valueLen(rest)
		if err := visit(name, rest[:n]); err != nil {
			return err
		}
		rest = skipComma(rest[n:])
	}
	return nil
}

// eachElement calls visit with the elements of an array.
func eachElement(array []byte, visit func(value []byte)) {
	rest := skipSpace(array[1:])
	for rest[0] != ']' {
		n := valueLen(rest)
		visit(rest[:n])
		rest = skipComma(rest[n:])
	}
}

func skipComma(b []byte) []byte {
	if b = skipSpace(b); b[0] == ',' {
		b = skipSpace(b[1:])
	}
	return b
}

func skipSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\n' || b[0] == '\t' || b[0] == '\r') {
		b = b[1:]
	}
	return b
}

// valueLen returns the length of the value at the start of b.
func valueLen(b []byte) int {
	switch b[0] {
	case '"':
		return stringLen(b)
	case '{', '[':
		return nestedLen(b)
	}
	if i := bytes.IndexAny(b, ",]} \n\t\r"); i >= 0 {
		return i
	}
	return len(b)
}

func stringLen(b []byte) int {
	for i := 1; ; i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

func nestedLen(b []byte) int {
	for i, depth := 0, 0; ; i++ {
		switch b[i] {
		case '"':
			i += stringLen(b[i:]) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
}

// unquote returns the value of a JSON string. The result aliases quoted if possible.
func unquote(quoted []byte) ([]byte, error) {
	inner := quoted[1 : len(quoted)-1]
	for _, c := range inner {
		if c == '\\' || c >= 0x80 { // an escape, or UTF-8, which might be malformed
			var s string
			err := json.Unmarshal(quoted, &s)
			return []byte(s), err
		}
	}
	return inner, nil
}
