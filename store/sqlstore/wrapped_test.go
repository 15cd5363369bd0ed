package sqlstore_test

import (
	"path/filepath"
	"testing"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/sealed"
	"github.com/everfresh-go/everfresh/store/sqlstore"
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
	late := storagetest.Except("TwoHandles", "writes of another handle are seen after WithMaxAge")
	wrappers := map[string]struct {
		wrap func(store.Storage) store.Storage
		opts []storagetest.Option
	}{
		"sealed": {func(s store.Storage) store.Storage { return sealed.New(s, keys) }, nil},
		"tiered": {func(s store.Storage) store.Storage { return tiered.New(s) }, []storagetest.Option{late}},
	}
	for name, tt := range wrappers {
		t.Run("SQLite, "+name, func(t *testing.T) {
			dir := t.TempDir()
			storagetest.Run(t, func(t *testing.T, place string) store.Storage {
				db := openDB(t, "sqlite", "file:"+filepath.Join(dir, place)+pragmas)
				return tt.wrap(newStore(t, db, sqlstore.SQLite))
			}, tt.opts...)
		})
		t.Run("PostgreSQL, "+name, func(t *testing.T) {
			openPostgres(t)
			storagetest.Run(t, func(t *testing.T, place string) store.Storage {
				return tt.wrap(newStore(t, openPostgres(t), sqlstore.Postgres, sqlstore.WithTable("w_"+name+place)))
			}, tt.opts...)
		})
	}
}
