package jwkstest_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/everfresh-go/everfresh/jwks/jwkstest"
)

// The set has the published keys in their order, and the newest of them signs.
func TestRotationAndWithdrawal(t *testing.T) {
	everywhere(t, func(t *testing.T, iss *jwkstest.Issuer) {
		first := iss.Key()
		check := func(want, signer string) {
			t.Helper()
			if got := names(t, iss); got != want {
				t.Errorf("the set is %q, want %q", got, want)
			}
			if header, _, _, _ := split(t, iss.Sign(nil)); header["kid"] != signer {
				t.Errorf("%v signs, want %s", header["kid"], signer)
			}
		}
		check("key-1", "key-1")
		if k := iss.Rotate("EdDSA"); k.ID != "key-2" || iss.Key().ID != "key-2" {
			t.Errorf("the new key is %s, %s signs", k.ID, iss.Key().ID)
		}
		check("key-1 key-2", "key-2")
		next := iss.NewKey("ES256")
		check("key-1 key-2", "key-2")
		iss.Publish(next)
		check("key-1 key-2 key-3", "key-3")
		iss.Withdraw("key-3")
		check("key-1 key-2", "key-2")
		iss.Publish(jwkstest.Key{ID: "key-1", Algorithm: next.Algorithm, Private: next.Private})
		check("key-1 key-2 key-1", "key-1")
		if iss.Key().Public() == first.Public() {
			t.Error("the older of two keys with one name signs")
		}
		iss.Withdraw("key-1")
		check("key-2", "key-2")
	})
}

// Odd keys are served as they are and never sign, and an empty set is not null.
func TestOddKeys(t *testing.T) {
	iss := jwkstest.New()
	iss.PublishJWK(`{"kty":"AKP","alg":"ML-DSA-44","kid":"pq","pub":"AA"}`)
	iss.PublishJWK(`{"kty":"oct","k":"c2VjcmV0"}`)
	iss.PublishJWK(`{"kty":"EC","kid":5}`)
	iss.PublishJWK(`null`)
	if iss.Key().ID != "key-1" {
		t.Errorf("%s signs", iss.Key().ID)
	}
	keys := set(t, iss)
	if len(keys) != 5 || keys[4] != nil {
		t.Fatalf("the set is %v", keys)
	}
	if pq := keys[1].(map[string]any); pq["kty"] != "AKP" || pq["pub"] != "AA" {
		t.Errorf("the odd key is %v", pq)
	}
	iss.Withdraw("pq")
	iss.Withdraw("") // those without a name
	iss.Withdraw("key-1")
	if _, body := fetch(t, iss, iss.KeySet().URL()); body != `{"keys":[]}` {
		t.Errorf("the empty set is %s", body)
	}
}

// The two addresses of the metadata follow OpenID Connect Discovery, section 4, and
// RFC 8414, section 3.1.
func TestAddresses(t *testing.T) {
	tests := map[string]struct{ issuer, keys, discovery, metadata string }{
		"root": {
			"https://a.test", "https://a.test/jwks.json",
			"https://a.test/.well-known/openid-configuration",
			"https://a.test/.well-known/oauth-authorization-server",
		},
		"slash": {
			"https://a.test/", "https://a.test/jwks.json",
			"https://a.test/.well-known/openid-configuration",
			"https://a.test/.well-known/oauth-authorization-server",
		},
		"path and port": {
			"http://a.test:8080/t/1", "http://a.test:8080/t/1/jwks.json",
			"http://a.test:8080/t/1/.well-known/openid-configuration",
			"http://a.test:8080/.well-known/oauth-authorization-server/t/1",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			iss := jwkstest.New(jwkstest.WithURL(test.issuer))
			got := []string{iss.URL(), iss.KeySet().URL(), iss.Discovery().URL(), iss.Metadata().URL()}
			if want := []string{test.issuer, test.keys, test.discovery, test.metadata}; !slices.Equal(got, want) {
				t.Errorf("the URLs are %q, want %q", got, want)
			}
			for _, url := range []string{test.discovery, test.metadata} {
				doc := object(t, iss, url)
				if doc["issuer"] != test.issuer || doc["jwks_uri"] != test.keys {
					t.Errorf("the metadata is %v", doc)
				}
			}
			if got := names(t, iss); got != "key-1" {
				t.Errorf("the set is %q", got)
			}
		})
	}
}

// Metadata tells of keys that rotate and move, and of what it is told to.
func TestMetadata(t *testing.T) {
	everywhere(t, func(t *testing.T, iss *jwkstest.Issuer) {
		iss.Rotate("EdDSA")
		iss.Rotate("ES256")
		iss.SetMetadata("issuer", "https://other.test")
		iss.SetMetadata("token_endpoint", nil)
		iss.SetMetadata("claims_supported", []string{"sub"})
		old := iss.KeySet().URL()
		iss.KeySet().Move("/moved")

		doc := object(t, iss, iss.Discovery().URL())
		algs := doc["id_token_signing_alg_values_supported"].([]any)
		if !slices.Equal(algs, []any{"ES256", "EdDSA"}) {
			t.Errorf("the algorithms are %v", algs)
		}
		if _, ok := doc["token_endpoint"]; ok || doc["issuer"] != "https://other.test" || doc["claims_supported"] == nil {
			t.Errorf("the metadata is %v", doc)
		}
		if doc["jwks_uri"] != iss.KeySet().URL() || iss.KeySet().URL() == old {
			t.Errorf("jwks_uri is %v", doc["jwks_uri"])
		}
		if resp, _ := fetch(t, iss, old); resp.StatusCode != http.StatusNotFound {
			t.Errorf("the old address answers %d", resp.StatusCode)
		}
		if got := names(t, iss); got != "key-1 key-2 key-3" {
			t.Errorf("the moved set is %q", got)
		}
	})
}

// A mistake in a test stops it.
func TestMistakesPanic(t *testing.T) {
	iss := jwkstest.New()
	started := jwkstest.New()
	started.Start(t)
	empty := jwkstest.New()
	k := empty.Key()
	empty.Withdraw("key-1")
	mistakes := map[string]func(){
		"unknown algorithm":      func() { iss.NewKey("HS256") },
		"unknown type of key":    func() { iss.Publish(jwkstest.Key{Private: oddSigner{k.Private}}) },
		"relative issuer":        func() { jwkstest.New(jwkstest.WithURL("issuer.test")) },
		"a key that is not JSON": func() { iss.PublishJWK("{") },
		"claims not JSON":        func() { iss.Sign(func() {}) },
		"no key to return":       func() { empty.Key() },
		"no key to sign":         func() { empty.Sign(nil) },
		"started twice":          func() { started.Start(t) },
	}
	for name, mistake := range mistakes {
		t.Run(name, func(t *testing.T) { panics(t, mistake) })
	}
	// An issuer without keys still signs with one that it is given.
	if header, _, _, _ := split(t, empty.Sign(nil, jwkstest.SignedBy(k))); header["kid"] != "key-1" {
		t.Errorf("the header is %v", header)
	}
}
