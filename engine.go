package everfresh

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/puzpuzpuz/xsync/v4"

	"github.com/everfresh-go/everfresh/internal/hostpool"
	"github.com/everfresh-go/everfresh/store"
)

// closeWait bounds how long Close waits, for storage, workers and callbacks in all.
const closeWait = 5 * time.Second

// An engine keeps entries fresh. It is what a Cache consists of besides its API: registry,
// mutex and life cycle are here, flights in flight.go, and what callers ask for in
// demand.go. These three files are all that locks mu.
//
// Its parts do not know each other. The scheduler says when, an attempt does the work, the
// publisher applies the result, the keeper stores it, and the reporter tells about it.
type engine struct {
	// Everything that the engine runs ends with ctx.
	ctx    context.Context //nolint:containedctx // See above.
	cancel context.CancelFunc
	now    clock

	pool      *hostpool.Pool
	keeper    *keeper // nil without a storage
	reporter  *reporter
	publisher publisher
	// avoidReuse makes the next exchanges with an origin use new connections.
	avoidReuse func(origin string)

	// done is closed when the refresher has ended. flushed is closed after that, when the
	// last records are written or given up.
	done, flushed chan struct{}

	// index is read without a lock and written under mu.
	index *xsync.Map[string, indexed]

	// mu guards the registry, schedules, flights, and what entries say it guards. It is never
	// held over the network, the storage, or any code of the caller's. The mutexes of pool
	// and keeper are taken after it, never the other way round.
	mu      sync.Mutex
	sched   scheduler // guarded by mu, as its fields say
	closed  bool      // guarded by mu
	flights uint64    // how many there were; guarded by mu
}

// indexed is an entry as the index has it: with what Cache.Get needs of it, so that Get
// reads no memory of the entry itself. Entries lie so far apart that those of a thousand
// resources would contend for a few sets of the processor's cache.
type indexed struct {
	*entry
	untyped *Resource[any] // nil for a typed resource
}

// newEngine returns an engine whose refresher runs until ctx ends.
func newEngine(ctx context.Context, cfg *cacheConfig, now clock, avoidReuse func(string)) *engine {
	g := &engine{
		now:        now,
		pool:       hostpool.New(max(cfg.workers, 1), max(cfg.perHost, 1)),
		reporter:   newReporter(cfg.sink, cfg.observer, now),
		avoidReuse: avoidReuse,
		done:       make(chan struct{}),
		flushed:    make(chan struct{}),
		index:      xsync.NewMap[string, indexed](),
	}
	// Its parts.
	g.ctx, g.cancel = context.WithCancel(ctx)
	g.keeper = newKeeper(ctx, cfg.storage, g.pool)
	g.sched = newScheduler(now, cfg.window, g, g.locked)
	g.publisher = publisher{now: now, sched: &g.sched, keeper: g.keeper, reporter: g.reporter}
	// The refresher. When it ends, so does everything else. close waits for it.
	go func() {
		defer close(g.done)
		defer g.shutdown()
		g.sched.run(g.ctx)
	}()
	return g
}

// locked calls f with mu held. The scheduler locks through it, so that it need not know what
// it is a part of.
func (g *engine) locked(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

// lookup returns the entry of key. It takes no lock.
func (g *engine) lookup(key string) (*entry, bool) {
	in, ok := g.index.Load(key)
	return in.entry, ok
}

// entries returns the entries registered now, in no order.
func (g *engine) entries() []*entry {
	var entries []*entry
	g.index.Range(func(_ string, in indexed) bool {
		entries = append(entries, in.entry)
		return true
	})
	return entries
}

// closedLocked reports whether the engine takes no more work. Its context may have ended
// some moments before the refresher notices.
func (g *engine) closedLocked() bool { return g.closed || g.ctx.Err() != nil }

// refusalLocked returns why nothing can be fetched for e, or nil.
func (g *engine) refusalLocked(e *entry) error {
	switch {
	case g.closedLocked():
		return fmt.Errorf("everfresh: %q: %w", e.name(), ErrClosed)
	case e.gone:
		return fmt.Errorf("everfresh: %q: %w", e.name(), ErrNotRegistered)
	default:
		return nil
	}
}

// add puts e into the registry and starts its first refresh, or only the load of its
// record. An untyped entry gives its source to the untyped entry of the same key.
func (g *engine) add(e *entry, untyped *Resource[any], prefetch bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closedLocked() {
		return fmt.Errorf("everfresh: register %q: %w", e.name(), ErrClosed)
	}
	// A key belongs to one resource. Only an untyped one can be registered again.
	if old, dup := g.index.LoadOrStore(e.key, indexed{e, untyped}); dup {
		if old.untyped == nil || untyped == nil {
			return fmt.Errorf("everfresh: register %q: %w", e.name(), ErrRegistered)
		}
		g.replaceLocked(old.entry, e.source, prefetch)
		return nil
	}
	// The record is loaded even if no one has asked for the value, so that a first Get is
	// quick.
	switch {
	case prefetch:
		g.startLocked(e, wantValue)
	case !e.loaded():
		g.startLocked(e, wantLoad)
	}
	return nil
}

// replaceLocked gives another source to e, which keeps its value and is refreshed at once.
func (g *engine) replaceLocked(e *entry, src *source, prefetch bool) {
	own := *src // a copy is another source, so that flights of the old one are superseded
	e.source, e.refetch = &own, true
	// A refresh with the new source follows the one under way, or starts now. An entry that
	// was never asked for stays lazy.
	switch {
	case e.flight != nil:
		g.followLocked(e)
	case e.info != nil || e.due != never || prefetch:
		g.startLocked(e, wantValue)
	}
}

// remove takes the entry of key out of the registry and ends its refresh. It reports
// whether there was one.
func (g *engine) remove(key string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	found, ok := g.index.LoadAndDelete(key)
	if ok {
		g.dropLocked(found.entry, removed, ErrNotRegistered)
	}
	return ok
}

// dropLocked ends everything that e does. Callers that wait for it get cause.
func (g *engine) dropLocked(e *entry, kind changeKind, cause error) {
	// Nothing starts any more.
	e.gone = true
	if d := e.demand.Load(); d != nil {
		d.limited.Store(nil)
	}
	// What waits or runs ends.
	if f := e.flight; f != nil {
		err := fmt.Errorf("everfresh: %q: %w", e.name(), cause)
		if f.next != nil {
			g.endLocked(f.next, err)
		}
		g.endLocked(f, err)
		e.flight = nil
	}
	// Nothing is due, and those who wait for a change look again.
	g.publisher.apply(e, change{kind: kind})
}

// unregistered reports whether e was unregistered, which is no failure of the others.
func (g *engine) unregistered(e *entry) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return e.gone && !g.closedLocked()
}

