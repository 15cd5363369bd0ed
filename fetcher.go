package everfresh

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/everfresh-go/everfresh/internal/redact"
	"github.com/everfresh-go/everfresh/internal/refreshctx"
	"github.com/everfresh-go/everfresh/internal/weburl"
)

// A Fetcher answers one request, as an http.RoundTripper does: it returns a response
// whose body the engine reads and closes, or an error. The request's context bounds
// the exchange and reading the body. The engine has set validators and
// Accept-Encoding on the request, and decodes gzip itself.
//
// A Fetcher must be safe for concurrent use. A panic in it fails that refresh only.
type Fetcher interface {
	Fetch(req *http.Request) (*http.Response, error)
}

// FetcherFunc is a function that is a [Fetcher].
type FetcherFunc func(req *http.Request) (*http.Response, error)

// Fetch implements [Fetcher].
func (f FetcherFunc) Fetch(req *http.Request) (*http.Response, error) { return f(req) }

// The levels of middleware, outermost first.
const (
	cacheLevel = iota
	groupLevel
	resourceLevel
	levels
)

// middleware wraps fetchers, level by level.
type middleware [levels][]func(Fetcher) Fetcher

// wrap puts base inside the middleware. The cache's first is outermost.
func (m *middleware) wrap(base Fetcher) Fetcher {
	for level := levels - 1; level >= 0; level-- {
		for _, wrap := range slices.Backward(m[level]) {
			base = wrap(base)
		}
	}
	return base
}

const (
	// freshConnTime is how long a host gets new connections after a failed exchange. The
	// pool drops idle connections after the same time, so that none of those made before
	// the failure is used again, and the host's address is looked up again.
	freshConnTime = 90 * time.Second
	// maxFailed is how many failed hosts are remembered before old ones are dropped.
	maxFailed = 1024
)

// An httpFetcher fetches with an http.Client under the cache's redirect policy.
type httpFetcher struct {
	pooled *http.Client // reuses connections
	fresh  *http.Client // makes a new connection for each exchange; nil for a user's client
	now    func() time.Time
	failed *failedHosts
}

// failedHosts remembers the last failed exchange of each origin.
type failedHosts struct {
	mu    sync.Mutex
	at    map[string]time.Time // guarded by mu
	sweep int                  // how many to hold before old ones are dropped; guarded by mu
}

// newHTTPFetcher returns the fetcher of the cache's own transports: one that keeps
// connections, and one that does not.
func newHTTPFetcher(pooled, fresh *http.Transport, now func() time.Time) *httpFetcher {
	fresh.DisableKeepAlives = true
	return &httpFetcher{
		pooled: guarded(&http.Client{Transport: pooled}),
		fresh:  guarded(&http.Client{Transport: fresh}),
		now:    now,
		failed: &failedHosts{at: make(map[string]time.Time), sweep: maxFailed},
	}
}

// withClient returns a fetcher for a user's client.
func (f *httpFetcher) withClient(client *http.Client) *httpFetcher {
	own := *client
	if own.Transport != nil {
		return &httpFetcher{pooled: guarded(&own), now: f.now}
	}
	fresh := own
	own.Transport, fresh.Transport = f.pooled.Transport, f.fresh.Transport
	return &httpFetcher{pooled: guarded(&own), fresh: guarded(&fresh), now: f.now, failed: f.failed}
}

// guarded makes client follow redirects under the cache's policy.
func guarded(client *http.Client) *http.Client {
	client.CheckRedirect = checkRedirect
	return client
}

// close drops idle connections.
func (f *httpFetcher) close() {
	f.pooled.CloseIdleConnections()
	f.fresh.CloseIdleConnections()
}

