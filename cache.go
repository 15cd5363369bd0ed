package everfresh

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/puzpuzpuz/xsync/v4"

	"github.com/everfresh-go/everfresh/internal/dispatch"
	"github.com/everfresh-go/everfresh/internal/hostpool"
	"github.com/everfresh-go/everfresh/internal/weburl"
	"github.com/everfresh-go/everfresh/store"
)

// A Cache keeps registered resources fresh. Create one with [NewCache]; the zero value
// is not usable. A Cache is safe for concurrent use.
//
// Its methods Register, Get and Refresh are the untyped door: values are []byte, or
// what [WithTransformer] makes. New code uses the typed door, [Register].
type Cache struct {
	cfg cacheConfig // immutable

	ctx    context.Context //nolint:containedctx // The life cycle: its end is the cache's.
	cancel context.CancelFunc
	now    func() (wall, mono int64) // nanoseconds: since 1970, and since NewCache

	index     *xsync.Map[string, indexed] // read without a lock, written under mu
	fetcher   *httpFetcher
	shared    func() Fetcher // the fetcher of resources without options of their own
	pool      *hostpool.Pool
	callbacks *dispatch.Queue
	wake      chan struct{} // capacity 1: tells the refresher that the queue's head changed
	done      chan struct{} // closed when the refresher has ended
	flushed   chan struct{} // closed when the storage has what it could take, after done

	mu        sync.Mutex        // never held over I/O or a callback
	queue     queue             // guarded by mu
	closed    bool              // guarded by mu
	flights   uint64            // how many there were; guarded by mu
	skew      int64             // wall − mono as it was last seen; guarded by mu
	resting   int64             // until when no refresh starts, for the refresh window; guarded by mu
	savers    map[string]*saver // by key, while there is something to write; guarded by mu
	aside     []string          // names of damaged records that are kept aside, oldest first; nil before the first; guarded by mu
	slowStore bool              // the last load ran out of time; guarded by mu
	closeBy   int64             // when Close gives up on the storage, monotonic; guarded by mu
}

const (
	// callbackQueue is how many reports wait for sink and observer.
	callbackQueue = 1024
	// closeWait bounds how long Close waits for a stuck callback.
	closeWait = 5 * time.Second
)

// NewCache returns an empty cache and starts its refresher. [Cache.Close] or the end of
// ctx stops it. An invalid option surfaces as the error of Register.
func NewCache(ctx context.Context, opts ...CacheOption) *Cache {
	cfg := defaults()
	for _, opt := range opts {
		if opt == nil {
			cfg.fail("nil option")
			continue
		}
		opt.applyCache(&cfg)
	}
	c := &Cache{
		cfg:     cfg,
		index:   xsync.NewMap[string, indexed](),
		pool:    hostpool.New(max(cfg.workers, 1), max(cfg.perHost, 1)),
		wake:    make(chan struct{}, 1),
		done:    make(chan struct{}),
		flushed: make(chan struct{}),
		savers:  make(map[string]*saver),
	}
	c.now = cfg.clock
	if c.now == nil {
		c.now = clockFrom(time.Now())
	}
	c.ctx, c.cancel = context.WithCancel(ctx)
	c.callbacks = dispatch.New(callbackQueue, c.overflowed)
	c.fetcher = newHTTPFetcher(&c.cfg, c.wall)
	c.shared = sync.OnceValue(func() Fetcher { return c.newFetcher(&c.cfg.resource) })
	wall, mono := c.now()
	c.skew = wall - mono
	go c.run()
	return c
}

type decodeFunc func(context.Context, *http.Response) (any, error)