// expireDue implements dueHandler: the value of e reached its limit.
func (g *engine) expireDue(e *entry) { g.publisher.apply(e, change{kind: expired}) }

// refreshDue implements dueHandler: e is due for a refresh. A refresh that is
// due because a limit of Newer ended is charged to that limit.
func (g *engine) refreshDue(e *entry, now int64) (started bool) {
	if e.flight != nil {
		return false
	}
	charged := e.demand.Load().chargeRefill(e.source.cfg, now)
	g.startLocked(e, wantValue).charged = charged
	return true
}

// saved implements saveOwner. The record of a value that was invalidated while it was being
// written is deleted again.
func (e *entry) saved(rec *Record, v store.Version, err error) {
	g := e.eng
	if err != nil {
		e.storageFailed("store", err)
		v = "" // it may be stored all the same
	}
	// Note what is stored now.
	var invalid bool
	g.locked(func() { invalid = g.publisher.noteSaved(e, rec, v) })
	if !invalid {
		return
	}
	// Delete what should not be. This goes on while the engine closes.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(g.ctx), storeTimeout)
	defer cancel()
	stored := invalidRecord{value: rec.Version, before: rec.CheckedAt.Add(1)}
	if err := g.keeper.delete(ctx, e.key, v, stored.condemned); err != nil {
		e.storageFailed("store", err)
	}
}

// storageFailed reports an error of the storage, which fails no refresh.
func (e *entry) storageFailed(op string, err error) {
	g := e.eng
	if op == "load" && errors.Is(err, context.Canceled) && g.ctx.Err() != nil {
		return // cancelled by Close
	}
	re := &RefreshError{Key: e.name(), Op: op, Stale: e.serving(), Err: err}
	g.reporter.report(re)
	g.reporter.observe(Event{Kind: "storage", Key: re.Key, Time: g.now.wall(), Err: re})
}

// shutdown ends everything that the engine does. The refresher calls it last.
func (g *engine) shutdown() {
	// End all flights, and let the storage take what was fetched.
	g.locked(func() {
		g.closed = true
		if g.keeper != nil {
			g.keeper.closing(closeWait * 9 / 10)
		}
		g.index.Range(func(_ string, in indexed) bool {
			g.dropLocked(in.entry, closed, ErrClosed)
			return true
		})
		g.sched.queue = nil
	})
	// Nothing starts in the pool any more. Records that wait to be written are written here.
	parked := g.pool.Close()
	go func() {
		defer close(g.flushed) // close waits for it
		for _, task := range parked {
			task.Do.Run() // writes a record; the task of a flight, which has ended, does nothing
		}
	}()
}

// close stops the engine and waits for everything it started, for some time.
func (g *engine) close() error {
	// Stop the refresher, which stops everything else.
	g.cancel()
	<-g.done
	// Wait for the storage, the workers and the callbacks, in this order.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(g.ctx), closeWait)
	defer cancel()
	var stuck error
	if !waitFor(ctx, g.flushed) {
		stuck = fmt.Errorf("the storage is stuck: %w", ctx.Err())
	}
	return errors.Join(stuck, g.pool.Wait(ctx), g.reporter.close(ctx))
}
