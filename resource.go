package everfresh

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"sync/atomic"
)

// A Resource is a typed handle to one registered resource. [Register] and [Lookup] return
// it.
//
// Get, Peek and Snapshot of a ready value are one atomic load: no lock, no clock, no
// allocation except for the first Snapshot of each value, so a handle may be read on every
// request. Values are shared by all
// readers and must not be modified. A Resource is safe for concurrent use.
type Resource[T any] struct {
	cur    atomic.Pointer[state[T]] // nil: nothing to serve; written under engine.mu
	decode Decoder[T]               // immutable; nil for an untyped resource, which has a transformer
	e      entry
}

// Key returns the key of the resource: its URL, if it was registered without one.
func (r *Resource[T]) Key() string { return r.e.key }

// Get returns the value. It waits only if there is none, and then for the result of one
// fetch, good or bad. During back-off it returns the error of the last fetch at once. An
// error is a *[RefreshError] that Is [ErrNotReady], or [ErrStale] if the value reached its
// limit; [ErrNotRegistered]; or [ErrClosed]. If ctx ends the wait, the error holds ctx's
// error and why the last fetch failed. The fetch goes on for others.
func (r *Resource[T]) Get(ctx context.Context) (T, error) {
	if s := r.cur.Load(); s != nil {
		return s.value, nil
	}
	return r.first(ctx)
}

// first is the slow path of Get.
func (r *Resource[T]) first(ctx context.Context) (T, error) {
	for {
		err := r.e.eng.await(ctx, &r.e, anyFlight)
		if s := r.cur.Load(); s != nil {
			return s.value, nil
		}
		if err != nil {
			var zero T
			return zero, err
		}
		// The value came and went again: it was invalidated, or its options were replaced.
	}
}

// Peek returns the value, and whether there is one. It never waits.
func (r *Resource[T]) Peek() (T, bool) {
	if s := r.cur.Load(); s != nil {
		return s.value, true
	}
	var zero T
	return zero, false
}

// Snapshot returns the value with its times, or nil where Peek reports false. It
// never waits. The snapshot is shared.
func (r *Resource[T]) Snapshot() *Snapshot[T] {
	s := r.cur.Load()
	if s == nil {
		return nil
	}
	return s.snapshot()
}

// Newer returns a snapshot that is newer than seen, for a caller that cannot use seen: a key
// is not in the set, a token was rejected. seen may be nil.
//
// If there is a newer version already, Newer returns at once. Otherwise it waits for a
// fetch that began after the call: one that waits for its turn, or a new one if the limit
// of [WithNewerLimit] allows it. If the limit is reached, Newer returns a
// *[RateLimitError] at once, without allocating, and the resource is refreshed as soon as
// the limit allows. A fetch that brought a new value or failed does not count, up to ten
// in a row. During back-off Newer returns the last *[RefreshError].
//
// A snapshot with the same Version as seen means that the origin still says the same.
func (r *Resource[T]) Newer(ctx context.Context, seen *Snapshot[T]) (*Snapshot[T], error) {
	var version uint64
	if seen != nil {
		version = seen.Version
	}
	if s := r.cur.Load(); s != nil {
		if s.info.version > version {
			return s.snapshot(), nil
		}
		if limited := r.e.limited(); limited != nil {
			return nil, limited
		}
	}
	if err := r.e.eng.newer(ctx, &r.e, version); err != nil {
		return nil, err
	}
	return r.served(ctx)
}

// served returns the snapshot that a successful wait left, and waits for the next one if
// it is gone already.
func (r *Resource[T]) served(ctx context.Context) (*Snapshot[T], error) {
	for {
		if snap := r.Snapshot(); snap != nil {
			return snap, nil
		}
		if _, err := r.first(ctx); err != nil {
			return nil, err
		}
	}
}

