package store

import (
	"context"
	"iter"
)

// MaxKeyLen is the maximum length of a key in bytes. Every [Storage] supports it.
const MaxKeyLen = 1024

// A Version identifies one stored value of one key. It is opaque: compare versions
// only for equality, and only those of the same key in the same store. The empty
// Version, which is the zero value, means that the item is absent.
type Version string

// An Item is a stored value with its key and its version. The caller of
// [Storage.Load] owns Value. The zero Item means that the item is absent.
type Item struct {
	Key     string
	Value   []byte // empty or nil if no bytes were stored
	Version Version
}

// A Meta describes a stored item without its value.
type Meta struct {
	Key     string
	Version Version
	Size    int64 // length of the value in bytes, as passed to Store
}

// A Storage keeps values under keys and gives each stored value a version.
// [Memory] is the simplest implementation.
//
// The rules below are the contract, one sentence each. Users rely on all of them,
// and an implementation follows all of them. Errors may be wrapped.
//
// Every call:
//
//   - Every method is safe for concurrent use.
//   - A call whose ctx is already done returns the error of ctx and changes nothing.
//   - The text of an error contains neither a key nor a value.
//
// When ctx ends during a call, the call returns soon with the error of ctx.
// A write that ended in this way, or with [ErrUnavailable], may or may not have
// taken effect; only a Load can tell.
//
// Keys and values:
//
//   - A key is any string of 0 to [MaxKeyLen] bytes, and keys are equal only if all their bytes are.
//   - Load, Store and Delete of a longer key return [ErrTooLarge].
//   - A value is zero or more bytes, up to a limit that the store documents;
//     Store of a larger value returns [ErrTooLarge] and changes nothing.
//
// Reading:
//
//   - Load of an absent key returns [ErrNotFound].
//   - Load returns the key, the value and the version of the last Store of the key.
//   - A Load that begins after a Store of the key has returned sees that Store or a later write.
//   - Store keeps a copy of the value, so the caller may change its bytes afterwards.
//   - Load returns a copy of the value, which the caller may change and later writes do not change.
//
// Writing, where a write is a Store or a Delete:
//
//   - A write without a condition succeeds whether the key is absent or present.
//   - A Store whose condition does not hold returns a [*ConflictError] and changes nothing.
//   - A Delete of a present key whose condition does not hold returns a [*ConflictError] and changes nothing.
//   - The Current of a [*ConflictError] is the version that the write found, and does not satisfy its condition.
//   - Of Stores that race with [IfVersion] for the version a key has, or with [IfAbsent] for an absent key,
//     exactly one succeeds.
//   - Of a Store and a Delete that race with [IfVersion] for the version a key has, exactly one succeeds.
//   - After a Delete that succeeded the key is absent.
//   - Delete of an absent key returns nil, whatever its condition.
//
// Because of the last rule, a Delete can be repeated safely when its result was
// lost: versions are never reused, so the item that it was meant for is gone. It
// also means that two Deletes that race may both succeed.
//
// Versions:
//
//   - Every successful Store gives the key a version that it never had, not even before a Delete.
//   - The version of a stored item is never empty, and is the same in Store, Load and List.
//
// Listing:
//
//   - List yields key, version and size of each item whose key begins with prefix, and nothing else.
//   - List itself reads nothing, and each loop over its result lists the items again.
//   - During concurrent writes, List yields each key that is not written exactly once, and any other at most once.
//   - A loop over a List may end early.
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
// A call that runs during Close completes or returns ErrClosed. The code that
// opened a store closes it.
type Storage interface {
	// Load returns the item stored under key, or [ErrNotFound]. With an error
	// the item is the zero Item. [ErrCorrupt] and [ErrKeyUnavailable] say that
	// there is an item, but that it cannot be read.
	Load(ctx context.Context, key string) (Item, error)

	// Store stores value under key if cond holds, and returns its version.
	// It returns a [*ConflictError] if cond does not hold.
	Store(ctx context.Context, key string, value []byte, cond Condition) (Version, error)

	// Delete removes the item under key if cond holds. It returns a
	// [*ConflictError] if there is an item and cond does not hold for it.
	Delete(ctx context.Context, key string, cond Condition) error

	// List yields the items whose keys begin with prefix. The empty prefix means
	// all items.
	List(ctx context.Context, prefix string) iter.Seq2[Meta, error]
}
