package everfresh

import (
	"errors"
	"fmt"
	"time"

	"github.com/everfresh-go/everfresh/store"
)

// clockSlack is how far in the future the times of a record may be. Beyond that its clock was
// wrong, and the record counts as stale.
const clockSlack = 5 * time.Minute

// A publisher applies changes to entries. Its method apply is the only code that changes
// an entry's value, value info and failures, and that works out its record and deadlines. It
// tells the scheduler, the keeper and the reporter what follows. Its methods are called
// with engine.mu held.
//
// Each change is worked out first, as a value, and then applied in one place. What a change
// does is thus in one function of its own, and what all of them have in common in apply.
type publisher struct {
	now      clock
	sched    *scheduler
	keeper   *keeper // nil without a storage
	reporter *reporter
}

// A changeKind says what happened to an entry.
//
//	change       value                  info          failures      record        next refresh
//	answered     set, or touched        new           none          written       as planned
//	  withdrawn  none                   new           none          none          as planned
//	failed       stays                  tells why     one more      tells         after the back-off
//	adopted      set, if still good     the record's  the record's  the stored    planned again, not later than stored
//	expired      none                   stays         tells why     stays         stays
//	invalidated  none                   stays         stay          none          stays
//	removed      none                   stays         stay          stays         never
//	closed       stays                  stays         stay          stays         never
type changeKind uint8

const (
	answered    changeKind = iota // a refresh was good
	failed                        // a refresh failed
	adopted                       // the stored record was loaded
	expired                       // the value reached its limit
	invalidated                   // a caller rejected the value
	removed                       // the resource was unregistered
	closed                        // the cache was closed
)

// A change is what happened to an entry, with what came of it.
type change struct {
	kind    changeKind
	out     *outcome // of answered and failed
	current any      // the value that out.same refers to; of answered
	// withdrawn: the answer confirms a value that was invalidated during the fetch, so
	// it must not be published; of answered.
	withdrawn bool

	record  *Record       // of adopted
	version store.Version // of record
	value   any           // that the record holds
}

// A next is what becomes of an entry by a change.
type next struct {
	// The value: what to do, and with what.
	value action
	set   any // for setValue
	touch any // for touchValue

	// What is known about it, and its deadlines.
	info    *valueInfo
	failure *failure
	due     int64
	expire  int64

	// The record: what to do, and with what.
	record recordAction
	stored *Record // for takeRecord and writeRecord

	// Whom to tell.
	events  []Event
	report  *RefreshError
	updated bool // there is a new version
}

// An action says what happens to the value that is served.
type action uint8

const (
	keepValue action = iota
	setValue
	touchValue
	withdrawValue
)

// A recordAction says what happens to an entry's record.
type recordAction uint8

const (
	keepRecord  recordAction = iota
	takeRecord               // it is in the storage
	writeRecord              // it must be written
	dropRecord
)

// applied is what the engine must know about a change that was applied.
type applied struct {
	failure *RefreshError // for those who wait for a refresh that failed
	updated bool          // the value has a new version
}

// apply makes e what it is after a change.
func (p *publisher) apply(e *entry, ch change) applied {
	wall, mono := p.now()
	n := p.after(e, ch, wall, mono)
	// The value, and what is known about it.
	e.info, e.failure = n.info, n.failure
	switch n.value {
	case keepValue:
	case setValue:
		e.holder.set(n.set, n.info)
	case touchValue:
		e.holder.touch(n.touch, n.info)
	case withdrawValue:
		e.holder.withdraw()
	}
	// Its record.
	p.applyRecord(e, ch, n)
	// Its deadlines.
	p.sched.set(e, n.due, n.expire, wall, mono)
	// Those who want to know.
	if announces(ch, n) {
		e.announce()
	}
	for _, ev := range n.events {
		p.reporter.observe(ev)
	}
	if n.report != nil {
		p.reporter.report(n.report)
	}
	return applied{failure: n.report, updated: n.updated}
}

// announces reports whether those who wait for a change of the value are woken. They wait
// for a value, or for the end of the entry.
func announces(ch change, n next) bool {
	switch ch.kind {
	case answered, adopted:
		return n.value != keepValue
	case removed, closed:
		return true
	default:
		return false
	}
}

