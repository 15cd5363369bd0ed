package jwks

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
)

func FuzzParse(f *testing.F) {
	data, err := os.ReadFile("testdata/rfc7517.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	for _, seed := range []string{
		`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a"}]}`,
		`{"keys":[{"kty":"AKP"},{"kty":"oct","k":"AA"},{"kty":"RSA","n":"AQAB","e":"AQAB"},5,null,[],"",{"kid":1}]}`,
		` {"a":[{"b":"]}\\\""}],"keys":[{"kty":"OKP","kty":"EC","\u006bid":"\ud800\u00e4","key_ops":["verify",null]}] , "keys":[] }`,
		`{"keys":[{"kty":"EC","crv":"P-256","use":null,"x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4=","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := Parse(data)
		list, ok := listOf(data)
		if ok != (err == nil) || err != nil && !errors.Is(err, ErrInvalidSet) {
			t.Fatalf("%v, but encoding/json says %t", err, ok)
		}
		if err != nil {
			return
		}
		checkAgainst(t, set, list)
		for k := range set.All() {
			checkKey(t, set, k)
		}
		again, err := Parse(marshalSet(t, set))
		if err != nil || again.Len() != set.Len() || len(again.skipped) != 0 {
			t.Fatalf("parsed again: %v, %v", again, err)
		}
		for i := range set.keys {
			if !sameKey(&set.keys[i], &again.keys[i]) {
				t.Errorf("key %d: %+v, then %+v", i, set.keys[i], again.keys[i])
			}
		}
	})
}

// listOf reads the keys of a document by means of encoding/json, with names by case.
func listOf(data []byte) ([]json.RawMessage, bool) {
	var document map[string]json.RawMessage
	if json.Unmarshal(data, &document) != nil || document == nil {
		return nil, false
	}
	var list []json.RawMessage
	if json.Unmarshal(document["keys"], &list) != nil || list == nil {
		return nil, false
	}
	return list, len(list) <= maxKeys
}

// checkAgainst checks that every key is either in the set or skipped, under its own name.
func checkAgainst(t *testing.T, set *Set, list []json.RawMessage) {
	t.Helper()
	if set.Len()+len(set.skipped) != len(list) {
		t.Fatalf("%d keys and %d skipped, of %d", set.Len(), len(set.skipped), len(list))
	}
	keys, skipped := set.keys, set.skipped
	for i, raw := range list {
		if len(skipped) > 0 && skipped[0].Index == i {
			if skipped[0].Err == nil || len(skipped[0].Error()) > 2000 {
				t.Errorf("key %d: %v", i, skipped[0])
			}
			skipped = skipped[1:]
			continue
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(raw, &members); err != nil {
			t.Fatal(err)
		}
		for name, got := range map[string]string{"kty": keys[0].Type, "kid": keys[0].ID, "alg": keys[0].Algorithm, "use": keys[0].Use} {
			var want string
			if members[name] != nil && json.Unmarshal(members[name], &want) != nil || got != want {
				t.Errorf("key %d: %s is %q, want %s", i, name, got, members[name])
			}
		}
		keys = keys[1:]
	}
}

// checkKey checks what must be true of all keys in a set.
func checkKey(t *testing.T, set *Set, k *Key) {
	t.Helper()
	possible, err := examine(k.Public)
	if err != nil || k.algs&^possible != 0 || k.own != "" || !k.settled || len(k.ID) > maxKeyID {
		t.Errorf("%+v: %v", k, err)
	}
	if k.algs != 0 && (k.Use != "" && k.Use != "sig" || k.Ops != nil && !slices.Contains(k.Ops, "verify")) {
		t.Errorf("%+v is for no signatures", k)
	}
	if k.ID != "" && !set.has(k.ID) {
		t.Errorf("%+v is not found", k)
	}
	for alg := range signerOf {
		found := set.find(k.ID, alg)
		if k.ID != "" && k.fits(alg, algorithmBit(alg)) && (found == nil || found.ID != k.ID || !found.fits(alg, algorithmBit(alg))) {
			t.Errorf("for %q and %s there is %+v", k.ID, alg, found)
		}
	}
}

// marshalSet writes the keys as the RFCs want them.
func marshalSet(t testing.TB, set *Set) []byte {
	t.Helper()
	list := []map[string]any{}
	for k := range set.All() {
		m := map[string]any{"kty": k.Type, "kid": k.ID, "alg": k.Algorithm, "use": k.Use}
		if k.Ops != nil {
			m["key_ops"] = k.Ops
		}
		switch public := k.Public.(type) {
		case *rsa.PublicKey:
			m["n"], m["e"] = encoded(public.N.Bytes()), encoded(big.NewInt(int64(public.E)).Bytes())
		case *ecdsa.PublicKey:
			point, err := public.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			m["crv"], m["x"], m["y"] = public.Params().Name, encoded(point[1:1+len(point)/2]), encoded(point[1+len(point)/2:])
		case ed25519.PublicKey:
			m["crv"], m["x"] = "Ed25519", encoded(public)
		default:
			t.Fatalf("key is a %T", public)
		}
		list = append(list, m)
	}
	data, err := json.Marshal(map[string]any{"keys": list})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func sameKey(a, b *Key) bool {
	same := false
	switch public := a.Public.(type) {
	case *rsa.PublicKey:
		same = public.Equal(b.Public)
	case *ecdsa.PublicKey:
		same = public.Equal(b.Public)
	case ed25519.PublicKey:
		same = public.Equal(b.Public)
	}
	return same && a.ID == b.ID && a.Type == b.Type && a.Algorithm == b.Algorithm && a.Use == b.Use &&
		slices.Equal(a.Ops, b.Ops) && a.algs == b.algs
}

// headerNames returns the names of an object in order, by means of encoding/json.
func headerNames(header []byte) (names []string, err error) {
	d := json.NewDecoder(strings.NewReader(string(header)))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("not an object")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		names = append(names, name.(string))
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func FuzzParseJWS(f *testing.F) {
	for _, header := range []string{
		`{"alg":"ES256"}`, `{"alg":"RS256","kid":"a"}`, ` {"alg" : "none","\u006bid":"\u00e4"}`, `{"alg":"a","alg":"b"}`,
		`{"alg":"a","x":[{"y":"}"}],"z":1e5}`, `{"alg":"a","crit":["b64"],"b64":false}`, `{"alg":"a"} `, `[]`,
	} {
		f.Add(signingInput(header, `{"iss":"x"}`) + "." + encoded([]byte("signature")))
	}
	f.Add("..")
	f.Add("eyJhbGciOiJhIn0.YWF.")
	f.Add("eyJhbGciOiJhIn0.\nYWE.")
	f.Add("eyJhbGciOiJhIn0.YWE=.YWE")
	f.Fuzz(func(t *testing.T, token string) {
		j, err := parseJWS(token)
		if err != nil {
			if !errors.Is(err, ErrToken) || j != nil {
				t.Fatalf("%v, %v", j, err)
			}
			return
		}
		parts := strings.Split(token, ".")
		header, err := base64.RawURLEncoding.DecodeString(parts[0])
		if err != nil {
			t.Fatal(err)
		}
		payload, err := j.payload()
		if err != nil {
			t.Fatal(err)
		}
		signature, err := base64.RawURLEncoding.DecodeString(parts[2])
		if err != nil {
			t.Fatal(err)
		}
		if again := signingInput(string(header), string(payload)); again != j.signed || again+"."+encoded(signature) != token {
			t.Errorf("%q has another spelling: %q", token, again)
		}
		checkHeader(t, j, header)
	})
}

// checkHeader checks the header that was accepted against encoding/json.
func checkHeader(t *testing.T, j *jws, header []byte) {
	t.Helper()
	names, err := headerNames(header)
	if err != nil {
		t.Fatalf("%s: %v", header, err)
	}
	slices.Sort(names)
	if len(slices.Compact(slices.Clone(names))) != len(names) || slices.Contains(names, "crit") || slices.Contains(names, "b64") {
		t.Errorf("members %q", names)
	}
	var members map[string]any
	if err := json.Unmarshal(header, &members); err != nil {
		t.Fatal(err)
	}
	kid, named := members["kid"].(string)
	if members["alg"] != j.alg || j.alg == "" || kid != j.kid || slices.Contains(names, "kid") != named {
		t.Errorf("%q, %q of %s", j.alg, j.kid, header)
	}
}

// Whatever verifies is what was signed: the tokens of the RFCs. Only an ECDSA signature has
// another valid form, of the same text.
func FuzzVerify(f *testing.F) {
	known := make(map[string]bool)
	var keys []*Key
	for _, v := range vectors(f) {
		known[v.Token[:strings.LastIndexByte(v.Token, '.')]] = true
		f.Add(v.Token)
		f.Add(strings.Replace(v.Token, ".", ".AAAA", 1))
		keys = append(keys, v.key)
	}
	f.Fuzz(func(t *testing.T, token string) {
		for _, k := range keys {
			_, err := verifyToken(token, k)
			switch {
			case err == nil && !known[token[:strings.LastIndexByte(token, '.')]]:
				t.Errorf("%q was never signed", token)
			case err != nil && !errors.Is(err, ErrToken) && !errors.Is(err, ErrAlgorithm) && !errors.Is(err, ErrSignature):
				t.Errorf("%v", err)
			}
		}
	})
}
