package everfresh_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/store"
)

// TestWarmStartOfMany starts with ten thousand records, a tenth of them stale: while the
// origin is down every Get succeeds, and once it is back only the stale ones are fetched,
// spread over their time.
func TestWarmStartOfMany(t *testing.T) {
	const resources, every = 10_000, 10 // every tenth is stale
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		key := func(i int) string { return fmt.Sprintf("https://origin.test/%d", i) }
		for i := range resources {
			age := time.Minute
			if i%every == 0 {
				age = 3 * time.Hour
			}
			warmPut(t, mem, warmRecord(key(i), fmt.Sprint("value ", i), age, 2*time.Hour))
		}
		o := newWarmOrigin("new")
		o.set(func(o *warmOrigin) { o.down = true })
		c := newCache(t, everfresh.WithStorage(mem), o.client(),
			everfresh.WithBackoff(10*time.Minute, 10*time.Minute), everfresh.WithMinRefreshInterval(time.Hour))
		handles := make([]*everfresh.Resource[[]byte], resources)
		for i := range handles {
			handles[i] = register(t, c, key(i), everfresh.Bytes())
		}
		for i, r := range handles {
			if v, err := r.Get(t.Context()); string(v) != fmt.Sprint("value ", i) || err != nil {
				t.Fatalf("Get of %d = %q, %v", i, v, err)
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		checkSpread(t, o.requests(), resources/every)

		o.set(func(o *warmOrigin) { o.down, o.asked = false, nil })
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		for _, req := range o.requests() {
			if !strings.HasSuffix(req.url, "0") {
				t.Fatalf("%s was fetched, which is fresh", req.url)
			}
		}
		for i, r := range handles {
			v, ok := r.Peek()
			if stale := i%every == 0; !ok || stale != (string(v) == "new") {
				t.Fatalf("value of %d is %q, %t", i, v, ok)
			}
		}
	})
}

// checkSpread checks that want resources were asked for, and no tenth of them in a second.
func checkSpread(t *testing.T, asked []warmRequest, want int) {
	t.Helper()
	urls, seconds := map[string]bool{}, map[int64]int{}
	for _, req := range asked {
		urls[req.url] = true
		if seconds[req.at.Unix()]++; seconds[req.at.Unix()] > want/10 {
			t.Fatalf("more than %d requests in one second", want/10)
		}
	}
	if len(urls) != want {
		t.Errorf("%d resources were asked for, want %d", len(urls), want)
	}
}
