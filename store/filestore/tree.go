package filestore

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// A tree is the directory of a store. It is an interface so that tests can simulate a
// loss of power and broken disks. Names are relative and use slashes.
type tree interface {
	readTree
	writeTree
}

type readTree interface {
	// Open opens a regular file for reading; for anything else it returns
	// errNotRegular.
	Open(name string) (readFile, error)
	Names(dir string) ([]string, error)
}

type writeTree interface {
	Mkdir(name string) error // nil if it exists
	Create(name string) (writeFile, error)
	Rename(from, to string) error
	Remove(name string) error // with its contents; nil if it does not exist
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

// A rootTree is a real directory. No name or link leads out of it.
type rootTree struct{ root *os.Root }

// Open implements tree.
func (t rootTree) Open(name string) (readFile, error) {
	info, err := t.root.Lstat(name) // before opening it, because opening a pipe would block
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
		return nil // not possible on Windows
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
		return nil // OpenRoot fails if it is not a directory
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
