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
	fmt.Fprintf(b, "\n### %s\n\n%s\n\n", r.group.title, r.group.note)
	if r.group.across {
		r.across(b)
	} else {
		r.down(b)
	}
	fmt.Fprintf(b, "\n%s\n", r.source())
}

// down writes a table with a row for each candidate.
func (r *groupRun) down(b *strings.Builder) {
	g := r.group
	var head []string
	for i, m := range g.shown {
		head = append(head, m.column)
		if i == 0 && g.per != "" {
			head = append(head, "× "+g.per)
		}
	}
	fmt.Fprintf(b, "| | %s | verdict |\n|---|%s---|\n",
		strings.Join(head, " | "), strings.Repeat("--:|", len(head)))
	for _, row := range g.rows {
		fmt.Fprintf(b, "| %s |", row.label)
		for i, m := range g.shown {
			fmt.Fprintf(b, " %s |", m.text(r.median(row.name, m)))
			if i == 0 && g.per != "" {
				fmt.Fprintf(b, " %s |", figure(r.ratio(row.name, g.base(row.name), m)))
			}
		}
		fmt.Fprintf(b, " %s |\n", r.verdicts(row.name))
	}
}

// across writes a table with a column for each candidate.
func (r *groupRun) across(b *strings.Builder) {
	var head []string
	for _, row := range r.group.rows {
		head = append(head, row.label)
	}
	fmt.Fprintf(b, "| | %s | verdict |\n|---|%s---|\n", strings.Join(head, " | "), strings.Repeat("--:|", len(head)))
	for _, m := range r.group.shown {
		fmt.Fprintf(b, "| %s |", m.column)
		for _, row := range r.group.rows {
			fmt.Fprintf(b, " %s |", m.text(r.median(row.name, m)))
		}
		fmt.Fprintf(b, " %s |\n", r.verdictsOn(m))
	}
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
