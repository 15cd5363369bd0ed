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
