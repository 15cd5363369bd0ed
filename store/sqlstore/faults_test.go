//go:build unix

package sqlstore_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/sqlstore"
)

// TestServerIsGone ends a PostgreSQL of its own in both ways, and starts it again.
func TestServerIsGone(t *testing.T) {
	own, err := startServer()
	if errors.Is(err, errNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer own.remove()
	s := newStore(t, openDB(t, "pgx", own.dsn()), sqlstore.Postgres)
	older := put(t, s, "old")
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT} {
		own.stop(sig)
		_, errLoad := s.Load(t.Context(), "k")
		_, errStore := s.Store(t.Context(), "k", []byte("lost"), store.Any())
		_, errNew := sqlstore.New(t.Context(), openDB(t, "pgx", own.dsn()), sqlstore.Postgres)
		for _, err := range []error{errLoad, errStore, errNew, s.Delete(t.Context(), "k", store.Any()), s.Ping(t.Context())} {
			wantTemporary(t, err)
		}
		if err := own.start(); err != nil {
			t.Fatal(err)
		}
		wantValue(t, s, "k", "old")
	}
	if newer := put(t, s, "new"); newer == older {
		t.Errorf("version %q came twice", newer)
	}
}

// TestConnectionIsCut ends the server's side of every connection of a store.
func TestConnectionIsCut(t *testing.T) {
	db := openPostgresWith(t, " application_name=cut")
	s := newStore(t, db, sqlstore.Postgres, sqlstore.WithTable("cut"))
	put(t, s, "v")
	execute(t, openPostgres(t), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cut'`)
	if _, err := s.Load(t.Context(), "k"); err != nil { // database/sql may have noticed, and reconnected
		wantTemporary(t, err)
	}
	wantValue(t, s, "k", "v")
}

// TestStatementTimeout lets the server lose its patience.
func TestStatementTimeout(t *testing.T) {
	db := openPostgres(t)
	db.SetMaxOpenConns(1) // the connection that gets the limit
	s := newStore(t, db, sqlstore.Postgres, sqlstore.WithTable("slow"))
	put(t, s, "old")
	execute(t, db, `SET statement_timeout = 50`) // not before: what must succeed may take longer
	tx, err := openPostgres(t).BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.Exec(`LOCK TABLE slow`); err != nil {
		t.Fatal(err)
	}
	_, err = s.Store(t.Context(), "k", nil, store.Any())
	if e := wantTemporary(t, err); e.Code != "57014" {
		t.Errorf("the code is %s, want 57014", e.Code)
	}
}

// TestRefusedByServer has failures that waiting does not mend.
func TestRefusedByServer(t *testing.T) {
	openPostgres(t)
	for name, tt := range map[string]struct {
		options string
		code    string
	}{
		"no such database": {" dbname=absent", "3D000"},
		"no such user":     {" user=absent", "28000"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sqlstore.New(t.Context(), openDB(t, "pgx", shared.dsn()+tt.options), sqlstore.Postgres)
			if e := wantPermanent(t, err); e.Code != tt.code {
				t.Errorf("the error is %v, want code %s", err, tt.code)
			}
		})
	}
}

// TestFewRights proves that a store needs no right to make tables when they are there.
func TestFewRights(t *testing.T) {
	admin := openPostgres(t)
	newStore(t, admin, sqlstore.Postgres, sqlstore.WithTable("rights"))
	execute(t, admin, `CREATE ROLE humble LOGIN`)
	execute(t, admin, `GRANT SELECT, INSERT, UPDATE, DELETE ON rights TO humble`)
	execute(t, admin, `GRANT SELECT ON rights_schema TO humble`)
	execute(t, admin, `GRANT USAGE ON SEQUENCE rights_version TO humble`)
	db := openPostgresWith(t, " user=humble")
	s := newStore(t, db, sqlstore.Postgres, sqlstore.WithTable("rights"))
	put(t, s, "v")
	wantValue(t, s, "k", "v")
	if err := s.Delete(t.Context(), "k", store.Any()); err != nil {
		t.Error(err)
	}
	_, err := sqlstore.New(t.Context(), db, sqlstore.Postgres, sqlstore.WithTable("other"))
	if e := wantPermanent(t, err); e.Code != "42501" || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("the error is %v, want code 42501", err)
	}
}

