package everfresh

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/everfresh-go/everfresh/internal/hostpool"
	"github.com/everfresh-go/everfresh/internal/refreshctx"
	"github.com/everfresh-go/everfresh/internal/weburl"
)

// A flight is one refresh of one entry, from its turn in a lane to its outcome. It
// belongs to the engine: those who wait for it may leave, and it goes on.
//
// Its stages are to load the stored record, to build the request, and to fetch; most
// flights have only the last.
type flight struct {
	e       *entry
	seq     uint64        // the n-th flight of its cache
	renewed uint32        // which source of e it was started for
	done    chan struct{} // closed when the flight has ended; made when somebody comes to wait
	err     error         // the outcome; written before done is closed

	// The rest is guarded by Cache.mu.

	task      hostpool.Task      // runs the present stage when it is its turn
	stage     stageKind          // the present one
	parked    bool               // task was submitted and has not begun
	cancel    context.CancelFunc // ends the present stage
	req       *http.Request      // what build built
	needs     []*flight          // flights that this one's callbacks wait for
	urgent    bool               // somebody waits
	inline    bool               // another flight waits: run beside the lanes
	loadOnly  bool               // end after the load: nobody asked for a value yet
	must      bool               // fetch even if the stored record is fresh
	begun     bool               // the request may have been sent
	tainted   bool               // the value it may confirm was invalidated after it began
	charged   bool               // paid by the on-demand budget
	discarded bool               // ended without an outcome, as its source was replaced; another flight follows
	loading   bool               // the storage is being asked
	hurry     *time.Timer        // ends a load that somebody came to wait for
	ended     bool
}

// newFlight is called under Cache.mu.
func newFlight(e *entry) *flight {
	e.cache.flights++
	f := &flight{e: e, seq: e.cache.flights, renewed: e.renewed}
	f.task.Run = f.step
	return f
}

// step runs the present stage.
func (f *flight) step() {
	switch f.stage {
	case loadStage:
		f.e.cache.load(f)
	case buildStage:
		f.e.cache.build(f)
	case fetchStage:
		f.e.cache.fetch(f)
	}
}

// lane returns the name of the lane that the fetch of f waits in.
func (f *flight) lane() string {
	if f.req != nil {
		return weburl.Origin(f.req.URL)
	}
	return f.e.lane
}

// A flightKind says which flights of an entry a caller may share.
type flightKind uint8

const (
	anyFlight     flightKind = iota // whatever is under way
	nextFlight                      // one that begins after the call
	runningFlight                   // whatever is under way, and its outcome, not just a value
)

// await waits for a flight of e and returns its outcome.
func (c *Cache) await(ctx context.Context, e *entry, kind flightKind) error {
	if ctx.Err() != nil {
		return c.waitError(ctx, e)
	}
	asker := exchangeOf(ctx).flight
	f, err := c.join(e, kind, asker)
	if f == nil || err != nil {
		return err
	}
	if kind == anyFlight {
		return c.waitForValue(ctx, f, asker)
	}
	for err := c.wait(ctx, f, asker); ; err = c.wait(ctx, f, asker) {
		if err != nil || !f.discarded {
			return err
		}
		if f, err = c.join(e, runningFlight, asker); f == nil || err != nil {
			return err
		}
	}
}

// join returns the flight to wait for, or nil if there is nothing to wait for.
func (c *Cache) join(e *entry, kind flightKind, asker *flight) (*flight, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if kind == anyFlight && e.flight == nil && e.holder.kept() != nil && !e.gone {
		return nil, nil // published since the caller looked
	}
	if err := c.refusalLocked(e); err != nil {
		return nil, err
	}
	if kind == anyFlight && e.flight == nil && e.lastErr != nil && c.mono() < e.retryAt {
		return nil, e.lastErr
	}
	return c.joinLocked(e, kind, asker)
}

// refusalLocked returns why nothing can be fetched for e, or nil.
func (c *Cache) refusalLocked(e *entry) error {
	switch {
	case c.closedLocked():
		return fmt.Errorf("everfresh: %q: %w", e.name, ErrClosed)
	case e.gone:
		return fmt.Errorf("everfresh: %q: %w", e.name, ErrNotRegistered)
	default:
		return nil
	}
}

// joinLocked returns the flight that a caller waits for, and starts it if there is none.
// asker is the flight whose callback is calling, or nil.
func (c *Cache) joinLocked(e *entry, kind flightKind, asker *flight) (*flight, error) {
	f := e.flight
	if f != nil && cyclic(f, asker) {
		return nil, &RefreshError{Key: e.name, Op: "request", Stale: e.holder.kept() != nil, Err: errNestedCycle}
	}
	switch {
	case f == nil:
		f = newFlight(e)
	case kind == nextFlight && f.begun:
		f = c.followLocked(e)
	}
	if asker != nil {
		asker.needs = append(asker.needs, f)
	}
	if f.done == nil {
		f.done = make(chan struct{})
	}
	f.must = f.must || kind == nextFlight
	f.loadOnly = false
	c.urgeLocked(f, asker != nil)
	if e.flight == nil {
		c.startFlightLocked(e, f)
	} else if f == e.after && asker != nil {
		c.urgeLocked(e.flight, true)
	}
	return f, nil
}

// startFlightLocked makes f the flight of e.
func (c *Cache) startFlightLocked(e *entry, f *flight) {
	e.flight = f
	f.inline = f.inline || e.nested > 0
	e.due, e.trailing = never, false
	c.queueLocked(e)
	c.launchLocked(f)
}

