package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// A plainRoster prints a line for each event.
type plainRoster struct {
	*roster
	out io.Writer
}

func (*plainRoster) open() error { return nil }

func (v *plainRoster) show(time.Time) error {
	width := min(longest(v.names), 60)
	var b strings.Builder
	for _, ev := range v.take() {
		b.WriteString(eventLine(ev, width) + "\n")
	}
	return printText(v.out, b.String())
}

func (v *plainRoster) close(now time.Time) error { return v.show(now) }

// A liveRoster draws a table of the resources, and one of their hosts.
type liveRoster struct {
	*roster
	screen screen
	size   func() (width, height int)
	start  time.Time
	shown  rosterFrame // the last frame
}

func (v *liveRoster) open() error { return v.screen.open() }

func (v *liveRoster) show(now time.Time) error {
	list := v.entries()
	v.shown = rosterFrame{
		now: now, length: now.Sub(v.start), list: list, lanes: lanesOf(list, v.perHost), sum: v.totals(),
	}
	width, height := v.size()
	return v.screen.draw(v.shown.rows(width, height), width, height)
}

// close leaves the last table, whole, where the user sees it.
func (v *liveRoster) close(time.Time) error {
	width, _ := v.size()
	return v.screen.leave(v.shown.rows(width, len(v.shown.list)+len(v.shown.lanes)+chrome), width)
}

// A rosterFrame is what a liveRoster draws.
type rosterFrame struct {
	now    time.Time
	length time.Duration // since the start
	list   []entry
	lanes  []lane
	sum    totals
}

// chrome is how many rows are neither of a resource nor of a host.
const chrome = 5

// rows lays the frame out. What has no room is counted instead.
func (f *rosterFrame) rows(width, height int) []row {
	if f.list == nil {
		return nil // closed before it was ever shown
	}
	room := max(height-chrome, 2)
	laneRoom := min(len(f.lanes), max(room/4, 1))
	listRoom := max(room-laneRoom, 1)
	if spare := listRoom - len(f.list); spare > 0 {
		laneRoom = min(len(f.lanes), laneRoom+spare)
	}
	cols := f.columns(width)
	rows := []row{f.title(), nil, header(cols)}
	list, more := fit(len(f.list), listRoom)
	for _, e := range f.list[:list] {
		rows = append(rows, resourceRow(cols, e, f.now))
	}
	rows = appendMore(rows, more, "resources")
	rows = append(rows, nil, laneHeader(width))
	shown, more := fit(len(f.lanes), laneRoom)
	for _, l := range f.lanes[:shown] {
		rows = append(rows, l.row(width))
	}
	return appendMore(rows, more, "hosts")
}

// fit returns how many of n rows are shown in room, of which a last one counts the rest.
func fit(n, room int) (shown, more int) {
	if n <= room {
		return n, 0
	}
	shown = max(room-1, 0)
	return shown, n - shown
}

func appendMore(rows []row, more int, what string) []row {
	if more == 0 {
		return rows
	}
	return append(rows, row{{fmt.Sprintf(" and %d more %s", more, what), dim}})
}

func (f *rosterFrame) title() row {
	about := fmt.Sprintf("  %s  %s  new %d  unchanged %d  ", brief(f.length),
		plural(len(f.list), "resource", "resources"), f.sum.fetched, f.sum.unchanged)
	failed := span{fmt.Sprintf("failed %d", f.sum.failed), dim}
	if f.sum.failed > 0 {
		failed.style = red
	}
	r := row{{" everfresh watch", bold}, {about, dim}, failed}
	if f.sum.lost > 0 {
		r = append(r, span{fmt.Sprintf("  lost %d", f.sum.lost), red})
	}
	return r
}

// A column is a part of the table.
type column struct {
	title string
	width int // negative: to the left
	cell  func(e entry, now time.Time) span
}

// leastName is the least width of the names; a column that would leave less is left out.
const leastName = 16

// columns returns what a terminal has room for, the names first. The most important
// columns come first, and stay when it becomes narrow.
func (f *rosterFrame) columns(width int) []column {
	name := 0
	for _, e := range f.list {
		name = max(name, utf8.RuneCountInString(e.name))
	}
	room := width - 2 // the margin, and the last column, which stays free
	cols := []column{{title: "RESOURCE", cell: func(e entry, _ time.Time) span { return span{e.name, plain} }}}
	for _, c := range valueColumns {
		used := 2 + max(c.width, -c.width)
		if room-used < min(name, leastName) {
			break
		}
		room -= used
		cols = append(cols, c)
	}
	cols[0].width = -max(min(name, room), min(len("RESOURCE"), room))
	rest := room + cols[0].width - 2
	if len(cols) > len(valueColumns) && rest >= leastName {
		cols = append(cols, column{title: "BECAUSE", width: -rest, cell: becauseCell})
	}
	return cols
}

