package everfresh

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/everfresh-go/everfresh/internal/hostpool"
	"github.com/everfresh-go/everfresh/internal/refreshctx"
	"github.com/everfresh-go/everfresh/internal/weburl"
)

// A flight is one refresh of one entry, from being queued to its result. The engine owns
// it: it continues even if every caller that waits for it gives up.
//
// It is a state machine:
//
//	open ──> build ──> fetch ──> decode ──> close
//
// The stage says what a flight does, the phase how far it is with that, and want what it
// must bring. ARCHITECTURE.md has the table of the legal combinations. nextStage decides
// which stage follows, and plan says how a stage runs. Everything else here moves a flight
// from one stage to the next: launchLocked queues it, begin prepares it on a worker, where
// stage.go runs it, advance decides what comes of the result, and endLocked is the end.
type flight struct {
	e   *entry
	seq uint64 // number of the flight among all of its engine

	// source is e.source when the flight starts. If e.source is another one later, the
	// flight is superseded.
	source *source

	// result is made when the first caller comes to wait.
	result *result

	// What follows is guarded by engine.mu.

	task     hostpool.Task // runs the present stage; in the pool only while phase is parked
	stage    stageKind
	phase    flightPhase
	want     flightWant
	priority priority

	invalidated bool // the value was invalidated during the fetch, so a confirmation must not publish it
	charged     bool // the limit of Newer paid for it
	superseded  bool // it ended without a result, since its source was replaced; another flight follows

	next      *flight            // to follow this one; nil unless this is e.flight
	waitsFor  *waits             // flights that callbacks of this one wait for; nil if none
	cancel    context.CancelFunc // ends the present stage; nil before the first one runs
	req       *http.Request      // what the build stage made
	loadTimer *time.Timer        // cancels a slow load once a caller waits; nil before
}

// A result is how a flight ended, for the callers that wait for it.
type result struct {
	done chan struct{} // closed when the flight has ended
	err  error         // written before done is closed
}

// waits is a list of flights that another flight waits for.
type waits struct {
	on   *flight
	next *waits
}

// without returns the list without one wait for f.
func (w *waits) without(f *flight) *waits {
	switch {
	case w == nil:
		return nil
	case w.on == f:
		return w.next
	default:
		return &waits{w.on, w.next.without(f)}
	}
}

// A stageKind is what a flight does.
type stageKind uint8

const (
	noStage     stageKind = iota // before the first
	openStage                    // load the stored record and make its value
	buildStage                   // have the user's function make the request
	fetchStage                   // ask the origin; from here on the request may have been sent
	decodeStage                  // make the value
	closeStage                   // publish it, or note the failure
)

// A flightPhase says how far the present stage of a flight is.
type flightPhase uint8

const (
	starting flightPhase = iota // about to be queued, or to run beside the pool
	parked                      // waits for its turn in the pool
	running
	ended // the whole flight
)

// A flightWant says what a flight must bring. Callers can raise it.
type flightWant uint8

const (
	wantLoad  flightWant = iota // the stored record, and no fetch
	wantValue                   // a value, stored or fetched
	wantFetch                   // a fetch, even if the stored record is fresh
)

// A priority says how a flight gets its workers. Callers can raise it.
type priority uint8

const (
	scheduled  priority = iota // when it is its turn
	awaited                    // before those that no caller waits for
	bypassPool                 // at once: another flight waits for it, and holds the worker it would need
)

// A stagePlan says how a stage runs.
type stagePlan struct {
	queue func(*flight) string // of the pool; nil: it runs on the worker of the stage before
	limit time.Duration        // ends its context
	run   func(*stageRun)
}

