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

// The untyped API has the shape of httprc v1: values are []byte, or what a transformer
// makes. The first Get fetches.
func ExampleCache_Register() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		fmt.Fprint(w, "contents of ", req.URL.Path)
	}))
	defer origin.Close()

	ctx := context.Background()
	c := everfresh.NewCache(ctx)
	defer c.Close()

	words := everfresh.TransformFunc(func(_ string, resp *http.Response) (any, error) {
		b, err := io.ReadAll(resp.Body)
		return strings.Fields(string(b)), err
	})
	if err := c.Register(origin.URL + "/plain"); err != nil {
		fmt.Println(err)
	}
	if err := c.Register(origin.URL+"/words", everfresh.WithTransformer(words)); err != nil {
		fmt.Println(err)
	}

	payload, err := c.Get(ctx, origin.URL+"/plain")
	fmt.Printf("%s %v\n", payload, err)

	payload, err = c.Refresh(ctx, origin.URL+"/words") // fetched after the call
	fmt.Printf("%q %v\n", payload, err)

	err = c.Unregister(origin.URL + "/words")
	fmt.Println(err, c.IsRegistered(origin.URL+"/words"))

	_, err = c.Get(ctx, origin.URL+"/words")
	fmt.Println(err)
	// Output:
	// contents of /plain <nil>
	// ["contents" "of" "/words"] <nil>
	// <nil> false
	// everfresh: get: not registered: did you make sure to call Register() first?
}
