package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// tables returns the tables of all groups.
func tables(runs map[string]*groupRun) string {
	var b strings.Builder
	for _, g := range groups {
		runs[g.name].table(&b)
	}
	return b.String()
}

// table writes the table of a group.
func (r *groupRun) table(b *strings.Builder) {
	g := r.group
	var head []string
	for i, m := range g.shown {
		head = append(head, m.column)
		if i == 0 && g.per != "" {
			head = append(head, "× "+g.per)
		}
	}
	fmt.Fprintf(b, "\n### %s\n\n%s\n\n| | %s | verdict |\n|---|%s---|\n",
		g.title, g.note, strings.Join(head, " | "), strings.Repeat("--:|", len(head)))
	for _, row := range g.rows {
		fmt.Fprintf(b, "| %s |", row.label)
		for i, m := range g.shown {
			fmt.Fprintf(b, " %s |", figure(r.median(row.name, m)))
			if i == 0 && g.per != "" {
				fmt.Fprintf(b, " %s |", figure(r.ratio(row.name, g.per, m)))
			}
		}
		fmt.Fprintf(b, " %s |\n", r.verdicts(row.name))
	}
	fmt.Fprintf(b, "\n%s\n", r.source())
}

// source says where and when the figures of r were measured.
func (r *groupRun) source() string {
	return fmt.Sprintf("%s; %s, GOMAXPROCS %s; %s; %s.",
		r.header["cpu"], r.header["go"], r.header["GOMAXPROCS"], r.header["peers"], r.header["date"])
}

// figure writes v with about three digits; nothing if it is not a number.
func figure(v float64) string {
	switch {
	case math.IsNaN(v):
		return ""
	case v == 0:
		return "0"
	case v < 0.1:
		return strconv.FormatFloat(v, 'f', 3, 64)
	case v < 10:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 100:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
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

// outcome states the bar, what was measured, and whether that meets it.
func (b bar) outcome(r *groupRun) string {
	v := b.measured(r)
	word := "met"
	if !b.met(v) {
		word = "**missed**"
	}
	return fmt.Sprintf("%s: %s, %s", b.text(), figure(v), word)
}

// verdict is a line on how runs meet the bar, and whether they do.
func (b bar) verdict(runs map[string]*groupRun) (string, bool) {
	r := runs[b.group]
	return fmt.Sprintf("%-8s %-14s %s", b.group, b.candidate, b.outcome(r)), b.met(b.measured(r))
}
