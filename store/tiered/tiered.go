package tiered

import (
	"context"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/everfresh-go/everfresh/store"
)

var (
	_ store.Storage = (*Store)(nil)
	_ io.Closer     = (*Store)(nil)
)

const (
	defaultMaxBytes = 64 << 20
	defaultMaxAge   = 10 * time.Second
	defaultInterval = time.Second
	// closeTimeout limits the flush of Close.
	closeTimeout = 10 * time.Second
)

// An Option configures a [Store].
type Option func(*config)

type config struct {
	maxBytes int
	maxAge   time.Duration
	behind   bool
	interval time.Duration
	failed   func(error)
}

// WithMaxBytes limits the memory for keys and values; each item counts another 256
// bytes. The default, also for n <= 0, is 64 MiB. With write-behind, this is also the
// size limit for one item: value, key and the 256 bytes.
func WithMaxBytes(n int) Option {
	return func(c *config) {
		if n > 0 {
			c.maxBytes = n
		}
	}
}

// WithMaxAge limits how long a Load may return an item from memory without asking the
// back store again, and so how late this process sees writes of others. The default is
// 10 s; d <= 0 means no limit, for a back store to which only this process writes. It
// has no effect with write-behind, where this is always the case.
func WithMaxAge(d time.Duration) Option { return func(c *config) { c.maxAge = d } }

// WithWriteBehind lets Store return before the value is written to the back store, which
// happens after the interval. The package documentation explains the consequences. An
// interval <= 0 means one second.
//
// If a flush in the background fails, failed receives its error, a [*FlushError]. It is
// called from one goroutine at a time, without a lock held, and may call any method
// except Close and Shutdown, which wait for it. A panic in failed is ignored; so are
// errors if failed is nil.
func WithWriteBehind(interval time.Duration, failed func(error)) Option {
	return func(c *config) {
		c.behind, c.interval, c.failed = true, interval, failed
		if interval <= 0 {
			c.interval = defaultInterval
		}
	}
}

// A Store is a [store.Storage] with memory in front of another one. Make one with [New].
// All methods are safe for concurrent use. Values are copied when they are stored and
// when they are loaded. Its errors are those of the back store and, with write-behind,
// [store.ErrTooLarge], [store.ErrUnavailable] and [*FlushError].
type Store struct {
	core   *core
	tier   store.Storage // a *behind or a *through
	behind *behind       // nil with write-through
}

// A core has the fields that both tiers share.
type core struct {
	back store.Storage

	mu     sync.Mutex
	memory *memory // guarded by mu
	closed bool    // guarded by mu
}

// New returns a Store with memory in front of back. It is write-through, unless
// [WithWriteBehind] is given. The caller still owns back, and closes it after the Store.
func New(back store.Storage, opts ...Option) *Store {
	conf := config{maxBytes: defaultMaxBytes, maxAge: defaultMaxAge}
	for _, opt := range opts {
		opt(&conf)
	}
	c := &core{back: back, memory: newMemory(conf.maxBytes)}
	if !conf.behind {
		return &Store{core: c, tier: &through{core: c, maxAge: conf.maxAge}}
	}
	b := newBehind(c, conf.interval, conf.failed)
	return &Store{core: c, tier: b, behind: b}
}

// Load implements [store.Storage].
func (s *Store) Load(ctx context.Context, key string) (store.Item, error) {
	if err := check(ctx, key); err != nil {
		return store.Item{}, err
	}
	return s.tier.Load(ctx, key)
}

// Store implements [store.Storage].
func (s *Store) Store(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
	if err := check(ctx, key); err != nil {
		return "", err
	}
	return s.tier.Store(ctx, key, value, cond)
}

// Delete implements [store.Storage].
func (s *Store) Delete(ctx context.Context, key string, cond store.Condition) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	return s.tier.Delete(ctx, key, cond)
}

// List implements [store.Storage]. It always asks the back store.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
	return s.tier.List(ctx, prefix)
}

func check(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(key) > store.MaxKeyLen {
		return store.ErrTooLarge
	}
	return nil
}

// Flush writes to the back store all items that were stored before the call and are not
// there yet. It returns a [*FlushError] if some could not be written; they stay pending.
// With write-through there is nothing to flush.
func (s *Store) Flush(ctx context.Context) error {
	if err := s.core.open(ctx); err != nil || s.behind == nil {
		return err
	}
	return s.behind.flush(ctx)
}

// Shutdown closes the store: every later call returns [store.ErrClosed]. It then writes
// what is pending, as long as ctx allows, and drops the memory. If it returns a
// [*FlushError], the writes that it counts are lost; to be able to try again, call Flush
// first. Shutdown waits for a call of the back store in progress, which ends soon after
// its ctx does. A second Shutdown returns nil. The back store stays open.
func (s *Store) Shutdown(ctx context.Context) error {
	if !s.core.close() {
		return nil
	}
	var err error
	if s.behind != nil {
		s.behind.stop()
		err = s.behind.flush(ctx)
	}
	s.core.clear()
	return err
}

// Close is Shutdown with a limit of 10 seconds for pending writes.
func (s *Store) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return s.Shutdown(ctx)
}

// open returns the error of a call that cannot begin, or nil.
func (c *core) open(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return store.ErrClosed
	}
	return nil
}

// close closes the store and reports whether it was open.
func (c *core) close() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := !c.closed
	c.closed = true
	return was
}

// clear drops all memory, including what calls in progress would add.
func (c *core) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.memory.clear()
}

// release ends the use of sl.
func (c *core) release(sl *slot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.memory.done(sl)
}
