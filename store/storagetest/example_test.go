package storagetest_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/storagetest"
)

// nameless is a store that leaves the key out of what it loads.
type nameless struct{ store.Storage }

func (s nameless) Load(ctx context.Context, key string) (store.Item, error) {
	item, err := s.Storage.Load(ctx, key)
	item.Key = ""
	return item, err
}

func ExampleCheck() {
	ctx := context.Background()
	fmt.Println("Memory:", storagetest.Check(ctx, new(store.Memory)))

	err := storagetest.Check(ctx, nameless{new(store.Memory)})
	var broken *storagetest.RuleError
	if errors.As(err, &broken) {
		fmt.Println(broken.Check)
		fmt.Println(broken.Rule)
	}
	// Output:
	// Memory: <nil>
	// RoundTrip
	// Load returns the key, the value and the version of the last Store of the key.
}
