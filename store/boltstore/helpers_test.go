package boltstore_test

import (
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/boltstore"
)

// open opens a store in a file, which is new unless path is given.
func open(t *testing.T, path string, opts ...boltstore.Option) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(path, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newPath(t *testing.T) string {
	return filepath.Join(t.TempDir(), "records.db")
}

// openDB opens a file as a program does that uses it for more than a store.
func openDB(t *testing.T, path string) *bolt.DB {
	t.Helper()
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func newStore(t *testing.T, db *bolt.DB) *boltstore.Store {
	t.Helper()
	s, err := boltstore.New(db, "records")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s store.Storage, key, value string) store.Version {
	t.Helper()
	version, err := s.Store(t.Context(), key, []byte(value), store.Any())
	if err != nil {
		t.Fatal(err)
	}
	return version
}

func wantValue(t *testing.T, s store.Storage, key, want string) {
	t.Helper()
	item, err := s.Load(t.Context(), key)
	if err != nil || string(item.Value) != want {
		t.Errorf("Load(%q) = %q, %v, want %q", key, item.Value, err, want)
	}
}
