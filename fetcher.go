package everfresh

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/everfresh-go/everfresh/internal/body"
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

// chain wraps base in the middleware of cfg; the cache's first is outermost.
func (cfg *config) chain(base Fetcher) Fetcher {
	for level := levels - 1; level >= 0; level-- {
		for _, wrap := range slices.Backward(cfg.middleware[level]) {
			base = wrap(base)
		}
	}
	return base
}

const (
	maxRedirects = 3
	// coldTime is how long a host gets new connections after a failed exchange. It is
	// the time after which the pool drops idle ones, so that none of those made
	// before the failure is used again and the host's address is asked for anew.
	coldTime = 90 * time.Second
	// maxFailed is how many failed hosts are remembered before old ones are dropped.
	maxFailed = 1024
)

// An httpFetcher fetches with an http.Client under the cache's redirect policy.
type httpFetcher struct {
	pooled *http.Client
	cold   *http.Client // makes a new connection for each exchange; nil for a user's client
	now    func() time.Time
	failed *failedHosts
}

// failedHosts remembers the last failed exchange of each origin.
type failedHosts struct {
	mu    sync.Mutex
	at    map[string]time.Time // guarded by mu
	sweep int                  // how many to hold before old ones are dropped; guarded by mu
}

// newHTTPFetcher returns the fetcher of the cache's own transport.
func newHTTPFetcher(cfg *cacheConfig, now func() time.Time) *httpFetcher {
	cold := newTransport(cfg)
	cold.DisableKeepAlives = true
	return &httpFetcher{
		pooled: guarded(&http.Client{Transport: newTransport(cfg)}),
		cold:   guarded(&http.Client{Transport: cold}),
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
	cold := own
	own.Transport, cold.Transport = f.pooled.Transport, f.cold.Transport
	return &httpFetcher{pooled: guarded(&own), cold: guarded(&cold), now: f.now, failed: f.failed}
}

func guarded(client *http.Client) *http.Client {
	client.CheckRedirect = checkRedirect
	return client
}

func newTransport(cfg *cacheConfig) *http.Transport {
	return &http.Transport{
		Proxy:                  cfg.proxy,
		DialContext:            newDialer(cfg).DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    cfg.perHost,
		IdleConnTimeout:        coldTime,
		TLSHandshakeTimeout:    5 * time.Second,
		ResponseHeaderTimeout:  10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // the body reader counts encoded bytes
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
	}
}

// newDialer returns the dialer of the cache's own transports. The guard of
// [WithPublicOnly] stands in its Control function, which is called for each address that
// a name stands for, when it has been resolved and before it is connected to: no answer
// of the DNS can change between the two.
func newDialer(cfg *cacheConfig) *net.Dialer {
	d := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	if guard := cfg.public; guard != nil {
		d.ControlContext = func(_ context.Context, network, address string, _ syscall.RawConn) error {
			if err := guard.Dial(network, address); err != nil {
				return redact.Own(fmt.Errorf("%w: %w", ErrNotAllowed, err))
			}
			return nil
		}
	}
	return d
}

// close drops idle connections.
func (f *httpFetcher) close() {
	f.pooled.CloseIdleConnections()
	f.cold.CloseIdleConnections()
}

// Fetch implements [Fetcher].
func (f *httpFetcher) Fetch(req *http.Request) (*http.Response, error) {
	x := exchangeOf(req.Context())
	origin := x.origin
	registered := origin != "" && *req.URL == x.url
	if !registered {
		origin = weburl.Origin(req.URL)
	}
	if !registered || len(x.allow) > 0 {
		if err := x.permit(req.URL); err != nil {
			return nil, err
		}
	}
	client := f.clientFor(origin)
	resp, err := f.exchange(client, req)
	if err != nil {
		f.exchangeFailed(req.Context(), origin)
		return nil, redact.Error(err)
	}
	return resp, nil
}

// A policed fetcher has policies. They also reach the fetcher in the context of the
// request, but a middleware may have made a request without it.
type policed struct {
	*httpFetcher
	allow []func(*url.URL) error
}

// Fetch implements [Fetcher].
func (f *policed) Fetch(req *http.Request) (*http.Response, error) {
	if x := exchangeOf(req.Context()); x.flight == nil {
		own := &exchange{allow: f.allow}
		req = req.WithContext(context.WithValue(req.Context(), refreshctx.Key{}, own))
	}
	return f.httpFetcher.Fetch(req)
}

// exchange sends req and follows redirects. The first answer is taken from the
// transport directly, since nearly all of them are final and http.Client would copy
// the header for hops that do not come; a redirect goes to the client, which finds its
// first answer received already. A client that does more than follow redirects does
// it all.
func (f *httpFetcher) exchange(client *http.Client, req *http.Request) (*http.Response, error) {
	if client.Jar != nil || client.Timeout != 0 {
		return client.Do(req)
	}
	resp, err := client.Transport.RoundTrip(req)
	if err != nil || !redirects(resp) {
		return resp, err
	}
	following := *client
	following.Transport = &received{resp: resp, next: client.Transport}
	return following.Do(req)
}

func redirects(resp *http.Response) bool {
	return resp != nil && resp.StatusCode >= 300 && resp.StatusCode < 400 && resp.Header.Get("Location") != ""
}

// received is a transport that has made its first exchange already.
type received struct {
	resp *http.Response
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (r *received) RoundTrip(req *http.Request) (*http.Response, error) {
	resp := r.resp
	if resp == nil {
		return r.next.RoundTrip(req)
	}
	r.resp = nil
	resp.Request = req
	return resp, nil
}

// clientFor returns the client for origin.
func (f *httpFetcher) clientFor(origin string) *http.Client {
	if f.cold == nil {
		return f.pooled
	}
	f.failed.mu.Lock()
	defer f.failed.mu.Unlock()
	at, failed := f.failed.at[origin]
	if !failed {
		return f.pooled
	}
	if f.now().Sub(at) > coldTime {
		delete(f.failed.at, origin)
		return f.pooled
	}
	return f.cold
}

// exchangeFailed makes the next exchanges with origin use new connections. A refresh
// that was called off says nothing about its host.
func (f *httpFetcher) exchangeFailed(ctx context.Context, origin string) {
	if f.cold != nil && !errors.Is(ctx.Err(), context.Canceled) {
		f.distrust(origin)
	}
}

// distrust makes the next exchanges with origin use new connections.
func (f *httpFetcher) distrust(origin string) {
	f.failed.mu.Lock()
	defer f.failed.mu.Unlock()
	now := f.now()
	f.failed.at[origin] = now
	if len(f.failed.at) > f.failed.sweep {
		maps.DeleteFunc(f.failed.at, func(_ string, at time.Time) bool { return now.Sub(at) > coldTime })
		f.failed.sweep = max(maxFailed, 2*len(f.failed.at))
	}
}

// An exchange is what the fetcher must know of a refresh besides its request. It
// travels in the request's context.
type exchange struct {
	flight *flight
	allow  []func(*url.URL) error
	url    url.URL // the registered one, which was permitted when it was registered
	origin string  // of url; empty if the request was built
	etag   string  // the engine's own validators, which may follow a redirect
	since  string
	holder holder        // of the resource that is fetched; nil outside a refresh
	at     time.Time     // when the answer was received; set before the decoder runs
	pace   time.Duration // the delay after a failure that does not steer; 0: the back-off
}

// prev returns what is served now, or nil.
func (x *exchange) prev() *Snapshot[any] {
	if x.holder == nil {
		return nil
	}
	return x.holder.boxed()
}

// exchangeOf returns the exchange of ctx, or an empty one.
func exchangeOf(ctx context.Context) *exchange {
	if x, ok := ctx.Value(refreshctx.Key{}).(*exchange); ok {
		return x
	}
	return &exchange{}
}

// Remark implements [refreshctx.Refresh].
func (x *exchange) Remark(err error) {
	if x.flight == nil {
		return
	}
	e := x.flight.e
	e.cache.report(&RefreshError{Key: e.name, Op: "decode", Stale: e.holder.kept() != nil, Err: redactForeign(err)})
}

// Pace implements [refreshctx.Refresh].
func (x *exchange) Pace(delay time.Duration) { x.pace = delay }

// steer makes err say when to try again, if a fetcher has and err does not.
func (x *exchange) steer(err error) error {
	if _, steered := steeringOf(err); steered || x.pace == 0 {
		return err
	}
	return RetryAfter(err, x.pace)
}

// Failures implements [refreshctx.Refresh].
func (x *exchange) Failures() int {
	if x.flight == nil {
		return 0
	}
	c := x.flight.e.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	return x.flight.e.failures
}

// permit reports whether u may be fetched.
func (x *exchange) permit(u *url.URL) error { return permit(u, x.allow) }

func permit(u *url.URL, policies []func(*url.URL) error) error {
	if err := weburl.Check(u); err != nil {
		return fmt.Errorf("%w: %w", ErrNotAllowed, err)
	}
	if len(policies) == 0 {
		return nil
	}
	canonical, err := weburl.Canonical(u)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotAllowed, err)
	}
	for _, allow := range policies {
		if err := allow(canonical); err != nil {
			return fmt.Errorf("%w: %w", ErrNotAllowed, err)
		}
	}
	return nil
}

