package everfresh

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDefaultsOnThePage: the numbers that docs/httprc.md gives are those of the code.
func TestDefaultsOnThePage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "httprc.md"))
	if err != nil {
		t.Fatal(err)
	}
	d := defaults()
	for text, right := range map[string]bool{
		"`WithWorkers(n)`, 64 by default":        d.workers == 64,
		"`WithMaxPerHost(n)`, 4 by default":      d.perHost == 4,
		"64, 4 of them for one origin":           d.workers == 64 && d.perHost == 4,
		"the same 15 min and 30 days":            d.resource.min == 15*time.Minute && d.resource.max == 30*24*time.Hour,
		"30 s, `WithTimeout`":                    d.resource.timeout == 30*time.Second,
		"10 MiB, then `ErrTooLarge`":             d.resource.maxBytes == 10<<20,
		"10 ms, `WithRefreshWindow`":             d.window == 10*time.Millisecond,
		"up to 5 % early, or late where":         d.resource.jitter == 0.05,
		"the first is spread over half":          firstSpread == 0.5,
		"250 ms, doubling to 5 min":              d.resource.backoffMin == 250*time.Millisecond && d.resource.backoffMax == 5*time.Minute,
		"Retry-After up to an hour":              retryAfterMax == time.Hour,
		"3, never from https to http":            maxRedirects == 3,
		"a queue of 1024 whose overflow":         callbackQueue == 1024,
		"it waits at most 5 s for a stuck":       closeWait == 5*time.Second,
		"none, `WithProxy`":                      d.proxy == nil,
		"it waits for everything, at most 5 s":   closeWait == 5*time.Second,
		"Deadlines are exact to 10 ms":           d.window == 10*time.Millisecond,
		"holds 4 of 64 places, each for 30 s":    d.resource.timeout == 30*time.Second && d.perHost == 4 && d.workers == 64,
		"a back-off from 250 ms to 5 min":        d.resource.backoffMin == 250*time.Millisecond,
		"same, and at most the maximum":          d.resource.max > 0,
		"all http and https URLs without userin": len(d.resource.allow) == 0,
	} {
		if !right {
			t.Errorf("not so: %s", text)
		}
		if !strings.Contains(string(page), text) {
			t.Errorf("the page does not say: %s", text)
		}
	}
}
