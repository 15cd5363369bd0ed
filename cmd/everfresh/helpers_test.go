package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/everfresh-go/everfresh"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

// TestMain runs the program itself in the processes that a test starts.
func TestMain(m *testing.M) {
	if os.Getenv("EVERFRESH_TEST_RUN_MAIN") == "1" {
		main()
		return
	}
	os.Exit(m.Run())
}

// noEnv is an environment in which nothing is set.
func noEnv(string) string { return "" }

func envOf(kv map[string]string) func(string) string {
	return func(name string) string { return kv[name] }
}

// A result is what a run of the command left.
type result struct {
	code           int
	stdout, stderr string
}

// command runs the command in this process.
func command(ctx context.Context, args ...string) result {
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, console{stdout: &stdout, stderr: &stderr, env: noEnv})
	return result{code, stdout.String(), stderr.String()}
}

// golden compares got with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: (run with -update to accept)\n%s\nwant\n%s", name, got, want)
	}
}

var errFull = errors.New("no space left")

// A fullWriter takes some bytes and then fails.
type fullWriter struct{ room int }

func (w *fullWriter) Write(p []byte) (int, error) {
	w.room -= len(p)
	if w.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}

var _ io.Writer = (*fullWriter)(nil)

// contextOver returns a context that has ended.
func contextOver(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx, cancel
}

// newerRecord is a record whose header has a schema that is not known yet.
func newerRecord(t *testing.T) []byte {
	t.Helper()
	b, err := (&everfresh.Record{Key: "k", Status: 200}).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	b = bytes.Replace(b, []byte(`"schema":1`), []byte(`"schema":9`), 1)
	body := b[:len(b)-sha256.Size]
	sum := sha256.Sum256(body)
	return append(bytes.Clone(body), sum[:]...)
}
