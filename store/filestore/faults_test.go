package filestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/everfresh-go/everfresh/store"
)

// A faultTree is a tree, and a lock, of which one step fails, or all from then on.
type faultTree struct {
	tree
	err    error // nil: nothing fails
	at     int   // the step that fails, from 1
	sticky bool  // all later ones fail too
	steps  int
}

// fault counts a step and returns its error.
func (t *faultTree) fault() error {
	t.steps++
	if now := t.steps == t.at || t.sticky && t.steps > t.at; t.err == nil || !now {
		return nil
	}
	return &fs.PathError{Op: "fault", Path: "a-path-that-must-not-show", Err: t.err}
}

func (t *faultTree) Open(name string) (readFile, error) {
	if err := t.fault(); err != nil {
		return nil, err
	}
	f, err := t.tree.Open(name)
	if err != nil {
		return nil, err
	}
	return &faultReader{f, t}, nil
}

func (t *faultTree) Names(dir string) ([]string, error) {
	if err := t.fault(); err != nil {
		return nil, err
	}
	return t.tree.Names(dir)
}

func (t *faultTree) Mkdir(name string) error {
	return t.either(func() error { return t.tree.Mkdir(name) })
}

func (t *faultTree) Create(name string) (writeFile, error) {
	if err := t.fault(); err != nil {
		return nil, err
	}
	f, err := t.tree.Create(name)
	if err != nil {
		return nil, err
	}
	return &faultWriter{f, t}, nil
}

func (t *faultTree) Rename(from, to string) error {
	return t.either(func() error { return t.tree.Rename(from, to) })
}

func (t *faultTree) Remove(name string) error {
	return t.either(func() error { return t.tree.Remove(name) })
}

func (t *faultTree) Sync(dir string) error {
	return t.either(func() error { return t.tree.Sync(dir) })
}

func (t *faultTree) TryLock() (bool, error) {
	err := t.fault()
	return err == nil, err
}

func (t *faultTree) Unlock() error { return t.fault() }

func (t *faultTree) either(do func() error) error {
	if err := t.fault(); err != nil {
		return err
	}
	return do()
}

type faultReader struct {
	readFile
	tree *faultTree
}

func (f *faultReader) Read(p []byte) (int, error) {
	if err := f.tree.fault(); err != nil {
		return 0, err
	}
	return f.readFile.Read(p)
}

func (f *faultReader) Size() (int64, error) {
	if err := f.tree.fault(); err != nil {
		return 0, err
	}
	return f.readFile.Size()
}

func (f *faultReader) Close() error {
	return errors.Join(f.tree.fault(), f.readFile.Close())
}

type faultWriter struct {
	writeFile
	tree *faultTree
}

func (f *faultWriter) Write(p []byte) (int, error) {
	if err := f.tree.fault(); err != nil {
		n, errWrite := f.writeFile.Write(p[:len(p)/2])
		return n, errors.Join(err, errWrite)
	}
	return f.writeFile.Write(p)
}

func (f *faultWriter) Sync() error {
	return f.tree.either(f.writeFile.Sync)
}

func (f *faultWriter) Close() error {
	return errors.Join(f.tree.fault(), f.writeFile.Close())
}

// A faultOp is a call that a fault may meet. The value of k is "old" before.
type faultOp struct {
	name   string
	broken bool // the record of k is damaged before
	change bool // k may be new, or absent, afterwards
	do     func(ctx context.Context, s *Store) error
}

var faultOps = []faultOp{
	{"Load", false, false, func(ctx context.Context, s *Store) error {
		_, err := s.Load(ctx, "k")
		return err
	}},
	{"Store", false, true, func(ctx context.Context, s *Store) error {
		_, err := s.Store(ctx, "k", []byte("new"), store.Any())
		return err
	}},
	{"Store with a condition", false, true, func(ctx context.Context, s *Store) error {
		item, err := s.Load(ctx, "k")
		if err == nil {
			_, err = s.Store(ctx, "k", []byte("new"), store.IfVersion(item.Version))
		}
		return err
	}},
	{"Store of a new key", false, false, func(ctx context.Context, s *Store) error {
		_, err := s.Store(ctx, "new", []byte("new"), store.IfAbsent())
		return err
	}},
	{"Store over a damaged record", true, true, func(ctx context.Context, s *Store) error {
		_, err := s.Store(ctx, "k", []byte("new"), store.Any())
		return err
	}},
	{"Delete", false, true, func(ctx context.Context, s *Store) error { return s.Delete(ctx, "k", store.Any()) }},
	{"Delete of a damaged record", true, true, func(ctx context.Context, s *Store) error {
		return s.Delete(ctx, "k", store.Any())
	}},
	{"Delete of an absent key", false, false, func(ctx context.Context, s *Store) error {
		return s.Delete(ctx, "absent", store.Any())
	}},
	{"List", false, false, func(ctx context.Context, s *Store) error {
		for _, err := range s.List(ctx, "") {
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{"Ping", false, false, func(ctx context.Context, s *Store) error { return s.Ping(ctx) }},
	{"Open", false, false, func(_ context.Context, s *Store) error { return s.prepare() }},
}

var faultErrs = []syscall.Errno{syscall.ENOSPC, syscall.EIO, syscall.EROFS, syscall.EMFILE}

// TestFaultAtEveryStep: whatever fails, the caller gets an error, the old record can
// be read, and the same call works when the fault is gone.
func TestFaultAtEveryStep(t *testing.T) {
	for _, op := range faultOps {
		for _, sticky := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, sticky %t", op.name, sticky), func(t *testing.T) {
				for _, errno := range faultErrs {
					steps := 0
					for at := 1; ; at++ {
						f := &faultTree{tree: newMemTree(), at: at, sticky: sticky}
						if !faultAt(t, f, errno, op) {
							break
						}
						steps++
					}
					if steps == 0 {
						t.Error("there was no step that could fail")
					}
				}
			})
		}
	}
}