// plan returns how f runs a stage. It is a table; as a variable it would refer to itself.
//
// Loads have a queue of their own, so that a storage that hangs delays no fetch. Request
// functions are queued by host, but not together with the fetches: they are the user's
// code, and often wait for another resource of the same host.
func (f *flight) plan(stage stageKind) stagePlan {
	switch stage {
	case openStage:
		return stagePlan{queue: (*flight).loadQueue, limit: f.e.eng.keeper.loadTimeout(), run: (*stageRun).open}
	case buildStage:
		return stagePlan{queue: (*flight).requestQueue, limit: f.source.cfg.timeout, run: (*stageRun).build}
	case fetchStage:
		return stagePlan{queue: (*flight).fetchQueue, limit: f.source.cfg.timeout, run: (*stageRun).fetch}
	case decodeStage: // within the time of the fetch
		return stagePlan{run: (*stageRun).decode}
	default:
		return stagePlan{}
	}
}

func (f *flight) loadQueue() string    { return loadQueue }
func (f *flight) requestQueue() string { return "request " + f.host() }

// fetchQueue is named by the origin that f fetches from. A request function may have chosen
// another one than that of the registered URL.
func (f *flight) fetchQueue() string {
	if f.req != nil {
		return weburl.Origin(f.req.URL)
	}
	return f.host()
}

// host returns the origin of the registered URL. It is worked out when it is needed, as a
// million flights may wait for their turn.
func (f *flight) host() string { return hostOf(f.source.urlOf(f.e.key)) }

// nextStage decides what f does after its present stage. r is that stage; nil before the
// first. It is the only function that knows the order of stages, and it changes nothing. It
// is called under engine.mu.
func (f *flight) nextStage(r *stageRun) stageKind {
	switch {
	// A stored record comes before any request.
	case r == nil && !f.e.loaded():
		return openStage
	case r == nil:
		return f.requestStage()
	// The record may be all that is wanted. If it is not, or a value is wanted and there is
	// no record, the origin is asked.
	case f.stage == openStage && r.suffices():
		return closeStage
	case f.stage == openStage:
		return f.requestStage()
	// From here on, an error ends the flight.
	case r.out.err != nil:
		return closeStage
	case f.stage == buildStage:
		return fetchStage
	case f.stage == fetchStage && r.needsDecoding():
		return decodeStage
	default:
		return closeStage
	}
}

// requestStage returns the first stage of asking the origin. A plain GET needs no function
// to build it.
func (f *flight) requestStage() stageKind {
	if f.source.cfg.request != nil {
		return buildStage
	}
	return fetchStage
}

// newFlightLocked makes a flight that is not started. Its source is that of the moment when
// it starts, since options can be replaced while it waits for the flight before.
func (g *engine) newFlightLocked(e *entry, want flightWant) *flight {
	g.flights++
	f := &flight{e: e, seq: g.flights, want: want}
	f.task.Do = (*stepper)(f)
	return f
}

// startLocked starts a flight of e, which has none. joinLocked does it for callers; this is
// for what no caller waits for.
func (g *engine) startLocked(e *entry, want flightWant) *flight {
	f := g.newFlightLocked(e, want)
	g.startFlightLocked(e, f)
	return f
}

// startFlightLocked makes f the flight of e, which has none, and starts its first stage.
// The refresher plans nothing for e until the flight has ended.
func (g *engine) startFlightLocked(e *entry, f *flight) {
	// From now on it is the only one, and fetches from where the entry says now.
	e.flight = f
	f.source = e.source
	// A callback that waits for the entry to become ready holds a worker until then.
	if e.waiters != nil && e.waiters.nested > 0 {
		f.priority = bypassPool
	}
	// While it is under way, nothing is due but the end of the value.
	if d := e.demand.Load(); d != nil {
		d.dueAtRefill = false
	}
	g.sched.hold(e)
	f.stage = f.nextStage(nil)
	g.launchLocked(f)
}

// followLocked returns the flight that is to follow the one under way. There is at most
// one: all callers that need a fetch which begins later share it.
func (g *engine) followLocked(e *entry) *flight {
	if e.flight.next == nil {
		e.flight.next = g.newFlightLocked(e, wantValue)
	}
	return e.flight.next
}

