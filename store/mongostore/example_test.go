package mongostore_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/mongostore"
)

// Many replicas share their records.
func ExampleNew() { //nolint:testableexamples // it needs a server
	ctx := context.Background()
	client, err := mongo.Connect(options.Client().ApplyURI(os.Getenv("MONGODB_URI")))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Disconnect(ctx)

	s, err := mongostore.New(client.Database("myservice").Collection("records"))
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close() // before the client, which it leaves connected
	cache := everfresh.NewCache(ctx, everfresh.WithStorage(s))
	defer cache.Close()
}

// A write that lost a race is told apart from a server that does not answer.
func ExampleStore_Store() { //nolint:testableexamples // it needs a server
	ctx := context.Background()
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://localhost:27017/"))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Disconnect(ctx)
	s, err := mongostore.New(client.Database("myservice").Collection("records"))
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	version, err := s.Store(ctx, "k", []byte("first"), store.IfAbsent())
	switch {
	case errors.Is(err, store.ErrConflict):
		fmt.Println("another replica was first")
	case errors.Is(err, store.ErrUnavailable):
		fmt.Println("try again later: only a Load can tell whether it was stored")
	case err == nil:
		fmt.Println("stored as", version)
	}
}
