package main

import (
	"fmt"
	"strings"
)

// A scaleRow is a line of the table in docs/scale.md: a figure at each of its sizes.
type scaleRow struct {
	label  string
	group  string
	of     [3]string // the candidate at each size; "" where it is not measured
	metric metric
	times  [3]float64 // what the figure is multiplied by
	many   string     // the group of the last size, if it is another
}

var (
	scaleSizes = [3]float64{1_000, 100_000, 1_000_000}
	once       = [3]float64{1, 1, 1}
	megabytes  = [3]float64{scaleSizes[0] / 1e6, scaleSizes[1] / 1e6, scaleSizes[2] / 1e6}
	// hourly turns µs for one into percent of a core for all of them once an hour.
	hourly = [3]float64{scaleSizes[0] / 3600 / 1e4, scaleSizes[1] / 3600 / 1e4, scaleSizes[2] / 3600 / 1e4}
	// The cost of one refresh does not depend on how many there are.
	scheduled   = [3]string{"scheduled-304", "scheduled-304", "scheduled-304"}
	everfreshes = [3]string{"everfresh-1k", "everfresh-100k", "everfresh-1M"}
)

var scaleRows = []scaleRow{
	{"`Register` of all, s", "register", everfreshes, registerTotal, once, ""},
	{"`Register`, µs each", "register", everfreshes, registerEach, once, ""},
	{"First values of all over loopback, 16 workers, s", "first", [3]string{"", "everfresh-100k", ""}, firstTotal, once, ""},
	{"Heap per resource, without its value, B", "idle", everfreshes, idleHeap, once, ""},
	{"Heap of all, MB", "idle", everfreshes, idleHeap, megabytes, ""},
	{"Goroutines", "idle", everfreshes, idleGoroutines, once, ""},
	{"A full collection, ms", "idle", everfreshes, idleGC, once, ""},
	{"Its processor time, ms", "idle", everfreshes, idleGCCPU, once, ""},
	{"Nothing due: % of a core", "idle", everfreshes, idleCPU, once, ""},
	{"A refresh of one (304), µs of processor time", "refresh", scheduled, cpuMetric, once, ""},
	{"Each refreshed once an hour: % of a core, computed from that", "refresh", scheduled, cpuMetric, hourly, ""},
	{"Late at 3,300 refreshes per second, p99, ms", "late", [3]string{"", "", "everfresh"}, late99, once, ""},
	{"The queue: pop and push, ns", "queue", queueOf("everfresh"), timeMetric, once, ""},
	{"`Cache.Get` by URL, ns", "url", [3]string{"everfresh", "", "everfresh"}, timeMetric, once, "url-1M"},
}

// queueOf returns the candidates of the queue group that pop and push.
func queueOf(who string) [3]string {
	return [3]string{"pop-push/" + who + "/1000", "pop-push/" + who + "/100000", "pop-push/" + who + "/1000000"}
}

