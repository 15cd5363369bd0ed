package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/store"
)

// quarantinePrefix begins the keys under which a cache quarantines damaged records.
const quarantinePrefix = "quarantine."

// A checkup counts what check found.
type checkup struct {
	good, quarantined int
	bad               map[string]int // by kind
	unlisted          bool           // whether there are more that cannot be read, in unknown number

	problems strings.Builder // a line for each
}

// check reads everything: the records, and the files that contain them.
func (s *storeCommand) check(ctx context.Context, records, files store.Storage) error {
	found := checkup{bad: make(map[string]int)}
	for item, err := range records.List(ctx, "") {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil { // for all records that the listing could not read, after the others
			found.unlisted = true
			found.noteProblem("some records", err)
			continue
		}
		if strings.HasPrefix(item.Key, quarantinePrefix) {
			found.quarantined++
			continue
		}
		found.note(item.Key, readRecord(ctx, records, item.Key))
	}
	if s.keyFile != "" {
		found.noteBare(ctx, files)
	}
	if ctx.Err() != nil { // the listing may be incomplete
		return ctx.Err()
	}
	return firstOf(printText(s.std.stdout, found.report()), found.verdict())
}

// noteBare counts records in files that are not encrypted, which an encrypted store ignores.
func (c *checkup) noteBare(ctx context.Context, files store.Storage) {
	for item, err := range files.List(ctx, "") {
		if err == nil && !strings.HasPrefix(item.Key, sealedPrefix) { // errors were noted already
			c.note(item.Key, errBare)
		}
	}
}

var (
	errNewer = errors.New("written by a newer version")
	errBare  = errors.New("not encrypted, and left out with --keys")
)

// readRecord reads the record of this name.
func readRecord(ctx context.Context, records store.Storage, name string) error {
	item, err := records.Load(ctx, name)
	if err != nil {
		return err
	}
	err = new(everfresh.Record).UnmarshalBinary(item.Value)
	if err != nil && !errors.Is(err, store.ErrCorrupt) {
		return errNewer
	}
	return err
}

// note counts the result of reading a record.
func (c *checkup) note(name string, err error) {
	switch {
	case err == nil:
		c.good++
	case !errors.Is(err, store.ErrNotFound): // it was removed meanwhile
		c.bad[c.noteProblem(name, err)]++
	}
}

// The kinds of records that cannot be served, in the order of the report.
const (
	damaged    = "damaged"
	locked     = "encrypted without a key"
	bare       = "not encrypted"
	newer      = "of a newer version"
	unreadable = "not readable"
)

// noteProblem adds a line about err, and returns its kind.
func (c *checkup) noteProblem(name string, err error) (kind string) {
	var problem string
	switch {
	case errors.Is(err, errNewer):
		kind, problem = newer, err.Error()
	case errors.Is(err, errBare):
		kind, problem = bare, err.Error()
	case errors.Is(err, errSealed):
		kind, problem = locked, "encrypted, which wants --keys"
	case errors.Is(err, store.ErrCorrupt) && errors.Is(err, store.ErrKeyUnavailable): // several records
		kind, problem = unreadable, "damaged, or encrypted with a key that is not here"
	case errors.Is(err, store.ErrKeyUnavailable):
		kind, problem = locked, "encrypted with a key that is not here"
	case errors.Is(err, store.ErrCorrupt):
		kind, problem = damaged, "damaged"
	default:
		kind, problem = unreadable, "cannot be read: "+err.Error()
	}
	fmt.Fprintf(&c.problems, "%s: %s\n", printable(name), problem)
	return kind
}

// report lists the problems, and counts all.
func (c *checkup) report() string {
	parts := []string{plural(c.good, "record", "records") + " good"}
	for _, kind := range []string{damaged, locked, bare, newer, unreadable} {
		if n := c.bad[kind]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, kind))
		}
	}
	if c.unlisted {
		parts = append(parts, "others not readable")
	}
	if c.quarantined > 0 {
		parts = append(parts, fmt.Sprintf("%d in quarantine", c.quarantined))
	}
	return c.problems.String() + strings.Join(parts, ", ") + "\n"
}

// verdict is an error if a record cannot be served. What is in quarantine was replaced.
func (c *checkup) verdict() error {
	if len(c.bad) == 0 && !c.unlisted {
		return nil
	}
	return errors.New("not every record can be served")
}
