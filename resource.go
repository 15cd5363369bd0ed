package everfresh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"reflect"
	"sync/atomic"
	"time"
)

// A Resource is a typed handle to one registered resource. Get it from [Register] or
// [Lookup].
//
// Get, Peek and Snapshot of a ready value are one atomic load: no lock, no clock, no
// allocation, so a handle may be read on every request. Values are shared by all
// readers and must not be modified. A Resource is safe for concurrent use.
type Resource[T any] struct {
	cur atomic.Pointer[state[T]] // nil: nothing to serve; written under Cache.mu
	e   *entry
}

// A state is what readers of a resource see. It is immutable but for snap, which is
// made when somebody asks.
type state[T any] struct {
	value T
	meta  *meta
	snap  atomic.Pointer[Snapshot[T]]
}

// A Snapshot is one value of a resource and where it came from. It is immutable. Its
// times carry no monotonic reading: compare them with the wall clock.
type Snapshot[T any] struct {
	Value      T
	Version    uint64    // names the value; a newer value has a greater one, the same bytes keep it
	FetchedAt  time.Time // when the value was received
	CheckedAt  time.Time // when the origin last confirmed it
	FreshUntil time.Time // when its freshness ends
	ServeUntil time.Time // when it stops being served; zero: never
	Err        error     // why the last refresh failed; nil if it did not
}

// A Status describes a resource without its value.
type Status struct {
	Key        string // its key; without one its URL, query values removed
	Ready      bool   // Get does not wait
	Fetching   bool   // a refresh is under way or waits for its turn
	Version    uint64
	FetchedAt  time.Time // zero before the first value, as the next three
	CheckedAt  time.Time
	FreshUntil time.Time
	ServeUntil time.Time     // zero also: no limit
	Next       time.Time     // next refresh; zero: none planned, or it is under way
	Failures   int           // in a row
	Err        error         // why the last refresh failed; nil if it did not
	Code       int           // status of the last good answer
	Bytes      int           // of the decoded body
	Freshness  string        // what decided how long the value is fresh
	Lifetime   time.Duration // freshness lifetime by that rule
	Age        time.Duration // age of the answer when it was received
}

// Register adds the resource at rawURL to c and returns its handle. It does not wait
// for the network; the first fetch starts in the background, unless [WithPrefetch]
// says otherwise.
//
// The error is [ErrRegistered] if the key is taken, [ErrNotAllowed] if the URL is
// invalid or refused by [WithAllow], [ErrClosed] after Close, or tells of an invalid
// option.
func Register[T any](c *Cache, rawURL string, decode Decoder[T], opts ...RegisterOption) (*Resource[T], error) {
	if decode == nil {
		return nil, errors.New("everfresh: register: nil decoder")
	}
	cfg, err := c.cfg.resourceConfig(opts)
	if err != nil {
		return nil, fmt.Errorf("everfresh: register: %w", err)
	}
	if cfg.transformer != nil {
		return nil, errors.New("everfresh: register: WithTransformer is for the untyped door")
	}
	r := new(Resource[T])
	e, err := c.newEntry(rawURL, cfg)
	if err != nil {
		return nil, err
	}
	e.holder = resourceHolder[T]{r}
	e.decode = func(ctx context.Context, resp *http.Response) (any, error) { return decode(ctx, resp) }
	e.emptyOK = isBytes(decode)
	r.e = e
	if err := c.add(e, cfg.prefetch != prefetchOff); err != nil {
		return nil, err
	}
	return r, nil
}

// isBytes reports whether decode is the one of [Bytes].
func isBytes[T any](decode Decoder[T]) bool {
	return reflect.ValueOf(decode).Pointer() == reflect.ValueOf(decodeBytes).Pointer()
}

// Lookup returns the handle of the resource registered under key. A resource of the
// untyped door is a Resource[any]. The error is [ErrNotRegistered], or [ErrRegistered]
// if the resource has another type.
func Lookup[T any](c *Cache, key string) (*Resource[T], error) {
	e, ok := c.entry(key)
	if !ok {
		return nil, fmt.Errorf("everfresh: lookup: %w", ErrNotRegistered)
	}
	h, ok := e.holder.(resourceHolder[T])
	if !ok {
		return nil, fmt.Errorf("everfresh: lookup %q: %w as another type than %T", e.name, ErrRegistered, h.Resource)
	}
	return h.Resource, nil
}

// Key returns the key of the resource: its URL, if it was registered without one.
func (r *Resource[T]) Key() string { return r.e.key }

