package main

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/everfresh-go/everfresh"
)

// totals are counts of what happened since the start.
type totals struct {
	fetched, unchanged, failed int
	notModified                int // part of unchanged
	bytes                      int64
	lost                       int            // events that were dropped because the observer was too slow
	causes                     map[string]int // of the failures
	late                       lateness
}

// refreshes returns the number of refreshes that ended.
func (t *totals) refreshes() int { return t.fetched + t.unchanged + t.failed }

// counters count the events of numbered resources, with 8 bytes for each resource. The
// methods are safe for concurrent use.
type counters struct {
	number func(key string) (n int, ok bool)

	mu  sync.Mutex
	sum totals  // guarded by mu
	due []int64 // when each resource is due, in Unix nanoseconds; 0 if unknown; guarded by mu
}

// newCounters returns counters for count resources; number returns the number of a key.
func newCounters(count int, number func(key string) (n int, ok bool)) *counters {
	return &counters{number: number, sum: totals{causes: make(map[string]int)}, due: make([]int64, count)}
}

// observe notes an event of the cache.
func (t *counters) observe(ev everfresh.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch ev.Kind {
	case "fetched":
		t.sum.fetched++
	case "unchanged":
		t.sum.unchanged++
		if ev.Status == http.StatusNotModified {
			t.sum.notModified++
		}
	case "failed":
		t.sum.failed++
		t.sum.causes[causeKind(ev)]++
	case "overflow":
		t.sum.lost += ev.Dropped
		clear(t.due) // a lost event may have changed any of them
		return
	default:
		return
	}
	t.sum.bytes += int64(ev.Bytes)
	t.timeLocked(ev)
}

// timeLocked computes how late the refresh of ev started, and records when the next one
// is due.
func (t *counters) timeLocked(ev everfresh.Event) {
	n, ok := t.number(ev.Key)
	if !ok || ev.Time.IsZero() {
		return
	}
	if due := t.due[n]; due != 0 {
		t.sum.late.add(time.Duration(ev.Time.Add(-ev.Duration).UnixNano() - due))
	}
	t.due[n] = 0
	if !ev.Next.IsZero() {
		t.due[n] = ev.Next.UnixNano()
	}
}

// totals returns the counts so far.
func (t *counters) totals() totals {
	t.mu.Lock()
	defer t.mu.Unlock()
	sum := t.sum
	sum.causes = maps.Clone(t.sum.causes)
	return sum
}

// causeKind names the kind of a failure: the status, "timeout", or what failed.
func causeKind(ev everfresh.Event) string {
	var re *everfresh.RefreshError
	kind := answerOf(ev)
	if kind == "error" && errors.As(ev.Err, &re) {
		return re.Op
	}
	return kind
}

// summary is the text with which a watch ends.
func (t *totals) summary(length time.Duration, resources int) string {
	text := fmt.Sprintf("%s: %s of %s: %d brought a new value, %d found it unchanged, %d failed\n",
		seconds(length), plural(t.refreshes(), "refresh", "refreshes"), plural(resources, "resource", "resources"),
		t.fetched, t.unchanged, t.failed)
	text += fmt.Sprintf("%s, %s, %s\n",
		plural(t.notModified, "304", "304s"), bytesText(t.bytes), t.lateText())
	if t.lost > 0 {
		text += plural(t.lost, "event was", "events were") + " lost: the counts are too low\n"
	}
	return text
}

func (t *totals) lateText() string {
	if t.late.count == 0 {
		return "no refresh was due"
	}
	return fmt.Sprintf("half started within %s of their time, 99 %% within %s, all within %s",
		short(t.late.below(0.5)), short(t.late.below(0.99)), short(t.late.most))
}

func plural(n int, one, many string) string {
	if n == 1 {
		many = one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// short renders d, if it is below a second to the tenth of a millisecond.
func short(d time.Duration) string {
	if d < time.Second {
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(10 * time.Millisecond).String()
}

// bytesText renders a number of bytes that may be large.
func bytesText(n int64) string {
	switch {
	case n < 1e6:
		return size(int(n))
	case n < 1e9:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	default:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	}
}
