// Package sqlstore keeps records in a table of SQLite or PostgreSQL, through
// [database/sql]. It imports no driver: the program imports the one it wants, and
// opens the database with it.
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
// Another driver works if its errors have the same methods: Code() int for the result
// code of SQLite, SQLState() string for that of PostgreSQL. Without them a locked
// database is a failure instead of a short wait.
//
// # Many processes
//
// Any number of stores, handles and processes may use one table at once. A write is
// one statement, which checks its condition and takes effect in the same step.
//
// # The schema
//
// [New] makes three things and later changes them itself: the table, the sequence of
// its versions (SQLite has it built in), and a table with the suffix _schema that says
// which changes were made. It does so in one transaction, and processes that start at
// once do it one after the other. If there is nothing to change, New only reads; the
// rights to read and write the table, and to use the sequence, are then enough. A
// program refuses a schema that is newer than it knows.
//
// Versions come from one sequence for all keys, and so never come back. That holds
// as long as nobody sets the sequence back, as a restored backup does.
//
// # SQLite
//
// The store sets no pragma: database/sql opens connections when it likes, so pragmas
// belong into the data source name, where every connection gets them.
//
//   - journal_mode(WAL) lets reads run while another writes. Without it the store is
//     as correct, and slower.
//   - synchronous(FULL), which is SQLite's default, makes a write that returned nil
//     survive a loss of power. With NORMAL and WAL the last writes may be lost.
//   - busy_timeout is best left out. SQLite waits in it without a context, so that a
//     call may outlast its context by that much. The store waits itself, see
//     [WithLockWait].
//
// SQLite has one writer at a time. A store lets its own writers in one by one, and
// tries again while other processes write. A database in memory needs
// db.SetMaxOpenConns(1), since every connection would have its own. The file must not
// be on a network file system.
//
// # PostgreSQL
//
// A write that returned nil is as durable as the server's synchronous_commit and
// fsync say; the defaults survive a loss of power. The tables are made in, and found
// through, the search_path of the connection. Every connection of db must reach the
// primary: a replica may lag, which breaks the contract.
//
// # Errors
//
// The text and the detail of a driver's error can quote keys and values, as in "Key
// (key)=(...) already exists". An [Error] therefore keeps only its code, and the
// driver's error is dropped.
package sqlstore
