package jwks

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/refreshctx"
	"github.com/everfresh-go/everfresh/internal/rfc9111"
)

// retryAfterMax limits the delay that a Retry-After can cause.
const retryAfterMax = 5 * time.Minute

// paced is the middleware that sets the time of the next fetch: after a failure by
// [WithBackoff], and after a response that does not specify its freshness by
// defaultLifetime.
func (c *config) paced(next everfresh.Fetcher) everfresh.Fetcher {
	return everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
		delay := c.delay(req.Context())
		refreshctx.Pace(req.Context(), delay)
		resp, err := next.Fetch(req)
		if err != nil || resp == nil {
			return resp, err
		}
		switch resp.StatusCode {
		case http.StatusNotModified:
		case http.StatusOK, http.StatusNonAuthoritativeInfo:
			resp.Header = withLifetime(resp.Header)
		default:
			if after, ok := rfc9111.ParseRetryAfter(resp.Header.Get("Retry-After"), time.Now()); ok {
				refreshctx.Pace(req.Context(), max(delay, min(after, retryAfterMax)))
			}
		}
		return resp, nil
	})
}

// delay returns the back-off after the refresh of ctx, randomized by up to a quarter.
func (c *config) delay(ctx context.Context) time.Duration {
	d := c.floor
	for n := refreshctx.Failures(ctx); n > 0 && d < c.ceiling; n-- {
		d *= 2
	}
	d = min(d, c.ceiling)
	return d*3/4 + rand.N(d/2+1)
}

// withLifetime adds defaultLifetime to a header that does not specify freshness.
func withLifetime(h http.Header) http.Header {
	now := time.Now()
	if rfc9111.Of(h, now, now, false).Source != rfc9111.None {
		return h
	}
	h = h.Clone()
	if h == nil {
		h = http.Header{}
	}
	h.Add("Cache-Control", "max-age="+strconv.Itoa(int(defaultLifetime/time.Second)))
	return h
}
