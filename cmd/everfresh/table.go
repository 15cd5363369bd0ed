package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/weburl"
)

// A table shows a row for each resource.
type table struct {
	*counters
	perHost int
	urls    []string
	names   []string // as the cache names the resources, in the order of urls
	origins []string // scheme, host and port, in the order of urls
	cache   *everfresh.Cache

	mu     sync.Mutex
	keep   bool              // whether events are kept; never changed
	events []everfresh.Event // not taken yet; guarded by mu
	last   []string          // the last answers; guarded by mu
}

// newTable returns a table of urls, which are valid. With keep, events are kept until
// they are taken.
func newTable(urls []string, perHost int, keep bool) *table {
	r := &table{perHost: perHost, urls: urls, keep: keep, last: make([]string, len(urls))}
	numbers := make(map[string]int)
	for i, u := range urls {
		name := uniqueName(weburl.Redact(u), numbers)
		numbers[name] = i
		r.names = append(r.names, name)
		r.origins = append(r.origins, originOf(u))
	}
	r.counters = newCounters(len(urls), func(key string) (int, bool) {
		n, ok := numbers[key]
		return n, ok
	})
	return r
}

// uniqueName distinguishes URLs that are the same without their secrets.
func uniqueName(name string, taken map[string]int) string {
	unique := name
	for i := 2; ; i++ {
		if _, ok := taken[unique]; !ok {
			return unique
		}
		unique = fmt.Sprintf("%s #%d", name, i)
	}
}

func originOf(rawURL string) string {
	u, err := weburl.Parse(rawURL)
	if err != nil {
		return "-"
	}
	return weburl.Redact(weburl.Origin(u))
}

// register registers every URL, until ctx ends.
func (r *table) register(ctx context.Context, cache *everfresh.Cache) error {
	for i := 0; i < len(r.urls) && ctx.Err() == nil; i++ {
		_, err := everfresh.Register(cache, r.urls[i], discard, everfresh.WithKey(r.names[i]))
		if err != nil {
			return err
		}
	}
	r.cache = cache
	return nil
}

// observe notes an event of the cache.
func (r *table) observe(ev everfresh.Event) {
	r.counters.observe(ev)
	n, ok := r.number(ev.Key)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keep {
		r.events = append(r.events, ev)
	}
	switch ev.Kind {
	case "fetched", "unchanged", "failed":
		if ok {
			r.last[n] = answerOf(ev)
		}
	}
}

// take returns the events since the last call.
func (r *table) take() []everfresh.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := r.events
	r.events = nil
	return events
}

// An entry is the content of a row.
type entry struct {
	name, origin, last string
	status             everfresh.Status
}

// entries returns the current state of the resources.
func (r *table) entries() []entry {
	list := make([]entry, len(r.urls))
	for st := range r.cache.All() {
		if n, ok := r.number(st.Key); ok {
			list[n].status = st
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range list {
		list[i].name, list[i].origin, list[i].last = printable(r.names[i]), r.origins[i], r.last[i]
	}
	return list
}

// A hostLoad counts the resources of a host by state.
type hostLoad struct {
	origin                            string
	fetching, waiting, failing, total int
}

// loadsOf counts the resources of each host. Only perHost of them fetch at the same time;
// the others wait in the host's queue.
func loadsOf(list []entry, perHost int) []hostLoad {
	var hosts []hostLoad
	places := make(map[string]int)
	for _, e := range list {
		i, ok := places[e.origin]
		if !ok {
			i = len(hosts)
			places[e.origin] = i
			hosts = append(hosts, hostLoad{origin: e.origin})
		}
		l := &hosts[i]
		l.total++
		if e.status.Failures > 0 {
			l.failing++
		}
		switch {
		case !e.status.Fetching:
		case l.fetching < perHost:
			l.fetching++
		default:
			l.waiting++
		}
	}
	return hosts
}

// eventLine is an event as a line of text. The name is padded to a width.
func eventLine(ev everfresh.Event, width int) string {
	if ev.Kind == "overflow" {
		return fmt.Sprintf("%s  %-*s  %-9s  %d events lost", stamp(ev.Time), width, "-", ev.Kind, ev.Dropped)
	}
	status, amount, took := "-", "-", "-"
	if ev.Status != 0 {
		status = fmt.Sprint(ev.Status)
	}
	switch ev.Kind {
	case "fetched", "unchanged":
		amount = size(ev.Bytes)
		took = short(ev.Duration)
	case "failed":
		took = short(ev.Duration)
	}
	text := fmt.Sprintf("%s  %-*s  %-9s  %3s  %8s  %8s", stamp(ev.Time), width, ev.Key, ev.Kind, status, amount, took)
	if !ev.Next.IsZero() {
		text += "  next in " + brief(ev.Next.Sub(ev.Time))
	}
	if ev.Err != nil {
		text += "  " + cause(ev.Err)
	}
	return printable(text)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// printable replaces characters that are not printable, such as control characters.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// brief renders d in at most six characters.
func brief(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < 100*time.Second:
		return seconds(d)
	case d < 100*time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 100*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}