// launchLocked has the present stage of f run: at once, or when it is its turn.
func (g *engine) launchLocked(f *flight) {
	if f.stage == openStage {
		f.limitLoad()
	}
	// A flight that another one waits for must not wait for a worker.
	var placed bool
	if f.priority == bypassPool {
		f.phase = starting
		placed = g.pool.Go(f.step)
	} else {
		f.phase = parked
		placed = g.pool.Submit(f.plan(f.stage).queue(f), &f.task, f.priority == awaited)
	}
	if !placed { // the pool is closed
		g.endLocked(f, fmt.Errorf("everfresh: %q: %w", f.e.name(), ErrClosed))
	}
}

// hastenLocked lets f go first, since a caller waits for it. If that caller is a callback
// of another flight, f bypasses the pool: the worker it would wait for may be held by that
// flight.
func (g *engine) hastenLocked(f, asker *flight) {
	f.priority = max(f.priority, awaited)
	if f.stage == openStage {
		f.limitLoad()
	}
	// A caller that is no callback moves it forward in its queue.
	if asker == nil {
		if f.phase == parked {
			g.pool.Urge(&f.task)
		}
		return
	}
	// A callback takes it out of the queue and has it run at once.
	f.priority = bypassPool
	if f.phase == parked && g.pool.Take(&f.task) {
		g.launchLocked(f)
	}
}

// limitLoad bounds the load of a flight that a caller waits for. Without a caller, a slow
// storage may take its time: it saves a request to the origin.
func (f *flight) limitLoad() {
	if f.priority != scheduled && f.loadTimer == nil {
		f.loadTimer = time.AfterFunc(storeWait, func() { f.e.eng.skipLoad(f) })
	}
}

// wouldDeadlock reports whether asker, if it waited for f, would wait for itself: the two
// are resources that need each other's values.
func (f *flight) wouldDeadlock(asker *flight) bool {
	return asker != nil && (f == asker || f.dependsOn(asker))
}

// dependsOn reports whether f waits, directly or not, for target.
func (f *flight) dependsOn(target *flight) bool {
	// A flight that follows another one waits for it.
	if present := f.e.flight; present != nil && present.next == f {
		if present == target || present.dependsOn(target) {
			return true
		}
	}
	// So does one whose callback called Get.
	for w := f.waitsFor; w != nil; w = w.next {
		if w.on == target || w.on.dependsOn(target) {
			return true
		}
	}
	return false
}

// sent reports whether the request may have been sent. If so, its answer can be older than
// a call that is made now.
func (f *flight) sent() bool { return f.stage >= fetchStage && f.phase >= running }

// begin marks the present stage of f as running, and gives it a copy of what it needs. It
// returns false if f has ended.
func (g *engine) begin(f *flight) (*stageRun, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.phase == ended || g.closedLocked() {
		return nil, false
	}
	// Options that were replaced while it waited send no request any more.
	if f.source != f.e.source {
		f.superseded = true
		g.endLocked(f, nil)
		return nil, false
	}
	f.phase = running
	// The attempt gets a copy, since the entry may change while it runs.
	e := f.e
	r := &stageRun{f: f, attempt: attempt{
		hopPolicy: hopPolicy{allow: f.source.cfg.allow},
		key:       e.key, host: f.host(), source: f.source, info: e.info, current: e.holder.current(), maker: e.holder,
		refetch: e.refetch, failures: e.failures(), now: g.now, avoidReuse: g.avoidReuse, req: f.req,
	}}
	// Its context ends with its time, with the flight, and with the engine.
	p := f.plan(f.stage)
	r.run = p.run
	r.ctx, r.release = context.WithTimeout(context.WithValue(g.ctx, refreshctx.Key{}, r), p.limit)
	f.cancel = r.release
	return r, true
}

