package sealed

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/everfresh-go/everfresh/store"
)

// ErrInvalidKey says that a key or a secret cannot be used: its form or length is wrong,
// it is all zeros, or two keys have the same id.
var ErrInvalidKey = errors.New("invalid key")

// A Secret is 256 random bits. Neither its text nor its JSON shows it. The zero Secret is
// invalid.
type Secret [32]byte

const redacted = "[secret]"

// NewSecret returns a random Secret. A program stores the bytes, secret[:], to be able to
// read its records later.
func NewSecret() Secret {
	var s Secret
	_, _ = rand.Read(s[:]) // never fails
	return s
}

// ParseSecret parses a Secret of 64 hexadecimal digits. White space around them is
// ignored, so text may be the content of a file. The error wraps [ErrInvalidKey].
func ParseSecret(text string) (Secret, error) {
	b, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(b) != len(Secret{}) {
		return Secret{}, fmt.Errorf("%w: a secret is 64 hexadecimal digits", ErrInvalidKey)
	}
	if s := Secret(b); s != (Secret{}) {
		return s, nil
	}
	return Secret{}, fmt.Errorf("%w: the secret is all zeros", ErrInvalidKey)
}

// Format implements fmt.Formatter without showing the secret.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText implements encoding.TextMarshaler without showing the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// A Key is a Secret with an ID by which records refer to it. The ID is stored with each
// record, unencrypted. It has 1 to 255 bytes, for example a date, and must not be used
// again for another Secret.
type Key struct {
	ID     string
	Secret Secret
}

// ParseKey parses a key: an ID, a colon, and 64 hexadecimal digits. White space around it
// is ignored. The error wraps [ErrInvalidKey].
func ParseKey(text string) (Key, error) {
	text = strings.TrimSpace(text)
	colon := strings.LastIndexByte(text, ':')
	if colon < 0 {
		return Key{}, fmt.Errorf("%w: no colon after the id", ErrInvalidKey)
	}
	secret, err := ParseSecret(text[colon+1:])
	if err != nil {
		return Key{}, err
	}
	k := Key{ID: text[:colon], Secret: secret}
	return k, k.check()
}

func (k Key) check() error {
	switch {
	case k.ID == "" || len(k.ID) > 255:
		return fmt.Errorf("%w: the id has %d bytes: want 1 to 255", ErrInvalidKey, len(k.ID))
	case k.Secret == Secret{}:
		return fmt.Errorf("%w: no secret", ErrInvalidKey)
	}
	return nil
}

// An AEAD encrypts and decrypts. It must be safe for concurrent use. The interface is the
// same as tink.AEAD in github.com/tink-crypto/tink-go, so those can be used directly. A
// [KeyRing] is an AEAD, too.
type AEAD interface {
	// Encrypt encrypts plaintext and authenticates associatedData with it. Each call
	// returns a different ciphertext. It neither changes nor retains its arguments.
	Encrypt(plaintext, associatedData []byte) ([]byte, error)

	// Decrypt returns the plaintext if Encrypt returned ciphertext for the same
	// associatedData. An error that wraps [store.ErrCorrupt] means that the right key was
	// tried; any other error counts as a missing key. Errors quote neither argument.
	Decrypt(ciphertext, associatedData []byte) ([]byte, error)
}

// A currenter is an AEAD that can tell whether it used its newest key. Rekey leaves such
// records alone. With other AEADs it re-encrypts all records.
type currenter interface {
	IsCurrent(ciphertext []byte) bool
}

// A KeyRing is an [AEAD] with one primary key, which encrypts, and further keys, which
// only decrypt. All methods, including Set, are safe for concurrent use. The zero
// KeyRing has no keys; its methods return [store.ErrKeyUnavailable] until Set is called.
// A KeyRing must not be copied after first use.
type KeyRing struct {
	keys atomic.Pointer[[]ringKey] // the primary key first; the slice is never modified
}

// A ringKey is a Key prepared for use.
type ringKey struct {
	id    string
	aead  cipher.AEAD
	check [checkLen]byte // distinguishes two secrets with the same id
}

const (
	checkLen   = 8
	checkLabel = "everfresh sealed key check 1"
)

