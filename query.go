package everfresh

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/everfresh-go/everfresh/store"
)

// A Query selects records; a record must satisfy every field that is set. The zero
// value selects all. It is a plain value and may be used by many goroutines at once.
//
// Only Key is known to a storage. The other conditions are about what is inside the
// records, so every record is read and decoded to find them, in O(n).
type Query struct {
	// Key selects the record of one resource, which is read directly. A resource that
	// was registered without a key has its URL.
	Key string
	// Pattern selects records whose clear key it matches anywhere; anchor it to match
	// the whole.
	Pattern *regexp.Regexp
	// Params selects records whose key is a URL with these query parameters: with any
	// value if it is nil, otherwise with that last value. The URL may have other
	// parameters, too.
	Params map[string]*string
	// Priority selects records of this priority or below; 0 all.
	Priority store.Priority
	// Stale selects records whose value must no longer be served, because of WithMaxStale
	// or because the value has expired.
	Stale bool
}

// Match reports whether q selects rec at the time now.
func (q Query) Match(rec *Record, now time.Time) bool {
	switch {
	case q.Key != "" && q.Key != rec.Key,
		q.Priority != 0 && rec.Priority.OrNormal() > q.Priority,
		q.Stale && !rec.spent(now):
		return false
	default:
		return q.matchesText(rec.Key)
	}
}

// spent reports whether the value must no longer be served.
func (r *Record) spent(now time.Time) bool {
	for _, end := range []time.Time{r.ServeUntil, r.ExpiresAt} {
		if !end.IsZero() && !now.Before(end) {
			return true
		}
	}
	return false
}

// matchesText reports whether q selects a record with this key, apart from Key.
func (q Query) matchesText(key string) bool {
	if q.Pattern != nil && !q.Pattern.MatchString(key) {
		return false
	}
	if len(q.Params) == 0 {
		return true
	}
	// A key that is no URL has no parameters.
	u, err := url.Parse(key)
	if err != nil {
		return false
	}
	params := u.Query()
	for name, want := range q.Params {
		values, ok := params[name]
		if !ok || want != nil && values[len(values)-1] != *want {
			return false
		}
	}
	return true
}

// Records yields the records in s that q selects, in no order; s is a storage that a
// cache writes to, or has written to. For a record that cannot be read it yields nil and the
// error, and continues. An error of the storage is yielded last. Records that come or go
// meanwhile may be missed.
func (q Query) Records(ctx context.Context, s Storage) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		q.each(ctx, s, func(found storedRecord, err error) bool { return yield(found.rec, err) })
	}
}

// Purge removes the records in s that q selects, and returns how many. It continues after
// errors, and returns them joined. A record that is replaced meanwhile is matched again.
func (q Query) Purge(ctx context.Context, s Storage) (removed int, err error) {
	err = q.purge(ctx, s, func(string) { removed++ })
	return removed, err
}

// purge is Purge. It calls removed with the key of each record it has removed.
func (q Query) purge(ctx context.Context, s Storage, removed func(key string)) error {
	var errs []error
	q.each(ctx, s, func(found storedRecord, err error) bool {
		if err == nil {
			var gone bool
			if gone, err = q.remove(ctx, s, found); gone {
				removed(found.rec.Key)
			}
		}
		if err != nil {
			errs = append(errs, err)
		}
		return ctx.Err() == nil
	})
	return errors.Join(errs...)
}

// A storedRecord is a record, and where it was found.
type storedRecord struct {
	name    string // its key in the storage
	version store.Version
	rec     *Record
}

// each calls yield for what q selects, until yield returns false. A record with a key is
// found directly.
func (q Query) each(ctx context.Context, s Storage, yield func(storedRecord, error) bool) {
	// A record with a known key is read directly.
	if q.Key != "" {
		found, err := q.find(ctx, s, storeKey(q.Key))
		if found.rec != nil || err != nil {
			yield(found, err)
		}
		return
	}
	// Everything else must be read.
	for item, err := range s.List(ctx, "") {
		if err != nil {
			yield(storedRecord{}, fmt.Errorf("everfresh: list records: %w", err))
			return
		}
		if strings.HasPrefix(item.Key, quarantinePrefix) {
			continue
		}
		found, err := q.find(ctx, s, item.Key)
		if found.rec == nil && err == nil {
			continue
		}
		if !yield(found, err) {
			return
		}
	}
}

// find reads the record under name. It is nil if q does not select it.
func (q Query) find(ctx context.Context, s Storage, name string) (storedRecord, error) {
	item, err := s.Load(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return storedRecord{}, nil
	}
	rec := new(Record)
	if err == nil {
		err = rec.UnmarshalBinary(item.Value)
	}
	if err != nil {
		return storedRecord{}, fmt.Errorf("everfresh: read record: %w", err)
	}
	if !q.Match(rec, time.Now()) {
		return storedRecord{}, nil
	}
	return storedRecord{name, item.Version, rec}, nil
}

// remove removes what was found, or what has replaced it if q selects that, too. It reports
// whether it did.
func (q Query) remove(ctx context.Context, s Storage, found storedRecord) (bool, error) {
	// Each try is a compare-and-delete: a record that was replaced is looked at again.
	for range deleteTries {
		err := s.Delete(ctx, found.name, store.IfVersion(found.version))
		if !errors.Is(err, store.ErrConflict) {
			return err == nil, err
		}
		if found, err = q.find(ctx, s, found.name); found.rec == nil {
			return false, err
		}
	}
	return false, fmt.Errorf("everfresh: remove record: %w", store.ErrConflict)
}