// cyclic reports whether asker, if it waited for f, would wait for itself.
func cyclic(f, asker *flight) bool {
	return asker != nil && (f == asker || needsLocked(f, asker))
}

// needsLocked reports whether f waits, directly or not, for target.
func needsLocked(f, target *flight) bool {
	if f == f.e.after && f.e.flight != nil {
		if f.e.flight == target || needsLocked(f.e.flight, target) {
			return true
		}
	}
	for _, need := range f.needs {
		if need == target || needsLocked(need, target) {
			return true
		}
	}
	return false
}

// urgeLocked lets f go first. If another flight's callback waits for it, it leaves the
// lanes altogether: the place it would wait for may be that flight's.
func (c *Cache) urgeLocked(f *flight, nested bool) { //nolint:revive // The flag says who waits.
	f.urgent = true
	c.hurryLocked(f)
	if !nested {
		if f.parked {
			c.pool.Urge(&f.task)
		}
		return
	}
	f.inline = true
	if f.parked && c.pool.Take(&f.task) {
		c.launchLocked(f)
	}
}

// hurryLocked bounds the load of a flight that somebody waits for.
func (c *Cache) hurryLocked(f *flight) {
	if f.stage == loadStage && f.urgent && f.hurry == nil {
		f.hurry = time.AfterFunc(storeWait, func() { c.skipLoad(f) })
	}
}

// wait waits for f or the end of ctx.
func (c *Cache) wait(ctx context.Context, f, asker *flight) error {
	defer c.unneed(asker, f)
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return c.waitError(ctx, f.e)
	}
}

// waitForValue is wait for one to whom any value is good enough: also one that the
// flight finds in the storage on its way.
func (c *Cache) waitForValue(ctx context.Context, f, asker *flight) error {
	defer c.unneed(asker, f)
	for {
		changed, served := c.valueOrChange(f.e)
		if served {
			return nil
		}
		select {
		case <-f.done:
			return f.err
		case <-ctx.Done():
			return c.waitError(ctx, f.e)
		case <-changed:
		}
	}
}

func (c *Cache) valueOrChange(e *entry) (changed <-chan struct{}, served bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.holder.kept() != nil {
		return nil, true
	}
	return e.changesLocked(), false
}

func (c *Cache) unneed(asker, f *flight) {
	if asker == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(asker.needs, f); i >= 0 {
		asker.needs = slices.Delete(asker.needs, i, i+1)
	}
}

// waitError is the error of a wait that ctx ended: ctx's, and why the last fetch failed.
func (c *Cache) waitError(ctx context.Context, e *entry) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if refusal := c.refusalLocked(e); refusal != nil {
		return refusal
	}
	err := &RefreshError{Key: e.name, Op: "wait", Attempt: e.failures, Stale: e.holder.kept() != nil, Err: ctx.Err()}
	if last := e.lastErr; last != nil {
		err.Next = last.Next
		err.Err = fmt.Errorf("%w: last %s: %w", ctx.Err(), last.Op, last.Err)
	}
	return err
}

// endLocked ends f: it tells those who wait, and starts what follows.
func (c *Cache) endLocked(f *flight, err error) {
	if f.ended {
		return
	}
	f.ended = true
	f.err = err
	if f.done != nil {
		close(f.done)
	}
	if f.cancel != nil {
		f.cancel()
	}
	if f.hurry != nil {
		f.hurry.Stop()
	}
	e := f.e
	if e.flight != f || e.gone {
		return
	}
	e.flight = nil
	if next := e.after; next != nil {
		e.after = nil
		c.startFlightLocked(e, next)
		return
	}
	c.queueLocked(e)
}

// build is the stage that has the user's function make the request.
func (c *Cache) build(f *flight) {
	a, ok := c.begin(f)
	if !ok {
		return
	}
	defer a.release()
	now := c.wall()
	a.out = outcome{op: "request", err: errCallbackEnded, sent: now, received: now}
	defer c.built(f, a) // deferred, as a callback may end its goroutine
	a.req, a.out.err = a.build()
}

// built goes on with the request that was built.
func (c *Cache) built(f *flight, a *attempt) {
	if a.out.err != nil {
		c.settle(f, a)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !f.ended {
		f.req = a.req
		c.launchLocked(f)
	}
}

// fetch is the stage that asks the origin.
func (c *Cache) fetch(f *flight) {
	a, ok := c.begin(f)
	if !ok {
		return
	}
	defer a.release()
	defer c.settle(f, a) // deferred, as a callback may end its goroutine
	a.run(c.now)
}

type stageKind uint8

const (
	noStage stageKind = iota
	loadStage
	buildStage
	fetchStage // from here on the request may have been sent
)

// begin starts the present stage of f, or reports false if f has ended.
func (c *Cache) begin(f *flight) (*attempt, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.ended || c.closedLocked() {
		return nil, false
	}
	e := f.e
	f.parked = false
	f.loading = f.stage == loadStage
	f.begun = f.begun || f.stage == fetchStage
	timeout := e.cfg.timeout
	if f.loading {
		timeout = c.loadTimeoutLocked()
	}
	a := &attempt{
		source: e.source, req: f.req, meta: e.meta, kept: e.holder.kept(),
		exchange: exchange{flight: f, allow: e.cfg.allow, holder: e.holder},
	}
	a.ctx, a.release = context.WithTimeout(context.WithValue(c.ctx, refreshctx.Key{}, &a.exchange), timeout)
	f.cancel = a.release
	return a, true
}