// An entry is one registered resource. It is not generic; its holder is. There may be
// a million of them, so that their fields stand in the order that wastes no memory.
type entry struct {
	cache   *Cache
	key     string
	name    string // as errors, events and Status name it; shares its memory with key, if it can
	holder  holder
	untyped *Resource[any]                 // nil behind the typed door
	cooling atomic.Pointer[RateLimitError] // the present cooling period of Newer, or nil; written under mu

	source // guarded by Cache.mu, as is all that follows

	failures int   // in a row
	index    int32 // place in the queue, or notQueued
	nested   int32 // callbacks of other flights that wait until it is ready
	warm     bool  // the storage was asked, or need not be
	readonly bool  // the stored record is of a newer version: leave it alone
	gone     bool  // unregistered, or the cache closed
	expired  bool  // the value was withdrawn for its age
	trailing bool  // due ends a cooling period of Newer
	refunds  uint8 // fetches in a row that the on-demand budget was not charged for

	meta     *meta         // of the last good value, served or not; nil before it
	record   *Record       // the same, whole, if there is a storage
	flight   *flight       // under way or waiting for its turn; nil if none
	after    *flight       // to follow flight; nil if none
	due      int64         // next refresh, monotonic; never while there is a flight
	dueWall  int64         // the same by the wall clock
	expire   int64         // when the value must be withdrawn, monotonic; or never
	retryAt  int64         // end of the back-off, monotonic
	budget   int64         // theoretical arrival time of the on-demand budget, monotonic
	lastErr  *RefreshError // of the last refresh; nil if it was good
	changed  chan struct{} // closed when a value is published; made when somebody waits
	stored   store.Version // of the record in the storage, as far as is known
	doomed   uint64        // invalidated version, whose record must not be stored again
	answered uint64        // seq of the last flight with a good answer
}

// indexed is an entry as the index has it: with what Cache.Get needs of it, so that Get
// reads no memory of the entry itself. Entries lie so far apart that those of a thousand
// resources would contend for a few sets of the processor's cache.
type indexed struct {
	*entry
	untyped *Resource[any]
}

// entry returns the entry of key.
func (c *Cache) entry(key string) (*entry, bool) {
	in, ok := c.index.Load(key)
	return in.entry, ok
}

// A source is where the values of an entry come from. Registering an untyped resource
// again replaces it.
type source struct {
	cfg     *config
	url     string // parsed again for each request, which is quick; url.URL takes twice the memory
	lane    string // origin of url
	fetcher Fetcher
	decode  decodeFunc
	renewed uint32 // counts replacements
	emptyOK bool   // the decoder takes an empty body
	// anew: the next answer is decoded even if its bytes are those of the present
	// value, and the request for it is unconditional.
	anew bool
}

// newEntry makes an entry without its holder and decoder.
func (c *Cache) newEntry(rawURL string, cfg *config) (*entry, error) {
	e := &entry{
		cache: c, key: cfg.key, name: cfg.key, index: notQueued,
		due: never, expire: never, warm: c.cfg.storage == nil,
	}
	if e.key == "" {
		e.key, e.name = rawURL, weburl.Redact(rawURL)
	}
	u, err := weburl.Parse(rawURL)
	if err != nil {
		return nil, fmt.Errorf("everfresh: register %q: %w: %w", e.name, ErrNotAllowed, err)
	}
	if len(cfg.allow) > 0 { // Parse has checked all else
		err = permit(u, cfg.allow)
	}
	if err != nil {
		return nil, fmt.Errorf("everfresh: register %q: %w", e.name, err)
	}
	e.source = source{cfg: cfg, url: rawURL, lane: laneOf(rawURL, u), fetcher: c.fetcherFor(cfg)}
	return e, nil
}

// laneOf returns the origin of a URL, as a part of the URL's text where it stands there.
func laneOf(rawURL string, u *url.URL) string {
	origin := weburl.Origin(u)
	if strings.HasPrefix(rawURL, origin) {
		return rawURL[:len(origin)]
	}
	return origin
}

// fetcherFor returns the fetcher of cfg inside its middleware. Resources without options
// of their own share one.
func (c *Cache) fetcherFor(cfg *config) Fetcher {
	if cfg == &c.cfg.resource {
		return c.shared()
	}
	return c.newFetcher(cfg)
}

func (c *Cache) newFetcher(cfg *config) Fetcher {
	if cfg.fetcher != nil {
		return cfg.chain(cfg.fetcher)
	}
	base := c.fetcher
	if cfg.client != nil {
		base = c.fetcher.withClient(cfg.client)
	}
	if len(cfg.allow) > 0 {
		return cfg.chain(&policed{base, cfg.allow})
	}
	return cfg.chain(base)
}

// add puts e into the registry and starts its first refresh, or just the load of its
// record.
func (c *Cache) add(e *entry, prefetch bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.addLocked(e, prefetch)
}

