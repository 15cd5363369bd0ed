package everfresh

import (
	"fmt"
	"time"

	"github.com/everfresh-go/everfresh/internal/lane"
)

const (
	// dueBatch bounds how many refreshes start under one hold of Cache.mu.
	dueBatch = 256
	// maxSleep bounds how long the refresher sleeps, so that it notices a machine that
	// slept: its timer did, too.
	maxSleep = time.Minute
	// jumpSlack is how far wall clock and monotonic clock may part before the
	// difference counts as a jump.
	jumpSlack = 2 * time.Second
	// catchUp bounds over how long refreshes are spread that a jump or a warm start
	// made due at once; a tenth of the interval does, too.
	catchUp = 30 * time.Second
)

// run is the refresher: it sleeps until something is due, starts it, and sleeps for at
// least the refresh window.
func (c *Cache) run() {
	defer close(c.done)
	defer c.shutdown() //nolint:contextcheck // It must outlive the cache's context.
	timer := time.NewTimer(maxSleep)
	defer timer.Stop()
	fired := never // when the refresher last had something to do
	for {
		next, now, worked := c.startDue()
		if worked {
			fired = now
		}
		if fired != never {
			next = max(next, fired+int64(c.cfg.window))
		}
		timer.Reset(min(time.Duration(next-now), maxSleep))
		select {
		case <-c.ctx.Done():
			return
		case <-timer.C:
		case <-c.wake:
			if !c.rest(timer, fired) {
				return
			}
		}
	}
}

