package filestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everfresh-go/everfresh/store"
)

// TestEveryFlippedBitIsFound flips each bit of a record, and cuts it at each length.
func TestEveryFlippedBitIsFound(t *testing.T) {
	value := []byte("value of a record")
	h := newHeader("key of a record", value)
	name := fileName(h.key)
	record := append(h.encode(), value...)
	read := func(b []byte) error {
		r := bytes.NewReader(b)
		h, err := readHeader(r, name, int64(len(b)))
		if err == nil {
			_, err = h.readValue(r)
		}
		return err
	}
	if err := read(record); err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(record) {
		record[bit/8] ^= 1 << (bit % 8)
		if err := read(record); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("bit %d flipped: %v", bit, err)
		}
		record[bit/8] ^= 1 << (bit % 8)
	}
	for n := range record {
		if err := read(record[:n]); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	if err := read(append(record, 0)); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("one byte more: %v", err)
	}
}

// An unsyncedTree does not wait for the disk, where a test needs many records.
type unsyncedTree struct{ rootTree }

func (unsyncedTree) Sync(string) error { return nil }

func (t unsyncedTree) Create(name string) (writeFile, error) {
	f, err := t.rootTree.Create(name)
	return unsyncedFile{f}, err
}

type unsyncedFile struct{ writeFile }

func (unsyncedFile) Sync() error { return nil }

// damages are what may happen to a file; other is another record.
var damages = []func(rnd *rand.Rand, path, other string) error{
	func(rnd *rand.Rand, path, _ string) error { // a flipped bit
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b[rnd.IntN(len(b))] ^= 1 << rnd.IntN(8)
		return os.WriteFile(path, b, 0o600)
	},
	func(rnd *rand.Rand, path, _ string) error { // the end is missing
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.Truncate(path, rnd.Int64N(info.Size()))
	},
	func(_ *rand.Rand, path, other string) error { // another record under its name
		b, err := os.ReadFile(other)
		if err != nil {
			return err
		}
		return os.WriteFile(path, b, 0o600)
	},
	func(_ *rand.Rand, path, _ string) error { // a foreign file under its name
		return os.WriteFile(path, []byte(strings.Repeat("not a record\n", 100)), 0o600)
	},
	func(_ *rand.Rand, path, _ string) error { // zeros, as some file systems leave them
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, make([]byte, info.Size()), 0o600)
	},
	func(_ *rand.Rand, path, other string) error { // a link to another record
		return errors.Join(os.Remove(path), os.Symlink(other, path))
	},
	func(_ *rand.Rand, path, _ string) error { // a directory that is not empty
		return errors.Join(os.Remove(path), os.MkdirAll(filepath.Join(path, "sub"), 0o700))
	},
}

func TestDamageInAThousandRecords(t *testing.T) {
	const records, keep = 1000, 100
	dir := t.TempDir()
	s := openStore(t, dir, WithQuarantine(keep))
	s.tree = unsyncedTree{s.tree.(rootTree)}
	rnd := rand.New(rand.NewPCG(1, 2))
	values := make(map[string]string)
	for i := range records {
		key := fmt.Sprint("key", i)
		values[key] = strings.Repeat(key, rnd.IntN(200))
		put(t, s, key, values[key])
	}
	broken := damage(t, rnd, dir, values)
	for _, name := range []string{"README.txt", "records/copy of a record", "records/" + strings.Repeat("F", 64), "records/.DS_Store"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("foreign"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = openStore(t, dir, WithQuarantine(keep)) // damage is no error of Open
	s.tree = unsyncedTree{s.tree.(rootTree)}
	for key, want := range values {
		if !broken[key] {
			wantValue(t, s, key, want)
			continue
		}
		for range 2 { // it stays
			if item, err := s.Load(t.Context(), key); !errors.Is(err, store.ErrCorrupt) || item.Value != nil {
				t.Errorf("Load of a damaged record = %+v, %v", item, err)
			}
		}
		if err := s.Delete(t.Context(), key, store.IfVersion("any")); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("Delete with a condition = %v, want ErrCorrupt", err)
		}
	}
	wantListed(t, s, records-len(broken), store.ErrCorrupt)
	heal(t, s, broken)
	wantListed(t, s, records-len(broken)/2, nil)
	if n := len(filesIn(t, dir, quarantineDir)); n != keep {
		t.Errorf("%d records in quarantine, want %d", n, keep)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "records", ".DS_Store")); err != nil || string(b) != "foreign" {
		t.Errorf("a foreign file reads %q, %v", b, err)
	}
}

// damage damages records, each kind of damage many times, and returns their keys.
func damage(t *testing.T, rnd *rand.Rand, dir string, values map[string]string) map[string]bool {
	t.Helper()
	path := func(key string) string { return filepath.Join(dir, recordsDir, fileName(key)) }
	broken := make(map[string]bool)
	for i := range 210 {
		key := fmt.Sprint("key", i*4)
		if err := damages[i%len(damages)](rnd, path(key), path("key1")); err != nil {
			t.Fatal(err)
		}
		broken[key] = true
	}
	if values["key1"] == "" || broken["key1"] {
		t.Fatal("the other record is not as the test needs it")
	}
	return broken
}

// wantListed fails unless a List yields at least n items and ends with want. Of a
// damaged value, which a List does not read, the item is still there.
func wantListed(t *testing.T, s *Store, n int, want error) {
	t.Helper()
	var last error
	items := 0
	for _, err := range s.List(t.Context(), "") {
		if last = err; err == nil {
			items++
		}
	}
	if items < n || !errors.Is(last, want) {
		t.Errorf("List yields %d items and ends with %v, want at least %d and %v", items, last, n, want)
	}
}

// heal replaces half of the damaged records and deletes the others.
func heal(t *testing.T, s *Store, broken map[string]bool) {
	t.Helper()
	replace := true
	for key := range broken {
		if replace {
			put(t, s, key, "healed")
			wantValue(t, s, key, "healed")
		} else {
			if err := s.Delete(t.Context(), key, store.Any()); err != nil {
				t.Errorf("Delete of a damaged record: %v", err)
			}
			if _, err := s.Load(context.Background(), key); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("after Delete of a damaged record Load = %v", err)
			}
		}
		replace = !replace
	}
}

func TestWithoutQuarantine(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, WithQuarantine(0))
	put(t, s, "k", "old")
	if err := os.WriteFile(filepath.Join(dir, recordsDir, fileName("k")), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, s, "k", "new")
	wantValue(t, s, "k", "new")
	if names := filesIn(t, dir, quarantineDir); len(names) != 0 {
		t.Errorf("in quarantine: %q", names)
	}
}
