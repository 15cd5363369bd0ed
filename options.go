package everfresh

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/everfresh-go/everfresh/internal/guard"
	"github.com/everfresh-go/everfresh/store"
)

// A CacheOption sets something of a whole cache.
type CacheOption interface{ applyCache(*cacheConfig) }

// A RegisterOption sets something of one resource.
type RegisterOption interface{ applyResource(*config) }

// An Option is both: given to [NewCache] it is the default of every resource.
type Option interface {
	CacheOption
	RegisterOption
}

type cacheOption func(*cacheConfig)

func (f cacheOption) applyCache(c *cacheConfig) { f(c) }

type registerOption func(*config)

func (f registerOption) applyResource(c *config) { f(c) }

type bothOption func(*config)

func (f bothOption) applyCache(c *cacheConfig) { f(&c.resource) }
func (f bothOption) applyResource(c *config)   { f(c) }

// cacheConfig is what NewCache was told. It is immutable afterwards.
type cacheConfig struct {
	sink     ErrSink
	observer func(Event)
	window   time.Duration
	storage  store.Storage
	workers  int
	perHost  int
	proxy    func(*http.Request) (*url.URL, error)
	public   *guard.Guard              // nil: every address may be dialled
	resource config                    // defaults
	clock    func() (wall, mono int64) // nil: the real one
	err      error
}

// config is what Register was told. It is immutable afterwards.
type config struct {
	key         string
	client      *http.Client
	fetcher     Fetcher
	request     func(context.Context, *Snapshot[any]) (*http.Request, error)
	header      http.Header
	transformer Transformer
	allow       []func(*url.URL) error // all must pass
	middleware  middleware
	level       int // where WithMiddleware adds

	min, max, every, ahead, maxStale, timeout time.Duration
	backoffMin, backoffMax                    time.Duration
	jitter                                    float64
	maxBytes                                  int64
	burst                                     int
	refill                                    time.Duration
	prefetch                                  prefetch
	lenient                                   bool
	priority                                  store.Priority

	err error // of the first invalid option
}

type prefetch uint8

const (
	prefetchUnset prefetch = iota
	prefetchOn
	prefetchOff
)

func defaults() cacheConfig {
	return cacheConfig{
		window:  10 * time.Millisecond,
		workers: 64,
		perHost: 4,
		resource: config{
			min:        15 * time.Minute,
			max:        30 * 24 * time.Hour,
			jitter:     0.05,
			timeout:    30 * time.Second,
			backoffMin: 250 * time.Millisecond,
			backoffMax: 5 * time.Minute,
			maxBytes:   10 << 20,
			burst:      2,
			refill:     15 * time.Second,
		},
	}
}

// resourceConfig returns the configuration of one resource, or why it is invalid.
func (c *cacheConfig) resourceConfig(opts []RegisterOption) (*config, error) {
	if err := errors.Join(c.err, c.resource.err); err != nil {
		return nil, err
	}
	if len(opts) == 0 {
		return &c.resource, c.resource.check(c)
	}
	cfg := c.resource
	cfg.level = resourceLevel
	cfg.header = cfg.header.Clone()
	cfg.allow = slices.Clip(cfg.allow)
	for i, mw := range cfg.middleware {
		cfg.middleware[i] = slices.Clip(mw)
	}
	for _, opt := range opts {
		if opt == nil {
			return nil, errors.New("nil option")
		}
		opt.applyResource(&cfg)
	}
	return &cfg, errors.Join(cfg.err, cfg.check(c))
}

// check reports options that contradict each other.
func (c *config) check(cache *cacheConfig) error {
	switch {
	case c.min > c.max:
		return fmt.Errorf("minimum refresh interval %v above the maximum %v", c.min, c.max)
	case c.every > 0 && c.every < cache.window:
		return fmt.Errorf("refresh interval %v below the refresh window %v", c.every, cache.window)
	case c.fetcher != nil && c.client != nil:
		return errors.New("WithFetcher and WithHTTPClient exclude each other")
	case cache.public != nil:
		return c.checkPublic(cache)
	default:
		return nil
	}
}