// faultAt makes one call that meets a fault, and reports whether it did.
func faultAt(t *testing.T, f *faultTree, errno error, op faultOp) bool {
	t.Helper()
	ctx := t.Context()
	s := newStore(f, newLock(f), config{maxValue: 1 << 20, quarantine: 1})
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	put(t, s, "k", "old")
	put(t, s, "other", "other")
	disk := f.tree.(*memTree)
	for i := range 2 * len(disk.live) { // something to remove, in tmp and quarantine
		disk.live[tmpDir][fmt.Sprint("orphan", i)] = &inode{}
		disk.live[quarantineDir][fmt.Sprint("2000", i)] = &inode{}
	}
	if op.broken {
		disk.live[recordsDir][fileName("k")].live[0] ^= 1
	}
	f.err, f.steps = errno, 0
	err := op.do(ctx, s)
	met := f.steps >= f.at
	f.err = nil

	if err != nil && (!errors.Is(err, errno) || !errors.Is(err, store.ErrUnavailable) || strings.Contains(err.Error(), "a-path")) {
		t.Errorf("step %d: the error is %v, want ErrUnavailable and %v, without names", f.at, err, errno)
	}
	if !met && err != nil {
		t.Errorf("nothing failed, but the error is %v", err)
	}
	item, errLoad := s.Load(ctx, "k")
	gone := errors.Is(errLoad, store.ErrNotFound) || errors.Is(errLoad, store.ErrCorrupt)
	switch {
	case errLoad == nil && string(item.Value) == "old":
	case op.change && (errLoad == nil && string(item.Value) == "new" || gone):
	default:
		t.Errorf("step %d, which led to %v: afterwards k is %q, %v", f.at, err, item.Value, errLoad)
	}
	wantValue(t, s, "other", "other")
	if err := op.do(ctx, s); err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrNotFound) {
		t.Errorf("step %d: without the fault the call fails: %v", f.at, err)
	}
	put(t, s, "k", "after")
	wantValue(t, s, "k", "after")
	if err := s.prepare(); err != nil || len(disk.live[tmpDir]) != 0 {
		t.Errorf("step %d: Open returns %v and leaves %d files in tmp", f.at, err, len(disk.live[tmpDir]))
	}
	return met
}

// TestOldRecordSurvivesAFailedStore: up to the rename nothing of the old record is
// touched, and from then on the new one is whole.
func TestOldRecordSurvivesAFailedStore(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	f := &faultTree{tree: rootTree{root}}
	s := newStore(f, newLock(freeLock{}), config{maxValue: 1 << 20})
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	put(t, s, "k", "old")
	renamed := false
	for at := 1; ; at++ {
		f.at, f.err, f.steps = at, syscall.ENOSPC, 0
		_, err := s.Store(t.Context(), "k", []byte("new"), store.Any())
		met := f.steps >= at
		f.err = nil
		if !met {
			break
		}
		item, errLoad := s.Load(t.Context(), "k")
		if string(item.Value) == "new" {
			renamed = true
		}
		if errLoad != nil || err == nil != renamed && string(item.Value) == "old" {
			t.Fatalf("step %d, which led to %v: k is %q, %v", at, err, item.Value, errLoad)
		}
		if names := filesIn(t, dir, tmpDir); err != nil && len(names) > 0 && !renamed {
			t.Errorf("step %d left %q", at, names)
		}
		put(t, s, "k", "old")
		renamed = false
	}
	if names := filesIn(t, dir, tmpDir); len(names) != 0 {
		t.Errorf("left in tmp: %q", names)
	}
	if _, err := os.Stat(filepath.Join(dir, recordsDir, fileName("k"))); err != nil {
		t.Error(err)
	}
}

// A badDisk does not give back what is in one file.
type badDisk struct {
	tree
	name string
}

func (d *badDisk) Open(name string) (readFile, error) {
	f, err := d.tree.Open(name)
	if name == d.name && err == nil {
		return badFile{f}, nil
	}
	return f, err
}

func (d *badDisk) Rename(from, to string) error {
	if from == d.name {
		d.name = to // the bad place moves with the file
	}
	return d.tree.Rename(from, to)
}

type badFile struct{ readFile }

func (badFile) Read([]byte) (int, error) { return 0, syscall.EIO }

// TestBadPlaceOnDisk: a record that cannot be read does not stop its key forever.
func TestBadPlaceOnDisk(t *testing.T) {
	disk := &badDisk{tree: newMemTree()}
	s, err := memStore(disk)
	if err != nil {
		t.Fatal(err)
	}
	version := put(t, s, "k", "old")
	disk.name = recordsDir + "/" + fileName("k")
	for range 2 {
		if _, err := s.Load(t.Context(), "k"); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, syscall.EIO) {
			t.Errorf("Load = %v, want ErrUnavailable and %v", err, syscall.EIO)
		}
	}
	if _, err := s.Store(t.Context(), "k", nil, store.IfVersion(version)); !errors.Is(err, syscall.EIO) {
		t.Errorf("Store with a condition = %v, want %v", err, syscall.EIO)
	}
	put(t, s, "k", "new")
	wantValue(t, s, "k", "new")
	if names, err := s.tree.Names(quarantineDir); err != nil || len(names) != 1 {
		t.Errorf("in quarantine: %q, %v", names, err)
	}
}
