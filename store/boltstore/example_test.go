package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/boltstore"
)

// A cache whose records survive a restart.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "boltstore")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	s, err := boltstore.Open(filepath.Join(dir, "records.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	cache := everfresh.NewCache(context.Background(), everfresh.WithStorage(s))
	defer cache.Close()
	fmt.Println("ping:", s.Ping(context.Background()))
	// Output:
	// ping: <nil>
}

// A file that the program has open for its own data too.
func ExampleNew() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "boltstore")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := bolt.Open(filepath.Join(dir, "program.db"), 0o600, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	s, err := boltstore.New(db, "records")
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close() // before db, which it leaves open
	version, err := s.Store(ctx, "k", []byte("first"), store.IfAbsent())
	fmt.Println("created:", err)
	_, err = s.Store(ctx, "k", []byte("second"), store.IfVersion(version))
	fmt.Println("replaced:", err)
	_, err = s.Store(ctx, "k", []byte("late"), store.IfVersion(version))
	fmt.Println("late:", errors.Is(err, store.ErrConflict))
	// Output:
	// created: <nil>
	// replaced: <nil>
	// late: true
}
