// Package drivertest has what the tests of the storage drivers share, beside the contract
// that storagetest checks.
package drivertest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/sealed"
	"github.com/everfresh-go/everfresh/store/storagetest"
	"github.com/everfresh-go/everfresh/store/tiered"
)

// A Wrapper wraps a store; the options say what of the contract it changes.
type Wrapper struct {
	Wrap    func(store.Storage) store.Storage
	Options []storagetest.Option
}

// Wrappers returns the wrappers by name.
func Wrappers(t testing.TB) map[string]Wrapper {
	t.Helper()
	ring, err := sealed.NewKeyRing(sealed.Key{ID: "1", Secret: sealed.NewSecret()})
	if err != nil {
		t.Fatal(err)
	}
	keys := sealed.Keys{Names: sealed.NewSecret(), Records: ring}
	return map[string]Wrapper{
		"sealed": {Wrap: func(s store.Storage) store.Storage { return sealed.New(s, keys) }},
		"tiered": {
			func(s store.Storage) store.Storage { return tiered.New(s) },
			[]storagetest.Option{storagetest.Except("TwoHandles", "writes of another handle are seen after WithMaxAge")},
		},
	}
}

// Prefixes checks List, in order, with prefixes at whose end counting up is not so easy.
// s is empty.
func Prefixes(t testing.TB, s store.Storage) {
	t.Helper()
	keys := []string{"", "a", "a\xff", "a\xff\xffb", "b", "\xc3", "\xc3\xa9", "\xc4", "\xfe\xff", "\xff", "\xff\xff"}
	for _, key := range keys {
		if _, err := s.Store(t.Context(), key, nil, store.Any()); err != nil {
			t.Fatal(err)
		}
	}
	for _, prefix := range append(keys, "\xfe", "\x00", strings.Repeat("\xff", 2000)) {
		var want []string
		for _, key := range keys {
			if strings.HasPrefix(key, prefix) {
				want = append(want, key)
			}
		}
		if got := list(t, s, prefix); !slices.Equal(got, want) {
			t.Errorf("prefix %.10q: List = %q, want %q", prefix, got, want)
		}
	}
}

// list returns the keys that List yields.
func list(t testing.TB, s store.Storage, prefix string) (keys []string) {
	t.Helper()
	for info, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// ExactConditions checks that no other version is taken for version, which key has.
func ExactConditions(t testing.TB, s store.Storage, key string, version store.Version, others ...store.Version) {
	t.Helper()
	for _, other := range others {
		_, errStore := s.Store(t.Context(), key, nil, store.IfVersion(other))
		errDelete := s.Delete(t.Context(), key, store.IfVersion(other))
		for _, err := range []error{errStore, errDelete} {
			var conflict *store.ConflictError
			if !errors.As(err, &conflict) || conflict.Current != version {
				t.Errorf("version %q: %v, want a conflict with %q", other, err, version)
			}
		}
	}
}
