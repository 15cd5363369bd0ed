package everfresh

import (
	"context"
	"fmt"
	"time"
)

// What callers ask of the engine is here: to wait for a value, for a refresh, for something
// newer, and to withdraw a value. All of it joins flights, and runs none: flight.go says
// what a flight does.

// A flightKind says which flights of an entry a caller may share.
type flightKind uint8

const (
	anyFlight     flightKind = iota // whatever is under way
	nextFlight                      // one that begins after the call
	runningFlight                   // whatever is under way, and its result, not just a value
)

// await waits for a flight of e and returns its result. A nil error means that there is a
// value, or was one until a moment ago.
func (g *engine) await(ctx context.Context, e *entry, kind flightKind) error {
	if ctx.Err() != nil {
		return g.waitError(ctx, e)
	}
	// Find a flight to wait for.
	asker := flightOf(ctx, g)
	f, err := g.join(e, kind, asker)
	if f == nil || err != nil {
		return err
	}
	// A caller without a value is content with the stored one, too.
	if kind == anyFlight {
		return g.waitForValue(ctx, f, asker)
	}
	// A flight whose source was replaced has no result. Another one follows it.
	for err := g.wait(ctx, f, asker); ; err = g.wait(ctx, f, asker) {
		if err != nil || !f.superseded {
			return err
		}
		if f, err = g.join(e, runningFlight, asker); f == nil || err != nil {
			return err
		}
	}
}

// join returns the flight to wait for, or nil if there is nothing to wait for: the value
// is there, or the last fetch failed so recently that its error is the answer.
func (g *engine) join(e *entry, kind flightKind, asker *flight) (*flight, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	// Some calls need no flight.
	if kind == anyFlight && e.flight == nil && e.serving() && !e.gone {
		return nil, nil // published since the caller looked
	}
	if err := g.refusalLocked(e); err != nil {
		return nil, err
	}
	if kind == anyFlight && e.flight == nil && e.backingOff(g.now()) {
		return nil, e.lastErr()
	}
	// The others share one.
	return g.joinLocked(e, kind, asker)
}

// joinLocked returns the flight that a caller waits for, and starts it if there is none.
// asker is the flight whose callback is calling, or nil.
func (g *engine) joinLocked(e *entry, kind flightKind, asker *flight) (*flight, error) {
	// A callback must not wait for its own refresh, not even by a detour.
	f := e.flight
	if f != nil && f.wouldDeadlock(asker) {
		return nil, &RefreshError{Key: e.name(), Op: "request", Stale: e.serving(), Err: errNestedCycle}
	}
	// Find the flight: the present one, unless it began too early, or one to follow it.
	switch {
	case f == nil:
		f = g.newFlightLocked(e, wantValue)
	case kind == nextFlight && f.sent():
		f = g.followLocked(e)
	}
	// Note who waits for whom, for the next callback that might close a cycle.
	if asker != nil {
		asker.waitsFor = &waits{f, asker.waitsFor}
	}
	if f.result == nil {
		f.result = &result{done: make(chan struct{})}
	}
	// Say what it must bring, and that a caller waits for it. A Refresh is never content
	// with the stored record.
	f.want = max(f.want, wantValue)
	if kind == nextFlight {
		f.want = wantFetch
	}
	g.hastenLocked(f, asker)
	// Start it, or hasten the one that it follows.
	if e.flight == nil {
		g.startFlightLocked(e, f)
	} else if f != e.flight && asker != nil {
		g.hastenLocked(e.flight, asker)
	}
	return f, nil
}

// wait waits for f or the end of ctx, and returns f's result or ctx's error. The flight goes on in either case, since others may
// wait for it, and the value is needed anyway.
func (g *engine) wait(ctx context.Context, f, asker *flight) error {
	defer g.stopWaiting(asker, f)
	select {
	case <-f.result.done:
		return f.result.err
	case <-ctx.Done():
		return g.waitError(ctx, f.e)
	}
}

// waitForValue is wait for a caller who is content with any value: also with one that the
// flight finds in the storage on its way.
func (g *engine) waitForValue(ctx context.Context, f, asker *flight) error {
	defer g.stopWaiting(asker, f)
	// Value and channel are read under one lock, so that no change is missed.
	for {
		changed, served := g.valueOrChange(f.e)
		if served {
			return nil
		}
		select {
		case <-f.result.done:
			return f.result.err
		case <-ctx.Done():
			return g.waitError(ctx, f.e)
		case <-changed:
		}
	}
}

