package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everfresh-go/everfresh"
	httprc3 "github.com/lestrrat-go/httprc/v3"
)

// refreshers are the candidates of the refresh group and what they need. Each has its
// own resources and its own connections.
type refreshers struct {
	scale
	base       string
	candidates []candidate
	closers    []func() error // run in reverse order
}

// openRefresh opens the candidates that refresh resources from an origin.
func openRefresh(ctx context.Context, sc scale) (*stage, error) {
	base, stop, err := startOrigin(ctx)
	if err != nil {
		return nil, err
	}
	rs := &refreshers{scale: sc, base: base, closers: []func() error{stop}}
	err = errors.Join(
		rs.openEverfresh(ctx, "everfresh-304", "same", confirmed),
		rs.openEverfresh(ctx, "everfresh-200", "new", replaced),
		rs.openScheduled(ctx, "scheduled-304", "same", confirmed),
		rs.openScheduled(ctx, "scheduled-200", "new", replaced),
		rs.openV3(ctx),
		rs.openLoop(ctx, "loop-304", "same", sameETag, http.StatusNotModified),
		rs.openLoop(ctx, "loop-200", "new", "", http.StatusOK),
		rs.openBounded(ctx, "bounded-304", "same", sameETag, http.StatusNotModified),
		rs.openBounded(ctx, "bounded-200", "new", "", http.StatusOK),
	)
	if err != nil {
		return nil, errors.Join(err, rs.close())
	}
	return &stage{candidates: rs.candidates, close: rs.close}, nil
}

