package everfresh_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"time"

	"github.com/everfresh-go/everfresh"
)

// A group of resources is described once. What a resource says itself comes after it
// and wins.
func ExampleOptions() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		fmt.Fprint(w, req.URL.Path, " for ", req.Header.Get("X-Tenant"))
	}))
	defer origin.Close()

	ctx := context.Background()
	c := everfresh.NewCache(ctx)
	defer c.Close()

	flags := everfresh.Options(
		everfresh.WithRefreshInterval(30*time.Second),
		everfresh.WithMaxStale(10*time.Minute),
		everfresh.WithJitter(0),
		everfresh.WithHeader("X-Tenant", "blue"),
	)
	for path, own := range map[string]everfresh.Option{
		"/a": everfresh.Options(), // nothing of its own
		"/b": everfresh.WithRefreshInterval(time.Hour),
	} {
		res, err := everfresh.Register(c, origin.URL+path, everfresh.Bytes(), flags, own, everfresh.WithKey(path))
		if err != nil {
			fmt.Println(err)
			return
		}
		if _, err := res.Get(ctx); err != nil {
			fmt.Println(err)
		}
	}

	all := slices.SortedFunc(c.All(), func(a, b everfresh.Status) int { return a.Next.Compare(b.Next) })
	for _, st := range all {
		v, err := c.Get(ctx, st.Key)
		fmt.Printf("%s %v: every %v, served for %v more\n",
			v, err, st.Next.Sub(st.FetchedAt).Round(time.Second), st.ServeUntil.Sub(st.FreshUntil))
	}
	// Output:
	// /a for blue <nil>: every 30s, served for 10m0s more
	// /b for blue <nil>: every 1h0m0s, served for 10m0s more
}
