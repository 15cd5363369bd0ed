package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/everfresh-go/everfresh/store"
)

const (
	defaultTable    = "everfresh"
	defaultLockWait = 5 * time.Second
	defaultMaxValue = 64 << 20
	// The delay before a retry on a locked database doubles from minDelay to maxDelay.
	minDelay, maxDelay = time.Millisecond, 50 * time.Millisecond
)

// A Dialect is a kind of database. The zero value is invalid.
type Dialect int

// The dialects.
const (
	SQLite   Dialect = iota + 1 // since version 3.35, for RETURNING
	Postgres                    // tested with version 15
)

// tableName leaves room for suffixes: names in PostgreSQL have at most 63 bytes.
var tableName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,49}$`)

var (
	_ store.Storage = (*Store)(nil)
	_ store.Pinger  = (*Store)(nil)
	_ io.Closer     = (*Store)(nil)
)

// A Store is a [store.Storage] in one table. Make one with [New]. All methods are safe
// for concurrent use. A List is sorted by key. It reads page by page and holds no
// connection in between, so one connection is enough; the second page shows what was
// written after the first.
//
// Besides the errors of the contract, a Store returns [*Error].
type Store struct {
	db       *sql.DB
	dialect  Dialect
	queries  queries
	lockWait time.Duration
	maxValue int64
	writer   chan struct{} // holds a token while a call writes; nil if the database allows concurrent writers
	closed   atomic.Bool
}

// An Option configures a store that [New] returns.
type Option func(*config)

type config struct {
	table    string
	lockWait time.Duration
	maxValue int64
}

// WithMaxValue sets the size limit for values, in bytes. Store returns
// [store.ErrTooLarge] for a larger value. The default is 64 MiB; the databases
// themselves allow almost 1 GB.
func WithMaxValue(n int64) Option {
	return func(c *config) { c.maxValue = n }
}

// WithTable sets the name of the table. The default is "everfresh". A name has 1 to 50
// lower-case letters, digits and underscores, and does not begin with a digit. Stores
// with different tables share nothing.
func WithTable(name string) Option {
	return func(c *config) { c.table = name }
}

// WithLockWait limits how long a call retries while another process locks the database
// or while the database aborts its transaction because of a concurrent one. The context
// may end the call sooner. After the limit the call returns [store.ErrUnavailable]. The
// default is 5 seconds; 0 means a single try.
func WithLockWait(d time.Duration) Option {
	return func(c *config) { c.lockWait = d }
}

// New returns a store in a table of db. It creates or migrates the table if necessary.
// The caller still owns db, and closes it after the store; the store's Close does not.
// New returns [store.ErrUnavailable] if the database does not answer.
func New(ctx context.Context, db *sql.DB, dialect Dialect, opts ...Option) (*Store, error) {
	c := config{table: defaultTable, lockWait: defaultLockWait, maxValue: defaultMaxValue}
	for _, opt := range opts {
		opt(&c)
	}
	if !tableName.MatchString(c.table) {
		return nil, fmt.Errorf("sqlstore: invalid table name %q: want 1 to 50 of a-z, 0-9 and _, and no digit first", c.table)
	}
	s := &Store{db: db, dialect: dialect, lockWait: c.lockWait, maxValue: c.maxValue}

	// SQLite allows one writer at a time, so its store serializes its own writes.
	var steps [][]string
	switch dialect {
	case SQLite:
		s.queries, steps = sqliteQueries(c.table), sqliteSteps(c.table)
		s.writer = make(chan struct{}, 1)
	case Postgres:
		s.queries, steps = postgresQueries(c.table), postgresSteps(c.table)
	default:
		return nil, fmt.Errorf("sqlstore: invalid dialect %d", dialect)
	}
	if err := s.migrate(ctx, steps); err != nil {
		return nil, err
	}
	return s, nil
}

// Ping implements [store.Pinger]: it reads the table.
func (s *Store) Ping(ctx context.Context) error {
	return s.read(ctx, "ping", func() error {
		return s.query(ctx, s.queries.ping, func(rows *sql.Rows) error {
			var empty any // a number or a bool
			return rows.Scan(&empty)
		})
	})
}

// Close makes every later call except Close return [store.ErrClosed]. It returns nil
// immediately. Calls in progress complete, or return ErrClosed if the caller closes the
// database. A List in progress still yields the page that it has read.
func (s *Store) Close() error {
	s.closed.Store(true)
	return nil
}

// read calls f until the database is not locked, within the limits of [WithLockWait]
// and ctx. It returns f's error as an error of the contract or an [*Error].
func (s *Store) read(ctx context.Context, op string, f func() error) error {
	start := time.Now()
	for delay := minDelay; ; delay = min(2*delay, maxDelay) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.closed.Load() {
			return store.ErrClosed
		}
		err := s.classify(ctx, op, f())
		if !locked(err) || time.Since(start) >= s.lockWait {
			return err
		}
		pause(ctx, delay/2+rand.N(delay))
	}
}

// write is like read, for calls that change the database. If the database allows only
// one writer at a time, so does write; the store's own writes would otherwise lock each
// other out and have to retry.
func (s *Store) write(ctx context.Context, op string, f func() error) error {
	if s.writer != nil {
		select {
		case s.writer <- struct{}{}:
			defer func() { <-s.writer }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.read(ctx, op, f)
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// query calls row for each row. It reads to the end even for a single row, because a
// statement can still fail after its last row, when it commits.
func (s *Store) query(ctx context.Context, query string, row func(*sql.Rows) error, args ...any) error {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
