package main

import (
	"math"
	"strconv"
)

// A metric is a figure that is read from a sample.
type metric struct {
	name   string // as bars name it
	unit   string // of bars without another candidate
	column string // heading in a table
	more   bool   // more is better
	yes    bool   // 1 is yes, 0 is no
	whole  bool   // it is a whole number
	of     func(sample) float64
}

// text writes a figure of m.
func (m metric) text(v float64) string {
	switch {
	case m.whole && !math.IsNaN(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case !m.yes || math.IsNaN(v):
		return figure(v)
	case v > 0:
		return "yes"
	default:
		return "no"
	}
}

// field returns the i-th figure of a sample.
func field(i int) func(sample) float64 { return func(s sample) float64 { return s[i] } }

func itself(v float64) float64 { return v }

// Groups that run in slices have these columns.
var sliceColumns = []string{"ns/op", "allocs/op", "B/op", "cpu-us/op"}

var (
	timeMetric   = metric{name: "time", column: "ns/op", of: field(0)}
	allocsMetric = metric{name: "allocations", column: "allocs/op", of: field(1)}
	bytesMetric  = metric{name: "bytes", column: "B/op", of: field(2)}
	cpuMetric    = metric{name: "processor time", column: "CPU µs/op", of: field(3)}
	rateMetric   = metric{name: "requests/s", column: "requests/s", more: true, of: func(s sample) float64 { return 1e9 / s[0] }}
)
