package boltstore

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/everfresh-go/everfresh/store"
)

var (
	errNoBucket = errors.New("the bucket is missing")
	// errDamaged leaves the panic out: one of bbolt's has a key in its text.
	errDamaged = fmt.Errorf("bbolt panicked, as it does on a damaged file: %w", store.ErrCorrupt)
)

type result[T any] struct {
	value T
	err   error
}

// do runs f in a goroutine and returns what it returns, or the error of ctx if that
// ends first. What f leaves behind then must not be shared with the caller.
func do[T any](ctx context.Context, s *Store, op string, f func() (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if err := s.begin(); err != nil {
		return none, err
	}
	done := make(chan result[T], 1)
	go func() {
		defer s.calls.Done()
		value, err := guard(f, s.breakDown)
		done <- result[T]{value, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return none, wrap(op, r.err)
		}
		return r.value, nil
	case <-s.broken:
		return none, wrap(op, errDamaged)
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// begin counts a call that the caller must end with s.calls.Done.
func (s *Store) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.ErrClosed
	}
	select {
	case <-s.broken:
		return errDamaged
	default:
		s.calls.Add(1)
		return nil
	}
}

// breakDown makes every call end, of which any may wait for a lock of db that nobody
// will give back.
func (s *Store) breakDown() {
	s.breakOnce.Do(func() { close(s.broken) })
}

// guard calls f, and turns a panic into errDamaged and a call of panicked. A file
// that was truncated under its mapping faults when it is read; without
// SetPanicOnFault that ends the process.
func guard[T any](f func() (T, error), panicked func()) (value T, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			panicked()
			err = errDamaged
		}
	}()
	return f()
}

// view calls f with the bucket in a transaction that reads. It must not outlast a
// page: while it runs, the file cannot grow.
func (s *Store) view(f func(b *bolt.Bucket) error) error {
	return s.db.View(func(tx *bolt.Tx) error { return s.inBucket(tx, f) })
}

// update calls f with the bucket in a transaction that is committed, and synced, if
// f returns nil. If ctx has ended before it is its turn, nothing happens.
func (s *Store) update(ctx context.Context, f func(b *bolt.Bucket) error) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return s.inBucket(tx, f)
	})
}

// inBucket calls f with the bucket. A panic in it, unlike one when a transaction
// begins or ends, leaves no lock behind.
func (s *Store) inBucket(tx *bolt.Tx, f func(b *bolt.Bucket) error) error {
	_, err := guard(func() (struct{}, error) {
		b := tx.Bucket(s.bucket)
		if b == nil {
			return struct{}{}, errNoBucket
		}
		return struct{}{}, f(b)
	}, func() {})
	return err
}

// wrap says what failed, unless err is an answer that the contract provides for.
func wrap(op string, err error) error {
	var conflict *store.ConflictError
	switch {
	case errors.As(err, &conflict), errors.Is(err, store.ErrNotFound),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fmt.Errorf("boltstore: %s: %w", op, classify(err))
}

// classify adds the contract's error to one of bbolt's. The others are permanent:
// a full disk, for instance, is not a store that cannot be reached.
func classify(err error) error {
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("%w: the file is open elsewhere", store.ErrUnavailable)
	case errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		return fmt.Errorf("%w: %w", store.ErrClosed, err)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum),
		errors.Is(err, bolterrors.ErrVersionMismatch):
		return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	return err
}
