package everfresh

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/everfresh-go/everfresh/internal/hostpool"
	"github.com/everfresh-go/everfresh/internal/rfc9111"
	"github.com/everfresh-go/everfresh/store"
)

const (
	// storeWait bounds how long a caller without a value waits for the storage
	// before the origin is asked.
	storeWait = 300 * time.Millisecond
	// storeTimeout bounds every call of the storage.
	storeTimeout = 5 * time.Second
	// loadLane and saveLane are the lanes of the storage's tasks. No origin has these
	// names. They are two, so that a first value never waits for another's record to
	// be written.
	loadLane = "storage: load"
	saveLane = "storage: save"
	// deleteTries bounds how often a delete follows a record that others keep writing.
	deleteTries = 8
	// maxQuarantine bounds how many damaged records are kept aside.
	maxQuarantine = 100
	// clockSlack is how far in the future a record may have been made before its
	// clock is taken for wrong, and the record for stale.
	clockSlack = 5 * time.Minute
)

// storeKey is the name of a resource's record in the storage: of fixed length, and
// telling nothing of the key.
func storeKey(key string) string {
	sum := sha256.Sum256([]byte("everfresh/1\x00" + key))
	return hex.EncodeToString(sum[:])
}

// load is the stage that asks the storage for the record of f's entry.
func (c *Cache) load(f *flight) {
	a, ok := c.begin(f)
	if !ok {
		return
	}
	defer a.release()
	got := loadedRecord{err: errCallbackEnded}
	defer func() { c.tookRecord(f, a, &got) }() // deferred, as a callback may end its goroutine
	got.rec, got.version, got.err = c.loadRecord(a.ctx, f.e.key)
	if got.rec != nil && got.err == nil {
		a.exchange.at = got.rec.FetchedAt
		got.err = errCallbackEnded
		got.value, got.err = a.decodeRecord(got.rec)
	}
}

// A loadedRecord is what a load brought.
type loadedRecord struct {
	rec     *Record
	version store.Version
	value   any
	err     error
}

// tookRecord goes on with what a load brought.
func (c *Cache) tookRecord(f *flight, a *attempt, got *loadedRecord) {
	err := got.err
	late := err != nil && a.ctx.Err() != nil
	if late {
		err = fmt.Errorf("the storage did not answer in time: %w", err)
	}
	if err != nil {
		c.storageFailed(f.e, "load", err)
	}
	c.mu.Lock()
	c.slowStore = late
	c.mu.Unlock()
	c.loaded(f, got.rec, got.version, got.value, err)
}

// loadTimeoutLocked bounds a load: by less once the storage did not answer, as one that is
// gone must not hold up all first values one after the other.
func (c *Cache) loadTimeoutLocked() time.Duration {
	if c.slowStore {
		return storeWait
	}
	return storeTimeout
}

