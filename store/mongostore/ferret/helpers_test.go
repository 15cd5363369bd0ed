package ferret_test

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/mongostore"
)

// startFerret runs a server on the files of a directory, and returns its address. It
// ends with the test, or with stop.
func startFerret(t *testing.T, dir string) (addr string, stop func()) {
	t.Helper()
	ferret, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: "127.0.0.1:0"},
		Handler:   "sqlite",
		SQLiteURL: "file:" + dir + "/",
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context())) // the stores are closed after t's ends
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := ferret.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	uri, err := url.Parse(ferret.MongoDBURI())
	if err != nil {
		t.Fatal(err)
	}
	return uri.Host, stop
}

// A server is a FerretDB of its own, behind a proxy.
type server struct{ *proxy }

func startServer(t *testing.T) server {
	t.Helper()
	addr, _ := startFerret(t, t.TempDir())
	return server{startProxy(t, addr)}
}

// client makes a new connection. A server that is down is noticed soon.
func (s server) client(t *testing.T, opts ...*options.ClientOptions) *mongo.Client {
	t.Helper()
	base := options.Client().ApplyURI("mongodb://" + s.addr + "/").SetServerSelectionTimeout(10 * time.Second).SetHeartbeatInterval(time.Second)
	all := []*options.ClientOptions{base}
	client, err := mongo.Connect(options.MergeClientOptions(append(all, opts...)...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Disconnect(context.WithoutCancel(t.Context())); err != nil && !errors.Is(err, mongo.ErrClientDisconnected) {
			t.Error(err)
		}
	})
	return client
}

// collection is one of the database that all tests of a server share.
func (s server) collection(t *testing.T, name string, opts ...*options.ClientOptions) *mongo.Collection {
	t.Helper()
	return s.client(t, opts...).Database("everfresh").Collection(name)
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

// put stores a value under k.
func put(t *testing.T, s store.Storage, value string) store.Version {
	t.Helper()
	version, err := s.Store(t.Context(), "k", []byte(value), store.Any())
	if err != nil {
		t.Fatal(err)
	}
	return version
}

// wantValue loads k.
func wantValue(t *testing.T, s store.Storage, want string) {
	t.Helper()
	item, err := s.Load(t.Context(), "k")
	if err != nil || string(item.Value) != want {
		t.Errorf("Load = %q, %v, want %q", item.Value, err, want)
	}
}

func wantTemporary(t *testing.T, err error) {
	t.Helper()
	var e *mongostore.Error
	if !errors.As(err, &e) || !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("the error is %v, want an *Error that is %v", err, store.ErrUnavailable)
	}
}
