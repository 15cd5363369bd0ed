package main

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/everfresh-go/everfresh"
	httprc1 "github.com/lestrrat-go/httprc"
	httprc3 "github.com/lestrrat-go/httprc/v3"
)

var (
	firstColumns = []string{"s", "us/op"}
	firstTotal   = metric{name: "time", unit: " s", column: "s", of: field(0)}
	firstEach    = metric{name: "each", unit: " µs", column: "µs each", of: field(1)}
)

var firstProbes = map[string]probe{
	"everfresh-10k":  {run: firstEverfresh, n: 10_000},
	"everfresh-100k": {run: firstEverfresh, n: 100_000},
	"pool-10k":       {run: firstPool, n: 10_000},
	"pool-100k":      {run: firstPool, n: 100_000},
	"v1-10k":         {run: firstV1, n: 10_000},
	"v3-1k":          {run: firstV3, n: 1_000},
}

// firstWorkers is the number of concurrent requests.
const firstWorkers = 16

// firstValues returns what it takes fetch to get the documents with these URLs.
func firstValues(ctx context.Context, n int, fetch func(rs *refreshers, urls []string) error) (sample, error) {
	base, stop, err := startOrigin(ctx)
	if err != nil {
		return nil, err
	}
	rs := &refreshers{scale: scale{callers: firstWorkers}, base: base, closers: []func() error{stop}}
	urls := make([]string, n)
	for i := range urls {
		urls[i] = base + "/same/" + strconv.Itoa(i)
	}
	start := time.Now()
	err = fetch(rs, urls)
	took := time.Since(start)
	s := sample{took.Seconds(), float64(took.Nanoseconds()) / 1000 / float64(n)}
	return s, errors.Join(err, rs.close())
}

func firstEverfresh(ctx context.Context, n int, _ time.Duration) (sample, error) {
	return firstValues(ctx, n, func(rs *refreshers, urls []string) error {
		c := everfresh.NewCache(ctx, everfresh.WithWorkers(rs.callers), everfresh.WithMaxPerHost(rs.callers))
		rs.closers = append(rs.closers, c.Close)
		for _, u := range urls {
			if _, err := everfresh.Register(c, u, everfresh.Bytes()); err != nil {
				return err
			}
		}
		return c.Ready(ctx)
	})
}

func firstPool(ctx context.Context, n int, _ time.Duration) (sample, error) {
	return firstValues(ctx, n, func(rs *refreshers, urls []string) error {
		client, err := rs.client()
		if err != nil {
			return err
		}
		bodies := make([]atomic.Pointer[[]byte], n)
		return concurrently(rs.callers, n, n, func(i int) error {
			body, err := get(ctx, client, urls[i], "", http.StatusOK)
			bodies[i].Store(&body)
			return err
		})
	})
}

func firstV1(ctx context.Context, n int, _ time.Duration) (sample, error) {
	return firstValues(ctx, n, func(rs *refreshers, urls []string) error {
		client, err := rs.client()
		if err != nil {
			return err
		}
		c := httprc1.NewCache(ctx)
		for _, u := range urls {
			if err := c.Register(u, httprc1.WithHTTPClient(client)); err != nil {
				return err
			}
		}
		return concurrently(rs.callers, n, n, func(i int) error {
			_, err := c.Get(ctx, urls[i])
			return err
		})
	})
}

func firstV3(ctx context.Context, n int, _ time.Duration) (sample, error) {
	return firstValues(ctx, n, func(rs *refreshers, urls []string) error {
		client, err := rs.client()
		if err != nil {
			return err
		}
		ctrl, err := httprc3.NewClient(httprc3.WithWorkers(rs.callers), httprc3.WithHTTPClient(client)).Start(ctx)
		if err != nil {
			return err
		}
		rs.closers = append(rs.closers, func() error { return ctrl.Shutdown(closeWait) })
		handles := make([]*httprc3.ResourceBase[[]byte], n)
		for i, u := range urls {
			if handles[i], err = addV3(ctx, ctrl, u); err != nil {
				return err
			}
		}
		for _, r := range handles {
			if err := r.Ready(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}
