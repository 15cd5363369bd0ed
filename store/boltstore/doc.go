// Package boltstore keeps records in one bbolt file: durable, embedded, for one
// process. It is the store for many records that one process owns; files, a record
// each, are simpler for few, and a server is needed for many processes.
//
//	s, err := boltstore.Open("records.db")
//	if err != nil {
//		return err
//	}
//	defer s.Close()
//	cache := everfresh.NewCache(ctx, everfresh.WithStorage(s))
//
// [Open] owns the file. [New] takes a bucket of a file that the program has open
// anyway, and leaves closing it to the program; any number of stores may share a
// file, and a bucket.
//
// # One process
//
// bbolt locks the file. A second Open, by this process or another, waits for
// [WithTimeout] and returns [store.ErrUnavailable].
//
// # Durability
//
// A write that returned nil has been synced to the disk and survives a crash of the
// process, of the system and of the power, unless the program that owns the file set
// NoSync. Every write is a transaction of its own: all of it happens or nothing. It
// costs one or two syncs, some milliseconds on most disks, and only one write runs
// at a time. Reads wait for nobody, but while the file grows.
//
// # The bucket
//
// A key is stored after the byte 'k', because bbolt has no empty keys; a value after
// its version, eight bytes in big-endian order. Versions are the bucket's sequence,
// which bbolt stores with it: they only grow, and outlive their items. Whoever
// deletes the bucket or sets its sequence back breaks that rule of the contract. A
// file never shrinks; the space of deleted items is used again. To give it back to
// the system, copy the closed file with the command bbolt compact.
//
// # Contexts
//
// bbolt waits for its locks and for the disk without a context. Each call therefore
// runs in a goroutine, which is left behind when ctx ends; a write that has not
// begun by then does nothing. Close waits for all of them.
//
// # Damage
//
// bbolt reports a damaged or truncated file in panics and memory faults. They become
// errors that are [store.ErrCorrupt]. After one at the beginning or end of a
// transaction, where bbolt holds locks, the store refuses every call; Close then
// leaves the file open and says so.
package boltstore
