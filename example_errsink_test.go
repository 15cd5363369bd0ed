package everfresh_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"

	"github.com/everfresh-go/everfresh"
)

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
