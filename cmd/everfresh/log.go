package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/everfresh-go/everfresh"
)

// A line is an entry of the event log.
type line struct {
	at   time.Duration // since the start
	key  string        // of the resource; "origin" for a step of the script
	what string        // kind of event
	text string
}

// String is the line as plain text.
func (l line) String() string {
	return fmt.Sprintf("%7.1fs  %-8s  %-9s  %s", l.at.Seconds(), l.key, l.what, l.text)
}

// An eventLog collects the events of the cache and the steps of the origin's script. Its
// methods are safe for concurrent use.
type eventLog struct {
	start time.Time // without a monotonic reading, as events have none

	mu     sync.Mutex
	played int               // steps of the script; guarded by mu
	lines  []line            // not taken yet; guarded by mu
	last   map[string]string // the last answer by resource; guarded by mu
	count  map[string]int    // values so far by resource; guarded by mu
	fails  map[string]int    // refreshes that failed by resource; guarded by mu
	kinds  map[string]int    // events by kind; guarded by mu
}

func newEventLog(start time.Time) *eventLog {
	return &eventLog{
		start: start.Round(0),
		last:  make(map[string]string), count: make(map[string]int), fails: make(map[string]int), kinds: make(map[string]int),
	}
}

// observe notes an event of the cache.
func (b *eventLog) observe(ev everfresh.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kinds[ev.Kind]++
	switch ev.Kind {
	case "fetched":
		b.count[ev.Key]++
		b.last[ev.Key] = answerOf(ev)
	case "unchanged":
		b.last[ev.Key] = answerOf(ev)
	case "failed":
		b.fails[ev.Key]++
		b.last[ev.Key] = answerOf(ev)
	}
	at := ev.Time.Sub(b.start)
	b.playLocked(at)
	b.lines = append(b.lines, line{at: at, key: ev.Key, what: ev.Kind, text: describe(ev)})
}

// playLocked adds the steps of the script up to now.
func (b *eventLog) playLocked(now time.Duration) {
	for {
		next := script[b.played%len(script)]
		at := round*time.Duration(b.played/len(script)) + next.at
		if at > now {
			return
		}
		b.played++
		b.lines = append(b.lines, line{at: at, key: "origin", what: next.what, text: next.text})
	}
}

// take returns the lines since the last call, up to now.
func (b *eventLog) take(now time.Time) []line {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.playLocked(now.Sub(b.start))
	lines := b.lines
	b.lines = nil
	return lines
}

// resource returns the last answer for a resource, how many values it has had, and how
// many of its refreshes failed.
func (b *eventLog) resource(key string) (last string, count, failed int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last[key], b.count[key], b.fails[key]
}

// events returns how many events of a kind there were.
func (b *eventLog) events(kind string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.kinds[kind]
}

// answerOf returns a word for the origin's answer.
func answerOf(ev everfresh.Event) string {
	switch {
	case ev.Status != 0:
		return strconv.Itoa(ev.Status)
	case errors.Is(ev.Err, context.DeadlineExceeded):
		return "timeout"
	default:
		return "error"
	}
}

// describe returns a description of an event, the most important part first: a narrow
// terminal cuts off the rest.
func describe(ev everfresh.Event) string {
	next := "next in " + seconds(ev.Next.Sub(ev.Time))
	switch ev.Kind {
	case "fetched":
		return fmt.Sprintf("%s, %d, %s", next, ev.Status, size(ev.Bytes))
	case "unchanged":
		if ev.Status != 304 {
			return fmt.Sprintf("%s, %d, same bytes", next, ev.Status)
		}
		return fmt.Sprintf("%s, %d", next, ev.Status)
	case "failed":
		if ev.Status != 0 {
			return fmt.Sprintf("%s, %d", next, ev.Status)
		}
		return fmt.Sprintf("%s, %s", next, cause(ev.Err))
	case "stale":
		return "no longer fresh, still served"
	default:
		return cause(ev.Err)
	}
}

// cause is the text of err without the name of the resource, which is shown beside it, and
// without the common text of every timeout.
func cause(err error) string {
	if err == nil {
		return ""
	}
	var re *everfresh.RefreshError
	if errors.As(err, &re) {
		err = re.Err
	}
	return strings.TrimSuffix(err.Error(), ": "+context.DeadlineExceeded.Error())
}

// seconds renders d for people.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

// size renders a number of bytes for people.
func size(n int) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f kB", float64(n)/1000)
}