// valueOrChange reports whether e has a value, and if not, how to wait for one.
func (g *engine) valueOrChange(e *entry) (changed <-chan struct{}, served bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e.serving() {
		return nil, true
	}
	return e.changes(), false
}

// stopWaiting notes that a callback of asker no longer waits for f. asker is nil for a
// caller that is no callback.
func (g *engine) stopWaiting(asker, f *flight) {
	if asker == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	asker.waitsFor = asker.waitsFor.without(f)
}

// waitError is the error of a wait that ctx ended. "Context deadline exceeded" alone would
// tell nothing about a service that is down, so it also says why the last fetch failed.
func (g *engine) waitError(ctx context.Context, e *entry) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if refusal := g.refusalLocked(e); refusal != nil {
		return refusal
	}
	err := &RefreshError{Key: e.name(), Op: "wait", Attempt: e.failures(), Stale: e.serving(), Err: ctx.Err()}
	if last := e.lastErr(); last != nil {
		err.Next = last.Next
		err.Err = fmt.Errorf("%w: last %s: %w", ctx.Err(), last.Op, last.Err)
	}
	return err
}

// ready waits until e has a value, through any number of failures.
func (g *engine) ready(ctx context.Context, e *entry) error {
	// A callback keeps its worker while it waits, however many flights that takes.
	asker := flightOf(ctx, g)
	if asker != nil {
		g.locked(func() { e.nest(1) })
		defer g.locked(func() { e.nest(-1) })
	}
	for {
		// Look again after each change: the value may be gone already.
		p := g.ensureFetch(e, asker)
		if p.changed == nil {
			return p.err
		}
		changed := waitFor(ctx, p.changed)
		g.stopWaiting(asker, p.flight)
		if !changed {
			return g.waitError(ctx, e)
		}
	}
}

// A pendingValue says how to wait for an entry's next value. Waiting for a change rather
// than for a flight outlives any number of flights that fail.
type pendingValue struct {
	changed <-chan struct{} // see entry.changes; nil if there is a value, or there will be none
	flight  *flight         // that was joined; nil if none
	err     error           // why there will be none
}

// ensureFetch makes sure that e will be fetched if it has no value. It cuts no back-off
// short: the refresher fetches when that ends.
func (g *engine) ensureFetch(e *entry, asker *flight) pendingValue {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e.serving() {
		return pendingValue{}
	}
	if err := g.refusalLocked(e); err != nil {
		return pendingValue{err: err}
	}
	// Fetch, unless a fetch is planned already.
	p := pendingValue{changed: e.changes()}
	if e.flight != nil || e.due == never {
		f, err := g.joinLocked(e, anyFlight, asker)
		if err != nil {
			return pendingValue{err: err}
		}
		p.flight = f
	}
	return p
}

// changes returns e's channel of changes, or nil if there will be none, because the entry or
// the engine has ended.
func (g *engine) changes(e *entry) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refusalLocked(e) != nil {
		return nil
	}
	return e.changes()
}

// newer waits for a version of e after version; see Resource.Newer. It returns nil if there
// is one, or if the origin, asked after the call, still has the same.
func (g *engine) newer(ctx context.Context, e *entry, version uint64) error {
	// A flight that begins after this moment is an answer, whatever it brings.
	asker := flightOf(ctx, g)
	since := g.flightsBefore(e)
	// The first flight to wait for may have begun before the call. If it brings nothing
	// newer, the caller waits for another one.
	for {
		if ctx.Err() != nil {
			return g.waitError(ctx, e)
		}
		f, final, err := g.joinNewer(e, version, since, asker)
		if f == nil || err != nil {
			return err
		}
		if err := g.wait(ctx, f, asker); err != nil || final && !f.superseded {
			return err
		}
	}
}

// flightsBefore allocates the demand of e, so that good answers are noted, and returns the
// number of flights so far. A flight with a greater number began after the call.
func (g *engine) flightsBefore(e *entry) uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if e.demand.Load() == nil {
		e.demand.Store(new(demand))
	}
	return g.flights
}

