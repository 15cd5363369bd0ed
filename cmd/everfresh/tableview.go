package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// A plainTable prints a line for each event.
type plainTable struct {
	*table
	out io.Writer
}

func (*plainTable) open() error { return nil }

func (v *plainTable) show(time.Time) error {
	width := min(longest(v.names), 60)
	var b strings.Builder
	for _, ev := range v.take() {
		b.WriteString(eventLine(ev, width) + "\n")
	}
	return printText(v.out, b.String())
}

func (v *plainTable) close(now time.Time) error { return v.show(now) }

// A liveTable draws a table of the resources, and one of their hosts.
type liveTable struct {
	*table
	screen screen
	size   func() (width, height int)
	start  time.Time
	shown  tableFrame // the last frame
}

func (v *liveTable) open() error { return v.screen.open() }

func (v *liveTable) show(now time.Time) error {
	list := v.entries()
	v.shown = tableFrame{
		now: now, length: now.Sub(v.start), list: list, hosts: loadsOf(list, v.perHost), sum: v.totals(),
	}
	width, height := v.size()
	return v.screen.draw(v.shown.rows(width, height), width, height)
}

// close prints the last table in full, where the user sees it.
func (v *liveTable) close(time.Time) error {
	width, _ := v.size()
	return v.screen.leave(v.shown.rows(width, len(v.shown.list)+len(v.shown.hosts)+chrome), width)
}

// A tableFrame is what a liveTable draws.
type tableFrame struct {
	now    time.Time
	length time.Duration // since the start
	list   []entry
	hosts  []hostLoad
	sum    totals
}

// chrome is the number of rows that belong neither to a resource nor to a host.
const chrome = 5

// rows lays the frame out. Rows for which there is no room are only counted.
func (f *tableFrame) rows(width, height int) []row {
	if f.list == nil {
		return nil // closed before it was ever shown
	}
	room := max(height-chrome, 2)
	hostRoom := min(len(f.hosts), max(room/4, 1))
	listRoom := max(room-hostRoom, 1)
	if spare := listRoom - len(f.list); spare > 0 {
		hostRoom = min(len(f.hosts), hostRoom+spare)
	}
	cols := f.columns(width)
	rows := []row{f.title(), nil, header(cols)}
	list, more := fit(len(f.list), listRoom)
	for _, e := range f.list[:list] {
		rows = append(rows, resourceRow(cols, e, f.now))
	}
	rows = appendMore(rows, more, "resources")
	rows = append(rows, nil, hostHeader(width))
	shown, more := fit(len(f.hosts), hostRoom)
	for _, l := range f.hosts[:shown] {
		rows = append(rows, l.row(width))
	}
	return appendMore(rows, more, "hosts")
}

// fit returns how many of n rows fit in room. If not all fit, the last row counts the others.
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

func (f *tableFrame) title() row {
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

// leastName is the minimum width of names; a column that would leave less is omitted.
const leastName = 16

// columns returns the columns for which a terminal has room, the names first. The most
// important ones come first and stay when the terminal becomes narrow.
func (f *tableFrame) columns(width int) []column {
	name := 0
	for _, e := range f.list {
		name = max(name, utf8.RuneCountInString(e.name))
	}
	room := width - 2 // without the margin and the last character, which stays free
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

// becauseCell says why the last refresh failed, or what determined how long the value is
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

// indented separates the columns.
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

// shorten omits the middle of s, because the ends of a URL say the most.
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

// hostColumns is the layout of a host's counts, after its name.
const hostColumns = "  %8s  %7s  %7s  %6s"

// hostColumnsWidth is the width of hostColumns.
const hostColumnsWidth = 4*2 + 8 + 7 + 7 + 6

// narrowHostColumns is the layout for a narrow terminal: fetching and total.
const narrowHostColumns = "  %8s  %6s"

// narrowHostWidth is the width of narrowHostColumns.
const narrowHostWidth = 2*2 + 8 + 6

func hostHeader(width int) row {
	name, wide := hostName("HOST", width)
	if !wide {
		return row{{name + fmt.Sprintf(narrowHostColumns, "FETCHING", "TOTAL"), dim}}
	}
	return row{{name + fmt.Sprintf(hostColumns, "FETCHING", "WAITING", "FAILING", "TOTAL"), dim}}
}

// hostName pads or shortens a host's name to the available width, and reports whether there
// is room for hostColumns.
func hostName(name string, width int) (padded string, wide bool) {
	room := width - 2 - hostColumnsWidth
	wide = room >= leastName
	if !wide {
		room = max(width-2-narrowHostWidth, 1)
	}
	room = min(room, 40)
	return " " + fmt.Sprintf("%-*s", room, shorten(name, room)), wide
}

func (l hostLoad) row(width int) row {
	name, wide := hostName(l.origin, width)
	number := func(n int) string { return fmt.Sprint(n) }
	if !wide {
		return row{{name, plain}, {fmt.Sprintf(narrowHostColumns, number(l.fetching), number(l.total)), plain}}
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
