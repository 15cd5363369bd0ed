package mongostore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/everfresh-go/everfresh/store"
)

// maxValue leaves room for the longest key and the other fields in a document, which
// MongoDB limits to 16 MiB.
const maxValue = 16<<20 - 4<<10

var (
	_ store.Storage = (*Store)(nil)
	_ store.Pinger  = (*Store)(nil)
	_ io.Closer     = (*Store)(nil)
)

// A Store is a [store.Storage] in one collection. Make one with [New]. All methods are
// safe for concurrent use. A List is sorted by key. It reads page by page and holds no
// cursor in between; the second page shows what was written after the first.
//
// Besides the errors of the contract, a Store returns [*Error].
type Store struct {
	coll     *mongo.Collection
	maxValue int64
	closed   atomic.Bool
}

// An Option configures a store that [New] returns.
type Option func(*config)

type config struct {
	maxValue int64
}

// WithMaxValue sets the size limit for values, in bytes. Store returns
// [store.ErrTooLarge] for a larger value. The default, which is also the maximum, is 16
// MiB (the limit for a document) minus 4 KiB.
func WithMaxValue(n int64) Option {
	return func(c *config) { c.maxValue = n }
}

// New returns a store in coll. It does not contact the server, so a program can start
// while the server is down; use [Store.Ping] to check. The read and write concern, the
// read preference and the BSON settings of coll have no effect. The caller still owns
// the client, and disconnects it after closing the store; the store's Close does not.
func New(coll *mongo.Collection, opts ...Option) (*Store, error) {
	c := config{maxValue: maxValue}
	for _, opt := range opts {
		opt(&c)
	}
	if c.maxValue < 0 || c.maxValue > maxValue {
		return nil, fmt.Errorf("mongostore: invalid size limit of %d bytes: want 0 to %d", c.maxValue, maxValue)
	}
	own := options.Collection().
		SetWriteConcern(writeconcern.Majority()).
		SetReadConcern(readconcern.Majority()).
		SetReadPreference(readpref.Primary()).
		SetRegistry(bson.NewRegistry()).
		SetBSONOptions(&options.BSONOptions{})
	return &Store{coll: coll.Clone(own), maxValue: c.maxValue}, nil
}

// Ping implements [store.Pinger]: it reads the collection.
func (s *Store) Ping(ctx context.Context) error {
	return s.do(ctx, "ping", func() error {
		err := s.coll.FindOne(ctx, byKey(""), options.FindOne().SetProjection(bson.D{{Key: "_id", Value: 1}})).Err()
		if errors.Is(err, mongo.ErrNoDocuments) {
			return nil
		}
		return err
	})
}

// Close makes every later call except Close return [store.ErrClosed]. It returns nil
// immediately. Calls in progress complete. A List in progress still yields the page
// that it has read.
func (s *Store) Close() error {
	s.closed.Store(true)
	return nil
}

// begin returns the error of a call that fails without asking the server, or nil.
func (s *Store) begin(ctx context.Context, key string) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case s.closed.Load():
		return store.ErrClosed
	case len(key) > store.MaxKeyLen:
		return store.ErrTooLarge
	}
	return nil
}

// do calls f and returns its error as an error of the contract or an [*Error].
func (s *Store) do(ctx context.Context, op string, f func() error) error {
	if err := s.begin(ctx, ""); err != nil {
		return err
	}
	return classify(ctx, op, f())
}