// loadRecord reads and decodes the record of key. It returns nil without an error when
// there is none. A damaged record is copied aside under another key.
func (c *Cache) loadRecord(ctx context.Context, key string) (rec *Record, v store.Version, err error) {
	defer func() {
		if r := recover(); r != nil {
			rec, err = nil, recovered(r)
		}
	}()
	name := storeKey(key)
	item, err := c.cfg.storage.Load(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	rec = new(Record)
	err = rec.UnmarshalBinary(item.Value)
	if err == nil && rec.Key != key {
		err = fmt.Errorf("%w: it belongs to another key", store.ErrCorrupt)
	}
	if errors.Is(err, store.ErrCorrupt) {
		return nil, "", errors.Join(err, c.quarantine(ctx, name, item.Value))
	}
	return rec, item.Version, err
}

// quarantine copies a damaged record aside, and removes the oldest copy if there are too
// many.
func (c *Cache) quarantine(ctx context.Context, name string, damaged []byte) error {
	errs := []error{c.findAside(ctx)}
	aside := quarantinePrefix + name
	if _, err := c.cfg.storage.Store(ctx, aside, damaged, store.Any()); err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, oldest := range c.addAside(aside) {
		errs = append(errs, c.cfg.storage.Delete(ctx, oldest, store.Any()))
	}
	return errors.Join(errs...)
}

// findAside notes what was kept aside before, once: a listing may read everything. The
// cache keeps nothing aside itself until this is noted, so that a listing that comes late
// brings back no name whose copy was removed meanwhile.
func (c *Cache) findAside(ctx context.Context) error {
	c.mu.Lock()
	known := c.aside != nil
	c.mu.Unlock()
	if known {
		return nil
	}
	found, err := c.listAside(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.aside == nil {
		c.aside = append([]string{}, found...)
	}
	return err
}

func (c *Cache) listAside(ctx context.Context) (names []string, err error) {
	for item, err := range c.cfg.storage.List(ctx, quarantinePrefix) {
		if err != nil {
			return names, err
		}
		names = append(names, item.Key)
	}
	return names, nil
}

// addAside notes that name was kept aside, and returns the names of those that are too
// many.
func (c *Cache) addAside(name string) (excess []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.aside, name) {
		c.aside = append(c.aside, name)
	}
	n := max(len(c.aside)-maxQuarantine, 0)
	excess, c.aside = c.aside[:n], slices.Clone(c.aside[n:])
	return excess
}

// decodeRecord makes the value of a stored record.
func (a *attempt) decodeRecord(rec *Record) (v any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = recovered(r)
		}
	}()
	req, err := a.request()
	if err != nil {
		return nil, err
	}
	resp := memoryResponse(&http.Response{ //nolint:bodyclose // It is in memory.
		Status: fmt.Sprintf("%d %s", rec.Status, http.StatusText(rec.Status)), StatusCode: rec.Status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: rec.Header.Clone(), Request: req,
	}, rec.Body)
	v, err = a.decode(a.ctx, resp)
	return v, redactForeign(err)
}

// skipLoad goes on without the storage, for somebody who has waited long enough.
func (c *Cache) skipLoad(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case f.ended || f.stage != loadStage:
	case f.loading:
		f.cancel()
	case c.pool.Take(&f.task):
		f.e.warm = true
		c.launchLocked(f)
		c.storageFailed(f.e, "load", fmt.Errorf("the storage did not answer in time: %w", context.DeadlineExceeded))
	}
}

// loaded goes on after the load: with what was found, or with the next stage.
func (c *Cache) loaded(f *flight, rec *Record, version store.Version, value any, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.ended {
		return
	}
	e := f.e
	f.loading = false
	if f.renewed != e.renewed {
		f.discarded = true
		c.endLocked(f, nil)
		return
	}
	e.warm = true
	e.readonly = errors.Is(err, errNewerRecord)
	served := rec != nil && err == nil && c.adoptLocked(e, rec, version, value)
	if f.loadOnly || served && !f.must {
		c.endLocked(f, nil)
		return
	}
	e.due = never // the flight goes on
	c.queueLocked(e)
	c.launchLocked(f)
}

// adoptLocked takes over a stored record. It publishes the value, if it may still be
// served, and plans its refresh.
func (c *Cache) adoptLocked(e *entry, rec *Record, version store.Version, value any) bool {
	wall, mono := c.now()
	m := metaOf(e.cfg, rec)
	if end := later(later(wall, m.plan.fresh), e.cfg.maxStale); e.cfg.maxStale > 0 && m.serveUntil > end {
		capped := *rec // made by a clock that was ahead; saved so, lest each restart begin anew
		m.serveUntil, capped.ServeUntil = end, wallTime(end)
		rec = &capped
	}
	e.meta, e.record, e.stored = m, rec, version
	if m.serveUntil != 0 && m.serveUntil <= wall {
		return false
	}
	backedOff := e.adoptFailures(rec, wall, mono)
	m.err = e.lastErr
	e.holder.set(value, m)
	e.expireAt(m, wall, mono)
	due := mono + m.checkedAt + int64(m.plan.next) - wall
	if due <= mono || max(m.fetchedAt, m.checkedAt) > wall+int64(clockSlack) {
		due = mono + int64(e.spread()) // stale, or made by a clock that is not ours
	}
	e.setDue(max(due, backedOff), wall, mono)
	c.announceLocked(e)
	return true
}

