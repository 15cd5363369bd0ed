package main

import "slices"

// A bar is what a figure of one candidate has to be, by itself or compared with another's.
type bar struct {
	group     string
	candidate string
	metric    metric
	over      string  // the other candidate; "" for a bar without one
	most      float64 // the bar, unless least is set
	least     float64 // of a figure of which more is better, or of how many times less than over it is
}

// bars are all of them. README.md says why those are missed that are.
var bars = slices.Concat(cacheBars, keyBars)

var cacheBars = []bar{
	{group: "held", candidate: "peek", metric: timeMetric, over: "bare", most: 1.5},
	{group: "held", candidate: "peek", metric: allocsMetric},
	{group: "held", candidate: "get", metric: timeMetric, over: "bare", most: 4},
	{group: "held", candidate: "get", metric: timeMetric, over: "v3-resource", most: 2.5},
	{group: "held", candidate: "get", metric: allocsMetric},

	{group: "url", candidate: "everfresh", metric: timeMetric, over: "sync-map", most: 0.75},
	{group: "url", candidate: "everfresh", metric: timeMetric, over: "otter-refresh", most: 0.45},
	{group: "url", candidate: "everfresh", metric: timeMetric, over: "sturdyc", most: 0.25},
	{group: "url", candidate: "everfresh", metric: timeMetric, over: "v1", least: 4},
	{group: "url", candidate: "everfresh", metric: timeMetric, over: "v3", least: 50},
	{group: "url", candidate: "everfresh", metric: allocsMetric},
	{group: "url-1M", candidate: "everfresh", metric: timeMetric, over: "sync-map", most: 0.65},
	{group: "url-1M", candidate: "everfresh", metric: timeMetric, over: "otter-refresh", most: 0.55},
	{group: "url-1M", candidate: "everfresh", metric: allocsMetric},

	{group: "refresh", candidate: "everfresh-304", metric: cpuMetric, over: "v3", most: 0.55},
	{group: "refresh", candidate: "everfresh-304", metric: cpuMetric, over: "loop-304", most: 1.15},
	{group: "refresh", candidate: "everfresh-304", metric: rateMetric, over: "v3", least: 1.6},
	{group: "refresh", candidate: "everfresh-200", metric: cpuMetric, over: "v3", most: 0.70},
	{group: "refresh", candidate: "everfresh-200", metric: cpuMetric, over: "loop-200", most: 1.15},
	{group: "refresh", candidate: "everfresh-200", metric: rateMetric, over: "v3", least: 1.3},
	{group: "refresh", candidate: "scheduled-304", metric: cpuMetric, over: "v3", most: 0.55},
	{group: "refresh", candidate: "scheduled-304", metric: cpuMetric, over: "loop-304", most: 1.15},
	{group: "refresh", candidate: "scheduled-304", metric: rateMetric, over: "v3", least: 1.6},
	{group: "refresh", candidate: "scheduled-200", metric: cpuMetric, over: "v3", most: 0.70},
	{group: "refresh", candidate: "scheduled-200", metric: cpuMetric, over: "loop-200", most: 1.15},
	{group: "refresh", candidate: "scheduled-200", metric: rateMetric, over: "v3", least: 1.3},

	{group: "queue", candidate: "pop-push/everfresh/1000000", metric: timeMetric, over: "pop-push/container-heap/1000000", most: 0.35},
	{group: "queue", candidate: "pop-push/everfresh/1000000", metric: timeMetric, over: "pop-push/everfresh/1000", most: 4},
	{group: "queue", candidate: "pop-push/everfresh/1000000", metric: queueItem, most: 20},
	{group: "queue", candidate: "reschedule/everfresh/1000000", metric: timeMetric, over: "reschedule/container-heap/1000000", most: 0.45},
	{group: "queue", candidate: "remove-insert/everfresh/1000000", metric: timeMetric, over: "remove-insert/container-heap/1000000", most: 0.45},

	{group: "register", candidate: "everfresh-1M", metric: registerTotal, most: 2},
	{group: "register", candidate: "everfresh-1M", metric: registerEach, over: "everfresh-1k", most: 3},
	{group: "first", candidate: "everfresh-10k", metric: firstTotal, over: "pool-10k", most: 1.5},
	{group: "first", candidate: "everfresh-100k", metric: firstTotal, over: "pool-100k", most: 1.5},

	{group: "idle", candidate: "everfresh-1M", metric: idleHeap, over: "v3-100k", most: 0.70},
	{group: "idle", candidate: "everfresh-1M", metric: idleGoroutines, over: "everfresh-1k", most: 1},
	{group: "idle", candidate: "everfresh-1M", metric: idleCPU, most: 0.1},
	{group: "idle", candidate: "everfresh-1M", metric: idleSwitches, over: "nothing", most: 1.5},
	{group: "late", candidate: "everfresh", metric: late99, most: 11},
	{group: "late", candidate: "everfresh", metric: lateCPU, over: "timers", most: 0.5},
	{group: "burst", candidate: "second", metric: burstRatio, most: 2.5},
}
