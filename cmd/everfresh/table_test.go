package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/everfresh-go/everfresh"
)

// sampleFrame is a frame in which every state occurs.
func sampleFrame() *tableFrame {
	now := time.Unix(5000, 0)
	failed := &everfresh.RefreshError{Op: "fetch", Err: errors.New("unexpected status 503 Service\x1bUnavailable")}
	list := []entry{
		{"https://a.example/keys", "https://a.example", "304", everfresh.Status{
			Ready: true, Info: everfresh.Info{CheckedAt: now.Add(-12 * time.Second), FreshUntil: now.Add(time.Minute)}, Next: now.Add(48 * time.Second),
			Bytes: 1234, Freshness: "max-age",
		}},
		{"https://a.example/a/long/way/to/the/settings.json?key=…", "https://a.example", "200", everfresh.Status{
			Ready: true, Fetching: true, Info: everfresh.Info{CheckedAt: now.Add(-3 * time.Hour), FreshUntil: now}, Bytes: 5_200_000,
		}},
		{"https://b.example:8443/feed", "https://b.example:8443", "503", everfresh.Status{
			Ready: true, Info: everfresh.Info{CheckedAt: now.Add(-7 * time.Minute), FreshUntil: now.Add(-time.Minute)}, Next: now.Add(2 * time.Second),
			Failures: 3, Err: failed,
		}},
		{"https://b.example:8443/new", "https://b.example:8443", "", everfresh.Status{Fetching: true}},
		{"https://b.example:8443/newer", "https://b.example:8443", "", everfresh.Status{Fetching: true}},
	}
	return &tableFrame{
		now: now, length: 90 * time.Second, list: list, hosts: loadsOf(list, 1),
		sum: totals{fetched: 7, unchanged: 12, failed: 3},
	}
}

// shownAt is what a terminal of this size shows of f.
func shownAt(f *tableFrame, width, height int) string {
	var b strings.Builder
	for _, r := range f.rows(width, height) {
		b.WriteString(r.render(width-1, false) + "\n")
	}
	return b.String()
}

// TestTableWidths compares what terminals of several widths show.
func TestTableWidths(t *testing.T) {
	for _, width := range []int{40, 80, 200} {
		got := shownAt(sampleFrame(), width, 24)
		for l := range strings.Lines(got) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(l, "\n")); n >= width {
				t.Errorf("a line of %d at width %d: %q", n, width, l)
			}
		}
		if strings.ContainsAny(got, "\x1b\r") {
			t.Errorf("width %d: control characters in\n%q", width, got)
		}
		golden(t, fmt.Sprintf("table%d.txt", width), got)
	}
}

// TestTableHeights: what has no room is counted, and nothing is missing when there is.
func TestTableHeights(t *testing.T) {
	f := sampleFrame()
	for height := range 40 {
		got := shownAt(f, 80, height)
		lines := strings.Count(got, "\n")
		if height >= 8 && lines > height {
			t.Errorf("%d lines at height %d:\n%s", lines, height, got)
		}
		if whole := !strings.Contains(got, "more"); whole != (height >= chrome+len(f.list)+len(f.hosts)) {
			t.Errorf("height %d: whole %t\n%s", height, whole, got)
		}
	}
	if got := shownAt(f, 80, 9); !strings.Contains(got, "and 3 more resources") || !strings.Contains(got, "and 2 more hosts") {
		t.Errorf("height 9:\n%s", got)
	}
	for width := range 30 {
		shownAt(f, width, 24) // no width is too small
	}
	if rows := new(tableFrame).rows(80, 24); rows != nil {
		t.Errorf("a frame that never was shows %v", rows)
	}
}

func TestEventLine(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	for _, tt := range []struct {
		ev   everfresh.Event
		want string
	}{
		{
			everfresh.Event{Kind: "fetched", Key: "u", Time: at, Status: 200, Bytes: 1500, Duration: 12 * time.Millisecond, Next: at.Add(time.Minute)},
			"2026-01-02T03:04:05.006Z  u    fetched    200    1.5 kB      12ms  next in 60.0s",
		},
		{
			everfresh.Event{Kind: "failed", Key: "u", Time: at, Duration: time.Second, Err: errors.New("a\r\n\x1b[31mb")},
			"2026-01-02T03:04:05.006Z  u    failed       -         -        1s  a???[31mb",
		},
		{
			everfresh.Event{Kind: "overflow", Time: at, Dropped: 9},
			"2026-01-02T03:04:05.006Z  -    overflow   9 events lost",
		},
	} {
		if got := eventLine(tt.ev, 3); got != tt.want {
			t.Errorf("got  %q\nwant %q", got, tt.want)
		}
	}
}

func TestBrief(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0.0s", 99 * time.Second: "99.0s", 100 * time.Second: "1m", 99 * time.Minute: "99m",
		100 * time.Minute: "1h", 99 * time.Hour: "99h", 30 * 24 * time.Hour: "30d",
	} {
		if got := brief(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestShorten(t *testing.T) {
	for width, want := range map[int]string{20: "https://a/keys.json", 11: "https….json", 7: "https:/", 0: ""} {
		if got := shorten("https://a/keys.json", width); got != want {
			t.Errorf("%d: got %q, want %q", width, got, want)
		}
	}
}

// TestUniqueNames: URLs that differ in a secret only are told apart without it.
func TestUniqueNames(t *testing.T) {
	r := newTable([]string{"http://a.test/?k=1", "http://a.test/?k=2", "http://a.test/?k=3"}, 4, false)
	if got, want := fmt.Sprint(r.names), "[http://a.test/?k=… http://a.test/?k=… #2 http://a.test/?k=… #3]"; got != want {
		t.Errorf("got %s", got)
	}
}
