package everfresh

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/everfresh-go/everfresh/internal/weburl"
	"github.com/everfresh-go/everfresh/store"
)

// An entry is the engine's part of one registered resource. It is not generic; its holder
// is. There can be a million entries, so an entry has 128 bytes: what follows from the
// key is worked out when it is needed, and what few resources need is allocated when they
// need it.
type entry struct {
	eng    *engine
	key    string
	holder handle

	// demand is allocated by the first call of Newer. It is read without a lock and
	// written under engine.mu.
	demand atomic.Pointer[demand]

	// What follows is guarded by engine.mu.

	source  *source    // where values come from; replaced when an untyped resource is registered again
	flight  *flight    // the refresh under way or waiting for its turn; nil if none
	info    *valueInfo // of the last good value, served or not; nil before the first
	failure *failure   // what went wrong since the last good answer; nil if nothing did
	stored  *persisted // what is known about the stored record; nil without a storage and before the load
	waiters *waiters   // nil while no caller waits for a change
	schedule
}

// A handle is what the engine needs of a Resource of any type.
type handle interface {
	holder
	maker
}

// A holder publishes values. Its methods are called under engine.mu.
type holder interface {
	set(value any, info *valueInfo)
	touch(current any, info *valueInfo) // publishes a present value again, with other info
	withdraw()
	current() any // what touch takes; nil if nothing is served
}

// A maker makes values for a holder and shows the present one. Its methods are called
// without a lock.
type maker interface {
	decodeAny(ctx context.Context, src *source, resp *http.Response) (any, error)
	acceptsEmpty() bool          // the decoder takes an empty body
	valueAny() (v any, ok bool)  // the value that is served
	snapshotAny() *Snapshot[any] // the same with its info; nil if nothing is served
}

// A source is where values come from. It is immutable. Resources that were registered
// without options of their own share one.
type source struct {
	cfg     *config
	fetcher Fetcher // the base fetcher inside its middleware
	url     string  // the registered URL; empty in the shared source, where it is the key
}

// notQueued is the index of an entry that is not in the queue.
const notQueued = -1

// A schedule says what is due for an entry, and when. Times are monotonic unless they say
// otherwise. Only the scheduler writes the first four fields.
type schedule struct {
	due     int64 // the next refresh; never while there is a flight
	dueWall int64 // the same by the wall clock, for when the clocks part
	expire  int64 // when the value must be withdrawn; or never
	index   int32 // place in the queue, or notQueued
	keyed   bool  // the key is a name given by WithKey, not the URL; immutable
	gone    bool  // unregistered, or the cache is closed: nothing will ever be due
	refetch bool  // the next refresh is unconditional, and its answer decoded even if the bytes are the same
}

// A failure is what went wrong since the last good answer: refreshes that failed in a row, or
// a value that reached its limit. It is immutable.
type failure struct {
	count     int
	retryAt   int64         // end of the back-off, monotonic
	retryWall int64         // the same by the wall clock
	err       *RefreshError // of the last refresh, or that the value reached its limit
	expired   bool          // the value was withdrawn because it reached its limit
	overdue   bool          // the observer was told that the value is stale
}

// persisted is what is known about the stored record of an entry.
type persisted struct {
	record      *Record       // the last one, whole; nil if there is none, or its value was invalidated
	version     store.Version // of the record in the storage, as far as is known
	invalidated uint64        // version of the value whose record must not be stored again
	readonly    bool          // a newer release wrote the stored record: leave it alone
}

// waiters are the callers that wait for a change of an entry's value.
type waiters struct {
	changed chan struct{} // closed when a value is published or confirmed, or the entry ends; nil until a caller waits
	nested  int32         // callbacks of other flights that wait until the entry is ready
}

// init makes e, whose memory is a part of its Resource, an entry that has no value and no
// deadline.
func (e *entry) init(eng *engine, key string, src *source, h handle) {
	e.eng, e.key, e.source, e.holder = eng, key, src, h
	e.keyed = src.cfg.key != ""
	e.due, e.expire, e.index = never, never, notQueued
}

// name returns what errors, events and Status call the entry.
func (e *entry) name() string {
	if e.keyed {
		return e.key
	}
	return weburl.Redact(e.key)
}

// urlOf returns the registered URL of an entry with this source.
func (src *source) urlOf(key string) string {
	if src.url == "" {
		return key
	}
	return src.url
}

// hostOf returns the origin of a registered URL, which names the queue that its fetches
// wait in. It shares the URL's memory if the origin is written there as it is.
func hostOf(rawURL string) string {
	if origin, ok := weburl.PlainOrigin(rawURL); ok {
		return origin
	}
	u, err := weburl.Parse(rawURL)
	if err != nil {
		return "" // Register would have refused it
	}
	return strings.Clone(weburl.Origin(u))
}

// loaded reports whether the storage was asked for the entry's record, or need not be.
// Until then, an entry with a storage has nothing in stored.
func (e *entry) loaded() bool { return e.stored != nil || e.eng.keeper == nil }

// serving reports whether a value is served.
func (e *entry) serving() bool { return e.holder.current() != nil }

// failures returns how many refreshes failed in a row.
func (e *entry) failures() int {
	if e.failure == nil {
		return 0
	}
	return e.failure.count
}

// lastErr returns why the last refresh failed, or that the value reached its limit; nil if
// neither is so.
func (e *entry) lastErr() *RefreshError {
	if e.failure == nil {
		return nil
	}
	return e.failure.err
}

// backingOff reports whether the entry must not be fetched yet because it failed. After a
// jump of the wall clock the back-off ends by that clock.
func (e *entry) backingOff(wall, mono int64) bool {
	f := e.failure
	return f != nil && f.err != nil && mono < f.retryAt && wall < f.retryWall
}

// serveUntil returns when the value must be withdrawn by the wall clock, or never.
func (e *entry) serveUntil() int64 {
	if e.info == nil || e.info.serveUntil == 0 {
		return never
	}
	return e.info.serveUntil
}

// spread returns a random part of the time over which refreshes are spread that became
// due at the same moment.
func (e *entry) spread() time.Duration {
	if e.info == nil {
		return 0
	}
	return spread(e.source.cfg, e.info.next)
}

// changes returns a channel that is closed when a value is published or confirmed, or the
// entry ends.
func (e *entry) changes() <-chan struct{} {
	w := e.waiting()
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	return w.changed
}

// waiting returns the entry's waiters, and makes them if there are none.
func (e *entry) waiting() *waiters {
	if e.waiters == nil {
		e.waiters = new(waiters)
	}
	return e.waiters
}

// announce wakes the callers that wait for a change of the entry's value.
func (e *entry) announce() {
	if e.waiters == nil || e.waiters.changed == nil {
		return
	}
	close(e.waiters.changed)
	e.waiters.changed = nil
	e.forgetWaiters()
}

// nest counts callbacks of other flights that wait until the entry is ready. They keep
// their workers, so that what they wait for must not need one.
func (e *entry) nest(n int32) {
	e.waiting().nested += n
	e.forgetWaiters()
}

// forgetWaiters frees the waiters' memory once there are none.
func (e *entry) forgetWaiters() {
	if e.waiters.nested == 0 && e.waiters.changed == nil {
		e.waiters = nil
	}
}

// limited returns the rate limit of Newer that is in force, or nil. It takes no lock.
func (e *entry) limited() *RateLimitError {
	d := e.demand.Load()
	if d == nil || d.limited.Load() == nil {
		return nil
	}
	return d.present(e.eng.now.mono())
}
