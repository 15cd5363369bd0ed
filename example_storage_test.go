package everfresh_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"

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

// A query finds stored records by what is inside them, also those of resources that are
// not registered any more, and removes them.
func ExampleQuery() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "payload of ", r.URL.Path)
	}))
	defer origin.Close()

	ctx := context.Background()
	records := new(store.Memory)
	defer records.Close()

	c := everfresh.NewCache(ctx, everfresh.WithStorage(records))
	for key, priority := range map[string]store.Priority{"/keys": store.High, "/old/1": store.Low, "/old/2": store.Low} {
		if _, err := everfresh.Register(c, origin.URL+key, everfresh.Bytes(), everfresh.WithPriority(priority)); err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := c.Ready(ctx); err != nil {
		fmt.Println(err)
		return
	}
	_ = c.Close() // the records are stored now

	old := everfresh.Query{Pattern: regexp.MustCompile(`/old/`), Priority: store.Normal}
	n, err := old.Purge(ctx, records)
	fmt.Println("purged", n, err)
	for rec, err := range (everfresh.Query{}).Records(ctx, records) {
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Printf("left: %s, priority %v\n", rec.Body, rec.Priority)
	}
	// Output:
	// purged 2 <nil>
	// left: payload of /keys, priority high
}
