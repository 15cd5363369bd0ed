package everfresh

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/everfresh-go/everfresh/internal/hostpool"
	"github.com/everfresh-go/everfresh/store"
)

const (
	// storeWait bounds how long a caller without a value waits for the storage
	// before the origin is asked.
	storeWait = 300 * time.Millisecond
	// storeTimeout bounds every call of the storage.
	storeTimeout = 5 * time.Second
	// loadQueue and saveQueue are the pool's queues for the storage. These names cannot
	// clash with an origin's. Loads and saves are separate so that a first Get never waits
	// for a write.
	loadQueue = "storage: load"
	saveQueue = "storage: save"
	// quarantinePrefix begins the keys of quarantined records in the storage.
	quarantinePrefix = "quarantine."
	// deleteTries bounds how often a delete is repeated because others keep writing the
	// record.
	deleteTries = 8
	// maxQuarantine bounds how many damaged records are kept for inspection.
	maxQuarantine = 100
)

// storeKey returns the key of a resource's record in the storage. It has a fixed length
// and tells nothing about the resource's key.
func storeKey(key string) string {
	sum := sha256.Sum256([]byte("everfresh/1\x00" + key))
	return hex.EncodeToString(sum[:])
}

// A keeper loads, stores and deletes records. It decides nothing: what is to happen, and
// under which condition, are arguments. It has its own mutex, which is taken after
// engine.mu and never the other way round, and is never held over a call of the storage.
type keeper struct {
	storage Storage
	pool    *hostpool.Pool
	ctx     context.Context //nolint:containedctx // Never ends: what was fetched is stored even while the cache closes.
	mono    func() int64

	mu          sync.Mutex
	savers      map[string]*saver // by key, while there is something to write; guarded by mu
	quarantined []string          // keys of quarantined records, oldest first; nil until they have been listed; guarded by mu
	slow        bool              // the last load ran out of time; guarded by mu
	closeBy     int64             // when Close gives up on the storage, monotonic; 0 before; guarded by mu
}

// newKeeper returns the keeper of a storage, or nil without one.
func newKeeper(ctx context.Context, s Storage, pool *hostpool.Pool, now clock) *keeper {
	if s == nil {
		return nil
	}
	return &keeper{
		storage: s, pool: pool, ctx: context.WithoutCancel(ctx), mono: now.mono,
		savers: make(map[string]*saver),
	}
}

// load reads the record of key. It returns store.ErrNotFound if there is none.
func (k *keeper) load(ctx context.Context, key string) (item store.Item, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = recovered(v)
		}
	}()
	return k.storage.Load(ctx, storeKey(key))
}

// loadTimeout bounds a load. It is short once the storage did not answer in time, since a
// storage that is down must not delay all first values one after the other.
func (k *keeper) loadTimeout() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.slow {
		return storeWait
	}
	return storeTimeout
}

// noteLoad notes whether a load ran out of time.
func (k *keeper) noteLoad(late bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.slow = late
}

// quarantine copies the damaged record of key to another key, and removes the oldest copy
// if there are too many.
func (k *keeper) quarantine(ctx context.Context, key string, damaged []byte) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = recovered(v)
		}
	}()
	errs := []error{k.findQuarantined(ctx)}
	name := quarantinePrefix + storeKey(key)
	if _, err := k.storage.Store(ctx, name, damaged, store.Any()); err != nil {
		return errors.Join(append(errs, err)...)
	}
	for _, oldest := range k.addQuarantined(name) {
		errs = append(errs, k.storage.Delete(ctx, oldest, store.Any()))
	}
	return errors.Join(errs...)
}

