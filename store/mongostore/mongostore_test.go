package mongostore_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/mongostore"
)

// nowhere is a collection of a server that is not there.
func nowhere(t *testing.T, selection time.Duration) *mongo.Collection {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close() // its port is free
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://" + ln.Addr().String() + "/").SetServerSelectionTimeout(selection))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Disconnect(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return client.Database("everfresh").Collection("records")
}

func newStore(t *testing.T, coll *mongo.Collection, opts ...mongostore.Option) *mongostore.Store {
	t.Helper()
	s, err := mongostore.New(coll, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// calls has every method of a store, with one key.
func calls(s *mongostore.Store, key string) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"Load":   func(ctx context.Context) error { _, err := s.Load(ctx, key); return err },
		"Store":  func(ctx context.Context) error { _, err := s.Store(ctx, key, nil, store.Any()); return err },
		"Delete": func(ctx context.Context) error { return s.Delete(ctx, key, store.Any()) },
		"Delete with IfAbsent": func(ctx context.Context) error {
			return s.Delete(ctx, key, store.IfAbsent())
		},
		"List": func(ctx context.Context) error {
			for _, err := range s.List(ctx, "") {
				return err
			}
			return nil
		},
		"Ping": s.Ping,
	}
}

func TestNewRefuses(t *testing.T) {
	coll := nowhere(t, time.Minute)
	for _, n := range []int64{-1, 16<<20 - 4<<10 + 1, 1 << 40} {
		if _, err := mongostore.New(coll, mongostore.WithMaxValue(n)); err == nil {
			t.Errorf("New took values of %d bytes", n)
		}
	}
}

// TestNoServer makes a store while the server is away.
func TestNoServer(t *testing.T) {
	s := newStore(t, nowhere(t, 20*time.Millisecond))
	for name, call := range calls(s, "k") {
		if err := call(t.Context()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s = %v, want %v", name, err, store.ErrUnavailable)
		}
	}
}

// TestNoServerUntilTheContextEnds waits no longer than its caller does.
func TestNoServerUntilTheContextEnds(t *testing.T) {
	s := newStore(t, nowhere(t, time.Hour))
	for name, call := range calls(s, "k") {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s = %v, want %v", name, err, context.DeadlineExceeded)
		}
		cancel()
	}
}

// TestAnswersWithoutServer has calls for which no server is asked: there is none.
func TestAnswersWithoutServer(t *testing.T) {
	s := newStore(t, nowhere(t, time.Hour), mongostore.WithMaxValue(2))
	long := strings.Repeat("k", store.MaxKeyLen+1)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range calls(s, long) {
		if err := call(canceled); !errors.Is(err, context.Canceled) {
			t.Errorf("%s = %v, want %v", name, err, context.Canceled)
		}
		if name == "List" || name == "Ping" {
			continue
		}
		if err := call(t.Context()); !errors.Is(err, store.ErrTooLarge) {
			t.Errorf("%s of a long key = %v, want %v", name, err, store.ErrTooLarge)
		}
	}
	if _, err := s.Store(t.Context(), "k", []byte("abc"), store.Any()); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("Store of a large value = %v, want %v", err, store.ErrTooLarge)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	for name, call := range calls(s, "k") {
		if err := call(t.Context()); !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s after Close = %v, want %v", name, err, store.ErrClosed)
		}
	}
}