// rest sleeps for what is left of the refresh window after a wake-up. It reports whether
// the cache goes on.
func (c *Cache) rest(timer *time.Timer, fired int64) bool {
	if fired == never {
		return true
	}
	left := fired + int64(c.cfg.window) - c.mono()
	if left <= 0 {
		return true
	}
	timer.Reset(time.Duration(left))
	select {
	case <-c.ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// startDue starts what is due. It returns the time of the next deadline, and the time
// it went by.
func (c *Cache) startDue() (next, now int64, worked bool) {
	for {
		more := false
		c.mu.Lock()
		wall, mono := c.now()
		c.noticeJumpLocked(wall, mono)
		now = mono
		for range dueBatch {
			e, ok := c.queue.popDue(now)
			if more = ok; !ok {
				break
			}
			worked = true
			c.dueLocked(e, now)
		}
		select {
		case <-c.wake: // sent under mu, so what it announced is in the queue
		default:
		}
		next = c.queue.next()
		c.mu.Unlock()
		if !more {
			return next, now, worked
		}
	}
}

// dueLocked does what e is due for: to withdraw its value, to refresh it, or both.
func (c *Cache) dueLocked(e *entry, now int64) {
	if e.expire <= now {
		c.expireLocked(e)
	}
	if e.due <= now && e.flight == nil {
		f := c.startLocked(e)
		f.charged = c.chargeDueLocked(e, now)
	}
	c.queueLocked(e)
}

// queueLocked puts e into the queue at its next deadline.
func (c *Cache) queueLocked(e *entry) {
	if !c.queue.set(e, min(e.due, e.expire)) {
		return
	}
	select {
	case c.wake <- struct{}{}:
	default: // a wake-up is pending already
	}
}

// expireLocked withdraws a value that reached its bound.
func (c *Cache) expireLocked(e *entry) {
	e.expire = never
	if e.holder.kept() == nil {
		return
	}
	e.holder.set(nil, nil)
	e.expired = true
	err := &RefreshError{Key: e.name, Op: "fetch", Attempt: e.failures, Err: ErrStale}
	if last := e.lastErr; last != nil {
		err.Op, err.Next, err.Err = last.Op, last.Next, fmt.Errorf("%w: %w", ErrStale, last.Err)
	}
	e.lastErr = err
	c.observe(Event{
		Kind: "expired", Key: e.name, Time: c.wall(), Version: e.meta.version,
		Attempt: e.failures, Next: err.Next, Err: err,
	})
	c.report(err)
}

// noticeJumpLocked compares the clocks. A wall clock that went ahead means that the
// machine slept or that its clock was set; either way, time may have passed that the
// deadlines know nothing of. A clock that was set back changes no deadline.
func (c *Cache) noticeJumpLocked(wall, mono int64) {
	jump := wall - mono - c.skew
	c.skew += jump
	if jump > int64(jumpSlack) {
		c.advanceLocked(jump, mono)
	}
}

// advanceLocked brings every deadline forward by d. What is due by that is spread, so
// that the origins are not stormed.
func (c *Cache) advanceLocked(d, now int64) {
	for i := range c.queue {
		e := c.queue[i].e
		if e.expire != never {
			e.expire -= d
		}
		if e.due != never {
			e.retryAt -= d
			e.due -= d
			if e.due < now {
				e.due = now + int64(e.spread())
			}
		}
		c.queue[i].at = min(e.due, e.expire)
	}
	c.queue.rebuild()
}

// spread returns a random part of the time over which refreshes that became due
// together are spread.
func (e *entry) spread() time.Duration {
	if e.cfg.jitter == 0 || e.meta == nil {
		return 0
	}
	d := min(catchUp, e.meta.plan.next/10)
	return time.Duration(float64(d) * random())
}

// startLocked starts a flight of e, which has none.
func (c *Cache) startLocked(e *entry) *flight {
	f := newFlight(e)
	c.startFlightLocked(e, f)
	return f
}

// followLocked returns the flight that is to follow the one under way.
func (c *Cache) followLocked(e *entry) *flight {
	if e.after == nil {
		e.after = newFlight(e)
	}
	return e.after
}

// launchLocked submits the next stage of f. A flight that another one needs is not
// parked, as the other one holds the place it would wait for.
func (c *Cache) launchLocked(f *flight) {
	stage, name := c.stageLocked(f)
	run := func() { stage(f) }
	if !c.placeLocked(f, name, run) {
		c.endLocked(f, fmt.Errorf("everfresh: %q: %w", f.e.name, ErrClosed))
	}
}

// placeLocked runs a stage of f when it is its turn; false if the pool is closed.
func (c *Cache) placeLocked(f *flight, name string, run func()) bool {
	if f.inline {
		f.task = nil
		return c.pool.Go(run)
	}
	f.task = &lane.Task{Run: run}
	return c.pool.Submit(name, f.task, f.urgent)
}

// stageLocked returns what f does next, and in which lane.
func (c *Cache) stageLocked(f *flight) (stage func(*flight), lane string) {
	e := f.e
	switch {
	case !e.warm:
		return c.load, storeLane
	case e.cfg.request != nil && f.req == nil:
		return c.build, "request " + e.lane
	default:
		return c.fetch, f.lane()
	}
}

// settle publishes what an attempt brought, or notes its failure, and reschedules.
func (c *Cache) settle(f *flight, a *attempt, out *outcome) {
	c.mu.Lock()
	e := f.e
	if f.ended { // unregistered or closed meanwhile
		c.mu.Unlock()
		return
	}
	if f.renewed != e.renewed { // made by options that are no more; another flight follows
		c.endLocked(f, nil)
		c.mu.Unlock()
		return
	}
	var events []Event
	if out.err != nil {
		events = c.failedLocked(f, out)
	} else {
		events = c.goodLocked(f, a, out)
	}
	c.endLocked(f, errorOrNil(out.failure))
	c.mu.Unlock()
	if out.failure != nil {
		c.report(out.failure)
	}
	for _, ev := range events {
		c.observe(ev)
	}
}

// errorOrNil keeps a nil *RefreshError from becoming an error that is not nil.
func errorOrNil(err *RefreshError) error {
	if err == nil {
		return nil
	}
	return err
}

// failedLocked notes a failure. The value stays.
func (c *Cache) failedLocked(f *flight, out *outcome) []Event {
	e := f.e
	wall, mono := c.now()
	e.failures++
	delay := retryDelay(e.cfg, out.err, e.failures, wallTime(wall), random)
	e.retryAt = mono + int64(delay)
	e.due = e.retryAt
	out.next = wallTime(wall + int64(delay))
	kept := e.holder.kept()
	out.failure = &RefreshError{
		Key: e.name, Op: out.op, Attempt: e.failures, Next: out.next,
		Stale: kept != nil, Err: out.err,
	}
	if e.expired {
		out.failure.Err = fmt.Errorf("%w: %w", ErrStale, out.err)
	}
	e.lastErr = out.failure
	if f.charged {
		c.refundLocked(e, true)
	}
	events := []Event{out.event("failed", e)}
	if kept == nil {
		return events
	}
	m := *e.meta
	m.err = out.failure
	if m.freshUntil <= wall && !m.overdue {
		m.overdue = true
		events = append(events, out.event("stale", e))
	}
	e.meta = &m
	e.holder.renew(kept, &m)
	return events
}

// goodLocked publishes a good answer.
func (c *Cache) goodLocked(f *flight, a *attempt, out *outcome) []Event {
	e := f.e
	wall, mono := c.now()
	m := out.meta(e.cfg, a.meta)
	withdrawn := f.tainted && out.same // it confirms what was invalidated after it began
	changed := e.meta == nil || m.version != e.meta.version
	switch {
	case withdrawn:
	case out.replace:
		e.holder.set(out.value, m)
	default:
		e.holder.renew(a.kept, m)
	}
	e.meta = m
	e.failures, e.lastErr, e.retryAt, e.expired = 0, nil, 0, false
	e.anew = e.anew && withdrawn
	elapsed := wall - wallNanos(out.received)
	e.due = mono + int64(m.plan.next) - elapsed
	e.expireAt(m, wall, mono)
	kind := "unchanged"
	if changed {
		kind = "fetched"
		c.refundLocked(e, f.charged)
	} else if cooling := e.cooling.Load(); cooling != nil && cooling.until > mono {
		e.due = min(e.due, cooling.until)
	}
	out.next = wallTime(wall + e.due - mono)
	if !withdrawn {
		c.keepLocked(e, out)
		c.announceLocked(e)
	}
	return []Event{out.event(kind, e)}
}

// expireAt notes when a value with meta m must be withdrawn.
func (e *entry) expireAt(m *meta, wall, mono int64) {
	e.expire = never
	if m.serveUntil != 0 {
		e.expire = mono + m.serveUntil - wall
	}
}

// announceLocked wakes those who wait for a change of e.
func (c *Cache) announceLocked(e *entry) {
	if e.changed != nil {
		close(e.changed)
		e.changed = nil
	}
}