// after works out what e is after a change. Whatever a change does not mention stays as it
// is. Of e it changes nothing, except that a deadline which a limit of Newer has set is noted
// in its demand.
func (p *publisher) after(e *entry, ch change, wall, mono int64) next {
	n := next{info: e.info, failure: e.failure, due: e.due, expire: e.expire}
	switch ch.kind {
	case answered:
		p.afterAnswer(&n, e, ch, wall, mono)
	case failed:
		p.afterFailure(&n, e, ch.out, wall, mono)
	case adopted:
		p.afterAdoption(&n, e, ch, wall, mono)
	case expired:
		p.afterExpiry(&n, e)
	case invalidated:
		n.value, n.record, n.expire = withdrawValue, dropRecord, never
	case removed:
		n.value, n.due, n.expire = withdrawValue, never, never
	case closed:
		n.due, n.expire = never, never
	}
	return n
}

// afterAnswer publishes a good answer. It ends all failures.
func (p *publisher) afterAnswer(n *next, e *entry, ch change, wall, mono int64) {
	cfg, out := e.source.cfg, ch.out
	n.info, n.failure = infoOf(cfg, out, e.info), nil
	n.updated = e.info == nil || n.info.version != e.info.version
	// The value: new bytes are set, the same bytes keep it.
	switch {
	case ch.withdrawn:
	case out.replace:
		n.value, n.set = setValue, out.value
	default:
		n.value, n.touch = touchValue, ch.current
	}
	// The deadlines count from when the answer came.
	came := out.receivedAt(wall, mono)
	n.due = later(came, n.info.next)
	n.expire = expireAt(n.info, wallNanos(out.received), came)
	if !n.updated {
		n.due = e.demand.Load().dueBy(n.due, mono)
	}
	// The record, unless a newer release wrote the stored one, or the body is unknown.
	if st := e.stored; st != nil && !ch.withdrawn && !st.readonly && (!out.notModified || st.record != nil) {
		n.record, n.stored = writeRecord, recordOf(e.key, cfg, n.info, out, st.record)
	}
	kind := "unchanged"
	if n.updated {
		kind = "fetched"
	}
	n.events = p.event(kind, e, n, out, wall, mono)
}

// afterFailure notes a failure and plans the next try. The value stays, and so does its
// freshness, whatever the headers of an error response say.
func (p *publisher) afterFailure(n *next, e *entry, out *outcome, wall, mono int64) {
	// Back off.
	f := failure{count: e.failures() + 1}
	if e.failure != nil {
		f.expired, f.overdue = e.failure.expired, e.failure.overdue
	}
	n.due = later(mono, retryDelay(e.source.cfg, out.err, f.count, wallTime(wall), random))
	f.retryAt, f.retryWall = n.due, later(wall, time.Duration(n.due-mono))
	// Say why.
	serving := e.serving()
	f.err = &RefreshError{
		Key: e.name(), Op: out.op, Attempt: f.count, Next: wallAt(n.due, wall, mono),
		Stale: serving, Err: out.err,
	}
	// If the value reached its limit, the error says so, too.
	if f.expired {
		f.err.Err = fmt.Errorf("%w: %w", ErrStale, out.err)
	}
	n.failure, n.report = &f, f.err
	// A process that starts with the record must continue the back-off.
	if st := e.stored; st != nil && st.record != nil && !st.readonly {
		n.record, n.stored = writeRecord, st.record.withFailures(&f)
	}
	n.events = p.event("failed", e, n, out, wall, mono)
	if !serving {
		return
	}
	// Readers of the value can see why it is old, and the observer is told once.
	n.value, n.touch, n.info = touchValue, e.holder.current(), e.info.withError(f.err)
	if n.info.freshUntil <= wall && !f.overdue {
		f.overdue = true
		n.events = append(n.events, p.event("stale", e, n, out, wall, mono)...)
	}
}

// afterAdoption takes over a stored record. Its value is published if it may still be
// served, and its refresh is planned.
func (p *publisher) afterAdoption(n *next, e *entry, ch change, wall, mono int64) {
	info, rec := infoOfRecord(e.source.cfg, ch.record, wall)
	n.info = info
	n.record, n.stored = takeRecord, rec
	if info.serveUntil != 0 && info.serveUntil <= wall {
		return
	}
	// The failures are those of the record: its process may have been backing off.
	n.failure = adoptFailure(e, rec, wall, mono)
	if n.failure != nil {
		info.err = n.failure.err
	}
	// The value is served as long as its record says.
	n.value, n.set = setValue, ch.value
	n.expire = expireAt(info, wall, mono)
	// A value that is stale, or whose times a wrong clock made, is refreshed soon.
	n.due = mono + info.checkedAt + int64(info.next) - wall
	if n.due <= mono || max(info.fetchedAt, info.checkedAt) > wall+int64(clockSlack) {
		n.due = mono + int64(spread(e.source.cfg, info.next))
	}
	// But not within the back-off.
	if n.failure != nil {
		n.due = max(n.due, n.failure.retryAt)
	}
}

