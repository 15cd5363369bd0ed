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
	// storeTimeout bounds saves, and the whole open stage with the decoder. Deletes end with
	// the caller's context.
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
	// ctx is the context of writes. It goes on when the cache's ends, since what was fetched
	// is still stored. stop ends it.
	ctx  context.Context //nolint:containedctx // See above.
	stop context.CancelFunc

	mu          sync.Mutex
	savers      map[string]*saver // by key, while there is something to write; guarded by mu
	quarantined []string          // keys of quarantined records, oldest first; nil until they have been listed; guarded by mu
	slow        bool              // the last load ran out of time; guarded by mu
}

// newKeeper returns the keeper of a storage, or nil without one.
func newKeeper(ctx context.Context, s Storage, pool *hostpool.Pool) *keeper {
	if s == nil {
		return nil
	}
	k := &keeper{storage: s, pool: pool, savers: make(map[string]*saver)}
	k.ctx, k.stop = context.WithCancel(context.WithoutCancel(ctx))
	return k
}

// load reads the record of key. It returns store.ErrNotFound if there is none. As in all
// calls of the storage, a panic in it is an error.
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

// noteLoad notes whether a load ran out of time. A load in time clears it.
func (k *keeper) noteLoad(late bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.slow = late
}

// quarantine copies the damaged record of key to another key, and removes the oldest copy
// if there are too many. The record itself stays until the next good answer replaces it.
func (k *keeper) quarantine(ctx context.Context, key string, damaged []byte) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = recovered(v)
		}
	}()
	// Copy it. Errors of listing and cleaning up are reported, but stop nothing.
	errs := []error{k.findQuarantined(ctx)}
	name := quarantinePrefix + storeKey(key)
	if _, err := k.storage.Store(ctx, name, damaged, store.Any()); err != nil {
		return errors.Join(append(errs, err)...)
	}
	// Make room.
	for _, oldest := range k.addQuarantined(name) {
		errs = append(errs, k.storage.Delete(ctx, oldest, store.Any()))
	}
	return errors.Join(errs...)
}

// findQuarantined lists what was quarantined before, once: a listing may read the whole storage.
// The keeper quarantines nothing until then, so that a listing that comes late brings back
// no name whose copy was removed meanwhile.
func (k *keeper) findQuarantined(ctx context.Context) error {
	k.mu.Lock()
	known := k.quarantined != nil
	k.mu.Unlock()
	if known {
		return nil
	}
	// List without the lock. Another load may do so at the same time; one of them wins.
	found, err := k.listQuarantined(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.quarantined == nil {
		k.quarantined = append([]string{}, found...)
	}
	return err
}

// listQuarantined returns the keys of all quarantined records, as far as it can.
func (k *keeper) listQuarantined(ctx context.Context) (names []string, err error) {
	for item, err := range k.storage.List(ctx, quarantinePrefix) {
		if err != nil {
			return names, err
		}
		names = append(names, item.Key)
	}
	return names, nil
}

// addQuarantined notes that name was quarantined, and returns the names that are too many,
// which it forgets.
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
// of an entry that was unregistered meanwhile. Its fields are guarded by keeper.mu.
type saver struct {
	keeper *keeper // immutable, as key
	key    string
	task   hostpool.Task
	owner  saveOwner
	next   *Record // nil if there is nothing more to write
}

// save queues rec for the storage. A record of the same key that waits is replaced.
func (k *keeper) save(rec *Record, owner saveOwner) {
	k.mu.Lock()
	defer k.mu.Unlock()
	// The saver of the key writes the newest record next. It may be busy with an older one.
	if s := k.savers[rec.Key]; s != nil {
		s.owner, s.next = owner, rec
		return
	}
	// There is none. Make one, which works until it has nothing more to write.
	s := &saver{keeper: k, key: rec.Key, owner: owner, next: rec}
	s.task.Do = s
	k.savers[rec.Key] = s
	k.pool.Submit(saveQueue, &s.task, false) // not refused: Close ends flights before the pool
}

// forget drops the record of key that waits to be written. What is being written goes on,
// and its owner is told.
func (k *keeper) forget(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.savers[key]; s != nil {
		s.next = nil
	}
}

// Run implements hostpool.Runner. It writes what there is to write, until there is nothing
// more.
func (s *saver) Run() {
	for {
		rec, owner := s.take()
		if rec == nil {
			return
		}
		version, err := s.keeper.writeRecord(rec)
		owner.saved(rec, version, err)
	}
}

// take returns the next record to write. If there is none, the saver retires.
func (s *saver) take() (*Record, saveOwner) {
	k := s.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	// Newer records may come while this one is written.
	rec := s.next
	s.next = nil
	if rec == nil {
		delete(k.savers, s.key)
	}
	return rec, s.owner
}

// writeRecord encodes and writes rec, whatever is there.
func (k *keeper) writeRecord(rec *Record) (v store.Version, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = recovered(r)
		}
	}()
	data, err := rec.MarshalBinary()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(k.ctx, storeTimeout)
	defer cancel()
	return k.storage.Store(ctx, storeKey(rec.Key), data, store.Any())
}

// delete removes the record of key, whose last known version is v. Another cache may have
// written the record meanwhile: then it goes if condemned says so of what is there now.
func (k *keeper) delete(ctx context.Context, key string, v store.Version, condemned func(*Record) bool) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = recovered(r)
		}
	}()
	// Each try is a compare-and-delete, so that a record which no one has looked at stays.
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

// closing ends all writes that take longer than d from now. What could not be written is
// reported, so d is a little less than Close waits.
func (k *keeper) closing(d time.Duration) { time.AfterFunc(d, k.stop) }
