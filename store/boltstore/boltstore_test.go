package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/boltstore"
	"github.com/everfresh-go/everfresh/store/storagetest"
)

func TestConformance(t *testing.T) {
	dir := t.TempDir()
	const reason = "bbolt locks the file, so it is open once at a time"
	storagetest.Run(t, func(t *testing.T, place string) store.Storage {
		return open(t, filepath.Join(dir, place), boltstore.WithMaxValue(1<<20))
	},
		storagetest.MaxValue(1<<20),
		storagetest.Except("TwoHandles", reason),
		storagetest.Except("TwoHandlesRace", reason),
	)
}

func TestConformanceOfSharedFile(t *testing.T) {
	db := openDB(t, newPath(t))
	storagetest.Run(t, func(t *testing.T, place string) store.Storage {
		s, err := boltstore.New(db, place, boltstore.WithMaxValue(1<<20))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}, storagetest.MaxValue(1<<20))
}

func TestOpenOfAFileInUse(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	_, err := boltstore.Open(path, boltstore.WithTimeout(10*time.Millisecond))
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Open = %v, want %v", err, store.ErrUnavailable)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, path)
}

func TestOpenRefuses(t *testing.T) {
	noise := make([]byte, 1<<16)
	for i := range noise {
		noise[i] = byte(i * 7)
	}
	path := newPath(t)
	if err := os.WriteFile(path, noise, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		path string
		opt  boltstore.Option
		want error // nil means any
	}{
		{"a file that is not bbolt's", path, boltstore.WithBucket("b"), store.ErrCorrupt},
		{"a directory that is not there", filepath.Join(path+".d", "records.db"), boltstore.WithBucket("b"), os.ErrNotExist},
		{"a bucket without a name", newPath(t), boltstore.WithBucket(""), bolterrors.ErrBucketNameRequired},
		{"to wait forever", newPath(t), boltstore.WithTimeout(0), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := boltstore.Open(tt.path, tt.opt)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("Open = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestFileIsForItsOwner(t *testing.T) {
	path := newPath(t)
	open(t, path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("the mode of the file is %o, want 600", mode)
	}
}

// TestLockedFile holds bbolt's lock for writers, as the owner of a shared file may.
func TestLockedFile(t *testing.T) {
	db := openDB(t, newPath(t))
	s := newStore(t, db)
	put(t, s, "k", "old")
	tx, err := db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, errStore := s.Store(ctx, "k", []byte("new"), store.Any())
	errDelete := s.Delete(ctx, "k", store.Any())
	for _, err := range []error{errStore, errDelete} {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a write that waits returns %v, want the error of ctx", err)
		}
	}
	wantValue(t, s, "k", "old") // a read does not wait

	closed := make(chan error)
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		t.Errorf("Close = %v, before the write that waits has ended", err)
	case <-time.After(20 * time.Millisecond):
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close = %v", err)
	}
	wantValue(t, newStore(t, db), "k", "old") // the abandoned writes did nothing
}

func TestCloseOfASharedFile(t *testing.T) {
	db := openDB(t, newPath(t))
	a, b := newStore(t, db), newStore(t, db)
	put(t, a, "k", "v")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	wantValue(t, b, "k", "v")

	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Ping(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Ping of a closed file = %v, want %v", err, store.ErrClosed)
	}
}

func TestReadOnlyFile(t *testing.T) {
	path := newPath(t)
	db := openDB(t, path)
	put(t, newStore(t, db), "k", "v")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := newStore(t, db)
	wantValue(t, s, "k", "v")
	if err := s.Delete(t.Context(), "k", store.Any()); !errors.Is(err, bolterrors.ErrDatabaseReadOnly) {
		t.Errorf("Delete = %v, want %v", err, bolterrors.ErrDatabaseReadOnly)
	}
	if _, err := boltstore.New(db, "other"); err == nil {
		t.Error("New made a bucket in a read-only file")
	}
}

// TestBucketIsGone proves that a store does not make its bucket again, whose versions
// would begin again.
func TestBucketIsGone(t *testing.T) {
	db := openDB(t, newPath(t))
	s := newStore(t, db)
	put(t, s, "secret", "secret")
	err := db.Update(func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte("records")) })
	if err != nil {
		t.Fatal(err)
	}
	const want = "boltstore: store: the bucket is missing"
	if _, err := s.Store(t.Context(), "secret", nil, store.Any()); err == nil || err.Error() != want {
		t.Errorf("Store = %v, want %s", err, want)
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("Ping = nil without a bucket")
	}
}

func TestForeignEntries(t *testing.T) {
	ctx := t.Context()
	db := openDB(t, newPath(t))
	s := newStore(t, db)
	put(t, s, "k", "v")
	err := db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("records"))
		_, err := b.CreateBucket([]byte("kbucket"))
		return errors.Join(err, b.Put([]byte("kshort"), []byte("short")), b.Put([]byte("other"), nil))
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(ctx, "short"); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("Load of a short entry = %v, want %v", err, store.ErrCorrupt)
	}
	versions := make(map[string]store.Version)
	for info, err := range s.List(ctx, "") {
		if err != nil {
			t.Fatal(err)
		}
		versions[info.Key] = info.Version
	}
	if len(versions) != 2 || versions["k"] == "" || versions["short"] == "" {
		t.Errorf("List yields %v, want k and short with their versions", versions)
	}
	if _, err := s.Store(ctx, "short", []byte("whole"), store.IfVersion(versions["short"])); err != nil {
		t.Errorf("Store instead of a short entry = %v", err)
	}
	wantValue(t, s, "short", "whole")
}

// TestListOfManyPages writes during the list in the pages to come.
func TestListOfManyPages(t *testing.T) {
	db := openDB(t, newPath(t))
	db.NoSync = true
	s := newStore(t, db)
	const n = 600
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if _, err := s.Store(t.Context(), fmt.Sprintf("k%04d", i), nil, store.Any()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := 0
	for info, err := range s.List(t.Context(), "k") {
		if want := fmt.Sprintf("k%04d", seen); err != nil || info.Key != want {
			t.Fatalf("item %d is %q, %v, want %s", seen, info.Key, err, want)
		}
		if seen == 0 {
			put(t, s, "j", "")
			put(t, s, "k0000+", "") // in the page that was read
		}
		seen++
	}
	if seen != n {
		t.Errorf("List yields %d items, want %d", seen, n)
	}
}