func (rs *refreshers) close() error {
	var errs []error
	for _, end := range slices.Backward(rs.closers) {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}

func (rs *refreshers) url(kind string, i int) string {
	return rs.base + "/" + kind + "/" + strconv.Itoa(i)
}

// add adds a candidate whose refresh fetches the i-th resource.
func (rs *refreshers) add(name string, refresh func(i int) error, check func() error) {
	rs.candidates = append(rs.candidates, candidate{
		name: name, ops: rs.origin, all: rs.origin, check: check,
		run: func(passes int) error { return concurrently(rs.callers, passes*rs.origin, rs.origin, refresh) },
	})
}

// concurrently has callers goroutines call refresh n times in all, for one of the
// resources after the other.
func concurrently(callers, n, resources int, refresh func(i int) error) error {
	var next atomic.Int64
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for errs[caller] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				errs[caller] = refresh(i % resources)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// openEverfresh adds Resource.Refresh with the cache's own transport.
func (rs *refreshers) openEverfresh(ctx context.Context, name, kind string, happened func(old, now *snapshot) bool) error {
	c := everfresh.NewCache(ctx, everfresh.WithWorkers(rs.callers), everfresh.WithMaxPerHost(rs.callers))
	rs.closers = append(rs.closers, c.Close)
	handles, err := rs.register(c, kind)
	if err != nil {
		return err
	}
	if err := c.Ready(ctx); err != nil {
		return err
	}
	rs.add(name, func(i int) error { return handles[i].Refresh(ctx) }, changes(handles[0], happened))
	return nil
}

// register registers the resources with c.
func (rs *refreshers) register(c *everfresh.Cache, kind string) ([]*everfresh.Resource[[]byte], error) {
	handles := make([]*everfresh.Resource[[]byte], rs.origin)
	for i := range handles {
		var err error
		if handles[i], err = everfresh.Register(c, rs.url(kind, i), everfresh.Bytes()); err != nil {
			return nil, err
		}
	}
	return handles, nil
}

// changes returns a check that happened tells the present snapshot of r from the one of
// the last check.
func changes(r *everfresh.Resource[[]byte], happened func(old, now *snapshot) bool) func() error {
	last := r.Snapshot()
	return func() error {
		old := last
		last = r.Snapshot()
		if !happened(old, last) {
			return errors.New("the refreshes were not what they should be")
		}
		return nil
	}
}

type snapshot = everfresh.Snapshot[[]byte]

// confirmed reports whether the origin was asked and the value stayed.
func confirmed(old, now *snapshot) bool {
	return now.Version == old.Version && now.CheckedAt.After(old.CheckedAt) && len(now.Value) == bodySize
}

// replaced reports whether there is a new value.
func replaced(old, now *snapshot) bool {
	return now.Version > old.Version && string(now.Value) != string(old.Value) && len(now.Value) == bodySize
}

// openV3 adds Controller.Refresh, with as many workers and connections as the others
// have. It can wait forever when three times as many callers as it has workers ask at
// once; here there are as many as workers.
func (rs *refreshers) openV3(ctx context.Context) error {
	client, err := rs.client()
	if err != nil {
		return err
	}
	ctrl, err := httprc3.NewClient(httprc3.WithWorkers(rs.callers), httprc3.WithHTTPClient(client)).Start(ctx)
	if err != nil {
		return err
	}
	rs.closers = append(rs.closers, func() error { return ctrl.Shutdown(closeWait) })
	handles := make([]*httprc3.ResourceBase[[]byte], rs.origin)
	urls := make([]string, rs.origin)
	for i := range handles {
		urls[i] = rs.url("new", i)
		if handles[i], err = httprc3.NewResource(urls[i], httprc3.BytesTransformer()); err != nil {
			return err
		}
		if err = ctrl.Add(ctx, handles[i]); err != nil {
			return err
		}
	}
	last := handles[0].Resource()
	rs.add("v3", func(i int) error { return ctrl.Refresh(ctx, urls[i]) }, func() error {
		old := last
		last = handles[0].Resource()
		if string(last) == string(old) || len(last) != bodySize {
			return errors.New("the refreshes brought nothing new")
		}
		return nil
	})
	return nil
}

// openLoop adds requests without any cache. With an etag they are conditional.
func (rs *refreshers) openLoop(ctx context.Context, name, kind, etag string, want int) error {
	client, err := rs.client()
	if err != nil {
		return err
	}
	bodies := make([]atomic.Pointer[[]byte], rs.origin)
	rs.add(name, func(i int) error {
		body, err := get(ctx, client, rs.url(kind, i), etag, want)
		bodies[i].Store(&body)
		return err
	}, nil)
	return nil
}

// openBounded adds what any cache must do besides: an exchange ends in time, as does the
// wait for the head of its answer, and it runs on a goroutine that outlives an impatient
// caller.
func (rs *refreshers) openBounded(ctx context.Context, name, kind, etag string, want int) error {
	const whole, head = 30 * time.Second, 10 * time.Second // as everfresh has them
	client, err := rs.client()
	if err != nil {
		return err
	}
	t, ok := client.Transport.(*http.Transport)
	if !ok {
		return errors.New("the client has no *http.Transport")
	}
	t.ResponseHeaderTimeout = head
	bodies := make([]atomic.Pointer[[]byte], rs.origin)
	exchange := func(i int) error {
		ctx, cancel := context.WithTimeout(ctx, whole)
		defer cancel()
		body, err := get(ctx, client, rs.url(kind, i), etag, want)
		bodies[i].Store(&body)
		return err
	}
	rs.add(name, func(i int) error {
		done := make(chan error, 1)
		go func() { done <- exchange(i) }()
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}, nil)
	return nil
}

// get returns the body that url answers with.
func get(ctx context.Context, client *http.Client, url, etag string, want int) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		return nil, fmt.Errorf("status %d, want %d", resp.StatusCode, want)
	}
	return io.ReadAll(resp.Body)
}

// client returns a client with the settings of http.DefaultClient, but with a connection
// for every caller: with the two that it keeps for a host, most refreshes would have to
// make a new one.
func (rs *refreshers) client() (*http.Client, error) {
	std, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, errors.New("http.DefaultTransport is no *http.Transport")
	}
	t := std.Clone()
	t.MaxIdleConnsPerHost = rs.callers
	rs.closers = append(rs.closers, func() error {
		t.CloseIdleConnections()
		return nil
	})
	return &http.Client{Transport: t}, nil
}