// checkPublic reports what WithPublicOnly cannot guard.
func (c *config) checkPublic(cache *cacheConfig) error {
	switch {
	case cache.proxy != nil:
		return errors.New("WithPublicOnly and WithProxy exclude each other: what a proxy dials is not seen")
	case c.fetcher != nil:
		return errors.New("WithPublicOnly and WithFetcher exclude each other: what a fetcher dials is not seen")
	case c.client != nil && c.client.Transport != nil:
		return errors.New("WithPublicOnly and an HTTP client with a transport of its own exclude each other: what it dials is not seen")
	default:
		return nil
	}
}

// fail remembers the first invalid option.
func (c *config) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *cacheConfig) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// Options bundles options of resources, so that a group of resources is described
// once. Middleware in a bundle stands between the cache's and the resource's own.
func Options(opts ...RegisterOption) Option {
	return bothOption(func(c *config) {
		outer := c.level
		c.level = groupLevel
		for _, opt := range opts {
			if opt == nil {
				c.fail("nil option")
				continue
			}
			opt.applyResource(c)
		}
		c.level = outer
	})
}

// WithErrSink sets who hears of failures. Default: nobody.
func WithErrSink(sink ErrSink) CacheOption {
	return cacheOption(func(c *cacheConfig) { c.sink = sink })
}

// WithObserver sets who hears of every [Event]. It is called like an [ErrSink]: by
// one goroutine at a time, off the refresher's path. Default: nobody.
func WithObserver(observe func(Event)) CacheOption {
	return cacheOption(func(c *cacheConfig) { c.observer = observe })
}

// WithRefreshWindow lets deadlines within d start together: after a wake-up the
// refresher sleeps at least d. A refresh starts up to d late, never early.
// Default: 10 ms.
func WithRefreshWindow(d time.Duration) CacheOption {
	return cacheOption(func(c *cacheConfig) {
		if d <= 0 {
			c.fail("refresh window %v is not positive", d)
		}
		c.window = d
	})
}

// WithStorage sets where records are kept across restarts. The caller closes s
// after the cache. Default: nowhere.
func WithStorage(s store.Storage) CacheOption {
	return cacheOption(func(c *cacheConfig) { c.storage = s })
}

// WithWorkers sets how many refreshes run at once. Default: 64.
func WithWorkers(n int) CacheOption {
	return cacheOption(func(c *cacheConfig) {
		if n < 1 {
			c.fail("%d workers, want at least 1", n)
		}
		c.workers = n
	})
}

// WithMaxPerHost sets how many refreshes of one origin (scheme, host and port) run at
// once. A fetch that another resource's request waits for does not count.
// Default: 4.
func WithMaxPerHost(n int) CacheOption {
	return cacheOption(func(c *cacheConfig) {
		if n < 1 {
			c.fail("%d refreshes per host, want at least 1", n)
		}
		c.perHost = n
	})
}

// WithProxy sets the proxy of the default transport, as http.Transport.Proxy does;
// http.ProxyFromEnvironment asks the environment. Default: no proxy.
func WithProxy(proxy func(*http.Request) (*url.URL, error)) CacheOption {
	return cacheOption(func(c *cacheConfig) { c.proxy = proxy })
}

// WithPublicOnly lets only public addresses be dialled, for a cache whose URLs strangers
// name. Every address that is about to be dialled is judged: of the registered host, of a
// redirect's, and each one that the DNS says, now or later, however the host is spelled.
// Not public is what the IANA registries of special-purpose addresses (RFC 6890) do not
// call globally reachable, among them loopback, private and link-local addresses, those
// of cloud metadata, and IPv6 addresses that hold such an IPv4 one. A refusal is
// [ErrNotAllowed], of Register already if the URL's host is such an address; its text
// names the kind of address only.
//
// The addresses of except are dialled all the same; used again, the option adds to them.
// Only what the cache itself dials can be judged: together with [WithProxy],
// [WithFetcher], or a [WithHTTPClient] whose client has its own Transport, it is an
// invalid option. Names are asked of the system's resolver whatever its address is.
// Default: every address is dialled.
func WithPublicOnly(except ...netip.Prefix) CacheOption {
	return cacheOption(func(c *cacheConfig) {
		if c.public == nil {
			c.public = new(guard.Guard)
			c.resource.allow = append(c.resource.allow, c.public.URL)
		}
		for _, p := range except {
			if err := c.public.Except(p); err != nil {
				c.fail("exception of WithPublicOnly: %w", err)
			}
		}
	})
}

