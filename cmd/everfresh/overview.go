package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/weburl"
)

// overviewFrame is the time between two frames of an overview: counting many resources takes time.
const overviewFrame = time.Second

// An overview shows many resources in total. Their keys are their numbers.
type overview struct {
	*counters
	pattern string // as the user may see it
	urls    func(i int) string
	count   int
	start   time.Time
	cache   *everfresh.Cache
	last    sample // of the last frame for which rates were computed
	rates   rates
}

// A sample is the input for rates.
type sample struct {
	at        time.Time
	refreshes int
	bytes     int64
}

// rates are per second.
type rates struct{ refreshes, bytes float64 }

func newOverview(pattern string, count int, start time.Time) *overview {
	number := func(key string) (int, bool) {
		n, err := strconv.Atoi(key)
		return n, err == nil && n >= 0 && n < count
	}
	return &overview{
		counters: newCounters(count, number), pattern: shownPattern(pattern), count: count, start: start,
		urls: func(i int) string { return expand(pattern, i) }, last: sample{at: start},
	}
}

// shownPattern returns a pattern without its secrets.
func shownPattern(pattern string) string {
	const mark = "0placeholder0" // like a number, it may stand anywhere in a URL
	return strings.ReplaceAll(weburl.Redact(strings.ReplaceAll(pattern, placeholder, mark)), mark, placeholder)
}

// register registers every URL of the pattern, until ctx ends.
func (c *overview) register(ctx context.Context, cache *everfresh.Cache) error {
	c.cache = cache
	for i := 0; i < c.count && ctx.Err() == nil; i++ {
		_, err := everfresh.Register(cache, c.urls(i), discard, everfresh.WithKey(strconv.Itoa(i)))
		if err != nil {
			return err
		}
	}
	return nil
}

// stateCounts are the numbers of resources by state.
type stateCounts struct{ registered, ready, fetching, failing int }

func countStates(c *everfresh.Cache) stateCounts {
	var n stateCounts
	for st := range c.All() {
		n.registered++
		if st.Ready {
			n.ready++
		}
		if st.Fetching {
			n.fetching++
		}
		if st.Failures > 0 {
			n.failing++
		}
	}
	return n
}

// An overviewState is the content of a frame.
type overviewState struct {
	length     time.Duration // since the start
	states     stateCounts
	sum        totals
	rates      rates
	heap       uint64 // bytes
	goroutines int
}

// state returns the current state.
func (c *overview) state(now time.Time) overviewState {
	sum := c.totals()
	c.measure(sample{at: now, refreshes: sum.refreshes(), bytes: sum.bytes})
	return overviewState{
		length: now.Sub(c.start), states: countStates(c.cache), sum: sum, rates: c.rates,
		heap: heapBytes(), goroutines: runtime.NumGoroutine(),
	}
}

// measure computes the rates since the last frame, unless that was just drawn.
func (c *overview) measure(s sample) {
	elapsed := s.at.Sub(c.last.at).Seconds()
	if elapsed < overviewFrame.Seconds()/2 {
		return
	}
	c.rates = rates{
		refreshes: float64(s.refreshes-c.last.refreshes) / elapsed,
		bytes:     float64(s.bytes-c.last.bytes) / elapsed,
	}
	c.last = s
}

// heapBytes returns the memory that objects occupy, without stopping the program.
func heapBytes() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	if s[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return s[0].Value.Uint64()
}

// A plainOverview prints a line for each frame, and a histogram at the end.
type plainOverview struct {
	*overview
	out io.Writer
}

func (*plainOverview) open() error { return nil }

func (v *plainOverview) show(now time.Time) error {
	s := v.state(now)
	return printText(v.out, s.line()+"\n")
}

func (v *plainOverview) close(time.Time) error {
	sum := v.totals()
	var b strings.Builder
	for _, r := range histogram(&sum.late, 80, "#") {
		b.WriteString(r.render(80, false) + "\n")
	}
	return printText(v.out, b.String())
}

// A liveOverview draws totals and a histogram.
type liveOverview struct {
	*overview
	screen screen
	size   func() (width, height int)
	bar    string // the character of the bars
	shown  []row
}

// open draws at once, because the next frame comes late.
func (v *liveOverview) open() error {
	if err := v.screen.open(); err != nil {
		return err
	}
	return v.show(time.Now())
}

