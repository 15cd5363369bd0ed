package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/everfresh-go/everfresh"
)

// frameTime is the time between two frames: short enough to follow and long enough to
// read.
const frameTime = 200 * time.Millisecond

// A demo is a demonstration: an origin and a cache in one process.
type demo struct {
	std    console
	length time.Duration // 0: until interrupted
	term   terminal
	jitter float64
	listen func(context.Context) (net.Listener, error)
	client *http.Client // nil: the cache's own
}

// runDemo is the command demo.
func runDemo(ctx context.Context, args []string, std console) error {
	d, err := parseDemo(args, std)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return printText(std.stdout, demoUsage)
	case err != nil:
		return err
	default:
		return d.run(ctx)
	}
}

func parseDemo(args []string, std console) (*demo, error) {
	d := newDemo(std)
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.DurationVar(&d.length, "for", 0, "")
	var display displayFlags
	display.define(flags)
	operands, err := parse(flags, args)
	switch {
	case err != nil:
		return nil, err
	case len(operands) > 0:
		return nil, &usageError{command: "demo", text: fmt.Sprintf("demo: unexpected argument %q", operands[0])}
	case d.length <= 0 && given(flags, "for"):
		return nil, &usageError{command: "demo", text: "demo: " + endless}
	}
	d.term = display.apply(d.term)
	return d, nil
}

// endless is the error for a duration that is not positive.
const endless = "--for is not positive; without it, the command runs until it is interrupted"

func newDemo(std console) *demo {
	return &demo{std: std, term: terminalOf(std.stdout, std.env), jitter: 0.05, listen: listenLoopback}
}

func listenLoopback(ctx context.Context) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("cannot start the origin: %w", err)
	}
	return l, nil
}

// run plays the demonstration until ctx or its time ends.
func (d *demo) run(ctx context.Context) error {
	ctx, cancel := within(ctx, d.length)
	defer cancel()
	listener, err := d.listen(ctx)
	if err != nil {
		return err
	}
	o := startOrigin(listener)
	defer o.stop()
	b := newEventLog(o.start)
	// The cache outlives ctx, so that things end in order: first the reader, then the cache.
	cache := everfresh.NewCache(context.WithoutCancel(ctx), d.options(b)...)
	defer cache.Close() //nolint:contextcheck // Closing has its own time limit.
	list, err := registerAll(cache, o.url)
	if err != nil {
		return err
	}
	r := startReader(ctx, list)
	v := d.view(o, b, r, list)
	err = watchUntil(ctx, v, d.term, frameTime)
	end := time.Now()
	r.stop()
	err = firstOf(err, cache.Close(), v.close(end)) //nolint:contextcheck // As above.
	if err != nil {
		return err
	}
	return d.summary(b, r, end)
}

// firstOf returns the first error; the others are its consequences.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// options returns options for the cache: short intervals, so that there is something to see.
func (d *demo) options(b *eventLog) []everfresh.CacheOption {
	opts := []everfresh.CacheOption{
		everfresh.WithObserver(b.observe),
		everfresh.WithMinRefreshInterval(500 * time.Millisecond),
		everfresh.WithBackoff(500*time.Millisecond, 2*time.Second),
		everfresh.WithJitter(d.jitter),
	}
	if d.client != nil {
		opts = append(opts, everfresh.WithHTTPClient(d.client))
	}
	return opts
}

func (d *demo) view(o *origin, b *eventLog, r *reader, list []watched) view {
	if !d.term.live {
		return &plainView{out: d.std.stdout, log: b}
	}
	bars := [2]string{"=", "-"}
	if unicodeBars(d.std.env) {
		bars = [2]string{"━", "─"}
	}
	return &liveView{
		screen: screen{out: d.std.stdout, colour: d.term.colour}, size: d.term.size, bars: bars,
		log: b, reader: r, list: list, origin: o.url,
	}
}

// within returns ctx with a deadline after length; 0 means no deadline.
func within(ctx context.Context, length time.Duration) (context.Context, context.CancelFunc) {
	if length == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, length)
}

// watchUntil shows v once per frame, and when the terminal is resized, until ctx ends or
// showing fails.
func watchUntil(ctx context.Context, v view, term terminal, frame time.Duration) error {
	tick := time.NewTicker(frame)
	defer tick.Stop()
	var resized <-chan os.Signal
	if term.live && term.resized != nil {
		changed, stop := term.resized()
		defer stop()
		resized = changed
	}
	err := v.open()
	for err == nil {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			err = v.show(now)
		case <-resized:
			err = v.show(time.Now())
		}
	}
	return err
}

var errMissing = errors.New("a value was missing")

// summary prints the results, and returns errMissing if a value was missing.
func (d *demo) summary(b *eventLog, r *reader, end time.Time) error {
	fetched, unchanged, failed := b.events("fetched"), b.events("unchanged"), b.events("failed")
	missing := r.missing.Load()
	err := printText(d.std.stdout, fmt.Sprintf(
		"%s: %d refreshes: %d brought a new value, %d found it unchanged, %d failed\nreads %d, missing %d\n",
		seconds(end.Sub(b.start)), fetched+unchanged+failed, fetched, unchanged, failed, r.reads.Load(), missing))
	if err == nil && missing > 0 {
		return errMissing
	}
	return err
}
