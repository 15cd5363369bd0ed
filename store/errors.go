package store

import "errors"

// The errors of a [Storage]. Stores may wrap them: test with [errors.Is].
var (
	// ErrNotFound says that the key is absent.
	ErrNotFound = errors.New("item not found")

	// ErrConflict says that the condition of a write does not hold. The error is a
	// [*ConflictError], which has the version that was found instead.
	ErrConflict = errors.New("version conflict")

	// ErrCorrupt says that the bytes of an item are damaged. The item stays until it
	// is replaced or deleted, which a write without a condition can do.
	ErrCorrupt = errors.New("item is corrupt")

	// ErrKeyUnavailable says that an intact item is encrypted with a key that the
	// store does not have at the moment. The item must not be discarded as damaged:
	// a store that has the key can still read it.
	ErrKeyUnavailable = errors.New("encryption key is unavailable")

	// ErrTooLarge says that a key is longer than [MaxKeyLen] or a value is larger
	// than the store allows.
	ErrTooLarge = errors.New("key or value is too large")

	// ErrUnavailable says that the store cannot be reached or did not answer in
	// time. The failure is temporary. A write may or may not have taken effect.
	ErrUnavailable = errors.New("storage is unavailable")

	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("storage is closed")
)

// A ConflictError is the error of a write whose condition does not hold. It is
// returned as a pointer and wraps [ErrConflict]. Its text leaves out the version,
// because a store may derive versions from values.
type ConflictError struct {
	Current Version // the version that the write found; "" if the key was absent
}

// Error implements error.
func (e *ConflictError) Error() string {
	if e.Current == "" {
		return ErrConflict.Error() + ": item is absent"
	}
	return ErrConflict.Error() + ": item has another version"
}

// Unwrap returns [ErrConflict].
func (e *ConflictError) Unwrap() error { return ErrConflict }
