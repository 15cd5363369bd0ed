package main

import (
	"fmt"
	"math"
	"strings"
)

// outcome says what was measured, the bar, and whether it is met.
func (b bar) outcome(r *groupRun) string {
	v := b.measured(r)
	return fmt.Sprintf("%s; bar: %s: %s", b.finding(r.group, v), b.limit(), b.word(v))
}

func (b bar) word(v float64) string {
	if !b.met(v) {
		return "**missed**"
	}
	return "met"
}

// finding says what was measured, of a candidate that the reader knows.
func (b bar) finding(g group, v float64) string {
	switch {
	case math.IsNaN(v):
		return b.metric.name + ": it did not happen"
	case b.over == "":
		return fmt.Sprintf("%s: %s", b.metric.name, b.metric.text(v)+b.metric.unit)
	case b.inverse():
		return fmt.Sprintf("%s times as fast as %s", figure(v), g.called(b.over))
	default:
		return fmt.Sprintf("%s times the %s of %s", figure(v), b.metric.name, g.called(b.over))
	}
}

// limit states the bar.
func (b bar) limit() string {
	switch {
	case b.metric.yes:
		return b.metric.text(b.least)
	case b.least > 0:
		return fmt.Sprintf("at least %g", b.least)
	case b.most == 0:
		return "0"
	case b.over == "":
		return fmt.Sprintf("at most %g%s", b.most, b.metric.unit)
	default:
		return fmt.Sprintf("at most %g", b.most)
	}
}

// inverse reports whether the bar is for how many times less the candidate takes.
func (b bar) inverse() bool { return b.over != "" && b.least > 0 && !b.metric.more }

// measured returns what the bar is held against.
func (b bar) measured(r *groupRun) float64 {
	switch {
	case b.over == "":
		return r.median(b.candidate, b.metric)
	case b.inverse():
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

// verdict is a line on how runs meet the bar, and whether they do.
func (b bar) verdict(runs map[string]*groupRun) (string, bool) {
	r := runs[b.group]
	return fmt.Sprintf("%s: %s: %s", b.group, r.group.called(b.candidate), b.outcome(r)), b.met(b.measured(r))
}

// verdicts states the bars of a candidate and how they were met.
func (r *groupRun) verdicts(candidate string) string {
	var all []string
	for _, b := range bars {
		if b.group == r.group.name && b.candidate == candidate {
			all = append(all, b.outcome(r))
		}
	}
	return strings.Join(all, "<br>")
}

// verdictsOn states the bars on a figure and whether they were met.
func (r *groupRun) verdictsOn(m metric) string {
	var all []string
	for _, b := range bars {
		if b.group == r.group.name && b.metric.name == m.name {
			all = append(all, fmt.Sprintf("bar: %s: %s", b.limit(), b.word(b.measured(r))))
		}
	}
	return strings.Join(all, "<br>")
}

// called is what a candidate is called outside its row: its label up to a parenthesis.
func (g group) called(candidate string) string {
	for _, row := range g.rows {
		if row.name == candidate {
			title, _, _ := strings.Cut(row.label, " (")
			return title
		}
	}
	return candidate
}
