package sqlstore

import (
	"context"
	"database/sql"
	"iter"
	"strconv"
	"strings"

	"github.com/everfresh-go/everfresh/store"
)

// afterAll is greater than every key.
var afterAll = strings.Repeat("\xff", store.MaxKeyLen+1)

// Load implements [store.Storage].
func (s *Store) Load(ctx context.Context, key string) (store.Item, error) {
	if len(key) > store.MaxKeyLen {
		return store.Item{}, store.ErrTooLarge
	}
	var item store.Item
	err := s.read(ctx, "load", func() error {
		item = store.Item{Key: key} // an earlier try may have set the other fields
		err := s.query(ctx, s.queries.load, func(rows *sql.Rows) error {
			var version int64
			err := rows.Scan(&item.Value, &version)
			item.Version = formatVersion(version)
			return err
		}, []byte(key))
		if err == nil && item.Version == "" {
			err = store.ErrNotFound
		}
		return err
	})
	if err != nil {
		return store.Item{}, err
	}
	return item, nil
}

// Store implements [store.Storage].
func (s *Store) Store(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
	if len(key) > store.MaxKeyLen || int64(len(value)) > s.maxValue {
		return "", store.ErrTooLarge
	}
	if value == nil {
		value = []byte{} // nil would be stored as NULL
	}
	query, args := s.queries.put, []any{[]byte(key), value}
	if want, ok := cond.Want(); ok && want == "" {
		query = s.queries.create
	} else if ok {
		query, args = s.queries.replace, append(args, parseVersion(want))
	}
	for { // until the write succeeds, or cond does not hold for the version found afterwards
		version, err := s.writeVersion(ctx, "store", query, args...)
		if err != nil || version != "" {
			return version, err
		}
		current, err := s.current(ctx, "store", key)
		if err != nil {
			return "", err
		}
		if !cond.Holds(current) {
			return "", &store.ConflictError{Current: current}
		}
	}
}

// Delete implements [store.Storage].
func (s *Store) Delete(ctx context.Context, key string, cond store.Condition) error {
	if len(key) > store.MaxKeyLen {
		return store.ErrTooLarge
	}
	query, args := s.queries.remove, []any{[]byte(key)}
	want, conditional := cond.Want()
	if conditional { // no item has the version "", so IfAbsent deletes nothing
		query, args = s.queries.removeVersion, append(args, parseVersion(want))
	}
	for {
		version, err := s.writeVersion(ctx, "delete", query, args...)
		if err != nil || version != "" || !conditional {
			return err
		}
		current, err := s.current(ctx, "delete", key)
		if err != nil || current == "" {
			return err
		}
		if !cond.Holds(current) {
			return &store.ConflictError{Current: current}
		}
	}
}

// writeVersion runs a statement that returns a version, and returns "" if there is no row.
func (s *Store) writeVersion(ctx context.Context, op, query string, args ...any) (version store.Version, err error) {
	err = s.write(ctx, op, func() error {
		version = "" // an earlier try that failed to commit may have set it
		return s.query(ctx, query, scanVersion(&version), args...)
	})
	if err != nil {
		return "", err
	}
	return version, nil
}

// current returns the version of a key, or "" if it is absent.
func (s *Store) current(ctx context.Context, op, key string) (version store.Version, err error) {
	err = s.read(ctx, op, func() error {
		version = ""
		return s.query(ctx, s.queries.current, scanVersion(&version), []byte(key))
	})
	return version, err
}

// List implements [store.Storage].
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
	return func(yield func(store.Meta, error) bool) {
		for from, more := prefix, true; more; {
			page, err := s.page(ctx, from, prefixEnd(prefix))
			if err != nil {
				yield(store.Meta{}, err)
				return
			}
			if !yieldPage(ctx, page, yield) {
				return
			}
			if more = len(page) == pageLen; more {
				from = page[pageLen-1].Key + "\x00" // the smallest key after it
			}
		}
	}
}

// yieldPage yields the items of page and reports whether the loop continues.
func yieldPage(ctx context.Context, page []store.Meta, yield func(store.Meta, error) bool) bool {
	for _, info := range page {
		if err := ctx.Err(); err != nil {
			yield(store.Meta{}, err)
			return false
		}
		if !yield(info, nil) {
			return false
		}
	}
	return true
}

// page returns the first items whose keys are at least from and less than end.
func (s *Store) page(ctx context.Context, from, end string) ([]store.Meta, error) {
	var page []store.Meta
	err := s.read(ctx, "list", func() error {
		page = nil
		return s.query(ctx, s.queries.list, func(rows *sql.Rows) error {
			var key []byte
			var version, size int64
			err := rows.Scan(&key, &version, &size)
			page = append(page, store.Meta{Key: string(key), Version: formatVersion(version), Size: size})
			return err
		}, []byte(from), []byte(end))
	})
	if err != nil {
		return nil, err
	}
	return page, nil
}

// prefixEnd returns the smallest string that is greater than all strings with prefix.
func prefixEnd(prefix string) string {
	end := []byte(prefix)
	for len(end) > 0 && end[len(end)-1] == 0xff {
		end = end[:len(end)-1]
	}
	if len(end) == 0 {
		return afterAll
	}
	end[len(end)-1]++
	return string(end)
}

func scanVersion(to *store.Version) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		var version int64
		if err := rows.Scan(&version); err != nil {
			return err
		}
		*to = formatVersion(version)
		return nil
	}
}

func formatVersion(version int64) store.Version {
	return store.Version(strconv.FormatInt(version, 10))
}

// parseVersion returns the number of a version that formatVersion made. For any other
// version it returns 0, which no item has.
func parseVersion(v store.Version) int64 {
	version, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || formatVersion(version) != v {
		return 0
	}
	return version
}