func (c *Cache) addLocked(e *entry, prefetch bool) error { //nolint:revive // The flag is an option's value.
	if c.closedLocked() {
		return fmt.Errorf("everfresh: register %q: %w", e.name, ErrClosed)
	}
	if _, dup := c.index.LoadOrStore(e.key, indexed{e, e.untyped}); dup {
		return fmt.Errorf("everfresh: register %q: %w", e.name, ErrRegistered)
	}
	if prefetch || !e.warm {
		c.startLocked(e).loadOnly = !prefetch
	}
	return nil
}

// closedLocked reports whether the cache takes no more work.
func (c *Cache) closedLocked() bool { return c.closed || c.ctx.Err() != nil }

// Register adds the resource at rawURL to the untyped door. It does not wait for the
// network; the first [Cache.Get] fetches, unless [WithPrefetch] says otherwise.
//
// Registering an untyped key again replaces its options and keeps its value; the
// resource is refreshed at once and its next answer transformed even if the bytes are
// the same. The error is [ErrRegistered] if the key belongs to the typed door,
// [ErrNotAllowed] if the URL is invalid or refused by [WithAllow], [ErrClosed] after
// Close, or tells of an invalid option.
func (c *Cache) Register(rawURL string, opts ...RegisterOption) error {
	cfg, err := c.cfg.resourceConfig(opts)
	if err != nil {
		return fmt.Errorf("everfresh: register: %w", err)
	}
	e, err := c.newEntry(rawURL, cfg)
	if err != nil {
		return err
	}
	e.untyped = &Resource[any]{e: e}
	e.holder = resourceHolder[any]{e.untyped}
	e.decode = transformDecoder(rawURL, cfg.transformer)
	e.emptyOK = true
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.replaceLocked(e) {
		return nil
	}
	return c.addLocked(e, cfg.prefetch == prefetchOn)
}

// replaceLocked gives the source of e to the untyped entry of the same key, if there is
// one.
func (c *Cache) replaceLocked(e *entry) bool {
	old, ok := c.entry(e.key)
	if !ok || old.untyped == nil || c.closedLocked() {
		return false
	}
	e.renewed = old.renewed + 1
	e.anew = true
	old.source = e.source
	switch {
	case old.flight != nil:
		c.followLocked(old).renewed = old.renewed
	case old.meta != nil || old.due != never || e.cfg.prefetch == prefetchOn:
		c.startLocked(old)
	}
	return true
}

// Unregister removes the resource with this key: its URL, if it was registered without
// one. A refresh of it that is under way is called off. The stored record stays. The
// error is [ErrNotRegistered] if there is no such resource.
func (c *Cache) Unregister(key string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.index.LoadAndDelete(key)
	if !ok {
		return fmt.Errorf("everfresh: unregister: %w", ErrNotRegistered)
	}
	c.dropLocked(found.entry, ErrNotRegistered)
	found.holder.set(nil, nil)
	return nil
}

// dropLocked ends everything that e does; those who wait for it get cause.
func (c *Cache) dropLocked(e *entry, cause error) {
	e.gone = true
	e.cooling.Store(nil)
	e.due, e.expire = never, never
	c.queue.set(e, never)
	for _, f := range []*flight{e.after, e.flight} {
		if f != nil {
			c.endLocked(f, fmt.Errorf("everfresh: %q: %w", e.name, cause))
		}
	}
	e.flight, e.after = nil, nil
	c.announceLocked(e)
}

// IsRegistered reports whether there is a resource with this key.
func (c *Cache) IsRegistered(key string) bool {
	_, ok := c.index.Load(key)
	return ok
}

// Get returns the value of the resource with this key; see [Resource.Get]. The value is
// shared and must not be modified.
func (c *Cache) Get(ctx context.Context, key string) (any, error) {
	found, ok := c.index.Load(key)
	if !ok {
		return nil, fmt.Errorf("everfresh: get: %w", ErrNotRegistered)
	}
	r := found.untyped
	if r == nil {
		return c.getBoxed(ctx, found.entry)
	}
	if s := r.cur.Load(); s != nil { // Resource.Get, which is too large to be inlined
		return s.value, nil
	}
	return r.first(ctx)
}

