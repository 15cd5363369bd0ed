package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/rfc9111"
)

// An answer has the parts of a response that matter, apart from its body.
type answer struct {
	code     int
	header   http.Header
	unframed bool // the body ended with the connection: if it was cut short, it looks whole
}

// A trace is a middleware that remembers the last answer.
type trace struct{ last atomic.Pointer[answer] }

func (t *trace) wrap(next everfresh.Fetcher) everfresh.Fetcher {
	return everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
		resp, err := next.Fetch(req)
		if err == nil {
			unframed := resp.ProtoMajor == 1 && resp.ContentLength < 0 && len(resp.TransferEncoding) == 0
			t.last.Store(&answer{code: resp.StatusCode, header: resp.Header, unframed: unframed})
		}
		return resp, err
	})
}

// explain describes how the freshness of d's value was determined, and then asks the
// origin once more.
func explain(ctx context.Context, d download, now time.Time) string {
	st := d.resource.Status()
	last := d.trace.last.Load()
	var b strings.Builder
	fmt.Fprintln(&b, st.Key)
	for _, field := range [][2]string{
		{"status", statusText(st, last)},
		{"validators", validators(last.header)},
		{"decided by", decidedBy(st, last.header)},
		{"lifetime", long(st.Lifetime)},
		{"age", long(st.Age.Truncate(time.Second))},
		{"next", fmt.Sprintf("in %s, at %s", long(st.Next.Sub(now)), st.Next.Format(time.RFC3339))},
		{"revalidated", revalidate(ctx, d)},
	} {
		fmt.Fprintf(&b, "  %-12s %s\n", field[0]+":", field[1])
	}
	return b.String()
}

// explainFailure describes when a resource whose refresh failed would be tried again; it is
// empty if that is unknown.
func explainFailure(err error, now time.Time) string {
	var failed *everfresh.RefreshError
	if !errors.As(err, &failed) || failed.Next.IsZero() {
		return ""
	}
	wait := max(failed.Next.Sub(now), 0)
	precision := 10 * time.Millisecond
	if wait >= time.Second {
		precision = 100 * time.Millisecond
	}
	wait = wait.Round(precision)
	why := "back-off"
	var status *everfresh.StatusError
	if errors.As(err, &status) {
		// A Retry-After that is earlier than the back-off has no effect.
		asked, ok := rfc9111.ParseRetryAfter(status.Header.Get("Retry-After"), now)
		if ok && asked.Round(precision) >= wait {
			why = "Retry-After"
		}
	}
	return fmt.Sprintf("%s\n  %-12s in %s (%s)\n", failed.Key, "next try:", long(wait), why)
}

// raised is the end of the rule if the minimum determined the freshness.
const raised = ", raised to the minimum"

// decidedBy describes what determined how long the value is fresh. The cache reports
// neither that a lifetime was malformed, nor the minimum if there was no header.
func decidedBy(st everfresh.Status, h http.Header) string {
	rule, isRaised := strings.CutSuffix(st.Freshness, raised)
	if !isRaised {
		return st.Freshness
	}
	minimum := "the minimum of " + long(st.FreshUntil.Sub(st.CheckedAt)) + " applies"
	switch {
	case malformedAge(h, rule):
		return rule + " is malformed; " + minimum
	case rule == "none":
		return "no header of the origin; " + minimum
	default:
		return st.Freshness
	}
}

// malformedAge reports whether rule is a directive of Cache-Control with an invalid number
// of seconds.
func malformedAge(h http.Header, rule string) bool {
	if rule != "max-age" && rule != "s-maxage" {
		return false
	}
	for _, line := range h.Values("Cache-Control") {
		for member := range strings.SplitSeq(line, ",") {
			name, seconds, _ := strings.Cut(strings.TrimSpace(member), "=")
			if !strings.EqualFold(strings.TrimSpace(name), rule) {
				continue
			}
			seconds = strings.Trim(strings.TrimSpace(seconds), `"`)
			if seconds == "" || strings.Trim(seconds, "0123456789") != "" {
				return true
			}
		}
	}
	return false
}

// long renders d for people, in days and hours where there are many.
func long(d time.Duration) string {
	const day = 24 * time.Hour
	if d > -2*day && d < 2*day {
		if d%time.Second != 0 && (d >= time.Second || d <= -time.Second) {
			d = d.Round(time.Second)
		}
		return d.String()
	}
	d = d.Round(time.Hour)
	if d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return fmt.Sprintf("%dd%dh", d/day, max(d%day, -(d%day))/time.Hour)
}

// statusText describes the answer itself.
func statusText(st everfresh.Status, last *answer) string {
	text := fmt.Sprintf("%d %s, %s", st.Code, http.StatusText(st.Code), plural(st.Bytes, "byte", "bytes"))
	if coding := last.header.Get("Content-Encoding"); coding != "" {
		text += fmt.Sprintf(" (sent as %s)", coding)
	}
	if last.unframed {
		text += "; the origin does not mark its end: a cache wants WithLenientBody"
	}
	return text
}

// validators names the validators in a response.
func validators(h http.Header) string {
	var names []string
	for _, name := range []string{"ETag", "Last-Modified"} {
		if h.Get(name) != "" {
			names = append(names, name)
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ", ")
}

// revalidate refreshes d and says how the origin answered.
func revalidate(ctx context.Context, d download) string {
	before := d.resource.Snapshot()
	if err := d.resource.Refresh(ctx); err != nil {
		return "failed: " + cause(err)
	}
	code := d.trace.last.Load().code
	switch after := d.resource.Snapshot(); {
	case code == http.StatusNotModified:
		return "304"
	case before != nil && after != nil && before.Version == after.Version:
		return fmt.Sprintf("%d, same bytes", code)
	default:
		return "changed"
	}
}
