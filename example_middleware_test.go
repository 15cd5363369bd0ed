package everfresh_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/everfresh-go/everfresh"
)

// Middleware of the cache runs first, then that of groups, then the resource's own;
// within a level, what was added first runs first.
func ExampleWithMiddleware() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		fmt.Fprint(w, "signed by ", req.Header.Get("X-Signature"))
	}))
	defer origin.Close()

	named := func(name string) func(everfresh.Fetcher) everfresh.Fetcher {
		return func(next everfresh.Fetcher) everfresh.Fetcher {
			return everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
				fmt.Println("->", name)
				resp, err := next.Fetch(req)
				fmt.Println("<-", name)
				return resp, err
			})
		}
	}
	sign := func(next everfresh.Fetcher) everfresh.Fetcher {
		return everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
			req.Header.Set("X-Signature", "me")
			return next.Fetch(req)
		})
	}

	ctx := context.Background()
	c := everfresh.NewCache(ctx, everfresh.WithMiddleware(named("cache")))
	defer c.Close()

	group := everfresh.Options(everfresh.WithMiddleware(named("group")))
	res, err := everfresh.Register(c, origin.URL, everfresh.Bytes(),
		everfresh.WithMiddleware(named("resource"), sign), group)
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := res.Get(ctx)
	fmt.Printf("%s %v\n", v, err)
	// Output:
	// -> cache
	// -> group
	// -> resource
	// <- resource
	// <- group
	// <- cache
	// signed by me <nil>
}
