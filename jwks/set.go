package jwks

import (
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// A Set is a JSON Web Key Set (RFC 7517, section 5) as [Parse] reads it. It is immutable and
// safe for use from many goroutines at once. The zero value is an empty set.
type Set struct {
	keys    []Key // in document order
	byID    map[string]*Key
	skipped []Skipped
}

// maxKeys bounds the keys of a document, those that are left out included.
const maxKeys = 1000

// Parse reads a JSON Web Key Set (RFC 7517, section 5). It keeps nothing of data. Built in
// are RSA keys of 2048 to 8192 bits, EC keys on P-256, P-384 and P-521 (RFC 7518, section 6)
// and OKP keys on Ed25519 (RFC 8037); [WithKeyParser] adds kinds.
//
// A key of another kind, a symmetric one, one that is broken, or one whose alg contradicts
// its type, is left out and told in [Set.Skipped], as RFC 7517 wants it; the rest of the set
// is used. Private members of a key are not read, and its public half is used. Keys with the
// same ID are all kept.
//
// Member names are case-sensitive, of two with the same name the last counts, and null is
// the same as absent. Where issuers are known to deviate without changing which key is meant,
// so may they here: base64url may be padded, and a number may lack leading zeros or have
// more of them than it should.
//
// The error is [ErrInvalidSet] for a document that is not a JSON object with an array of at
// most 1000 "keys" and nothing after it, and [ErrOption] for an invalid option. A set without
// keys is no error.
func Parse(data []byte, opts ...ParseOption) (*Set, error) {
	var p parser
	for _, opt := range opts {
		if opt == nil {
			return nil, fmt.Errorf("jwks: %w: it is nil", ErrOption)
		}
		opt.parse(&p)
	}
	if p.err != nil {
		return nil, p.err
	}
	list, count, err := keyList(data)
	if err != nil {
		return nil, err
	}
	keys, skipped := make([]Key, 0, count), []Skipped(nil)
	index := 0
	eachElement(list, func(raw []byte) {
		k, err := p.key(raw)
		if err == nil {
			keys = append(keys, k)
		} else {
			skipped = append(skipped, Skipped{index, bounded(k.ID), bounded(k.Type), err})
		}
		index++
	})
	return newSet(keys, skipped), nil
}

// keyList returns the array of keys in data, and how many elements it has.
func keyList(data []byte) (list []byte, count int, err error) {
	if !json.Valid(data) {
		return nil, 0, invalidSet("not a JSON document")
	}
	data = skipSpace(data)
	if data[0] != '{' {
		return nil, 0, invalidSet("not a JSON object")
	}
	err = eachMember(data, func(name, value []byte) error {
		if string(name) == "keys" {
			list = value
		}
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("jwks: %w: %w", ErrInvalidSet, err)
	}
	if len(list) == 0 || list[0] != '[' {
		return nil, 0, invalidSet(`no array of "keys"`)
	}
	eachElement(list, func([]byte) { count++ })
	if count > maxKeys {
		return nil, 0, fmt.Errorf("jwks: %w: %d keys, more than %d", ErrInvalidSet, count, maxKeys)
	}
	return list, count, nil
}

func invalidSet(reason string) error { return fmt.Errorf("jwks: %w: %s", ErrInvalidSet, reason) }

// bounded frees the rest of a long text.
func bounded(s string) string {
	if len(s) <= maxKeyID {
		return s
	}
	return strings.Clone(s[:maxKeyID])
}

// newSet takes over keys and skipped.
func newSet(keys []Key, skipped []Skipped) *Set {
	s := &Set{keys: keys, byID: make(map[string]*Key, len(keys)), skipped: skipped}
	for i := range slices.Backward(keys) { // so that a chain is in document order
		k := &keys[i]
		if k.ID == "" {
			continue
		}
		k.next = s.byID[k.ID]
		s.byID[k.ID] = k
	}
	return s
}

// Lookup returns the key with the given ID that may verify signatures of alg, such as
// "ES256": its type and curve, alg, use and key_ops allow it. Of several with that ID it is
// the first in the document. A token without a key ID has kid "", and the key is then the
// one key of the set that is for alg; there is none if there are two.
//
// An algorithm that is neither built in nor named by a key of [WithKeyParser] has no keys;
// "none" and those with a symmetric key have none ever.
func (s *Set) Lookup(kid, alg string) (*Key, bool) {
	k := s.find(kid, alg)
	return k, k != nil
}

// All returns the keys in document order, also those that are not for signatures.
func (s *Set) All() iter.Seq[*Key] {
	return func(yield func(*Key) bool) {
		for i := range s.keys {
			if !yield(&s.keys[i]) {
				return
			}
		}
	}
}

// Len returns how many keys [Set.All] has.
func (s *Set) Len() int { return len(s.keys) }

// Skipped returns the keys that were left out, in document order. The caller owns the slice.
func (s *Set) Skipped() []Skipped { return slices.Clone(s.skipped) }

// find is Lookup without the flag.
func (s *Set) find(kid, alg string) *Key { return s.findFor(kid, alg, algorithmBit(alg)) }

// findFor is find for a caller who knows the bit of alg. Every verification passes here: one
// look into a map, and no allocation.
func (s *Set) findFor(kid, alg string, bit algorithms) *Key {
	if kid == "" {
		return s.only(alg)
	}
	for k := s.byID[kid]; k != nil; k = k.next {
		if k.fits(alg, bit) {
			return k
		}
	}
	return nil
}

// only returns the key for alg if there is just one, whatever its ID.
func (s *Set) only(alg string) *Key {
	var found *Key
	bit := algorithmBit(alg)
	for i := range s.keys {
		k := &s.keys[i]
		if !k.fits(alg, bit) {
			continue
		}
		if found != nil {
			return nil
		}
		found = k
	}
	return found
}

// fitting returns all keys that fit, in document order. With kid "" they may have any ID.
func (s *Set) fitting(kid, alg string) (keys []*Key) {
	bit := algorithmBit(alg)
	if kid == "" {
		for i := range s.keys {
			if k := &s.keys[i]; k.fits(alg, bit) {
				keys = append(keys, k)
			}
		}
		return keys
	}
	for k := s.byID[kid]; k != nil; k = k.next {
		if k.fits(alg, bit) {
			keys = append(keys, k)
		}
	}
	return keys
}

// has reports whether there is a key with the ID, whatever it is for.
func (s *Set) has(kid string) bool { return s.byID[kid] != nil }

// usable reports whether there is a key that verifies anything.
func (s *Set) usable() bool {
	return slices.ContainsFunc(s.keys, func(k Key) bool { return k.fitsAny() })
}

// Skipped is a key of a document that is not in the [Set], and an error that says why. It
// wraps [errors.ErrUnsupported] if the key is of a kind that is not known; any other is
// broken, or symmetric.
type Skipped struct { //nolint:errname // It is a key first, of those that Set.Skipped returns.
	Index int    // its place in the array of keys, from 0
	ID    string // its kid as far as it can be read, cut to 256 bytes; a text of the issuer
	Type  string // its kty, likewise
	Err   error  // why; it shows nothing of the key itself
}

// Error names the key, with its ID quoted and cut, and says why it was left out.
func (s Skipped) Error() string {
	return fmt.Sprintf("key %d (kid %q, kty %q) is left out: %v", s.Index, cut(s.ID), cut(s.Type), s.Err)
}

// Unwrap returns Err.
func (s Skipped) Unwrap() error { return s.Err }
