package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/everfresh-go/everfresh"
)

// A watchCommand is a command line of watch.
type watchCommand struct {
	std      console
	term     terminal
	header   headerFlag
	length   time.Duration // 0: until interrupted
	every    time.Duration // 0: when freshness ends
	min      time.Duration
	perHost  int
	count    int // of URLs made from a pattern; 0: rows
	operands []string
}

// leastEvery is the minimum interval, which is the cache's refresh window.
const leastEvery = 10 * time.Millisecond

// runWatch is the command watch.
func runWatch(ctx context.Context, args []string, std console) error {
	w, err := parseWatch(args, std)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return printText(std.stdout, watchUsage)
	case err != nil:
		return err
	default:
		return w.run(ctx)
	}
}

func parseWatch(args []string, std console) (*watchCommand, error) {
	w := &watchCommand{std: std}
	var display displayFlags
	flags := flag.NewFlagSet("watch", flag.ContinueOnError)
	count := flags.String("n", "", "")
	flags.DurationVar(&w.length, "for", 0, "")
	flags.DurationVar(&w.every, "every", 0, "")
	flags.DurationVar(&w.min, "min", 10*time.Second, "")
	flags.IntVar(&w.perHost, "per-host", 4, "")
	flags.Var(&w.header, "H", "")
	display.define(flags)
	operands, err := parse(flags, args)
	if err != nil {
		return nil, err
	}
	w.operands = operands
	w.term = display.apply(terminalOf(std.stdout, std.env))
	if problem := firstProblem(w.problem(given(flags, "for")), w.target(*count)); problem != "" {
		return nil, &usageError{command: "watch", text: "watch: " + problem}
	}
	return w, nil
}

func firstProblem(problems ...string) string {
	for _, p := range problems {
		if p != "" {
			return p
		}
	}
	return ""
}

// problem says what is wrong with the flags; ends is whether --for is there.
func (w *watchCommand) problem(ends bool) string {
	switch {
	case w.header.problem != "":
		return w.header.problem
	case w.length <= 0 && ends:
		return endless
	case w.every != 0 && w.every < leastEvery:
		return fmt.Sprintf("--every is below %v", leastEvery)
	case w.min < leastEvery:
		return fmt.Sprintf("--min is below %v", leastEvery)
	case w.perHost < 1:
		return "--per-host is not positive"
	default:
		return ""
	}
}

// target stores the number of URLs, and returns a text that says what is wrong with them.
func (w *watchCommand) target(count string) string {
	switch {
	case count == "" && len(w.operands) == 0:
		return "no URL"
	case count == "":
		w.operands = distinct(w.operands)
		return urlProblem(w.operands...)
	case len(w.operands) != 1:
		return "-n wants one URL pattern"
	case !strings.Contains(w.operands[0], placeholder):
		return "-n wants " + placeholder + " in the URL pattern"
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > mostCount {
		return fmt.Sprintf("-n wants a number from 1 to %d", mostCount)
	}
	w.count = n
	return urlProblem(expand(w.operands[0], 0), expand(w.operands[0], n-1))
}

// mostCount is more than fits in the memory of today's machines.
const mostCount = 100_000_000

// placeholder stands for the number in a pattern. It cannot be part of a URL, unlike %d,
// which may be the beginning of an escape.
const placeholder = "{}"

// expand returns the i-th URL of a pattern.
func expand(pattern string, i int) string {
	return strings.ReplaceAll(pattern, placeholder, strconv.Itoa(i))
}

// distinct returns urls without those that were there before.
func distinct(urls []string) []string {
	known := make(map[string]bool)
	var list []string
	for _, u := range urls {
		if !known[u] {
			known[u] = true
			list = append(list, u)
		}
	}
	return list
}

// A subject is what is watched.
type subject interface {
	register(ctx context.Context, c *everfresh.Cache) error
	observe(ev everfresh.Event)
	totals() totals
}

// run keeps the URLs fresh until ctx or its time ends.
func (w *watchCommand) run(ctx context.Context) error {
	ctx, cancel := within(ctx, w.length)
	defer cancel()
	start := time.Now()
	s, v, frame := w.show(start)
	// The cache outlives ctx, so that the last frame shows it at work.
	cache := everfresh.NewCache(context.WithoutCancel(ctx), w.options(s)...)
	defer cache.Close() //nolint:contextcheck // Closing has its own time limit.
	if err := s.register(ctx, cache); err != nil {
		return err
	}
	err := watchUntil(ctx, v, w.term, frame)
	end := time.Now()
	err = firstOf(err, cache.Close(), v.close(end)) //nolint:contextcheck // As above.
	if err != nil {
		return err
	}
	sum := s.totals()
	return printText(w.std.stdout, sum.summary(end.Sub(start), max(w.count, len(w.operands))))
}

// show returns the subject, its view, and the time between two frames.
func (w *watchCommand) show(start time.Time) (subject, view, time.Duration) {
	scr := screen{out: w.std.stdout, colour: w.term.colour}
	if w.count > 0 {
		c := newOverview(w.operands[0], w.count, start)
		if !w.term.live {
			return c, &plainOverview{overview: c, out: w.std.stdout}, overviewFrame
		}
		bar := "#"
		if unicodeBars(w.std.env) {
			bar = "█"
		}
		return c, &liveOverview{overview: c, screen: scr, size: w.term.size, bar: bar}, overviewFrame
	}
	r := newTable(w.operands, w.perHost, !w.term.live)
	if !w.term.live {
		return r, &plainTable{table: r, out: w.std.stdout}, frameTime
	}
	return r, &liveTable{table: r, screen: scr, size: w.term.size, start: start}, frameTime
}

// options returns the options of the cache.
func (w *watchCommand) options(s subject) []everfresh.CacheOption {
	opts := []everfresh.CacheOption{
		everfresh.WithObserver(s.observe),
		everfresh.WithMinRefreshInterval(w.min),
		everfresh.WithMaxRefreshInterval(max(w.min, 30*24*time.Hour)),
		everfresh.WithRefreshInterval(w.every),
		everfresh.WithMaxPerHost(w.perHost),
		everfresh.WithWorkers(w.workers()),
		everfresh.WithLenientBody(true),
		everfresh.WithProxy(http.ProxyFromEnvironment),
	}
	for _, field := range w.header.fields {
		opts = append(opts, everfresh.WithHeader(field[0], field[1]))
	}
	return opts
}

// workers returns enough workers for every operand's host to reach its limit, so that
// hosts do not wait for each other.
func (w *watchCommand) workers() int {
	return max(64, w.perHost*min(len(w.operands), 100))
}

// discard is a decoder that drops the body: a watch shows freshness, and does not need the
// values.
func discard(_ context.Context, resp *http.Response) (struct{}, error) {
	_, err := io.Copy(io.Discard, resp.Body)
	return struct{}{}, err
}
