package jwks_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/everfresh-go/everfresh/jwks"
	"github.com/stretchr/testify/require"
)

// A vector is a token of an RFC with the key that verifies it.
type vector struct {
	Name, Token string
	Key         json.RawMessage
}

func vectors(t testing.TB) []vector {
	t.Helper()
	var all []vector
	for _, name := range []string{"testdata/rfc7515.json", "../../jwks/testdata/signatures.json"} {
		var some []vector
		require.NoError(t, json.Unmarshal(readFile(t, name), &some))
		all = append(all, some...)
	}
	return all
}

// The tokens of RFC 7515 (A.2 to A.4), RFC 7520 (4.1 to 4.3) and RFC 8037 (A.4) verify
// here and elsewhere, with the same payload; with another payload nowhere.
func TestVectorsOfTheRFCs(t *testing.T) {
	t.Parallel()
	all := vectors(t)
	require.Len(t, all, 7)
	for _, vec := range all {
		v := newVerifiers(t, []byte(`{"keys":[`+string(vec.Key)+`]}`))
		ours, err := v.src.VerifySignature(t.Context(), vec.Token)
		require.NoError(t, err, vec.Name)
		theirs, err := v.goJose(vec.Token)
		require.NoError(t, err, vec.Name)
		require.Equal(t, theirs, ours, vec.Name)
		theirs, _, err = v.jwxVerify(vec.Token)
		require.NoError(t, err, vec.Name)
		require.Equal(t, theirs, ours, vec.Name)

		part := strings.Split(vec.Token, ".")
		forged := part[0] + ".e30." + part[2]
		_, err = v.src.VerifySignature(t.Context(), forged)
		require.ErrorIs(t, err, jwks.ErrSignature, vec.Name)
		_, err = v.goJose(forged)
		require.Error(t, err, vec.Name)
		_, _, err = v.jwxVerify(forged)
		require.Error(t, err, vec.Name)
	}
}

// The key set of RFC 7517, A.1, holds the same two keys for all.
func TestKeySetOfTheRFC(t *testing.T) {
	t.Parallel()
	document := readFile(t, "../../jwks/testdata/rfc7517.json")
	want := []string{"1", "2011-04-29"}
	require.Equal(t, want, usableHere(t, document))
	for name, theirs := range usableElsewhere {
		require.Equal(t, want, theirs(document), name)
	}
	set, err := jwks.Parse(document)
	require.NoError(t, err)
	require.Len(t, slices.Collect(set.All()), 2)
	_, ok := set.Lookup("1", "ES256")
	require.False(t, ok, "its use is enc")
	_, ok = set.Lookup("2011-04-29", "RS256")
	require.True(t, ok)
}
