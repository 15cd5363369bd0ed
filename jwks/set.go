package jwks

import (
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// A Set is a JSON Web Key Set (RFC 7517, section 5), as parsed by [Parse]. It is immutable
// and safe for concurrent use. The zero value is an empty set.
type Set struct {
	keys    []Key // in document order
	byID    map[string]*Key
	skipped []Skipped
}

// maxKeys limits the number of keys in a document, including those that are left out.
const maxKeys = 1000

// Parse parses a JSON Web Key Set (RFC 7517, section 5). It does not retain data. RSA keys
// of 2048 to 8192 bits, EC keys on P-256, P-384 and P-521 (RFC 7518, section 6) and OKP keys
// on Ed25519 (RFC 8037) are built in; [WithKeyParser] adds other types.
//
// A key that is of another type, symmetric or broken, or whose alg contradicts its type, is
// left out and reported in [Set.Skipped], as RFC 7517 recommends; the rest of the set is
// used. Private members of a key are ignored, and its public key is used. Keys with the same
// ID are all kept.
//
// Member names are case-sensitive, the last of several members with the same name is used,
// and null counts as absent. Common deviations that do not change the key are accepted:
// base64url may be padded, and a number may lack leading zeros or have too many of them.
//
// The error is [ErrInvalidSet] for a document that is not a JSON object with an array of at
// most 1000 "keys" and nothing after it, and [ErrOption] for an invalid option. A set without
// keys is not an error.
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

	// A document that is not a key set is an error as a whole.
	list, count, err := keyList(data)
	if err != nil {
		return nil, err
	}

	// A key that cannot be used is only left out.
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

// keyList returns the array of keys in data and its length.
func keyList(data []byte) (list []byte, count int, err error) {
	if !json.Valid(data) {
		return nil, 0, invalidSet("not a JSON document")
	}
	data = skipSpace(data)
	if data[0] != '{' {
		return nil, 0, invalidSet("not a JSON object")
	}

	// Find the member "keys"; the last one counts.
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

	// Count the keys before any of them is parsed.
	eachElement(list, func([]byte) { count++ })
	if count > maxKeys {
		return nil, 0, fmt.Errorf("jwks: %w: %d keys, more than %d", ErrInvalidSet, count, maxKeys)
	}
	return list, count, nil
}

func invalidSet(reason string) error { return fmt.Errorf("jwks: %w: %s", ErrInvalidSet, reason) }

// bounded returns the beginning of a long text and lets the rest be freed.
func bounded(s string) string {
	if len(s) <= maxKeyID {
		return s
	}
	return strings.Clone(s[:maxKeyID])
}

// newSet takes over keys and skipped.
func newSet(keys []Key, skipped []Skipped) *Set {
	s := &Set{keys: keys, byID: make(map[string]*Key, len(keys)), skipped: skipped}
	for i := range slices.Backward(keys) { // backward, so that each chain is in document order
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
// "ES256", according to its type and curve, alg, use and key_ops. If several keys have that
// ID, it is the first in the document. For a token without a key ID, kid is "": Lookup then
// returns the key for alg if the set has exactly one.
//
// An algorithm that is neither built in nor set by a parser of [WithKeyParser] has no keys;
// "none" and symmetric algorithms never have any.
func (s *Set) Lookup(kid, alg string) (*Key, bool) {
	k := s.find(kid, alg)
	return k, k != nil
}

// All returns the keys in document order, including those that are not for signatures.
func (s *Set) All() iter.Seq[*Key] {
	return func(yield func(*Key) bool) {
		for i := range s.keys {
			if !yield(&s.keys[i]) {
				return
			}
		}
	}
}

// Len returns the number of keys in [Set.All].
func (s *Set) Len() int { return len(s.keys) }

// Skipped returns the keys that were left out, in document order. The caller owns the slice.
func (s *Set) Skipped() []Skipped { return slices.Clone(s.skipped) }

// find is Lookup without the second result.
func (s *Set) find(kid, alg string) *Key { return s.findFor(kid, alg, algorithmBit(alg)) }

// findFor is find for a caller that knows the bit of alg. Every verification calls it: it is
// one map look-up without an allocation.
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

// only returns the key for alg if there is exactly one, whatever its ID.
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

// has reports whether there is a key with the ID, for whatever use.
func (s *Set) has(kid string) bool { return s.byID[kid] != nil }

// usable reports whether there is a key that can verify signatures.
func (s *Set) usable() bool {
	return slices.ContainsFunc(s.keys, func(k Key) bool { return k.fitsAny() })
}

// Skipped is a key of a document that was left out of the [Set]. It is also an error that
// says why: it wraps [errors.ErrUnsupported] if the type of the key is unknown; otherwise the
// key is broken or symmetric.
type Skipped struct { //nolint:errname // It is a key first, of those that Set.Skipped returns.
	Index int    // its place in the array of keys, from 0
	ID    string // its kid if it can be read, truncated to 256 bytes; chosen by the issuer
	Type  string // its kty, in the same way
	Err   error  // why; its text contains nothing of the key itself
}

// Error names the key, with its ID quoted and truncated, and says why it was left out.
func (s Skipped) Error() string {
	return fmt.Sprintf("key %d (kid %q, kty %q) is left out: %v", s.Index, cut(s.ID), cut(s.Type), s.Err)
}

// Unwrap returns Err.
func (s Skipped) Unwrap() error { return s.Err }
