package filestore

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh/store"
)

// TestDirectory: names show nothing of keys, and no other user can read the files.
func TestDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "parents", "store")
	s := openStore(t, dir)
	put(t, s, "https://a.test/?secret=hunter2", "value")
	got := make(map[string]fs.FileMode)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		name, _ := filepath.Rel(dir, path)
		got[filepath.ToSlash(name)] = info.Mode()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]fs.FileMode{
		".": fs.ModeDir | 0o700, "lock": 0o600, "records": fs.ModeDir | 0o700, "tmp": fs.ModeDir | 0o700, "quarantine": fs.ModeDir | 0o700,
		"records/" + fileName("https://a.test/?secret=hunter2"): 0o600,
	}
	for name, mode := range want {
		if got[name] != mode {
			t.Errorf("%s has the mode %v, want %v", name, got[name], mode)
		}
	}
	if len(got) != len(want) {
		t.Errorf("the directory has %v", got)
	}
}

// TestFormat reads a record that was written before: the format must not change.
func TestFormat(t *testing.T) {
	const name = "8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a" // SHA-256 of "k"
	golden := strings.Join(strings.Fields(`
		4556465301 0001 0000000000000005
		000102030405060708090a0b0c0d0e0f
		cd42404d52ad55ccfa9aca4adc828aa5800ad9d385a0671fbcbf724118320619
		6b
		SUM
		76616c7565`), "")
	head, rest, _ := strings.Cut(golden, "SUM")
	h := &header{key: "k", size: 5}
	if b, err := hex.DecodeString("000102030405060708090a0b0c0d0e0f"); err == nil {
		copy(h.version[:], b)
	}
	h.sum = newHeader("k", []byte("value")).sum
	encoded := hex.EncodeToString(h.encode())
	if !strings.HasPrefix(encoded, head) || len(encoded) != len(head)+64 {
		t.Errorf("the header is\n%s, want\n%s and a checksum", encoded, head)
	}
	dir := t.TempDir()
	s := openStore(t, dir)
	file, err := hex.DecodeString(encoded + rest)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, recordsDir, name), file, 0o600); err != nil {
		t.Fatal(err)
	}
	item, err := s.Load(t.Context(), "k")
	if err != nil || string(item.Value) != "value" || item.Version != "000102030405060708090a0b0c0d0e0f" {
		t.Errorf("Load = %+v, %v", item, err)
	}
}

func TestOpenSweepsOrphans(t *testing.T) {
	dir := t.TempDir()
	put(t, openStore(t, dir), "k", "v")
	if err := os.WriteFile(filepath.Join(dir, tmpDir, "orphan"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, dir)
	if names := filesIn(t, dir, tmpDir); len(names) != 0 {
		t.Errorf("after Open there is %q in tmp", names)
	}
	wantValue(t, s, "k", "v")
}

// TestNothingLeavesTheDirectory: a planted link is not followed, neither by reads
// nor by writes.
func TestNothingLeavesTheDirectory(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := openStore(t, dir)
	if err := os.Symlink(outside, filepath.Join(dir, recordsDir, fileName("k"))); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(t.Context(), "k"); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("Load of a link = %v, want ErrCorrupt", err)
	}
	put(t, s, "k", "v")
	wantValue(t, s, "k", "v")

	if err := errors.Join(os.RemoveAll(filepath.Join(dir, tmpDir)), os.Symlink(filepath.Dir(outside), filepath.Join(dir, tmpDir))); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Store(t.Context(), "k", []byte("new"), store.Any()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Store through a planted directory = %v, want ErrUnavailable", err)
	}
	if _, err := Open(dir); err == nil {
		t.Error("Open swept a planted directory")
	}
	if b, err := os.ReadFile(outside); err != nil || string(b) != "precious" {
		t.Errorf("the file outside reads %q, %v", b, err)
	}
	wantValue(t, s, "k", "v")
}

func TestQuarantineDropsTheOldest(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, WithQuarantine(2))
	for _, key := range []string{"a", "b", "c"} {
		if err := os.WriteFile(filepath.Join(dir, recordsDir, fileName(key)), []byte("damaged "+key), 0o600); err != nil {
			t.Fatal(err)
		}
		put(t, s, key, "new")
	}
	var left []string
	for _, name := range filesIn(t, dir, quarantineDir) {
		b, err := os.ReadFile(filepath.Join(dir, quarantineDir, name))
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, string(b))
	}
	if want := []string{"damaged b", "damaged c"}; !slices.Equal(left, want) {
		t.Errorf("in quarantine: %q, want %q", left, want)
	}
}

// TestWaitForTheLock: a write waits while another process writes, and its ctx or
// Close ends that; reads do not wait.
func TestWaitForTheLock(t *testing.T) {
	dir := t.TempDir()
	s, other := openStore(t, dir), openStore(t, dir)
	put(t, s, "k", "v")
	if err := other.lock.take(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	wantValue(t, s, "k", "v")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Store(ctx, "k", nil, store.Any()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Store = %v, want %v", err, context.DeadlineExceeded)
	}
	result := make(chan error)
	go func() { result <- s.Delete(context.Background(), "k", store.Any()) }()
	for deadline := time.Now().Add(10 * time.Second); len(s.lock.turn) > 0 && time.Now().Before(deadline); { // until Delete has its turn
		runtime.Gosched()
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-result; !errors.Is(err, store.ErrClosed) {
		t.Errorf("Delete = %v, want ErrClosed", err)
	}
	other.lock.release()
	wantValue(t, other, "k", "v")
	put(t, other, "k", "the lock is free")
}

func TestOpenErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func() (*Store, error){
		"a file":                 func() (*Store, error) { return Open(file) },
		"below a file":           func() (*Store, error) { return Open(filepath.Join(file, "dir")) },
		"negative max value":     func() (*Store, error) { return Open(t.TempDir(), WithMaxValue(-1)) },
		"negative in quarantine": func() (*Store, error) { return Open(t.TempDir(), WithQuarantine(-1)) },
	} {
		if s, err := open(); err == nil || s != nil {
			t.Errorf("%s: Open = %v, %v, want an error", name, s, err)
		}
	}
}

func TestPing(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping = %v", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Ping without its directory = %v, want ErrUnavailable", err)
	}
}

// TestOpenDuringAWrite: Open does not wait forever, and does not take away
// what may be in use.
func TestOpenDuringAWrite(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		writer := openStore(t, dir)
		if err := writer.lock.take(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, tmpDir, "in-use"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		openStore(t, dir)
		if waited := time.Since(start); waited != sweepWait {
			t.Errorf("Open took %v, want %v", waited, sweepWait)
		}
		if names := filesIn(t, dir, tmpDir); len(names) != 1 {
			t.Errorf("in tmp: %q", names)
		}
		writer.lock.release()
	})
}
