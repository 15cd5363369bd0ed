package filestore

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/everfresh-go/everfresh/store"
)

const (
	magic      = "EVFS\x01"
	versionLen = 16
	// fixedLen is the length of a header up to the key.
	fixedLen = len(magic) + 2 + 8 + versionLen + sha256.Size
)

// A header is a record without its value.
type header struct {
	key     string
	version [versionLen]byte
	size    uint64 // of the value, in bytes
	sum     [sha256.Size]byte
}

func newHeader(key string, value []byte) *header {
	h := &header{key: key, size: uint64(len(value)), sum: sha256.Sum256(value)}
	_, _ = rand.Read(h.version[:]) // never fails
	return h
}

// fileName returns the name of the record of key.
func fileName(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// isFileName reports whether a file of this name can be a record.
func isFileName(name string) bool {
	b, err := hex.DecodeString(name)
	return err == nil && len(b) == sha256.Size && hex.EncodeToString(b) == name
}

func (h *header) id() store.Version { return store.Version(hex.EncodeToString(h.version[:])) }

func (h *header) length() uint64 { return uint64(fixedLen + len(h.key) + sha256.Size) }

func (h *header) encode() []byte {
	b := append(make([]byte, 0, h.length()), magic...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(h.key))) //nolint:gosec // At most MaxKeyLen.
	b = binary.BigEndian.AppendUint64(b, h.size)
	b = append(b, h.version[:]...)
	b = append(b, h.sum[:]...)
	b = append(b, h.key...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

// readHeader reads the header of the record in a file with this name and size. An error
// wraps store.ErrCorrupt or is the error of r.
func readHeader(r io.Reader, name string, size int64) (*header, error) {
	b := make([]byte, fixedLen, fixedLen+store.MaxKeyLen+sha256.Size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, readError(err)
	}
	rest, ok := bytes.CutPrefix(b, []byte(magic))
	if !ok {
		return nil, damaged("wrong beginning")
	}
	keyLen := int(binary.BigEndian.Uint16(rest))
	if keyLen > store.MaxKeyLen {
		return nil, damaged("wrong length of the key")
	}
	b = b[:fixedLen+keyLen+sha256.Size]
	if _, err := io.ReadFull(r, b[fixedLen:]); err != nil {
		return nil, readError(err)
	}
	b, sum := b[:fixedLen+keyLen], b[fixedLen+keyLen:]
	if sha256.Sum256(b) != [sha256.Size]byte(sum) {
		return nil, damaged("wrong checksum of the header")
	}
	h := &header{key: string(b[fixedLen:]), size: binary.BigEndian.Uint64(rest[2:])}
	copy(h.version[:], rest[2+8:])
	copy(h.sum[:], rest[2+8+versionLen:])
	if fileName(h.key) != name {
		return nil, damaged("the record belongs to another key")
	}
	if uint64(size) != h.length()+h.size { //nolint:gosec // No file has a negative size.
		return nil, damaged("wrong length of the value")
	}
	return h, nil
}

// readValue reads the value that follows the header h.
func (h *header) readValue(r io.Reader) ([]byte, error) {
	if h.size > math.MaxInt {
		return nil, fmt.Errorf("filestore: %w for this machine", store.ErrTooLarge)
	}
	value := make([]byte, h.size) // not more than the size of the file
	if _, err := io.ReadFull(r, value); err != nil {
		return nil, readError(err)
	}
	if sha256.Sum256(value) != h.sum {
		return nil, damaged("wrong checksum of the value")
	}
	return value, nil
}

// errUnreadable says that the disk cannot read a record.
var errUnreadable = errors.New("the bytes cannot be read")

func readError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("too short")
	}
	return ioError("read a record", fmt.Errorf("%w: %w", errUnreadable, withoutNames(err)))
}

func damaged(how string) error { return fmt.Errorf("filestore: %w: %s", store.ErrCorrupt, how) }