// TestSerializable makes the server call off transactions that meet.
func TestSerializable(t *testing.T) {
	const workers, times = 8, 10
	var wg sync.WaitGroup
	opt := sqlstore.WithTable("serializable")
	for range workers {
		s := newStore(t, openPostgresWith(t, " default_transaction_isolation=serializable"), sqlstore.Postgres, opt)
		wg.Go(func() {
			if err := increment(t.Context(), s, times); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantValue(t, newStore(t, openPostgres(t), sqlstore.Postgres, opt), "counter", fmt.Sprint(workers*times))
}

const (
	childEnv = "SQLSTORE_TEST_CHILD" // the name of the target, and how often a child process adds
	childDSN = "SQLSTORE_TEST_DSN"
)

// TestProcesses lets several processes add to one number, in each database.
func TestProcesses(t *testing.T) {
	const workers, times = 4, 25
	onEach(t, "processes", func(t *testing.T, target target, opt sqlstore.Option) {
		s := newStore(t, target.open(t), target.dialect, opt)
		var wg sync.WaitGroup
		for range workers {
			cmd := child(t, target, times)
			wg.Go(func() {
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
		wg.Wait()
		wantValue(t, s, "counter", fmt.Sprint(workers*times))
	})
}

// TestKilled kills a process that writes to SQLite, and finds every write that it
// reported. It says nothing of a loss of power, for which synchronous(FULL) is there.
func TestKilled(t *testing.T) {
	target := targets(t)[0]
	for round := range 4 {
		last := killAfter(t, child(t, target, 0), 20*round+10)
		s := newStore(t, target.open(t), target.dialect, sqlstore.WithTable("processes"))
		item, err := s.Load(t.Context(), "counter")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := strconv.Atoi(string(item.Value)); err != nil || got < last {
			t.Fatalf("after the kill there is %q, want at least %d, whose Store had returned", item.Value, last)
		}
	}
}

// killAfter kills cmd after a number of lines and returns the number in its last one.
func killAfter(t *testing.T, cmd *exec.Cmd, lines int) (last int) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	scan := bufio.NewScanner(out)
	for n := 0; scan.Scan(); n++ { // goes on after the kill, for what was reported before
		if _, err := fmt.Sscanf(scan.Text(), "stored %d", &last); err != nil {
			t.Errorf("the writer says %q", scan.Text())
		}
		if n == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the writer ended by itself")
	}
	return last
}

// child returns a command that runs TestChild in a process of its own.
func child(t *testing.T, target target, times int) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$")
	cmd.Env = append(os.Environ(), childEnv+"="+target.name+" "+strconv.Itoa(times), childDSN+"="+target.dsn())
	return cmd
}

// TestChild adds to a number as often as its parent says, or until it is killed.
func TestChild(t *testing.T) {
	what := os.Getenv(childEnv)
	if what == "" {
		return // not a child
	}
	var name string
	var times int
	if _, err := fmt.Sscan(what, &name, &times); err != nil {
		t.Fatal(err)
	}
	driver, dialect := "sqlite", sqlstore.SQLite
	if name == "PostgreSQL" {
		driver, dialect = "pgx", sqlstore.Postgres
	}
	s := newStore(t, openDB(t, driver, os.Getenv(childDSN)), dialect, sqlstore.WithTable("processes"))
	if times > 0 {
		if err := increment(t.Context(), s, times); err != nil {
			t.Fatal(err)
		}
		return
	}
	for {
		if err := increment(t.Context(), s, 1); err != nil {
			t.Fatal(err)
		}
		item, err := s.Load(t.Context(), "counter")
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("stored %s\n", item.Value)
	}
}
