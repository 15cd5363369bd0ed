package everfresh

import (
	"context"
	"errors"
	"fmt"

	"github.com/everfresh-go/everfresh/internal/refreshctx"
	"github.com/everfresh-go/everfresh/store"
)

// A stageRun runs one stage of a flight on a worker; a decode stage shares the run of its
// fetch. It is the attempt that does the work, and the flight that it is done for. The
// context of its callbacks holds it, which is how a nested Get finds out who is asking.
type stageRun struct {
	attempt
	f      *flight
	run    func(*stageRun) // does the stage
	load   loadResult      // of the open stage
	served bool            // the record that the open stage loaded is served
}

// A loadResult is the result of a storage load. It has a record only if that could be decoded,
// and a value only if err is nil.
type loadResult struct {
	record  *Record // nil if there is none, or it is damaged
	version store.Version
	value   any
	err     error
}

// suffices reports whether the flight has what it wants after the open stage. A flight that
// wants a fetch is never content with the record.
func (r *stageRun) suffices() bool {
	return r.f.want == wantLoad || r.f.want == wantValue && r.served
}

// flightOf returns the flight of g in whose callback ctx is used, or nil. A flight of another
// cache has workers of its own, and another mutex.
func flightOf(ctx context.Context, g *engine) *flight {
	if r, ok := ctx.Value(refreshctx.Key{}).(*stageRun); ok && r.f.e.eng == g {
		return r.f
	}
	return nil
}

// Remark implements refreshctx.Refresh. It may be called on any goroutine, also after the
// stage has ended.
func (r *stageRun) Remark(err error) {
	e := r.f.e
	e.eng.reporter.report(&RefreshError{Key: e.name(), Op: "decode", Stale: e.serving(), Err: redactForeign(err)})
}

// A stepper is a flight as the pool has it.
type stepper flight

// Run implements hostpool.Runner.
func (s *stepper) Run() { (*flight)(s).step() }

// step runs the present stage of f on this goroutine, and those that follow on the same
// worker.
func (f *flight) step() {
	r, ok := f.e.eng.begin(f)
	if !ok {
		return
	}
	defer r.release()
	for r.runStage() {
	}
}

// runStage runs the present stage. It reports whether the next one runs here, too. Whatever
// the callbacks do, the flight goes on or ends.
func (r *stageRun) runStage() (again bool) {
	defer func() { // deferred, since a callback may end its goroutine
		r.finish()
		again = r.f.e.eng.advance(r)
	}()
	r.run(r)
	return again
}

// open is the stage that loads the stored record and makes its value.
func (r *stageRun) open() {
	// Load. That there is no record is no error.
	keeper, key := r.f.e.eng.keeper, r.key
	r.load.err = errCallbackEnded
	item, err := keeper.load(r.ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		r.load.err = nil
		return
	}
	if err != nil {
		r.load.err = err
		return
	}
	// Decode. A damaged record is kept for inspection, and the value is fetched.
	rec, err := decodeStored(key, item.Value)
	if errors.Is(err, store.ErrCorrupt) {
		r.load.err = errors.Join(err, keeper.quarantine(r.ctx, key, item.Value))
		return
	}
	if err != nil {
		r.load.err = err
		return
	}
	// Make the value, as for an answer of the origin.
	r.load.record, r.load.version = rec, item.Version
	r.load.value, r.load.err = r.decodeRecord(rec)
}

// noteLoad reports a load that failed; the flight goes on without the storage. dropped says
// that the flight has ended meanwhile, which cancels a load. The keeper is told whether the
// storage answered in time, so that the next load does not wait as long.
func (r *stageRun) noteLoad(dropped bool) { //nolint:revive // The flag is a fact.
	if dropped && errors.Is(r.load.err, context.Canceled) {
		return
	}
	late := r.load.err != nil && r.ctx.Err() != nil
	if late {
		r.load.err = fmt.Errorf("the storage did not answer in time: %w", r.load.err)
	}
	r.f.e.eng.keeper.noteLoad(late)
	if r.load.err != nil {
		r.f.e.storageFailed("load", r.load.err)
	}
}
