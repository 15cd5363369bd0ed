package jwks

import (
	"fmt"
	"strings"
	"testing"
)

// benchSet returns a document with n keys, of three types in turn.
func benchSet(b *testing.B, n int) []byte {
	b.Helper()
	keys := make([]Key, n)
	for i := range keys {
		owner := []string{"RSA", "P-256", "Ed25519"}[i%3]
		keys[i] = *settled(b, owner, []string{"RS256", "ES256", "EdDSA"}[i%3])
		keys[i].Type = []string{"RSA", "EC", "OKP"}[i%3]
		keys[i].ID, keys[i].Use = fmt.Sprintf("key-%d", i), "sig"
	}
	return marshalSet(b, newSet(keys, nil))
}

func BenchmarkParse(b *testing.B) {
	for _, n := range []int{3, 12, 99} {
		data := benchSet(b, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if set, err := Parse(data); err != nil || set.Len() != n {
					b.Fatal(set, err)
				}
			}
		})
	}
}

// The time of a look-up does not depend on the size of the set, and is near that of a map.
func BenchmarkFind(b *testing.B) {
	for _, n := range []int{3, 12, 99, 1000} {
		set, err := Parse(benchSet(b, n))
		if err != nil {
			b.Fatal(err)
		}
		kid := strings.Clone(set.keys[n-1].ID)
		alg := strings.Clone(set.keys[n-1].Algorithm)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if set.find(kid, alg) == nil {
					b.Fatal("not found")
				}
			}
		})
		b.Run(fmt.Sprint(n, "/map"), func(b *testing.B) {
			for b.Loop() {
				if set.byID[kid] == nil {
					b.Fatal("not found")
				}
			}
		})
	}
}

// A whole verification: the token is parsed, its key found, its payload returned.
func BenchmarkVerify(b *testing.B) {
	set, err := Parse(benchSet(b, 12))
	if err != nil {
		b.Fatal(err)
	}
	for i, alg := range []string{"RS256", "ES256", "EdDSA"} {
		input := signingInput(fmt.Sprintf(`{"alg":%q,"kid":"key-%d"}`, alg, i), `{"iss":"https://issuer.example","sub":"`+strings.Repeat("x", 200)+`"}`)
		signedToken := input + "." + encoded(signed(b, alg, input))
		b.Run(alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				j, err := parseJWS(signedToken)
				if err != nil {
					b.Fatal(err)
				}
				if err := j.verify(set.find(j.kid, j.alg)); err != nil {
					b.Fatal(err)
				}
				if _, err := j.payload(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
