package main

import (
	"slices"
	"time"
)

// groups are in the order of the tables.
var groups = slices.Concat(cacheGroups, keyGroups)

var cacheGroups = []group{
	{
		name: "held", title: "A held handle",
		note: "1,000 handles in random order, one goroutine.",
		per:  "bare", columns: sliceColumns, shown: readMetrics, rows: handleRows,
		slices: 31, slice: 2 * time.Millisecond, open: openHeld,
	},
	{
		name: "hot", title: "One handle, read again and again",
		note: "One goroutine. For information.",
		per:  "bare", columns: sliceColumns, shown: readMetrics, rows: handleRows,
		slices: 15, slice: 2 * time.Millisecond, open: openHot,
	},
	{
		name: "parallel", title: "Held handles, read by every processor",
		note: "The handles of the first table, one goroutine per processor; the time is that of one goroutine's read. For information.",
		per:  "bare", columns: sliceColumns, shown: readMetrics, rows: handleRows,
		slices: 15, slice: 2 * time.Millisecond, open: openParallel,
	},
	{
		name: "url", title: "By URL",
		note: "1,000 resources in random order, one goroutine; the caller's URL is a different string than the registered one.",
		per:  "everfresh", columns: sliceColumns, shown: readMetrics,
		slices: 31, slice: 2 * time.Millisecond, open: openByURL,
		rows: []row{
			{"map", "plain map (without concurrent writes)"},
			{"sync-map", "`sync.Map`"},
			{"everfresh", "everfresh `Cache.Get`"},
			{"everfresh-lookup", "everfresh `Lookup`, `Resource.Peek`"},
			{"everfresh-typed", "everfresh `Cache.Get` of a resource of the typed API"},
			{"otter", "otter `GetIfPresent`"},
			{"otter-refresh", "otter `Get` with refreshing"},
			{"sturdyc", "sturdyc `Get` with early refreshes"},
			{"v1", "httprc v1 `Cache.Get`"},
			{"v3", "httprc v3 `Controller.Lookup`, `Resource.Get`"},
		},
	},
	{
		name: "url-1M", title: "By URL, of a million",
		note: "1,000,000 resources in random order, one goroutine: the figure depends on how often the processor waits for memory.",
		per:  "everfresh", columns: sliceColumns, shown: readMetrics,
		rounds: 3, slices: 1, slice: 100 * time.Millisecond, open: openByURLOfMany,
		rows: []row{
			{"map", "plain map (without concurrent writes)"},
			{"sync-map", "`sync.Map`"},
			{"everfresh", "everfresh `Cache.Get`"},
			{"otter-refresh", "otter `Get` with refreshing"},
		},
	},
	{
		name: "refresh", title: "A refresh",
		note: "200 resources of 1,600 bytes over loopback HTTP, 16 callers at once; the origin is another process. The figure that counts is the processor time of the client; the requests per second are those of client and origin on the same processors.",
		per:  "v3", columns: sliceColumns, shown: []metric{cpuMetric, rateMetric, allocsMetric, bytesMetric},
		slices: 9, slice: 80 * time.Millisecond, open: openRefresh,
		rows: []row{
			{"loop-304", "bare net/http loop, 304"},
			{"bounded-304", "bare net/http loop with time limits, on a goroutine of its own, 304"},
			{"everfresh-304", "everfresh `Resource.Refresh`, 304"},
			{"scheduled-304", "everfresh by schedule, no caller waits, 304"},
			{"loop-200", "bare net/http loop, 200"},
			{"bounded-200", "bare net/http loop with time limits, on a goroutine of its own, 200"},
			{"everfresh-200", "everfresh `Resource.Refresh`, 200"},
			{"scheduled-200", "everfresh by schedule, no caller waits, 200"},
			{"v3", "httprc v3 `Controller.Refresh`, 200 (it sends no conditional requests)"},
		},
	},
	{
		name: "queue", title: "The queue of deadlines",
		note:    "One goroutine. Each item is an entry of the cache, as large as it is there; container/heap does the same with the same items.",
		columns: queueColumns, shown: []metric{timeMetric, queueItem}, rounds: 3, test: testQueue, rows: queueRows(),
	},
	{
		name: "register", title: "Registering",
		note:    "One goroutine, an origin without a network. everfresh's origin does not answer before the end, so that only registering is measured, without the fetches that it starts.",
		columns: registerColumns, shown: []metric{registerTotal, registerEach}, rounds: 3, probes: registerProbes,
		rows: []row{
			{"everfresh-1k", "everfresh `Register`, 1,000"},
			{"everfresh-10k", "everfresh `Register`, 10,000"},
			{"everfresh-100k", "everfresh `Register`, 100,000"},
			{"everfresh-1M", "everfresh `Register`, 1,000,000"},
			{"lazy-1M", "everfresh `Register` with `WithPrefetch(false)`, 1,000,000"},
			{"v1-1k", "httprc v1 `Cache.Register`, 1,000 (it fetches nothing)"},
			{"v1-10k", "httprc v1 `Cache.Register`, 10,000"},
			{"v1-100k", "httprc v1 `Cache.Register`, 100,000"},
			{"v3-1k", "httprc v3 `NewResource`, `Controller.Add` that does not wait, 1,000"},
			{"v3-2k", "httprc v3 `NewResource`, `Controller.Add` that does not wait, 2,000"},
		},
	},
	{
		name: "first", title: "First values",
		note:    "From the first call until all have a value of 1,600 bytes, over loopback HTTP from another process, 16 workers. httprc is measured with sizes that it completes within seconds; v1 has three workers, and its cache has no option for more.",
		columns: firstColumns, shown: []metric{firstTotal, firstEach}, rounds: 2, probes: firstProbes,
		rows: []row{
			{"pool-10k", "16 goroutines with `net/http`, 10,000"},
			{"everfresh-10k", "everfresh `Register`, `Cache.Ready`, 10,000"},
			{"pool-100k", "16 goroutines with `net/http`, 100,000"},
			{"everfresh-100k", "everfresh `Register`, `Cache.Ready`, 100,000"},
			{"v1-10k", "httprc v1 `Register`, `Get` by 16 goroutines, 10,000"},
			{"v3-1k", "httprc v3 `Add` that does not wait, `Ready`, 1,000"},
		},
	},
	{
		name: "warm", title: "A restart",
		note:    "A cache with 100,000 resources of 1,600 bytes and a storage in memory: cold, when the storage is empty and all values come from the origin; warm, when an earlier cache has filled it and the origin is down. The Get is for the resource that was registered last, while all others wait for their records, too.",
		columns: restartColumns, shown: []metric{restartRegistered, restartFirstGet, restartAll}, rounds: 3, probes: restartProbes,
		rows: []row{
			{"cold-100k", "cold"},
			{"warm-100k", "warm, origin down"},
		},
	},
	{
		name: "idle", title: "Doing nothing",
		note:    "One process for each line, in which all resources have a value and none is due within hours; the value itself takes no memory. The heap includes URL, validators and the index. A collection is a full, forced one. A switch is the wake-up of a thread of the process.",
		columns: idleColumns, shown: []metric{idleHeap, idleGoroutines, idleCPU, idleSwitches, idleGC, idleGCCPU}, rounds: 1, probes: idleProbes,
		rows: []row{
			{"nothing", "a process that sleeps"},
			{"everfresh-1k", "everfresh, 1,000"},
			{"everfresh-100k", "everfresh, 100,000"},
			{"everfresh-1M", "everfresh, 1,000,000"},
			{"v1-10k", "httprc v1, 10,000"},
			{"v3-1k", "httprc v3 with its controller, 1,000"},
			{"v3-100k", "httprc v3 without its controller, 100,000 (`NewResource`, `Sync`, and a map from URL to it as in the controller)"},
		},
	},
	{
		name: "late", title: "A million registered, thousands due",
		note:    "1,000,000 registered, of which so many are refreshed every five seconds that about 3,300 are due in each; the origin answers at once, without a network. Late is the time from when a request was due until it was sent. The processor time is that of the whole process, including exchanges and measuring.",
		columns: lateColumns, shown: []metric{late50, late99, late999, lateRate, lateCPU, lateSwitches}, rounds: 1, probes: lateProbes,
		rows: []row{
			{"everfresh", "everfresh"},
			{"timers", "`time.AfterFunc` for each (it makes a bare request)"},
		},
	},
	{
		name: "burst", title: "A million equal deadlines",
		note:    "Registered within a second, all with the same max-age of one cycle, in virtual time. Requests that the origin receives per second, without the first values, which come at once.",
		columns: burstColumns, shown: []metric{burstPeak, burstMean, burstRatio}, rounds: 1, test: testBurst,
		rows: []row{
			{"first", "first cycle"},
			{"second", "second cycle"},
		},
	},
}

// A row is a candidate as the table names it.
type row struct{ name, label string }

var readMetrics = []metric{timeMetric, allocsMetric, bytesMetric}

var handleRows = []row{
	{"bare", "bare `atomic.Pointer` load"},
	{"peek", "everfresh `Resource.Peek`"},
	{"get", "everfresh `Resource.Get`"},
	{"v3-resource", "httprc v3 `Resource` (no context, no error)"},
	{"v3-get", "httprc v3 `Get(&v)`"},
}
