package everfresh_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"

	"github.com/everfresh-go/everfresh"
)

// Watch yields the current value, and then each newer one.
func ExampleResource_Watch() {
	var revision atomic.Int64
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"revision": %d}`, revision.Load())
	}))
	defer origin.Close()

	ctx := context.Background()
	c := everfresh.NewCache(ctx)
	defer c.Close()

	type config struct{ Revision int }
	res, err := everfresh.Register(c, origin.URL, everfresh.JSON[config]())
	if err != nil {
		fmt.Println(err)
		return
	}
	for v := range res.Watch(ctx) {
		fmt.Println("revision", v.Revision)
		if v.Revision == 2 {
			break
		}
		// The origin says the same, which yields nothing, and then something new.
		fmt.Println(res.Refresh(ctx))
		revision.Add(1)
		fmt.Println(res.Refresh(ctx))
	}
	// Output:
	// revision 0
	// <nil>
	// <nil>
	// revision 1
	// <nil>
	// <nil>
	// revision 2
}
