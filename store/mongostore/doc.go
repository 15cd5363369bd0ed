// Package mongostore keeps records in a collection of MongoDB, for many processes
// that share them.
//
//	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://db.example:27017/"))
//	if err != nil {
//		return err
//	}
//	defer client.Disconnect(ctx)
//	s, err := mongostore.New(client.Database("myservice").Collection("records"))
//	if err != nil {
//		return err
//	}
//	defer s.Close()
//	cache := everfresh.NewCache(ctx, everfresh.WithStorage(s))
//
// The tests run with go.mongodb.org/mongo-driver/v2 on FerretDB 1.24, which speaks
// MongoDB's protocol, behind a proxy that lets in one write at a time, because FerretDB's
// are not atomic. They were not run on mongod. What this page says of replica sets,
// sharding and indexes is MongoDB's documentation.
//
// # The document
//
//	_id      the key in lower case hex, a string
//	version  a string of 26 letters and digits
//	size     the length of the value, a 64-bit integer
//	value    the value, binary
//
// A key is any bytes, which a BSON string is not, and BSON orders binary data by its
// length first, so that the keys with one prefix would not stand together. Strings of
// hex digits are ordered as the bytes are: List reads a range of the index on _id, and
// no value. This index is there by itself; nothing has to be made, changed or migrated.
//
// The collection must have the default collation, no other documents and no other
// unique index. It may be sharded by _id, and may not be capped. A document that is
// not as above is [store.ErrCorrupt], and ends a List.
//
// # Versions
//
// Each Store draws a version with 130 random bits. No counter has to be kept, and one
// that comes back after a restored backup, or after a fail-over that lost a write,
// does not come back as the version of something else.
//
// # Many processes
//
// Any number of stores, clients and processes may use one collection. A write is one
// operation on one document, which checks its condition and takes effect in the same
// step.
//
// Whatever the client's own settings are, writes wait for the majority of the replica
// set (and, with its default settings, for their journals), and reads ask the primary
// for what the majority has. A write that returned nil survives the loss of a minority,
// and a Load that begins after it sees it.
//
// One gap is left: a primary that is cut off takes itself for one for some seconds,
// with the server's defaults about ten, while another is elected. Who can reach only
// the old one reads in that time what was there before. It cannot write there, since
// no majority answers, so conditional writes are safe.
//
// # Time
//
// A call ends with its context. For contexts without a deadline, set the client's
// Timeout: a write that finds no majority waits for ever without. Set
// ServerSelectionTimeout too, which is 30 seconds by default: it is how long a call
// waits for a server before it returns [store.ErrUnavailable].
//
// The driver repeats a call that lost its connection once, if the server is part of a
// replica set, which then does the write once.
//
// # Errors
//
// The text of a server's error can quote documents, as in "dup key: { _id: ... }". An
// [Error] therefore keeps only its code, and the driver's error is dropped.
package mongostore