// AllowHosts returns a policy for [WithAllow] that accepts these hosts: "a.example",
// "a.example:8443", or "*.a.example" for all its subdomains. A host without a port
// means the default port of its scheme. An invalid pattern is an error of Register.
func AllowHosts(hosts ...string) func(*url.URL) error {
	match, err := weburl.Hosts(hosts...)
	return policy(match, err, "host not on the list")
}

// AllowPrefix returns a policy for [WithAllow] that accepts URLs under prefix, such as
// "https://a.example/keys/": same scheme, host and port, and a path below it, whole
// segments compared after "..", "%2e" and the like are resolved. An invalid prefix is
// an error of Register.
func AllowPrefix(prefix string) func(*url.URL) error {
	match, err := weburl.Prefix(prefix)
	return policy(match, err, "not under the prefix")
}

// AllowRegexp returns a policy for [WithAllow] that accepts URLs which expr matches
// from beginning to end: it is anchored here. An invalid expression is an error of
// Register.
func AllowRegexp(expr string) func(*url.URL) error {
	match, err := weburl.Regexp(expr)
	return policy(match, err, "no match")
}

// A patternError is a policy that could not be made. It refuses every URL, whatever
// the other policies say.
type patternError struct{ err error }

func (e *patternError) Error() string { return "invalid URL pattern: " + e.err.Error() }

