package sealed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/everfresh-go/everfresh/store"
)

var (
	_ store.Storage = (*Store)(nil)
	_ store.Rekeyer = (*Store)(nil)
	_ AEAD          = (*KeyRing)(nil)
	_ currenter     = (*KeyRing)(nil)
)

// ErrReplayed says that a record is older than one that was seen under the same key: it
// has been put back. The error also wraps [store.ErrCorrupt].
var ErrReplayed = errors.New("record is older than one seen before")

// Keys are the secrets of a [Store]. Both are required: without one of them, all methods
// return [store.ErrKeyUnavailable].
type Keys struct {
	// Names hides the keys of records. It must be the same for all processes that share
	// an inner store, and for as long as the records are needed.
	Names Secret
	// Records encrypts the records. It is usually a *[KeyRing].
	Records AEAD
}

// A Store is a [store.Storage] that keeps its records encrypted in another one. Make one
// with [New]. All methods are safe for concurrent use, and processes with the same [Keys]
// may share the inner store.
//
// Versions are those of the inner store, which decides all conditions. In the inner store
// a value is longer by its key and about 100 bytes, so the size limit for values is that
// much lower. Besides the errors of the inner store, a Store returns
// [store.ErrKeyUnavailable], [store.ErrCorrupt] and [ErrReplayed].
type Store struct {
	inner store.Storage
	keys  func() *Keys // a function, because package fmt would print a secret in a field
	seen  *positions
}

// New returns a Store that keeps its records in inner. No other items in inner should
// have keys that begin with "sealed.". The caller still owns inner.
func New(inner store.Storage, keys Keys) *Store {
	return &Store{inner: inner, keys: func() *Keys { return &keys }, seen: &positions{limit: maxPositions}}
}

// Load implements [store.Storage].
func (s *Store) Load(ctx context.Context, key string) (store.Item, error) {
	n, err := s.begin(ctx, key)
	if err != nil {
		return store.Item{}, err
	}
	got, err := s.load(ctx, n)
	if err != nil {
		return store.Item{}, err
	}
	return store.Item{Key: got.key, Value: got.value, Version: got.version}, nil
}

// begin returns the name of key, or an error if no call with these arguments can succeed.
func (s *Store) begin(ctx context.Context, key string) (name, error) {
	if err := ctx.Err(); err != nil {
		return name{}, err
	}
	if len(key) > store.MaxKeyLen {
		return name{}, store.ErrTooLarge
	}
	if err := s.ready(); err != nil {
		return name{}, err
	}
	return s.keys().Names.nameOf(key), nil
}

func (s *Store) ready() error {
	if s.keys().Names == (Secret{}) || s.keys().Records == nil {
		return fmt.Errorf("%w: the store has no keys", store.ErrKeyUnavailable)
	}
	return nil
}

// A loaded record has a version even if the record itself is invalid. It has none if the
// inner store returned an error.
type loaded struct {
	record
	version store.Version
	current bool // encrypted with the primary key
}

func (s *Store) load(ctx context.Context, n name) (loaded, error) {
	before := s.seen.of(n) // before reading: a concurrent write does not make this record an old one
	item, err := s.inner.Load(ctx, n.String())
	if err != nil {
		return loaded{}, err
	}
	got := loaded{version: item.Version}
	if got.record, err = s.keys().open(n, item.Value); err != nil {
		return got, err
	}
	// An earlier position than one that was seen means that an old record was put back.
	if got.position < before.position {
		return got, fmt.Errorf("%w: %w", store.ErrCorrupt, ErrReplayed)
	}
	got.current = s.isCurrent(n, item.Value)
	s.seen.note(n, mark{got.position, got.version})
	return got, nil
}

func (s *Store) isCurrent(n name, sealed []byte) bool {
	c, ok := s.keys().Records.(currenter)
	if !ok {
		return false
	}
	ciphertext, err := unwrap(n, sealed)
	return err == nil && c.IsCurrent(ciphertext)
}

