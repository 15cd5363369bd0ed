package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh/internal/drivertest"
	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/sqlstore"
)

func TestNewRefuses(t *testing.T) {
	db := openDB(t, "sqlite", "file:"+filepath.Join(t.TempDir(), "records.db"))
	for _, table := range []string{"", "1a", "A", "a-b", "a.b", `a"b`, "a b", "é", "a;", strings.Repeat("a", 51)} {
		if _, err := sqlstore.New(t.Context(), db, sqlstore.SQLite, sqlstore.WithTable(table)); err == nil {
			t.Errorf("New took the table name %q", table)
		}
	}
	if _, err := sqlstore.New(t.Context(), db, 0); err == nil {
		t.Error("New took dialect 0")
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sqlstore.New(done, db, sqlstore.SQLite); !errors.Is(err, context.Canceled) {
		t.Errorf("New = %v, want %v", err, context.Canceled)
	}
}

func TestReservedWordsAreTableNames(t *testing.T) {
	onEach(t, "order", func(t *testing.T, target target, opt sqlstore.Option) {
		s := newStore(t, target.open(t), target.dialect, opt, sqlstore.WithTable(strings.Repeat("o", 50)))
		put(t, s, "long")
		s = newStore(t, target.open(t), target.dialect, opt)
		put(t, s, "v")
		wantValue(t, s, "k", "v")
	})
}

// TestNewAtOnce makes one schema from many processes, as far as the database can tell.
func TestNewAtOnce(t *testing.T) {
	onEach(t, "at_once", func(t *testing.T, target target, opt sqlstore.Option) {
		var wg sync.WaitGroup
		for range 12 {
			db := target.open(t)
			wg.Go(func() {
				s, err := sqlstore.New(t.Context(), db, target.dialect, opt)
				if err == nil {
					_, err = s.Store(t.Context(), "k", nil, store.Any())
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		var changes int
		if err := target.open(t).QueryRow(`SELECT count(*) FROM at_once_schema`).Scan(&changes); err != nil || changes != 1 {
			t.Errorf("the schema was changed %d times, %v, want once", changes, err)
		}
	})
}

func TestNewerSchema(t *testing.T) {
	onEach(t, "newer", func(t *testing.T, target target, opt sqlstore.Option) {
		db := target.open(t)
		newStore(t, db, target.dialect, opt)
		execute(t, db, `INSERT INTO newer_schema (version) VALUES (2)`)
		_, err := sqlstore.New(t.Context(), db, target.dialect, opt)
		var schema *sqlstore.SchemaError
		if !errors.As(err, &schema) || *schema != (sqlstore.SchemaError{Have: 2, Know: 1}) {
			t.Errorf("New = %v, want a *SchemaError with 2 and 1", err)
		}
	})
}

// TestForeignTable proves that another program's table is left alone.
func TestForeignTable(t *testing.T) {
	onEach(t, "foreign_table", func(t *testing.T, target target, opt sqlstore.Option) {
		db := target.open(t)
		execute(t, db, `CREATE TABLE foreign_table (id integer)`)
		_, err := sqlstore.New(t.Context(), db, target.dialect, opt)
		if e := wantPermanent(t, err); e.Op != "migrate" {
			t.Errorf("New = %v, want an error of migrate", err)
		}
		if _, err := db.Exec(`SELECT version FROM foreign_table_schema`); err == nil {
			t.Error("the failed New left a schema behind")
		}
	})
}

func TestPrefixes(t *testing.T) {
	onEach(t, "prefixes", func(t *testing.T, target target, opt sqlstore.Option) {
		drivertest.Prefixes(t, newStore(t, target.open(t), target.dialect, opt))
	})
}

// TestConditionsAreExact gives versions that are numbers, but not the store's.
func TestConditionsAreExact(t *testing.T) {
	onEach(t, "exact", func(t *testing.T, target target, opt sqlstore.Option) {
		s := newStore(t, target.open(t), target.dialect, opt)
		version := put(t, s, "v")
		drivertest.ExactConditions(t, s, "k", version, "0"+version, "+"+version, version+" ", "-1", "0", "99999999999999999999", "x")
	})
}

// TestOneConnection lets the body of a loop use the only connection.
func TestOneConnection(t *testing.T) {
	onEach(t, "one_connection", func(t *testing.T, target target, opt sqlstore.Option) {
		db := target.open(t)
		db.SetMaxOpenConns(1)
		s := newStore(t, db, target.dialect, opt)
		const n = 300 // more than a page
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			query := fmt.Sprintf(`INSERT INTO one_connection (key, value, version) VALUES ($1, $2, %d)`, i+1)
			if _, err := tx.Exec(query, fmt.Appendf(nil, "k%04d", i), []byte("v")); err != nil {
				t.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		seen := 0
		for info, err := range s.List(t.Context(), "k") {
			if want := fmt.Sprintf("k%04d", seen); err != nil || info.Key != want || info.Size != 1 {
				t.Fatalf("item %d is %+v, %v, want %s", seen, info, err, want)
			}
			if seen%100 == 0 {
				wantValue(t, s, info.Key, "v")
			}
			seen++
		}
		if seen != n {
			t.Errorf("List yields %d items, want %d", seen, n)
		}
	})
}

func TestClosedDatabase(t *testing.T) {
	onEach(t, "closed", func(t *testing.T, target target, opt sqlstore.Option) {
		db := target.open(t)
		s := newStore(t, db, target.dialect, opt)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Ping(t.Context()); !errors.Is(err, store.ErrClosed) {
			t.Errorf("Ping = %v, want %v", err, store.ErrClosed)
		}
	})
}

func TestCloseLeavesTheDatabaseOpen(t *testing.T) {
	onEach(t, "left_open", func(t *testing.T, target target, opt sqlstore.Option) {
		db := target.open(t)
		a, b := newStore(t, db, target.dialect, opt), newStore(t, db, target.dialect, opt)
		put(t, a, "v")
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		wantValue(t, b, "k", "v")
	})
}

func TestMissingTable(t *testing.T) {
	onEach(t, "missing", func(t *testing.T, target target, opt sqlstore.Option) {
		db := target.open(t)
		s := newStore(t, db, target.dialect, opt)
		execute(t, db, `DROP TABLE missing`)
		_, err := s.Load(t.Context(), "k")
		wantPermanent(t, err)
		wantPermanent(t, s.Ping(t.Context()))
	})
}

// TestErrorsQuoteNothing makes the database itself put a key and a value into its
// error, as another program's trigger or constraint may.
func TestErrorsQuoteNothing(t *testing.T) {
	const secret = "canary"
	raise := map[string]string{
		"SQLite": `CREATE TRIGGER quotes BEFORE INSERT ON quoted BEGIN SELECT RAISE(ABORT, 'row canary'); END`,
		"PostgreSQL": `CREATE FUNCTION quotes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				RAISE EXCEPTION 'row %', encode(NEW.key, 'escape') USING DETAIL = encode(NEW.value, 'escape'); END $$;
			CREATE TRIGGER quotes BEFORE INSERT ON quoted FOR EACH ROW EXECUTE FUNCTION quotes()`,
	}
	onEach(t, "quoted", func(t *testing.T, target target, opt sqlstore.Option) {
		db := target.open(t)
		s := newStore(t, db, target.dialect, opt)
		execute(t, db, raise[target.name])
		_, raw := db.Exec(`INSERT INTO quoted (key, value, version) VALUES ($1, $1, 1)`, []byte(secret))
		if raw == nil || !strings.Contains(raw.Error(), secret) {
			t.Fatalf("the driver's error is %v, which proves nothing", raw)
		}
		_, err := s.Store(t.Context(), secret, []byte(secret), store.Any())
		wantPermanent(t, err)
		for ; err != nil; err = errors.Unwrap(err) {
			if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, secret) {
				t.Errorf("the error quotes the row: %s", text)
			}
		}
	})
}

// TestLockedRow makes a write wait for another transaction.
func TestLockedRow(t *testing.T) {
	onEach(t, "locked_row", func(t *testing.T, target target, opt sqlstore.Option) {
		s := newStore(t, target.open(t), target.dialect, opt, sqlstore.WithLockWait(time.Hour))
		put(t, s, "old")
		tx, err := target.open(t).BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(`UPDATE locked_row SET value = value`); err != nil {
			t.Fatal(err)
		}
		wantValue(t, s, "k", "old") // a read does not wait
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, errStore := s.Store(ctx, "k", []byte("new"), store.Any())
		errDelete := s.Delete(ctx, "k", store.Any())
		for _, err := range []error{errStore, errDelete} {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a write that waits returns %v, want the error of ctx", err)
			}
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("the writes took %v", took)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		put(t, s, "newer")
	})
}

// TestLockWait proves the bound for SQLite, and that the wait ends with the lock.
func TestLockWait(t *testing.T) {
	target := targets(t)[0]
	db := target.open(t)
	hasty := newStore(t, db, target.dialect, sqlstore.WithLockWait(0))
	patient := newStore(t, target.open(t), target.dialect, sqlstore.WithLockWait(time.Hour))
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(`INSERT INTO everfresh (key, value) VALUES ('', '')`); err != nil {
		t.Fatal(err)
	}
	_, err = hasty.Store(t.Context(), "k", nil, store.Any())
	if e := wantTemporary(t, err); e.Code != "5" {
		t.Errorf("the code is %s, want 5", e.Code)
	}
	stored := make(chan error, 1)
	go func() {
		_, err := patient.Store(t.Context(), "k", nil, store.Any())
		stored <- err
	}()
	select {
	case err := <-stored:
		t.Errorf("Store = %v, while the database is locked", err)
	case <-time.After(30 * time.Millisecond):
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-stored; err != nil {
		t.Errorf("Store = %v, after the lock was gone", err)
	}
}

// TestCommitFails has a statement that yields its version and fails afterwards: without
// WAL, SQLite waits for readers when it commits.
func TestCommitFails(t *testing.T) {
	dsn := "file:" + filepath.Join(t.TempDir(), "records.db")
	s := newStore(t, openDB(t, "sqlite", dsn), sqlstore.SQLite, sqlstore.WithLockWait(0))
	put(t, s, "old")
	reader, err := openDB(t, "sqlite", dsn).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := reader.QueryRow(`SELECT count(*) FROM everfresh`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	_, err = s.Store(t.Context(), "k", []byte("new"), store.Any())
	wantTemporary(t, err)
	if err := reader.Rollback(); err != nil {
		t.Fatal(err)
	}
	wantValue(t, s, "k", "old")
	put(t, s, "newer")
}

func wantTemporary(t *testing.T, err error) *sqlstore.Error {
	t.Helper()
	var e *sqlstore.Error
	if !errors.As(err, &e) || !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("the error is %v, want an *Error that is %v", err, store.ErrUnavailable)
	}
	return e
}

func wantPermanent(t *testing.T, err error) *sqlstore.Error {
	t.Helper()
	var e *sqlstore.Error
	if !errors.As(err, &e) || errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("the error is %v, want an *Error that is not %v", err, store.ErrUnavailable)
	}
	return e
}

// increment adds to a number in the store, a number of times, by conditional writes
// alone.
func increment(ctx context.Context, s store.Storage, times int) error {
	for done := 0; done < times; {
		item, err := s.Load(ctx, "counter")
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		n := 0
		if len(item.Value) > 0 {
			if _, err := fmt.Sscan(string(item.Value), &n); err != nil {
				return err
			}
		}
		_, err = s.Store(ctx, "counter", fmt.Append(nil, n+1), store.IfVersion(item.Version))
		switch {
		case err == nil:
			done++
		case !errors.Is(err, store.ErrConflict):
			return err
		}
	}
	return nil
}
