// Package sqlstore keeps records in a table of SQLite or PostgreSQL, through
// [database/sql]. It imports no driver: the program imports the driver of its choice
// and opens the database with it.
//
//	import _ "modernc.org/sqlite"
//
//	db, err := sql.Open("sqlite", "file:records.db?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
//	if err != nil {
//		return err
//	}
//	defer db.Close()
//	s, err := sqlstore.New(ctx, db, sqlstore.SQLite)
//	if err != nil {
//		return err
//	}
//	defer s.Close()
//
// The tests run with modernc.org/sqlite and with github.com/jackc/pgx/v5/stdlib.
// Other drivers work if their errors have the same methods: Code() int for SQLite's
// result code, SQLState() string for that of PostgreSQL. Without them, a locked
// database causes an error instead of a short wait.
//
// # Many processes
//
// Any number of stores, handles and processes may use one table at once. A write is
// one statement, which checks its condition and takes effect in the same step.
//
// # The schema
//
// [New] creates three things and migrates them later: the table, the sequence of its
// versions (which SQLite has built in), and a table with the suffix _schema that lists
// the migrations. New does this in one transaction, and processes that start at the
// same time do it one after the other. If there is nothing to migrate, New only reads;
// the rights to read and write the table and to use the sequence are then enough. New
// fails if the schema is newer than the program.
//
// Versions come from one sequence for all keys, so they are never reused, unless the
// sequence is set back, which restoring a backup does.
//
// # SQLite
//
// The store sets no pragmas: database/sql opens connections at any time, so pragmas
// belong in the data source name, where they apply to every connection.
//
//   - journal_mode(WAL) allows reads during a write. Without it, the store is correct
//     but slower.
//   - synchronous(FULL), which is SQLite's default, makes a write that returned nil
//     survive a loss of power. With NORMAL and WAL, the last writes may be lost.
//   - busy_timeout is best left out. SQLite then waits regardless of the context, so a
//     call may take that much longer than its context allows. The store has its own
//     wait; see [WithLockWait].
//
// SQLite allows one writer at a time. A store serializes its own writes, and retries
// while other processes write. An in-memory database needs db.SetMaxOpenConns(1),
// since every connection would have a database of its own. The file must not be on a
// network file system.
//
// # PostgreSQL
//
// The server's settings synchronous_commit and fsync determine how durable a write is
// that returned nil; with the defaults it survives a loss of power. The tables are
// created in and found through the search_path of the connection. Every connection of
// db must reach the primary: a replica may lag behind, which breaks the contract.
//
// # Errors
//
// The text and the detail of a driver's error can quote keys and values, as in "Key
// (key)=(...) already exists". An [Error] therefore keeps only its code, and the
// driver's error is dropped.
package sqlstore
