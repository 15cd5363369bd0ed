// Package sealed encrypts the records of any [store.Storage] and hides their keys.
//
//	keys, err := sealed.NewKeyRing(newest, older...)
//	s := sealed.New(inner, sealed.Keys{Names: names, Records: keys})
//
// An attacker who can read the inner store, its files, its dumps or its server's log sees
// how many records there are, how long they are and when they change, and nothing else.
// An attacker who can write to it can delete records and restore old ones, but cannot
// make a record that is accepted.
//
// # Two secrets
//
// The secret for names turns a key into the name of its record, with HMAC-SHA256. It
// must stay the same as long as the records are needed: with another secret they are not
// found. Without the secret, an attacker could find out from the names which URLs are
// stored by trying likely ones.
//
// The keys for records encrypt the records, with AES-256-GCM and a random nonce. A
// [KeyRing] holds them: a primary key, which encrypts, and others, which only decrypt.
// Random nonces allow 2^32 writes with one key. At a thousand per second that is 49
// days; at a thousand per hour it is 490 years. Any [AEAD] can replace the KeyRing, such
// as one of Tink's or a key service.
//
//	echo "2026-11:$(openssl rand -hex 32)" > /etc/myapp/key     # for ParseKey
//
// # The record
//
//	inner key    "sealed." | HMAC-SHA256 of the key, in hex
//	inner value  "EVFS" 0x01 | ciphertext | SHA-256 of these and of the inner key
//	ciphertext   of a KeyRing: length of the key id, 1 byte | key id |
//	             first 8 bytes of HMAC-SHA256 of a label with the key | nonce, 12 bytes | AES-256-GCM
//	plaintext    position, 8 bytes | length of the key, 2 bytes | key | value
//
// with lengths in big-endian order. The additional data is "EVFS" 0x01 and the inner key,
// so a record that was moved to another name cannot be decrypted.
//
// # Records that cannot be read
//
// The checksum distinguishes damage from a missing key: a record with a wrong checksum is
// [store.ErrCorrupt]. One with the right checksum that cannot be decrypted is
// [store.ErrKeyUnavailable]. So a process that was started with the wrong keys does not
// consider any record damaged, and only an unconditional Store or a Delete replaces
// records that it cannot read. Records of a newer version of this package are
// ErrKeyUnavailable as well.
//
// # Old records
//
// An attacker who can write to the inner store can restore a record that was valid
// earlier, and so can a restored backup. Each record therefore has a position in the
// history of its key, which every write increases. A Store without a condition reads the
// position if the process does not know it, and then writes with [store.IfVersion]. A
// [Store] remembers the highest position that it has seen of each key, for about a
// million keys with 150 bytes each, and returns [ErrReplayed] for an earlier one. After
// a restart it knows no positions, so it accepts an old record. Its use is then limited
// by the record itself: everfresh does not serve a value past WithMaxStale, whatever a
// store returns. A deleted record cannot be distinguished from one that never existed.
//
// For a key that was absent, the position is the time in nanoseconds. If two processes
// delete and store the same key again within less than the difference of their clocks,
// the one with the later clock may consider the other's record an old one, until the
// next Store.
//
// # Rotation
//
// All records stay readable all the time if every process has done each step before the
// next one begins:
//
//  1. Add the new key as a further one: ring.Set(old, new), or a restart.
//  2. Make it the primary: ring.Set(new, old).
//  3. Call [Store.Rekey] in one process, until it returns 0.
//  4. Remove the old key: ring.Set(new).
//
// # Listing
//
// A name does not show the prefix of its key. A List with any prefix therefore reads and
// decrypts all records. Records that it cannot read do not end it: it yields all others,
// and then one error.
//
// # Powers
//
// A Store is a [store.Rekeyer]. It has the powers [store.Pinger] and [io.Closer] if the
// inner store has them; closing it closes the inner store. It refuses all other powers,
// because a second way to write would write plaintext.
package sealed