// scaleTables returns what docs/scale.md has from the raw output.
func scaleTables(runs map[string]*groupRun) string {
	var b strings.Builder
	b.WriteString("\n| | 1,000 | 100,000 | 1,000,000 |\n|---|--:|--:|--:|\n")
	for _, row := range scaleRows {
		fmt.Fprintf(&b, "| %s |", row.label)
		for i, candidate := range row.of {
			r := runs[row.group]
			if many := runs[row.many]; i == len(row.of)-1 && many != nil {
				r = many
			}
			text := ""
			if candidate != "" {
				text = figure(r.median(candidate, row.metric) * row.times[i])
			}
			fmt.Fprintf(&b, " %s |", text)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "\n%s\n", runs["idle"].source())
	for _, p := range plots(runs) {
		fmt.Fprintf(&b, "\n![%s](plots/%s)\n", p.title, p.file)
	}
	return b.String()
}

// plots returns the plots of docs/scale.md.
func plots(runs map[string]*groupRun) []plot {
	return append(linePlots(runs), barPlots(runs)...)
}

func linePlots(runs map[string]*groupRun) []plot {
	return []plot{
		{
			file: "register.svg", title: "Registering", x: "resources", y: "seconds for all of them", logX: true, logY: true,
			series: []series{
				lineOf(runs["register"], "everfresh", registerTotal, map[float64]string{1e3: "everfresh-1k", 1e4: "everfresh-10k", 1e5: "everfresh-100k", 1e6: "everfresh-1M"}),
				lineOf(runs["register"], "httprc v1 (fetches nothing)", registerTotal, map[float64]string{1e3: "v1-1k", 1e4: "v1-10k", 1e5: "v1-100k"}),
				lineOf(runs["register"], "httprc v3", registerTotal, map[float64]string{1e3: "v3-1k", 2e3: "v3-2k"}),
			},
		},
		{
			file: "collection.svg", title: "A full garbage collection", x: "resources", y: "milliseconds", logX: true, logY: true,
			series: []series{
				lineOf(runs["idle"], "by the clock", idleGC, scaleLine(everfreshes)),
				lineOf(runs["idle"], "processor time", idleGCCPU, scaleLine(everfreshes)),
			},
		},
		{
			file: "queue.svg", title: "The queue: pop one, push it again", x: "deadlines in the queue", y: "nanoseconds", logX: true,
			series: []series{
				lineOf(runs["queue"], "everfresh", timeMetric, scaleLine(queueOf("everfresh"))),
				lineOf(runs["queue"], "container/heap", timeMetric, scaleLine(queueOf("container-heap"))),
			},
		},
		{
			file: "burst.svg", title: "1,000,000 equal deadlines, spread", x: "seconds since all were registered (a cycle is 60)", y: "requests per second",
			series: []series{burstLineOf(runs["burst"])},
		},
	}
}

func barPlots(runs map[string]*groupRun) []plot {
	return []plot{
		{
			file: "heap.svg", title: "Heap per resource, without its value", x: "bytes",
			bars: []namedValue{
				barOf(runs["idle"], "everfresh, 1,000", "everfresh-1k", idleHeap),
				barOf(runs["idle"], "everfresh, 100,000", "everfresh-100k", idleHeap),
				barOf(runs["idle"], "everfresh, 1,000,000", "everfresh-1M", idleHeap),
				barOf(runs["idle"], "httprc v1, 10,000", "v1-10k", idleHeap),
				barOf(runs["idle"], "httprc v3 and a map, 100,000", "v3-100k", idleHeap),
			},
		},
		{
			file: "reads.svg", title: "A read by URL", x: "nanoseconds",
			bars: []namedValue{
				barOf(runs["url"], "map, 1,000", "map", timeMetric),
				barOf(runs["url"], "everfresh, 1,000", "everfresh", timeMetric),
				barOf(runs["url"], "sync.Map, 1,000", "sync-map", timeMetric),
				barOf(runs["url"], "otter, 1,000", "otter-refresh", timeMetric),
				barOf(runs["url-1M"], "map, 1,000,000", "map", timeMetric),
				barOf(runs["url-1M"], "everfresh, 1,000,000", "everfresh", timeMetric),
				barOf(runs["url-1M"], "sync.Map, 1,000,000", "sync-map", timeMetric),
				barOf(runs["url-1M"], "otter, 1,000,000", "otter-refresh", timeMetric),
			},
		},
		{
			file: "late.svg", title: "How late refreshes are, 1,000,000 registered, 3,300 due per second", x: "milliseconds",
			bars: []namedValue{
				barOf(runs["late"], "everfresh, p50", "everfresh", late50),
				barOf(runs["late"], "everfresh, p99", "everfresh", late99),
				barOf(runs["late"], "everfresh, p99.9", "everfresh", late999),
				barOf(runs["late"], "a timer each, p50", "timers", late50),
				barOf(runs["late"], "a timer each, p99", "timers", late99),
				barOf(runs["late"], "a timer each, p99.9", "timers", late999),
			},
		},
	}
}

// scaleLine gives candidates their sizes.
func scaleLine(of [3]string) map[float64]string {
	line := make(map[float64]string)
	for i, candidate := range of {
		line[scaleSizes[i]] = candidate
	}
	return line
}
