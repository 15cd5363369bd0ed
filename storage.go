package everfresh

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/everfresh-go/everfresh/store"
)

// Storage stores records, so that a restart can serve them; see package store for its
// contract.
type Storage = store.Storage

const (
	// recordSchema is the newest schema of a record's header that is understood.
	recordSchema = 1
	// maxRecordHeader bounds the header of a record before it is allocated.
	maxRecordHeader = 1 << 20
)

// recordMagic begins every record; the byte after it is the version of the envelope.
var recordMagic = []byte("EVFR")

const envelopeVersion = 1

// A Record is what the engine stores of one good answer: the body, and what is needed
// to serve it, to validate it and to schedule its next refresh. A Record is
// immutable. Its texts never show header values or the body.
type Record struct {
	Key string // of the resource
	Info
	Status int         // 200 or 203
	Header http.Header `json:"-"` // validators, dates and Content-Type; nothing else
	Body   []byte      `json:"-"` // decoded from its content coding
	// Failures counts the refreshes that have failed in a row since CheckedAt, and
	// NotBefore is when the next may start (zero: at once), so that a restart does not
	// hammer an origin that fails.
	Failures  int
	NotBefore time.Time
	Priority  store.Priority // see Query

	unknown map[string]json.RawMessage // header fields of a newer release, written again as they are
}

// recordHeaderNames are the response fields that are part of a record.
var recordHeaderNames = []string{
	"Age", "Cache-Control", "Content-Language", "Content-Type", "Date", "Etag", "Expires", "Last-Modified",
}

// recordHeaders returns the fields of h that are part of a record. Everything else, such as
// Set-Cookie, is not stored.
func recordHeaders(h http.Header) http.Header {
	headers := make(http.Header, len(recordHeaderNames))
	for _, name := range recordHeaderNames {
		if v := h[name]; len(v) > 0 {
			headers[name] = v
		}
	}
	return headers
}

// recordHeader is the JSON form of a Record without its body. It repeats the fields of Info,
// since what is stored must not change with the API.
type recordHeader struct {
	Schema     int       `json:"schema"`
	Key        rawText   `json:"key"`
	Version    uint64    `json:"version"`
	Status     int       `json:"status"`
	Header     rawHeader `json:"header,omitempty"`
	FetchedAt  time.Time `json:"fetched_at"`
	CheckedAt  time.Time `json:"checked_at"`
	FreshUntil time.Time `json:"fresh_until"`
	ServeUntil time.Time `json:"serve_until,omitzero"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`

	Failures  int            `json:"failures,omitempty"`
	NotBefore time.Time      `json:"not_before,omitzero"`
	Priority  store.Priority `json:"priority,omitempty"`
}

// errNewerRecord is the error of a record that this release must neither use nor overwrite.
var errNewerRecord = errors.New("record written by a newer release")

// rawText is a string of any bytes. JSON holds only text, so other bytes are written in
// base64, in an object.
type rawText string

// rawBytes is the JSON form of a rawText that is not valid UTF-8.
type rawBytes struct {
	Base64 []byte `json:"base64"`
}

// MarshalJSON implements json.Marshaler. Package json would replace invalid bytes.
func (s rawText) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(s)) {
		return json.Marshal(string(s))
	}
	return json.Marshal(rawBytes{[]byte(s)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *rawText) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*s = rawText(text)
		return nil
	}
	var raw rawBytes
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	*s = rawText(raw.Base64)
	return nil
}

// rawHeader is an http.Header whose values are any bytes, for example Latin-1.
type rawHeader map[string][]rawText

// toRawHeader returns h in its JSON form.
func toRawHeader(h http.Header) rawHeader {
	raw := make(rawHeader, len(h))
	for name, values := range h {
		raw[name] = make([]rawText, len(values))
		for i, v := range values {
			raw[name][i] = rawText(v)
		}
	}
	return raw
}

// header is the inverse of toRawHeader.
func (raw rawHeader) header() http.Header {
	h := make(http.Header, len(raw))
	for name, values := range raw {
		h[name] = make([]string, len(values))
		for i, v := range values {
			h[name][i] = string(v)
		}
	}
	return h
}

// Format prints String for every verb, so that no header value or body can leak through %v.
func (r Record) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// String describes the record without header values and body.
func (r Record) String() string {
	return fmt.Sprintf("record of %d bytes, version %d, fetched %s",
		len(r.Body), r.Version, r.FetchedAt.UTC().Format(time.RFC3339))
}

// MarshalBinary encodes the record as
//
//	"EVFR" 0x01 | header length, 4 bytes | header, JSON | body length, 8 bytes | body | SHA-256 of all that
//
// with lengths in big-endian order.
func (r *Record) MarshalBinary() ([]byte, error) {
	// The header is JSON, so that a later release can add fields.
	header, err := r.marshalHeader()
	if err != nil {
		return nil, err
	}
	// Header and body follow each other with their lengths, so that neither is escaped.
	size := len(recordMagic) + 1 + 4 + len(header) + 8 + len(r.Body) + sha256.Size
	b := append(make([]byte, 0, size), recordMagic...)
	b = append(b, envelopeVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(len(header))) //nolint:gosec // Bounded by maxRecordHeader.
	b = append(b, header...)
	b = binary.BigEndian.AppendUint64(b, uint64(len(r.Body)))
	b = append(b, r.Body...)
	// The checksum covers everything before it. It finds damage, not forgery.
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}

