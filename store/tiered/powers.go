package tiered

import (
	"context"

	"github.com/everfresh-go/everfresh/store"
)

// As implements the method that [store.As] calls. It provides Pinger and Rekeyer if the
// back store does, each in a wrapper, and nothing else.
func (s *Store) As(target any) bool {
	switch p := target.(type) {
	case *store.Pinger:
		inner, ok := store.As[store.Pinger](s.core.back)
		if ok {
			*p = pinger{s, inner}
		}
		return ok
	case *store.Rekeyer:
		inner, ok := store.As[store.Rekeyer](s.core.back)
		if ok {
			*p = rekeyer{s, inner}
		}
		return ok
	}
	return false
}

// A pinger pings the back store, unless the Store is closed.
type pinger struct {
	s     *Store
	inner store.Pinger
}

// Ping implements [store.Pinger].
func (p pinger) Ping(ctx context.Context) error {
	if err := p.s.core.open(ctx); err != nil {
		return err
	}
	return p.inner.Ping(ctx)
}

// A rekeyer flushes all records to the back store first. It takes into account that
// Rekey changes their versions.
type rekeyer struct {
	s     *Store
	inner store.Rekeyer
}

// Rekey implements [store.Rekeyer].
func (r rekeyer) Rekey(ctx context.Context) (int, error) {
	if err := r.s.Flush(ctx); err != nil {
		return 0, err
	}
	if r.s.behind == nil { // with write-behind, memory has its own versions, which stay valid
		defer r.s.core.clear()
	}
	return r.inner.Rekey(ctx)
}
