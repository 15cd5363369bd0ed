package tiered_test

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh/internal/everfreshtest"
	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/filestore"
	"github.com/everfresh-go/everfresh/store/sealed"
	"github.com/everfresh-go/everfresh/store/storagetest"
	"github.com/everfresh-go/everfresh/store/tiered"
)

// opener opens places as processes would, each with a store of its own that wrap makes
// around memory that stays.
func opener(wrap func(back store.Storage) store.Storage) func(*testing.T, string) store.Storage {
	var mu sync.Mutex
	places := make(map[string]store.Storage)
	return func(_ *testing.T, place string) store.Storage {
		mu.Lock()
		defer mu.Unlock()
		if places[place] == nil {
			places[place] = &everfreshtest.Hooked{Storage: new(store.Memory)}
		}
		return wrap(places[place])
	}
}

var (
	late   = storagetest.Except("TwoHandles", "what another handle writes is seen after WithMaxAge")
	behind = []storagetest.Option{
		storagetest.Except("Reopen", "after a new start a record has the version of the back store"),
		storagetest.Except("TwoHandles", "a handle sees what another writes after its flush"),
		storagetest.Except("TwoHandlesRace", "conditions hold among the writes of one handle"),
	}
)

func TestConformance(t *testing.T) {
	keys := newKeys(t)
	for _, tt := range []struct {
		name string
		wrap func(back store.Storage) store.Storage
		opts []storagetest.Option
	}{
		{"through", func(back store.Storage) store.Storage { return tiered.New(back) }, []storagetest.Option{late}},
		{
			"through, nothing is kept", func(back store.Storage) store.Storage { return tiered.New(back, tiered.WithMaxAge(1)) },
			nil,
		},
		{
			"through, little memory", func(back store.Storage) store.Storage { return tiered.New(back, tiered.WithMaxBytes(2000)) },
			[]storagetest.Option{late},
		},
		{
			"through, sealed inside", func(back store.Storage) store.Storage { return tiered.New(sealed.New(back, keys)) },
			[]storagetest.Option{late},
		},
		{
			"through, sealed outside", func(back store.Storage) store.Storage { return sealed.New(tiered.New(back), keys) },
			[]storagetest.Option{late},
		},
		{"behind", func(back store.Storage) store.Storage {
			return tiered.New(back, tiered.WithWriteBehind(time.Hour, nil))
		}, behind},
		{"behind, often", func(back store.Storage) store.Storage {
			return tiered.New(back, tiered.WithWriteBehind(time.Microsecond, nil))
		}, behind},
		{"behind, sealed inside", func(back store.Storage) store.Storage {
			return tiered.New(sealed.New(back, keys), tiered.WithWriteBehind(time.Millisecond, nil))
		}, behind},
		{"behind, sealed outside", func(back store.Storage) store.Storage {
			return sealed.New(tiered.New(back, tiered.WithWriteBehind(time.Millisecond, nil)), keys)
		}, behind},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			storagetest.Run(t, opener(tt.wrap), tt.opts...)
		})
	}
}

func newKeys(t *testing.T) sealed.Keys {
	t.Helper()
	ring, err := sealed.NewKeyRing(sealed.Key{ID: "k", Secret: sealed.NewSecret()})
	if err != nil {
		t.Fatal(err)
	}
	return sealed.Keys{Names: sealed.NewSecret(), Records: ring}
}

// TestConformanceOnDisk has files behind memory.
func TestConformanceOnDisk(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		opts   []tiered.Option
		except []storagetest.Option
	}{
		{"through", nil, []storagetest.Option{late}},
		{"behind", []tiered.Option{tiered.WithWriteBehind(time.Millisecond, nil)}, behind},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			storagetest.Run(t, func(t *testing.T, place string) store.Storage {
				back, err := filestore.Open(filepath.Join(dir, place))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { back.Close() })
				return tiered.New(back, tt.opts...)
			}, tt.except...)
		})
	}
}