// marshalHeader returns the header, with the fields that a newer release has added.
func (r *Record) marshalHeader() ([]byte, error) {
	// The name of a header field is a key in JSON, which cannot hold any bytes.
	for name := range r.Header {
		if !utf8.ValidString(name) {
			return nil, errors.New("encode record: header field name is not valid UTF-8")
		}
	}
	header, err := json.Marshal(recordHeader{
		Schema: recordSchema, Key: rawText(r.Key), Version: r.Version, Status: r.Status, Header: toRawHeader(r.Header),
		FetchedAt: r.FetchedAt, CheckedAt: r.CheckedAt, FreshUntil: r.FreshUntil,
		ServeUntil: r.ServeUntil, ExpiresAt: r.ExpiresAt,
		Failures: r.Failures, NotBefore: r.NotBefore, Priority: r.Priority,
	})
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	// Unknown fields go in first, so that none of them hides a known one.
	if len(r.unknown) > 0 {
		fields := maps.Clone(r.unknown)
		if err := json.Unmarshal(header, &fields); err != nil {
			return nil, fmt.Errorf("encode record: %w", err)
		}
		if header, err = json.Marshal(fields); err != nil {
			return nil, fmt.Errorf("encode record: %w", err)
		}
	}
	// What could not be read again must not be written.
	if len(header) > maxRecordHeader {
		return nil, fmt.Errorf("encode record: header of %d bytes: %w", len(header), store.ErrTooLarge)
	}
	return header, nil
}

// UnmarshalBinary decodes what [Record.MarshalBinary] encoded. It does not retain b. An
// error wraps store.ErrCorrupt, unless a newer release wrote the record.
func (r *Record) UnmarshalBinary(b []byte) error {
	// A newer envelope is not damage, if its checksum is right.
	if v, ok := envelopeOf(b); ok && v > envelopeVersion && intact(b) {
		return fmt.Errorf("decode record: envelope %d: %w", v, errNewerRecord)
	}
	header, payload, err := splitRecord(b)
	if err != nil {
		return fmt.Errorf("decode record: %w: %w", store.ErrCorrupt, err)
	}
	// Neither is a newer schema, whose other fields may have any form.
	var schema struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(header, &schema); err != nil {
		return fmt.Errorf("decode record: %w: header is not JSON", store.ErrCorrupt)
	}
	if schema.Schema > recordSchema {
		return fmt.Errorf("decode record: schema %d: %w", schema.Schema, errNewerRecord)
	}
	// What is left must have our form.
	var h recordHeader
	if err := json.Unmarshal(header, &h); err != nil || h.Schema < 1 {
		return fmt.Errorf("decode record: %w: header has another form", store.ErrCorrupt)
	}
	*r = Record{
		Key: string(h.Key), Status: h.Status, Header: h.Header.header(), Body: bytes.Clone(payload),
		Info: Info{
			Version: h.Version, FetchedAt: h.FetchedAt, CheckedAt: h.CheckedAt,
			FreshUntil: h.FreshUntil, ServeUntil: h.ServeUntil, ExpiresAt: h.ExpiresAt,
		},
		Failures: h.Failures, NotBefore: h.NotBefore, Priority: h.Priority, unknown: unknownFields(header),
	}
	return nil
}

// knownFields are the names of the fields of recordHeader.
var knownFields = []string{
	"schema", "key", "version", "status", "header", "fetched_at", "checked_at", "fresh_until", "serve_until", "expires_at",
	"failures", "not_before", "priority",
}

// unknownFields returns the fields of header that this release does not know. Package json
// matches names in any case, and with some other letters, so they are compared likewise.
func unknownFields(header []byte) map[string]json.RawMessage {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(header, &fields); err != nil {
		return nil // impossible: it was decoded into a struct before
	}
	maps.DeleteFunc(fields, func(name string, _ json.RawMessage) bool {
		return slices.ContainsFunc(knownFields, func(known string) bool { return strings.EqualFold(name, known) })
	})
	if len(fields) == 0 {
		return nil
	}
	return fields
}

// envelopeOf returns the version of the envelope that b begins with.
func envelopeOf(b []byte) (version byte, ok bool) {
	rest, ok := bytes.CutPrefix(b, recordMagic)
	if !ok || len(rest) == 0 {
		return 0, false
	}
	return rest[0], true
}

// intact reports whether b ends with its checksum, as it does in every version.
func intact(b []byte) bool {
	if len(b) < sha256.Size {
		return false
	}
	end := len(b) - sha256.Size
	sum := sha256.Sum256(b[:end])
	return bytes.Equal(sum[:], b[end:])
}

// splitRecord checks the envelope and returns header and body, which alias b.
func splitRecord(b []byte) (header, payload []byte, err error) {
	// Check the frame before any length in it is believed.
	if v, ok := envelopeOf(b); !ok || v != envelopeVersion {
		return nil, nil, errors.New("wrong beginning")
	}
	if len(b) < len(recordMagic)+1+4+8+sha256.Size {
		return nil, nil, errors.New("too short")
	}
	if !intact(b) {
		return nil, nil, errors.New("wrong checksum")
	}
	// Then the lengths, which must account for every byte.
	rest := b[len(recordMagic)+1 : len(b)-sha256.Size]
	n := uint64(binary.BigEndian.Uint32(rest))
	rest = rest[4:]
	if n > maxRecordHeader || n+8 > uint64(len(rest)) {
		return nil, nil, errors.New("wrong header length")
	}
	header, rest = rest[:n], rest[n:]
	if binary.BigEndian.Uint64(rest) != uint64(len(rest)-8) {
		return nil, nil, errors.New("wrong body length")
	}
	return header, rest[8:], nil
}
