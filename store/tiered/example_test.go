package tiered_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/tiered"
)

// Write-through: durable when Store returns, and read from memory.
func Example() {
	ctx := context.Background()
	back := new(store.Memory) // any store, on disk or remote
	defer back.Close()
	s := tiered.New(back, tiered.WithMaxAge(time.Minute), tiered.WithMaxBytes(16<<20))
	defer s.Close()

	version, err := s.Store(ctx, "k", []byte("value"), store.Any())
	if err != nil {
		log.Fatal(err)
	}
	item, err := back.Load(ctx, "k")
	fmt.Printf("back: %s, %v, one version: %t\n", item.Value, err, item.Version == version)

	item, err = s.Load(ctx, "k") // does not ask back
	fmt.Printf("memory: %s, %v\n", item.Value, err)
	// Output:
	// back: value, <nil>, one version: true
	// memory: value, <nil>
}

// Write-behind: many writes are one, some time later, and none is lost by Close.
func ExampleWithWriteBehind() {
	ctx := context.Background()
	back := new(store.Memory)
	defer back.Close()
	s := tiered.New(back, tiered.WithWriteBehind(10*time.Minute, func(err error) { log.Print(err) }))

	for i := range 1000 {
		if _, err := s.Store(ctx, "k", fmt.Append(nil, i), store.Any()); err != nil {
			log.Fatal(err)
		}
	}
	_, err := back.Load(ctx, "k")
	fmt.Println("before:", err)

	if err := s.Flush(ctx); err != nil { // now, and not after ten minutes
		log.Fatal(err)
	}
	item, err := back.Load(ctx, "k")
	fmt.Printf("after: %s, %v\n", item.Value, err)

	if err := s.Close(); err != nil { // says how many writes it lost, if any
		log.Fatal(err)
	}
	// Output:
	// before: item not found
	// after: 999, <nil>
}
