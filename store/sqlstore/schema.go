package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"hash/fnv"
	"strings"
)

// A SchemaError says that the schema in the database is newer than this package: a
// later release of the program has migrated it.
type SchemaError struct {
	Have int // the version of the schema in the database
	Know int // the latest version that this package knows
}

// Error implements error.
func (e *SchemaError) Error() string {
	return fmt.Sprintf("sqlstore: the schema has version %d, but this program only knows version %d", e.Have, e.Know)
}

// queries has the statements for one table. Their parameters are numbered in order of
// appearance, because SQLite treats $1 as a name and not as a number.
type queries struct {
	load, current, list, ping string
	put, create, replace      string // each returns the new version, or no row if its condition does not hold
	remove, removeVersion     string // each returns the old version, or no row

	lock         string // "" if a write transaction is a sufficient lock
	lockKey      int64
	hasSchema    string
	makeSchema   string
	schema       string
	insertSchema string
}

// pageLen is the number of items that a List reads at once.
const pageLen = 256

func commonQueries(table string) queries {
	in := strings.NewReplacer("{t}", table, "{n}", fmt.Sprint(pageLen)).Replace
	return queries{
		load:          in(`SELECT value, version FROM "{t}" WHERE key = $1`),
		current:       in(`SELECT version FROM "{t}" WHERE key = $1`),
		list:          in(`SELECT key, version, length(value) FROM "{t}" WHERE key >= $1 AND key < $2 ORDER BY key LIMIT {n}`),
		ping:          in(`SELECT EXISTS (SELECT 1 FROM "{t}")`),
		remove:        in(`DELETE FROM "{t}" WHERE key = $1 RETURNING version`),
		removeVersion: in(`DELETE FROM "{t}" WHERE key = $1 AND version = $2 RETURNING version`),
		makeSchema:    in(`CREATE TABLE IF NOT EXISTS "{t}_schema" (version integer PRIMARY KEY)`),
		schema:        in(`SELECT coalesce(max(version), 0) FROM "{t}_schema"`),
		insertSchema:  in(`INSERT INTO "{t}_schema" (version) VALUES ($1)`),
	}
}

// sqliteQueries writes by replacing the row. The version is the number of the row, which
// AUTOINCREMENT never uses twice.
func sqliteQueries(table string) queries {
	in := strings.NewReplacer("{t}", table).Replace
	q := commonQueries(table)
	q.put = in(`INSERT OR REPLACE INTO "{t}" (key, value) VALUES ($1, $2) RETURNING version`)
	q.create = in(`INSERT INTO "{t}" (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING RETURNING version`)
	q.replace = in(`INSERT OR REPLACE INTO "{t}" (key, value) SELECT $1, $2
		WHERE EXISTS (SELECT 1 FROM "{t}" WHERE key = $1 AND version = $3) RETURNING version`)
	q.hasSchema = in(`SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = '{t}_schema')`)
	return q
}

// sqliteSteps are the migrations of the schema. New ones are added; none is changed.
func sqliteSteps(table string) [][]string {
	in := strings.NewReplacer("{t}", table).Replace
	return [][]string{
		{in(`CREATE TABLE "{t}" (version integer PRIMARY KEY AUTOINCREMENT, key blob NOT NULL UNIQUE, value blob NOT NULL)`)},
	}
}

func postgresQueries(table string) queries {
	in := strings.NewReplacer("{t}", table, "{v}", `nextval('"`+table+`_version"')`).Replace
	q := commonQueries(table)
	q.put = in(`INSERT INTO "{t}" (key, value, version) VALUES ($1, $2, {v})
		ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = excluded.version RETURNING version`)
	q.create = in(`INSERT INTO "{t}" (key, value, version) VALUES ($1, $2, {v}) ON CONFLICT (key) DO NOTHING RETURNING version`)
	q.replace = in(`UPDATE "{t}" SET value = $2, version = {v} WHERE key = $1 AND version = $3 RETURNING version`)
	q.lock = `SELECT pg_advisory_xact_lock($1)`
	q.lockKey = lockKey(table)
	q.hasSchema = in(`SELECT to_regclass('"{t}_schema"') IS NOT NULL`)
	return q
}

// postgresSteps are the migrations of the schema. New ones are added; none is changed.
func postgresSteps(table string) [][]string {
	in := strings.NewReplacer("{t}", table).Replace
	return [][]string{
		{
			in(`CREATE TABLE "{t}" (key bytea PRIMARY KEY, value bytea NOT NULL, version bigint NOT NULL)`),
			in(`CREATE SEQUENCE "{t}_version" OWNED BY "{t}".version`),
		},
	}
}

// lockKey is the number of the advisory lock for migrations of a table.
func lockKey(table string) int64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte("everfresh/sqlstore/" + table)) // never fails
	return int64(h.Sum64())
}

// migrate makes the changes that the schema lacks, in one transaction.
func (s *Store) migrate(ctx context.Context, steps [][]string) error {
	return s.write(ctx, "migrate", func() error {
		have, err := s.schemaVersion(ctx)
		if err != nil || have == len(steps) {
			return err
		}

		// change looks again: another process may have migrated meanwhile.
		tx, err := s.db.BeginTx(ctx, s.txOptions())
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // it fails after Commit; otherwise the first error says more
		if err := s.change(ctx, tx, steps); err != nil {
			return err
		}
		return tx.Commit()
	})
}

// txOptions asks for a transaction that sees what was committed while it waited for
// the lock, whatever the database's default isolation is.
func (s *Store) txOptions() *sql.TxOptions {
	if s.dialect == Postgres {
		return &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	return nil
}

// schemaVersion returns the version of the schema, or 0 if there is none yet.
func (s *Store) schemaVersion(ctx context.Context) (version int, err error) {
	var has bool
	if err := s.db.QueryRowContext(ctx, s.queries.hasSchema).Scan(&has); err != nil || !has {
		return 0, err
	}
	err = s.db.QueryRowContext(ctx, s.queries.schema).Scan(&version)
	return version, err
}

// change runs in a transaction. In SQLite, the transaction fails as locked if another
// one has begun to write since it first read, and is retried from its beginning.
func (s *Store) change(ctx context.Context, tx *sql.Tx, steps [][]string) error {
	// Processes that start at the same time wait for each other here.
	if s.queries.lock != "" {
		if _, err := tx.ExecContext(ctx, s.queries.lock, s.queries.lockKey); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, s.queries.makeSchema); err != nil {
		return err
	}

	// Find out which migrations are done, now that no other process can add one.
	var have int
	if err := tx.QueryRowContext(ctx, s.queries.schema).Scan(&have); err != nil {
		return err
	}
	if have > len(steps) {
		return &SchemaError{Have: have, Know: len(steps)}
	}

	// Make the others, and record each.
	for i, statements := range steps[have:] {
		for _, statement := range statements {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, s.queries.insertSchema, have+i+1); err != nil {
			return err
		}
	}
	return nil
}