func (v *liveOverview) show(now time.Time) error {
	width, height := v.size()
	s := v.state(now)
	v.shown = s.rows(v.pattern, v.count, width, v.bar)
	return v.screen.draw(v.shown, width, height)
}

// close leaves the last frame where the user sees it.
func (v *liveOverview) close(time.Time) error {
	width, _ := v.size()
	return v.screen.leave(v.shown, width)
}

// line is the state as a line of text.
func (s *overviewState) line() string {
	return fmt.Sprintf("%7.1fs  registered %d  ready %d  fetching %d  failing %d  fetches %.0f/s  bytes %s/s  304s %d"+
		"  errors %s  late p50 %s p99 %s max %s  heap %s  goroutines %d  lost %d",
		s.length.Seconds(), s.states.registered, s.states.ready, s.states.fetching, s.states.failing,
		s.rates.refreshes, bytesText(int64(s.rates.bytes)), s.sum.notModified, s.errors(),
		short(s.sum.late.below(0.5)), short(s.sum.late.below(0.99)), short(s.sum.late.most),
		bytesText(int64(s.heap)), s.goroutines, s.sum.lost)
}

// errors lists the failures by kind, the most frequent first.
func (s *overviewState) errors() string {
	if s.sum.failed == 0 {
		return "0"
	}
	kinds := slices.SortedFunc(maps.Keys(s.sum.causes), func(a, b string) int {
		if d := s.sum.causes[b] - s.sum.causes[a]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for _, k := range kinds {
		parts = append(parts, fmt.Sprintf("%s:%d", k, s.sum.causes[k]))
	}
	return strings.Join(parts, ",")
}

// rows lays the state out: the totals, and below them the histogram.
func (s *overviewState) rows(pattern string, count, width int, bar string) []row {
	number := func(n int) span { return span{fmt.Sprint(n), plain} }
	bad := func(n int, text string) span {
		if n == 0 {
			return span{text, plain}
		}
		return span{text, red}
	}
	rows := []row{
		{{" everfresh watch", bold}, {fmt.Sprintf("  %s  %d × %s", brief(s.length), count, pattern), dim}},
		nil,
		field("registered", number(s.states.registered)),
		field("ready", number(s.states.ready)),
		field("fetching", number(s.states.fetching)),
		field("failing", bad(s.states.failing, fmt.Sprint(s.states.failing))),
		field("fetches", span{fmt.Sprintf("%d, %.0f/s", s.sum.refreshes(), s.rates.refreshes), plain}),
		field("bytes", span{fmt.Sprintf("%s, %s/s", bytesText(s.sum.bytes), bytesText(int64(s.rates.bytes))), plain}),
		field("304s", number(s.sum.notModified)),
		field("errors", bad(s.sum.failed, s.errors())),
		field("lost events", bad(s.sum.lost, fmt.Sprint(s.sum.lost))),
		field("heap", span{bytesText(int64(s.heap)), plain}),
		field("goroutines", number(s.goroutines)),
		nil,
	}
	return append(rows, histogram(&s.sum.late, width, bar)...)
}

func field(name string, value span) row {
	return row{{fmt.Sprintf(" %-12s  ", name), dim}, value}
}

// histogram returns a row for each class of l that is in use, under a title.
func histogram(l *lateness, width int, bar string) []row {
	rows := []row{{{" HOW LATE REFRESHES START", dim}}}
	if l.count == 0 {
		return append(rows, row{{" none was due yet", dim}})
	}
	from, to := l.used()
	top := slices.Max(l.classes[from:to])
	const text = 1 + 7 + 2 + 9 + 2 + 6 + 2
	room := max(min(width-1-text, 60), 0)
	for i := from; i < to; i++ {
		n := l.classes[i]
		long := (n*room + top - 1) / top // rounded up, so that a single refresh is visible
		rows = append(rows, row{
			{fmt.Sprintf(" %7s  ", className(i)), dim},
			{fmt.Sprintf("%9d  %5.1f%%  ", n, 100*float64(n)/float64(l.count)), plain},
			{strings.Repeat(bar, long), lateStyle(i)},
		})
	}
	return rows
}

// lateStyle marks late refreshes: by more than a second, or more than a tenth of one.
func lateStyle(class int) style {
	switch {
	case class >= len(lateBounds) || lateBounds[class] > time.Second:
		return red
	case lateBounds[class] > 100*time.Millisecond:
		return yellow
	default:
		return green
	}
}
