package jwks_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/everfresh-go/everfresh/jwks"
)

func TestLookupAsksForTypeAndUse(t *testing.T) {
	verify, encrypt := []string{"verify", "sign"}, []string{"encrypt", "wrapKey"}
	for name, tc := range map[string]struct {
		key  jwk
		algs string
	}{
		"RSA":                 {rsaKey.with("alg", nil), "RS256 RS384 RS512 PS256 PS384 PS512"},
		"RSA for one":         {rsaKey.with("alg", "PS384"), "PS384"},
		"RSA for signing":     {rsaKey.with("use", "sig").with("key_ops", verify), "RS256"},
		"RSA for encryption":  {rsaKey.with("use", "enc"), ""},
		"RSA with odd use":    {rsaKey.with("use", "SIG"), ""},
		"RSA, other ops":      {rsaKey.with("key_ops", encrypt), ""},
		"RSA, no ops":         {rsaKey.with("key_ops", []string{}), ""},
		"RSA-OAEP":            {rsaKey.with("alg", "RSA-OAEP"), ""},
		"RSA-OAEP-256":        {rsaKey.with("alg", "RSA-OAEP-256"), ""},
		"RSA1_5":              {rsaKey.with("alg", "RSA1_5"), ""},
		"P-256":               {p256, "ES256"},
		"P-256 with its alg":  {p256.with("alg", "ES256"), "ES256"},
		"P-256 for agreement": {p256.with("alg", "ECDH-ES+A128KW"), ""},
		"P-521":               {p521, "ES512"},
		"Ed25519":             {ed, "EdDSA Ed25519"},
		"Ed25519 by old name": {ed.with("alg", "EdDSA"), "EdDSA Ed25519"},
		"Ed25519 by new name": {ed.with("alg", "Ed25519"), "EdDSA Ed25519"},
	} {
		set := parse(t, document(tc.key.with("kid", "k")))
		if set.Len() != 1 || len(set.Skipped()) != 0 {
			t.Errorf("%s: skipped: %v", name, set.Skipped())
			continue
		}
		fits := strings.Fields(tc.algs)
		for _, alg := range []string{
			"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
			"HS256", "HS384", "HS512", "none", "", "ES256K", "RSA-OAEP", "RSA-OAEP-256", "RSA1_5", "ECDH-ES+A128KW", "rs256",
		} {
			k, ok := set.Lookup("k", alg)
			if want := slices.Contains(fits, alg); ok != want || (k != nil) != want {
				t.Errorf("%s: Lookup for %q: %t", name, alg, ok)
			}
		}
		if _, ok := set.Lookup("K", "RS256"); ok {
			t.Errorf("%s: found by another ID", name)
		}
	}
}

// Keys with the same ID are told apart by the algorithm, and then the first one counts.
func TestKeysWithTheSameID(t *testing.T) {
	enc := rsaKey.with("use", "enc")
	ps := rsaKey.with("alg", "PS256")
	set := parse(t, document(enc.with("kid", "k"), p256.with("kid", "k"), ps.with("kid", "k"), ed.with("kid", "k"),
		rsaKey.with("alg", nil).with("kid", "k"), p256.with("kid", "k").with("use", "sig")))
	if set.Len() != 6 {
		t.Fatalf("%d keys, skipped: %v", set.Len(), set.Skipped())
	}
	keys := slices.Collect(set.All())
	for alg, want := range map[string]int{"ES256": 1, "PS256": 2, "EdDSA": 3, "RS256": 4, "PS512": 4} {
		if got, _ := set.Lookup("k", alg); got != keys[want] {
			t.Errorf("%s: key %d, want %d", alg, slices.Index(keys, got), want)
		}
	}
}

// A token without a key ID has a key only if there is no choice.
func TestLookupWithoutID(t *testing.T) {
	set := parse(t, document(rsaKey, p256.with("kid", nil), p256.with("kid", ""), ed.with("kid", "c"), rsaKey.with("use", "enc")))
	for alg, want := range map[string]bool{"RS256": true, "PS256": false, "ES256": false, "EdDSA": true, "ES512": false, "": false} {
		if _, ok := set.Lookup("", alg); ok != want {
			t.Errorf("%q: %t, want %t", alg, ok, want)
		}
	}
	if _, ok := new(jwks.Set).Lookup("", "RS256"); ok {
		t.Error("an empty set has a key")
	}
}

func TestSetIsImmutable(t *testing.T) {
	set := parse(t, document(jwk{"kty": "AKP"}, rsaKey, p256, ed))
	set.Skipped()[0].ID = "changed"
	if got := set.Skipped()[0].ID; got != "" {
		t.Errorf("the skipped key is now %q", got)
	}
	for range set.All() {
		break // ends the loop, not the test
	}
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 100 {
				if _, ok := set.Lookup("2011-04-29", "RS256"); !ok || len(slices.Collect(set.All())) != set.Len() {
					t.Error("a key is missing")
				}
			}
		})
	}
	readers.Wait()
}

func TestLookupAllocatesNothing(t *testing.T) {
	set := parse(t, manyKeys(99))
	for _, kid := range []string{"key-0", "key-98", "unknown"} {
		if n := testing.AllocsPerRun(100, func() { set.Lookup(kid, "EdDSA") }); n != 0 {
			t.Errorf("%s: %v allocations", kid, n)
		}
	}
}

// manyKeys returns a set with n keys, of three types in turn.
func manyKeys(n int) []byte {
	kinds, keys := []jwk{rsaKey, p256, ed}, make([]any, n)
	for i := range keys {
		keys[i] = kinds[i%len(kinds)].with("kid", fmt.Sprintf("key-%d", i)).with("use", "sig")
	}
	return document(keys...)
}
