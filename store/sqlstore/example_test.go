package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/sqlstore"
)

func ExampleNew() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "sqlstore")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "records.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	s, err := sqlstore.New(ctx, db, sqlstore.SQLite)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close() // before db, which it leaves open
	version, err := s.Store(ctx, "k", []byte("first"), store.IfAbsent())
	fmt.Println("created:", err)
	_, err = s.Store(ctx, "k", []byte("second"), store.IfVersion(version))
	fmt.Println("replaced:", err)
	_, err = s.Store(ctx, "k", []byte("late"), store.IfVersion(version))
	fmt.Println("late:", errors.Is(err, store.ErrConflict))
	// Output:
	// created: <nil>
	// replaced: <nil>
	// late: true
}

// Many replicas share their records in PostgreSQL. The program imports
// github.com/jackc/pgx/v5/stdlib.
func ExampleNew_postgres() { //nolint:testableexamples // it needs a server
	ctx := context.Background()
	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	s, err := sqlstore.New(ctx, db, sqlstore.Postgres, sqlstore.WithTable("records"))
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	cache := everfresh.NewCache(ctx, everfresh.WithStorage(s))
	defer cache.Close()
}
