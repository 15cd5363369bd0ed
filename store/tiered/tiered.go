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
	// closeTimeout bounds the flush of Close.
	closeTimeout = 10 * time.Second
)

// An Option sets something of a [Store].
type Option func(*config)

type config struct {
	maxBytes int
	maxAge   time.Duration
	behind   bool
	interval time.Duration
	failed   func(error)
}

// WithMaxBytes bounds the memory for keys and values; each also counts 256 bytes for
// itself. The default is 64 MiB, which n <= 0 means too. With write-behind it is also
// the limit on the size of a value, with its key and those 256 bytes.
func WithMaxBytes(n int) Option {
	return func(c *config) {
		if n > 0 {
			c.maxBytes = n
		}
	}
}

// WithMaxAge bounds for how long a Load may return what the back store had, without
// asking it again. That is how late a process sees what others write. The default is
// 10 s; d <= 0 means no bound, for a back store that only this process writes.
// With write-behind it has no effect, as that is such a store.
func WithMaxAge(d time.Duration) Option { return func(c *config) { c.maxAge = d } }

// WithWriteBehind lets a Store return before the back store is written, which happens
// after the interval; see the package documentation for what that means. An interval <= 0
// is one second.
//
// A flush that nobody called for gives its error, a [*FlushError], to failed. It is
// called from one goroutine at a time, with no lock held, and may call any method but
// Close and Shutdown, which wait for it. If it panics, that is ignored, as is the
// error if failed is nil.
func WithWriteBehind(interval time.Duration, failed func(error)) Option {
	return func(c *config) {
		c.behind, c.interval, c.failed = true, interval, failed
		if interval <= 0 {
			c.interval = defaultInterval
		}
	}
}

// A Store is a [store.Storage] with memory in front of another one. All methods may be
// called from many goroutines at once. Values are copied on their way in and out. It
// fails with the errors of the back store; with write-behind also with
// [store.ErrTooLarge], [store.ErrUnavailable] and [*FlushError]. Make one with [New].
type Store struct {
	core   *core
	tier   store.Storage // behind, or a *through
	behind *behind       // nil with write-through
}

// A core is what both ways to write have in common.
type core struct {
	back store.Storage

	mu     sync.Mutex
	memory *memory // guarded by mu
	closed bool    // guarded by mu
}

// New returns a Store with memory in front of back. Without [WithWriteBehind] it is
// write-through. The caller goes on to own back, and closes it after the Store.
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

// Flush writes to the back store what was stored before the call and is not there yet.
// It returns a [*FlushError] if some of it could not be written; that stays pending.
// Write-through has nothing to flush.
func (s *Store) Flush(ctx context.Context) error {
	if err := s.core.open(ctx); err != nil || s.behind == nil {
		return err
	}
	return s.behind.flush(ctx)
}

// Shutdown closes the store: every later call returns [store.ErrClosed]. It then writes
// what is pending, for as long as ctx allows, and drops all memory. With a
// [*FlushError] the writes it counts are lost; whoever wants to try again calls Flush
// first. Shutdown waits for a call of the back store that is under way, which ends
// soon as its ctx does. A second Shutdown returns nil. The back store stays open.
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

// Close is Shutdown with 10 seconds for what is pending.
func (s *Store) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return s.Shutdown(ctx)
}

// open returns why a call cannot begin.
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

// close reports whether it was open.
func (c *core) close() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := !c.closed
	c.closed = true
	return was
}

// clear drops all memory, also what calls under way would put there.
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
