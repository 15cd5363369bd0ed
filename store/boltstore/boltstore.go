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

	fileMode = 0o600 // records contain responses, which may include credentials
)

var (
	_ store.Storage = (*Store)(nil)
	_ store.Pinger  = (*Store)(nil)
	_ io.Closer     = (*Store)(nil)
)

// A Store is a [store.Storage] in one bucket of a bbolt file. Make one with [Open]
// or [New]. All methods are safe for concurrent use. A List is sorted by key. It reads
// page by page so that it does not block writers; the second page shows what was
// written after the first.
//
// Besides the errors of the contract, a Store returns wrapped errors of bbolt and of
// the file system. Their texts contain neither keys nor values.
type Store struct {
	db     *bolt.DB
	bucket []byte
	owned  bool  // whether Close closes db
	max    int64 // bytes of the largest value

	mu     sync.Mutex
	closed bool           // guarded by mu
	calls  sync.WaitGroup // calls in progress; Add is called under mu, and never after closed is set

	breakOnce sync.Once
	broken    chan struct{} // closed when bbolt has panicked while it held locks
}

// An Option configures a store that [Open] or [New] returns.
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

// WithMaxValue sets the size limit for values, in bytes. Store returns
// [store.ErrTooLarge] for a larger value. The default is 64 MiB; bbolt itself allows
// almost 2 GiB.
func WithMaxValue(n int64) Option {
	return func(c *config) { c.maxValue = n }
}

// WithBucket sets the bucket that [Open] uses. The default is "everfresh".
func WithBucket(name string) Option {
	return func(c *config) { c.bucket = name }
}

// WithTimeout limits how long [Open] waits for a file that is open elsewhere. The
// default is one second. It must be positive, so that Open cannot wait forever.
func WithTimeout(d time.Duration) Option {
	return func(c *config) { c.timeout = d }
}

// Open opens the bbolt file at path. If there is none, Open creates it, readable only
// by its owner; the directory must exist. Open returns [store.ErrUnavailable] if the
// file is open elsewhere, and [store.ErrCorrupt] if it is not a bbolt file. Close
// closes the file.
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
	case errors.Is(err, errDamaged): // closing it could block forever
		return nil, err
	}
	return nil, errors.Join(err, db.Close())
}

// New returns a store in the named bucket of db, which it creates if it does not
// exist. The caller still owns db, and closes it after the store; the store's Close
// does not. A db opened with ReadOnly supports Load and List if it has the bucket.
// WithBucket and WithTimeout have no effect on New.
func New(db *bolt.DB, bucket string, opts ...Option) (*Store, error) {
	s := &Store{db: db, bucket: []byte(bucket), max: configure(opts).maxValue, broken: make(chan struct{})}
	_, err := guard(func() (struct{}, error) { return struct{}{}, s.makeBucket() }, s.breakDown)
	if err != nil {
		return nil, fmt.Errorf("boltstore: create the bucket: %w", classify(err))
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

// syncDir makes the name of a new file as durable as its contents. bbolt leaves that
// to its caller. Windows has no such call and does not need one.
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

// Close waits for calls in progress and closes the file if [Open] opened it. Every
// later call except Close returns [store.ErrClosed]. A List in progress still yields
// the page that it has read.
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
	case <-s.broken: // a call that waits for a lost lock never returns
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
