package everfresh

import (
	"context"
	"time"
)

const (
	// minWakeInterval is how long the refresher sleeps at least after it has worked, so that
	// nearby deadlines are handled together. A shorter window shortens it.
	minWakeInterval = 10 * time.Millisecond
	// dueBatch bounds how many deadlines are handled under one hold of the lock.
	dueBatch = 256
	// maxSleep bounds how long the refresher sleeps. After a sleep of the machine its
	// timer is late, and this is how late.
	maxSleep = time.Minute
	// jumpSlack is how far wall clock and monotonic clock may part before the
	// difference counts as a jump.
	jumpSlack = 2 * time.Second
)

// A dueHandler does what entries are due for. Its methods are called with the lock that
// guards the scheduler held.
type dueHandler interface {
	// expireDue withdraws the value of e.
	expireDue(e *entry)
	// refreshDue refreshes e, and reports whether it started something.
	refreshDue(e *entry, now int64) (started bool)
}

// A scheduler calls back when entries are due. It knows deadlines and clocks, and nothing
// of what it calls back for. Its methods set, hold, advance and catchUp are the only code
// that changes a deadline.
//
// One goroutine, the refresher, runs it. A timer or a goroutine for each entry would cost
// eight times the memory.
type scheduler struct {
	now     clock
	window  time.Duration // refreshes within it start together
	handler dueHandler
	// locked calls f with the lock held that guards the fields below and every schedule.
	locked func(f func())
	wake   chan struct{} // capacity 1: the head of the queue changed

	queue     queue
	skew      int64 // wall − mono when the clocks were last compared
	windowEnd int64 // no refresh starts before, since others started within the window
}

// newScheduler returns a scheduler that is not running.
func newScheduler(now clock, window time.Duration, handler dueHandler, locked func(func())) scheduler {
	wall, mono := now()
	return scheduler{
		now: now, window: window, handler: handler, locked: locked,
		wake: make(chan struct{}, 1), skew: wall - mono,
	}
}

// set plans the next refresh of e for due and the end of its value for expire, both
// monotonic. It is called with the lock held.
func (s *scheduler) set(e *entry, due, expire, wall, mono int64) {
	if due != e.due { // an old deadline keeps its wall time, whatever was done to that clock
		e.dueWall = later(wall, time.Duration(due-mono))
	}
	e.due, e.expire = due, expire
	s.requeue(e)
}

// hold plans no refresh of e: one is under way. The end of its value stays.
func (s *scheduler) hold(e *entry) {
	e.due = never
	s.requeue(e)
}

// advance brings the next refresh of e forward to at, unless it is due before. It reports
// whether it did. It is called with the lock held.
func (s *scheduler) advance(e *entry, at int64) bool {
	if at >= e.due {
		return false
	}
	e.due = at
	s.requeue(e)
	return true
}

// requeue puts e into the queue at its next deadline, and wakes the refresher if that is
// the earliest of all.
func (s *scheduler) requeue(e *entry) {
	if !s.queue.set(e, min(e.due, e.expire)) {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default: // a wake-up is pending already
	}
}

// run is the refresher. Until ctx ends it sleeps until something is due, does it, and
// sleeps again for at least minWakeInterval.
func (s *scheduler) run(ctx context.Context) {
	timer := time.NewTimer(maxSleep)
	defer timer.Stop()
	wake, spread := s.now.mono(), false
	for {
		// After a pause, spread what is due. Never twice in a row: what was spread must
		// be done, or a slow refresher would make no progress.
		spread = !spread && s.detectPause(wake)
		// Do what is due, and find out how long to sleep.
		began := s.now.mono()
		rest, worked := s.runDue()
		if worked {
			rest = min(minWakeInterval, s.window) - time.Duration(s.now.mono()-began)
		}
		rest = min(max(rest, 0), maxSleep)
		// Sleep.
		wake = later(s.now.mono(), rest)
		timer.Reset(rest)
		if !s.sleep(ctx, timer, worked) {
			return
		}
	}
}

