package everfresh_test

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
)

var burstSize = flag.Int("burst", 20_000, "how many resources TestBurstOfEqualDeadlines registers at once")

// A burstOrigin answers at once that the value is fresh for one burstCycle, and counts by
// the second.
type burstOrigin struct {
	start  time.Time
	counts [2 * burstCycle]atomic.Int64
}

const burstCycle = 60 // seconds

func (o *burstOrigin) RoundTrip(req *http.Request) (*http.Response, error) {
	if second := int(time.Since(o.start) / time.Second); second < len(o.counts) {
		o.counts[second].Add(1)
	}
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Request: req, ContentLength: 1,
		Header: http.Header{"Cache-Control": {fmt.Sprintf("max-age=%d", burstCycle)}},
		Body:   io.NopCloser(strings.NewReader("x")),
	}, nil
}

// rates returns the requests of each second.
func (o *burstOrigin) rates() []int64 {
	var rates []int64
	for i := range o.counts {
		rates = append(rates, o.counts[i].Load())
	}
	return rates
}

// TestBurstOfEqualDeadlines: what is registered within one second and has the same
// max-age does not stay together: in the second cycle the origin sees at most 2.5 times
// the mean rate in any second. bench runs this with a million resources.
func TestBurstOfEqualDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &burstOrigin{start: time.Now()}
		c := newCache(t,
			everfresh.WithHTTPClient(&http.Client{Transport: o}), everfresh.WithMinRefreshInterval(time.Second),
			everfresh.WithMaxPerHost(64))
		n := *burstSize
		for i := range n {
			register(t, c, fmt.Sprintf("https://origin.test/%d", i), everfresh.Bytes())
			if i%(n/10) == n/10-1 {
				time.Sleep(time.Second / 10)
			}
		}
		time.Sleep(2*burstCycle*time.Second - time.Since(o.start))
		rates := o.rates()
		t.Logf("requests in each second: %d", rates)
		second := rates[burstCycle:]
		sum := int64(0)
		for _, r := range second {
			sum += r
		}
		if ratio := float64(slices.Max(second)) * burstCycle / float64(sum); !(ratio <= 2.5) || sum < int64(n) {
			t.Errorf("%d requests for %d resources in the second cycle, peak over mean %.2f, want at most 2.5", sum, n, ratio)
		}
	})
}
