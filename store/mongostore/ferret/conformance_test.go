package ferret_test

import (
	"testing"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/mongostore"
	"github.com/everfresh-go/everfresh/store/sealed"
	"github.com/everfresh-go/everfresh/store/storagetest"
	"github.com/everfresh-go/everfresh/store/tiered"
)

// TestConformance has a client for each handle. The places are collections.
func TestConformance(t *testing.T) {
	server := startServer(t)
	storagetest.Run(t, func(t *testing.T, place string) store.Storage {
		return newStore(t, server.collection(t, place), mongostore.WithMaxValue(1<<20))
	}, storagetest.MaxValue(1<<20))
}

// TestCheck has one collection for all checks, and leaves it empty.
func TestCheck(t *testing.T) {
	coll := startServer(t).collection(t, "check")
	if err := storagetest.Check(t.Context(), newStore(t, coll), storagetest.MaxValue(16<<20-4<<10)); err != nil {
		t.Error(err)
	}
}

// TestConformanceWrapped has the wrappers around the store.
func TestConformanceWrapped(t *testing.T) {
	ring, err := sealed.NewKeyRing(sealed.Key{ID: "1", Secret: sealed.NewSecret()})
	if err != nil {
		t.Fatal(err)
	}
	keys := sealed.Keys{Names: sealed.NewSecret(), Records: ring}
	var slow []storagetest.Option
	if raceDetector {
		const reason = "minutes: FerretDB scans the collection for each conditional write, and sealed writes no others"
		slow = append(slow, storagetest.Except("Concurrent", reason), storagetest.Except("ListWhileWriting", reason))
	}
	for name, tt := range map[string]struct {
		wrap func(store.Storage) store.Storage
		opts []storagetest.Option
	}{
		"sealed": {func(s store.Storage) store.Storage { return sealed.New(s, keys) }, slow},
		"tiered": {func(s store.Storage) store.Storage { return tiered.New(s) }, []storagetest.Option{
			storagetest.Except("TwoHandles", "writes of another handle are seen after WithMaxAge"),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			server := startServer(t)
			storagetest.Run(t, func(t *testing.T, place string) store.Storage {
				return tt.wrap(newStore(t, server.collection(t, place)))
			}, tt.opts...)
		})
	}
}
