package filestore_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/filestore"
)

func Example() {
	dir, err := os.MkdirTemp("", "filestore")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()

	s, err := filestore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	first, err := s.Store(ctx, "token", []byte("first"), store.IfAbsent())
	if err != nil {
		log.Fatal(err)
	}
	if err := s.Close(); err != nil {
		log.Fatal(err)
	}

	// After a restart, or in another process at the same time:
	s, err = filestore.Open(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	item, err := s.Load(ctx, "token")
	fmt.Printf("%s, the same version: %t, %v\n", item.Value, item.Version == first, err)

	_, err = s.Store(ctx, "token", []byte("late"), store.IfAbsent())
	fmt.Println("conflict:", errors.Is(err, store.ErrConflict))
	// Output:
	// first, the same version: true, <nil>
	// conflict: true
}
