package main

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"
)

// A finding is a row of the table of storms.
type finding struct {
	name        string // in the raw output
	label       string
	yes         bool // it is yes or no, not a number
	whole       bool // it is a whole number
	most, least float64
	open        bool // it has no bar
}

// findings has the bars for everfresh.
var findings = []finding{
	{name: "storm-fetches", label: "10,000 tokens with unknown keys, 64 at a time: fetches", whole: true, most: 2},
	{name: "storm-answered", label: "that storm: tokens answered within 5 s", whole: true, least: stormTokens},
	{name: "storm-s", label: "that storm: seconds until all are answered", open: true},
	{name: "storm-known", label: "that storm: known keys are used meanwhile and after it", yes: true, least: 1},
	{name: "storm-rotation-s", label: "a key published while unknown ones keep coming: seconds until it is used", most: 15},
	{name: "rotation", label: "a key published at rest: its first token is verified", yes: true, least: 1},
	{name: "rotation-again", label: "another one right after: its first token is verified", yes: true, least: 1},
	{name: "withdrawn", label: "a key withdrawn: refused after a refresh", yes: true, least: 1},
	{name: "conditional", label: "that refresh: a conditional request", yes: true, least: 1},
	{name: "oops", label: "a refresh answered by 200 with `{\"error\":\"oops\"}`: known keys stay", yes: true, least: 1},
	{name: "no-keys", label: "a refresh answered by 200 with `{\"keys\":[]}`: known keys stay", yes: true, least: 1},
	{name: "503", label: "a refresh answered by 503: known keys stay", yes: true, least: 1},
	{name: "akp", label: "a key of a new type, AKP, in the set: the others are used", yes: true, least: 1},
	{name: "huge", label: "a key set of 64 MiB: accepted", yes: true},
	{name: "huge-MiB", label: "a key set of 64 MiB: allocated for it, MiB", most: 4},
	{name: "redirect", label: "a redirect to another origin: followed", yes: true},
	{name: "start-s", label: "a start while the issuer answers 503 for 0.5 s: seconds from then until a token is verified", most: 1},
	{name: "refreshes", label: "64 refreshes at once: returned within 3 s", whole: true, least: refreshers64},
	{name: "refresh-fetches", label: "64 refreshes at once: fetches", whole: true, most: 2},
	{name: "refresh-alive", label: "64 refreshes at once: a key published after them is used within 15.5 s", yes: true, least: 1},
	{name: "hung-known", label: "a fetch that hangs: known keys are used meanwhile", yes: true, least: 1},
	{name: "hung-unknown", label: "a fetch that hangs: an unknown key is given up with the caller's context", yes: true, least: 1},
}

func stormColumns() []string {
	var columns []string
	for _, f := range findings {
		columns = append(columns, f.name)
	}
	return columns
}

func stormMetrics() []metric {
	var all []metric
	for i, f := range findings {
		all = append(all, metric{name: f.label, column: f.label, yes: f.yes, whole: f.whole, more: f.least > 0, of: field(i)})
	}
	return all
}

func stormBars() []bar {
	var bars []bar
	for i, m := range stormMetrics() {
		if f := findings[i]; !f.open {
			bars = append(bars, bar{group: "storms", candidate: "everfresh", metric: m, most: f.most, least: f.least})
		}
	}
	return bars
}

const (
	stormTokens  = 10_000
	stormLimit   = 10 * time.Second
	refreshers64 = 64
)

var stormProbes = map[string]probe{
	"everfresh":   stormProbe(openEverfresh),
	"jwx-refresh": stormProbe(openJWXRefreshing),
	"jwx":         stormProbe(openJWX),
	"keyfunc":     stormProbe(openKeyfunc),
	"oidc":        stormProbe(openOIDC),
}

func stormProbe(l library) probe {
	return probe{n: stormTokens, span: stormLimit, run: func(ctx context.Context, n int, span time.Duration) (sample, error) {
		t := &trial{library: l, tokens: n, limit: span, found: make(map[string]float64)}
		err := t.run(ctx)
		return t.sample(), err
	}}
}

// A trial observes the behaviour of a library.
type trial struct {
	library library
	tokens  int           // of the storm
	limit   time.Duration // of what may hang

	mu    sync.Mutex
	found map[string]float64 // by a finding's name; guarded by mu
}

func (t *trial) note(name string, v float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.found[name] = v
}

// sample returns what was found. What did not happen is not a number.
func (t *trial) sample() sample {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := make(sample, len(findings))
	for i, f := range findings {
		s[i] = math.NaN()
		if v, ok := t.found[f.name]; ok {
			s[i] = v
		}
	}
	return s
}

// run tries everything: first what is counted or timed, then the rest beside what mostly
// waits.
func (t *trial) run(ctx context.Context) error {
	if err := t.hugeSet(ctx); err != nil {
		return err
	}
	flooded, err := t.storm(ctx)
	if err != nil {
		return err
	}
	waiting := []func(context.Context) error{
		func(ctx context.Context) error { return t.rotationInStorm(ctx, flooded) },
		t.start, t.refreshStorm,
	}
	waited := make([]error, len(waiting))
	var wg sync.WaitGroup
	for i, try := range waiting {
		wg.Go(func() { waited[i] = try(ctx) })
	}
	var errs []error
	for _, try := range []func(context.Context) error{t.rotation, t.withdrawal, t.badAnswers, t.newType, t.redirect, t.hangs} {
		errs = append(errs, try(ctx))
	}
	wg.Wait()
	return errors.Join(append(errs, waited...)...)
}

// with runs try with a subject that has verified a token.
func (t *trial) with(ctx context.Context, try func(*subject) error) error {
	s, err := t.ready(ctx)
	if err != nil {
		return err
	}
	return errors.Join(try(s), s.close())
}

// seconds returns how long it takes until f reports true, and whether that is within d.
func seconds(ctx context.Context, d time.Duration, f func() bool) (float64, bool) {
	const often = 10 * time.Millisecond
	begin := time.Now()
	for time.Since(begin) < d {
		if f() {
			return time.Since(begin).Seconds(), true
		}
		if pause(ctx, often) != nil {
			break
		}
	}
	return 0, false
}
