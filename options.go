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

// A CacheOption configures a whole cache.
type CacheOption interface{ applyCache(*cacheConfig) }

// A RegisterOption configures one resource.
type RegisterOption interface{ applyResource(*config) }

// An Option is a CacheOption and a RegisterOption: given to [NewCache], it is the default of
// every resource.
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

// cacheConfig is what the options of NewCache say. It is immutable afterwards.
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

// config is what the options of Register say. It is immutable afterwards.
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

// checkPublic reports options under which WithPublicOnly could not see what is dialled.
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

// fail notes the first invalid option.
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

// Options bundles options of resources, so that a group of resources is configured in one
// place. Middleware in a bundle runs after the cache's and before the resource's own.
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

// WithErrSink sets the sink that receives refresh errors. Default: none.
func WithErrSink(sink ErrSink) CacheOption {
	return cacheOption(func(c *cacheConfig) { c.sink = sink })
}

// WithObserver sets the function that receives every [Event]. It is called like an
// [ErrSink]: by one goroutine at a time, off the refresher's path. Default: none.
func WithObserver(observe func(Event)) CacheOption {
	return cacheOption(func(c *cacheConfig) { c.observer = observe })
}

// WithRefreshWindow makes refreshes start together that are due within d: those that become
// due within d after others have started wait for the end of d. A refresh starts up to d
// late, never early. Default: 10 ms.
func WithRefreshWindow(d time.Duration) CacheOption {
	return cacheOption(func(c *cacheConfig) {
		if d <= 0 {
			c.fail("refresh window %v is not positive", d)
		}
		c.window = d
	})
}

// WithStorage sets where records are stored, so that a restart can serve them. Calls of s get
// a context, which they must obey: a load that a caller waits for is given up after 300 ms,
// other loads and stores after 5 s. The caller closes s after the cache. Default: nowhere.
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

// WithPublicOnly allows only public addresses to be dialled. It is for a cache whose URLs
// come from strangers. Every address is checked when it is about to be dialled: that of the
// registered host, that of a redirect, and each one that the DNS returns, now or later,
// however the host is spelled. An address is public if the IANA registries of
// special-purpose addresses (RFC 6890) call it globally reachable. Loopback, private and
// link-local addresses are not, nor those of cloud metadata, nor IPv6 addresses that embed
// such an IPv4 address. A refusal is [ErrNotAllowed]; Register returns it already if the
// URL's host is such an address. Its text names only the kind of address.
//
// The addresses of except are allowed nevertheless; used again, the option adds to them.
// Only what the cache itself dials can be checked, so the option is invalid together with
// [WithProxy], [WithFetcher], or a [WithHTTPClient] whose client has its own Transport. The
// DNS server itself may have any address. Default: all addresses are allowed.
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

// WithAllow allows only URLs for which one of the policies returns nil; a policy's error
// says why it refuses. The policies see the URL in canonical form (ASCII host in lower
// case, no default port, clean path). They are asked about the registered URL, that of a
// built request and that of every redirect. If the option is used several times, also for
// the cache and for a resource, all uses must agree. [AllowHosts],
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

// WithJitter makes refreshes early by a random part of the interval, up to the given part
// from 0 to 1. Where the minimum interval decides, they are late by that part instead. The
// first interval of a resource is spread over half of it. With 0 all times are exact, also
// those of the back-off. Default: 0.05.
func WithJitter(part float64) Option {
	return bothOption(func(c *config) {
		if !(part >= 0 && part <= 1) { // also refuses NaN
			c.fail("jitter %v is not between 0 and 1", part)
		}
		c.jitter = part
	})
}

// WithRefreshAhead refreshes a value d before its freshness ends, but not before the
// minimum interval. A value with an expiry of its own that is valid for hardly longer than d
// is refreshed after half of that time, but not more often than the floor of [WithBackoff].
// It has no effect where [WithRefreshInterval] decides. Default: 0; for a value with an
// expiry of its own a tenth of its lifetime, at most 1 min.
func WithRefreshAhead(d time.Duration) Option {
	return bothOption(func(c *config) {
		if d < 0 {
			c.fail("refresh ahead of %v is negative", d)
		}
		c.ahead = d
	})
}

// WithMaxStale bounds how long a value is served after its freshness ended. The refresher
// enforces the bound, so that a read needs no clock; after a sleep of the machine the
// value may be served for up to a minute too long. Default: 0, no limit.
func WithMaxStale(d time.Duration) Option {
	return bothOption(func(c *config) {
		if d < 0 {
			c.fail("maximum staleness %v is negative", d)
		}
		c.maxStale = d
	})
}