// Store implements [store.Storage]. Without a condition it uses one of its own, and tries
// again whenever another write came first.
func (s *Store) Store(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
	n, err := s.begin(ctx, key)
	if err != nil {
		return "", err
	}
	r := record{key: key, value: value}
	if want, ok := cond.Want(); ok {
		return s.storeIf(ctx, n, r, want)
	}

	// Without a condition, the position of the present record has to be known.
	known := s.seen.of(n)
	if known.position == 0 {
		return s.replace(ctx, n, r)
	}

	// Try with the remembered version first, which saves a Load if it is current.
	version, err := s.write(ctx, n, r, known, store.IfVersion(known.version))
	if errors.Is(err, store.ErrConflict) {
		return s.replace(ctx, n, r)
	}
	return version, err
}

// replace writes r whatever the current version is.
func (s *Store) replace(ctx context.Context, n name, r record) (store.Version, error) {
	for {
		current, readable, err := s.current(ctx, n)
		if err != nil {
			return "", err
		}

		// An item that the inner store cannot read has no version to compare with.
		cond := store.IfVersion(current.version)
		if !readable {
			cond = store.Any()
		}
		version, err := s.write(ctx, n, r, current, cond)
		if !errors.Is(err, store.ErrConflict) {
			return version, err
		}
	}
}

// storeIf writes r if want is the current version.
func (s *Store) storeIf(ctx context.Context, n name, r record, want store.Version) (store.Version, error) {
	known := s.seen.of(n)
	if known.version != want {
		current, readable, err := s.current(ctx, n)
		if err != nil {
			return "", err
		}
		if readable && current.version != want {
			return "", &store.ConflictError{Current: current.version}
		}
		known = current
	}
	return s.write(ctx, n, r, known, store.IfVersion(want))
}

// current returns the mark of the item in the inner store, with position 0 if that is
// unknown. The item is not readable, and has no version, if the inner store itself cannot
// read it.
func (s *Store) current(ctx context.Context, n name) (m mark, readable bool, err error) {
	got, err := s.load(ctx, n)
	unreadable := errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrKeyUnavailable)
	switch {
	case err == nil:
		return mark{got.position, got.version}, true, nil
	case errors.Is(err, store.ErrNotFound):
		return mark{}, true, nil
	case unreadable:
		return mark{version: got.version}, got.version != "", nil
	}
	return mark{}, false, err
}

// write writes r with a position after that of its predecessor.
func (s *Store) write(ctx context.Context, n name, r record, before mark, cond store.Condition) (store.Version, error) {
	r.position = max(before.position, s.seen.of(n).position) + 1
	// The history of the key is unknown. The time is later than any position in it, unless a
	// clock was ahead.
	if before.version == "" || before.position == 0 {
		r.position = max(r.position, uint64(time.Now().UnixNano())) //nolint:gosec // After 1970.
	}
	sealed, err := s.keys().seal(n, r)
	if err != nil {
		return "", err
	}
	version, err := s.inner.Store(ctx, n.String(), sealed, cond)
	if err != nil {
		return "", err
	}
	s.seen.note(n, mark{r.position, version})
	return version, nil
}

// Delete implements [store.Storage]. It only needs the secret for names.
func (s *Store) Delete(ctx context.Context, key string, cond store.Condition) error {
	n, err := s.begin(ctx, key)
	if err != nil {
		return err
	}
	if err := s.inner.Delete(ctx, n.String(), cond); err != nil {
		return err
	}
	s.seen.deleted(n)
	return nil
}

