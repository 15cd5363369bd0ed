// Package store is the contract between everfresh and the stores that keep its
// records across restarts and share them between replicas. A store maps keys to
// bytes, each with a version.
//
//	everfresh            key:   a hash of the resource's key, of fixed length
//	   |                 value: an envelope, which is one encoded record
//	   |
//	   |  Load, Store, Delete, List; As[P] for an optional power
//	   v
//	wrapper              zero or more: a Storage around a Storage, for example
//	   |                 one that encrypts; its method As decides which powers
//	   |                 of the inner store are visible, and how
//	   v
//	Memory, or           keeps bytes and versions; never looks into a value
//	another Storage      and knows nothing about HTTP
//
// The cache hashes the key of a resource because the key is usually a URL. A URL can
// exceed any limit on the length of keys, and it can contain a secret, which must not
// appear in a file name, a listing or a server's log. The original key, the response
// headers and the body are inside the envelope, so the values of a store need the
// same protection as the responses themselves. The cache also defines the format of
// the envelope and its checksum, so that stores can stay small.
//
// # Reading and writing
//
// [Storage] has four methods. Its comment is the whole contract, one sentence for
// each rule. Writes take a [Condition], so that two replicas cannot overwrite each
// other's records unnoticed: [IfAbsent] creates, [IfVersion] replaces the version
// that was read, and the loser of a race gets a [*ConflictError]. There are no locks
// that could be lost or leaked.
//
// # Optional powers
//
// A feature that only some stores have is an interface of its own, such as [Pinger]
// or [io.Closer]. Find it with [As] and never with a type assertion, because a
// wrapper has no say in a type assertion.
//
// # Errors
//
// Every error of a store is one of the sentinels of this package, a
// [*ConflictError], the error of the context, or an error that is specific to the
// store. The first three may be wrapped, so test them with [errors.Is] and
// [errors.As].
package store
