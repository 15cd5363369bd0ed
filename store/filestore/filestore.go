package filestore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/everfresh-go/everfresh/store"
)

var (
	_ store.Storage = (*Store)(nil)
	_ store.Pinger  = (*Store)(nil)
	_ io.Closer     = (*Store)(nil)
)

const (
	defaultMaxValue   = 64 << 20
	defaultQuarantine = 100
	// sweepWait limits how long Open waits for writes of other processes.
	sweepWait = 5 * time.Second
)

// The subdirectories of a store.
const (
	recordsDir    = "records"
	tmpDir        = "tmp"
	quarantineDir = "quarantine"
)

// An Option changes a default of [Open].
type Option func(*config)

type config struct {
	maxValue   int64
	quarantine int
}

// WithMaxValue sets the size limit for values in Store, in bytes. The default is 64 MiB.
// Load has no limit.
func WithMaxValue(n int64) Option {
	return func(c *config) { c.maxValue = n }
}

// WithQuarantine sets how many damaged records are kept; the oldest are removed first.
// The default is 100. With 0, a damaged record is removed when it is replaced or deleted.
func WithQuarantine(n int) Option {
	return func(c *config) { c.quarantine = n }
}

// A Store is a [store.Storage] in a directory. Make one with [Open]. All methods are safe
// for concurrent use, and other Stores and processes may use the same directory. A Store
// starts no goroutines.
//
// A List is sorted by the hash of the key. It reads the names when the loop begins and
// the header of each record when it yields the record. It checks the headers, but not the
// values, which only Load reads.
type Store struct {
	tree    tree
	lock    *lock
	conf    config
	closers []io.Closer

	closing sync.Once
	done    chan struct{}  // closed by Close
	calls   sync.WaitGroup // calls in progress
	mu      sync.Mutex
	closed  bool // guarded by mu, which also guards each Add to calls
}

// Open opens the store in dir. It creates dir, its parents and its subdirectories if they
// are missing. It removes incomplete files that a crash has left, unless other processes
// lock the directory for 5 s; in that case a later Open removes them. Open does not fail
// because of damaged records. The caller closes the Store.
func Open(dir string, opts ...Option) (*Store, error) {
	conf := config{maxValue: defaultMaxValue, quarantine: defaultQuarantine}
	for _, opt := range opts {
		opt(&conf)
	}
	if conf.maxValue < 0 || conf.quarantine < 0 {
		return nil, errors.New("filestore: negative value for an option")
	}

	// Everything below is opened through root, so no link can lead out of dir.
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("filestore: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("filestore: %w", err)
	}
	file, err := root.OpenFile("lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("filestore: %w", err), root.Close())
	}

	// From here on, Close closes both files.
	s := newStore(rootTree{root}, newLock(fileLock{file}), conf)
	s.closers = []io.Closer{file, root}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func newStore(t tree, l *lock, conf config) *Store {
	return &Store{tree: t, lock: l, conf: conf, done: make(chan struct{})}
}

// prepare creates the directories and removes incomplete files.
func (s *Store) prepare() error {
	for _, dir := range []string{recordsDir, tmpDir, quarantineDir} {
		if err := s.tree.Mkdir(dir); err != nil {
			return ioError("create a directory", err)
		}
	}
	if err := s.tree.Sync("."); err != nil {
		return ioError("sync the directory", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), sweepWait)
	defer cancel()
	err := s.lock.take(ctx, s.done)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil // another process writes; the files in tmp may be in use
	}
	if err != nil {
		return err
	}
	defer s.lock.release()
	return s.sweep()
}

// sweep empties tmp, whose files are all orphans while the lock is held.
func (s *Store) sweep() error {
	names, err := s.tree.Names(tmpDir)
	if err != nil {
		return ioError("look for orphans", err)
	}
	for _, name := range names {
		if err := s.tree.Remove(tmpDir + "/" + name); err != nil {
			return ioError("remove an orphan", err)
		}
	}
	return nil
}

// Ping implements [store.Pinger]: it fails if the directory cannot be read.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.begin(ctx, ""); err != nil {
		return err
	}
	defer s.calls.Done()
	_, err := s.tree.Names(tmpDir)
	return ioError("read the directory", err)
}

// Close waits for calls in progress and releases the directory. Calls that wait for the
// lock return [store.ErrClosed], and so does every later call except Close.
func (s *Store) Close() error {
	var errs []error
	s.closing.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		close(s.done)
		s.calls.Wait()
		for _, c := range s.closers {
			errs = append(errs, c.Close())
		}
	})
	return errors.Join(errs...)
}

// begin counts a call, unless the call fails because of ctx, key or a closed store. The
// caller ends it with s.calls.Done.
func (s *Store) begin(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(key) > store.MaxKeyLen {
		return store.ErrTooLarge
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.ErrClosed
	}
	s.calls.Add(1)
	return nil
}

// ioError returns an error with the operation that failed and without file names. It
// returns nil if err is nil.
func ioError(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("filestore: %s: %w: %w", op, store.ErrUnavailable, withoutNames(err))
}

// withoutNames returns the system's error inside err, without file names.
func withoutNames(err error) error {
	var (
		path *fs.PathError
		link *os.LinkError
	)
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}