// errFailedBefore stands for the failures of another process, whose texts are not stored:
// they may hold secrets.
var errFailedBefore = errors.New("failed before the restart")

// adoptFailure returns the failures that rec tells of, or nil if their back-off is over. It
// is not longer than a back-off can be, whatever the clock showed when it was stored.
func adoptFailure(e *entry, rec *Record, wall, mono int64) *failure {
	if rec.Failures <= 0 {
		return nil
	}
	// No wait is longer than one of ours could be.
	longest := max(e.source.cfg.backoffMax, retryAfterMax)
	wait := min(time.Duration(wallNanos(rec.NotBefore)-wall), longest)
	if wait <= 0 {
		return nil
	}
	f := &failure{count: rec.Failures, retryAt: later(mono, wait), retryWall: later(wall, wait)}
	f.err = &RefreshError{
		Key: e.name(), Op: "fetch", Attempt: f.count, Next: wallAt(f.retryAt, wall, mono), Stale: true, Err: errFailedBefore,
	}
	return f
}

// afterExpiry withdraws a value that reached its limit.
func (p *publisher) afterExpiry(n *next, e *entry) {
	n.expire = never
	if !e.serving() {
		return
	}
	n.value = withdrawValue
	// From now on errors say that the value is too stale, and why the last refresh failed.
	err := &RefreshError{Key: e.name(), Op: "fetch", Attempt: e.failures(), Err: ErrStale}
	if last := e.lastErr(); last != nil {
		err.Op, err.Next, err.Err = last.Op, last.Next, fmt.Errorf("%w: %w", ErrStale, last.Err)
	}
	var f failure
	if e.failure != nil {
		f = *e.failure
	}
	f.expired, f.err = true, err
	n.failure, n.report = &f, err
	n.events = []Event{{
		Kind: "expired", Key: err.Key, Time: p.now.wall(), Version: e.info.version,
		Attempt: err.Attempt, Next: err.Next, Err: err,
	}}
}

// applyRecord changes what is known about the stored record, and has it written.
func (p *publisher) applyRecord(e *entry, ch change, n next) {
	switch n.record {
	case keepRecord:
	case takeRecord:
		e.stored.record, e.stored.version = n.stored, ch.version
	case writeRecord:
		e.stored.record = n.stored
		p.keeper.save(n.stored, e)
	// A save of this version that is under way deletes it again.
	case dropRecord:
		if e.stored == nil {
			return
		}
		e.stored.record, e.stored.version, e.stored.invalidated = nil, "", n.info.version
		p.keeper.forget(e.key)
	}
}

// noteSaved notes that the storage has the record of e under a version, or may have it if
// that is empty. It reports whether the record must be deleted again, since its value was
// invalidated while it was being written.
func (p *publisher) noteSaved(e *entry, rec *Record, v store.Version) (invalid bool) {
	st := e.stored
	if st.invalidated == rec.Version && (st.record == nil || st.record.Version != rec.Version) {
		return true
	}
	if v != "" {
		st.version = v
	}
	return false
}

// event returns the event of a refresh, if there is an observer to tell.
func (p *publisher) event(kind string, e *entry, n *next, out *outcome, wall, mono int64) []Event {
	if p.reporter.observer == nil {
		return nil
	}
	ev := Event{
		Kind: kind, Key: e.name(), Time: out.received, Status: out.code, Bytes: len(out.body),
		Duration: out.received.Sub(out.sent), Next: wallAt(n.due, wall, mono),
	}
	if n.info != nil {
		ev.Version = n.info.version
	}
	if n.failure != nil {
		ev.Attempt = n.failure.count
	}
	if n.report != nil {
		ev.Err = n.report
	}
	return []Event{ev}
}

// expireAt returns when a value must be withdrawn, given what the clocks showed when it
// came.
func expireAt(info *valueInfo, wall, mono int64) int64 {
	if info.serveUntil == 0 {
		return never
	}
	return mono + info.serveUntil - wall
}