// WithPriority sets the priority of the stored record. It is only used by [Query] and
// [Cache.Purge]. Default: store.Normal.
func WithPriority(p store.Priority) Option {
	return bothOption(func(c *config) {
		if p != p.OrNormal() {
			c.fail("invalid priority %d", uint8(p))
		}
		c.priority = p
	})
}

// WithBackoff sets the floor and the ceiling of the delay after a failure. The delay doubles
// with every failure in a row, with full jitter above the floor. Default: 250 ms and 5 min.
func WithBackoff(floor, ceiling time.Duration) Option {
	return bothOption(func(c *config) {
		if floor <= 0 || ceiling < floor {
			c.fail("back-off from %v to %v: the floor must be positive and not above the ceiling", floor, ceiling)
		}
		c.backoffMin, c.backoffMax = floor, ceiling
	})
}

// WithTimeout bounds a fetch, from the request to the decoded value, and separately the
// function of [WithRequest]. The time that they wait for their turn does not count.
// Default: 30 s.
func WithTimeout(d time.Duration) Option {
	return bothOption(func(c *config) {
		if d <= 0 {
			c.fail("timeout %v is not positive", d)
		}
		c.timeout = d
	})
}

// WithMaxBytes bounds the decoded body. A larger one fails the refresh with [ErrTooLarge].
// Default: 10 MiB.
func WithMaxBytes(n int64) Option {
	return bothOption(func(c *config) {
		if n <= 0 {
			c.fail("body limit of %d bytes is not positive", n)
		}
		c.maxBytes = n
	})
}

// WithKey names the resource. Errors, events, logs and stores name the resource by its key
// and never by its URL, so a URL with a secret in it needs a key. Default: the URL.
func WithKey(key string) RegisterOption {
	return registerOption(func(c *config) {
		if key == "" {
			c.fail("empty key")
		}
		c.key = key
	})
}

// WithRequest sets the function that builds the request of each refresh: with another
// method, a body, headers, or with another resource's value. prev is what is served now, or
// nil. The engine adds validators and Accept-Encoding unless the request has them; a 304 to
// validators that build has set is a failure, as the engine knows no value for it. To get
// the value of another resource, build must pass on its ctx: the fetch of that value then
// needs no worker of its own, and a cycle is an error. The URL of the request must pass
// [WithAllow]. Default: GET of the registered URL.
func WithRequest(build func(ctx context.Context, prev *Snapshot[any]) (*http.Request, error)) RegisterOption {
	return registerOption(func(c *config) {
		if build == nil {
			c.fail("nil request function")
		}
		c.request = build
	})
}

// WithHeader adds a header field to every request. Used again, it adds another one. Values
// are never shown, and are not sent along when a redirect leads to another origin.
// Default: none.
func WithHeader(name, value string) Option {
	return bothOption(func(c *config) {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			c.fail("invalid header field")
			return
		}
		if http.CanonicalHeaderKey(name) == "Host" {
			c.fail("net/http ignores a Host header field: set Request.Host with WithRequest")
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

// WithTransformer sets how the value of an untyped resource is made from a response.
// Default: its body as []byte.
func WithTransformer(t Transformer) RegisterOption {
	return registerOption(func(c *config) {
		if t == nil {
			c.fail("nil transformer")
		}
		c.transformer = t
	})
}

// WithFetcher replaces the HTTP fetcher inside the middleware. Default: HTTP.
func WithFetcher(f Fetcher) Option {
	return bothOption(func(c *config) {
		if f == nil {
			c.fail("nil fetcher")
		}
		c.fetcher = f
	})
}

// WithMiddleware wraps the fetcher. Middleware given to [NewCache] runs first, then that of
// groups ([Options]), then the resource's own. Within a level, the first one added runs
// first. Default: none.
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

// WithNewerLimit limits the fetches that [Resource.Newer] may start: burst at once, then one
// every refill. Beyond that, Newer returns a *[RateLimitError]. Default: 2 and 15 s.
func WithNewerLimit(burst int, refill time.Duration) Option {
	return bothOption(func(c *config) {
		if burst < 1 || refill <= 0 {
			c.fail("limit of Newer: burst %d, refill %v; want at least 1 and a positive time", burst, refill)
		}
		c.burst, c.refill = burst, refill
	})
}

// WithPrefetch sets whether a resource is fetched before a caller asks for it. Default: true
// for typed resources, false for untyped ones.
func WithPrefetch(on bool) Option { //nolint:revive // The flag is the option's value.
	return bothOption(func(c *config) {
		c.prefetch = prefetchOff
		if on {
			c.prefetch = prefetchOn
		}
	})
}

// WithLenientBody accepts an empty 200, and a body whose end the origin did not mark, which
// may have been cut short unnoticed. Default: false; untyped resources and [Bytes] accept an
// empty 200.
func WithLenientBody(on bool) Option {
	return bothOption(func(c *config) { c.lenient = on })
}