// List implements [store.Storage]. It reads and decrypts all records, whatever the prefix
// is. If it cannot read some, it yields an error after all others.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
	return func(yield func(store.Meta, error) bool) {
		var bad unreadable
		for n, err := range s.names(ctx) {
			if err != nil {
				yield(store.Meta{}, err)
				return
			}
			got, err := s.load(ctx, n)
			switch {
			case errors.Is(err, store.ErrNotFound) || bad.took(err):
				continue
			case err != nil:
				yield(store.Meta{}, err)
				return
			case !strings.HasPrefix(got.key, prefix):
				continue
			}
			if !yield(store.Meta{Key: got.key, Version: got.version, Size: int64(len(got.value))}, nil) {
				return
			}
		}
		if err := bad.err(); err != nil {
			yield(store.Meta{}, err)
		}
	}
}

// names yields the names of all records. If the inner List fails, the error comes last.
func (s *Store) names(ctx context.Context) iter.Seq2[name, error] {
	return func(yield func(name, error) bool) {
		err := ctx.Err()
		if err == nil {
			err = s.ready()
		}
		if err != nil {
			yield(name{}, err)
			return
		}
		for info, err := range s.inner.List(ctx, namePrefix) {
			n, ok := parseName(info.Key)
			if err == nil && !ok {
				continue // not ours
			}
			if !yield(n, err) {
				return
			}
		}
	}
}

// unreadable collects the errors of records that cannot be read. It keeps one of each
// kind, because there may be many.
type unreadable struct {
	records                    int
	corrupt, replayed, missing error
}

// took reports whether err is the error of a single record, which it then keeps.
func (u *unreadable) took(err error) bool {
	switch {
	case errors.Is(err, ErrReplayed):
		u.replayed = err
	case errors.Is(err, store.ErrCorrupt):
		u.corrupt = err
	case errors.Is(err, store.ErrKeyUnavailable):
		u.missing = err
	default:
		return false
	}
	u.records++
	return true
}

func (u *unreadable) err() error {
	if u.records == 0 {
		return nil
	}
	return fmt.Errorf("%d records cannot be read: %w", u.records, errors.Join(u.corrupt, u.replayed, u.missing))
}

// Rekey implements [store.Rekeyer]: it re-encrypts with the primary key the records that
// were encrypted with another one, and gives them new versions. A write that was in
// progress when the primary key changed may still use the previous key, so a key can
// safely be removed when Rekey has returned 0. With an [AEAD] that is not a *KeyRing, it
// re-encrypts all records each time: call it twice, the second time after those writes
// have ended.
func (s *Store) Rekey(ctx context.Context) (n int, err error) {
	var bad unreadable
	for each, err := range s.names(ctx) {
		if err != nil {
			return n, err
		}
		done, err := s.rekey(ctx, each)
		if err != nil && !bad.took(err) {
			return n, err
		}
		if done {
			n++
		}
	}
	return n, bad.err()
}

// rekey re-encrypts one record and reports whether that was necessary. A concurrent write
// of the record wins.
func (s *Store) rekey(ctx context.Context, n name) (bool, error) {
	for {
		got, err := s.load(ctx, n)
		if errors.Is(err, store.ErrNotFound) {
			return false, nil
		}
		if err != nil || got.current {
			return false, err
		}
		before := mark{got.position, got.version}
		_, err = s.write(ctx, n, got.record, before, store.IfVersion(got.version))
		if !errors.Is(err, store.ErrConflict) {
			return err == nil, err
		}
	}
}

// As implements the method that [store.As] calls: it provides Pinger and io.Closer if the
// inner store does, and nothing else.
func (s *Store) As(target any) bool {
	switch p := target.(type) {
	case *store.Pinger:
		inner, ok := store.As[store.Pinger](s.inner)
		if ok {
			*p = pinger{s, inner}
		}
		return ok
	case *io.Closer:
		inner, ok := store.As[io.Closer](s.inner)
		if ok {
			*p = inner
		}
		return ok
	}
	return false
}

// A pinger fails without keys, and otherwise pings the inner store.
type pinger struct {
	s     *Store
	inner store.Pinger
}

// Ping implements [store.Pinger].
func (p pinger) Ping(ctx context.Context) error {
	if err := p.inner.Ping(ctx); err != nil {
		return err
	}
	return p.s.ready()
}
