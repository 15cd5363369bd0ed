package everfresh_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/everfresh-go/everfresh"
)

// A typed resource: registered once, then one atomic load away.
func Example() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=3600")
		fmt.Fprint(w, `{"greeting": "hello"}`)
	}))
	defer origin.Close()

	ctx := context.Background()
	c := everfresh.NewCache(ctx)
	defer c.Close()

	type config struct{ Greeting string }
	res, err := everfresh.Register(c, origin.URL, everfresh.JSON[config]())
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := res.Get(ctx) // waits only for the first value
	fmt.Println(v.Greeting, err)

	v, ok := res.Peek() // never waits
	fmt.Println(v.Greeting, ok)

	st := res.Status()
	fmt.Println(st.Freshness, st.Lifetime, st.Code, st.Bytes)
	// Output:
	// hello <nil>
	// hello true
	// max-age 1h0m0s 200 21
}

// Many parts of a program can share one resource: who knows its key gets its handle.
func ExampleLookup() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "shared")
	}))
	defer origin.Close()

	ctx := context.Background()
	c := everfresh.NewCache(ctx)
	defer c.Close()

	if _, err := everfresh.Register(c, origin.URL, everfresh.Bytes(), everfresh.WithKey("list")); err != nil {
		fmt.Println(err)
		return
	}

	res, err := everfresh.Lookup[[]byte](c, "list")
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := res.Get(ctx)
	fmt.Printf("%s %v\n", v, err)

	_, err = everfresh.Lookup[string](c, "list")
	fmt.Println(err)
	// Output:
	// shared <nil>
	// everfresh: lookup "list": already registered with a type other than *everfresh.Resource[string]
}
