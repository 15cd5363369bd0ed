package everfresh_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

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

// The sink is told of every failure: as an error when there is nothing to serve, as a
// warning while an older value is.
func ExampleLogSink() {
	var broken atomic.Bool
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			http.Error(w, "not shown", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "good")
	}))
	defer origin.Close()

	// A handler that leaves out what differs from run to run.
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Value.Kind() == slog.KindTime {
				return slog.Attr{}
			}
			return a
		},
	}))

	ctx := context.Background()
	c := everfresh.NewCache(ctx, everfresh.WithErrSink(everfresh.LogSink(log)))
	res, err := everfresh.Register(c, origin.URL+"/?secret=s3cr3t", everfresh.Bytes(), everfresh.WithKey("flags"))
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := res.Get(ctx); err != nil {
		fmt.Println(err)
	}

	broken.Store(true)
	fmt.Println(res.Refresh(ctx))
	v, ok := res.Peek()
	fmt.Printf("%s %t\n", v, ok)

	_ = c.Close() // waits for the sink
	// Unordered output:
	// everfresh: fetch "flags": unexpected status 503 Service Unavailable
	// good true
	// level=WARN msg="refresh failed" key=flags op=fetch attempt=1 stale=true err="unexpected status 503 Service Unavailable"
}
