// Package mongostore keeps records in a MongoDB collection that many processes can
// share.
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
// The tests run with go.mongodb.org/mongo-driver/v2 against FerretDB 1.24, which speaks
// MongoDB's protocol, behind a proxy that forwards one write at a time, because writes
// of FerretDB are not atomic. The tests have not been run against mongod. What this page
// says about replica sets, sharding and indexes is based on MongoDB's documentation.
//
// # The document
//
//	_id      the key in lower case hex, a string
//	version  a string of 26 letters and digits
//	size     the length of the value, a 64-bit integer
//	value    the value, binary
//
// A key can contain any bytes, but a BSON string cannot. BSON sorts binary data by
// length first, so keys with the same prefix would not be next to each other. Strings
// of hex digits sort like the bytes they stand for: List reads a range of the index on
// _id, and no values. MongoDB creates this index by itself; there is nothing to create,
// change or migrate.
//
// The collection must have the default collation, no other documents and no other
// unique index. It may be sharded by _id, but must not be capped. A document of any
// other form is [store.ErrCorrupt], and ends a List.
//
// # Versions
//
// Each Store draws a version of 130 random bits. There is no counter that could repeat
// a version after a restored backup or after a fail-over that lost a write.
//
// # Many processes
//
// Any number of stores, clients and processes may use one collection. A write is one
// operation on one document, which checks the condition and takes effect in the same
// step.
//
// Whatever the settings of the client are, writes wait for a majority of the replica
// set (and, with the set's default settings, for their journals), and reads ask the
// primary for data that a majority has. A write that returned nil survives the loss of a
// minority, and every later Load sees it.
//
// One gap remains: a primary that is cut off from the others still acts as the primary
// for some seconds (about ten, with the server's defaults) while a new one is elected.
// A client that can reach only the old one reads outdated data in that time. It cannot
// write, since no majority answers, so conditional writes are safe.
//
// # Time
//
// A call ends when its context does. If you use contexts without a deadline, set the
// client's Timeout: otherwise a write that finds no majority waits forever. Also set
// ServerSelectionTimeout, which is 30 seconds by default: it limits how long a call
// waits for a server before it returns [store.ErrUnavailable].
//
// If the server is part of a replica set, the driver repeats a call once when its
// connection is lost; the replica set makes sure that a write takes effect only once.
//
// # Errors
//
// The text of a server's error can quote documents, as in "dup key: { _id: ... }". An
// [Error] therefore keeps only its code, and the driver's error is dropped.
package mongostore
