package everfresh_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
)

// A movingHost is a name that stands for one of two addresses. It must be made inside the
// bubble.
type movingHost struct {
	addrs [2]*memNet
	now   atomic.Int32 // the index of the present address
}

// newMovingHost runs a server at each address. All ends with the test.
func newMovingHost(t *testing.T, old, young http.Handler) *movingHost {
	h := &movingHost{addrs: [2]*memNet{newMemNet(), newMemNet()}}
	for i, handler := range []http.Handler{old, young} {
		srv := &http.Server{Handler: handler, ReadHeaderTimeout: time.Hour}
		var serving sync.WaitGroup
		serving.Go(func() { _ = srv.Serve(h.addrs[i]) })
		t.Cleanup(func() {
			_ = srv.Close()
			_ = h.addrs[i].Close()
			serving.Wait()
		})
	}
	return h
}

// DialContext asks for the address of the name, as a net.Dialer does.
func (h *movingHost) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return h.addrs[h.now.Load()].DialContext(ctx, network, addr)
}

// addressDeaths are the ways in which a host is left behind.
var addressDeaths = map[string]func(w http.ResponseWriter, r *http.Request){
	"reset": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	"hang":  func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	"hang in the body": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("old"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	},
	"truncated": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("old"))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	},
}

// TestHostThatMoves: a host gets another address, and the old one dies while there are
// idle connections to it. One failure is enough: the next refresh asks for the address and
// reaches the new one.
func TestHostThatMoves(t *testing.T) {
	for name, death := range addressDeaths {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dead atomic.Bool
				old := func(w http.ResponseWriter, r *http.Request) {
					if dead.Load() {
						death(w, r)
						return
					}
					time.Sleep(time.Second) // so that all connections are in use at once
					text("old")(w, r)
				}
				host := newMovingHost(t, http.HandlerFunc(old), text("new"))
				heard := new(listener)
				c := newCache(t, append(heard.options(), everfresh.WithJitter(0))...)
				everfresh.DialWith(c, host.DialContext)
				r := register(t, c, "http://a.test/", everfresh.Bytes(), everfresh.WithRefreshInterval(time.Minute))
				for i := range 3 { // as many connections as the host may have at once
					register(t, c, fmt.Sprintf("http://a.test/%d", i), everfresh.Bytes())
				}
				time.Sleep(30 * time.Second)
				if v, ok := r.Peek(); !ok || string(v) != "old" {
					t.Fatalf("%q before the move", v)
				}
				host.now.Store(1)
				dead.Store(true)
				time.Sleep(time.Minute + 15*time.Second)
				if v, ok := r.Peek(); !ok || string(v) != "new" {
					t.Errorf("%q after the move", v)
				}
				// A connection that broke while it was idle is no failure.
				if failures := heard.Events("failed"); len(failures) > 1 {
					t.Errorf("%d failures, want one: %v", len(failures), heard.Errors())
				}
			})
		})
	}
}
