package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everfresh-go/everfresh"
)

var (
	lateColumns  = []string{"p50-ms", "p99-ms", "p99.9-ms", "op/s", "cpu-us/op", "switches/s"}
	late50       = metric{name: "p50", unit: " ms", column: "late p50 ms", of: field(0)}
	late99       = metric{name: "p99", unit: " ms", column: "p99 ms", of: field(1)}
	late999      = metric{name: "p99.9", unit: " ms", column: "p99.9 ms", of: field(2)}
	lateRate     = metric{name: "requests/s", column: "requests/s", more: true, of: field(3)}
	lateCPU      = metric{name: "processor time", unit: " µs", column: "CPU µs each", of: field(4)}
	lateSwitches = metric{name: "switches/s", column: "switches/s", of: field(5)}
)

const (
	lateInterval = 5 * time.Second
	lateSpan     = 6 * time.Second
	latePart     = 3_300 * 5 // of a million that is refreshed at this interval
)

var lateProbes = map[string]probe{
	"everfresh": {run: lateEverfresh, n: 1_000_000, span: lateSpan},
	"timers":    {run: lateTimers, n: 1_000_000, span: lateSpan},
}

// A lateness notes how late requests are.
type lateness struct {
	interval time.Duration // from request to request
	on       atomic.Bool   // while it counts

	mu   sync.Mutex
	next map[string]time.Time // when a resource is due; guarded by mu
	late []time.Duration      // guarded by mu
	lost int                  // reports; guarded by mu
}

// observe receives the events of a cache.
func (l *lateness) observe(ev everfresh.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.on.Load() {
		l.lost += ev.Dropped
		if ev.Err != nil {
			l.lost++
		}
		if due, ok := l.next[ev.Key]; ok {
			l.late = append(l.late, ev.Time.Add(-ev.Duration).Sub(due))
		}
	}
	if ev.Next.Sub(ev.Time) < 2*l.interval {
		l.next[ev.Key] = ev.Next
	}
}

// add notes one request.
func (l *lateness) add(late time.Duration) {
	if !l.on.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.late = append(l.late, late)
}

// dueOf returns how many of n are due within one interval.
func dueOf(n int) int { return max(n/1000*latePart/1000, 1) }

// spread starts n things evenly over one interval, waits until all have started again,
// and returns how late they are after that.
func (l *lateness) spread(ctx context.Context, n int, span time.Duration, start func(i int) error) (sample, error) {
	begin := time.Now()
	for i := range n {
		if err := pause(ctx, time.Until(begin.Add(l.interval*time.Duration(i)/time.Duration(n)))); err != nil {
			return nil, err
		}
		if err := start(i); err != nil {
			return nil, err
		}
	}
	used, err := since(func() error {
		l.on.Store(true)
		defer l.on.Store(false)
		return pause(ctx, span)
	})
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost > 0 {
		return nil, fmt.Errorf("%d reports lost, or of failures", l.lost)
	}
	return l.sampleLocked(used, span), nil
}

func (l *lateness) sampleLocked(used systemUsage, span time.Duration) sample {
	slices.Sort(l.late)
	n := len(l.late)
	quantile := func(q float64) float64 {
		if n == 0 {
			return 0
		}
		return 1000 * l.late[min(int(q*float64(n)), n-1)].Seconds()
	}
	return sample{
		quantile(0.5), quantile(0.99), quantile(0.999), float64(n) / span.Seconds(),
		1e6 * used.cpu.Seconds() / float64(max(n, 1)), used.switches / span.Seconds(),
	}
}

func lateEverfresh(ctx context.Context, n int, span time.Duration) (sample, error) {
	l := &lateness{interval: min(lateInterval, span), next: make(map[string]time.Time)}
	due := dueOf(n)
	c, err := filled(ctx, n-due, everfresh.WithObserver(l.observe))
	if err != nil {
		return nil, err
	}
	s, err := l.spread(ctx, due, span, func(i int) error {
		_, err := everfresh.Register(c, docURL(n+i), decodeNothing, everfresh.WithRefreshInterval(l.interval), everfresh.WithJitter(0))
		return err
	})
	return s, errors.Join(err, c.Close()) //nolint:contextcheck // Close takes none.
}

// lateTimers has the runtime's timers do it.
func lateTimers(ctx context.Context, n int, span time.Duration) (sample, error) {
	l := &lateness{interval: min(lateInterval, span)}
	client := &http.Client{Transport: tagged{}}
	due := dueOf(n)
	timers := make([]*time.Timer, 0, n)
	for range n - due {
		timers = append(timers, time.AfterFunc(day, func() {}))
	}
	fire := func(i int, at time.Time) {
		l.add(time.Since(at))
		if _, err := get(ctx, client, docURL(i), etagOf(i), http.StatusNotModified); err != nil {
			panic(err) // cannot be: the origin is part of this program
		}
	}
	s, err := l.spread(ctx, due, span, func(i int) error {
		at := time.Now().Add(l.interval)
		var timer *time.Timer
		armed := make(chan struct{})
		timer = time.AfterFunc(l.interval, func() {
			<-armed
			now := at
			at = at.Add(l.interval)
			timer.Reset(time.Until(at))
			fire(i, now)
		})
		close(armed)
		timers = append(timers, timer)
		return nil
	})
	for _, timer := range timers {
		timer.Stop()
	}
	return s, err
}
