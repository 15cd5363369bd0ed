package sealed_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/sealed"
)

func TestParseKey(t *testing.T) {
	digits := strings.Repeat("0f", 32)
	for text, id := range map[string]string{
		"2026-11:" + digits:                     "2026-11",
		" a:b:" + strings.ToUpper(digits):       "a:b",
		"k:" + digits + "\r\n":                  "k",
		strings.Repeat("x", 255) + ":" + digits: strings.Repeat("x", 255),
	} {
		k, err := sealed.ParseKey(text)
		if err != nil || k.ID != id || hex.EncodeToString(k.Secret[:]) != digits {
			t.Errorf("ParseKey(%.20q) has id %.20q, error %v", text, k.ID, err)
		}
	}
	for _, text := range []string{
		"", ":", digits, ":" + digits, "k:", "k:" + digits[1:], "k:" + digits + "0f", "k:" + digits[1:] + "g",
		"k:" + strings.Repeat("00", 32), strings.Repeat("x", 256) + ":" + digits,
	} {
		_, err := sealed.ParseKey(text)
		if !errors.Is(err, sealed.ErrInvalidKey) {
			t.Errorf("ParseKey(%.20q) = %v, want ErrInvalidKey", text, err)
		} else if len(text) > 10 && strings.Contains(err.Error(), digits[:10]) {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}

func TestInvalidRings(t *testing.T) {
	good := newKey("k")
	for what, keys := range map[string][]sealed.Key{
		"no secret":   {{ID: "k"}},
		"no id":       {{Secret: good.Secret}},
		"long id":     {{ID: strings.Repeat("x", 256), Secret: good.Secret}},
		"equal ids":   {good, newKey("k")},
		"a bad other": {good, {ID: "k2"}},
	} {
		if _, err := sealed.NewKeyRing(keys[0], keys[1:]...); !errors.Is(err, sealed.ErrInvalidKey) {
			t.Errorf("%s: %v, want ErrInvalidKey", what, err)
		}
		ring := ringOf(t, good)
		sealedText, _ := ring.Encrypt([]byte("x"), nil)
		if err := ring.Set(keys[0], keys[1:]...); !errors.Is(err, sealed.ErrInvalidKey) {
			t.Errorf("%s: Set: %v, want ErrInvalidKey", what, err)
		}
		if _, err := ring.Decrypt(sealedText, nil); err != nil {
			t.Errorf("%s: a Set that failed changed the ring: %v", what, err)
		}
	}
}

func TestKeyRing(t *testing.T) {
	a, b := newKey("a"), newKey("b")
	ring := ringOf(t, a)
	plaintext, ad := []byte("plaintext"), []byte("additional")
	first, err := ring.Encrypt(plaintext, ad)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := ring.Encrypt(plaintext, ad); bytes.Equal(again, first) {
		t.Error("one plaintext gave one ciphertext twice")
	}
	if want := len(plaintext) + 37 + len(a.ID); len(first) != want {
		t.Errorf("the ciphertext has %d bytes, want %d", len(first), want)
	}
	for _, tt := range []struct {
		name       string
		ring       *sealed.KeyRing
		ciphertext []byte
		ad         string
		want       error
		current    bool
	}{
		{"as it was", ring, first, "additional", nil, true},
		{"a newer primary", ringOf(t, b, a), first, "additional", nil, false},
		{"other additional data", ring, first, "additionam", store.ErrCorrupt, true},
		{"an unknown key", ringOf(t, b), first, "additional", store.ErrKeyUnavailable, false},
		{"another key of that id", ringOf(t, newKey("a")), first, "additional", store.ErrKeyUnavailable, false},
		{"the zero ring", new(sealed.KeyRing), first, "additional", store.ErrKeyUnavailable, false},
		{"nothing", ring, nil, "", store.ErrCorrupt, false},
		{"a header only", ring, first[:1+1+8], "additional", store.ErrCorrupt, true},
		{"half a header", ring, first[:5], "additional", store.ErrCorrupt, false},
	} {
		got, err := tt.ring.Decrypt(tt.ciphertext, []byte(tt.ad))
		if !errors.Is(err, tt.want) || (err == nil) != bytes.Equal(got, plaintext) {
			t.Errorf("%s: Decrypt = %q, %v, want error %v", tt.name, got, err, tt.want)
		}
		if got := tt.ring.IsCurrent(tt.ciphertext); got != tt.current {
			t.Errorf("%s: IsCurrent = %t", tt.name, got)
		}
	}
}

func TestTextsShowNoSecret(t *testing.T) {
	k := newKey("id")
	keys := sealed.Keys{Names: k.Secret, Records: ringOf(t, k)}
	s := sealed.New(new(store.Memory), keys)
	start := [8]byte(k.Secret[:8]) // less may stand in the pointers that a text shows
	forms := []string{hex.EncodeToString(start[:]), strings.Trim(fmt.Sprint(start), "[]"), strings.Trim(fmt.Sprintf("%#v", start), "[8]uint{}")}
	for _, v := range []any{k.Secret, &k.Secret, k, &k, keys, &keys, s, keys.Records, []sealed.Key{k}, struct{ s *sealed.Store }{s}} {
		var texts []string
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			texts = append(texts, fmt.Sprintf(verb, v))
		}
		if b, err := json.Marshal(v); err == nil {
			texts = append(texts, string(b))
		}
		for _, text := range texts {
			for _, form := range forms {
				if strings.Contains(strings.ToLower(text), form) {
					t.Errorf("a text of %T shows the secret: %s %s", v, form, text)
				}
			}
		}
	}
}