// valueColumns are the columns behind the name, the most important first.
var valueColumns = []column{
	{"STATE", -10, func(e entry, now time.Time) span {
		state := stateOf(e.status, now)
		return span{state, stateStyle[state]}
	}},
	{"NEXT", 6, func(e entry, now time.Time) span { return span{nextCell(e, now), plain} }},
	{"LAST", -7, func(e entry, _ time.Time) span { return span{e.last, answerStyle(e.last)} }},
	{"IN A ROW", 8, func(e entry, _ time.Time) span {
		s := failures(e.status.Failures, true)
		return span{strings.TrimSpace(s.text), s.style}
	}},
	{"AGE", 6, func(e entry, now time.Time) span { return span{ageCell(e, now), plain} }},
	{"BYTES", 8, func(e entry, _ time.Time) span {
		if !e.status.Ready {
			return span{"-", plain}
		}
		return span{bytesText(int64(e.status.Bytes)), plain}
	}},
}

// becauseCell says why the last refresh failed, or what decided how long the value is
// fresh.
func becauseCell(e entry, _ time.Time) span {
	if e.status.Err != nil {
		return span{printable(cause(e.status.Err)), red}
	}
	return span{printable(e.status.Freshness), dim}
}

func nextCell(e entry, now time.Time) string {
	switch {
	case e.status.Fetching:
		return "now"
	case e.status.Next.IsZero():
		return "-"
	default:
		return brief(e.status.Next.Sub(now))
	}
}

func ageCell(e entry, now time.Time) string {
	if !e.status.Ready {
		return "-"
	}
	return brief(now.Sub(e.status.CheckedAt) + e.status.Age)
}

func header(cols []column) row {
	var r row
	for _, c := range cols {
		r = append(r, c.span(span{c.title, dim}))
	}
	return indented(r)
}

func resourceRow(cols []column, e entry, now time.Time) row {
	var r row
	for _, c := range cols {
		r = append(r, c.span(c.cell(e, now)))
	}
	return indented(r)
}

// indented puts the columns apart.
func indented(columns row) row {
	var r row
	for i, s := range columns {
		gap := "  "
		if i == 0 {
			gap = " "
		}
		r = append(r, span{gap, plain}, s)
	}
	return r
}

// span makes s as wide as the column.
func (c column) span(s span) span {
	s.text = fmt.Sprintf("%*s", c.width, shorten(s.text, max(c.width, -c.width)))
	return s
}

// shorten leaves out the middle of s, as a URL says the most at its ends.
func shorten(s string, width int) string {
	runes := []rune(s)
	if len(runes) <= width {
		return s
	}
	if width < 8 {
		return cut(s, width)
	}
	head := (width - 1) / 2
	return string(runes[:head]) + "…" + string(runes[len(runes)-(width-1-head):])
}

func longest(list []string) int {
	n := 0
	for _, s := range list {
		n = max(n, utf8.RuneCountInString(s))
	}
	return n
}

// laneColumns is the layout of what a host has to do, behind its name.
const laneColumns = "  %8s  %7s  %7s  %6s"

// laneWidth is the width of laneColumns.
const laneWidth = 4*2 + 8 + 7 + 7 + 6

// narrowLane is the layout for a narrow terminal: fetching and total.
const narrowLane = "  %8s  %6s"

// narrowWidth is the width of narrowLane.
const narrowWidth = 2*2 + 8 + 6

func laneHeader(width int) row {
	name, wide := laneName("HOST", width)
	if !wide {
		return row{{name + fmt.Sprintf(narrowLane, "FETCHING", "TOTAL"), dim}}
	}
	return row{{name + fmt.Sprintf(laneColumns, "FETCHING", "WAITING", "FAILING", "TOTAL"), dim}}
}

// laneName makes a host's name as wide as there is room, and says whether there is room
// for laneColumns.
func laneName(name string, width int) (padded string, wide bool) {
	room := width - 2 - laneWidth
	wide = room >= leastName
	if !wide {
		room = max(width-2-narrowWidth, 1)
	}
	room = min(room, 40)
	return " " + fmt.Sprintf("%-*s", room, shorten(name, room)), wide
}

func (l lane) row(width int) row {
	name, wide := laneName(l.origin, width)
	number := func(n int) string { return fmt.Sprint(n) }
	if !wide {
		return row{{name, plain}, {fmt.Sprintf(narrowLane, number(l.fetching), number(l.total)), plain}}
	}
	failing := plain
	if l.failing > 0 {
		failing = red
	}
	return row{
		{name, plain},
		{fmt.Sprintf("  %8d  %7d", l.fetching, l.waiting), plain},
		{fmt.Sprintf("  %7d", l.failing), failing},
		{fmt.Sprintf("  %6d", l.total), plain},
	}
}
