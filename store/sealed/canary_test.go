package sealed_test

import (
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/filestore"
	"github.com/everfresh-go/everfresh/store/sealed"
)

// everything returns the names and the contents of all files below dir.
func everything(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		all.WriteString(path)
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// TestNoPlaintext lets a cache store records in which everything is a secret, and looks
// for the secrets on disk. Without sealing it finds them.
func TestNoPlaintext(t *testing.T) {
	const key, path, tag, body = "canary-key", "canary-url", "canary-header", "canary-body"
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Etag", `"`+tag+`"`)
		_, _ = io.WriteString(w, body)
	}))
	defer origin.Close()

	seen := func(seal func(store.Storage) store.Storage) (found []string) {
		dir := t.TempDir()
		inner, err := filestore.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer inner.Close()
		c := everfresh.NewCache(t.Context(), everfresh.WithStorage(seal(inner)))
		for _, opts := range [][]everfresh.RegisterOption{nil, {everfresh.WithKey(key)}} {
			r, err := everfresh.Register(c, origin.URL+"/"+path, everfresh.Bytes(), opts...)
			if err != nil {
				t.Fatal(err)
			}
			if v, err := r.Get(t.Context()); err != nil || string(v) != body {
				t.Fatalf("Get = %q, %v", v, err)
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if n := len(items(t, inner)); n != 2 {
			t.Fatalf("there are %d records, want 2", n)
		}
		all := everything(t, dir)
		for _, secret := range []string{key, path, tag, body} {
			if strings.Contains(all, secret) {
				found = append(found, secret)
			}
		}
		return found
	}
	keys := newKeys(t)
	if found := seen(func(inner store.Storage) store.Storage { return sealed.New(inner, keys) }); len(found) != 0 {
		t.Errorf("the disk shows %q", found)
	}
	if found := seen(func(inner store.Storage) store.Storage { return inner }); len(found) != 4 {
		t.Errorf("without sealing only %q are found, so this test proves nothing", found)
	}
}
