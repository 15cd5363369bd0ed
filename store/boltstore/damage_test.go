//go:build unix

package boltstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/boltstore"
)

// TestTruncatedFile cuts the file under bbolt's mapping of it, so that reads fault.
func TestTruncatedFile(t *testing.T) {
	ctx := t.Context()
	path := newPath(t)
	s := open(t, path)
	for i := range 100 {
		put(t, s, fmt.Sprint("secret", i), strings.Repeat("secret", 1000))
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	_, errLoad := s.Load(ctx, "secret50")
	var errList error
	for _, err := range s.List(ctx, "") {
		errList = err
	}
	_, errStore := s.Store(ctx, "secret50", []byte("secret"), store.Any())
	errAfter := s.Delete(ctx, "secret50", store.Any())
	for name, err := range map[string]error{"Load": errLoad, "List": errList, "Store": errStore, "Delete after it": errAfter} {
		if !errors.Is(err, store.ErrCorrupt) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s = %v, want %v without a key", name, err, store.ErrCorrupt)
		}
	}
	if err := s.Close(); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("Close = %v, want %v", err, store.ErrCorrupt)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close = %v", err)
	}
}

// TestDamageEndsCallsThatWait has a write without a deadline wait for a lock, when
// another call finds the damage.
func TestDamageEndsCallsThatWait(t *testing.T) {
	path := newPath(t)
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newStore(t, db)
	if _, err := db.Begin(true); err != nil { // it never ends, and db is never closed
		t.Fatal(err)
	}
	stored := make(chan error, 1)
	go func() {
		_, err := s.Store(context.Background(), "k", nil, store.Any())
		stored <- err
	}()
	select {
	case err := <-stored:
		t.Fatalf("Store = %v, while the file is locked", err)
	case <-time.After(20 * time.Millisecond):
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(t.Context(), "k"); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("Load = %v, want %v", err, store.ErrCorrupt)
	}
	select {
	case err := <-stored:
		if !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("Store = %v, want %v", err, store.ErrCorrupt)
		}
	case <-time.After(10 * time.Second):
		t.Error("Store still waits")
	}
	if err := s.Close(); err != nil { // which does not wait for the write either
		t.Errorf("Close = %v", err)
	}
}

const killedEnv = "BOLTSTORE_TEST_KILLED"

// TestKilled kills a process that writes, and finds every write that it reported.
// It says nothing of a loss of power, for which bbolt's syncs are there.
func TestKilled(t *testing.T) {
	if path := os.Getenv(killedEnv); path != "" {
		writeForEver(t, path)
	}
	path := filepath.Join(t.TempDir(), "records.db")
	next := 0
	for round := range 5 {
		last := killAfter(t, path, next, 20*round+10)
		s := open(t, path)
		item, err := s.Load(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := strconv.Atoi(string(item.Value)); err != nil || got < last {
			t.Fatalf("after the kill there is %q, want at least %d, whose Store had returned", item.Value, last)
		}
		wantValue(t, s, fmt.Sprint("k", last), fmt.Sprint(last))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		next = last + 10
	}
}

// killAfter starts this test again as a writer, kills it after a number of writes, and
// returns the last one it reported.
func killAfter(t *testing.T, path string, from, writes int) (last int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), killedEnv+"="+path, "FROM="+strconv.Itoa(from))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ { // goes on after the kill, for what was reported before
		if _, err := fmt.Sscanf(lines.Text(), "stored %d", &last); err != nil {
			t.Errorf("the writer says %q", lines.Text())
		}
		if n == writes {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the writer ended by itself")
	}
	return last
}

func writeForEver(t *testing.T, path string) {
	s, err := boltstore.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	from, err := strconv.Atoi(os.Getenv("FROM"))
	if err != nil {
		t.Fatal(err)
	}
	for n := from; ; n++ {
		put(t, s, fmt.Sprint("k", n), fmt.Sprint(n))
		put(t, s, "k", fmt.Sprint(n))
		fmt.Println("stored", n)
	}
}
