package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/everfresh-go/everfresh"
	httprc1 "github.com/lestrrat-go/httprc"
	httprc3 "github.com/lestrrat-go/httprc/v3"
)

var (
	idleColumns    = []string{"heap-B/resource", "goroutines", "gc-ms", "gc-cpu-ms", "idle-cpu-%", "switches/s"}
	idleHeap       = metric{name: "heap", unit: " B", column: "heap B per resource", of: field(0)}
	idleGoroutines = metric{name: "goroutines", column: "goroutines", of: field(1)}
	idleGC         = metric{name: "collection", unit: " ms", column: "collection ms", of: field(2)}
	idleGCCPU      = metric{name: "collection's CPU", unit: " ms", column: "its CPU ms", of: field(3)}
	idleCPU        = metric{name: "processor time of a core", unit: " %", column: "CPU % of a core", of: field(4)}
	idleSwitches   = metric{name: "switches/s", column: "switches/s", of: field(5)}
)

const (
	idleSpan   = 10 * time.Second
	idleGlance = 3 * time.Second // for those that are there for their heap
)

var idleProbes = map[string]probe{
	"nothing":        {run: idleNothing, n: 1, span: idleSpan},
	"everfresh-1k":   {run: idleEverfresh, n: 1_000, span: idleSpan},
	"everfresh-100k": {run: idleEverfresh, n: 100_000, span: idleGlance},
	"everfresh-1M":   {run: idleEverfresh, n: 1_000_000, span: idleSpan},
	"v1-10k":         {run: idleV1, n: 10_000, span: idleGlance},
	"v3-1k":          {run: idleV3, n: 1_000, span: idleGlance},
	"v3-100k":        {run: idleV3Map, n: 100_000, span: idleGlance},
}

// theDocument is the value of every resource, so that values take no memory.
var theDocument = new(document)

// idling fills something with n resources, and returns what it then costs.
func idling(ctx context.Context, n int, span time.Duration, fill func() (io.Closer, error)) (sample, error) {
	before := heapInUse()
	subject, err := fill()
	if err != nil {
		return nil, err
	}
	heap := heapInUse() - before
	var gcWall, gcCPU []float64
	for range 3 {
		wall, cpu, err := collect()
		if err != nil {
			return nil, err
		}
		gcWall, gcCPU = append(gcWall, wall), append(gcCPU, cpu)
	}
	debug.FreeOSMemory() // otherwise the runtime would return memory to the system during the measurement
	used, err := rest(ctx, span)
	if err != nil {
		return nil, err
	}
	s := sample{
		heap / float64(n), float64(runtime.NumGoroutine()), median(gcWall, itself), median(gcCPU, itself),
		100 * used.cpu.Seconds() / span.Seconds(), used.switches / span.Seconds(),
	}
	return s, subject.Close()
}

// heapInUse returns how much memory is used after a collection.
func heapInUse() float64 {
	runtime.GC()
	runtime.GC() // what finalizers and cleanups let go of
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return float64(mem.HeapAlloc)
}

// collect returns how many milliseconds a collection takes, of the clock and of the
// processor.
func collect() (wall, cpu float64, err error) {
	used, err := since(func() error {
		start := time.Now()
		runtime.GC()
		wall = 1000 * time.Since(start).Seconds()
		return nil
	})
	return wall, 1000 * used.cpu.Seconds(), err
}

// rest returns what this process uses while nothing is asked of it.
func rest(ctx context.Context, span time.Duration) (systemUsage, error) {
	if err := pause(ctx, span/5); err != nil { // what was before comes to its end
		return systemUsage{}, err
	}
	return since(func() error { return pause(ctx, span) })
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type closer func() error

// Close implements io.Closer.
func (c closer) Close() error { return c() }

func idleNothing(ctx context.Context, n int, span time.Duration) (sample, error) {
	s, err := idling(ctx, n, span, func() (io.Closer, error) { return closer(func() error { return nil }), nil })
	if err != nil {
		return nil, err
	}
	s[0] = math.NaN() // there are no resources
	return s, nil
}

// tagged is an origin without a network whose documents have validators.
type tagged struct{}

// RoundTrip implements http.RoundTripper.
func (tagged) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := memory{}.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	i, err := strconv.Atoi(strings.Split(req.URL.Path, "/")[2])
	if err != nil {
		return nil, err
	}
	resp.Header.Set("Etag", etagOf(i))
	if req.Header.Get("If-None-Match") == etagOf(i) {
		resp.StatusCode, resp.Body, resp.ContentLength = http.StatusNotModified, http.NoBody, 0
	}
	return resp, nil
}

