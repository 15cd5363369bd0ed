package sqlstore

import (
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/everfresh-go/everfresh/store"
)

// TestMigration brings an old schema up to date with steps of which the package has
// none yet, and first with one that fails half way.
func TestMigration(t *testing.T) {
	ctx := t.Context()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "records.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s, err := New(ctx, db, SQLite)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Store(ctx, "k", []byte("v"), store.Any()); err != nil {
		t.Fatal(err)
	}
	add := []string{`ALTER TABLE everfresh ADD COLUMN a integer`, `ALTER TABLE everfresh ADD COLUMN b integer`}
	fill := []string{`UPDATE everfresh SET a = 1, b = 2`}
	first := sqliteSteps(defaultTable)[0]

	var failure *Error
	err = s.migrate(ctx, [][]string{first, add, {`UPDATE everfresh SET a = 1`, `nonsense`}})
	if !errors.As(err, &failure) || failure.Op != "migrate" {
		t.Fatalf("migrate with a step that fails = %v", err)
	}
	if have, err := s.schemaVersion(ctx); err != nil || have != 1 {
		t.Fatalf("the schema then has version %d, %v, want 1", have, err)
	}
	for range 2 { // the second time there is nothing to do, or the ALTER would fail
		if err := s.migrate(ctx, [][]string{first, add, fill}); err != nil {
			t.Fatal(err)
		}
	}
	var got [3]int
	if err := db.QueryRow(`SELECT a, b, (SELECT max(version) FROM everfresh_schema) FROM everfresh`).Scan(&got[0], &got[1], &got[2]); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got[:], []int{1, 2, 3}) {
		t.Errorf("after the migration there is %v, want 1 2 3", got)
	}
}
