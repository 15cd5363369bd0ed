package everfresh

import (
	"fmt"
	"time"
)

const (
	// granule is how far apart the refresher wakes up at least, so that it does not for
	// each of many deadlines.
	granule = 10 * time.Millisecond
	// dueBatch bounds how many deadlines are done under one hold of Cache.mu.
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

// run is the refresher: it sleeps until something is due, does it, and sleeps until at
// least a granule after it woke up.
func (c *Cache) run() {
	defer close(c.done)
	defer c.shutdown()
	timer := time.NewTimer(maxSleep)
	defer timer.Stop()
	wake, spread := c.mono(), false
	for {
		spread = !spread && c.noticePause(wake) // never twice in a row: what is spread must be done
		began := c.mono()
		rest, worked := c.doDue()
		if worked {
			rest = min(granule, c.cfg.window) - time.Duration(c.mono()-began)
		}
		rest = min(max(rest, 0), maxSleep)
		wake = later(c.mono(), rest)
		timer.Reset(rest)
		if !c.sleep(timer, worked) {
			return
		}
	}
}

// noticePause spreads what is due when the refresher wakes up long after it meant to: the
// process was paused, or the machine slept and the monotonic clock went on. It reports
// whether that was so.
func (c *Cache) noticePause(wake int64) bool {
	wall, mono := c.now()
	if mono-wake <= int64(jumpSlack) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.catchUpLocked(wall, mono)
	return true
}

// sleep waits for the timer, or for a nearer deadline unless resting. It reports whether
// the cache goes on.
func (c *Cache) sleep(timer *time.Timer, resting bool) bool { //nolint:revive // The flag says what to wait for.
	wake := c.wake
	if resting {
		wake = nil // a granule, then all deadlines are looked at
	}
	select {
	case <-c.ctx.Done():
		return false
	case <-timer.C:
	case <-wake:
	}
	return true
}

// doDue does what is due. It returns the time to the next deadline, and whether there was
// anything to do.
func (c *Cache) doDue() (rest time.Duration, worked bool) {
	_, now := c.now()
	started := 0
	for {
		done, n := c.doBatch(now)
		worked = worked || done > 0
		started += n
		if done < dueBatch {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if started > 0 {
		c.resting = now + int64(c.cfg.window)
	}
	select {
	case <-c.wake: // sent under mu, so what it announced is in the queue
	default:
	}
	return time.Duration(c.queue.next() - now), worked
}

// doBatch does some of what is due at now. It returns how many deadlines it found, and how
// many refreshes it started.
func (c *Cache) doBatch(now int64) (done, started int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noticeJumpLocked(c.now())
	for done < dueBatch {
		e, ok := c.queue.popDue(now)
		if !ok {
			break
		}
		done++
		if c.dueLocked(e, now) {
			started++
		}
	}
	return done, started
}

// dueLocked does what e is due for: to withdraw its value, to refresh it, or both. It
// reports whether it started a refresh. None starts within the refresh window of others,
// but bounds are kept.
func (c *Cache) dueLocked(e *entry, now int64) (started bool) {
	if e.expire <= now {
		c.expireLocked(e)
	}
	if e.due <= now && now < c.resting {
		c.queue.set(e, min(c.resting, e.expire))
		return false
	}
	if e.due <= now && e.flight == nil {
		started = true
		trailing := e.trailing
		f := c.startLocked(e)
		if trailing {
			e.chargeTrailingLocked(now)
			f.charged = true
		}
	}
	c.queueLocked(e)
	return started
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
		c.catchUpLocked(wall, mono)
	}
}

// catchUpLocked brings deadlines forward to where the wall clock now has them. What is
// due by that is spread, so that the origins are not stormed, but not past the end of
// what it is to replace.
func (c *Cache) catchUpLocked(wall, mono int64) {
	for i := range c.queue {
		e := c.queue[i].e
		e.expire = min(e.expire, e.expireByWall(wall, mono))
		if e.due != never {
			e.catchUp(wall, mono)
		}
		c.queue[i].at = min(e.due, e.expire)
	}
	c.queue.rebuild()
}

func (e *entry) catchUp(wall, mono int64) {
	due := min(e.due, mono+e.dueWall-wall)
	e.retryAt = min(e.retryAt, due)
	if due < mono {
		spread := int64(e.spread())
		if e.expire > mono {
			spread = min(spread, (e.expire-mono)/2)
		}
		due = mono + spread
	}
	e.due = due
}

// setDue plans the next refresh for a monotonic time, and remembers it by the wall clock,
// too, for when the clocks part.
func (e *entry) setDue(due, wall, mono int64) {
	e.due = due
	e.dueWall = later(wall, time.Duration(due-mono))
}

// expireByWall returns when the value must be withdrawn by the wall clock.
func (e *entry) expireByWall(wall, mono int64) int64 {
	if e.expire == never || e.meta == nil || e.meta.serveUntil == 0 {
		return never
	}
	return mono + e.meta.serveUntil - wall
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
	name := c.stageLocked(f)
	if !c.placeLocked(f, name) {
		c.endLocked(f, fmt.Errorf("everfresh: %q: %w", f.e.name, ErrClosed))
	}
}

// placeLocked runs a stage of f when it is its turn; false if the pool is closed.
func (c *Cache) placeLocked(f *flight, name string) bool {
	if f.inline {
		return c.pool.Go(f.step)
	}
	f.parked = true
	return c.pool.Submit(name, &f.task, f.urgent)
}

// stageLocked sets what f does next, and returns the lane in which it does.
func (c *Cache) stageLocked(f *flight) (lane string) {
	e := f.e
	switch {
	case !e.warm:
		f.stage = loadStage
		c.hurryLocked(f)
		return loadLane
	case e.cfg.request != nil && f.req == nil:
		f.stage = buildStage
		return "request " + e.lane
	default:
		f.stage = fetchStage
		return f.lane()
	}
}

// settle publishes what an attempt brought, or notes its failure, and reschedules.
func (c *Cache) settle(f *flight, a *attempt) {
	c.mu.Lock()
	e, out := f.e, &a.out
	if f.ended { // unregistered or closed meanwhile
		c.mu.Unlock()
		return
	}
	if c.closedLocked() { // the refresher is about to end it, and may have ended its context
		c.endLocked(f, fmt.Errorf("everfresh: %q: %w", e.name, ErrClosed))
		c.mu.Unlock()
		return
	}
	if f.renewed != e.renewed { // made by options that are no more; another flight follows
		f.discarded = true
		c.endLocked(f, nil)
		c.mu.Unlock()
		return
	}
	if out.err != nil {
		c.failedLocked(f, out)
	} else {
		c.goodLocked(f, a)
	}
	c.endLocked(f, errorOrNil(out.failure))
	c.mu.Unlock()
	if out.failure != nil {
		c.report(out.failure)
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
func (c *Cache) failedLocked(f *flight, out *outcome) {
	e := f.e
	wall, mono := c.now()
	e.failures++
	delay := retryDelay(e.cfg, out.err, e.failures, wallTime(wall), random)
	e.retryAt = later(mono, delay)
	e.setDue(e.retryAt, wall, mono)
	out.next = wallAt(e.due, wall, mono)
	kept := e.holder.kept()
	out.failure = &RefreshError{
		Key: e.name, Op: out.op, Attempt: e.failures, Next: out.next,
		Stale: kept != nil, Err: out.err,
	}
	if e.expired {
		out.failure.Err = fmt.Errorf("%w: %w", ErrStale, out.err)
	}
	e.lastErr = out.failure
	c.keepFailureLocked(e)
	if f.charged {
		c.refundLocked(e, true)
	}
	c.observeOutcome("failed", e, out)
	if kept == nil {
		return
	}
	m := *e.meta
	m.err = out.failure
	if m.freshUntil <= wall && !m.overdue {
		m.overdue = true
		c.observeOutcome("stale", e, out)
	}
	e.meta = &m
	e.holder.renew(kept, &m)
}

// goodLocked publishes a good answer.
func (c *Cache) goodLocked(f *flight, a *attempt) {
	e, out := f.e, &a.out
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
	came := out.cameAt(wall, mono)
	e.setDue(later(came, m.plan.next), wall, mono)
	e.expireAt(m, wallNanos(out.received), came)
	e.answered = f.seq
	kind := "unchanged"
	if changed {
		kind = "fetched"
		c.refundLocked(e, f.charged)
	} else if cooling := e.cooling.Load(); cooling != nil && cooling.until > mono {
		e.trailLocked(cooling)
	}
	out.next = wallAt(e.due, wall, mono)
	if !withdrawn {
		c.keepLocked(e, out)
		c.announceLocked(e)
	}
	c.observeOutcome(kind, e, out)
}

// expireAt notes when a value with meta m must be withdrawn, given what the clocks showed
// when it came.
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
