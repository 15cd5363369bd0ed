package store_test

import (
	"testing"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/storagetest"
)

func TestMemoryKeepsContract(t *testing.T) {
	const reason = "each Memory has its own items, until Close"
	storagetest.Run(t, func(*testing.T, string) store.Storage { return new(store.Memory) },
		storagetest.Except("Reopen", reason),
		storagetest.Except("ReopenVersions", reason),
		storagetest.Except("TwoHandles", reason),
		storagetest.Except("TwoHandlesRace", reason),
	)
}