// adoptFailures goes on with the back-off that rec tells of, and returns when it ends, or
// 0. It is not longer than a back-off can be, whatever the clock showed then.
func (e *entry) adoptFailures(rec *Record, wall, mono int64) (end int64) {
	if rec.Failures <= 0 {
		return 0
	}
	longest := max(e.cfg.backoffMax, retryAfterMax)
	wait := min(time.Duration(wallNanos(rec.NotBefore)-wall), longest)
	if wait <= 0 {
		return 0
	}
	e.failures, e.retryAt = rec.Failures, later(mono, wait)
	e.lastErr = &RefreshError{
		Key: e.name, Op: "fetch", Attempt: e.failures, Next: wallAt(e.retryAt, wall, mono), Stale: true, Err: errFailedBefore,
	}
	return e.retryAt
}

// errFailedBefore stands for failures of another process.
var errFailedBefore = errors.New("failed before the restart")

// keepFailureLocked puts a failure into the stored record.
func (c *Cache) keepFailureLocked(e *entry) {
	if e.record == nil || e.readonly {
		return
	}
	rec := *e.record
	rec.Failures, rec.NotBefore = e.failures, e.lastErr.Next
	e.record = &rec
	c.saveLocked(e, &rec)
}

// metaOf returns what is known of a stored value. Its freshness is worked out again, as
// the options may have changed, and so that values stored together do not stay together.
// It is not served longer than the record says, nor than the options say.
func metaOf(cfg *config, rec *Record) *meta {
	m := &meta{
		version: rec.Version, fetchedAt: wallNanos(rec.FetchedAt), checkedAt: wallNanos(rec.CheckedAt),
		hardEnd: wallNanos(rec.ExpiresAt),
		etag:    rec.Header.Get("Etag"), lastModified: rec.Header.Get("Last-Modified"),
		hash: bodyHash(rec.Body), size: len(rec.Body), code: rec.Status,
	}
	var left time.Duration
	if m.hardEnd != 0 {
		left = rec.ExpiresAt.Sub(rec.CheckedAt)
	}
	stored := rec.FreshUntil.Sub(rec.CheckedAt)
	fresh := rfc9111.Of(rec.Header, rec.CheckedAt, rec.CheckedAt, false)
	if fresh.Source == rfc9111.None {
		fresh.Lifetime = stored + fresh.Age
	}
	m.plan = planFor(cfg, fresh, left, false, random)
	m.plan.fresh, m.plan.next = min(m.plan.fresh, stored), min(m.plan.next, stored)
	m.schedule(cfg, rec.CheckedAt)
	if end := wallNanos(rec.ServeUntil); end != 0 && (m.serveUntil == 0 || end < m.serveUntil) {
		m.serveUntil = end
	}
	return m
}

// keepLocked makes the record of a good answer and queues it for the storage.
func (c *Cache) keepLocked(e *entry, out *outcome) {
	if c.cfg.storage == nil || e.readonly || out.unread && e.record == nil {
		return
	}
	m := e.meta
	rec := &Record{
		Key: e.key, Version: m.version, Status: m.code, Header: out.headers(e.record), Body: out.body,
		FetchedAt: wallTime(m.fetchedAt), CheckedAt: wallTime(m.checkedAt),
		FreshUntil: wallTime(m.freshUntil), ServeUntil: wallTime(m.serveUntil), ExpiresAt: wallTime(m.hardEnd),
		Priority: e.cfg.priority,
	}
	if e.record != nil {
		rec.unknown = e.record.unknown
		if out.unread {
			rec.Body = e.record.Body
		}
	}
	e.record = rec
	c.saveLocked(e, rec)
}

// A saver writes the records of one key, one after the other, the newest last; also
// those of an entry that was unregistered meanwhile. It is guarded by Cache.mu.
type saver struct {
	task hostpool.Task
	e    *entry
	next *Record            // nil if there is nothing more to write
	stop context.CancelFunc // ends what is being written; nil before
}

