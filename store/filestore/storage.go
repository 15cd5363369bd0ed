package filestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/everfresh-go/everfresh/store"
)

// Load implements [store.Storage].
func (s *Store) Load(ctx context.Context, key string) (store.Item, error) {
	if err := s.begin(ctx, key); err != nil {
		return store.Item{}, err
	}
	defer s.calls.Done()
	h, value, err := s.read(fileName(key))
	if err != nil {
		return store.Item{}, err
	}
	return store.Item{Key: key, Value: value, Version: h.id()}, nil
}

// Store implements [store.Storage]. When it returns nil, the value is on disk.
func (s *Store) Store(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
	if err := s.begin(ctx, key); err != nil {
		return "", err
	}
	defer s.calls.Done()
	if int64(len(value)) > s.conf.maxValue {
		return "", store.ErrTooLarge
	}
	h := newHeader(key, value) // before taking the lock, to hold it only briefly
	if err := s.lock.take(ctx, s.done); err != nil {
		return "", err
	}
	defer s.lock.release()

	// Check the condition and write while no other process can.
	name := fileName(key)
	old, err := s.find(name, cond)
	if err != nil {
		return "", err
	}
	if !old.broken && !cond.Holds(old.version) {
		return "", &store.ConflictError{Current: old.version}
	}
	if err := s.replace(ctx, old, h, value); err != nil {
		return "", err
	}
	return h.id(), nil
}

// Delete implements [store.Storage]. When it returns nil, the deletion is on disk.
func (s *Store) Delete(ctx context.Context, key string, cond store.Condition) error {
	if err := s.begin(ctx, key); err != nil {
		return err
	}
	defer s.calls.Done()
	if err := s.lock.take(ctx, s.done); err != nil {
		return err
	}
	defer s.lock.release()
	name := fileName(key)
	old, err := s.find(name, cond)
	switch {
	case err != nil:
		return err
	case old.broken:
		err = s.quarantine(name)
	case old.version != "" && !cond.Holds(old.version):
		return &store.ConflictError{Current: old.version}
	case old.version != "":
		err = s.tree.Remove(recordsDir + "/" + name)
	}
	if err != nil {
		return ioError("remove a record", err)
	}
	// Sync even if the key was absent: the process that deleted it may have died before.
	return ioError("sync the records", s.tree.Sync(recordsDir))
}

// A found is the state of a record before a write.
type found struct {
	name    string
	version store.Version // "" if there is no record, or if it is broken
	broken  bool          // whether the record is damaged or cannot be read
}

// find reads the whole record that a write with cond is going to replace or delete. A
// broken record is an error only if there is a condition.
func (s *Store) find(name string, cond store.Condition) (found, error) {
	h, _, err := s.read(name)
	if err == nil {
		return found{name: name, version: h.id()}, nil
	}
	if errors.Is(err, store.ErrNotFound) {
		return found{name: name}, nil
	}
	broken := errors.Is(err, store.ErrCorrupt) || errors.Is(err, errUnreadable)
	if _, conditional := cond.Want(); conditional || !broken {
		return found{}, err
	}
	return found{name: name, broken: true}, nil
}

// read reads and checks a whole record.
func (s *Store) read(name string) (*header, []byte, error) {
	h, f, err := s.open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	value, err := h.readValue(f)
	return h, value, err
}

// open opens a record and reads its header.
func (s *Store) open(name string) (*header, readFile, error) {
	f, err := s.tree.Open(recordsDir + "/" + name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, store.ErrNotFound
	case errors.Is(err, errNotRegular):
		return nil, nil, damaged("not a regular file")
	case err != nil:
		return nil, nil, ioError("open a record", err)
	}
	size, err := f.Size()
	if err != nil {
		f.Close()
		return nil, nil, ioError("read a record", err)
	}
	h, err := readHeader(f, name, size)
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return h, f, nil
}

// replace writes a record. If the old one is broken, it is moved to quarantine first.
func (s *Store) replace(ctx context.Context, old found, h *header, value []byte) error {
	tmp := tmpDir + "/" + string(h.id())
	err := s.write(tmp, h, value)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && old.broken {
		err = ioError("quarantine a damaged record", s.quarantine(old.name))
	}
	if err == nil {
		err = ioError("rename a record", s.tree.Rename(tmp, recordsDir+"/"+old.name))
	}
	if err != nil {
		return errors.Join(err, ioError("remove a half-written record", s.tree.Remove(tmp)))
	}
	return ioError("sync the records", s.tree.Sync(recordsDir))
}

// write creates a file with a record and waits until it is on disk.
func (s *Store) write(name string, h *header, value []byte) error {
	f, err := s.tree.Create(name)
	if err != nil {
		return ioError("create a record", err)
	}
	if _, err = f.Write(h.encode()); err == nil {
		_, err = f.Write(value)
	}
	if err == nil {
		err = f.Sync()
	}
	return ioError("write a record", errors.Join(err, f.Close()))
}

// quarantine moves a broken record to quarantine, and removes the oldest ones there to
// make room.
func (s *Store) quarantine(name string) error {
	if s.conf.quarantine == 0 {
		return s.tree.Remove(recordsDir + "/" + name)
	}
	quarantined, err := s.tree.Names(quarantineDir)
	if err != nil {
		return err
	}
	slices.Sort(quarantined) // by age: their names begin with a time
	for len(quarantined) >= s.conf.quarantine {
		if err := s.tree.Remove(quarantineDir + "/" + quarantined[0]); err != nil {
			return err
		}
		quarantined = quarantined[1:]
	}
	target := quarantineDir + "/" + time.Now().UTC().Format("20060102T150405.000000000Z") + "-" + name
	if err := s.tree.Rename(recordsDir+"/"+name, target); err != nil {
		return err
	}
	return s.tree.Sync(quarantineDir)
}

// List implements [store.Storage].
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
	return func(yield func(store.Meta, error) bool) {
		names, err := s.names(ctx)
		if err != nil {
			yield(store.Meta{}, err)
			return
		}
		broken := 0
		for _, name := range names {
			info, err := s.info(ctx, name)
			switch {
			case errors.Is(err, store.ErrCorrupt):
				broken++
			case errors.Is(err, store.ErrNotFound): // deleted meanwhile
			case err != nil:
				yield(store.Meta{}, err)
				return
			case strings.HasPrefix(info.Key, prefix) && !yield(info, nil):
				return
			}
		}
		if broken > 0 {
			yield(store.Meta{}, fmt.Errorf("filestore: %w: %d records", store.ErrCorrupt, broken))
		}
	}
}

// names returns the sorted names of all records. It holds the lock, because on some file
// systems a directory that changes while it is read may skip names.
func (s *Store) names(ctx context.Context) ([]string, error) {
	if err := s.begin(ctx, ""); err != nil {
		return nil, err
	}
	defer s.calls.Done()
	if err := s.lock.take(ctx, s.done); err != nil {
		return nil, err
	}
	defer s.lock.release()
	names, err := s.tree.Names(recordsDir)
	if err != nil {
		return nil, ioError("list the records", err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !isFileName(name) })
	slices.Sort(names)
	return names, nil
}

func (s *Store) info(ctx context.Context, name string) (store.Meta, error) {
	if err := s.begin(ctx, ""); err != nil {
		return store.Meta{}, err
	}
	defer s.calls.Done()
	h, f, err := s.open(name)
	if err != nil {
		return store.Meta{}, err
	}
	defer f.Close()
	return store.Meta{Key: h.key, Version: h.id(), Size: int64(h.size)}, nil //nolint:gosec // It is in a file.
}
