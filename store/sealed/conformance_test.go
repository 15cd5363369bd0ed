package sealed_test

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/everfresh-go/everfresh/internal/everfreshtest"
	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/filestore"
	"github.com/everfresh-go/everfresh/store/sealed"
	"github.com/everfresh-go/everfresh/store/storagetest"
)

// TestConformance opens a place twice as two processes would, each with a Store of its
// own. The memory inside stays open.
func TestConformance(t *testing.T) {
	var mu sync.Mutex
	places := make(map[string]store.Storage)
	keys := newKeys(t)
	storagetest.Run(t, func(_ *testing.T, place string) store.Storage {
		mu.Lock()
		defer mu.Unlock()
		if places[place] == nil {
			places[place] = &everfreshtest.Hooked{Storage: new(store.Memory)}
		}
		return sealed.New(places[place], keys)
	})
}

// TestConformanceOfClose has an inner store that is closed with the outer one.
func TestConformanceOfClose(t *testing.T) {
	if err := storagetest.Check(t.Context(), sealed.New(new(store.Memory), newKeys(t))); err != nil {
		t.Error(err)
	}
}

// TestConformanceOnDisk has a place opened by two processes in one directory.
func TestConformanceOnDisk(t *testing.T) {
	t.Parallel()
	dir, keys := t.TempDir(), newKeys(t)
	storagetest.Run(t, func(t *testing.T, place string) store.Storage {
		inner, err := filestore.Open(filepath.Join(dir, place))
		if err != nil {
			t.Fatal(err)
		}
		return sealed.New(inner, keys)
	})
}
