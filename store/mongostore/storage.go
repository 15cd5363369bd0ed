package mongostore

import (
	"context"
	"errors"
	"iter"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/everfresh-go/everfresh/store"
)

const (
	// pageLen is the number of items that a List reads at once.
	pageLen = 256
	// maxTries limits the attempts of a write that is rejected although its condition
	// holds. Another write comes in between so rarely that, after this many attempts,
	// the reason must be something else, such as another unique index.
	maxTries = 32
)

// errMissed says that a write found no document that matches its filter, or found one
// where there should be none.
var errMissed = errors.New("the write found another version")

// Load implements [store.Storage].
func (s *Store) Load(ctx context.Context, key string) (store.Item, error) {
	if err := s.begin(ctx, key); err != nil {
		return store.Item{}, err
	}
	var item store.Item
	err := s.do(ctx, "load", func() error {
		doc, err := s.coll.FindOne(ctx, byKey(key)).Raw()
		if err != nil {
			return err
		}
		item, err = decode(key, doc)
		return err
	})
	if err != nil {
		return store.Item{}, err
	}
	return item, nil
}

// Store implements [store.Storage].
func (s *Store) Store(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
	if err := s.begin(ctx, key); err != nil {
		return "", err
	}
	if int64(len(value)) > s.maxValue {
		return "", store.ErrTooLarge
	}
	version := newVersion()
	doc := encode(key, value, version)
	err := s.write(ctx, "store", key, cond, func() error { return s.put(ctx, key, doc, cond) })
	if err != nil {
		return "", err
	}
	return version, nil
}

// put writes a document if cond holds, and returns errMissed if it does not.
func (s *Store) put(ctx context.Context, key string, doc bson.D, cond store.Condition) error {
	want, conditional := cond.Want()
	switch {
	case !conditional:
		_, err := s.coll.ReplaceOne(ctx, byKey(key), doc, options.Replace().SetUpsert(true))
		return duplicateIsMissed(err) // two writes may find the key absent and insert it
	case want == "":
		_, err := s.coll.InsertOne(ctx, doc)
		return duplicateIsMissed(err)
	}
	result, err := s.coll.ReplaceOne(ctx, byVersion(key, want), doc)
	if err == nil && result.MatchedCount == 0 {
		err = errMissed
	}
	return err
}

// Delete implements [store.Storage].
func (s *Store) Delete(ctx context.Context, key string, cond store.Condition) error {
	if err := s.begin(ctx, key); err != nil {
		return err
	}
	if cond == store.IfAbsent() {
		return s.wantAbsent(ctx, key)
	}
	err := s.write(ctx, "delete", key, cond, func() error { return s.remove(ctx, key, cond) })
	if conflict := (*store.ConflictError)(nil); errors.As(err, &conflict) && conflict.Current == "" {
		return nil
	}
	return err
}

// remove deletes a document if cond holds, and returns errMissed if it does not.
func (s *Store) remove(ctx context.Context, key string, cond store.Condition) error {
	want, conditional := cond.Want()
	if !conditional {
		_, err := s.coll.DeleteOne(ctx, byKey(key))
		return err
	}
	result, err := s.coll.DeleteOne(ctx, byVersion(key, want))
	if err == nil && result.DeletedCount == 0 {
		err = errMissed
	}
	return err
}

// wantAbsent is a Delete with IfAbsent. It deletes nothing.
func (s *Store) wantAbsent(ctx context.Context, key string) error {
	current, err := s.current(ctx, "delete", key)
	if err == nil && current != "" {
		err = &store.ConflictError{Current: current}
	}
	return err
}

// write calls f until it does not return errMissed, or until cond does not hold for the
// version that is found afterwards.
func (s *Store) write(ctx context.Context, op, key string, cond store.Condition, f func() error) error {
	for range maxTries {
		err := s.do(ctx, op, f)
		if !errors.Is(err, errMissed) {
			return err
		}
		current, err := s.current(ctx, op, key)
		if err != nil {
			return err
		}
		if !cond.Holds(current) {
			return &store.ConflictError{Current: current}
		}
	}
	return &Error{Op: op, meaning: "the server rejected a write whose condition holds; there may be another unique index"}
}

// current returns the version of a key, or "" if it is absent.
func (s *Store) current(ctx context.Context, op, key string) (version store.Version, err error) {
	err = s.do(ctx, op, func() error {
		doc, err := s.coll.FindOne(ctx, byKey(key), options.FindOne().SetProjection(withoutValue())).Raw()
		if err != nil {
			return err
		}
		info, err := decodeInfo(doc)
		version = info.Version
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return version, err
}

// List implements [store.Storage].
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
	return func(yield func(store.Meta, error) bool) {
		filter := byPrefix(prefix)
		for {
			page, err := s.page(ctx, filter)
			if err != nil {
				yield(store.Meta{}, err)
				return
			}
			if !yieldPage(ctx, page, yield) || len(page) < pageLen {
				return
			}
			filter = byPrefixAfter(prefix, page[pageLen-1].Key)
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

// page returns the first items of a range. The batch size equals the limit, so that the
// server sends the items in one reply and leaves no cursor open.
func (s *Store) page(ctx context.Context, filter bson.D) ([]store.Meta, error) {
	opts := options.Find().SetSort(bson.D{{Key: fieldID, Value: 1}}).SetProjection(withoutValue()).
		SetLimit(pageLen).SetBatchSize(pageLen)
	var page []store.Meta
	err := s.do(ctx, "list", func() error {
		cursor, err := s.coll.Find(ctx, filter, opts)
		if err != nil {
			return err
		}
		defer cursor.Close(ctx) // the server has closed its own already
		for cursor.Next(ctx) {
			info, err := decodeInfo(cursor.Current)
			if err != nil {
				return err
			}
			page = append(page, info)
		}
		return cursor.Err()
	})
	if err != nil {
		return nil, err
	}
	return page, nil
}
