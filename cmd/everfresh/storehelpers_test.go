package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/filestore"
	"github.com/everfresh-go/everfresh/store/sealed"
)

const (
	hexNames = "aa00000000000000000000000000000000000000000000000000000000000001"
	hexOld   = "bb00000000000000000000000000000000000000000000000000000000000002"
	hexNew   = "cc00000000000000000000000000000000000000000000000000000000000003"
)

// A storedResource is a resource that fillStore registers.
type storedResource struct {
	path string // also its body
	opts []everfresh.RegisterOption
}

// storedResources are resources of all kinds.
var storedResources = []storedResource{
	{"/low?tenant=1&key=" + secret, []everfresh.RegisterOption{everfresh.WithPriority(store.Low)}},
	{"/normal", nil},
	{"/high?tenant=2", []everfresh.RegisterOption{everfresh.WithPriority(store.High), everfresh.WithKey("gold")}},
}

// fillStore lets a cache keep all resources in s, and returns their origin.
func fillStore(t *testing.T, s store.Storage) (base string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=7200")
		w.Header().Set("ETag", `"`+secret+`"`)
		_, _ = io.WriteString(w, "body of "+r.URL.Path)
	}))
	defer srv.Close()
	cache := everfresh.NewCache(t.Context(), everfresh.WithStorage(s), everfresh.WithJitter(0), everfresh.WithMaxStale(time.Hour))
	for _, k := range storedResources {
		r, err := everfresh.Register(cache, srv.URL+k.path, everfresh.Bytes(), k.opts...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := cache.Close(); err != nil { // waits for the records
		t.Fatal(err)
	}
	return srv.URL
}

func openFiles(t *testing.T, dir string) *filestore.Store {
	t.Helper()
	s, err := filestore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// newStore returns a directory that a cache has kept resources in, and their origin.
func newStore(t *testing.T) (dir, base string) {
	t.Helper()
	dir = t.TempDir()
	return dir, fillStore(t, openFiles(t, dir))
}

// names returns the names of all records in dir.
func names(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	for item, err := range openFiles(t, dir).List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, item.Key)
	}
	return list
}

// addStale adds a record that may not be served any more.
func addStale(t *testing.T, dir string) {
	t.Helper()
	past := time.Now().Add(-24 * time.Hour)
	rec := everfresh.Record{
		Key: "old", Info: everfresh.Info{Version: 7, FetchedAt: past, CheckedAt: past, FreshUntil: past, ServeUntil: past}, Status: 200, Body: []byte("1"),
		Failures: 3, NotBefore: past,
	}
	b, err := rec.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	addBytes(t, dir, "old", b)
}

func addBytes(t *testing.T, dir, name string, b []byte) {
	t.Helper()
	if _, err := openFiles(t, dir).Store(t.Context(), name, b, store.Any()); err != nil {
		t.Fatal(err)
	}
}

// damage flips a bit of the file that holds text; at says where from its end.
func damage(t *testing.T, dir, text string, at int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "records", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(b, []byte(text)) {
			continue
		}
		b[(len(b)+at)%len(b)] ^= 1
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("no record holds %q", text)
}

// writeKeys writes a key file.
func writeKeys(t *testing.T, lines ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// newSealedStore is newStore with encrypted records; keys is a file with its keys.
func newSealedStore(t *testing.T) (dir, base, keys string) {
	t.Helper()
	content := []string{"# of a test", "names:" + hexNames, "", "  old:" + hexOld + "\r"}
	ring, err := parseKeys(strings.Join(content, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	base = fillStore(t, sealed.New(openFiles(t, dir), ring))
	return dir, base, writeKeys(t, content...)
}

// storeRun runs store, and fails if a key, or a secret of the records, is shown.
func storeRun(t *testing.T, args ...string) result {
	t.Helper()
	got := command(t.Context(), append([]string{"store"}, args...)...)
	hidden := []string{hexNames, hexOld, hexNew, secret}
	for _, a := range args {
		if a == "--clear" {
			hidden = hidden[:3]
		}
	}
	for _, h := range hidden {
		if strings.Contains(got.stdout+got.stderr, h) {
			t.Errorf("%q shows a secret: %+v", args, got)
		}
	}
	return got
}

// wantMatch compares a result with its code and regular expressions of its outputs.
func wantMatch(t *testing.T, got result, code int, stdout, stderr string) {
	t.Helper()
	matches := func(expr, text string) bool { return regexp.MustCompile("^(?:" + expr + ")$").MatchString(text) }
	if got.code != code || !matches(stdout, got.stdout) || !matches(stderr, got.stderr) {
		t.Errorf("got code %d\n%s%s\nwant code %d\n%s%s", got.code, got.stdout, got.stderr, code, stdout, stderr)
	}
}
