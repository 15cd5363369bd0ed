package everfresh

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/everfresh-go/everfresh/internal/weburl"
)

// A Cache keeps registered resources fresh. Create one with [NewCache]; the zero value
// is not usable. A Cache is safe for concurrent use.
//
// The methods Register, Get and Refresh are the untyped API, which keeps the shape of
// httprc v1: values are []byte, or whatever the transformer returns. New code should call
// the package function [Register].
type Cache struct {
	cfg     cacheConfig // immutable
	eng     *engine
	fetcher *httpFetcher
	shared  func() *source // the source of resources without options of their own
}

// NewCache returns an empty cache and starts its refresher. [Cache.Close] or the end of
// ctx stops it. An invalid option is reported by Register.
func NewCache(ctx context.Context, opts ...CacheOption) *Cache {
	c := &Cache{cfg: defaults()}
	for _, opt := range opts {
		if opt == nil {
			c.cfg.fail("nil option")
			continue
		}
		opt.applyCache(&c.cfg)
	}
	now := clock(c.cfg.clock)
	if now == nil {
		now = clockFrom(time.Now())
	}
	c.fetcher = newHTTPFetcher(newTransport(&c.cfg), newTransport(&c.cfg), now.wall)
	c.shared = sync.OnceValue(func() *source {
		return &source{cfg: &c.cfg.resource, fetcher: c.newFetcher(&c.cfg.resource)}
	})
	c.eng = newEngine(ctx, &c.cfg, now, c.fetcher.avoidReuse)
	return c
}

// Register adds the resource at rawURL to c and returns its handle. It does not wait
// for the network; the first fetch starts in the background, unless [WithPrefetch]
// says otherwise.
//
// The error is [ErrRegistered] if the key is taken, [ErrNotAllowed] if the URL is
// invalid or refused by [WithAllow], or [ErrClosed] after Close. Any other error names an
// invalid option.
func Register[T any](c *Cache, rawURL string, decode Decoder[T], opts ...RegisterOption) (*Resource[T], error) {
	if decode == nil {
		return nil, errors.New("everfresh: register: nil decoder")
	}
	cfg, err := c.cfg.resourceConfig(opts)
	if err != nil {
		return nil, fmt.Errorf("everfresh: register: %w", err)
	}
	if cfg.transformer != nil {
		return nil, errors.New("everfresh: register: WithTransformer is for the untyped API")
	}
	r := &Resource[T]{decode: decode}
	if err := c.prepare(&r.e, rawURL, cfg, resourceHolder[T]{r}); err != nil {
		return nil, err
	}
	if err := c.eng.add(&r.e, nil, cfg.prefetch != prefetchOff); err != nil {
		return nil, err
	}
	return r, nil
}

// Lookup returns the handle of the resource registered under key. An untyped resource is
// a Resource[any]. The error is [ErrNotRegistered], or [ErrRegistered] if the resource has
// another type.
func Lookup[T any](c *Cache, key string) (*Resource[T], error) {
	found, ok := c.eng.index.Load(key)
	if !ok {
		return nil, fmt.Errorf("everfresh: lookup: %w", ErrNotRegistered)
	}
	if h, ok := found.holder.(resourceHolder[T]); ok {
		return h.Resource, nil
	}
	if r, ok := any(found.untyped).(*Resource[T]); ok && r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("everfresh: lookup %q: %w with a type other than %T", found.name(), ErrRegistered, (*Resource[T])(nil))
}

// Register adds the resource at rawURL to the untyped API. It does not wait for the
// network; the first [Cache.Get] fetches, unless [WithPrefetch] says otherwise.
//
// Registering an untyped key again replaces its options and keeps its value; the
// resource is refreshed at once if it was ever asked for, and its next answer is transformed
// even if the bytes are the same. The error is [ErrRegistered] if the key belongs to a typed
// resource, [ErrNotAllowed] if the URL is invalid or refused by [WithAllow], or [ErrClosed]
// after Close. Any other error names an invalid option.
func (c *Cache) Register(rawURL string, opts ...RegisterOption) error {
	cfg, err := c.cfg.resourceConfig(opts)
	if err != nil {
		return fmt.Errorf("everfresh: register: %w", err)
	}
	r := new(Resource[any])
	if err := c.prepare(&r.e, rawURL, cfg, untypedHolder{resourceHolder[any]{r}}); err != nil {
		return err
	}
	return c.eng.add(&r.e, r, cfg.prefetch == prefetchOn)
}

// prepare makes e the entry of rawURL, or says why the URL is refused.
func (c *Cache) prepare(e *entry, rawURL string, cfg *config, h handle) error {
	key := cfg.key
	if key == "" {
		key = rawURL
	}
	e.init(c.eng, key, c.sourceOf(rawURL, cfg), h)
	// Without policies, the URL need not be parsed if it is a plain one.
	if len(cfg.allow) == 0 && weburl.Plain(rawURL) {
		return nil
	}
	u, err := weburl.Parse(rawURL)
	if err != nil {
		return fmt.Errorf("everfresh: register %q: %w: %w", e.name(), ErrNotAllowed, err)
	}
	if err := permit(u, cfg.allow); err != nil {
		return fmt.Errorf("everfresh: register %q: %w", e.name(), err)
	}
	return nil
}

// sourceOf returns the source of a resource. Resources without options of their own share
// one, unless the cache's options name a key, so that the URL is not the key.
func (c *Cache) sourceOf(rawURL string, cfg *config) *source {
	if cfg == &c.cfg.resource && cfg.key == "" {
		return c.shared()
	}
	return &source{cfg: cfg, fetcher: c.newFetcher(cfg), url: rawURL}
}

