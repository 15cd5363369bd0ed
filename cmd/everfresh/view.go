package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/everfresh-go/everfresh"
)

// A view shows a cache at work.
type view interface {
	open() error
	show(now time.Time) error
	close(now time.Time) error
}

// A plainView prints a line for each event.
type plainView struct {
	out io.Writer
	log *eventLog
}

func (*plainView) open() error { return nil }

func (v *plainView) show(now time.Time) error {
	var b strings.Builder
	for _, l := range v.log.take(now) {
		b.WriteString(l.String() + "\n")
	}
	return printText(v.out, b.String())
}

func (v *plainView) close(now time.Time) error { return v.show(now) }

// A liveView draws a table of the resources, and below it the latest events.
type liveView struct {
	screen  screen
	size    func() (width, height int)
	bars    [2]string // the characters of a bar: for the time left, and for the time gone
	log     *eventLog
	reader  *reader
	list    []watched
	origin  string
	history []line
	shown   []row // the table of the last frame
}

// historyLines is more than any terminal shows.
const historyLines = 200

func (v *liveView) open() error { return v.screen.open() }

func (v *liveView) show(now time.Time) error {
	v.history = append(v.history, v.log.take(now)...)
	v.history = v.history[max(len(v.history)-historyLines, 0):]
	width, height := v.size()
	v.shown = v.table(now, width)
	rows := append(slices.Clip(v.shown), nil, v.reads(), nil)
	room := max(height-len(rows), 0)
	for _, l := range v.history[max(len(v.history)-room, 0):] {
		rows = append(rows, l.row())
	}
	return v.screen.draw(rows, width, height)
}

// close prints the last table where the user sees it. It shows the cache before it was
// closed.
func (v *liveView) close(time.Time) error {
	width, _ := v.size()
	return v.screen.leave(v.shown, width)
}

// table returns the title and a row for each resource.
func (v *liveView) table(now time.Time, width int) []row {
	rows := []row{
		v.title(now, width),
		nil,
		{{fmt.Sprintf(columns, "RESOURCE", "STATE", "FRESHNESS", "AGE", "NEXT", "LAST", "VALUE", "SIZE", "FAILED"), dim}},
	}
	for _, w := range v.list {
		rows = append(rows, v.resource(w, now))
	}
	if width < wide {
		return rows
	}
	rows[2] = append(rows[2], span{"   THE ORIGIN SAYS", dim})
	for i, w := range v.list {
		rows[3+i] = append(rows[3+i], span{"   " + w.about, dim})
	}
	return rows
}

// title says as much about the demonstration as there is room for.
func (v *liveView) title(now time.Time, width int) row {
	name := span{" everfresh demo", bold}
	length := "  " + seconds(now.Sub(v.log.start))
	resources := fmt.Sprintf("  %d resources", len(v.list))
	for _, about := range []string{
		fmt.Sprintf("%s  one cache, %d resources of %s", length, len(v.list), v.origin), length + resources, length,
	} {
		if len(name.text)+len(about) < width {
			return row{name, {about, dim}}
		}
	}
	return row{name}
}

// columns is the layout of the table, 79 columns in all.
const columns = " %-8s  %-10s  %-10s  %5s  %5s  %-7s  %5s %7s  %6s"

// wide is the width from which a terminal has room for what the origin says.
const wide = 108

// resource returns the row of one resource.
func (v *liveView) resource(w watched, now time.Time) row {
	st := w.status()
	last, count, failed := v.log.resource(st.Key)
	state := stateOf(st, now)
	left, gone := v.bar(st, now)
	return row{
		{fmt.Sprintf(" %-8s  ", st.Key), plain},
		{fmt.Sprintf("%-10s  ", state), stateStyle[state]},
		{left, stateStyle[state]},
		{gone + "  ", dim},
		{fmt.Sprintf("%5s  %5s  ", age(st, now), next(st, now)), plain},
		{fmt.Sprintf("%-7s  ", last), answerStyle(last)},
		{value(st, count), plain},
		failures(failed, st.Failures > 0),
	}
}

func (v *liveView) reads() row {
	missing := v.reader.missing.Load()
	verdict := span{fmt.Sprintf("missing %d", missing), green}
	if missing > 0 {
		verdict.style = red
	}
	return row{{fmt.Sprintf(" reads %d, ", v.reader.reads.Load()), plain}, verdict}
}

// barWidth is the length of a bar.
const barWidth = 10

// bar shows how much of its freshness a value has left.
func (v *liveView) bar(st everfresh.Status, now time.Time) (left, gone string) {
	n := 0
	if whole := st.FreshUntil.Sub(st.CheckedAt); whole > 0 {
		part := float64(st.FreshUntil.Sub(now)) / float64(whole)
		n = int(min(max(part, 0), 1)*barWidth + 0.5)
	}
	return strings.Repeat(v.bars[0], n), strings.Repeat(v.bars[1], barWidth-n)
}

// The states of a resource.
const (
	waiting    = "waiting" // for its first value
	refreshing = "refreshing"
	fresh      = "fresh"
	stale      = "stale" // but still served
)

var stateStyle = map[string]style{waiting: dim, refreshing: cyan, fresh: green, stale: yellow}

func stateOf(st everfresh.Status, now time.Time) string {
	switch {
	case !st.Ready:
		return waiting
	case st.Fetching:
		return refreshing
	case now.After(st.FreshUntil):
		return stale
	default:
		return fresh
	}
}

func answerStyle(last string) style {
	switch last {
	case "200", "304", "":
		return plain
	default:
		return red
	}
}

// age is how long ago the origin made or confirmed the value.
func age(st everfresh.Status, now time.Time) string {
	if !st.Ready {
		return "-"
	}
	return seconds(max(now.Sub(st.CheckedAt)+st.Age, 0))
}

func next(st everfresh.Status, now time.Time) string {
	switch {
	case st.Fetching:
		return "now"
	case st.Next.IsZero():
		return "-"
	default:
		return seconds(max(st.Next.Sub(now), 0))
	}
}

// value returns the number of the value, counted from the first, and its size.
func value(st everfresh.Status, count int) string {
	if !st.Ready {
		return fmt.Sprintf("%5s %7s  ", "-", "-")
	}
	return fmt.Sprintf("%5s %7s  ", fmt.Sprintf("#%d", count), size(st.Bytes))
}

// failures renders a number of failures, which stands out while it grows.
func failures(n int, failing bool) span {
	switch {
	case n == 0:
		return span{fmt.Sprintf("%6s", "-"), dim}
	case failing:
		return span{fmt.Sprintf("%6d", n), red}
	default:
		return span{fmt.Sprintf("%6d", n), plain}
	}
}

var whatStyle = map[string]style{
	"fetched": green, "unchanged": plain, "failed": red, "stale": yellow, "expired": red,
	"well": green, "fails": red, "hangs": red, "changes": cyan,
}

// row is the line in colour.
func (l line) row() row {
	return row{
		{fmt.Sprintf("%7.1fs  ", l.at.Seconds()), dim},
		{fmt.Sprintf("%-8s  ", l.key), plain},
		{fmt.Sprintf("%-9s  ", l.what), whatStyle[l.what]},
		{l.text, dim},
	}
}
