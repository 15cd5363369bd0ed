package sqlstore_test

import (
	"path/filepath"
	"testing"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/sqlstore"
	"github.com/everfresh-go/everfresh/store/storagetest"
)

func TestConformanceOfSQLite(t *testing.T) {
	dir := t.TempDir()
	storagetest.Run(t, func(t *testing.T, place string) store.Storage {
		db := openDB(t, "sqlite", "file:"+filepath.Join(dir, place)+pragmas)
		return newStore(t, db, sqlstore.SQLite, sqlstore.WithMaxValue(1<<20))
	}, storagetest.MaxValue(1<<20))
}

// TestConformanceOfPostgres opens a *sql.DB for each handle. The places are tables.
func TestConformanceOfPostgres(t *testing.T) {
	openPostgres(t)
	storagetest.Run(t, func(t *testing.T, place string) store.Storage {
		return newStore(t, openPostgres(t), sqlstore.Postgres, sqlstore.WithTable(place), sqlstore.WithMaxValue(1<<20))
	}, storagetest.MaxValue(1<<20))
}