// newFetcher returns the fetcher of cfg inside its middleware.
func (c *Cache) newFetcher(cfg *config) Fetcher {
	if cfg.fetcher != nil {
		return cfg.middleware.wrap(cfg.fetcher)
	}
	base := c.fetcher
	if cfg.client != nil {
		base = c.fetcher.withClient(cfg.client)
	}
	if len(cfg.allow) > 0 {
		return cfg.middleware.wrap(&policyFetcher{base, cfg.allow})
	}
	return cfg.middleware.wrap(base)
}

// Unregister removes the resource with this key, which is its URL if it was registered
// without one. A refresh that is under way is cancelled, its handles have no value any more, and
// whatever waits returns [ErrNotRegistered]. The stored record stays. The error is [ErrNotRegistered] if there is no such resource.
func (c *Cache) Unregister(key string) error {
	if !c.eng.remove(key) {
		return fmt.Errorf("everfresh: unregister: %w", ErrNotRegistered)
	}
	return nil
}

// IsRegistered reports whether there is a resource with this key.
func (c *Cache) IsRegistered(key string) bool {
	_, ok := c.eng.lookup(key)
	return ok
}

// Get returns the value of the resource with this key; see [Resource.Get]. The value is
// shared and must not be modified.
func (c *Cache) Get(ctx context.Context, key string) (any, error) {
	found, ok := c.eng.index.Load(key)
	if !ok {
		return nil, fmt.Errorf("everfresh: get: %w", ErrNotRegistered)
	}
	r := found.untyped
	if r == nil {
		return c.getAny(ctx, found.entry)
	}
	if s := r.cur.Load(); s != nil { // Resource.Get, which is too large to be inlined
		return s.value, nil
	}
	return r.first(ctx)
}

// getAny is Get of a typed resource.
func (c *Cache) getAny(ctx context.Context, e *entry) (any, error) {
	for {
		if v, ok := e.holder.valueAny(); ok {
			return v, nil
		}
		if err := c.eng.await(ctx, e, anyFlight); err != nil {
			return nil, err
		}
	}
}

// Refresh fetches the resource with this key and returns its value; see
// [Resource.Refresh].
func (c *Cache) Refresh(ctx context.Context, key string) (any, error) {
	e, ok := c.eng.lookup(key)
	if !ok {
		return nil, fmt.Errorf("everfresh: refresh: %w", ErrNotRegistered)
	}
	if err := c.eng.await(ctx, e, nextFlight); err != nil {
		return nil, err
	}
	return c.getAny(ctx, e)
}

// All yields the status of every resource, in no particular order. Resources that come or go
// meanwhile may be missed.
func (c *Cache) All() iter.Seq[Status] {
	return func(yield func(Status) bool) {
		c.eng.index.Range(func(_ string, in indexed) bool { return yield(c.eng.status(in.entry)) })
	}
}

// Ready waits until every resource registered at the time of the call has a value,
// through failures. Resources that were not asked for yet are fetched. If ctx ends first,
// the error is that of a resource that has no value.
func (c *Cache) Ready(ctx context.Context) error {
	// Have all of them fetched before waiting for the first.
	entries := c.eng.entries()
	for _, e := range entries {
		c.eng.ensureFetch(e, nil)
	}
	for _, e := range entries {
		if err := c.eng.ready(ctx, e); err != nil && !c.eng.unregistered(e) {
			return err
		}
	}
	return nil
}

// Records yields what q selects in the cache's storage, also records of resources that
// are not registered; see [Query.Records]. Without a storage it yields nothing. A record may
// be written some moments after its value is served.
func (c *Cache) Records(ctx context.Context, q Query) iter.Seq2[*Record, error] {
	if c.cfg.storage == nil {
		return func(func(*Record, error) bool) {}
	}
	return q.Records(ctx, c.cfg.storage)
}

// Purge removes the records that q selects from the cache's storage, also those of
// resources that are not registered, and withdraws the values of registered resources that
// q selects, which are then fetched again. It returns the number of resources affected. It
// continues after errors, and returns them joined.
func (c *Cache) Purge(ctx context.Context, q Query) (purged int, err error) {
	keys := make(map[string]bool)
	var errs []error
	// Records go first, so that none of a new value is removed.
	if c.cfg.storage != nil {
		errs = append(errs, q.purge(ctx, c.cfg.storage, func(key string) { keys[key] = true }))
	}
	// Then the values.
	for _, e := range c.eng.entries() {
		version, ok := c.eng.selected(e, q.Match)
		if !ok {
			continue
		}
		if err := c.eng.invalidate(ctx, e, version); err != nil {
			errs = append(errs, err)
			continue
		}
		keys[e.key] = true
	}
	return len(keys), errors.Join(errs...)
}

// Format prints the number of resources for every verb, so that no key or option can leak
// through %v.
func (c *Cache) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "cache of %d resources", c.eng.index.Size())
}

// Close stops the cache and waits for everything it started: refreshes are cancelled,
// what was fetched is still stored, and sink and observer get what was reported. Values
// stay readable; whatever would wait or fetch returns [ErrClosed]. Close waits at most
// 5 s in all for storage, workers and callbacks; its error says what did not end. It may be called
// again, and must not be called by a callback.
func (c *Cache) Close() error {
	err := c.eng.close()
	c.fetcher.close()
	if err != nil {
		return fmt.Errorf("everfresh: close: %w", err)
	}
	return nil
}
