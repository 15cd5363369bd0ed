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

// maxValue leaves room for the longest key and the other fields in a document, of
// which MongoDB takes 16 MiB.
const maxValue = 16<<20 - 4<<10

var (
	_ store.Storage = (*Store)(nil)
	_ store.Pinger  = (*Store)(nil)
	_ io.Closer     = (*Store)(nil)
)

// A Store is a [store.Storage] in one collection. Make one with [New]. All methods may
// be called from many goroutines at once. A List is sorted by key. It reads page after
// page and holds no cursor between them; what is written between two pages shows in
// the second.
//
// Besides the errors of the contract, a Store returns [*Error].
type Store struct {
	coll     *mongo.Collection
	maxValue int64
	closed   atomic.Bool
}

// An Option changes what [New] makes.
type Option func(*config)

type config struct {
	maxValue int64
}

// WithMaxValue sets the largest value in bytes. Store of more returns
// [store.ErrTooLarge]. The default, and the most there can be, is 4 KiB less than the
// 16 MiB of a document.
func WithMaxValue(n int64) Option {
	return func(c *config) { c.maxValue = n }
}

// New returns a store in coll. It asks the server nothing, so a program starts while
// that is down; [Store.Ping] asks. The read and write concern, the read preference and
// the BSON settings of coll have no effect. Its client stays the caller's, who
// disconnects it after the store is closed; the store's Close does not.
func New(coll *mongo.Collection, opts ...Option) (*Store, error) {
	c := config{maxValue: maxValue}
	for _, opt := range opts {
		opt(&c)
	}
	if c.maxValue < 0 || c.maxValue > maxValue {
		return nil, fmt.Errorf("mongostore: the largest value cannot be of %d bytes: want 0 to %d", c.maxValue, maxValue)
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

// Close makes every later call but Close return [store.ErrClosed]; it returns nil at
// once. Calls under way complete. A List that has begun goes on with the page it has.
func (s *Store) Close() error {
	s.closed.Store(true)
	return nil
}

// begin returns why a call fails in any state of the server.
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

// do calls f, and returns its error as one of the contract or as an [*Error].
func (s *Store) do(ctx context.Context, op string, f func() error) error {
	if err := s.begin(ctx, ""); err != nil {
		return err
	}
	return classify(ctx, op, f())
}
