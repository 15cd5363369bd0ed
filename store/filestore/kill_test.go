package filestore

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh/store"
)

var kills = flag.Int("kills", 10, "how often TestKill kills a writing process")

// The roles of a child process, in the variable childRole.
const (
	childRole = "FILESTORE_CHILD"
	childDir  = "FILESTORE_DIR"
	writer    = "writer"  // writes until it is killed, and prints what is stored
	counter   = "counter" // adds counts to a number
	keys      = 8
	counts    = 20
)

// TestChild only has a meaning in the processes that the tests below start.
func TestChild(t *testing.T) {
	dir := os.Getenv(childDir)
	switch os.Getenv(childRole) {
	case writer:
		writeForEver(t, openStore(t, dir))
	case counter:
		for range counts {
			increment(t, openStore(t, dir))
		}
	}
}

func child(t *testing.T, role, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestChild$")
	cmd.Env = append(os.Environ(), childRole+"="+role, childDir+"="+dir)
	return cmd
}

// writeForEver stores growing numbers, padded to many lengths, and prints each key
// and number once Store has returned.
func writeForEver(t *testing.T, s *Store) {
	next := make([]int, keys)
	for i := range next {
		next[i] = number(t, s, i)
	}
	for {
		i := rand.IntN(keys)
		next[i]++
		put(t, s, fmt.Sprint("k", i), padded(next[i]))
		fmt.Println(i, next[i])
	}
}

func padded(n int) string { return fmt.Sprint(n, " ") + strings.Repeat("x", n*997%20000) }

// number returns the number stored under key i, or 0.
func number(t *testing.T, s *Store, i int) int {
	t.Helper()
	item, err := s.Load(context.Background(), fmt.Sprint("k", i))
	if errors.Is(err, store.ErrNotFound) {
		return 0
	}
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	text, _, _ := strings.Cut(string(item.Value), " ")
	n, err := strconv.Atoi(text)
	if err != nil || string(item.Value) != padded(n) {
		t.Fatalf("the value is %.40q, %v", item.Value, err)
	}
	return n
}

// TestKill kills processes that write. What they had stored must be there, whole,
// and nothing else.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	stored := make([]int, keys)
	orphans, writes := 0, 0
	for range *kills {
		writes += killOne(t, dir, stored)
		orphans += len(filesIn(t, dir, tmpDir))
		s := openStore(t, dir)
		for i, n := range stored {
			got := number(t, s, i)
			if got < n {
				t.Fatalf("key %d is %d, but %d was stored", i, got, n)
			}
			stored[i] = got
		}
		if names := filesIn(t, dir, tmpDir); len(names) != 0 {
			t.Fatalf("after Open there is %q in tmp", names)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d kills, %d writes that had returned, %d orphans swept", *kills, writes, orphans)
}

// killOne starts a writer, lets it work for up to 40 ms, kills it, and notes what it
// had stored.
func killOne(t *testing.T, dir string, stored []int) (writes int) {
	t.Helper()
	cmd := child(t, writer, dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Errorf("read of the child: %v", err)
			}
			break
		}
		var i, n int
		if _, err := fmt.Sscan(line, &i, &n); err != nil {
			t.Fatalf("the child says %q: %v", line, err)
		}
		stored[i] = n
		if writes++; writes == 1 {
			time.AfterFunc(time.Duration(rand.Int64N(int64(40*time.Millisecond))), func() { _ = cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
	return writes
}

// increment adds 1 to the number under "sum", however many try to.
func increment(t *testing.T, s *Store) {
	t.Helper()
	for {
		item, err := s.Load(t.Context(), "sum")
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		n, _ := strconv.Atoi(string(item.Value)) // 0 if there is none
		_, err = s.Store(t.Context(), "sum", []byte(strconv.Itoa(n+1)), store.IfVersion(item.Version))
		if err == nil {
			return
		}
		if !errors.Is(err, store.ErrConflict) {
			t.Fatal(err)
		}
	}
}

func TestManyProcesses(t *testing.T) {
	const processes = 3
	dir := t.TempDir()
	var children []*exec.Cmd
	for range processes {
		cmd := child(t, counter, dir)
		cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		children = append(children, cmd)
	}
	for _, cmd := range children {
		if err := cmd.Wait(); err != nil {
			t.Errorf("a child: %v", err)
		}
	}
	wantValue(t, openStore(t, dir), "sum", strconv.Itoa(processes*counts))
}
