// Package tiered puts memory in front of any [store.Storage].
//
//	s := tiered.New(back)                                                  // write-through
//	s := tiered.New(back, tiered.WithWriteBehind(10*time.Minute, report))  // write-behind
//	defer s.Close()                                                        // flushes; then close back
//
//	              write-through                       write-behind
//	Load          memory, else back                   memory, else back
//	Store         back, then memory                   memory; back after the interval
//	conditions    decided by back                     decided by memory
//	versions      those of back                       its own, those of back after eviction or restart
//	writers       any number of processes             this process only
//	a crash       loses nothing that was stored       loses at most what was stored since the last flush
//
// # Write-through
//
// Store returns after the back store has stored the value. So the value is as durable as
// in the back store, and a write that fails leaves nothing in memory. Memory never
// decides a condition, so conditional writes are correct however many processes share
// the back store. Writes of other processes are seen late: a Load may return an item
// that this process read or wrote up to [WithMaxAge] ago. A conditional write that is
// based on such an item gets a [*store.ConflictError], and the next Load asks the back
// store.
//
// # Write-behind
//
// All writes of one key within the interval become one write to the back store, of the
// last value. Pending writes count against [WithMaxBytes] and are never dropped to make
// room: a write that finds memory full of them flushes first, and fails with
// [store.ErrUnavailable] if the flush fails. A value that cannot be written is reported,
// stays readable in memory, and is retried after each interval. [Store.Flush] writes
// immediately. Close writes what is left, and reports how many writes failed.
//
// Write-behind does not follow the whole contract of [store.Storage]. The exceptions,
// by the names of the checks in storagetest:
//
//   - Reopen: after Close and a restart, a record has the same value, but the version
//     that the back store gave it.
//   - TwoHandles, TwoHandlesRace: a second handle or process sees writes only after the
//     flush, and conditions apply only to the writes of one handle. If two handles write
//     the same key, the last flush wins.
//
// Also, a record that was evicted from memory comes back with the version of the back
// store. A conditional write with its earlier version gets a [*store.ConflictError], as
// if the record had been written again; it never succeeds by mistake. A value that is
// too large for the back store is rejected by the flush and not by Store.
//
// # Goroutines
//
// With write-behind there is one goroutine while writes are pending; Close waits for it.
// Otherwise there is none.
//
// # Encryption
//
// In tiered.New(sealed.New(disk, keys)) memory holds plaintext, and loading an item from
// memory does not decrypt anything. In sealed.New(tiered.New(disk), keys) memory holds
// the same ciphertext as the disk.
//
// # Powers
//
// A Store is an [io.Closer]. It does not close the back store, which is owned by the
// code that opened it. It is a [store.Pinger] and a [store.Rekeyer] if the back store
// is. It refuses all other powers, because a second way to write would bypass memory.
package tiered
