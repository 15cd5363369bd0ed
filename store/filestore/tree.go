package filestore

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// A tree is the directory of a store, so that tests can lose power and disks. Names
// are relative, with slashes.
type tree interface {
	readTree
	writeTree
}

type readTree interface {
	// Open opens a regular file for reading; of anything else it returns
	// errNotRegular.
	Open(name string) (readFile, error)
	Names(dir string) ([]string, error)
}

type writeTree interface {
	Mkdir(name string) error // nil if it is there already
	Create(name string) (writeFile, error)
	Rename(from, to string) error
	Remove(name string) error // with all that is in it; nil if it is absent
	Sync(dir string) error    // makes the names in dir durable
}

type readFile interface {
	io.ReadCloser
	Size() (int64, error)
}

type writeFile interface {
	io.WriteCloser
	Sync() error
}

var errNotRegular = errors.New("not a regular file")

// A rootTree is a real directory, which nothing can leave.
type rootTree struct{ root *os.Root }

// Open implements tree.
func (t rootTree) Open(name string) (readFile, error) {
	info, err := t.root.Lstat(name) // first, as an open of a pipe would wait
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	f, err := t.root.Open(name)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// Names implements tree.
func (t rootTree) Names(dir string) ([]string, error) {
	f, err := t.root.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	return names, errors.Join(err, f.Close())
}

// Mkdir implements tree.
func (t rootTree) Mkdir(name string) error {
	err := t.root.Mkdir(name, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// Create implements tree.
func (t rootTree) Create(name string) (writeFile, error) {
	f, err := t.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Rename implements tree.
func (t rootTree) Rename(from, to string) error { return t.root.Rename(from, to) }

// Remove implements tree.
func (t rootTree) Remove(name string) error { return t.root.RemoveAll(name) }

// Sync implements tree.
func (t rootTree) Sync(dir string) error {
	f, err := t.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(syncDir(f), f.Close())
}

// syncDir makes the names in an open directory durable.
func syncDir(f *os.File) error {
	if runtime.GOOS == "windows" {
		return nil // not possible there
	}
	return f.Sync()
}

type osFile struct{ *os.File }

// Size implements readFile.
func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// makeDir creates dir and its parents, durably.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil // OpenRoot tells if it is no directory
	}
	parent := filepath.Dir(dir)
	if errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	f, err := os.Open(parent)
	if err != nil {
		return err
	}
	return errors.Join(syncDir(f), f.Close())
}
