package sealed_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/everfresh-go/everfresh/internal/everfreshtest"
	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/sealed"
)

// fixedKeys are those of testdata/record.golden.
func fixedKeys(tb testing.TB) sealed.Keys {
	tb.Helper()
	names, err := sealed.ParseSecret("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f")
	if err != nil {
		tb.Fatal(err)
	}
	k, err := sealed.ParseKey("2026-11:202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f")
	if err != nil {
		tb.Fatal(err)
	}
	ring, err := sealed.NewKeyRing(k)
	if err != nil {
		tb.Fatal(err)
	}
	return sealed.Keys{Names: names, Records: ring}
}

const goldenName = "sealed.5d588ea74732584c9b7b53d427d637081e673c5c0e8ab4cf0f5999a613f29375"

// TestGolden opens a record that the first version of the envelope sealed.
func TestGolden(t *testing.T) {
	golden, err := os.ReadFile("testdata/record.golden")
	if err != nil {
		t.Fatal(err)
	}
	inner := new(store.Memory)
	if _, err := inner.Store(t.Context(), goldenName, golden, store.Any()); err != nil {
		t.Fatal(err)
	}
	wantValue(t, sealed.New(inner, fixedKeys(t)), "https://example.com/token", "the value")
}

// transparent is an AEAD that hides nothing, so that a test sees what it is given.
type transparent struct{}

func (transparent) Encrypt(plaintext, ad []byte) ([]byte, error) {
	return slices.Concat([]byte{byte(len(ad))}, ad, plaintext), nil
}

func (transparent) Decrypt(ciphertext, ad []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(ciphertext, slices.Concat([]byte{byte(len(ad))}, ad))
	if !ok {
		return nil, store.ErrCorrupt
	}
	return rest, nil
}

// TestLayout builds a record as the documentation of the package says.
func TestLayout(t *testing.T) {
	inner, names := new(store.Memory), sealed.NewSecret()
	s := sealed.New(inner, sealed.Keys{Names: names, Records: transparent{}})
	put(t, s, "key", "value")
	got := onlyItem(t, inner)

	mac := hmac.New(sha256.New, names[:])
	mac.Write([]byte("key"))
	innerKey := "sealed." + hex.EncodeToString(mac.Sum(nil))
	if got.Key != innerKey {
		t.Fatalf("the inner key is %q, want %q", got.Key, innerKey)
	}
	ad := "EVFS\x01" + innerKey
	position := got.Value[len("EVFS\x01")+1+len(ad):][:8]
	want := slices.Concat([]byte("EVFS\x01"), []byte{byte(len(ad))}, []byte(ad), position, []byte("\x00\x03key"), []byte("value"))
	sum := sha256.Sum256(append(bytes.Clone(want), innerKey...))
	if want = append(want, sum[:]...); !bytes.Equal(got.Value, want) {
		t.Errorf("the inner value is\n%q, want\n%q", got.Value, want)
	}

	put(t, s, "key", "value")
	next := onlyItem(t, inner).Value[len("EVFS\x01")+1+len(ad):][:8]
	if binary.BigEndian.Uint64(next) != binary.BigEndian.Uint64(position)+1 {
		t.Errorf("the position went from %x to %x", position, next)
	}
}

func TestNewerEnvelopeIsNotDamaged(t *testing.T) {
	inner := new(store.Memory)
	s := sealed.New(inner, newKeys(t))
	put(t, s, "k", "v")
	item := onlyItem(t, inner)
	b := item.Value[:len(item.Value)-sha256.Size]
	b[4] = 2
	sum := sha256.Sum256(slices.Concat(b, []byte(item.Key)))
	if _, err := inner.Store(t.Context(), item.Key, append(b, sum[:]...), store.Any()); err != nil {
		t.Fatal(err)
	}
	wantLoadErr(t, s, store.ErrKeyUnavailable)
}

func TestMalformedPayloads(t *testing.T) {
	for what, payload := range map[string]string{
		"empty": "", "short": "12345678\x00", "key past the end": "12345678\x00\x04key", "long key": "12345678\xff\xff" + string(make([]byte, 1<<16)),
	} {
		inner, aead := new(store.Memory), &fixedPayload{payload: []byte(payload)}
		s := sealed.New(inner, sealed.Keys{Names: sealed.NewSecret(), Records: aead})
		put(t, s, "k", "v")
		if _, err := s.Load(t.Context(), "k"); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", what, err)
		}
	}
}

// fixedPayload is an AEAD for which every ciphertext holds payload.
type fixedPayload struct{ payload []byte }

func (*fixedPayload) Encrypt(plaintext, _ []byte) ([]byte, error) { return bytes.Clone(plaintext), nil }

func (f *fixedPayload) Decrypt(_, _ []byte) ([]byte, error) { return bytes.Clone(f.payload), nil }

// FuzzRecord: any bytes in the inner store are a record that was sealed, or an error of
// a known kind.
func FuzzRecord(f *testing.F) {
	golden, err := os.ReadFile("testdata/record.golden")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden, false)
	f.Add(golden[:len(golden)-1], false)
	f.Add(golden[:len(golden)-sha256.Size], true)
	f.Add([]byte("EVFS\x01"), true)
	f.Add([]byte("EVFS\x02"), true)
	f.Add([]byte("EVFS\x01\xff"), true)
	f.Add([]byte("EVFS\x01\x002026-11"), true)
	keys := fixedKeys(f)
	f.Fuzz(func(t *testing.T, b []byte, repair bool) {
		if repair {
			sum := sha256.Sum256(slices.Concat(b, []byte(goldenName)))
			b = append(bytes.Clone(b), sum[:]...)
		}
		inner := &everfreshtest.Hooked{LoadFunc: func(_ context.Context, key string) (store.Item, error) {
			return store.Item{Key: key, Value: b, Version: "1"}, nil
		}}
		item, err := sealed.New(inner, keys).Load(t.Context(), "https://example.com/token")
		switch {
		case err == nil && string(item.Value) != "the value":
			t.Errorf("Load = %q of bytes that were never sealed", item.Value)
		case err != nil && !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrKeyUnavailable):
			t.Errorf("the error is %v", err)
		}
	})
}
