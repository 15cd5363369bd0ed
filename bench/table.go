package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// The tables of README.md stand between these lines.
const (
	beginTables = "<!-- tables: made by go run . -table, do not edit -->\n"
	endTables   = "<!-- end of tables -->\n"
)

// writeTables puts the tables of the raw output in dir into the file.
func writeTables(dir, file string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	text, err := withTables(string(old), dir)
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}

// withTables returns text with the tables of the raw output in dir.
func withTables(text, dir string) (string, error) {
	runs, err := readRaw(dir)
	if err != nil {
		return "", err
	}
	before, rest, ok := strings.Cut(text, beginTables)
	_, after, ok2 := strings.Cut(rest, endTables)
	if !ok || !ok2 {
		return "", fmt.Errorf("no place for the tables: it begins with %q and ends with %q", beginTables, endTables)
	}
	var b strings.Builder
	for _, g := range groups {
		runs[g.name].table(&b)
	}
	return before + beginTables + b.String() + "\n" + endTables + after, nil
}

// table writes the table of a group.
func (r *groupRun) table(b *strings.Builder) {
	g := r.group
	fmt.Fprintf(b, "\n### %s\n\n%s\n\n", g.title, g.note)
	unit, m := "ns/op", timeMetric
	if g.cpu {
		unit, m = "CPU µs/op", cpuMetric
	}
	fmt.Fprintf(b, "| | %s | × %s | allocs/op | B/op | verdict |\n|---|--:|--:|--:|--:|---|\n", unit, g.per)
	for _, row := range g.rows {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", row.label,
			figure(r.median(row.name, m)), figure(r.ratio(row.name, g.per, m)),
			figure(r.median(row.name, allocsMetric)),
			figure(r.median(row.name, metric{of: func(s sample) float64 { return s.bytes }})),
			r.verdicts(row.name))
	}
	fmt.Fprintf(b, "\n%s; %s, GOMAXPROCS %s; %s; %s.\n",
		r.header["cpu"], r.header["go"], r.header["GOMAXPROCS"], r.header["peers"], r.header["date"])
}

// figure writes v with about three digits.
func figure(v float64) string {
	switch {
	case v == 0:
		return "0"
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