// advance brings f on after a stage: it decides what follows, and has that run. It reports
// whether the next stage runs on this worker.
func (g *engine) advance(r *stageRun) (again bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f, e := r.f, r.f.e
	if f.stage == openStage {
		r.noteLoad(f.phase == ended)
	}
	// Is the result still wanted?
	switch {
	case f.phase == ended: // unregistered or closed meanwhile
		return false
	case f.stage != openStage && g.closedLocked(): // the refresher is about to end it, and may have ended its context
		g.endLocked(f, fmt.Errorf("everfresh: %q: %w", e.name(), ErrClosed))
		return false
	case f.source != e.source: // it was made with options that are no more; another flight follows
		f.superseded = true
		g.endLocked(f, nil)
		return false
	case f.stage == openStage:
		g.adoptLocked(r)
	}
	// Go on.
	present := f.stage
	f.req, f.stage = r.req, f.nextStage(r)
	switch {
	case f.stage == decodeStage:
		r.run = f.plan(f.stage).run
		return true
	case f.stage == closeStage && present == openStage: // nothing was fetched
		g.endLocked(f, nil)
	case f.stage == closeStage:
		g.closeLocked(r)
	default:
		g.sched.hold(e) // the record may have planned a refresh
		f.phase = starting
		g.launchLocked(f)
	}
	return false
}

// adoptLocked takes over what the open stage loaded. From now on the record counts as
// loaded, even if there is none: it is looked for once.
func (g *engine) adoptLocked(r *stageRun) {
	e, err := r.f.e, r.load.err
	e.stored = &persisted{readonly: errors.Is(err, errNewerRecord)}
	if r.load.record == nil || err != nil {
		return
	}
	g.publisher.apply(e, change{kind: adopted, record: r.load.record, version: r.load.version, value: r.load.value})
	r.served = e.serving()
}

// skipLoad cancels the load of f after storeWait, or takes it out of its queue, so that the
// flight continues with the fetch: a caller waits, and the origin may be faster. loadTimer
// calls it.
func (g *engine) skipLoad(f *flight) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case f.phase == ended || f.stage != openStage: // the load was just in time
	case f.phase == running: // advance goes on as soon as the storage returns
		f.cancel()
	case g.pool.Take(&f.task):
		f.e.stored = new(persisted)
		f.stage = f.nextStage(nil)
		g.launchLocked(f)
		f.e.storageFailed("load", fmt.Errorf("the storage did not answer in time: %w", context.DeadlineExceeded))
	}
}

// closeLocked publishes the result of f and ends it.
func (g *engine) closeLocked(r *stageRun) {
	// A failure is not charged to those who asked for something newer.
	f, e := r.f, r.f.e
	if r.out.err != nil {
		applied := g.publisher.apply(e, change{kind: failed, out: &r.out})
		if f.charged {
			e.demand.Load().refund(f.source.cfg, true)
		}
		g.endLocked(f, applied.failure)
		return
	}
	// An answer that confirms what was invalidated after the request was sent must not
	// publish it again.
	withdrawn := f.invalidated && r.out.same
	applied := g.publisher.apply(e, change{kind: answered, out: &r.out, current: r.current, withdrawn: withdrawn})
	e.refetch = e.refetch && withdrawn
	// Callers of Newer are told that the origin was asked, and get a new version for free.
	if d := e.demand.Load(); d != nil {
		d.lastGood = f.seq
	}
	if applied.updated {
		e.demand.Load().refund(f.source.cfg, f.charged)
	}
	g.endLocked(f, nil)
}

// endLocked ends f: it wakes the callers that wait, and starts what follows.
func (g *engine) endLocked(f *flight, err error) {
	if f.phase == ended {
		return
	}
	// Tell those who wait, and stop what runs.
	f.phase = ended
	if f.result != nil {
		f.result.err = err
		close(f.result.done)
	}
	if f.cancel != nil {
		f.cancel()
	}
	if f.loadTimer != nil {
		f.loadTimer.Stop()
	}
	// Start the next one.
	e := f.e
	if e.flight != f || e.gone {
		return
	}
	e.flight = nil
	if f.next != nil {
		next := f.next
		f.next = nil
		g.startFlightLocked(e, next)
	}
}
