package boltstore_test

import (
	"testing"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/boltstore"
	"github.com/everfresh-go/everfresh/store/sealed"
	"github.com/everfresh-go/everfresh/store/storagetest"
	"github.com/everfresh-go/everfresh/store/tiered"
)

// TestConformanceWrapped has the wrappers around the store.
func TestConformanceWrapped(t *testing.T) {
	ring, err := sealed.NewKeyRing(sealed.Key{ID: "1", Secret: sealed.NewSecret()})
	if err != nil {
		t.Fatal(err)
	}
	keys := sealed.Keys{Names: sealed.NewSecret(), Records: ring}
	for name, tt := range map[string]struct {
		wrap func(store.Storage) store.Storage
		opts []storagetest.Option
	}{
		"sealed": {func(s store.Storage) store.Storage { return sealed.New(s, keys) }, nil},
		"tiered": {func(s store.Storage) store.Storage { return tiered.New(s) }, []storagetest.Option{
			storagetest.Except("TwoHandles", "writes of another handle are seen after WithMaxAge"),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			db := openDB(t, newPath(t))
			storagetest.Run(t, func(t *testing.T, place string) store.Storage {
				s, err := boltstore.New(db, place)
				if err != nil {
					t.Fatal(err)
				}
				return tt.wrap(s)
			}, tt.opts...)
		})
	}
}
