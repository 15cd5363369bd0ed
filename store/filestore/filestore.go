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
	// sweepWait bounds how long Open waits for other processes to end their writes.
	sweepWait = 5 * time.Second
)

// The places of a directory.
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

// WithMaxValue sets the length in bytes of the largest value that Store takes. The
// default is 64 MiB. Load reads any record that is there.
func WithMaxValue(n int64) Option {
	return func(c *config) { c.maxValue = n }
}

// WithQuarantine sets how many damaged records are kept; the oldest make room. The
// default is 100. With 0 a damaged record is gone when it is replaced or deleted.
func WithQuarantine(n int) Option {
	return func(c *config) { c.quarantine = n }
}

// A Store is a [store.Storage] in a directory. Make one with [Open]. All methods
// may be called from many goroutines at once, and other Stores and processes may
// use the directory. It starts no goroutines.
//
// A List is sorted by the hash of the key, and reads the names when its loop begins
// and each record when its turn comes. It checks what it yields but not the values,
// which only Load reads.
type Store struct {
	tree    tree
	lock    *lock
	conf    config
	closers []io.Closer

	closing sync.Once
	done    chan struct{}  // closed by Close
	calls   sync.WaitGroup // those under way
	mu      sync.Mutex
	closed  bool // guarded by mu, as is each Add to calls
}

// Open opens the store in dir, and creates what is missing: dir, its parents, and
// what is in it. It removes files that a crash left half written, unless other
// processes keep the directory locked for 5 s; the next Open does it then. Damaged
// records are no error of Open. Whoever opened a Store closes it.
func Open(dir string, opts ...Option) (*Store, error) {
	conf := config{maxValue: defaultMaxValue, quarantine: defaultQuarantine}
	for _, opt := range opts {
		opt(&conf)
	}
	if conf.maxValue < 0 || conf.quarantine < 0 {
		return nil, errors.New("filestore: an option is negative")
	}
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

// prepare creates the directories and removes what crashes left.
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
		return nil // somebody writes; what is in tmp may be in use
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

// Close waits for the calls under way, of which those that wait for the lock return
// [store.ErrClosed], and frees the directory. Every later call but Close returns
// ErrClosed.
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

// begin notes that a call is under way, unless a call with ctx and key must fail.
// The caller ends it with s.calls.Done.
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

// ioError says what the store did when the file system failed, without file names.
// It is nil if err is.
func ioError(op string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("filestore: %s: %w: %w", op, store.ErrUnavailable, withoutNames(err))
}

// withoutNames returns what the system said.
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