// Get returns the value. It waits only if there is none: for the result of one fetch,
// good or bad. During back-off the error is that of the last fetch, at once. An error
// is a *[RefreshError] that Is [ErrNotReady], or [ErrStale] once the value went past
// its limit; [ErrNotRegistered]; or [ErrClosed]. If ctx ends the wait, the error holds
// ctx's error and why the last fetch failed. The fetch goes on for others.
func (r *Resource[T]) Get(ctx context.Context) (T, error) {
	if s := r.cur.Load(); s != nil {
		return s.value, nil
	}
	return r.first(ctx)
}

// first is the slow path of Get.
func (r *Resource[T]) first(ctx context.Context) (T, error) {
	for {
		err := r.e.cache.await(ctx, r.e, anyFlight)
		if s := r.cur.Load(); s != nil {
			return s.value, nil
		}
		if err != nil {
			var zero T
			return zero, err
		}
		// The value came and went (invalidated, or made by replaced options).
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

func (s *state[T]) snapshot() *Snapshot[T] {
	if snap := s.snap.Load(); snap != nil {
		return snap
	}
	s.snap.CompareAndSwap(nil, snapshotOf(s.value, s.meta))
	return s.snap.Load()
}

func snapshotOf[T any](v T, m *meta) *Snapshot[T] {
	snap := &Snapshot[T]{
		Value: v, Version: m.version,
		FetchedAt: wallTime(m.fetchedAt), CheckedAt: wallTime(m.checkedAt),
		FreshUntil: wallTime(m.freshUntil), ServeUntil: wallTime(m.serveUntil),
	}
	if m.err != nil {
		snap.Err = m.err
	}
	return snap
}

// Newer returns a snapshot that is newer than seen, for a caller to whom seen was not
// good enough: a key that is not in the set, a token that was rejected. seen may be
// nil.
//
// If there is a newer version already, Newer returns at once. Else it waits for a
// fetch that began after the call: one that waits for its turn, or a new one if the
// budget of [WithNewerLimit] allows. If it does not, Newer returns a *[RateLimitError] at
// once, without allocating, and the resource is refreshed when the budget refills. A
// fetch that brought a new value or failed is not charged, up to ten in a row. During
// back-off Newer returns the last *[RefreshError].
//
// A snapshot with the same Version as seen means that the origin still says the same.
func (r *Resource[T]) Newer(ctx context.Context, seen *Snapshot[T]) (*Snapshot[T], error) {
	var version uint64
	if seen != nil {
		version = seen.Version
	}
	if s := r.cur.Load(); s != nil {
		if s.meta.version > version {
			return s.snapshot(), nil
		}
		if cooling := r.e.cooling.Load(); cooling != nil && r.e.cache.mono() < cooling.until {
			return nil, cooling
		}
	}
	if err := r.e.cache.newer(ctx, r.e, version); err != nil {
		return nil, err
	}
	return r.served(ctx)
}

// served returns the snapshot that a successful wait left, and gets one if it is gone
// already.
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
// next value, Peek reports false, and a fetch starts that does not accept the stored
// validators. If another version is current, somebody was faster, and nothing
// happens. With a storage, the record is deleted under ctx; that it could not be is
// returned. The error may also be [ErrNotRegistered] or [ErrClosed].
func (r *Resource[T]) Invalidate(ctx context.Context, version uint64) error {
	return r.e.cache.invalidate(ctx, r.e, version)
}

// Refresh fetches the resource and waits for the outcome. The fetch begins after the
// call: of any number of concurrent calls at most one fetch is under way and one
// after it. Errors are those of [Resource.Get], also while an older value is served.
func (r *Resource[T]) Refresh(ctx context.Context) error {
	return r.e.cache.await(ctx, r.e, nextFlight)
}

// Ready waits for the first value, through failures. When ctx ends first, the error
// holds ctx's error and why the last fetch failed; it is [ErrNotRegistered] or
// [ErrClosed] if there will be none.
func (r *Resource[T]) Ready(ctx context.Context) error {
	return r.e.cache.ready(ctx, r.e)
}

// Watch yields the current value, if there is one, and then each newer one, until ctx
// or the cache ends or the resource is unregistered. A refresh that finds the same
// value yields nothing. A slow consumer gets the newest value and may miss others.
func (r *Resource[T]) Watch(ctx context.Context) iter.Seq[T] {
	return func(yield func(T) bool) {
		var seen uint64
		for {
			changed := r.e.cache.changes(r.e)
			if s := r.cur.Load(); s != nil && s.meta.version > seen {
				seen = s.meta.version
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

// waitFor waits for c to be closed; false if ctx ended first.
func waitFor(ctx context.Context, c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	case <-ctx.Done():
		return false
	}
}

// Status describes the resource.
func (r *Resource[T]) Status() Status { return r.e.cache.status(r.e) }

// Format writes, for every verb, which resource it is and nothing of its value.
func (r *Resource[T]) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "resource %q", r.e.name) }

// A holder is what the engine needs of a Resource of any type. What changes it is
// called under Cache.mu.
type holder interface {
	set(value any, m *meta) // publishes value, or withdraws what is there if m is nil
	renew(kept any, m *meta)
	kept() any // what renew takes to publish the present value again; nil if there is none
	boxed() *Snapshot[any]
}

// resourceHolder is the engine's view of a Resource; as a type of its own it keeps
// the engine's methods out of the handle's method set.
type resourceHolder[T any] struct{ *Resource[T] }

func (h resourceHolder[T]) set(v any, m *meta) {
	if m == nil {
		h.cur.Store(nil)
		return
	}
	value, _ := v.(T) // fails for the nil value of an interface type, which is its zero
	h.cur.Store(&state[T]{value: value, meta: m})
}

func (h resourceHolder[T]) renew(kept any, m *meta) {
	if s, ok := kept.(*state[T]); ok {
		h.cur.Store(&state[T]{value: s.value, meta: m})
	}
}

func (h resourceHolder[T]) kept() any {
	if s := h.cur.Load(); s != nil {
		return s
	}
	return nil
}

func (h resourceHolder[T]) boxed() *Snapshot[any] {
	s := h.cur.Load()
	if s == nil {
		return nil
	}
	return snapshotOf[any](s.value, s.meta)
}

// A Decoder makes a value from a good response (200 or 203). The body is in memory,
// bounded and decompressed, and may be kept; it need not be closed. ctx ends with the
// refresh; [Received] tells from it when the answer came and what it replaces, and a
// value that the decoder needs from another resource is got with it.
//
// An error refuses the response: the old value stays, and [Permanent] and [RetryAfter]
// steer when the origin is asked again. A panic is an error of that refresh. Values
// must be safe for concurrent reading. A value with a method ExpiresAt() time.Time
// sets its own end.
type Decoder[T any] func(ctx context.Context, resp *http.Response) (T, error)

// JSON returns a decoder of one JSON value. Anything but white space after it is an
// error. The texts of its errors hold nothing of the document.
func JSON[T any]() Decoder[T] {
	return func(_ context.Context, resp *http.Response) (T, error) {
		var v, zero T
		data, err := bodyOf(resp)
		if err != nil {
			return zero, err
		}
		if err := json.Unmarshal(data, &v); err != nil {
			return zero, redactJSON(err)
		}
		return v, nil
	}
}

// redactJSON keeps of a JSON error what tells where, not what the document says.
func redactJSON(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("invalid JSON at byte %d", syntax.Offset)
	}
	var typed *json.UnmarshalTypeError
	if errors.As(err, &typed) {
		return fmt.Errorf("JSON at byte %d does not fit Go type %v", typed.Offset, typed.Type)
	}
	return fmt.Errorf("JSON refused by the value's type (%T)", err)
}

// Bytes returns a decoder that yields the body itself, also an empty one.
func Bytes() Decoder[[]byte] { return decodeBytes }

func decodeBytes(_ context.Context, resp *http.Response) ([]byte, error) { return bodyOf(resp) }

// A Transformer makes the value of a resource of the untyped door, as in httprc v1.
// It is given the registered URL and a good response, whose body is in memory and
// need not be closed.
type Transformer interface {
	Transform(url string, resp *http.Response) (any, error)
}

// TransformFunc is a function that is a [Transformer].
type TransformFunc func(url string, resp *http.Response) (any, error)

// Transform implements [Transformer].
func (f TransformFunc) Transform(url string, resp *http.Response) (any, error) { return f(url, resp) }

// transformDecoder adapts a transformer; nil stands for the body as []byte.
func transformDecoder(rawURL string, t Transformer) decodeFunc {
	if t == nil {
		return func(_ context.Context, resp *http.Response) (any, error) { return bodyOf(resp) }
	}
	return func(_ context.Context, resp *http.Response) (any, error) { return t.Transform(rawURL, resp) }
}

// Received tells a [Decoder] when its response was received, which for a stored record
// was before the program started, and what value it is to replace, or nil. Outside a
// decoder the time is zero.
func Received(ctx context.Context) (at time.Time, prev *Snapshot[any]) {
	x := exchangeOf(ctx)
	return x.at, x.prev()
}