// etagOf returns the validator of a document, as long as usual ones are.
func etagOf(i int) string { return fmt.Sprintf(`"%019d"`, i) }

// decodeNothing is a decoder whose value is always the same.
func decodeNothing(context.Context, *http.Response) (*document, error) { return theDocument, nil }

func idleEverfresh(ctx context.Context, n int, span time.Duration) (sample, error) {
	return idling(ctx, n, span, func() (io.Closer, error) {
		return filled(ctx, n)
	})
}

// filled returns a cache with n documents that are fresh for long.
func filled(ctx context.Context, n int, opts ...everfresh.CacheOption) (*everfresh.Cache, error) {
	opts = append(opts, everfresh.WithHTTPClient(&http.Client{Transport: tagged{}}), everfresh.WithMaxPerHost(64))
	c := everfresh.NewCache(ctx, opts...)
	for i := range n {
		if _, err := everfresh.Register(c, docURL(i), decodeNothing); err != nil {
			return nil, err // the process ends, and c with it
		}
	}
	return c, c.Ready(ctx)
}

func idleV1(ctx context.Context, n int, span time.Duration) (sample, error) {
	return idling(ctx, n, span, func() (io.Closer, error) {
		ctx, cancel := context.WithCancel(ctx)
		c := httprc1.NewCache(ctx)
		client := &http.Client{Transport: tagged{}}
		transform := httprc1.TransformFunc(func(string, *http.Response) (any, error) { return theDocument, nil })
		for i := range n {
			u := docURL(i)
			if err := c.Register(u, httprc1.WithHTTPClient(client), httprc1.WithTransformer(transform)); err != nil {
				cancel()
				return nil, err
			}
			if _, err := c.Get(ctx, u); err != nil {
				cancel()
				return nil, err
			}
		}
		return closer(func() error {
			cancel()
			runtime.KeepAlive(c)
			return nil
		}), nil
	})
}

var transformNothing = httprc3.TransformFunc[*document](decodeNothing)

func idleV3(ctx context.Context, n int, span time.Duration) (sample, error) {
	return idling(ctx, n, span, func() (io.Closer, error) {
		ctrl, err := httprc3.NewClient(httprc3.WithHTTPClient(&http.Client{Transport: tagged{}})).Start(ctx)
		if err != nil {
			return nil, err
		}
		end := closer(func() error { return ctrl.Shutdown(closeWait) })
		for i := range n {
			r, err := httprc3.NewResource(docURL(i), transformNothing)
			if err != nil {
				return nil, errors.Join(err, end())
			}
			if err := ctrl.Add(ctx, r); err != nil {
				return nil, errors.Join(err, end())
			}
		}
		return end, nil
	})
}

// idleV3Map keeps resources of v3 in such a map as its controller has: the controller
// itself takes minutes for ten thousand.
func idleV3Map(ctx context.Context, n int, span time.Duration) (sample, error) {
	return idling(ctx, n, span, func() (io.Closer, error) {
		client := httprc3.WithHTTPClient(&http.Client{Transport: tagged{}})
		items := make(map[string]httprc3.Resource)
		for i := range n {
			r, err := httprc3.NewResource(docURL(i), transformNothing, client)
			if err != nil {
				return nil, err
			}
			if err := r.Sync(ctx); err != nil {
				return nil, err
			}
			items[r.URL()] = r
		}
		return closer(func() error {
			runtime.KeepAlive(items)
			return nil
		}), nil
	})
}
