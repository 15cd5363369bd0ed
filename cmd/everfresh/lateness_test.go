package main

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh"
)

func TestLateness(t *testing.T) {
	var l lateness
	if l.below(0.99) != 0 {
		t.Errorf("without any: below %v", l.below(0.99))
	}
	if from, to := l.used(); from != to {
		t.Errorf("without any: classes %d to %d", from, to)
	}
	for class, d := range map[int]time.Duration{
		0: time.Millisecond - 1, 1: time.Millisecond, 3: 7 * time.Millisecond, 12: 5 * time.Second, 13: 10 * time.Second,
	} {
		before := l.classes[class]
		if l.add(d); l.classes[class] != before+1 {
			t.Errorf("%v is not in class %d: %v", d, class, l.classes)
		}
	}
	l.add(-time.Second)
	l.add(time.Hour)
	if l.classes[0] != 2 || l.classes[len(lateBounds)] != 2 || l.count != 7 || l.most != time.Hour {
		t.Errorf("the ends are %d and %d of %d, the most %v", l.classes[0], l.classes[len(lateBounds)], l.count, l.most)
	}
	if from, to := l.used(); from != 0 || to != 14 {
		t.Errorf("classes %d to %d", from, to)
	}
	for part, want := range map[float64]time.Duration{
		0.25: time.Millisecond, 0.4: 2 * time.Millisecond, 0.7: 10 * time.Second, 0.99: time.Hour,
	} {
		if got := l.below(part); got != want {
			t.Errorf("%v is below %v, want %v", part, got, want)
		}
	}
}

// TestTally: how late a refresh was is told by what the event before it had promised.
func TestTally(t *testing.T) {
	start := time.Unix(1000, 0)
	ty := newCounters(2, func(key string) (int, bool) {
		n, ok := map[string]int{"a": 0, "b": 1}[key]
		return n, ok
	})
	event := func(key, kind string, status int, at, took, next time.Duration) {
		ev := everfresh.Event{Key: key, Kind: kind, Status: status, Time: start.Add(at), Duration: took, Bytes: 10}
		if next > 0 {
			ev.Next = start.Add(next)
		}
		if kind == "failed" {
			ev.Err = &everfresh.RefreshError{Op: "read", Err: errors.New("cut")}
		}
		ty.observe(ev)
	}
	const second = time.Second
	event("a", "fetched", 200, second, 500*time.Millisecond, 3*second) // no time was due
	event("b", "failed", 503, second, 0, 2*second)
	event("a", "unchanged", 304, 4*second, 700*time.Millisecond, 6*second) // 300 ms late
	event("a", "stale", 0, 6*second, 0, 9*second)                          // is no refresh
	event("c", "fetched", 200, 6*second, 0, 7*second)                      // not known
	event("b", "failed", 0, 2*second+time.Millisecond, 0, 0)               // 1 ms late; nothing follows
	event("b", "unchanged", 200, 9*second, 0, 0)
	ty.observe(everfresh.Event{Kind: "overflow", Dropped: 7})
	event("a", "fetched", 200, 60*second, 0, 61*second) // what was due may have been lost
	got := ty.totals()
	if got.late.count != 2 || got.late.classes[1] != 1 || got.late.classes[8] != 1 || got.late.most != 300*time.Millisecond {
		t.Errorf("lateness %+v", got.late)
	}
	if got.fetched != 3 || got.unchanged != 2 || got.notModified != 1 || got.failed != 2 || got.lost != 7 || got.bytes != 70 {
		t.Errorf("totals %+v", got)
	}
	if got.causes["503"] != 1 || got.causes["read"] != 1 || len(got.causes) != 2 {
		t.Errorf("causes %v", got.causes)
	}
	got.causes["503"]++
	if ty.totals().causes["503"] != 1 {
		t.Error("the totals share their causes with the counters")
	}
}

func TestCauseKind(t *testing.T) {
	for want, ev := range map[string]everfresh.Event{
		"503":     {Status: http.StatusServiceUnavailable, Err: errors.New("503")},
		"timeout": {Err: &everfresh.RefreshError{Op: "fetch", Err: context.DeadlineExceeded}},
		"decode":  {Err: &everfresh.RefreshError{Op: "decode", Err: errors.New("bad")}},
		"error":   {},
	} {
		if got := causeKind(ev); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