// findQuarantined lists what was quarantined before, once: a listing can read everything.
// The keeper quarantines nothing until then, so that a listing that comes late brings back
// no name whose copy was removed meanwhile.
func (k *keeper) findQuarantined(ctx context.Context) error {
	k.mu.Lock()
	known := k.quarantined != nil
	k.mu.Unlock()
	if known {
		return nil
	}
	found, err := k.listQuarantined(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.quarantined == nil {
		k.quarantined = append([]string{}, found...)
	}
	return err
}

func (k *keeper) listQuarantined(ctx context.Context) (names []string, err error) {
	for item, err := range k.storage.List(ctx, quarantinePrefix) {
		if err != nil {
			return names, err
		}
		names = append(names, item.Key)
	}
	return names, nil
}

// addQuarantined notes that name was quarantined, and returns the names that are too many.
func (k *keeper) addQuarantined(name string) (excess []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Contains(k.quarantined, name) {
		k.quarantined = append(k.quarantined, name)
	}
	n := max(len(k.quarantined)-maxQuarantine, 0)
	excess, k.quarantined = k.quarantined[:n], slices.Clone(k.quarantined[n:])
	return excess
}

// A saveOwner is told what became of a record that it saved. It is called without a lock.
type saveOwner interface {
	saved(rec *Record, v store.Version, err error)
}

// A saver writes the records of one key, one after the other, the newest last; also those
// of an entry that was unregistered meanwhile. It is guarded by keeper.mu.
type saver struct {
	task  hostpool.Task
	owner saveOwner
	next  *Record            // nil if there is nothing more to write
	stop  context.CancelFunc // ends what is being written; nil before
}

// save queues rec for the storage. A record of the same key that waits is replaced.
func (k *keeper) save(rec *Record, owner saveOwner) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.savers[rec.Key]; s != nil {
		s.owner, s.next = owner, rec
		return
	}
	s := &saver{owner: owner, next: rec}
	s.task.Run = func() { k.write(rec.Key, s) }
	k.savers[rec.Key] = s
	k.pool.Submit(saveQueue, &s.task, false) // not refused: Close ends flights before the pool
}

// forget drops the record of key that waits to be written. What is being written goes on.
func (k *keeper) forget(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.savers[key]; s != nil {
		s.next = nil
	}
}

// write writes what s has to write.
func (k *keeper) write(key string, s *saver) {
	for {
		rec, owner, ctx := k.nextToWrite(key, s)
		if rec == nil {
			return
		}
		version, err := k.writeRecord(ctx, rec)
		s.stop()
		owner.saved(rec, version, err)
	}
}

// nextToWrite takes the next record of s, and retires s if there is none.
func (k *keeper) nextToWrite(key string, s *saver) (rec *Record, owner saveOwner, ctx context.Context) {
	k.mu.Lock()
	defer k.mu.Unlock()
	rec, s.next = s.next, nil
	if rec == nil {
		delete(k.savers, key)
		return nil, nil, nil
	}
	ctx, s.stop = context.WithTimeout(k.ctx, min(storeTimeout, k.timeLeft()))
	return rec, s.owner, ctx
}

// timeLeft returns how long a write may take, which Close bounds. It is called with mu held.
func (k *keeper) timeLeft() time.Duration {
	if k.closeBy == 0 {
		return storeTimeout
	}
	return time.Duration(k.closeBy - k.mono())
}

// writeRecord encodes and writes rec.
func (k *keeper) writeRecord(ctx context.Context, rec *Record) (v store.Version, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = recovered(r)
		}
	}()
	data, err := rec.MarshalBinary()
	if err != nil {
		return "", err
	}
	return k.storage.Store(ctx, storeKey(rec.Key), data, store.Any())
}

// delete removes the record of key, which was stored last as v, as long as condemned says
// so of what is there. Another cache may have written the record again meanwhile.
func (k *keeper) delete(ctx context.Context, key string, v store.Version, condemned func(*Record) bool) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = recovered(r)
		}
	}()
	for range deleteTries {
		// Delete what was seen last.
		err = k.storage.Delete(ctx, storeKey(key), store.IfVersion(v))
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
		// Something else is there. Look at it.
		item, loadErr := k.storage.Load(ctx, storeKey(key))
		if errors.Is(loadErr, store.ErrNotFound) {
			return nil
		}
		var rec Record
		if loadErr == nil {
			loadErr = rec.UnmarshalBinary(item.Value)
		}
		if loadErr != nil || !condemned(&rec) {
			return loadErr
		}
		v = item.Version
	}
	return err
}

// closing bounds by when everything must have been written, and ends what takes longer.
func (k *keeper) closing(by int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closeBy = by
	for _, s := range k.savers {
		if s.stop != nil {
			time.AfterFunc(time.Duration(by-k.mono()), s.stop)
		}
	}
}
