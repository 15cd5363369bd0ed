package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/everfresh-go/everfresh"
)

// An answer is what is of interest in a response besides its body.
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

// explain tells how the freshness of d's value was worked out, and then asks the origin
// once more.
func explain(ctx context.Context, d download, now time.Time) string {
	st := d.resource.Status()
	last := d.trace.last.Load()
	var b strings.Builder
	fmt.Fprintln(&b, st.Key)
	for _, field := range [][2]string{
		{"status", statusText(st, last)},
		{"validators", validators(last.header)},
		{"decided by", st.Freshness},
		{"lifetime", st.Lifetime.String()},
		{"age", st.Age.Truncate(time.Second).String()},
		{"next", fmt.Sprintf("in %v, at %s", st.Next.Sub(now).Round(time.Second), st.Next.Format(time.RFC3339))},
		{"revalidated", revalidate(ctx, d)},
	} {
		fmt.Fprintf(&b, "  %-12s %s\n", field[0]+":", field[1])
	}
	return b.String()
}

// statusText describes the answer itself.
func statusText(st everfresh.Status, last *answer) string {
	text := fmt.Sprintf("%d %s, %d bytes", st.Code, http.StatusText(st.Code), st.Bytes)
	if coding := last.header.Get("Content-Encoding"); coding != "" {
		text += fmt.Sprintf(" (sent as %s)", coding)
	}
	if last.unframed {
		text += "; the origin does not mark its end: a cache wants WithLenientBody"
	}
	return text
}

// validators names what the origin gave to ask with again.
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
