package main

import (
	"fmt"
	"time"
)

var groups = []group{
	{
		name: "held", title: "A held handle",
		note: "1,000 handles in random order, one goroutine.",
		per:  "bare", slices: 31, slice: 2 * time.Millisecond, open: openHeld,
		rows: handleRows,
	},
	{
		name: "hot", title: "One handle, read again and again",
		note: "One goroutine. For information.",
		per:  "bare", slices: 15, slice: 2 * time.Millisecond, open: openHot,
		rows: handleRows,
	},
	{
		name: "parallel", title: "Held handles, read by every processor",
		note: "The handles of the first table, one goroutine a processor; the time is that of one goroutine's read. For information.",
		per:  "bare", slices: 15, slice: 2 * time.Millisecond, open: openParallel,
		rows: handleRows,
	},
	{
		name: "url", title: "By URL",
		note: "1,000 resources in random order, one goroutine; the caller's URL is another string than the registered one.",
		per:  "everfresh", slices: 31, slice: 2 * time.Millisecond, open: openByURL,
		rows: []row{
			{"map", "plain map, which must not be written meanwhile"},
			{"sync-map", "`sync.Map`"},
			{"everfresh", "everfresh `Cache.Get`"},
			{"everfresh-lookup", "everfresh `Lookup`, `Resource.Peek`"},
			{"everfresh-typed", "everfresh `Cache.Get` of a resource of the typed door"},
			{"v1", "httprc v1 `Cache.Get`"},
			{"v3", "httprc v3 `Controller.Lookup`, `Resource.Get`"},
		},
	},
	{
		name: "refresh", title: "A refresh",
		note: "200 resources of 1,600 bytes over loopback HTTP, 16 callers at once; the origin is another process. What counts is the processor time of the client.",
		per:  "v3", cpu: true, slices: 9, slice: 80 * time.Millisecond, open: openRefresh,
		rows: []row{
			{"loop-304", "bare net/http loop, 304"},
			{"everfresh-304", "everfresh `Resource.Refresh`, 304"},
			{"scheduled-304", "the same by schedule, nobody waits, 304"},
			{"loop-200", "bare net/http loop, 200"},
			{"everfresh-200", "everfresh `Resource.Refresh`, 200"},
			{"scheduled-200", "the same by schedule, nobody waits, 200"},
			{"v3", "httprc v3 `Controller.Refresh`, 200 (it sends no conditional requests)"},
		},
	},
}

var handleRows = []row{
	{"bare", "bare `atomic.Pointer` load"},
	{"peek", "everfresh `Resource.Peek`"},
	{"get", "everfresh `Resource.Get`"},
	{"v3-resource", "httprc v3 `Resource` (no context, no error)"},
	{"v3-get", "httprc v3 `Get(&v)`"},
}

// A bar is what a figure of one candidate has to be, compared with another's.
type bar struct {
	group     string
	candidate string
	metric    metric
	over      string  // the other candidate; "" for a bar without one
	most      float64 // the bar, unless least is set
	least     float64 // a bar for over's figure by candidate's: how many times faster
}

var bars = []bar{
	{group: "held", candidate: "peek", metric: timeMetric, over: "bare", most: 1.5},
	{group: "held", candidate: "peek", metric: allocsMetric},
	{group: "held", candidate: "get", metric: timeMetric, over: "bare", most: 4},
	{group: "held", candidate: "get", metric: timeMetric, over: "v3-resource", most: 2.5},
	{group: "held", candidate: "get", metric: allocsMetric},
	{group: "url", candidate: "everfresh", metric: timeMetric, over: "sync-map", most: 0.75},
	{group: "url", candidate: "everfresh", metric: timeMetric, over: "v1", least: 4},
	{group: "url", candidate: "everfresh", metric: timeMetric, over: "v3", least: 50},
	{group: "url", candidate: "everfresh", metric: allocsMetric},
	{group: "refresh", candidate: "everfresh-304", metric: cpuMetric, over: "v3", most: 0.55},
	{group: "refresh", candidate: "everfresh-200", metric: cpuMetric, over: "v3", most: 0.70},
	{group: "refresh", candidate: "scheduled-304", metric: cpuMetric, over: "v3", most: 0.55},
	{group: "refresh", candidate: "scheduled-200", metric: cpuMetric, over: "v3", most: 0.70},
}

// A metric is one of the figures of a sample.
type metric struct {
	name string
	of   func(sample) float64
}

var (
	timeMetric   = metric{"time", func(s sample) float64 { return s.ns }}
	allocsMetric = metric{"allocations", func(s sample) float64 { return s.allocs }}
	cpuMetric    = metric{"processor time", func(s sample) float64 { return s.cpu }}
)

// text states the bar.
func (b bar) text() string {
	switch {
	case b.over == "":
		return fmt.Sprintf("%s = %g", b.metric.name, b.most)
	case b.least > 0:
		return fmt.Sprintf("%s ≥ %g × faster", b.over, b.least)
	default:
		return fmt.Sprintf("≤ %g × %s", b.most, b.over)
	}
}

// measured returns what the bar is held against.
func (b bar) measured(r *groupRun) float64 {
	switch {
	case b.over == "":
		return r.median(b.candidate, b.metric)
	case b.least > 0:
		return r.ratio(b.over, b.candidate, b.metric)
	default:
		return r.ratio(b.candidate, b.over, b.metric)
	}
}

// met reports whether a measured figure meets the bar. One that is not a number does not.
func (b bar) met(v float64) bool {
	if b.least > 0 {
		return v >= b.least
	}
	return v <= b.most
}
