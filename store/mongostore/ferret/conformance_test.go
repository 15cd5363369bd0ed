package ferret_test

import (
	"testing"

	"github.com/everfresh-go/everfresh/internal/drivertest"
	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/mongostore"
	"github.com/everfresh-go/everfresh/store/storagetest"
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
	var slow []storagetest.Option
	if raceDetector {
		const reason = "minutes: FerretDB scans the collection for each conditional write, and sealed writes no others"
		slow = append(slow, storagetest.Except("Concurrent", reason), storagetest.Except("ListWhileWriting", reason))
	}
	for name, tt := range drivertest.Wrappers(t) {
		if name == "sealed" {
			tt.Options = slow
		}
		t.Run(name, func(t *testing.T) {
			server := startServer(t)
			storagetest.Run(t, func(t *testing.T, place string) store.Storage {
				return tt.Wrap(newStore(t, server.collection(t, place)))
			}, tt.Options...)
		})
	}
}