func policy(match func(*url.URL) bool, err error, refusal string) func(*url.URL) error {
	invalid := &patternError{err}
	refused := errors.New(refusal)
	return func(u *url.URL) error {
		switch {
		case err != nil:
			return invalid
		case !match(u):
			return refused
		default:
			return nil
		}
	}
}

// anyOf accepts what one of the policies accepts.
func anyOf(policies []func(*url.URL) error) func(*url.URL) error {
	return func(u *url.URL) error {
		errs := []error{errors.New("refused by every policy")}
		allowed := false
		for _, p := range policies {
			err := p(u)
			var invalid *patternError
			if errors.As(err, &invalid) {
				return invalid
			}
			allowed = allowed || err == nil
			errs = append(errs, err)
		}
		switch {
		case allowed:
			return nil
		case len(policies) == 1:
			return errs[1]
		default:
			return errors.Join(errs...)
		}
	}
}

// refuseRedirect returns why a redirect is not followed. Its text names no URL.
func refuseRedirect(reason string) error {
	return redact.Own(errors.New("redirect refused: " + reason))
}

// checkRedirect is the policy of every client: few hops, no downgrade, every hop
// permitted, and nothing of the caller's crosses an origin.
func checkRedirect(req *http.Request, via []*http.Request) error {
	last := via[len(via)-1]
	if len(via) > maxRedirects {
		return refuseRedirect(fmt.Sprintf("more than %d", maxRedirects))
	}
	if weburl.Downgrade(last.URL, req.URL) {
		return refuseRedirect("from https to http")
	}
	x := exchangeOf(req.Context())
	if err := x.permit(req.URL); err != nil {
		return redact.Own(fmt.Errorf("redirect refused: %w", err))
	}
	req.Header.Del("Referer") // it would carry the whole URL of the last hop
	if !crossed(req, via) {
		return nil
	}
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		return refuseRedirect(req.Method + " to another origin")
	}
	if req.Body != nil && req.Body != http.NoBody {
		return refuseRedirect("a body to another origin")
	}
	x.strip(req.Header)
	req.Host = "" // the caller's may have been kept
	return nil
}