// Fetch implements [Fetcher].
func (f *httpFetcher) Fetch(req *http.Request) (*http.Response, error) {
	hops := hopPolicyOf(req.Context())
	// The registered URL was permitted when it was registered, unless policies may have
	// another opinion now.
	origin := hops.origin
	registered := origin != "" && *req.URL == hops.url
	if !registered {
		origin = weburl.Origin(req.URL)
	}
	if !registered || len(hops.allow) > 0 {
		if err := hops.permit(req.URL); err != nil {
			return nil, err
		}
	}
	// Send the request, on a new connection if the host failed lately.
	resp, err := exchange(f.clientFor(origin), req)
	if err != nil {
		f.exchangeFailed(req.Context(), origin)
		return nil, redact.Error(err)
	}
	return resp, nil
}

// A policyFetcher has URL policies of its own. They also reach the fetcher in the context
// of the request, but a middleware can make a request without that context.
type policyFetcher struct {
	*httpFetcher
	allow []func(*url.URL) error
}

// Fetch implements [Fetcher].
func (f *policyFetcher) Fetch(req *http.Request) (*http.Response, error) {
	if req.Context().Value(refreshctx.Key{}) == nil {
		own := &hopPolicy{allow: f.allow}
		req = req.WithContext(context.WithValue(req.Context(), refreshctx.Key{}, own))
	}
	return f.httpFetcher.Fetch(req)
}

// exchange sends req and follows redirects. The first answer is taken from the transport
// directly, since nearly all of them are final and http.Client would copy the header for
// hops that do not come. A redirect is given to the client, which finds its first answer
// received already. A client that does more than follow redirects does it all.
func exchange(client *http.Client, req *http.Request) (*http.Response, error) {
	if client.Jar != nil || client.Timeout != 0 {
		return client.Do(req)
	}
	resp, err := client.Transport.RoundTrip(req)
	if err != nil || !redirects(resp) {
		return resp, err
	}
	following := *client
	following.Transport = &receivedFirst{resp: resp, next: client.Transport}
	return following.Do(req)
}

func redirects(resp *http.Response) bool {
	return resp != nil && resp.StatusCode >= 300 && resp.StatusCode < 400 && resp.Header.Get("Location") != ""
}

// receivedFirst is a transport that has made its first exchange already.
type receivedFirst struct {
	resp *http.Response
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (r *receivedFirst) RoundTrip(req *http.Request) (*http.Response, error) {
	resp := r.resp
	if resp == nil {
		return r.next.RoundTrip(req)
	}
	r.resp = nil
	resp.Request = req
	return resp, nil
}

// clientFor returns the client for origin: the one that makes new connections if an exchange
// failed lately, as a connection that still looks alive may lead to a host that moved.
func (f *httpFetcher) clientFor(origin string) *http.Client {
	if f.fresh == nil {
		return f.pooled
	}
	f.failed.mu.Lock()
	defer f.failed.mu.Unlock()
	at, failed := f.failed.at[origin]
	if !failed {
		return f.pooled
	}
	if f.now().Sub(at) > freshConnTime {
		delete(f.failed.at, origin)
		return f.pooled
	}
	return f.fresh
}

// exchangeFailed makes the next exchanges with origin use new connections. A refresh
// that was cancelled says nothing about its host.
func (f *httpFetcher) exchangeFailed(ctx context.Context, origin string) {
	if f.fresh != nil && !errors.Is(ctx.Err(), context.Canceled) {
		f.avoidReuse(origin)
	}
}

// avoidReuse makes the next exchanges with origin use new connections.
func (f *httpFetcher) avoidReuse(origin string) {
	f.failed.mu.Lock()
	defer f.failed.mu.Unlock()
	// Forget old failures when there are many, but not at each new one.
	now := f.now()
	f.failed.at[origin] = now
	if len(f.failed.at) > f.failed.sweep {
		maps.DeleteFunc(f.failed.at, func(_ string, at time.Time) bool { return now.Sub(at) > freshConnTime })
		f.failed.sweep = max(maxFailed, 2*len(f.failed.at))
	}
}
