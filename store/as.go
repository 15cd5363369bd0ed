package store

import "context"

// A Pinger is a store that can tell whether it is able to work. Find it with [As].
type Pinger interface {
	// Ping returns nil if the store answers now, [ErrUnavailable] if it does
	// not, [ErrClosed] after Close, and the error of ctx if that is done.
	Ping(ctx context.Context) error
}

// A Rekeyer is a store that encrypts its records and can change the key of those
// it has. Find it with [As].
type Rekeyer interface {
	// Rekey encrypts anew, with the primary key, each record that was encrypted
	// with another, and returns how many these were. It may run while others use
	// the store: it overwrites no write of theirs. Records that it cannot read stay
	// as they are; the error, which comes after all others are done, says so.
	Rekey(ctx context.Context) (n int, err error)
}

// As returns the power P of s: s itself if it is a P, else what the method
//
//	As(target any) bool
//
// of s, if it has one, puts into the *P it is given. P is usually an interface,
// such as [Pinger] or [io.Closer], and may be a concrete store. As reports false
// if s is nil or has no such power; it is safe to use at once from many
// goroutines if the method of s is.
//
// A store that wraps another decides for each power: it forwards it, refuses it
// by returning false, or answers with its own wrapper of it. It sets *target
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
// As never reaches through a wrapper by itself, as [errors.As] does by calling
// Unwrap. The inner store of a wrapper that encrypts may have a second way to
// write: found behind the wrapper's back it would commit plaintext. A power that
// a wrapper does not know is therefore one that the wrapper does not have. For
// the same reason a wrapper embeds the interface Storage and not a concrete
// store, whose powers would become its own.
func As[P any](s Storage) (P, bool) {
	if p, ok := s.(P); ok {
		return p, true
	}
	var p P
	if w, ok := s.(interface{ As(target any) bool }); ok && w.As(&p) {
		return p, true
	}
	var none P // not p, which a wrapper may have set before it refused
	return none, false
}
