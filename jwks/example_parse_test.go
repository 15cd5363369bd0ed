package jwks_test

import (
	"encoding/json"
	"fmt"

	"github.com/everfresh-go/everfresh/jwks"
)

// A set is used although one of its keys is of a kind that is not known.
func ExampleParse() {
	set, err := jwks.Parse([]byte(`{"keys":[
		{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
		{"kty":"AKP","alg":"ML-DSA-44","kid":"b","pub":"unH59k4RuutY-pxvu24U5h8YZD2rSVtHU5qRZsoBmBMcRPgmu9VuNOVdteXi1zNIXjnqJg_GAAxepLqA00Vc"}
	]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range set.Skipped() {
		fmt.Println(s)
	}
	key, ok := set.Lookup("a", "EdDSA")
	fmt.Printf("%T %t\n", key.Public, ok)
	_, ok = set.Lookup("a", "RS256") // whatever a token says
	fmt.Println(ok)
	// Output:
	// key 1 (kid "b", kty "AKP") is left out: kty "AKP" is not supported
	// ed25519.PublicKey true
	// false
}

// Keys of another kind are found like those that are built in, for the library that knows
// how to verify with them.
func ExampleWithKeyParser() {
	type mlDSA struct{ pub string }
	set, err := jwks.Parse([]byte(`{"keys":[{"kty":"AKP","alg":"ML-DSA-44","kid":"b","pub":"unH59k4R"}]}`),
		jwks.WithKeyParser("AKP", func(raw json.RawMessage) (jwks.Key, error) {
			var k struct{ Alg, Pub string }
			if err := json.Unmarshal(raw, &k); err != nil {
				return jwks.Key{}, err
			}
			return jwks.Key{Algorithm: k.Alg, Public: mlDSA{k.Pub}}, nil
		}))
	if err != nil {
		fmt.Println(err)
		return
	}
	key, ok := set.Lookup("b", "ML-DSA-44")
	fmt.Println(ok, key.Public)
	// Output: true {unH59k4R}
}
