package faults_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh/internal/everfreshtest"
)

// TestSoak is the chaos of TestChaos in real time, over loopback and by the transports
// of the cache and of a user. It takes two seconds, or as long as EVERFRESH_SOAK says:
// CI soaks for three minutes, make soak for thirty.
func TestSoak(t *testing.T) {
	seed := chaosSeeds(t, 1)[0]
	t.Logf("EVERFRESH_SEED=%d", seed)
	length := soakLength(t)
	before := runtime.NumGoroutine()
	c := newChaos(t, seed, chaosScale{
		resources: 24, unit: 200 * time.Millisecond, timeout: time.Second,
		floor: 20 * time.Millisecond, ceiling: 400 * time.Millisecond,
		// Not that the engine takes so long, but a busy machine may stop for a while.
		rest: 40 * time.Millisecond, slack: 5 * time.Second,
	})
	c.soak(seed, length)
	c.report()
	if after, ok := c.soakEnd(before); !ok {
		stacks := make([]byte, 1<<20)
		t.Errorf("%d goroutines before, %d after:\n%s", before, after, stacks[:runtime.Stack(stacks, true)])
	}
}

// soakLength returns how long to soak.
func soakLength(t *testing.T) time.Duration {
	t.Helper()
	s := os.Getenv("EVERFRESH_SOAK")
	if s == "" {
		return 2 * time.Second
	}
	length, err := time.ParseDuration(s)
	if err != nil || length < time.Second {
		t.Fatalf("EVERFRESH_SOAK=%q: %v; want a second at least", s, err)
	}
	return length
}

// soak runs c for length. All it started has ended when it returns.
func (c *chaos) soak(seed uint64, length time.Duration) {
	var origins []*httptest.Server
	for range 6 {
		srv := httptest.NewUnstartedServer(c.origin)
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.Start()
		defer srv.Close()
		origins = append(origins, srv)
	}
	tr := &http.Transport{DisableCompression: true}
	defer tr.CloseIdleConnections()
	cache := everfreshtest.NewCache(c.t, c.options()...)
	c.register(cache, &http.Client{Transport: tr}, func(id int64) string {
		return fmt.Sprintf("%s/%d", origins[id%int64(len(origins))].URL, id)
	})
	c.run(seed, func() { c.soakFor(length) })
	if err := cache.Close(); err != nil {
		c.t.Errorf("Close: %v", err)
	}
}

// A soakUse is what a running chaos holds.
type soakUse struct {
	goroutines int // the most there were
	heap       uint64
}

// soakFor compares what is held after a quarter of the time and at its end: neither
// goroutines nor memory may have grown.
func (c *chaos) soakFor(length time.Duration) {
	ctx := c.t.Context()
	use := func(part time.Duration) (u soakUse) {
		for end := time.Now().Add(part); time.Now().Before(end) && everfreshtest.Sleep(ctx, 50*time.Millisecond); {
			u.goroutines = max(u.goroutines, runtime.NumGoroutine())
		}
		u.heap = soakHeap()
		return u
	}
	first := use(length / 4)
	use(length / 2)
	last := use(length / 4)
	c.t.Logf("after a quarter: at most %d goroutines, %d KiB; at the end: %d, %d KiB",
		first.goroutines, first.heap>>10, last.goroutines, last.heap>>10)
	if last.goroutines > first.goroutines*3/2+50 {
		c.t.Errorf("at most %d goroutines in the first quarter, %d in the last", first.goroutines, last.goroutines)
	}
	if last.heap > first.heap*5/4+2<<20 {
		c.t.Errorf("heap of %d KiB after a quarter, %d KiB at the end", first.heap>>10, last.heap>>10)
	}
}

// soakHeap returns how much memory is in use: the least of some looks, as each finds the
// bodies that are on their way.
func soakHeap() uint64 {
	least := ^uint64(0)
	for range 3 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		least = min(least, m.HeapAlloc)
	}
	return least
}

// soakEnd waits until there are no more goroutines than before.
func (c *chaos) soakEnd(before int) (after int, ok bool) {
	for deadline := time.Now().Add(10 * time.Second); ; everfreshtest.Sleep(c.t.Context(), time.Millisecond) {
		after = runtime.NumGoroutine()
		if after <= before || time.Now().After(deadline) {
			return after, after <= before
		}
	}
}
