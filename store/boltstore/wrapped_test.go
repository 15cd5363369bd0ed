package boltstore_test

import (
	"testing"

	"github.com/everfresh-go/everfresh/internal/drivertest"
	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/boltstore"
	"github.com/everfresh-go/everfresh/store/storagetest"
)

// TestConformanceWrapped has the wrappers around the store.
func TestConformanceWrapped(t *testing.T) {
	for name, tt := range drivertest.Wrappers(t) {
		t.Run(name, func(t *testing.T) {
			db := openDB(t, newPath(t))
			storagetest.Run(t, func(t *testing.T, place string) store.Storage {
				s, err := boltstore.New(db, place)
				if err != nil {
					t.Fatal(err)
				}
				return tt.Wrap(s)
			}, tt.Options...)
		})
	}
}
