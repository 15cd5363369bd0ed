package filestore

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/everfresh-go/everfresh/store"
)

func openStore(t *testing.T, dir string, opts ...Option) *Store {
	t.Helper()
	s, err := Open(dir, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// put stores value under key.
func put(t *testing.T, s *Store, key, value string) store.Version {
	t.Helper()
	v, err := s.Store(t.Context(), key, []byte(value), store.Any())
	if err != nil {
		t.Fatalf("Store: %v", err)
	}
	return v
}

// wantValue fails unless key has the value want.
func wantValue(t *testing.T, s *Store, key, want string) {
	t.Helper()
	item, err := s.Load(t.Context(), key)
	if err != nil || string(item.Value) != want {
		t.Errorf("Load(%.40q) = %.40q, %v, want %.40q", key, item.Value, err, want)
	}
}

// filesIn returns the names in a directory.
func filesIn(t *testing.T, dir ...string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir...))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
