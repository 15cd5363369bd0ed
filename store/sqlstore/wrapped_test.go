package sqlstore_test

import (
	"path/filepath"
	"testing"

	"github.com/everfresh-go/everfresh/internal/drivertest"
	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/sqlstore"
	"github.com/everfresh-go/everfresh/store/storagetest"
)

// TestConformanceWrapped has the wrappers around the store.
func TestConformanceWrapped(t *testing.T) {
	for name, tt := range drivertest.Wrappers(t) {
		t.Run("SQLite, "+name, func(t *testing.T) {
			dir := t.TempDir()
			storagetest.Run(t, func(t *testing.T, place string) store.Storage {
				db := openDB(t, "sqlite", "file:"+filepath.Join(dir, place)+pragmas)
				return tt.Wrap(newStore(t, db, sqlstore.SQLite))
			}, tt.Options...)
		})
		t.Run("PostgreSQL, "+name, func(t *testing.T) {
			openPostgres(t)
			storagetest.Run(t, func(t *testing.T, place string) store.Storage {
				return tt.Wrap(newStore(t, openPostgres(t), sqlstore.Postgres, sqlstore.WithTable("w_"+name+place)))
			}, tt.Options...)
		})
	}
}
