// Package sealed encrypts the records of any [store.Storage], and hides their
// keys.
//
//	keys, err := sealed.NewKeyRing(newest, older...)
//	s := sealed.New(inner, sealed.Keys{Names: names, Records: keys})
//
// Whoever can read the inner store, its files, its dumps or its server's log, sees
// how many records there are, how long, and when they change; nothing else. Whoever
// can write it can lose records and bring old ones back, but makes none that is
// taken for good.
//
// # Two secrets
//
// The secret of names turns a key into the name of its record, an HMAC-SHA256. It
// stays for as long as the records do: with another one they are not found. What
// it protects is that nobody can tell from a name, by trying likely URLs, what is
// stored.
//
// The keys of records encrypt them, with AES-256-GCM and a random nonce. A
// [KeyRing] holds them: one primary, which encrypts, and others, which only
// decrypt. Random nonces allow 2^32 records for one key; a thousand a second reach
// that in 49 days, a thousand records an hour never. Instead of a KeyRing any
// [AEAD] will do, such as one of Tink's or a key service.
//
//	echo "2026-11:$(openssl rand -hex 32)" > /etc/myapp/key     # for ParseKey
//
// # The record
//
//	inner key    "sealed." | HMAC-SHA256 of the key, in hex
//	inner value  "EVFS" 0x01 | ciphertext | SHA-256 of all that and of the inner key
//	ciphertext   of a KeyRing: length of the key id, 1 byte | key id |
//	             first 8 bytes of HMAC-SHA256 of a label with the key | nonce, 12 bytes | AES-256-GCM
//	plaintext    position, 8 bytes | length of the key, 2 bytes | key | value
//
// with lengths in big-endian order. The additional data is "EVFS" 0x01 and the
// inner key, so a record that was moved to another name cannot be opened.
//
// # What is wrong with a record
//
// The checksum tells damage from a missing key: a record that fails it is
// [store.ErrCorrupt], one that passes it and cannot be opened is
// [store.ErrKeyUnavailable]. So a process that was started with the wrong keys
// takes nothing for damaged, and only an unconditional Store or a Delete replaces
// what it cannot read. Records of a newer version of this package are
// ErrKeyUnavailable as well.
//
// # Old records
//
// A record that was valid once can be put back by whoever can write the inner
// store, or by a restored backup. Each record therefore has a position in the
// history of its key, which every write raises: a Store without a condition reads
// the position, if the process does not know it, and then writes with
// [store.IfVersion]. A [Store] remembers the highest position it saw of each key,
// of about a million keys, in 150 bytes each, and answers an earlier one with
// [ErrReplayed]. After a restart it knows no position, and an old record is taken
// for good. What bounds its use then is the record itself: everfresh does not serve
// a value past WithMaxStale, whatever a store says. Deleting a record cannot be
// told from its never having been there.
//
// The position of a key that was absent is the time in nanoseconds. If two
// processes delete and store one key anew within less than the difference of their
// clocks, the one with the later clock may take the other's record for an old one,
// until the next Store.
//
// # Rotation
//
// No record is unreadable at any time if each step is done in every process before
// the next one begins:
//
//  1. Add the new key as an other one: ring.Set(old, new), or a restart.
//  2. Make it the primary: ring.Set(new, old).
//  3. Call [Store.Rekey] in one process, until it returns 0.
//  4. Remove the old key: ring.Set(new).
//
// # Listing
//
// A name tells nothing of its key's beginning. A List of any prefix therefore reads
// and decrypts all records. Those it cannot read do not end it: it yields all
// others, and then one error.
//
// # Powers
//
// A Store is a [store.Rekeyer]. It has the powers [store.Pinger] and [io.Closer] if
// the inner store has them; closing it closes the inner store. It refuses every other one, as
// a second way to write would write plaintext.
package sealed
