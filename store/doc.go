// Package store is the contract between everfresh and the places that keep its
// records across restarts and between replicas: bytes under keys, each with a
// version.
//
//	everfresh            key:   a hash of the resource's key, always of one length
//	   |                 value: an envelope, that is one encoded record
//	   |
//	   |  Load, Store, Delete, List; As[P] for an optional power
//	   v
//	wrapper              any number of them, none included: a Storage around a
//	   |                 Storage, for example one that encrypts; its method As
//	   |                 decides which powers of the inner store show, and how
//	   v
//	Memory, or           keeps bytes and versions; never looks into a value
//	another Storage      and knows nothing of HTTP
//
// The engine hashes the key of a resource because that key is usually a URL: a
// URL can exceed any limit on keys, and it can hold a secret, which must not
// show in a file name, a listing or a server's log. The clear key, the response
// headers and the body are inside the envelope, so the values of a store deserve
// the same protection as what they came from. The engine also owns the
// envelope's format and its checksum; a store stays small because it does not.
//
// # Reading and writing
//
// [Storage] has four methods. Its comment is the whole contract, one sentence a
// rule. Writes take a [Condition], so that two replicas cannot overwrite each
// other unseen: [IfAbsent] creates, [IfVersion] replaces what was read, and the
// loser of a race gets a [*ConflictError]. There are no locks to hold, lose or
// leak.
//
// # Optional powers
//
// What only some stores can do is an interface of its own, such as [Pinger] and
// [io.Closer]. Find it with [As] and never with a type assertion, which a
// wrapper cannot answer.
//
// # Errors
//
// Every error of a store is one of the sentinels of this package, a
// [*ConflictError], the error of the context, or something that only the store
// itself can explain; the first three may be wrapped, so test them with
// [errors.Is] and [errors.As].
package store
