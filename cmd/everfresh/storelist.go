package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/weburl"
	"github.com/everfresh-go/everfresh/store"
)

// list prints a line for each record, sorted by key.
func (s *storeCommand) list(ctx context.Context, records store.Storage) error {
	now := time.Now()
	lines := make(map[string]string)
	var errs []error
	for rec, err := range s.query.Records(ctx, records) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		lines[rec.Key] = fmt.Sprintf("%s\t%s\t%s\t%s\t%v\t%d\t%s\n", bytesText(int64(len(rec.Body))), ago(now, rec.CheckedAt),
			remaining(now, rec.FreshUntil), remaining(now, servedUntil(rec)), rec.Priority.OrNormal(), rec.Failures, s.shownKey(rec.Key))
	}
	err := tabulate(s.std.stdout, func(w io.Writer) {
		fmt.Fprint(w, "BYTES\tCHECKED\tFRESH\tSERVED\tPRIORITY\tFAILURES\tKEY\n")
		for _, key := range slices.Sorted(maps.Keys(lines)) {
			fmt.Fprint(w, lines[key])
		}
	})
	return firstOf(err, summed(errors.Join(errs...)))
}

// tabulate prints columns that fill writes with tabs between them.
func tabulate(out io.Writer, fill func(w io.Writer)) error {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fill(w)
	_ = w.Flush() // writing to a Builder never fails
	return printText(out, b.String())
}

// servedUntil returns the time until which the value may be served; zero means forever.
func servedUntil(rec *everfresh.Record) time.Time {
	if rec.ServeUntil.IsZero() || !rec.ExpiresAt.IsZero() && rec.ExpiresAt.Before(rec.ServeUntil) {
		return rec.ExpiresAt
	}
	return rec.ServeUntil
}

// ago describes how long before now t was.
func ago(now, t time.Time) string { return long(now.Sub(t).Round(time.Second)) + " ago" }

// remaining describes how long after now t is.
func remaining(now, t time.Time) string {
	switch left := t.Sub(now).Round(time.Second); {
	case t.IsZero():
		return "no end"
	case !now.Before(t):
		return "over"
	default:
		return "for " + long(left)
	}
}

// shownKey returns the text for a key: a URL may contain secrets.
func (s *storeCommand) shownKey(key string) string {
	if !s.clear && strings.Contains(key, "://") {
		key = weburl.Redact(key)
	}
	return printable(key)
}

// show prints one record, or its body.
func (s *storeCommand) show(ctx context.Context, records store.Storage) error {
	for rec, err := range (everfresh.Query{Key: s.key}).Records(ctx, records) {
		switch {
		case err != nil:
			return err
		case s.body:
			return write(s.std.stdout, rec.Body)
		default:
			return s.describe(rec, time.Now())
		}
	}
	return errors.New("no record of this key")
}

func (s *storeCommand) describe(rec *everfresh.Record, now time.Time) error {
	moment := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	ends := func(t time.Time) string {
		if t.IsZero() {
			return remaining(now, t)
		}
		return remaining(now, t) + ", " + moment(t)
	}
	fields := [][2]string{
		{"key", s.shownKey(rec.Key)},
		{"version", fmt.Sprint(rec.Version)},
		{"status", fmt.Sprintf("%d %s", rec.Status, http.StatusText(rec.Status))},
		{"headers", strings.Join(slices.Sorted(maps.Keys(rec.Header)), ", ")}, // without values, as elsewhere
		{"body", plural(len(rec.Body), "byte", "bytes")},
		{"fetched", ago(now, rec.FetchedAt) + ", " + moment(rec.FetchedAt)},
		{"checked", ago(now, rec.CheckedAt) + ", " + moment(rec.CheckedAt)},
		{"fresh", ends(rec.FreshUntil)},
		{"served", ends(servedUntil(rec))},
		{"priority", rec.Priority.OrNormal().String()},
		{"failures", fmt.Sprintf("%d in a row", rec.Failures)},
	}
	if !rec.NotBefore.IsZero() {
		fields = append(fields, [2]string{"not before", moment(rec.NotBefore)})
	}
	return tabulate(s.std.stdout, func(w io.Writer) {
		for _, f := range fields {
			fmt.Fprintf(w, "%s:\t%s\n", f[0], f[1])
		}
	})
}
