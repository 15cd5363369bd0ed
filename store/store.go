package store

import (
	"context"
	"iter"
)

// MaxKeyLen is the length in bytes of the longest key that every [Storage] takes.
const MaxKeyLen = 1024

// A Version names one stored value of one key. It is opaque: compare versions
// for equality only, and only those that one store gave to one key. The empty
// Version, which is the zero value, stands for an absent item.
type Version string

// An Item is a stored value with its key and its version. Whoever got it from
// [Storage.Load] owns Value. The zero Item stands for an absent one.
type Item struct {
	Key     string
	Value   []byte // empty or nil if no bytes were stored
	Version Version
}

// A Meta describes a stored item without its value.
type Meta struct {
	Key     string
	Version Version
	Size    int64 // length of the value in bytes, as it was given to Store
}

// A Storage keeps values under keys and gives each stored value a version.
// [Memory] is the simplest one.
//
// The rules below are the contract, one sentence each: users rely on all of
// them, and an implementation keeps all of them. Errors may be wrapped.
//
// Every call:
//
//   - Every method may be called from many goroutines at once.
//   - A call whose ctx is already done returns the error of ctx and changes nothing.
//   - The text of an error contains neither a key nor a value.
//
// When ctx ends while a call is under way, the call returns soon with the error
// of ctx. A write that ended so, or with [ErrUnavailable], may have taken effect
// or not; only a Load can tell.
//
// Keys and values:
//
//   - A key is any string of 0 to [MaxKeyLen] bytes, and keys are equal only if all their bytes are.
//   - Load, Store and Delete of a longer key return [ErrTooLarge].
//   - A value is any bytes, none included, up to a limit that the store documents;
//     Store of more returns [ErrTooLarge] and changes nothing.
//
// Reading:
//
//   - Load of an absent key returns [ErrNotFound].
//   - Load returns the key, the value and the version of the last Store of the key.
//   - A Load that begins after a Store of the key has returned sees that Store or a later write.
//   - Store keeps a copy of the value, so the caller may change its bytes afterwards.
//   - Load returns a copy of the value, which the caller may change and no later write changes.
//
// Writing, where a write is a Store or a Delete:
//
//   - A write without a condition succeeds whether the key is absent or present.
//   - A Store whose condition does not hold returns a [*ConflictError] and changes nothing.
//   - A Delete of a present key whose condition does not hold returns a [*ConflictError] and changes nothing.
//   - The Current of a [*ConflictError] is the version the write met, and does not satisfy its condition.
//   - Of Stores that race with [IfVersion] for the version a key has, or with [IfAbsent] for an absent key,
//     exactly one succeeds.
//   - Of a Store and a Delete that race with [IfVersion] for the version a key has, exactly one succeeds.
//   - After a Delete that succeeded the key is absent.
//   - Delete of an absent key returns nil, whatever its condition.
//
// The last rule makes a Delete safe to repeat when its answer was lost: versions
// never come back, so the item it was meant for is gone. Hence two Deletes that
// race may both succeed.
//
// Versions:
//
//   - Every Store that succeeds gives the key a version it never had, not even before a Delete.
//   - The version of a stored item is never empty, and is the same in Store, Load and List.
//
// Listing:
//
//   - List yields key, version and size of each item whose key begins with prefix, and nothing else.
//   - List itself reads nothing, and each loop over what it returned lists anew.
//   - While others write, List yields each key that nobody writes exactly once, and any other at most once.
//   - A loop over a List may be left early.
//   - The body of a loop over a List may call any method of the store.
//   - A List whose ctx ends yields the error of ctx next, with a zero Meta, and stops.
//
// The order is up to the store. Any other error is yielded in the same way: last,
// with a zero Meta.
//
// A store that holds resources is also an [io.Closer]:
//
//   - A second Close returns nil.
//   - Every call after Close returns [ErrClosed].
//
// A call that runs while Close does completes or returns ErrClosed. Whoever
// opened a store closes it.
type Storage interface {
	// Load returns the item stored under key, or [ErrNotFound]. With an error
	// the item is the zero Item. [ErrCorrupt] and [ErrKeyUnavailable] say that
	// there is one which cannot be read.
	Load(ctx context.Context, key string) (Item, error)

	// Store stores value under key if cond holds, and returns its version.
	// It returns a [*ConflictError] if cond does not hold.
	Store(ctx context.Context, key string, value []byte, cond Condition) (Version, error)

	// Delete removes the item under key if cond holds. It returns a
	// [*ConflictError] if there is an item for which cond does not hold.
	Delete(ctx context.Context, key string, cond Condition) error

	// List yields what is stored under the keys that begin with prefix; the
	// empty prefix means all.
	List(ctx context.Context, prefix string) iter.Seq2[Meta, error]
}
