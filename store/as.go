package store

import "context"

// A Pinger is a store that can check whether it works. Find it with [As].
type Pinger interface {
	// Ping returns nil if the store answers, [ErrUnavailable] if it does not,
	// [ErrClosed] after Close, and the error of ctx if ctx is done.
	Ping(ctx context.Context) error
}

// A Rekeyer is a store that encrypts its records and can re-encrypt existing ones
// with a new key. Find it with [As].
type Rekeyer interface {
	// Rekey re-encrypts with the primary key each record that was encrypted with
	// another key, and returns the number of these records. The store may be in use
	// meanwhile: Rekey does not overwrite concurrent writes. Records that it cannot
	// read stay as they are; Rekey reports them in its error after it has done all
	// others.
	Rekey(ctx context.Context) (n int, err error)
}

// As returns s as a P, where P is an optional power. That is s itself if it
// implements P, and otherwise the value that the method
//
//	As(target any) bool
//
// of s, if there is one, stores in the *P that it receives. P is usually an
// interface, such as [Pinger] or [io.Closer], but may also be a concrete store. As
// returns false if s is nil or does not have the power. It is safe for concurrent
// use if the method of s is.
//
// A store that wraps another one decides for each power whether to forward it, to
// refuse it by returning false, or to return its own wrapper of it. It sets *target
// only when it returns true:
//
//	func (w *wrapper) As(target any) bool {
//		switch p := target.(type) {
//		case *store.Pinger: // forwarded; every other power is refused
//			inner, ok := store.As[store.Pinger](w.inner)
//			if ok {
//				*p = inner
//			}
//			return ok
//		}
//		return false
//	}
//
// Unlike [errors.As], which calls Unwrap, As never looks inside a wrapper by itself.
// Suppose the inner store of a wrapper that encrypts has a second way to write: a
// caller that found it would store plaintext. So a wrapper does not have the powers
// that it does not know. For the same reason a wrapper embeds the interface Storage
// rather than a concrete store, whose powers it would inherit.
func As[P any](s Storage) (P, bool) {
	if p, ok := s.(P); ok {
		return p, true
	}
	var p P
	if w, ok := s.(interface{ As(target any) bool }); ok && w.As(&p) {
		return p, true
	}
	var none P // not p: a wrapper may have set it and then refused
	return none, false
}
