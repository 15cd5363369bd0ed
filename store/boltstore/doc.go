// Package boltstore keeps records in one bbolt file: durable, embedded, for one
// process. Use it for many records that one process owns. For few records, one file
// for each is simpler (package filestore); many processes need a server.
//
//	s, err := boltstore.Open("records.db")
//	if err != nil {
//		return err
//	}
//	defer s.Close()
//	cache := everfresh.NewCache(ctx, everfresh.WithStorage(s))
//
// A store made with [Open] owns the file. [New] uses a bucket of a file that the
// program has already opened, and leaves closing the file to the program. Any number
// of stores may share a file, and even a bucket.
//
// # One process
//
// bbolt locks the file. A second Open, by this process or another, waits for
// [WithTimeout] and returns [store.ErrUnavailable].
//
// # Durability
//
// A write that returned nil has been synced to the disk. It survives a crash of the
// process or the system and a loss of power, unless the program that owns the file
// has set NoSync. Every write is a transaction of its own and therefore atomic. It
// costs one or two syncs, a few milliseconds on most disks, and only one write runs
// at a time. Reads do not wait, except while the file grows.
//
// # The bucket
//
// A stored key begins with the byte 'k', because bbolt does not allow empty keys. A
// stored value begins with its version, eight bytes in big-endian order. Versions are
// numbers of the bucket's sequence, which bbolt stores with the bucket: they only
// grow, and are not reused when an item is deleted. Deleting the bucket or resetting
// its sequence breaks that rule of the contract. A file never shrinks; the space of
// deleted items is reused. To return it to the system, copy the closed file with the
// command bbolt compact.
//
// # Contexts
//
// bbolt waits for its locks and for the disk without a context. Each call therefore
// runs in a goroutine, which the caller leaves behind when ctx ends. A write that has
// not begun by then does nothing. Close waits for all these goroutines.
//
// # Damage
//
// On a damaged or truncated file, bbolt panics or causes a memory fault. Both are
// reported as [store.ErrCorrupt]. If it happens at the beginning or the end of a
// transaction, where bbolt holds locks, the store rejects every further call; Close
// then leaves the file open and returns an error that says so.
package boltstore