// joinNewer returns the flight to wait for, or nil if there is an answer: a newer version,
// or the answer of a flight that began after the call: since is the number of flights when
// it was made. final reports that the flight begins after the call, so that its result is
// the answer.
func (g *engine) joinNewer(e *entry, version, since uint64, asker *flight) (f *flight, final bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	// Another caller may have asked meanwhile, and got the answer.
	if e.serving() && (e.info.version > version || e.demand.Load().lastGood > since) {
		return nil, false, nil
	}
	if err := g.refusalLocked(e); err != nil {
		return nil, false, err
	}
	switch {
	// Join the present flight or the next one, or start one.
	case e.flight != nil && e.flight.sent() && (e.flight.next == nil || e.flight.seq > since):
		// Its answer may be newer. But if it began before the call, the origin may not
		// have known better then, and it is not final.
		final = e.flight.seq > since
		f, err = g.joinLocked(e, runningFlight, asker)
		return f, final, err
	// It has not been sent yet, or began too early and has a follower.
	case e.flight != nil:
		f, err = g.joinLocked(e, nextFlight, asker)
		return f, true, err
	default:
		f, err = g.startOnDemandLocked(e, asker)
		return f, true, err
	}
}

// startOnDemandLocked starts a flight unless back-off or rate limit forbid it. The first
// value is free, as it is for Get.
func (g *engine) startOnDemandLocked(e *entry, asker *flight) (*flight, error) {
	// An origin that fails is not asked more often because of it.
	wall, mono := g.now()
	if e.backingOff(wall, mono) {
		return nil, e.lastErr()
	}
	// Callers of Newer share a rate limit, so that an origin whose answer stays the same is
	// not asked without end.
	charged := e.serving()
	if charged {
		d := e.demand.Load()
		if limited := d.charge(e.source.cfg, wall, mono); limited != nil {
			// Refresh as soon as the limit allows.
			d.dueAtRefill = g.sched.advance(e, limited.until) || d.dueAtRefill
			return nil, limited
		}
	}
	f, err := g.joinLocked(e, nextFlight, asker)
	if err == nil {
		f.charged = charged
	}
	return f, err
}

// invalidate withdraws the value of e if it has this version; see Resource.Invalidate.
func (g *engine) invalidate(ctx context.Context, e *entry, version uint64) error {
	// The value goes first, so that no reader gets it while the storage is slow.
	stored, err := g.withdraw(e, version)
	if err != nil || stored == nil {
		return err
	}
	if err := g.keeper.delete(ctx, e.key, stored.version, stored.condemned); err != nil {
		e.storageFailed("store", err)
		return &RefreshError{Key: e.name(), Op: "store", Err: err}
	}
	return nil
}

// withdraw is the part of invalidate that needs the lock. It returns the record to delete,
// or nil if there is none, as far as is known. A record that is being written is deleted by
// entry.saved.
func (g *engine) withdraw(e *entry, version uint64) (*invalidRecord, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	// Compare and set: another caller may have been faster. Of a hundred that report the
	// same dead token, one withdraws it.
	if err := g.refusalLocked(e); err != nil {
		return nil, err
	}
	if !e.serving() || e.info.version != version {
		return nil, nil
	}
	// Remember which record must go, before apply forgets it.
	var stored *invalidRecord
	if e.stored != nil && e.stored.version != "" {
		stored = &invalidRecord{version: e.stored.version, value: version, before: g.now.wall()}
	}
	// Withdraw the value: from now on, readers wait for the next one.
	g.publisher.apply(e, change{kind: invalidated})
	// A request that was sent may be answered by the value that was just withdrawn: its
	// 304 must not bring it back.
	if e.flight != nil && e.flight.sent() {
		e.flight.invalidated = true
	}
	// Fetch the next value, whether or not a caller waits for it.
	_, err := g.joinLocked(e, nextFlight, nil)
	return stored, err
}

// status describes e as it is now. It takes the lock, so it is not for hot paths.
func (g *engine) status(e *entry) Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	wall, mono := g.now()
	// What is planned, and what went wrong.
	s := Status{
		Key: e.name(), Ready: e.serving(), Fetching: e.flight != nil, Failures: e.failures(),
		Next: wallAt(e.due, wall, mono),
	}
	if err := e.lastErr(); err != nil {
		s.Err = err
	}
	// What is known about the value, served or not.
	if info := e.info; info != nil {
		s.Info, s.Code, s.Bytes = info.public(), int(info.code), int(info.size)
		s.Freshness, s.Lifetime, s.Age = info.why.String(), info.lifetime, info.age
	}
	return s
}

// selected returns the version of the value of e, if there is one and selects accepts the
// record that it would have. It works without a storage, too.
func (g *engine) selected(e *entry, selects func(rec *Record, now time.Time) bool) (version uint64, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !e.serving() {
		return 0, false
	}
	rec := Record{Key: e.key, Info: e.info.public(), Priority: e.source.cfg.priority}
	return e.info.version, selects(&rec, g.now.wall())
}
