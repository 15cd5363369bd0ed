//go:build unix

package filestore

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/everfresh-go/everfresh/store"
)

// TestPipeInPlaceOfARecord: an open of a pipe would wait forever.
func TestPipeInPlaceOfARecord(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	if err := syscall.Mkfifo(filepath.Join(dir, recordsDir, fileName("k")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(t.Context(), "k"); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("Load of a pipe = %v, want ErrCorrupt", err)
	}
	put(t, s, "k", "v")
	wantValue(t, s, "k", "v")
}
