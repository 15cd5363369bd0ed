package everfresh

import "context"

// newer waits for a version of e after version; see Resource.Newer.
func (c *Cache) newer(ctx context.Context, e *entry, version uint64) error {
	asker := exchangeOf(ctx).flight
	since := c.flightsSoFar()
	for {
		if ctx.Err() != nil {
			return c.waitError(ctx, e)
		}
		f, final, err := c.joinNewer(e, version, since, asker)
		if f == nil || err != nil {
			return err
		}
		if err := c.wait(ctx, f, asker); err != nil || final && !f.discarded {
			return err
		}
	}
}

func (c *Cache) flightsSoFar() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flights
}

// joinNewer returns the flight to wait for, or nil if there is an answer: a newer version,
// or that of a flight after the first since. final says that the flight begins after the
// call, so that its outcome is the answer.
func (c *Cache) joinNewer(e *entry, version, since uint64, asker *flight) (f *flight, final bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.holder.kept() != nil && (e.meta.version > version || e.answered > since) {
		return nil, false, nil
	}
	if err := c.refusalLocked(e); err != nil {
		return nil, false, err
	}
	switch {
	case e.flight != nil && e.flight.begun && (e.after == nil || e.flight.seq > since):
		f, err = c.joinLocked(e, runningFlight, asker)
		return f, e.flight.seq > since, err
	case e.flight != nil:
		f, err = c.joinLocked(e, nextFlight, asker)
		return f, true, err
	default:
		f, err = c.startOnDemandLocked(e, asker)
		return f, true, err
	}
}

// startOnDemandLocked starts a flight, if neither back-off nor budget forbid it. The
// first value is free.
func (c *Cache) startOnDemandLocked(e *entry, asker *flight) (*flight, error) {
	if e.lastErr != nil && c.mono() < e.retryAt {
		return nil, e.lastErr
	}
	charged := e.holder.kept() != nil
	if charged {
		if err := c.chargeLocked(e); err != nil {
			return nil, err
		}
	}
	f, err := c.joinLocked(e, nextFlight, asker)
	if err == nil {
		f.charged = charged
	}
	return f, err
}

// chargeLocked takes a fetch from the on-demand budget of e, a token bucket kept as the
// time at which it would be full again.
func (c *Cache) chargeLocked(e *entry) error {
	wall, mono := c.now()
	refill := int64(e.cfg.refill)
	if cooling := e.cooling.Load(); cooling != nil && mono < cooling.until {
		return cooling
	}
	if mono-e.budget >= refill*int64(e.cfg.burst) {
		e.refunds = 0 // nobody has asked for a while
	}
	if wait := e.budget - mono - refill*int64(e.cfg.burst-1); wait > 0 {
		cooling := &RateLimitError{Until: wallTime(wall + wait), until: mono + wait}
		e.cooling.Store(cooling)
		e.trailLocked(cooling)
		c.queueLocked(e)
		return cooling
	}
	e.budget = max(e.budget, mono) + refill
	return nil
}

// trailLocked makes e due when its cooling period ends, unless it is due before.
func (e *entry) trailLocked(cooling *RateLimitError) {
	if cooling.until < e.due {
		e.due = cooling.until
		e.trailing = true
	}
}

// chargeTrailingLocked charges the budget for the refresh that ends a cooling period.
func (e *entry) chargeTrailingLocked(now int64) {
	e.cooling.Store(nil)
	e.budget = max(e.budget, now) + int64(e.cfg.refill)
}

// maxRefunds bounds how many fetches in a row are not charged. An origin whose answer is
// never the same twice, or that fails every other time, could else be asked without end by
// whoever is never content.
const maxRefunds = 10

// refundLocked ends a cooling period, and gives back what a fetch was charged.
func (c *Cache) refundLocked(e *entry, charged bool) { //nolint:revive // The flag says what there is to give back.
	e.cooling.Store(nil)
	if charged && e.refunds < maxRefunds {
		e.refunds++
		e.budget -= int64(e.cfg.refill)
	}
}

// invalidate withdraws the value of e if it is of this version; see Resource.Invalidate.
func (c *Cache) invalidate(ctx context.Context, e *entry, version uint64) error {
	c.mu.Lock()
	if err := c.refusalLocked(e); err != nil {
		c.mu.Unlock()
		return err
	}
	if e.holder.kept() == nil || e.meta.version != version {
		c.mu.Unlock()
		return nil
	}
	e.holder.set(nil, nil)
	e.expire = never
	e.doomed, e.record = version, nil
	if s := c.savers[e.key]; s != nil {
		s.next = nil
	}
	stored, doomed := e.stored, withdrawal{version, c.wall()}
	e.stored = ""
	if e.flight != nil && e.flight.begun {
		e.flight.tainted = true
	}
	_, err := c.joinLocked(e, nextFlight, nil)
	c.mu.Unlock()
	if err != nil || stored == "" {
		return err
	}
	if err := c.deleteRecord(ctx, e.key, stored, doomed); err != nil {
		c.storageFailed(e, "store", err)
		return &RefreshError{Key: e.name, Op: "store", Err: err}
	}
	return nil
}

// ready waits until e has a value.
func (c *Cache) ready(ctx context.Context, e *entry) error {
	asker := exchangeOf(ctx).flight
	if asker != nil {
		c.addNested(e, 1)
		defer c.addNested(e, -1)
	}
	for {
		p := c.prompt(e, asker)
		if p.changed == nil {
			return p.err
		}
		changed := waitFor(ctx, p.changed)
		c.unneed(asker, p.flight)
		if !changed {
			return c.waitError(ctx, e)
		}
	}
}

// addNested counts callbacks that wait until e is ready. They keep their places, so what
// they wait for must not need one.
func (c *Cache) addNested(e *entry, n int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.nested += n
}

// A prompted entry is one that will be fetched.
type prompted struct {
	changed <-chan struct{} // closed when its value changes; nil if it has one, or there will be none
	flight  *flight         // that was joined; nil if none
	err     error           // why there will be none
}

// prompt makes sure that e will be fetched.
func (c *Cache) prompt(e *entry, asker *flight) prompted {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.holder.kept() != nil {
		return prompted{}
	}
	if err := c.refusalLocked(e); err != nil {
		return prompted{err: err}
	}
	p := prompted{changed: e.changesLocked()}
	if e.flight != nil || e.due == never {
		f, err := c.joinLocked(e, anyFlight, asker)
		if err != nil {
			return prompted{err: err}
		}
		p.flight = f
	}
	return p
}

// changes returns a channel that is closed when the value of e changes; nil if it never
// will.
func (c *Cache) changes(e *entry) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refusalLocked(e) != nil {
		return nil
	}
	return e.changesLocked()
}

func (e *entry) changesLocked() <-chan struct{} {
	if e.changed == nil {
		e.changed = make(chan struct{})
	}
	return e.changed
}
