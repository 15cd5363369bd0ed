package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"

	"github.com/everfresh-go/everfresh/store"
)

func ExampleMemory() {
	ctx := context.Background()
	var m store.Memory // ready for use
	defer m.Close()

	created, err := m.Store(ctx, "token", []byte("first"), store.IfAbsent())
	if err != nil {
		log.Fatal(err)
	}
	if _, err := m.Store(ctx, "token", []byte("second"), store.IfVersion(created)); err != nil {
		log.Fatal(err)
	}

	// Another replica read the first value too, and comes late.
	_, err = m.Store(ctx, "token", []byte("late"), store.IfVersion(created))
	fmt.Println("late:", err)

	item, err := m.Load(ctx, "token")
	fmt.Printf("loaded: %s, %v\n", item.Value, err)

	var conflict *store.ConflictError
	_, err = m.Store(ctx, "token", nil, store.IfAbsent())
	fmt.Println("met what was loaded:", errors.As(err, &conflict) && conflict.Current == item.Version)

	for info, err := range m.List(ctx, "to") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("listed:", info.Key, info.Size)
	}
	// Output:
	// late: version conflict: item has another version
	// loaded: second, <nil>
	// met what was loaded: true
	// listed: token 6
}

// readOnly is a store without its writes. It embeds the interface, so it has the
// powers that its As grants and no others.
type readOnly struct{ store.Storage }

var errReadOnly = errors.New("store is read-only")

func (readOnly) Store(context.Context, string, []byte, store.Condition) (store.Version, error) {
	return "", errReadOnly
}

func (readOnly) Delete(context.Context, string, store.Condition) error { return errReadOnly }

// As forwards Ping. The code that opened the inner store still closes it.
func (r readOnly) As(target any) bool {
	p, ok := target.(*store.Pinger)
	if !ok {
		return false
	}
	inner, ok := store.As[store.Pinger](r.Storage)
	if ok {
		*p = inner
	}
	return ok
}

func ExampleAs() {
	s := readOnly{new(store.Memory)}

	pinger, ok := store.As[store.Pinger](s)
	fmt.Println("ping:", ok, pinger.Ping(context.Background()))

	_, ok = store.As[io.Closer](s)
	fmt.Println("close:", ok)

	_, ok = store.As[*store.Memory](s)
	fmt.Println("the store inside:", ok)
	// Output:
	// ping: true <nil>
	// close: false
	// the store inside: false
}
