package everfresh_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"

	"github.com/everfresh-go/everfresh"
)

// An API rejects a token that should still be good. Whoever notices first withdraws it;
// the others, who saw the same version, withdraw nothing more.
func ExampleResource_Invalidate() {
	var issued atomic.Int64
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "token %d", issued.Add(1))
	}))
	defer origin.Close()

	ctx := context.Background()
	c := everfresh.NewCache(ctx)
	defer c.Close()

	token, err := everfresh.Register(c, origin.URL, everfresh.Bytes())
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := token.Get(ctx)
	fmt.Printf("%s %v\n", v, err)

	rejected := token.Snapshot().Version
	fmt.Println(token.Invalidate(ctx, rejected))
	v, err = token.Get(ctx) // waits for the next token
	fmt.Printf("%s %v\n", v, err)

	fmt.Println(token.Invalidate(ctx, rejected)) // too late: another version is current
	v, err = token.Get(ctx)
	fmt.Printf("%s %v\n", v, err)
	// Output:
	// token 1 <nil>
	// <nil>
	// token 2 <nil>
	// <nil>
	// token 2 <nil>
}
