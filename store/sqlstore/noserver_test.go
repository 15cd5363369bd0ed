//go:build !unix

package sqlstore_test

import (
	"database/sql"
	"testing"
)

func openPostgres(t *testing.T) *sql.DB {
	t.Skip("the tests start PostgreSQL on Unix systems only")
	return nil
}

func postgresDSN() string { return "" }
