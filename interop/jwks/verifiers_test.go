package jwks_test

import (
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/everfresh-go/everfresh/jwks"
	"github.com/go-jose/go-jose/v4"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/stretchr/testify/require"
)

// verifiers are three readers of one key set: ours, and two to compare with.
type verifiers struct {
	set  *jwks.Set
	src  *jwks.Source
	jose jose.JSONWebKeySet
	jwx  jwk.Set
}

func newVerifiers(t testing.TB, document []byte) *verifiers {
	t.Helper()
	set, err := jwks.Parse(document)
	require.NoError(t, err)
	v := &verifiers{set: set, src: jwks.Static(set)}
	require.NoError(t, json.Unmarshal(document, &v.jose))
	v.jwx, err = jwk.Parse(document)
	require.NoError(t, err)
	return v
}

// joseAlgorithms are those of go-jose that are ours, too.
var joseAlgorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// goJose verifies as go-oidc's RemoteKeySet does: with every key of the token's ID, or
// with all keys if it has none.
func (v *verifiers) goJose(token string) ([]byte, error) {
	parsed, err := jose.ParseSignedCompact(token, joseAlgorithms)
	if err != nil {
		return nil, err
	}
	kid := parsed.Signatures[0].Header.KeyID
	err = errors.New("no key")
	for _, key := range v.jose.Keys {
		if kid != "" && kid != key.KeyID {
			continue
		}
		payload, failed := parsed.Verify(&key)
		if failed == nil {
			return payload, nil
		}
		err = failed
	}
	return nil, err
}

// jwxVerify verifies with jwx as strictly as it can: as the key set says, and with crit.
// It also returns the algorithm that the key names, if it does.
func (v *verifiers) jwxVerify(token string) (payload []byte, alg string, err error) {
	parsed, err := jws.ParseString(token, jws.WithCompact())
	if err != nil {
		return nil, "", err
	}
	kid, _ := parsed.Signatures()[0].ProtectedHeaders().KeyID()
	var used jwk.Key
	payload, err = jws.Verify([]byte(token), jws.WithCompact(), jws.WithCritValidation(true), jws.WithKeyUsed(&used), jws.WithKeySet(v.jwx,
		jws.WithRequireKid(kid != ""), jws.WithInferAlgorithmFromKey(true), jws.WithMultipleKeysPerKeyID(true)))
	if err != nil {
		return nil, "", err
	}
	if named, ok := used.Algorithm(); ok {
		alg = named.String()
	}
	return payload, alg, nil
}

// readFile returns a file of testdata, or of another directory.
func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	return data
}