// saveLocked queues rec for the storage.
func (c *Cache) saveLocked(e *entry, rec *Record) {
	if s := c.savers[e.key]; s != nil {
		s.e, s.next = e, rec
		return
	}
	s := &saver{e: e, next: rec}
	s.task.Run = func() { c.save(e.key, s) }
	c.savers[e.key] = s
	c.pool.Submit(saveLane, &s.task, false) // not refused: Close ends flights before the pool
}

// save writes what s has to write.
func (c *Cache) save(key string, s *saver) {
	for {
		c.mu.Lock()
		e, rec := s.e, s.next
		s.next = nil
		timeout := min(storeTimeout, c.timeLeftLocked())
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), timeout)
		s.stop = cancel
		if rec == nil {
			delete(c.savers, key)
		}
		c.mu.Unlock()
		if rec == nil {
			cancel()
			return
		}
		version, err := c.saveRecord(ctx, rec)
		cancel()
		if err != nil {
			c.storageFailed(e, "store", err)
			version = "" // it may be stored all the same
		}
		c.saved(e, rec, version)
	}
}

// timeLeftLocked returns how long the storage may take, which Close bounds.
func (c *Cache) timeLeftLocked() time.Duration {
	if c.closeBy == 0 {
		return storeTimeout
	}
	return time.Duration(c.closeBy - c.mono())
}

// saved notes what the storage holds. A value that was invalidated while it was being
// written is deleted again.
func (c *Cache) saved(e *entry, rec *Record, version store.Version) {
	c.mu.Lock()
	late := e.doomed == rec.Version && (e.record == nil || e.record.Version != rec.Version)
	if !late && version != "" {
		e.stored = version
	}
	c.mu.Unlock()
	if !late {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), storeTimeout)
	defer cancel()
	doomed := withdrawal{rec.Version, rec.CheckedAt.Add(1)}
	if err := c.deleteRecord(ctx, e.key, version, doomed); err != nil {
		c.storageFailed(e, "store", err)
	}
}

// saveRecord writes rec.
func (c *Cache) saveRecord(ctx context.Context, rec *Record) (v store.Version, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = recovered(r)
		}
	}()
	data, err := rec.MarshalBinary()
	if err != nil {
		return "", err
	}
	return c.cfg.storage.Store(ctx, storeKey(rec.Key), data, store.Any())
}

// A withdrawal tells of which value records must go: of one version, if it was last checked
// before a moment. The origin may give the same bytes anew, which are the same version.
type withdrawal struct {
	version uint64
	before  time.Time
}

// deleteRecord removes the record of key, which was stored last as v, as long as it is one
// that doomed tells of. Another cache may have written it again meanwhile.
func (c *Cache) deleteRecord(ctx context.Context, key string, v store.Version, doomed withdrawal) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = recovered(r)
		}
	}()
	for range deleteTries {
		err = c.cfg.storage.Delete(ctx, storeKey(key), store.IfVersion(v))
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
		item, loadErr := c.cfg.storage.Load(ctx, storeKey(key))
		if errors.Is(loadErr, store.ErrNotFound) {
			return nil
		}
		var rec Record
		if loadErr == nil {
			loadErr = rec.UnmarshalBinary(item.Value)
		}
		if loadErr != nil || rec.Version != doomed.version || !rec.CheckedAt.Before(doomed.before) {
			return loadErr // a newer value or a newer check is there already
		}
		v = item.Version
	}
	return err
}

// storageFailed tells sink and observer of an error of the storage, which fails no
// refresh.
func (c *Cache) storageFailed(e *entry, op string, err error) {
	if op == "load" && errors.Is(err, context.Canceled) && c.ctx.Err() != nil {
		return // called off by Close
	}
	re := &RefreshError{Key: e.name, Op: op, Stale: e.holder.kept() != nil, Err: err}
	c.report(re)
	c.observe(Event{Kind: "storage", Key: e.name, Time: c.wall(), Err: re})
}
