package jwks

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"unicode/utf8"
)

// Multi returns the closed set of the issuers whose tokens a service takes, each under the
// iss of its tokens. The map is copied. Issuers that are nil are left out.
func Multi(sources map[string]KeySource) *Issuers {
	known := maps.Clone(sources)
	maps.DeleteFunc(known, func(_ string, src KeySource) bool {
		s, ok := src.(*Source)
		return src == nil || ok && s == nil
	})
	return &Issuers{known}
}

// Issuers is a closed set of issuers. Get one from [Multi]. It is immutable and safe for
// concurrent use.
type Issuers struct{ sources map[string]KeySource }

// Source returns the source of an issuer, named by the iss of a token. The error is
// [ErrIssuer]; nothing is ever fetched because a token names it.
func (m *Issuers) Source(iss string) (KeySource, error) {
	if src, ok := m.sources[iss]; ok {
		return src, nil
	}
	return nil, fmt.Errorf("jwks: %w: %q", ErrIssuer, cut(iss))
}

// VerifySignature verifies a signed JWT with the keys of the issuer that it names, and
// returns its payload; see [Source.VerifySignature]. The iss in the payload is then true.
// A token that names its issuer twice, in whatever case, is refused. Errors are also
// [ErrIssuer], and [ErrToken] if there is no iss.
func (m *Issuers) VerifySignature(ctx context.Context, token string) (payload []byte, err error) {
	j, err := parseJWS(token)
	if err != nil {
		return nil, err
	}
	claims, err := j.payload()
	if err != nil {
		return nil, err
	}
	iss, err := issuerOf(claims)
	if err != nil {
		return nil, err
	}
	src, err := m.Source(iss)
	if err != nil {
		return nil, err
	}
	return verifyWith(ctx, src, j)
}

// issuerOf returns the iss of claims. There must be one and no other that a reader might
// take for it: encoding/json takes the last of those that differ in case, others the first
// or the exact one, and an issuer of the set could sign for another one by that.
func issuerOf(claims []byte) (iss string, err error) {
	if claims = bytes.TrimSpace(claims); !json.Valid(claims) || !utf8.Valid(claims) || claims[0] != '{' {
		return "", malformed("claims are not a JSON object")
	}
	found := false
	err = eachMember(claims, func(name, value []byte) (err error) {
		switch {
		case !bytes.EqualFold(name, []byte("iss")):
			return nil
		case found || string(name) != "iss":
			return errors.New("more than one issuer")
		}
		found = true
		iss, err = text("iss", value)
		return err
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("jwks: %w: %w", ErrToken, err)
	case iss == "":
		return "", malformed("no issuer")
	}
	return iss, nil
}

// Failover returns a source that asks secondary when primary has no answer: when it does not
// know the key, does not allow it for the algorithm, or cannot tell. If neither has the key, the error wraps both; then the key
// is unknown only if it is not [ErrUnavailable].
func Failover(primary, secondary KeySource) KeySource { return failover{primary, secondary} }

type failover struct{ primary, secondary KeySource }

// Key implements [KeySource].
func (f failover) Key(ctx context.Context, kid, alg string) (crypto.PublicKey, error) {
	key, err := f.primary.Key(ctx, kid, alg)
	if err == nil {
		return key, nil
	}
	key, second := f.secondary.Key(ctx, kid, alg)
	if second != nil {
		return nil, errors.Join(err, second)
	}
	return key, nil
}
