package everfresh_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
)

func TestHourlyRefreshForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		c := newCache(t, everfresh.WithJitter(0))
		r := register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithHTTPClient(clientOf(
			func(w http.ResponseWriter, _ *http.Request) {
				n.Add(1)
				w.Header().Set("Cache-Control", "max-age=3600")
				_, _ = w.Write([]byte("x"))
			})))
		time.Sleep(24*time.Hour + time.Minute)
		if got := n.Load(); got != 25 {
			t.Errorf("fetches = %d, want 25", got)
		}
		if v, err := r.Get(t.Context()); string(v) != "x" || err != nil {
			t.Errorf("Get = %q, %v", v, err)
		}
	})
}
