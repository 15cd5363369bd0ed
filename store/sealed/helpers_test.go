package sealed_test

import (
	"errors"
	"iter"
	"slices"
	"testing"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/sealed"
)

func newKey(id string) sealed.Key { return sealed.Key{ID: id, Secret: sealed.NewSecret()} }

func ringOf(t *testing.T, primary sealed.Key, others ...sealed.Key) *sealed.KeyRing {
	t.Helper()
	r, err := sealed.NewKeyRing(primary, others...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newKeys(t *testing.T) sealed.Keys {
	t.Helper()
	return sealed.Keys{Names: sealed.NewSecret(), Records: ringOf(t, newKey("k1"))}
}

func put(t *testing.T, s store.Storage, key, value string) store.Version {
	t.Helper()
	v, err := s.Store(t.Context(), key, []byte(value), store.Any())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func wantValue(t *testing.T, s store.Storage, key, want string) {
	t.Helper()
	item, err := s.Load(t.Context(), key)
	if err != nil || string(item.Value) != want {
		t.Errorf("Load = %.40q, %v, want %.40q", item.Value, err, want)
	}
}

func wantLoadErr(t *testing.T, s store.Storage, want error) {
	t.Helper()
	item, err := s.Load(t.Context(), "k")
	if !errors.Is(err, want) || item.Value != nil || item.Version != "" {
		t.Errorf("Load = %+v, %v, want error %v", item, err, want)
	}
}

// items returns all there is in s.
func items(t *testing.T, s store.Storage) []store.Item {
	t.Helper()
	var all []store.Item
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		item, err := s.Load(t.Context(), info.Key)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, item)
	}
	return all
}

// onlyItem returns the item of an inner store that has one.
func onlyItem(t *testing.T, inner store.Storage) store.Item {
	t.Helper()
	all := items(t, inner)
	if len(all) != 1 {
		t.Fatalf("the inner store has %d items, want 1", len(all))
	}
	return all[0]
}

// listed returns the keys of a List, sorted, and its error.
func listed(list iter.Seq2[store.Meta, error]) (keys []string, err error) {
	for info, e := range list {
		if e != nil {
			err = errors.Join(err, e)
			continue
		}
		keys = append(keys, info.Key)
	}
	slices.Sort(keys)
	return keys, err
}
