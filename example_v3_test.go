package everfresh_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/everfresh-go/everfresh"
)

// What the SYNOPSIS of httprc v3's README does: one resource, decoded from JSON, ready
// before it is read.
func Example_httprcV3() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()

	type HelloWorld struct {
		Hello string `json:"hello"`
	}

	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]string{"hello": "world"})
	}))
	defer srv.Close()

	// NewClient and Start are one call, and Shutdown is Close. WithAllow is the
	// whitelist, WithErrSink the error sink, WithObserver the trace sink.
	c := everfresh.NewCache(ctx)
	defer c.Close()

	// NewResource and Add are one call. It never waits, so its error never means "not
	// ready yet", and the first fetch starts in the background.
	r, err := everfresh.Register(c, srv.URL, everfresh.JSON[HelloWorld]())
	if err != nil {
		fmt.Println(err)
		return
	}

	// Add waited for the first value. Here who wants to, waits; ctx bounds it.
	if err := r.Ready(ctx); err != nil {
		fmt.Println(err)
		return
	}

	m, _ := r.Peek()
	fmt.Println(m.Hello)
	// Output:
	// world
}
