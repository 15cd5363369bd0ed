package main

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everfresh-go/everfresh"
)

// openScheduled adds refreshes that no caller waits for: the interval is so short that all
// resources are always due, and a gate lets through as many fetches as are to be
// measured.
func (rs *refreshers) openScheduled(ctx context.Context, name, kind string, happened func(old, now *snapshot) bool) error {
	const always = time.Millisecond
	g := newGate(rs.callers)
	c := everfresh.NewCache(ctx,
		everfresh.WithWorkers(rs.callers), everfresh.WithMaxPerHost(rs.callers), everfresh.WithMiddleware(g.wrap),
		everfresh.WithRefreshInterval(always), everfresh.WithRefreshWindow(always), everfresh.WithJitter(0))
	rs.closers = append(rs.closers, c.Close)
	handles, err := rs.register(c, kind)
	if err != nil {
		return err
	}
	if err := g.pass(ctx, 2*rs.origin); err != nil { // each resource at least once
		return err
	}
	if err := c.Ready(ctx); err != nil {
		return err
	}
	rs.candidates = append(rs.candidates, candidate{
		name: name, ops: rs.origin, all: rs.origin, check: changes(handles[0], happened),
		run: func(passes int) error { return g.pass(ctx, passes*rs.origin) },
	})
	return nil
}

// A gate lets fetches through by number.
type gate struct {
	workers int          // that come to the gate
	left    atomic.Int64 // fetches to let through; may fall below 0

	mu      sync.Mutex
	waiting int           // workers at the gate; guarded by mu
	opened  chan struct{} // closed when it opens; guarded by mu
	idle    chan struct{} // capacity 1: all workers wait, so what was let through has ended
}

func newGate(workers int) *gate {
	return &gate{workers: workers, opened: make(chan struct{}), idle: make(chan struct{}, 1)}
}

func (g *gate) wrap(next everfresh.Fetcher) everfresh.Fetcher {
	return everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
		for g.left.Add(-1) < 0 {
			if err := g.wait(req.Context()); err != nil {
				return nil, err
			}
		}
		return next.Fetch(req)
	})
}

// wait waits until the gate opens.
func (g *gate) wait(ctx context.Context) error {
	g.mu.Lock()
	if g.left.Load() > 0 {
		g.mu.Unlock()
		return nil
	}
	opened := g.opened
	if g.waiting++; g.waiting == g.workers {
		g.idle <- struct{}{}
	}
	g.mu.Unlock()
	select {
	case <-opened:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pass lets n fetches through and waits until they have been dealt with.
func (g *gate) pass(ctx context.Context, n int) error {
	g.mu.Lock()
	g.left.Store(int64(n))
	g.waiting = 0
	close(g.opened)
	g.opened = make(chan struct{})
	g.mu.Unlock()
	select {
	case <-g.idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
