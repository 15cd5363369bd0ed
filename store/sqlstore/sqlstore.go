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
	// The delays between two tries for a locked database, which double.
	minDelay, maxDelay = time.Millisecond, 50 * time.Millisecond
)

// A Dialect names the kind of database. The zero value is none.
type Dialect int

// The dialects.
const (
	SQLite   Dialect = iota + 1 // since version 3.35, for RETURNING
	Postgres                    // tested with version 15
)

// tableName leaves room for suffixes in the 63 bytes of a PostgreSQL name.
var tableName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,49}$`)

var (
	_ store.Storage = (*Store)(nil)
	_ store.Pinger  = (*Store)(nil)
	_ io.Closer     = (*Store)(nil)
)

// A Store is a [store.Storage] in one table. Make one with [New]. All methods may be
// called from many goroutines at once. A List is sorted by key. It reads page after
// page and holds no connection between them, so it needs no more than one; what is
// written between two pages shows in the second.
//
// Besides the errors of the contract, a Store returns [*Error].
type Store struct {
	db       *sql.DB
	dialect  Dialect
	queries  queries
	lockWait time.Duration
	maxValue int64
	writer   chan struct{} // holds a token while a call writes; nil if the database takes many writers
	closed   atomic.Bool
}

// An Option changes what [New] makes.
type Option func(*config)

type config struct {
	table    string
	lockWait time.Duration
	maxValue int64
}

// WithMaxValue sets the largest value in bytes. Store of more returns
// [store.ErrTooLarge]. The default is 64 MiB; the databases themselves take nearly
// 1 GB.
func WithMaxValue(n int64) Option {
	return func(c *config) { c.maxValue = n }
}

// WithTable names the table; the default is "everfresh". A name has 1 to 50 lower
// case letters, digits and underscores, and begins with no digit. Stores with
// different tables share nothing.
func WithTable(name string) Option {
	return func(c *config) { c.table = name }
}

// WithLockWait bounds how long a call tries again while the database is locked by
// another process, or calls off a transaction that met another one; the context may
// end it sooner. After that the call returns [store.ErrUnavailable]. The default is 5
// seconds; 0 means one try.
func WithLockWait(d time.Duration) Option {
	return func(c *config) { c.lockWait = d }
}

// New returns a store in a table of db, and makes the table or brings it up to date
// if need be. db stays the caller's, who closes it after the store; the store's Close
// does not. New returns [store.ErrUnavailable] if the database does not answer.
func New(ctx context.Context, db *sql.DB, dialect Dialect, opts ...Option) (*Store, error) {
	c := config{table: defaultTable, lockWait: defaultLockWait, maxValue: defaultMaxValue}
	for _, opt := range opts {
		opt(&c)
	}
	if !tableName.MatchString(c.table) {
		return nil, fmt.Errorf("sqlstore: %q is no table name: want 1 to 50 of a-z, 0-9 and _, and no digit first", c.table)
	}
	s := &Store{db: db, dialect: dialect, lockWait: c.lockWait, maxValue: c.maxValue}
	var steps [][]string
	switch dialect {
	case SQLite:
		s.queries, steps = sqliteQueries(c.table), sqliteSteps(c.table)
		s.writer = make(chan struct{}, 1)
	case Postgres:
		s.queries, steps = postgresQueries(c.table), postgresSteps(c.table)
	default:
		return nil, fmt.Errorf("sqlstore: %d is no dialect", dialect)
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

// Close makes every later call but Close return [store.ErrClosed]; it returns nil at
// once. Calls under way complete, or return ErrClosed if the caller closes the
// database. A List that has begun goes on with the page it has.
func (s *Store) Close() error {
	s.closed.Store(true)
	return nil
}

// read calls f until the database is not locked, within the bounds of [WithLockWait]
// and ctx. It returns f's error as one of the contract or as an [*Error].
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

// write is read for what changes the database: if that takes one writer at a time,
// it lets in one, so that they do not keep each other waiting in vain.
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

// query calls row for each row. It reads to the end, also for a single row, because a
// statement can fail after its last row: when it commits.
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
