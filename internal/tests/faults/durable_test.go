package faults_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/filestore"
	"github.com/everfresh-go/everfresh/store/sealed"
	"github.com/everfresh-go/everfresh/store/tiered"
)

const (
	durableResources = 40
	durableKind      = "EVERFRESH_DURABLE_KIND" // of the store of a child process
	durableDir       = "EVERFRESH_DURABLE_DIR"
	durableOrigin    = "EVERFRESH_DURABLE_ORIGIN"
)

// durableStores open the store of a kind in dir.
var durableStores = map[string]func(t *testing.T, dir string) store.Storage{
	"filestore": durableFiles,
	"sealed":    func(t *testing.T, dir string) store.Storage { return durableSealed(t, durableFiles(t, dir)) },
	"tiered":    func(t *testing.T, dir string) store.Storage { return durableTiered(t, durableFiles(t, dir)) },
	"tiered, sealed": func(t *testing.T, dir string) store.Storage {
		return durableTiered(t, durableSealed(t, durableFiles(t, dir)))
	},
}

func durableFiles(t *testing.T, dir string) store.Storage {
	t.Helper()
	s, err := filestore.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func durableSealed(t *testing.T, inner store.Storage) store.Storage {
	t.Helper()
	names, err := sealed.ParseSecret(strings.Repeat("0a", 32))
	if err != nil {
		t.Fatal(err)
	}
	key, err := sealed.ParseKey("1:" + strings.Repeat("0b", 32))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := sealed.NewKeyRing(key)
	if err != nil {
		t.Fatal(err)
	}
	return sealed.New(inner, sealed.Keys{Names: names, Records: ring})
}

func durableTiered(t *testing.T, back store.Storage) store.Storage {
	t.Helper()
	s := tiered.New(back)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// durableHandles registers the resources of an origin.
func durableHandles(t *testing.T, c *everfresh.Cache, origin string) []*everfresh.Resource[[]byte] {
	t.Helper()
	handles := make([]*everfresh.Resource[[]byte], durableResources)
	for i := range handles {
		handles[i] = everfreshtest.Register(t, c, fmt.Sprintf("%s/%d", origin, i), everfresh.Bytes())
	}
	return handles
}

// TestDurableChild has no meaning but in the process that TestKilledProcessHasItsValuesBack
// starts: it says when all values are stored, and waits to be killed.
func TestDurableChild(t *testing.T) {
	open := durableStores[os.Getenv(durableKind)]
	if open == nil {
		return
	}
	s := open(t, os.Getenv(durableDir))
	c := everfreshtest.NewCache(t, everfresh.WithStorage(s))
	durableHandles(t, c, os.Getenv(durableOrigin))
	everfreshtest.Ready(t, c)
	for n := 0; n < durableResources; {
		n = 0
		for range c.Records(t.Context(), everfresh.Query{}) {
			n++
		}
	}
	fmt.Println("stored")
	<-t.Context().Done()
}

// TestKilledProcessHasItsValuesBack kills a process with no chance to close anything, cuts
// the origin off, and starts again.
func TestKilledProcessHasItsValuesBack(t *testing.T) {
	for kind, open := range durableStores {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, "value of ", r.URL.Path)
			}))
			defer origin.Close()
			dir := t.TempDir()
			durableKill(t, kind, dir, origin.URL)
			origin.Close()

			handles := durableHandles(t, everfreshtest.NewCache(t, everfresh.WithStorage(open(t, dir))), origin.URL)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			for i, r := range handles {
				v, err := r.Get(ctx)
				if want := fmt.Sprint("value of /", i); string(v) != want || err != nil {
					t.Fatalf("Get = %q, %v; want %q", v, err, want)
				}
			}
		})
	}
}

// durableKill runs the child until it has stored its values, and kills it.
func durableKill(t *testing.T, kind, dir, origin string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestDurableChild$") //nolint:gosec // This program.
	cmd.Env = append(os.Environ(), durableKind+"="+kind, durableDir+"="+dir, durableOrigin+"="+origin)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := ""
	for lines := bufio.NewScanner(out); said != "stored" && lines.Scan(); {
		said = lines.Text()
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	if said != "stored" {
		t.Fatalf("the child ended, and said %q last", said)
	}
}
