package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"path/filepath"
	"testing"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/sqlstore"
)

// TestBusyCommit: a statement that yielded its row and could not be committed has written
// nothing. The store tries again, and what another writer did meanwhile is a conflict.
func TestBusyCommit(t *testing.T) {
	dsn := "file:" + filepath.Join(t.TempDir(), "busy.db")
	plain := openDB(t, "sqlite", dsn)
	c := &busyConnector{dsn: dsn, driver: plain.Driver()}
	db := sql.OpenDB(c)
	defer db.Close()
	s := newStore(t, db, sqlstore.SQLite)
	other := newStore(t, plain, sqlstore.SQLite)
	for name, write := range map[string]func(v store.Version) error{
		"Store": func(v store.Version) error {
			_, err := s.Store(t.Context(), "k", []byte("mine"), store.IfVersion(v))
			return err
		},
		"Delete": func(v store.Version) error { return s.Delete(t.Context(), "k", store.IfVersion(v)) },
	} {
		t.Run(name, func(t *testing.T) {
			mine := put(t, s, "old")
			var theirs store.Version
			c.fail = func() { theirs = put(t, other, "theirs") }
			var conflict *store.ConflictError
			if err := write(mine); !errors.As(err, &conflict) || conflict.Current != theirs {
				t.Errorf("error = %v, want a conflict with version %s", err, theirs)
			}
			wantValue(t, s, "k", "theirs")
		})
	}
}

// A busyConnector connects to SQLite. While fail is set, the next query yields a row, as a
// statement does that returns what it wrote, and then fails to commit; fail is called and
// reset.
type busyConnector struct {
	dsn    string
	driver driver.Driver
	fail   func()
}

func (c *busyConnector) Driver() driver.Driver { return c.driver }

func (c *busyConnector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.dsn)
	return &busyConn{conn, c}, err
}

type busyConn struct {
	driver.Conn
	of *busyConnector
}

// QueryContext implements [driver.QueryerContext].
func (c *busyConn) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	fail := c.of.fail
	if fail == nil {
		return nil, driver.ErrSkip // which makes database/sql prepare the statement
	}
	c.of.fail = nil
	fail()
	return &busyRows{}, nil
}

type busyRows struct{ read bool }

func (*busyRows) Columns() []string { return []string{"version"} }
func (*busyRows) Close() error      { return nil }

func (r *busyRows) Next(dest []driver.Value) error {
	if r.read {
		return busyError{}
	}
	r.read = true
	dest[0] = int64(1 << 40)
	return nil
}

type busyError struct{}

func (busyError) Error() string { return "busy" }
func (busyError) Code() int     { return 5 }
