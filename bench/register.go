package main

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"time"

	"github.com/everfresh-go/everfresh"
	httprc1 "github.com/lestrrat-go/httprc"
	httprc3 "github.com/lestrrat-go/httprc/v3"
)

var (
	registerColumns = []string{"s", "us/op"}
	registerTotal   = metric{name: "time", unit: " s", column: "s", of: field(0)}
	registerEach    = metric{name: "time for each", unit: " µs", column: "µs each", of: field(1)}
)

var registerProbes = map[string]probe{
	"everfresh-1k":   {run: registerEverfresh, n: 1_000},
	"everfresh-10k":  {run: registerEverfresh, n: 10_000},
	"everfresh-100k": {run: registerEverfresh, n: 100_000},
	"everfresh-1M":   {run: registerEverfresh, n: 1_000_000},
	"lazy-1M":        {run: registerLazy, n: 1_000_000},
	"v1-1k":          {run: registerV1, n: 1_000},
	"v1-10k":         {run: registerV1, n: 10_000},
	"v1-100k":        {run: registerV1, n: 100_000},
	"v3-1k":          {run: registerV3, n: 1_000},
	"v3-2k":          {run: registerV3, n: 2_000},
}

// docURLs returns the URLs of n documents.
func docURLs(n int) []string {
	urls := make([]string, n)
	for i := range urls {
		urls[i] = docURL(i)
	}
	return urls
}

// registering returns what it takes to register n documents with one call of register
// each.
func registering(n int, register func(url string) error) (sample, error) {
	urls := docURLs(n)
	runtime.GC()
	start := time.Now()
	for _, u := range urls {
		if err := register(u); err != nil {
			return nil, err
		}
	}
	took := time.Since(start)
	return sample{took.Seconds(), float64(took.Nanoseconds()) / 1000 / float64(n)}, nil
}

// A mute origin does not answer.
type mute struct{}

// RoundTrip implements http.RoundTripper.
func (mute) RoundTrip(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

func registerEverfresh(ctx context.Context, n int, _ time.Duration) (sample, error) {
	return registerWith(ctx, n)
}

func registerLazy(ctx context.Context, n int, _ time.Duration) (sample, error) {
	return registerWith(ctx, n, everfresh.WithPrefetch(false))
}

func registerWith(ctx context.Context, n int, opts ...everfresh.CacheOption) (sample, error) {
	opts = append(opts, everfresh.WithHTTPClient(&http.Client{Transport: mute{}}))
	c := everfresh.NewCache(ctx, opts...)
	decode := everfresh.Bytes()
	s, err := registering(n, func(u string) error {
		_, err := everfresh.Register(c, u, decode)
		return err
	})
	return s, errors.Join(err, c.Close()) //nolint:contextcheck // Close takes none.
}

func registerV1(ctx context.Context, n int, _ time.Duration) (sample, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // v1 offers nothing to wait for
	c := httprc1.NewCache(ctx)
	return registering(n, func(u string) error { return c.Register(u) })
}

func registerV3(ctx context.Context, n int, _ time.Duration) (sample, error) {
	ctrl, err := httprc3.NewClient(httprc3.WithHTTPClient(&http.Client{Transport: memory{}})).Start(ctx)
	if err != nil {
		return nil, err
	}
	s, err := registering(n, func(u string) error {
		_, err := addV3(ctx, ctrl, u)
		return err
	})
	return s, errors.Join(err, ctrl.Shutdown(closeWait))
}

// addV3 adds a resource and does not wait for its value.
func addV3(ctx context.Context, ctrl httprc3.Controller, url string) (*httprc3.ResourceBase[[]byte], error) {
	r, err := httprc3.NewResource(url, httprc3.BytesTransformer())
	if err != nil {
		return nil, err
	}
	return r, ctrl.Add(ctx, r, httprc3.WithWaitReady(false))
}
