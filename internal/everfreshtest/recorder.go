package everfreshtest

import (
	"slices"
	"sync"

	"github.com/everfresh-go/everfresh"
)

// A Recorder remembers what it is told as an error sink and as an observer.
type Recorder struct {
	mu     sync.Mutex
	errs   []error
	events []everfresh.Event
}

// Error implements [everfresh.ErrSink].
func (r *Recorder) Error(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errs = append(r.errs, err)
}

// Observe is the observer.
func (r *Recorder) Observe(ev everfresh.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, ev)
}

// Errors returns the errors so far.
func (r *Recorder) Errors() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.errs)
}

// Events returns the events of a kind so far; "" stands for all kinds.
func (r *Recorder) Events(kind string) []everfresh.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []everfresh.Event
	for _, ev := range r.events {
		if kind == "" || ev.Kind == kind {
			found = append(found, ev)
		}
	}
	return found
}

// Options make r both sink and observer.
func (r *Recorder) Options() []everfresh.CacheOption {
	return []everfresh.CacheOption{everfresh.WithErrSink(r), everfresh.WithObserver(r.Observe)}
}
