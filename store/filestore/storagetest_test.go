package filestore

import (
	"path/filepath"
	"testing"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/storagetest"
)

func TestStoreKeepsContract(t *testing.T) {
	const limit = 1 << 20
	dir := t.TempDir()
	storagetest.Run(t, func(t *testing.T, place string) store.Storage {
		return openStore(t, filepath.Join(dir, place), WithMaxValue(limit))
	}, storagetest.MaxValue(limit))
}