// WithAllow lets only those URLs be fetched for which one of the policies returns
// nil; a policy's error says why it refuses. The policies see the URL in canonical
// form (ASCII host in lower case, no default port, clean path) and are asked for
// the registered URL, a built request's and every redirect's. Used several times,
// also for the cache and for a resource, all uses must agree. [AllowHosts],
// [AllowPrefix] and [AllowRegexp] are ready-made. Default: all http and https URLs
// without userinfo.
func WithAllow(policies ...func(*url.URL) error) Option {
	return bothOption(func(c *config) {
		for _, p := range policies {
			if p == nil {
				c.fail("nil URL policy")
				return
			}
		}
		c.allow = append(c.allow, anyOf(policies))
	})
}

// WithHTTPClient sets the client to fetch with. The client is copied; its
// CheckRedirect is replaced by the cache's policy, and a nil Transport by the
// cache's own. Default: a client with the limits listed in the package comment.
func WithHTTPClient(client *http.Client) Option {
	return bothOption(func(c *config) {
		if client == nil {
			c.fail("nil HTTP client")
		}
		c.client = client
	})
}

// WithMinRefreshInterval sets the shortest time between two refreshes, whatever the
// origin's headers say. Default: 15 min.
func WithMinRefreshInterval(d time.Duration) Option {
	return bothOption(func(c *config) {
		if d <= 0 {
			c.fail("minimum refresh interval %v is not positive", d)
		}
		c.min = d
	})
}

// WithMaxRefreshInterval sets the longest time between two refreshes, whatever the
// origin's headers say. Default: 30 days.
func WithMaxRefreshInterval(d time.Duration) Option {
	return bothOption(func(c *config) {
		if d <= 0 {
			c.fail("maximum refresh interval %v is not positive", d)
		}
		c.max = d
	})
}

// WithRefreshInterval sets the time between two refreshes and overrides headers,
// minimum and maximum. Default: 0, the headers decide.
func WithRefreshInterval(d time.Duration) Option {
	return bothOption(func(c *config) {
		if d < 0 {
			c.fail("refresh interval %v is negative", d)
		}
		c.every = d
	})
}

// WithJitter sets the part of an interval, from 0 to 1, that a refresh is randomly
// early by; where the minimum interval decides it is late by that part instead. The
// first interval of a resource is spread over half of it. With 0 all times are
// exact, also those of the back-off. Default: 0.05.
func WithJitter(part float64) Option {
	return bothOption(func(c *config) {
		if !(part >= 0 && part <= 1) { // also refuses NaN
			c.fail("jitter %v is not between 0 and 1", part)
		}
		c.jitter = part
	})
}

// WithRefreshAhead refreshes a value d before its freshness ends, but not before the
// minimum interval. A value with its own end that lives hardly longer than d is asked for
// that often, but not more often than the floor of [WithBackoff]. Default: 0; for a value
// with its own end a tenth of its life, at most 1 min.
func WithRefreshAhead(d time.Duration) Option {
	return bothOption(func(c *config) {
		if d < 0 {
			c.fail("refresh ahead of %v is negative", d)
		}
		c.ahead = d
	})
}

// WithMaxStale bounds how long a value is served after its freshness ended. The
// bound is kept by the refresher, so that a read needs no clock; it may overshoot by
// the time a machine slept. Default: 0, no limit.
func WithMaxStale(d time.Duration) Option {
	return bothOption(func(c *config) {
		if d < 0 {
			c.fail("maximum staleness %v is negative", d)
		}
		c.maxStale = d
	})
}

// WithPriority sets how dear the stored record of a resource is. It decides nothing but
// what a clean-up by priority removes; see [Query]. Default: store.Normal.
func WithPriority(p store.Priority) Option {
	return bothOption(func(c *config) {
		if p != p.OrNormal() {
			c.fail("priority %d is none", uint8(p))
		}
		c.priority = p
	})
}

// WithBackoff sets the floor and the cap of the delay after a failure. It doubles
// with every failure in a row, with full jitter above the floor. Default: 250 ms and
// 5 min.
func WithBackoff(floor, ceiling time.Duration) Option {
	return bothOption(func(c *config) {
		if floor <= 0 || ceiling < floor {
			c.fail("back-off from %v to %v", floor, ceiling)
		}
		c.backoffMin, c.backoffMax = floor, ceiling
	})
}

