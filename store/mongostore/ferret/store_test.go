package ferret_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/everfresh-go/everfresh/internal/drivertest"
	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/mongostore"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// TestContention lets 64 writers of 8 clients race for one key, absent and present.
func TestContention(t *testing.T) {
	server := startServer(t)
	var stores []store.Storage
	for range 8 {
		stores = append(stores, newStore(t, server.collection(t, "contention")))
	}
	version := store.Version("")
	for range 3 {
		var mu sync.Mutex
		var won []store.Version
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				v, err := stores[i%len(stores)].Store(t.Context(), "k", nil, store.IfVersion(version))
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					won = append(won, v)
				} else if !errors.Is(err, store.ErrConflict) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("%d of 64 writers won, want one", len(won))
		}
		version = won[0]
	}
}

// TestListPages has more items than a page, and than a batch of the server's.
func TestListPages(t *testing.T) {
	for _, n := range []int{255, 256, 257, 600} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			coll := startServer(t).collection(t, "pages")
			s := newStore(t, coll)
			var docs []any
			for i := range n {
				docs = append(docs, document(fmt.Sprintf("k%04d", i), "v"))
			}
			if _, err := coll.InsertMany(t.Context(), docs); err != nil {
				t.Fatal(err)
			}
			seen := 0
			for info, err := range s.List(t.Context(), "k") {
				if want := fmt.Sprintf("k%04d", seen); err != nil || info.Key != want || info.Size != 1 {
					t.Fatalf("item %d is %+v, %v, want %s", seen, info, err, want)
				}
				seen++
			}
			if seen != n {
				t.Errorf("List yields %d items, want %d", seen, n)
			}
		})
	}
}

// document is one as the store's documentation has it.
func document(key, value string) bson.D {
	return bson.D{
		{Key: "_id", Value: fmt.Sprintf("%x", key)},
		{Key: "version", Value: "ABCDEFGHIJKLMNOPQRSTUVWXYZ"},
		{Key: "size", Value: int64(len(value))},
		{Key: "value", Value: []byte(value)},
	}
}

func TestPrefixes(t *testing.T) {
	drivertest.Prefixes(t, newStore(t, startServer(t).collection(t, "prefixes")))
}

// TestConditionsAreExact gives versions that are not the store's.
func TestConditionsAreExact(t *testing.T) {
	s := newStore(t, startServer(t).collection(t, "exact"))
	version := put(t, s, "v")
	drivertest.ExactConditions(t, s, "k", version,
		version+" ", store.Version(strings.ToLower(string(version))), "$exists", "\xff", "\x00", version[:25])
	wantValue(t, s, "v")
}

// TestForeignDocuments has documents that another program has put into the collection.
func TestForeignDocuments(t *testing.T) {
	id := bson.E{Key: "_id", Value: "6b"} // k
	for name, doc := range map[string]bson.D{
		"bare":             {id},
		"another type":     {id, {Key: "version", Value: 1}, {Key: "size", Value: int64(1)}, {Key: "value", Value: []byte("v")}},
		"an empty version": {id, {Key: "version", Value: ""}, {Key: "size", Value: int64(1)}, {Key: "value", Value: []byte("v")}},
		"another length":   {id, {Key: "version", Value: "v"}, {Key: "size", Value: int64(2)}, {Key: "value", Value: []byte("v")}},
		"text for a value": {id, {Key: "version", Value: "v"}, {Key: "size", Value: int64(1)}, {Key: "value", Value: "v"}},
	} {
		t.Run(name, func(t *testing.T) {
			coll := startServer(t).collection(t, "foreign")
			s := newStore(t, coll)
			if _, err := coll.InsertOne(t.Context(), doc); err != nil {
				t.Fatal(err)
			}
			if item, err := s.Load(t.Context(), "k"); !errors.Is(err, store.ErrCorrupt) || item.Version != "" {
				t.Errorf("Load = %+v, %v, want %v", item, err, store.ErrCorrupt)
			}
			put(t, s, "mended")
			wantValue(t, s, "mended")
		})
	}
	t.Run("upper case", func(t *testing.T) { // a second name of a key
		coll := startServer(t).collection(t, "foreign")
		if _, err := coll.InsertOne(t.Context(), bson.D{{Key: "_id", Value: "6B"}, {Key: "version", Value: "v"}, {Key: "size", Value: int64(0)}}); err != nil {
			t.Fatal(err)
		}
		for info, err := range newStore(t, coll).List(t.Context(), "") {
			if !errors.Is(err, store.ErrCorrupt) || info != (store.Meta{}) {
				t.Errorf("List yields %+v, %v, want %v", info, err, store.ErrCorrupt)
			}
		}
	})
}

// TestForeignIndex has a unique index that refuses what the contract allows.
func TestForeignIndex(t *testing.T) {
	const secret = "canary"
	coll := startServer(t).collection(t, "indexed")
	index := mongo.IndexModel{Keys: bson.D{{Key: "size", Value: 1}}, Options: options.Index().SetUnique(true)}
	if _, err := coll.Indexes().CreateOne(t.Context(), index); err != nil {
		t.Fatal(err)
	}
	s := newStore(t, coll)
	put(t, s, secret)
	_, raw := coll.InsertOne(t.Context(), document(secret, secret))
	if !mongo.IsDuplicateKeyError(raw) {
		t.Fatalf("the driver's error is %v, which proves nothing", raw)
	}
	_, errCreate := s.Store(t.Context(), secret, []byte(secret), store.IfAbsent())
	_, errAny := s.Store(t.Context(), secret, []byte(secret), store.Any())
	for _, err := range []error{errCreate, errAny} {
		var e *mongostore.Error
		if !errors.As(err, &e) || errors.Is(err, store.ErrUnavailable) || strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) {
			t.Errorf("the error is %v, want an *Error that is permanent and quotes nothing", err)
		}
	}
}

// TestSettingsOfTheClient proves that the store asks for what its documentation says,
// whatever the client was told. The read preference does not show: the driver sends none
// to a single server.
func TestSettingsOfTheClient(t *testing.T) {
	var mu sync.Mutex
	sent := make(map[string]bson.Raw)
	monitor := &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		mu.Lock()
		defer mu.Unlock()
		sent[e.CommandName] = slices.Clone(e.Command)
	}}
	coll := startServer(t).collection(t, "settings", options.Client().SetMonitor(monitor).
		SetWriteConcern(writeconcern.W1()).
		SetBSONOptions(&options.BSONOptions{ObjectIDAsHexString: true, NilByteSliceAsEmpty: true}))
	s := newStore(t, coll)
	version, err := s.Store(t.Context(), "k", nil, store.IfAbsent())
	if err != nil {
		t.Fatal(err)
	}
	_, errStore := s.Store(t.Context(), "k", []byte("v"), store.IfVersion(version))
	_, errLoad := s.Load(t.Context(), "k")
	if err := errors.Join(errStore, errLoad, s.Delete(t.Context(), "k", store.Any())); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for command, path := range map[string][]string{
		"insert": {"writeConcern", "w"}, "update": {"writeConcern", "w"}, "delete": {"writeConcern", "w"}, "find": {"readConcern", "level"},
	} {
		if got, _ := sent[command].Lookup(path...).StringValueOK(); got != "majority" {
			t.Errorf("%s says %v: %q, want majority", command, path, got)
		}
	}
}

func TestCloseLeavesTheClientConnected(t *testing.T) {
	coll := startServer(t).collection(t, "open")
	a, b := newStore(t, coll), newStore(t, coll)
	put(t, a, "v")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	wantValue(t, b, "v")
}