// crossed reports whether any hop left the first one's origin: a request that comes
// back does not regain what it lost.
func crossed(req *http.Request, via []*http.Request) bool {
	for _, hop := range append(via[1:len(via):len(via)], req) {
		if !weburl.SameOrigin(via[0].URL, hop.URL) {
			return true
		}
	}
	return false
}

// strip removes every header field but the engine's own.
func (x *exchange) strip(h http.Header) {
	etag, since := h.Get("If-None-Match"), h.Get("If-Modified-Since")
	clear(h)
	h.Set("Accept-Encoding", "gzip")
	if x.etag != "" && etag == x.etag { // middleware may have taken it out
		h.Set("If-None-Match", x.etag)
	}
	if x.since != "" && since == x.since {
		h.Set("If-Modified-Since", x.since)
	}
}

// setValidators makes req conditional, unless its builder did.
func (x *exchange) setValidators(h http.Header, m *meta) {
	if len(h["If-None-Match"])+len(h["If-Modified-Since"]) > 0 {
		return
	}
	x.etag, x.since = m.etag, m.lastModified
	if x.etag != "" {
		h["If-None-Match"] = []string{x.etag}
	}
	if x.since != "" {
		h["If-Modified-Since"] = []string{x.since}
	}
}

// limits returns what the body of an answer is bounded by.
func (cfg *config) limits(allowEmpty bool) body.Limits {
	return body.Limits{
		Max: cfg.maxBytes, Ratio: 200, RatioAfter: 1 << 20,
		Idle: 5 * time.Second, MinRate: 1 << 10,
		AllowUnframed: cfg.lenient, AllowEmpty: cfg.lenient || allowEmpty,
	}
}

// A memoryBody is a response body that is in memory already.
type memoryBody struct {
	bytes.Reader
	data []byte
}

// Close implements io.Closer.
func (*memoryBody) Close() error { return nil }

// memoryResponse makes data the body of resp, as decoders get it.
func memoryResponse(resp *http.Response, data []byte) *http.Response {
	mb := &memoryBody{data: data}
	mb.Reset(data)
	resp.Body = mb
	resp.ContentLength = int64(len(data))
	if resp.Header.Get("Content-Encoding") != "" {
		resp.Header = resp.Header.Clone() // middleware may hold on to it
		resp.Header.Del("Content-Encoding")
		resp.Header.Del("Content-Length")
		resp.Uncompressed = true
	}
	return resp
}

// bodyOf returns the whole body of a response that a decoder was given, without a
// copy where the engine made it.
func bodyOf(resp *http.Response) ([]byte, error) {
	if mb, ok := resp.Body.(*memoryBody); ok && mb.Len() == len(mb.data) {
		return mb.data, nil
	}
	return io.ReadAll(resp.Body)
}
