package sqlstore_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/sqlstore"
)

// pragmas are those that the documentation advises.
const pragmas = "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"

func openDB(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func newStore(t *testing.T, db *sql.DB, dialect sqlstore.Dialect, opts ...sqlstore.Option) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.New(t.Context(), db, dialect, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// A target is a database that tests open as often as they like.
type target struct {
	name    string
	dialect sqlstore.Dialect
	open    func(t *testing.T) *sql.DB
	dsn     func() string // only after open
}

// targets returns a new SQLite file and the PostgreSQL server of the tests.
func targets(t *testing.T) []target {
	dsn := "file:" + filepath.Join(t.TempDir(), "records.db") + pragmas
	return []target{
		{"SQLite", sqlstore.SQLite, func(t *testing.T) *sql.DB { return openDB(t, "sqlite", dsn) }, func() string { return dsn }},
		{"PostgreSQL", sqlstore.Postgres, openPostgres, postgresDSN},
	}
}

// onEach runs a test on every target, with a table of its own.
func onEach(t *testing.T, table string, run func(t *testing.T, target target, opt sqlstore.Option)) {
	for _, target := range targets(t) {
		t.Run(target.name, func(t *testing.T) { run(t, target, sqlstore.WithTable(table)) })
	}
}

// put stores a value under k.
func put(t *testing.T, s store.Storage, value string) store.Version {
	t.Helper()
	version, err := s.Store(t.Context(), "k", []byte(value), store.Any())
	if err != nil {
		t.Fatal(err)
	}
	return version
}

func wantValue(t *testing.T, s store.Storage, key, want string) {
	t.Helper()
	item, err := s.Load(t.Context(), key)
	if err != nil || string(item.Value) != want {
		t.Errorf("Load(%q) = %q, %v, want %q", key, item.Value, err, want)
	}
}

func execute(t *testing.T, db interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}, query string,
) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}
