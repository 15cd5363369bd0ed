package jwks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/jwks"
	"github.com/everfresh-go/everfresh/jwks/jwkstest"
	"github.com/everfresh-go/everfresh/store"
)

// A service that takes tokens of several issuers names them all. What a token says
// chooses among these, and reaches no one else.
func ExampleMulti() {
	ctx := context.Background()
	one := jwkstest.New(jwkstest.WithURL("https://one.example")) // stand for yours
	two := jwkstest.New(jwkstest.WithURL("https://two.example"))
	cache := everfresh.NewCache(ctx, everfresh.WithHTTPClient(jwkstest.NewClient(one, two)))
	defer cache.Close()

	sources := make(map[string]jwks.KeySource)
	for _, issuer := range []string{"https://one.example", "https://two.example"} {
		src, err := jwks.FromIssuer(cache, issuer)
		if err != nil {
			fmt.Println(err)
			return
		}
		sources[issuer] = src
	}
	issuers := jwks.Multi(sources)

	payload, err := issuers.VerifySignature(ctx, two.Sign(map[string]any{"iss": "https://two.example"}))
	fmt.Printf("%s %v\n", payload, err)

	_, err = issuers.VerifySignature(ctx, two.Sign(map[string]any{"iss": "https://one.example"}))
	fmt.Println(errors.Is(err, jwks.ErrSignature)) // both have a key-1

	_, err = issuers.VerifySignature(ctx, two.Sign(map[string]any{"iss": "https://evil.example"}))
	fmt.Println(err)
	// Output:
	// {"iss":"https://two.example"} <nil>
	// true
	// jwks: unknown issuer: "https://evil.example"
}

// While an issuer moves to another one, tokens of both are good.
func ExampleFailover() {
	ctx := context.Background()
	old, next := jwkstest.New(jwkstest.WithURL("https://old.example")), jwkstest.New(jwkstest.WithURL("https://next.example"))
	newest := next.Rotate("EdDSA")
	cache := everfresh.NewCache(ctx, everfresh.WithHTTPClient(jwkstest.NewClient(old, next)))
	defer cache.Close()

	first, err := jwks.New(cache, "https://next.example/jwks.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	second, err := jwks.New(cache, "https://old.example/jwks.json")
	if err != nil {
		fmt.Println(err)
		return
	}
	src := jwks.Failover(first, second)

	retired := old.Rotate("ES384")
	retired.ID = "retired"
	old.Publish(retired)
	for _, key := range []jwkstest.Key{newest, retired} {
		public, err := src.Key(ctx, key.ID, key.Algorithm)
		fmt.Printf("%T %v\n", public, err)
	}
	_, err = src.Key(ctx, "invented", "ES256")
	fmt.Println(errors.Is(err, jwks.ErrKeyNotFound), errors.Is(err, jwks.ErrUnavailable))
	// Output:
	// ed25519.PublicKey <nil>
	// *ecdsa.PublicKey <nil>
	// true false
}

// Keys that come with the program, in a test or where there is no network.
func ExampleStatic() {
	set, err := jwks.Parse([]byte(`{"keys":[
		{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
	]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	src := jwks.Static(set)

	// RFC 8037, appendix A.4
	payload, err := src.VerifySignature(context.Background(), "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."+
		"hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
	fmt.Printf("%s, %v\n", payload, err)
	// Output: Example of Ed25519 signing, <nil>
}

// With a storage a process starts with the keys of its last run, also while the issuer is
// down. A Memory ends with the process; a store on disk does not.
func ExampleNew_storage() {
	ctx := context.Background()
	iss := jwkstest.New(jwkstest.WithURL("https://issuer.example")) // stands for yours
	records := new(store.Memory)
	defer records.Close()

	for run := range 2 {
		cache := everfresh.NewCache(ctx, everfresh.WithHTTPClient(iss.Client()), everfresh.WithStorage(records))
		src, err := jwks.New(cache, "https://issuer.example/jwks.json")
		if err != nil {
			fmt.Println(err)
			return
		}
		payload, err := src.VerifySignature(ctx, iss.Sign([]byte("hello")))
		fmt.Printf("run %d: %s %v\n", run+1, payload, err)

		_ = cache.Close()                 // stores what was not stored yet
		iss.KeySet().Break(jwkstest.Drop) // down before the second run
	}
	// Output:
	// run 1: hello <nil>
	// run 2: hello <nil>
}

// Readiness: the first key set is waited for, and what there is is told.
func ExampleSource_Ready() {
	ctx := context.Background()
	iss := jwkstest.New(jwkstest.WithURL("https://issuer.example")) // stands for yours
	iss.KeySet().SetHeader("Cache-Control", "max-age=3600")
	cache := everfresh.NewCache(ctx, everfresh.WithHTTPClient(iss.Client()))
	defer cache.Close()
	src, err := jwks.New(cache, "https://issuer.example/jwks.json")
	if err != nil {
		fmt.Println(err)
		return
	}

	fmt.Println(src.Ready(ctx))
	st := src.Status()
	fmt.Println(st.Ready, st.Freshness, st.Lifetime)
	set, err := src.Set(ctx)
	fmt.Println(set.Len(), len(set.Skipped()), err)
	// Output:
	// <nil>
	// true max-age 1h0m0s
	// 1 0 <nil>
}

// A source uses an algorithm that is not built in when both its keys and its name are
// let in. Verifying is then a matter of who asked for the key.
func ExampleWithAlgorithms() {
	type mlDSA struct{ pub string }
	ctx := context.Background()
	iss := jwkstest.New(jwkstest.WithURL("https://issuer.example")) // stands for yours
	iss.PublishJWK(`{"kty":"AKP","alg":"ML-DSA-44","kid":"b","pub":"unH59k4R"}`)
	cache := everfresh.NewCache(ctx, everfresh.WithHTTPClient(iss.Client()))
	defer cache.Close()

	src, err := jwks.New(cache, "https://issuer.example/jwks.json",
		jwks.WithAlgorithms("ES256", "ML-DSA-44"),
		jwks.WithKeyParser("AKP", func(raw json.RawMessage) (jwks.Key, error) {
			var k struct{ Pub string }
			err := json.Unmarshal(raw, &k)
			return jwks.Key{Public: mlDSA{k.Pub}}, err // its alg is that of the document
		}))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(src.Key(ctx, "b", "ML-DSA-44"))
	_, err = src.Key(ctx, "key-1", "ES384") // not on the list
	fmt.Println(err)
	// Output:
	// {unH59k4R} <nil>
	// jwks: algorithm is not allowed: "ES384"
}
