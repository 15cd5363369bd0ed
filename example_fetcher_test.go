package everfresh_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/everfresh-go/everfresh"
)

// A ticket is got by a POST that carries an access token, which is a resource of its
// own. Got with the ctx of the request function, the token is fetched in this refresh's
// turn, if it must be fetched at all.
func ExampleWithRequest() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /token", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "tok") })
	mux.HandleFunc("POST /ticket", func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		fmt.Fprintf(w, "ticket for %s with %s", body, req.Header.Get("Authorization"))
	})
	origin := httptest.NewServer(mux)
	defer origin.Close()

	ctx := context.Background()
	c := everfresh.NewCache(ctx)
	defer c.Close()

	token, err := everfresh.Register(c, origin.URL+"/token", everfresh.Bytes(),
		everfresh.WithPrefetch(false)) // fetched when the first ticket needs it
	if err != nil {
		fmt.Println(err)
		return
	}
	build := func(ctx context.Context, _ *everfresh.Snapshot[any]) (*http.Request, error) {
		tok, err := token.Get(ctx)
		if err != nil {
			return nil, err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, origin.URL+"/ticket", strings.NewReader("jsapi"))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+string(tok))
		return req, nil
	}
	ticket, err := everfresh.Register(c, origin.URL+"/ticket", everfresh.Bytes(), everfresh.WithRequest(build))
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := ticket.Get(ctx)
	fmt.Printf("%s %v\n", v, err)
	// Output: ticket for jsapi with Bearer tok <nil>
}

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
