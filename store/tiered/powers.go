package tiered

import (
	"context"

	"github.com/everfresh-go/everfresh/store"
)

// As implements the method that [store.As] asks. It grants Pinger and Rekeyer if the
// back store has them, each in a wrapper, and nothing else.
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

// A pinger asks the back store, unless the Store is closed.
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

// A rekeyer lets the back store have all records first, and knows that it changes their
// versions.
type rekeyer struct {
	s     *Store
	inner store.Rekeyer
}

// Rekey implements [store.Rekeyer].
func (r rekeyer) Rekey(ctx context.Context) (int, error) {
	if err := r.s.Flush(ctx); err != nil {
		return 0, err
	}
	if r.s.behind == nil { // with write-behind the versions in memory are those that count
		defer r.s.core.clear()
	}
	return r.inner.Rekey(ctx)
}