// WithTimeout bounds one refresh, from the request to the decoded value. The time a
// refresh waits for its turn does not count. Default: 30 s.
func WithTimeout(d time.Duration) Option {
	return bothOption(func(c *config) {
		if d <= 0 {
			c.fail("timeout %v is not positive", d)
		}
		c.timeout = d
	})
}

// WithMaxBytes bounds the decoded body. A larger one is [ErrTooLarge] and replaces
// nothing. Default: 10 MiB.
func WithMaxBytes(n int64) Option {
	return bothOption(func(c *config) {
		if n <= 0 {
			c.fail("body limit of %d bytes is not positive", n)
		}
		c.maxBytes = n
	})
}

// WithKey names the resource. Wherever the resource is named (errors, events, logs,
// stores) it is by its key, so a URL with a secret needs one. Default: the URL.
func WithKey(key string) RegisterOption {
	return registerOption(func(c *config) {
		if key == "" {
			c.fail("empty key")
		}
		c.key = key
	})
}

// WithRequest builds the request of each refresh: another method, a body, headers,
// or one that needs another resource's value. prev is what is served now, or nil.
// The engine adds validators and Accept-Encoding where the request sets none. A
// value that build needs from another resource is got with its ctx: the fetch then
// runs in this refresh's turn, and a cycle is an error. The URL of the request
// passes [WithAllow]. Default: GET of the registered URL.
func WithRequest(build func(ctx context.Context, prev *Snapshot[any]) (*http.Request, error)) RegisterOption {
	return registerOption(func(c *config) {
		if build == nil {
			c.fail("nil request function")
		}
		c.request = build
	})
}

// WithHeader adds a header field to every request. Used again, it adds another; its
// values are never shown. It does not cross an origin when a redirect does.
// Default: none.
func WithHeader(name, value string) Option {
	return bothOption(func(c *config) {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			c.fail("invalid header field")
			return
		}
		if http.CanonicalHeaderKey(name) == "Host" {
			c.fail("net/http takes no Host from the header: build the request with WithRequest")
			return
		}
		h := c.header.Clone()
		if h == nil {
			h = http.Header{}
		}
		h.Add(name, value)
		c.header = h
	})
}

// WithTransformer sets how a resource of the untyped door is made from a response.
// Default: its body as []byte.
func WithTransformer(t Transformer) RegisterOption {
	return registerOption(func(c *config) {
		if t == nil {
			c.fail("nil transformer")
		}
		c.transformer = t
	})
}

// WithFetcher replaces the HTTP fetcher under the middleware. Default: HTTP.
func WithFetcher(f Fetcher) Option {
	return bothOption(func(c *config) {
		if f == nil {
			c.fail("nil fetcher")
		}
		c.fetcher = f
	})
}

// WithMiddleware wraps the fetcher. Middleware given to [NewCache] runs first, then
// that of groups ([Options]), then the resource's own; among one level the first
// added runs first. Default: none.
func WithMiddleware(wrap ...func(Fetcher) Fetcher) Option {
	return bothOption(func(c *config) {
		for _, w := range wrap {
			if w == nil {
				c.fail("nil middleware")
				return
			}
		}
		c.middleware[c.level] = append(c.middleware[c.level], wrap...)
	})
}

// WithNewerLimit sets how many fetches [Resource.Newer] may start: burst at once, then
// one every refill. Default: 2 and 15 s.
func WithNewerLimit(burst int, refill time.Duration) Option {
	return bothOption(func(c *config) {
		if burst < 1 || refill <= 0 {
			c.fail("on-demand budget of %d, refilled every %v", burst, refill)
		}
		c.burst, c.refill = burst, refill
	})
}

// WithPrefetch says whether a resource is fetched before anybody asks for it.
// Default: true for the typed door, false for the untyped.
func WithPrefetch(on bool) Option { //nolint:revive // The flag is the option's value.
	return bothOption(func(c *config) {
		c.prefetch = prefetchOff
		if on {
			c.prefetch = prefetchOn
		}
	})
}

// WithLenientBody accepts an empty 200, and a body whose end the origin did not
// mark, which may have been cut short unnoticed. Default: false; the untyped door and
// [Bytes] accept an empty 200.
func WithLenientBody(on bool) Option {
	return bothOption(func(c *config) { c.lenient = on })
}