// getBoxed is Get of a typed resource.
func (c *Cache) getBoxed(ctx context.Context, e *entry) (any, error) {
	for {
		if snap := e.holder.boxed(); snap != nil {
			return snap.Value, nil
		}
		if err := c.await(ctx, e, anyFlight); err != nil {
			return nil, err
		}
	}
}

// Refresh fetches the resource with this key and returns its value; see
// [Resource.Refresh].
func (c *Cache) Refresh(ctx context.Context, key string) (any, error) {
	e, ok := c.entry(key)
	if !ok {
		return nil, fmt.Errorf("everfresh: refresh: %w", ErrNotRegistered)
	}
	if err := c.await(ctx, e, nextFlight); err != nil {
		return nil, err
	}
	return c.getBoxed(ctx, e)
}

// All yields the status of every resource, in no order. Resources that come or go
// meanwhile may be missed.
func (c *Cache) All() iter.Seq[Status] {
	return func(yield func(Status) bool) {
		c.index.Range(func(_ string, in indexed) bool { return yield(c.status(in.entry)) })
	}
}

// Ready waits until every resource registered at the time of the call has a value,
// through failures; those that nobody asked for yet are fetched. When ctx ends first,
// the error tells of one that has none.
func (c *Cache) Ready(ctx context.Context) error {
	entries := c.entries()
	asker := exchangeOf(ctx).flight
	for _, e := range entries {
		c.prompt(e, asker)
	}
	for _, e := range entries {
		if err := c.ready(ctx, e); err != nil && !c.unregistered(e) {
			return err
		}
	}
	return nil
}

// unregistered reports whether e was unregistered, which is no failure of the others.
func (c *Cache) unregistered(e *entry) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return e.gone && !c.closedLocked()
}

// Format writes, for every verb, what the cache is and nothing of what it was told.
func (c *Cache) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "cache of %d resources", c.index.Size())
}

// status describes e.
func (c *Cache) status(e *entry) Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	wall, mono := c.now()
	s := Status{Key: e.name, Ready: e.holder.kept() != nil, Fetching: e.flight != nil, Failures: e.failures}
	if e.lastErr != nil {
		s.Err = e.lastErr
	}
	s.Next = wallAt(e.due, wall, mono)
	if m := e.meta; m != nil {
		s.Version, s.Code, s.Bytes = m.version, m.code, m.size
		s.FetchedAt, s.CheckedAt = wallTime(m.fetchedAt), wallTime(m.checkedAt)
		s.FreshUntil, s.ServeUntil = wallTime(m.freshUntil), wallTime(m.serveUntil)
		s.Freshness, s.Lifetime, s.Age = m.plan.why.String(), m.plan.life, m.plan.age
	}
	return s
}

// Close stops the cache and waits for everything it started: refreshes are called off,
// what was fetched is still stored, sink and observer hear what was reported. Values
// stay readable; whatever would wait or fetch returns [ErrClosed]. Close waits at most
// 5 s for a callback that does not return, and says so in its error. It may be called
// again, and must not be called by a callback.
func (c *Cache) Close() error {
	c.cancel()
	<-c.done
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), closeWait)
	defer cancel()
	var stuck error
	if !waitFor(ctx, c.flushed) {
		stuck = fmt.Errorf("the storage is stuck: %w", ctx.Err())
	}
	err := errors.Join(stuck, c.pool.Wait(ctx), c.callbacks.Close(ctx))
	c.fetcher.close()
	if err != nil {
		return fmt.Errorf("everfresh: close: %w", err)
	}
	return nil
}

// shutdown ends all that the cache does. The refresher calls it last.
func (c *Cache) shutdown() {
	c.mu.Lock()
	c.closed = true
	c.closeBy = c.mono() + int64(closeWait*9/10) // what it could not store is still reported
	c.index.Range(func(_ string, in indexed) bool {
		c.dropLocked(in.entry, ErrClosed)
		return true
	})
	c.queue = nil
	for _, s := range c.savers {
		if s.stop != nil {
			time.AfterFunc(time.Duration(c.closeBy-c.mono()), s.stop)
		}
	}
	c.mu.Unlock()
	parked := c.pool.Close()
	go func() {
		defer close(c.flushed) // Close waits for it
		for _, task := range parked {
			task.Run() // writes a record; the task of a flight, which has ended, does nothing
		}
	}()
}
