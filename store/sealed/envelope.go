package sealed

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/everfresh-go/everfresh/store"
)

// magic begins every sealed record; its last byte is the version of the envelope.
var magic = []byte("EVFS\x01")

const (
	namePrefix = "sealed."
	// payloadHead is the length of position and key length.
	payloadHead = 8 + 2
)

// A name is the HMAC of a key. Its text is the key of the inner store.
type name [sha256.Size]byte

func (n name) String() string { return namePrefix + hex.EncodeToString(n[:]) }

// parseName returns the name whose text innerKey is.
func parseName(innerKey string) (n name, ok bool) {
	digits, ok := strings.CutPrefix(innerKey, namePrefix)
	if !ok || len(digits) != hex.EncodedLen(len(n)) {
		return name{}, false
	}
	if _, err := hex.Decode(n[:], []byte(digits)); err != nil || n.String() != innerKey {
		return name{}, false
	}
	return n, true
}

// nameOf returns the name of key.
func (s *Secret) nameOf(key string) name {
	mac := hmac.New(sha256.New, s[:])
	mac.Write([]byte(key))
	return name(mac.Sum(nil))
}

// A record is what one item of the inner store holds.
type record struct {
	key      string
	value    []byte
	position uint64 // in the history of the key; each write has a higher one
}

// seal returns the value of r in the inner store.
func (k *Keys) seal(n name, r record) ([]byte, error) {
	payload := make([]byte, 0, payloadHead+len(r.key)+len(r.value))
	payload = binary.BigEndian.AppendUint64(payload, r.position)
	payload = binary.BigEndian.AppendUint16(payload, uint16(len(r.key))) //nolint:gosec // Bounded by store.MaxKeyLen.
	payload = append(payload, r.key...)
	payload = append(payload, r.value...)
	ciphertext, err := k.Records.Encrypt(payload, associatedData(n))
	if err != nil {
		return nil, fmt.Errorf("encrypt record: %w", keyError(err))
	}
	b := append(make([]byte, 0, len(magic)+len(ciphertext)+sha256.Size), magic...)
	b = append(b, ciphertext...)
	sum := checksum(n, b)
	return append(b, sum[:]...), nil
}

// open returns the record that was sealed as b under the name n. Its value may
// alias b. Every error is store.ErrCorrupt or store.ErrKeyUnavailable.
func (k *Keys) open(n name, b []byte) (record, error) {
	ciphertext, err := unwrap(n, b)
	if err != nil {
		return record{}, err
	}
	payload, err := k.Records.Decrypt(ciphertext, associatedData(n))
	if err != nil {
		return record{}, fmt.Errorf("decrypt record: %w", keyError(err))
	}
	r, err := parsePayload(payload)
	if err == nil && k.Names.nameOf(r.key) != n {
		err = fmt.Errorf("%w: the record was named with another secret", store.ErrKeyUnavailable)
	}
	if err != nil {
		return record{}, err
	}
	return r, nil
}

// unwrap checks the parts that need no key, and returns the ciphertext, which aliases b.
func unwrap(n name, b []byte) ([]byte, error) {
	end := len(b) - sha256.Size
	if end < len(magic) {
		return nil, fmt.Errorf("%w: too short", store.ErrCorrupt)
	}
	if sum := checksum(n, b[:end]); !bytes.Equal(sum[:], b[end:]) {
		return nil, fmt.Errorf("%w: wrong checksum", store.ErrCorrupt)
	}
	version := len(magic) - 1
	switch {
	case !bytes.Equal(b[:version], magic[:version]) || b[version] < magic[version]:
		return nil, fmt.Errorf("%w: unknown format", store.ErrCorrupt)
	case b[version] > magic[version]:
		return nil, fmt.Errorf("%w: sealed by a newer version", store.ErrKeyUnavailable)
	}
	return b[len(magic):end], nil
}

func parsePayload(b []byte) (record, error) {
	if len(b) < payloadHead {
		return record{}, fmt.Errorf("%w: plaintext is too short", store.ErrCorrupt)
	}
	position, n := binary.BigEndian.Uint64(b), int(binary.BigEndian.Uint16(b[8:]))
	b = b[payloadHead:]
	if n > store.MaxKeyLen || n > len(b) {
		return record{}, fmt.Errorf("%w: wrong key length", store.ErrCorrupt)
	}
	return record{key: string(b[:n]), value: b[n:], position: position}, nil
}

// checksum includes the name, so that a record that was moved to another name counts as
// damaged and not as one with an unknown key.
func checksum(n name, b []byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	h.Write(b)
	h.Write([]byte(n.String()))
	h.Sum(sum[:0])
	return sum
}

// associatedData binds a ciphertext to its envelope and its name.
func associatedData(n name) []byte {
	return append(bytes.Clone(magic), n.String()...)
}

// keyError returns an error of an AEAD as an error of a store.
func keyError(err error) error {
	if errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrKeyUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", store.ErrKeyUnavailable, err)
}
