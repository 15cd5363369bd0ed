package sealed_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/sealed"
)

func Example() {
	ctx := context.Background()

	// Both come from files that only the program can read.
	names, err := sealed.ParseSecret("8f0e9d4b6c2a1735f4e8d9c0b1a29384756f6e5d4c3b2a190817263544536271")
	if err != nil {
		log.Fatal(err)
	}
	key, err := sealed.ParseKey("2026-11:3b7c1d9e5f2a4b6c8d0e1f3a5b7c9d1e2f4a6b8c0d2e4f6a8b0c1d3e5f7a9b1c")
	if err != nil {
		log.Fatal(err)
	}
	ring, err := sealed.NewKeyRing(key)
	if err != nil {
		log.Fatal(err)
	}
	var inner store.Memory // or any other store
	s := sealed.New(&inner, sealed.Keys{Names: names, Records: ring})

	if _, err := s.Store(ctx, "https://example.com/token", []byte("access granted"), store.Any()); err != nil {
		log.Fatal(err)
	}
	item, err := s.Load(ctx, "https://example.com/token")
	fmt.Printf("%s, %v\n", item.Value, err)

	for info := range inner.List(ctx, "") {
		raw, _ := inner.Load(ctx, info.Key)
		fmt.Println("inner key:", info.Key[:15]+"...")
		fmt.Println("readable:", bytes.Contains(raw.Value, []byte("access")))
	}
	// Output:
	// access granted, <nil>
	// inner key: sealed.886e2544...
	// readable: false
}

// A rotation while the program runs: no record is unreadable at any time.
func ExampleStore_Rekey() {
	ctx := context.Background()
	older := sealed.Key{ID: "2026-05", Secret: sealed.NewSecret()}
	newer := sealed.Key{ID: "2026-11", Secret: sealed.NewSecret()}

	ring, err := sealed.NewKeyRing(older)
	if err != nil {
		log.Fatal(err)
	}
	s := sealed.New(new(store.Memory), sealed.Keys{Names: sealed.NewSecret(), Records: ring})
	if _, err := s.Store(ctx, "k", []byte("value"), store.Any()); err != nil {
		log.Fatal(err)
	}

	// In every process, before the next step: know the new key, then use it.
	if err := errors.Join(ring.Set(older, newer), ring.Set(newer, older)); err != nil {
		log.Fatal(err)
	}
	for n := 1; n > 0; { // in one process
		if n, err = s.Rekey(ctx); err != nil {
			log.Fatal(err)
		}
		fmt.Println("re-encrypted:", n)
	}
	if err := ring.Set(newer); err != nil { // again in every process
		log.Fatal(err)
	}

	item, err := s.Load(ctx, "k")
	fmt.Printf("%s, %v\n", item.Value, err)
	// Output:
	// re-encrypted: 1
	// re-encrypted: 0
	// value, <nil>
}

// A process with the wrong key discards nothing: a process with the right key still reads
// the record.
func ExampleNew_wrongKey() {
	ctx := context.Background()
	var inner store.Memory
	names := sealed.NewSecret()
	open := func(k sealed.Key) *sealed.Store {
		ring, err := sealed.NewKeyRing(k)
		if err != nil {
			log.Fatal(err)
		}
		return sealed.New(&inner, sealed.Keys{Names: names, Records: ring})
	}
	right := sealed.Key{ID: "right", Secret: sealed.NewSecret()}
	if _, err := open(right).Store(ctx, "k", []byte("value"), store.Any()); err != nil {
		log.Fatal(err)
	}

	_, err := open(sealed.Key{ID: "wrong", Secret: sealed.NewSecret()}).Load(ctx, "k")
	fmt.Println("missing key:", errors.Is(err, store.ErrKeyUnavailable))
	fmt.Println("damaged:", errors.Is(err, store.ErrCorrupt))

	item, err := open(right).Load(ctx, "k")
	fmt.Printf("%s, %v\n", item.Value, err)
	// Output:
	// missing key: true
	// damaged: false
	// value, <nil>
}