// detectPause spreads overdue refreshes if the refresher woke much later than planned:
// the process was paused, or the machine slept while the monotonic clock ran on. It
// reports whether it did.
func (s *scheduler) detectPause(planned int64) bool {
	wall, mono := s.now()
	if mono-planned <= int64(jumpSlack) {
		return false
	}
	s.locked(func() { s.catchUp(wall, mono) })
	return true
}

// sleep waits for the timer, or for a nearer deadline unless the refresher has just
// worked. It returns false when ctx has ended.
func (s *scheduler) sleep(ctx context.Context, timer *time.Timer, worked bool) bool { //nolint:revive // The flag says what to wait for.
	wake := s.wake
	if worked {
		wake = nil // sleep for the whole interval, then look at all deadlines
	}
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-wake:
	}
	return true
}

// runDue handles what is due. It returns the time to the next deadline, and whether there
// was anything to do.
func (s *scheduler) runDue() (rest time.Duration, worked bool) {
	_, now := s.now()
	// Work in batches, so that no caller waits long for the lock.
	started := 0
	for {
		done, n := s.runBatch(now)
		worked = worked || done > 0
		started += n
		if done < dueBatch {
			break
		}
	}
	// Open a window if refreshes started, and look for the next deadline.
	s.locked(func() {
		if started > 0 {
			s.windowEnd = now + int64(s.window)
		}
		select {
		case <-s.wake: // sent with the lock held, so what it announced is in the queue
		default:
		}
		rest = time.Duration(s.queue.next() - now)
	})
	return rest, worked
}

// runBatch handles some of what is due at now. It returns how many deadlines it found, and
// how many refreshes it started.
func (s *scheduler) runBatch(now int64) (done, started int) {
	s.locked(func() {
		s.detectJump(s.now())
		for done < dueBatch {
			e, ok := s.queue.popDue(now)
			if !ok {
				return
			}
			done++
			if s.handle(e, now) {
				started++
			}
		}
	})
	return done, started
}

// handle does what e is due for: it withdraws its value, refreshes it, or both. It reports
// whether a refresh started.
func (s *scheduler) handle(e *entry, now int64) (started bool) {
	// The window does not delay the end of a value.
	if e.expire <= now {
		s.handler.expireDue(e)
	}
	// No refresh starts within the window of others. It waits for the end of the window.
	if e.due <= now && now < s.windowEnd {
		s.queue.set(e, min(s.windowEnd, e.expire))
		return false
	}
	if e.due <= now {
		started = s.handler.refreshDue(e, now)
	}
	s.requeue(e)
	return started
}

// detectJump compares the clocks. A wall clock that went ahead means that the machine
// slept or that its clock was set. Either way, time may have passed that the deadlines know
// nothing of. A clock that was set back changes no deadline.
func (s *scheduler) detectJump(wall, mono int64) {
	jump := wall - mono - s.skew
	s.skew += jump
	if jump > int64(jumpSlack) {
		s.catchUp(wall, mono)
	}
}

// catchUp brings deadlines forward to match the wall clock. It is called with the lock held.
func (s *scheduler) catchUp(wall, mono int64) {
	for i := range s.queue {
		e := s.queue[i].e
		if e.expire != never {
			e.expire = min(e.expire, byWall(e.serveUntil(), wall, mono))
		}
		if e.due != never {
			e.due = caughtUp(e, wall, mono)
		}
		s.queue[i].at = min(e.due, e.expire)
	}
	s.queue.rebuild()
}

// caughtUp returns when e is due by the wall clock. Refreshes that are due already are
// spread out, so as not to overload the origins, but none is delayed past the end of its
// value.
func caughtUp(e *entry, wall, mono int64) int64 {
	due := min(e.due, byWall(e.dueWall, wall, mono))
	if due >= mono {
		return due
	}
	spread := int64(e.spread())
	if e.expire > mono {
		spread = min(spread, (e.expire-mono)/2)
	}
	return mono + spread
}

// byWall returns the monotonic time at which the wall clock will show at; never remains
// never.
func byWall(at, wall, mono int64) int64 {
	if at == never {
		return never
	}
	return mono + at - wall
}
