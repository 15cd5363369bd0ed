package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/everfresh-go/everfresh/store"
)

// An Error is a failure of the database. It wraps [store.ErrUnavailable] if the failure
// is temporary: no connection, a server that is starting or stopping, or a lock or
// transaction that was in the way for too long. It leaves out the driver's error, which
// may quote keys and values.
type Error struct {
	Op   string // what failed: load, store, delete, list, ping or migrate
	Code string // SQLSTATE, or SQLite's extended result code in decimal; else the Go type of the driver's error

	meaning   string
	temporary bool
	again     bool // whether the call had no effect and may soon succeed
}

// Error implements error.
func (e *Error) Error() string {
	text := "sqlstore: " + e.Op + ": "
	if e.temporary {
		text += store.ErrUnavailable.Error() + ": "
	}
	text += "code " + e.Code
	if e.meaning != "" {
		text += ", " + e.meaning
	}
	return text
}

// Unwrap returns [store.ErrUnavailable] or nil.
func (e *Error) Unwrap() error {
	if e.temporary {
		return store.ErrUnavailable
	}
	return nil
}

// meanings has the codes on which an operator can act.
var meanings = map[string]string{
	"5":  "the database is locked",
	"8":  "the database is read-only",
	"10": "input or output failed",
	"11": "the database is damaged",
	"13": "the disk is full",
	"14": "the file cannot be opened",
	"26": "the file is not a database",

	"25006": "the database is read-only",
	"28000": "the server rejected this user",
	"28P01": "wrong password",
	"3D000": "no such database",
	"3F000": "no such schema",
	"40001": "conflict with a concurrent transaction",
	"42501": "permission denied",
	"42P01": "no such table",
	"42P07": "the table exists and was not created by this package",
	"53100": "the disk is full",
	"53300": "too many connections",
	"57014": "the server's time limit for a statement",
	"57P01": "the server is stopping",
	"57P03": "the server is starting",
}

func locked(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.again
}

// classify returns the error that a call reports for an error of the driver. Its text
// contains nothing from a row.
func (s *Store) classify(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if over := ended(ctx); over != nil {
		return over
	}
	var schema *SchemaError
	switch {
	case errors.Is(err, store.ErrNotFound), errors.As(err, &schema):
		return err
	case err.Error() == "sql: database is closed": // database/sql does not export this error
		return store.ErrClosed
	}
	e := &Error{Op: op, Code: fmt.Sprintf("%T", err), temporary: connectionFailed(err)}
	switch s.dialect {
	case SQLite:
		e.ofSQLite(err)
	case Postgres:
		e.ofPostgres(err)
	}
	return e
}

// ended returns the error of ctx, or nil if ctx has not ended. A deadline counts as
// passed even if its timer has not fired yet, because a driver that sets the deadline
// on its connection may notice it first.
func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// connectionFailed reports whether err is a failure of the connection rather than an
// answer of the database.
func connectionFailed(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// ofSQLite sets the fields for a result code, whose low byte is its kind; see
// https://www.sqlite.org/rescode.html.
func (e *Error) ofSQLite(err error) {
	var coded interface{ Code() int }
	if !errors.As(err, &coded) {
		return
	}
	const busy, locked, protocol = 5, 6, 15
	kind := coded.Code() & 0xff
	e.Code, e.meaning = strconv.Itoa(coded.Code()), meanings[strconv.Itoa(kind)]
	e.again = kind == busy || kind == locked || kind == protocol
	e.temporary = e.again
}

// ofPostgres sets the fields for an SQLSTATE, whose first two characters are its class; see
// https://www.postgresql.org/docs/current/errcodes-appendix.html.
func (e *Error) ofPostgres(err error) {
	var coded interface{ SQLState() string }
	if !errors.As(err, &coded) || len(coded.SQLState()) != 5 {
		return
	}
	e.Code, e.meaning = coded.SQLState(), meanings[coded.SQLState()]
	switch e.Code {
	case "40001", "40P01": // serialization failure, deadlock: rolled back
		e.again, e.temporary = true, true
		return
	case "25006", "55P03", "57014": // read-only after a failover, time limits
		e.temporary = true
		return
	}
	switch e.Code[:2] {
	case "08", "53", "57": // connection, resources, operator
		e.temporary = true
	default:
		e.temporary = false
	}
}
