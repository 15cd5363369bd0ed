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
// A Store has returned when the back store has taken the value, so it is as durable
// as there, and a write that fails leaves nothing in memory. Memory never decides a
// condition, so conditional writes stay right however many processes share the back
// store. What others write is seen late: a Load may return what this process read or
// wrote up to [WithMaxAge] ago. A conditional write that builds on such an item gets
// a [*store.ConflictError], and the Load after it asks the back store.
//
// # Write-behind
//
// Writes of one key within the interval are one write to the back store, of the last
// value. They are counted against [WithMaxBytes] and never dropped to make room: a
// write that finds memory full of them flushes first, and fails with
// [store.ErrUnavailable] if that fails. What cannot be written stays, is read from
// memory, is reported, and is tried again after each interval. [Store.Flush] writes at
// once, and Close writes what is left and says how much it could not.
//
// The price is part of the contract of [store.Storage]. In the names of the checks of
// storagetest, these are not kept:
//
//   - Reopen: after Close and a new start a record has its value, but the version that
//     the back store gave it.
//   - TwoHandles, TwoHandlesRace: a second handle or process sees writes after the
//     flush only, and conditions hold among the writes of one handle. Of two handles
//     that write one key, the last to flush wins.
//
// Besides, a record that memory had no room for comes back with the version of the back
// store: a conditional write with the former version gets a [*store.ConflictError],
// as if somebody had written the record again, and never succeeds wrongly. A value that
// the back store finds too large is refused at the flush, not at the Store.
//
// # Goroutines
//
// With write-behind there is one goroutine while there is something to write; Close
// waits for it. Otherwise there is none.
//
// # Encryption
//
// In tiered.New(sealed.New(disk, keys)) memory holds plaintext, and a Load of what it
// holds decrypts nothing. In sealed.New(tiered.New(disk), keys) memory holds what the
// disk does.
//
// # Powers
//
// A Store is an [io.Closer]; it does not close the back store, which belongs to whoever
// opened it. It is a [store.Pinger] and a [store.Rekeyer] if the back store is. It
// refuses every other power, as a second way to write would go past memory.
package tiered
