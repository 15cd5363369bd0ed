package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"strconv"

	bolt "go.etcd.io/bbolt"

	"github.com/everfresh-go/everfresh/store"
)

const (
	keyMark    = 'k' // precedes every key, because bbolt does not allow empty ones
	versionLen = 8   // precedes every value
	pageLen    = 256 // number of items that a List reads in one transaction

	// damagedVersion is the version of an item that is too short to contain one, so
	// that it can be listed, and replaced or deleted with a condition.
	damagedVersion = store.Version("damaged")
)

// errUnchanged rolls back a transaction that has nothing to write, which saves a sync.
var errUnchanged = errors.New("nothing to write")

// Load implements [store.Storage].
func (s *Store) Load(ctx context.Context, key string) (store.Item, error) {
	if len(key) > store.MaxKeyLen {
		return store.Item{}, store.ErrTooLarge
	}
	return do(ctx, s, "load", func() (item store.Item, err error) {
		err = s.view(func(b *bolt.Bucket) error {
			entry := b.Get(encodeKey(key))
			switch {
			case entry == nil:
				return store.ErrNotFound
			case len(entry) < versionLen:
				return store.ErrCorrupt
			}
			item = store.Item{Key: key, Value: bytes.Clone(entry[versionLen:]), Version: versionOf(entry)}
			return nil
		})
		return item, err
	})
}

// Store implements [store.Storage].
func (s *Store) Store(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
	if len(key) > store.MaxKeyLen || int64(len(value)) > s.max {
		return "", store.ErrTooLarge
	}
	entry := append(make([]byte, versionLen, versionLen+len(value)), value...)
	return do(ctx, s, "store", func() (store.Version, error) {
		err := s.update(ctx, func(b *bolt.Bucket) error {
			if current := versionOf(b.Get(encodeKey(key))); !cond.Holds(current) {
				return &store.ConflictError{Current: current}
			}
			n, err := b.NextSequence()
			if err != nil {
				return err
			}
			binary.BigEndian.PutUint64(entry, n)
			return b.Put(encodeKey(key), entry)
		})
		return versionOf(entry), err
	})
}

// Delete implements [store.Storage].
func (s *Store) Delete(ctx context.Context, key string, cond store.Condition) error {
	if len(key) > store.MaxKeyLen {
		return store.ErrTooLarge
	}
	_, err := do(ctx, s, "delete", func() (struct{}, error) {
		err := s.update(ctx, func(b *bolt.Bucket) error {
			entry := b.Get(encodeKey(key))
			if entry == nil {
				return errUnchanged
			}
			if current := versionOf(entry); !cond.Holds(current) {
				return &store.ConflictError{Current: current}
			}
			return b.Delete(encodeKey(key))
		})
		if errors.Is(err, errUnchanged) {
			err = nil
		}
		return struct{}{}, err
	})
	return err
}

// List implements [store.Storage].
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
	return func(yield func(store.Meta, error) bool) {
		for from, more := prefix, true; more; {
			page, err := do(ctx, s, "list", func() ([]store.Meta, error) { return s.page(prefix, from) })
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

// page returns the first items, from the key from on, whose keys begin with prefix.
func (s *Store) page(prefix, from string) ([]store.Meta, error) {
	var page []store.Meta
	err := s.view(func(b *bolt.Bucket) error {
		c := b.Cursor()
		mark := encodeKey(prefix)
		for k, entry := c.Seek(encodeKey(from)); bytes.HasPrefix(k, mark) && len(page) < pageLen; k, entry = c.Next() {
			if entry == nil { // a nested bucket, which is not ours
				continue
			}
			page = append(page, store.Meta{
				Key:     string(k[1:]),
				Version: versionOf(entry),
				Size:    int64(max(len(entry)-versionLen, 0)),
			})
		}
		return nil
	})
	return page, err
}

func encodeKey(key string) []byte {
	return append([]byte{keyMark}, key...)
}

// versionOf returns the version in an entry, or "" if entry is nil.
func versionOf(entry []byte) store.Version {
	switch {
	case entry == nil:
		return ""
	case len(entry) < versionLen:
		return damagedVersion
	}
	return store.Version(strconv.FormatUint(binary.BigEndian.Uint64(entry), 10))
}
