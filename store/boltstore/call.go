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
	// errDamaged leaves out the panic's text: one of bbolt's panics contains a key.
	errDamaged = fmt.Errorf("bbolt panicked; the file is probably damaged: %w", store.ErrCorrupt)
)

type result[T any] struct {
	value T
	err   error
}

// do runs f in a goroutine and returns its results, or the error of ctx if ctx ends
// first. As f then goes on, it must not share anything with the caller.
func do[T any](ctx context.Context, s *Store, op string, f func() (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if err := s.begin(); err != nil {
		return none, err
	}

	// The buffer lets the goroutine end if the caller has left.
	done := make(chan result[T], 1)
	go func() {
		defer s.calls.Done()
		value, err := guard(f, s.breakDown)
		done <- result[T]{value, err}
	}()

	// Return with the first of: the result, a broken store, the end of ctx.
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

// begin counts a call, which the caller ends with s.calls.Done.
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

// breakDown makes every call return: any of them may wait for a lock of db that will
// never be released.
func (s *Store) breakDown() {
	s.breakOnce.Do(func() { close(s.broken) })
}

// guard calls f. If f panics, guard calls panicked and returns errDamaged. Reading a
// mapped file that has been truncated is a memory fault, which would end the process
// without SetPanicOnFault.
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

// view calls f with the bucket in a read transaction. The transaction must not last
// longer than one page, because the file cannot grow while it runs.
func (s *Store) view(f func(b *bolt.Bucket) error) error {
	return s.db.View(func(tx *bolt.Tx) error { return s.inBucket(tx, f) })
}

// update calls f with the bucket in a transaction, which is committed and synced if f
// returns nil. If ctx ends before the transaction begins, nothing happens.
func (s *Store) update(ctx context.Context, f func(b *bolt.Bucket) error) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return s.inBucket(tx, f)
	})
}

// inBucket calls f with the bucket. A panic in f leaves no lock behind, unlike one at
// the beginning or the end of a transaction.
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

// wrap adds the operation that failed, unless err is a regular result of the contract.
func wrap(op string, err error) error {
	var conflict *store.ConflictError
	switch {
	case errors.As(err, &conflict), errors.Is(err, store.ErrNotFound),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fmt.Errorf("boltstore: %s: %w", op, classify(err))
}

// classify adds the contract's error to an error of bbolt. Errors for which it has
// none are permanent: a full disk, for instance, does not mean that the store cannot
// be reached.
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
