package store

import "errors"

// The errors of a [Storage]. Stores may wrap them: test with [errors.Is].
var (
	// ErrNotFound says that the key is absent.
	ErrNotFound = errors.New("item not found")

	// ErrConflict says that the condition of a write does not hold. It comes as
	// a [*ConflictError], which says what was there instead.
	ErrConflict = errors.New("version conflict")

	// ErrCorrupt says that there is an item whose bytes are damaged. It stays
	// until it is replaced or deleted, which a write without a condition can do.
	ErrCorrupt = errors.New("item is corrupt")

	// ErrKeyUnavailable says that there is an intact item, encrypted with a key
	// that the store does not have at the moment. It must not be discarded as
	// damaged: whoever has the encryption key can still read it.
	ErrKeyUnavailable = errors.New("encryption key is unavailable")

	// ErrTooLarge says that a key is longer than [MaxKeyLen], or a value longer
	// than the store takes.
	ErrTooLarge = errors.New("key or value is too large")

	// ErrUnavailable says that the store cannot be reached or did not answer in
	// time. It is temporary, and says nothing about whether a write took effect.
	ErrUnavailable = errors.New("storage is unavailable")

	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("storage is closed")
)

// A ConflictError is returned, as a pointer, by a write whose condition does not
// hold. It Is [ErrConflict]. Its text leaves the version out, because a store
// may derive versions from values.
type ConflictError struct {
	Current Version // the version the write met; "" if the key was absent
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
