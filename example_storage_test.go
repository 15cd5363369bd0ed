package everfresh_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/store"
)

// With a storage a program starts with the values it had when it ended, also while the
// origin is down. A Memory ends with the process; a store on disk would not.
func ExampleWithStorage() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "last good value")
	}))

	ctx := context.Background()
	records := new(store.Memory)
	defer records.Close()

	for run := range 2 {
		c := everfresh.NewCache(ctx, everfresh.WithStorage(records))
		res, err := everfresh.Register(c, origin.URL, everfresh.Bytes())
		if err != nil {
			fmt.Println(err)
			return
		}
		v, err := res.Get(ctx)
		fmt.Printf("run %d: %s %v\n", run+1, v, err)

		_ = c.Close()  // stores what was not stored yet
		origin.Close() // down before the second run
	}
	// Output:
	// run 1: last good value <nil>
	// run 2: last good value <nil>
}