// NewKeyRing returns a KeyRing with these keys. The error wraps [ErrInvalidKey].
func NewKeyRing(primary Key, others ...Key) (*KeyRing, error) {
	r := new(KeyRing)
	if err := r.Set(primary, others...); err != nil {
		return nil, err
	}
	return r, nil
}

// Set replaces all keys at once. Calls of other methods in progress may still use the
// previous keys. If Set returns an error, which wraps [ErrInvalidKey], nothing changes.
func (r *KeyRing) Set(primary Key, others ...Key) error {
	ids := make(map[string]bool, len(others)+1)
	keys := make([]ringKey, 0, len(others)+1)
	for _, k := range append([]Key{primary}, others...) {
		if ids[k.ID] {
			return fmt.Errorf("%w: two keys have the same id", ErrInvalidKey)
		}
		ids[k.ID] = true
		rk, err := newRingKey(k)
		if err != nil {
			return err
		}
		keys = append(keys, rk)
	}
	r.keys.Store(&keys)
	return nil
}

func newRingKey(k Key) (ringKey, error) {
	if err := k.check(); err != nil {
		return ringKey{}, err
	}
	block, err := aes.NewCipher(k.Secret[:])
	if err != nil {
		return ringKey{}, fmt.Errorf("%w: %w", ErrInvalidKey, err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return ringKey{}, fmt.Errorf("%w: %w", ErrInvalidKey, err)
	}
	rk := ringKey{id: k.ID, aead: aead}
	mac := hmac.New(sha256.New, k.Secret[:])
	mac.Write([]byte(checkLabel))
	copy(rk.check[:], mac.Sum(nil))
	return rk, nil
}

// header returns the bytes before the nonce of every ciphertext, which identify the key.
func (k ringKey) header() []byte {
	b := make([]byte, 0, 1+len(k.id)+checkLen)
	b = append(b, byte(len(k.id))) //nolint:gosec // Key.check bounds it.
	b = append(b, k.id...)
	return append(b, k.check[:]...)
}

func (r *KeyRing) all() []ringKey {
	if r == nil {
		return nil
	}
	if keys := r.keys.Load(); keys != nil {
		return *keys
	}
	return nil
}

// Encrypt implements [AEAD] with the primary key. The ciphertext is longer than
// plaintext by 37 bytes and the ID.
func (r *KeyRing) Encrypt(plaintext, associatedData []byte) ([]byte, error) {
	keys := r.all()
	if len(keys) == 0 {
		return nil, store.ErrKeyUnavailable
	}
	header := keys[0].header()
	dst := make([]byte, len(header), len(header)+len(plaintext)+keys[0].aead.Overhead())
	copy(dst, header)
	return keys[0].aead.Seal(dst, nil, plaintext, append(header, associatedData...)), nil
}

// Decrypt implements [AEAD] with the key that was used to encrypt. It returns
// [store.ErrKeyUnavailable] if the ring does not have that key, and [store.ErrCorrupt]
// if it does but the arguments are not those of Encrypt.
func (r *KeyRing) Decrypt(ciphertext, associatedData []byte) ([]byte, error) {
	header, sealed, ok := splitCiphertext(ciphertext)
	if !ok {
		return nil, store.ErrCorrupt
	}
	for _, k := range r.all() {
		if string(k.header()) != string(header) {
			continue
		}
		ad := append(append(make([]byte, 0, len(header)+len(associatedData)), header...), associatedData...)
		plaintext, err := k.aead.Open(nil, nil, sealed, ad)
		if err != nil {
			return nil, store.ErrCorrupt
		}
		return plaintext, nil
	}
	return nil, store.ErrKeyUnavailable
}

// IsCurrent reports whether ciphertext, which Encrypt returned, was encrypted with
// the key that is the primary now.
func (r *KeyRing) IsCurrent(ciphertext []byte) bool {
	keys := r.all()
	header, _, ok := splitCiphertext(ciphertext)
	return ok && len(keys) > 0 && string(keys[0].header()) == string(header)
}

// splitCiphertext returns the parts of ciphertext, which alias it.
func splitCiphertext(ciphertext []byte) (header, sealed []byte, ok bool) {
	if len(ciphertext) == 0 {
		return nil, nil, false
	}
	n := 1 + int(ciphertext[0]) + checkLen
	if len(ciphertext) < n {
		return nil, nil, false
	}
	return ciphertext[:n:n], ciphertext[n:], true
}