// Invalidate withdraws the value if version is the current one: Get then waits for the
// next value, Peek reports false, and an unconditional fetch starts. If another version is
// current, another caller was faster, and nothing happens. If there is a storage, the
// record is deleted under ctx, and a failure to do so is returned as a *[RefreshError]. The
// error may also be [ErrNotRegistered] or [ErrClosed].
func (r *Resource[T]) Invalidate(ctx context.Context, version uint64) error {
	return r.e.eng.invalidate(ctx, &r.e, version)
}

// Refresh fetches the resource and waits for the result. The fetch begins after the
// call: however many calls there are at once, at most one fetch is under way and one
// follows it. It does not wait for a back-off to end. Errors are those of [Resource.Get],
// also while an older value is served; then they are not [ErrNotReady].
func (r *Resource[T]) Refresh(ctx context.Context) error {
	return r.e.eng.await(ctx, &r.e, nextFlight)
}

// Ready waits for the first value, through failures. If ctx ends first, the error
// holds ctx's error and why the last fetch failed; it is [ErrNotRegistered] or
// [ErrClosed] if there will be none.
func (r *Resource[T]) Ready(ctx context.Context) error {
	return r.e.eng.ready(ctx, &r.e)
}

// Watch yields the current value, if there is one, and then each newer one, until ctx
// or the cache ends or the resource is unregistered. A refresh that finds the same
// value yields nothing. A slow consumer gets the newest value and may miss others. Watch
// fetches nothing itself.
func (r *Resource[T]) Watch(ctx context.Context) iter.Seq[T] {
	return func(yield func(T) bool) {
		var seen uint64
		for {
			changed := r.e.eng.changes(&r.e)
			if s := r.cur.Load(); s != nil && s.info.version > seen {
				seen = s.info.version
				if !yield(s.value) {
					return
				}
			}
			if changed == nil || !waitFor(ctx, changed) {
				return
			}
		}
	}
}

// Status describes the resource.
func (r *Resource[T]) Status() Status { return r.e.eng.status(&r.e) }

// Format prints the name of the resource for every verb, so that no value can leak
// through %v.
func (r *Resource[T]) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "resource %q", r.e.name()) }

// A resourceHolder is the engine's view of a Resource. As a type of its own it keeps the
// engine's methods out of the handle's method set. It implements handle.
type resourceHolder[T any] struct{ *Resource[T] }

func (h resourceHolder[T]) set(v any, info *valueInfo) {
	value, _ := v.(T) // fails for the nil value of an interface type, which is its zero
	h.cur.Store(&state[T]{value: value, info: info})
}

func (h resourceHolder[T]) withdraw() { h.cur.Store(nil) }

func (h resourceHolder[T]) touch(current any, info *valueInfo) {
	if s, ok := current.(*state[T]); ok {
		h.cur.Store(&state[T]{value: s.value, info: info})
	}
}

func (h resourceHolder[T]) current() any {
	if s := h.cur.Load(); s != nil {
		return s
	}
	return nil
}

func (h resourceHolder[T]) valueAny() (any, bool) {
	if s := h.cur.Load(); s != nil {
		return s.value, true
	}
	return nil, false
}

func (h resourceHolder[T]) snapshotAny() *Snapshot[any] {
	s := h.cur.Load()
	if s == nil {
		return nil
	}
	return snapshotOf[any](s.value, s.info)
}

func (h resourceHolder[T]) decodeAny(ctx context.Context, _ *source, resp *http.Response) (any, error) {
	return h.decode(ctx, resp)
}

func (h resourceHolder[T]) acceptsEmpty() bool { return isBytes(h.decode) }

// An untypedHolder is the engine's view of an untyped resource. Its transformer belongs to
// the source, since registering the resource again replaces it.
type untypedHolder struct{ resourceHolder[any] }

func (h untypedHolder) decodeAny(_ context.Context, src *source, resp *http.Response) (any, error) {
	if t := src.cfg.transformer; t != nil {
		return t.Transform(src.urlOf(h.e.key), resp)
	}
	return bodyOf(resp)
}

func (untypedHolder) acceptsEmpty() bool { return true }

// waitFor waits for c to be closed. It returns false if ctx ended first.
func waitFor(ctx context.Context, c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	case <-ctx.Done():
		return false
	}
}
