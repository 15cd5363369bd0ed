package boltstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/everfresh-go/everfresh/store"
)

const (
	defaultBucket   = "everfresh"
	defaultTimeout  = time.Second
	defaultMaxValue = 64 << 20

	fileMode = 0o600 // records hold what the origins answered, credentials included
)

var (
	_ store.Storage = (*Store)(nil)
	_ store.Pinger  = (*Store)(nil)
	_ io.Closer     = (*Store)(nil)
)

// A Store is a [store.Storage] in one bucket of a bbolt file. Make one with [Open]
// or [New]. All methods may be called from many goroutines at once. A List is sorted
// by key. It reads page after page, so that it holds up no writer: what is written
// between two pages shows in the second.
//
// Besides the errors of the contract, a Store returns those of bbolt and of the file
// system, wrapped; none has a key or a value in its text.
type Store struct {
	db     *bolt.DB
	bucket []byte
	owned  bool  // whether Close closes db
	max    int64 // bytes of the largest value

	mu     sync.Mutex
	closed bool           // guarded by mu
	calls  sync.WaitGroup // those under way; Add under mu, and not once closed

	breakOnce sync.Once
	broken    chan struct{} // closed when bbolt panicked where it holds locks
}

// An Option changes what [Open] and [New] make.
type Option func(*config)

type config struct {
	bucket   string
	timeout  time.Duration
	maxValue int64
}

func configure(opts []Option) config {
	c := config{bucket: defaultBucket, timeout: defaultTimeout, maxValue: defaultMaxValue}
	for _, opt := range opts {
		opt(&c)
	}
	return c
}

// WithMaxValue sets the largest value in bytes. Store of more returns
// [store.ErrTooLarge]. The default is 64 MiB; bbolt itself takes nearly 2 GiB.
func WithMaxValue(n int64) Option {
	return func(c *config) { c.maxValue = n }
}

// WithBucket names the bucket that [Open] uses; the default is "everfresh".
func WithBucket(name string) Option {
	return func(c *config) { c.bucket = name }
}

// WithTimeout bounds how long [Open] waits for a file that is open elsewhere. The
// default is a second. It must be positive: Open never waits for ever.
func WithTimeout(d time.Duration) Option {
	return func(c *config) { c.timeout = d }
}

// Open opens the bbolt file at path, and makes it, readable by its owner only, if
// there is none. Its directory must exist. Open returns [store.ErrUnavailable] if the
// file is open elsewhere, and [store.ErrCorrupt] if it is not a bbolt file. Close
// closes it.
func Open(path string, opts ...Option) (*Store, error) {
	c := configure(opts)
	if c.timeout <= 0 {
		return nil, fmt.Errorf("boltstore: timeout %v is not positive", c.timeout)
	}
	db, err := guard(func() (*bolt.DB, error) {
		return bolt.Open(path, fileMode, &bolt.Options{Timeout: c.timeout})
	}, func() {})
	if err != nil {
		return nil, fmt.Errorf("boltstore: open: %w", classify(err))
	}
	s, err := New(db, c.bucket, opts...)
	if err == nil {
		s.owned = true
		err = syncDir(filepath.Dir(path))
	}
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, errDamaged): // closing may wait for ever
		return nil, err
	}
	return nil, errors.Join(err, db.Close())
}

// New returns a store in the named bucket of db, and makes the bucket if there is
// none. db stays the caller's, who closes it after the store; the store's Close does
// not. A db opened with ReadOnly serves Load and List if it has the bucket.
// WithBucket and WithTimeout have no effect on New.
func New(db *bolt.DB, bucket string, opts ...Option) (*Store, error) {
	s := &Store{db: db, bucket: []byte(bucket), max: configure(opts).maxValue, broken: make(chan struct{})}
	_, err := guard(func() (struct{}, error) { return struct{}{}, s.makeBucket() }, s.breakDown)
	if err != nil {
		return nil, fmt.Errorf("boltstore: make the bucket: %w", classify(err))
	}
	return s, nil
}

func (s *Store) makeBucket() error {
	err := s.view(func(*bolt.Bucket) error { return nil })
	if !errors.Is(err, errNoBucket) {
		return err
	}
	return s.db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(s.bucket)
		return err
	})
}

// syncDir makes the name of a new file as durable as its contents. bbolt leaves
// that to its caller. Windows has no such call and does not need it.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("boltstore: sync the directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("boltstore: sync the directory: %w", err)
	}
	return nil
}

// Ping implements [store.Pinger]: it reads the bucket.
func (s *Store) Ping(ctx context.Context) error {
	_, err := do(ctx, s, "ping", func() (struct{}, error) {
		return struct{}{}, s.view(func(*bolt.Bucket) error { return nil })
	})
	return err
}

// Close waits for the calls under way, and closes the file if [Open] opened it.
// Every later call but Close returns [store.ErrClosed]. A List that has begun goes
// on with the page it has.
func (s *Store) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()

	if !first {
		return nil
	}
	ended := make(chan struct{})
	go func() {
		s.calls.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-s.broken: // what waits for a lost lock never ends
	}
	if !s.owned {
		return nil
	}
	select {
	case <-s.broken:
		return fmt.Errorf("boltstore: the file stays open: %w", errDamaged)
	default:
	}
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("boltstore: close: %w", err)
	}
	return nil
}
