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

// Multi returns the closed set of the issuers whose tokens a service accepts, each under the
// iss of its tokens. The map is copied. Nil sources are left out.
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

// Source returns the source of the issuer with the given iss. Otherwise the error is
// [ErrIssuer]; an unknown iss never causes a fetch.
func (m *Issuers) Source(iss string) (KeySource, error) {
	if src, ok := m.sources[iss]; ok {
		return src, nil
	}
	return nil, fmt.Errorf("jwks: %w: %q", ErrIssuer, cut(iss))
}

// VerifySignature verifies a signed JWT with the keys of the issuer that it names, and
// returns its payload; see [Source.VerifySignature]. The iss in the payload can then be
// trusted. A token that names its issuer twice, in upper or lower case, is rejected. Further
// errors are [ErrIssuer], and [ErrToken] if there is no iss.
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

// issuerOf returns the iss of claims. There must be exactly one, and no other member that
// differs only in case: encoding/json uses the last of them, other parsers the first or the
// exact one, which would allow one issuer of the set to sign in the name of another.
func issuerOf(claims []byte) (iss string, err error) {
	if claims = bytes.TrimSpace(claims); !json.Valid(claims) || !utf8.Valid(claims) || claims[0] != '{' {
		return "", malformed("claims are not a JSON object")
	}

	// Compare names without regard to case, to notice members that other parsers might use.
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

// Failover returns a source that asks secondary when primary does not know the key, does not
// allow it for the algorithm, or is unavailable. If neither returns the key, the error wraps
// both errors; the key is known not to exist only if the error is not [ErrUnavailable].
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
