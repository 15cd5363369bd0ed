package everfresh

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/everfresh-go/everfresh/internal/lane"
	"github.com/everfresh-go/everfresh/store"
)

// Storage keeps records across restarts; see package store for its contract.
type Storage = store.Storage

const (
	// storeWait bounds how long a caller without a value waits for the storage
	// before the origin is asked.
	storeWait = 300 * time.Millisecond
	// storeTimeout bounds every other call of the storage.
	storeTimeout = 5 * time.Second
	// storeLane is the lane of the storage's tasks. No origin has this name.
	storeLane = "storage"
	// clockSlack is how far in the future a record may have been made before its
	// clock is taken for wrong, and the record for stale.
	clockSlack = 5 * time.Minute
	// recordSchema is the newest schema of a record's header that is understood.
	recordSchema = 1
	// maxRecordHeader bounds the header of a record before it is allocated.
	maxRecordHeader = 1 << 20
)

// recordMagic begins every record. The last byte is the version of the envelope.
var recordMagic = []byte("EVFR\x01")

// A Record is what the engine keeps of one good answer: the body and what is needed
// to serve it, to validate it and to schedule its next refresh. A Record is
// immutable. Its texts never show header values or the body.
type Record struct {
	Key       string      // clear key of the resource
	Version   uint64      // names the value
	Status    int         // 200 or 203
	Header    http.Header // validators, dates and Content-Type; nothing else
	Body      []byte      // decoded from its content coding
	FetchedAt time.Time   // when the body was received
	CheckedAt time.Time   // when the origin last confirmed it
	// FreshUntil ends its freshness, ServeUntil its use (zero: no limit).
	// ExpiresAt is the value's own end (zero: it has none).
	FreshUntil, ServeUntil, ExpiresAt time.Time

	unknown map[string]json.RawMessage // header fields of a newer writer, kept on rewrite
}

// keptHeaders are the response fields a record keeps.
var keptHeaders = []string{
	"Age", "Cache-Control", "Content-Language", "Content-Type", "Date", "Etag", "Expires", "Last-Modified",
}

func keepHeaders(h http.Header) http.Header {
	kept := make(http.Header, len(keptHeaders))
	for _, name := range keptHeaders {
		if v := h[name]; len(v) > 0 {
			kept[name] = v
		}
	}
	return kept
}

// recordHeader is the JSON form of a Record without its body.
type recordHeader struct {
	Schema     int         `json:"schema"`
	Key        string      `json:"key"`
	Version    uint64      `json:"version"`
	Status     int         `json:"status"`
	Header     http.Header `json:"header,omitempty"`
	FetchedAt  time.Time   `json:"fetched_at"`
	CheckedAt  time.Time   `json:"checked_at"`
	FreshUntil time.Time   `json:"fresh_until"`
	ServeUntil time.Time   `json:"serve_until,omitzero"`
	ExpiresAt  time.Time   `json:"expires_at,omitzero"`
}

var errNewerRecord = errors.New("record written by a newer version")

// String describes the record without showing what it holds.
func (r *Record) String() string {
	return fmt.Sprintf("record of %d bytes, version %d, fetched %s", len(r.Body), r.Version, r.FetchedAt.UTC().Format(time.RFC3339))
}

// GoString keeps %#v from showing more than String does.
func (r *Record) GoString() string { return r.String() }

// MarshalBinary encodes the record as
//
//	"EVFR" 0x01 | header length, 4 bytes | header, JSON | body length, 8 bytes | body | SHA-256 of all that
//
// with lengths in big-endian order.
func (r *Record) MarshalBinary() ([]byte, error) {
	header, err := r.marshalHeader()
	if err != nil {
		return nil, err
	}
	size := len(recordMagic) + 4 + len(header) + 8 + len(r.Body) + sha256.Size
	b := append(make([]byte, 0, size), recordMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(header))) //nolint:gosec // Bounded by maxRecordHeader.
	b = append(b, header...)
	b = binary.BigEndian.AppendUint64(b, uint64(len(r.Body)))
	b = append(b, r.Body...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}

func (r *Record) marshalHeader() ([]byte, error) {
	header, err := json.Marshal(recordHeader{
		Schema: recordSchema, Key: r.Key, Version: r.Version, Status: r.Status, Header: r.Header,
		FetchedAt: r.FetchedAt, CheckedAt: r.CheckedAt, FreshUntil: r.FreshUntil,
		ServeUntil: r.ServeUntil, ExpiresAt: r.ExpiresAt,
	})
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	if len(r.unknown) > 0 {
		fields := maps.Clone(r.unknown)
		if err := json.Unmarshal(header, &fields); err != nil {
			return nil, fmt.Errorf("encode record: %w", err)
		}
		if header, err = json.Marshal(fields); err != nil {
			return nil, fmt.Errorf("encode record: %w", err)
		}
	}
	if len(header) > maxRecordHeader {
		return nil, fmt.Errorf("encode record: header of %d bytes: %w", len(header), store.ErrTooLarge)
	}
	return header, nil
}

// UnmarshalBinary decodes what [Record.MarshalBinary] encoded. The record does not
// keep b. An error wraps store.ErrCorrupt, unless a newer version wrote the record.
func (r *Record) UnmarshalBinary(b []byte) error {
	header, payload, err := splitRecord(b)
	if err != nil {
		return fmt.Errorf("decode record: %w: %w", store.ErrCorrupt, err)
	}
	var schema struct {
		Schema int `json:"schema"`
	}
	if err := json.Unmarshal(header, &schema); err != nil {
		return fmt.Errorf("decode record: %w: header is not JSON", store.ErrCorrupt)
	}
	if schema.Schema > recordSchema {
		return fmt.Errorf("decode record: schema %d: %w", schema.Schema, errNewerRecord)
	}
	var h recordHeader
	if err := json.Unmarshal(header, &h); err != nil || h.Schema < 1 {
		return fmt.Errorf("decode record: %w: header has another form", store.ErrCorrupt)
	}
	*r = Record{
		Key: h.Key, Version: h.Version, Status: h.Status, Header: h.Header, Body: bytes.Clone(payload),
		FetchedAt: h.FetchedAt, CheckedAt: h.CheckedAt, FreshUntil: h.FreshUntil,
		ServeUntil: h.ServeUntil, ExpiresAt: h.ExpiresAt, unknown: unknownFields(header),
	}
	return nil
}

var knownFields = []string{
	"schema", "key", "version", "status", "header", "fetched_at", "checked_at", "fresh_until", "serve_until", "expires_at",
}

// unknownFields returns the fields of header that this version does not know.
func unknownFields(header []byte) map[string]json.RawMessage {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(header, &fields); err != nil {
		return nil // cannot be: it was decoded into a struct before
	}
	for _, name := range knownFields {
		delete(fields, name)
	}
	if len(fields) == 0 {
		return nil
	}
	return fields
}

// splitRecord checks the envelope and returns header and body, which alias b.
func splitRecord(b []byte) (header, payload []byte, err error) {
	if !bytes.HasPrefix(b, recordMagic) {
		return nil, nil, errors.New("wrong beginning")
	}
	if len(b) < len(recordMagic)+4+8+sha256.Size {
		return nil, nil, errors.New("too short")
	}
	content, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if got := sha256.Sum256(content); !bytes.Equal(got[:], sum) {
		return nil, nil, errors.New("wrong checksum")
	}
	rest := content[len(recordMagic):]
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

// response makes the answer that a decoder reads from a stored record.
func (r *Record) response() *http.Response {
	return memoryResponse(&http.Response{
		Status: http.StatusText(r.Status), StatusCode: r.Status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: r.Header.Clone(),
	}, r.Body)
}

// storeKey is the name of a resource's record in the storage: of fixed length, and
// telling nothing of the key.
func storeKey(key string) string {
	sum := sha256.Sum256([]byte("everfresh/1\x00" + key))
	return hex.EncodeToString(sum[:])
}

// loadRecord reads and decodes the record of e. It returns nil without an error when there
// is none. A damaged record is moved aside under another key.
func (c *Cache) loadRecord(ctx context.Context, key string) (rec *Record, err error) {
	defer func() {
		if v := recover(); v != nil {
			rec, err = nil, recovered(v)
		}
	}()
	name := storeKey(key)
	item, err := c.cfg.storage.Load(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil //nolint:nilnil // No record is a good answer, and said so above.
	}
	if err != nil {
		return nil, err
	}
	rec = new(Record)
	err = rec.UnmarshalBinary(item.Value)
	if err == nil && rec.Key != key {
		err = fmt.Errorf("%w: it belongs to another key", store.ErrCorrupt)
	}
	if errors.Is(err, store.ErrCorrupt) {
		_, aside := c.cfg.storage.Store(ctx, "quarantine."+name, item.Value, store.Any())
		return nil, errors.Join(err, aside)
	}
	return rec, err
}

// saveRecord writes rec.
func (c *Cache) saveRecord(ctx context.Context, rec *Record) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = recovered(v)
		}
	}()
	data, err := rec.MarshalBinary()
	if err != nil {
		return err
	}
	_, err = c.cfg.storage.Store(ctx, storeKey(rec.Key), data, store.Any())
	return err
}

// deleteRecord removes the record of key.
func (c *Cache) deleteRecord(ctx context.Context, key string) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = recovered(v)
		}
	}()
	return c.cfg.storage.Delete(ctx, storeKey(key), store.Any())
}

// load is the stage that asks the storage for the record of f's entry.
func (c *Cache) load(f *flight) {
	a, ok := c.begin(f, loadStage)
	if !ok {
		return
	}
	defer a.release()
	rec, err := c.loadRecord(a.ctx, f.e.key)
	var value any
	if rec != nil && err == nil {
		a.exchange.at = rec.FetchedAt
		value, err = decodeRecord(a.ctx, a.decode, rec)
	}
	if a.ctx.Err() != nil && err != nil {
		err = fmt.Errorf("the storage did not answer in time: %w", err)
	}
	if err != nil {
		c.storageFailed(f.e, "load", err)
	}
	c.loaded(f, rec, value, err)
}

func decodeRecord(ctx context.Context, decode decodeFunc, rec *Record) (v any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = recovered(r)
		}
	}()
	return decode(ctx, rec.response()) //nolint:bodyclose // It is in memory.
}

// loaded goes on after the load: with what was found, or with the next stage.
func (c *Cache) loaded(f *flight, rec *Record, value any, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.ended {
		return
	}
	e := f.e
	f.loading = false
	if f.renewed != e.renewed {
		c.endLocked(f, nil)
		return
	}
	e.warm = true
	e.readonly = errors.Is(err, errNewerRecord)
	served := rec != nil && err == nil && c.adoptLocked(e, rec, value)
	switch {
	case served && !f.must, f.loadOnly:
		c.endLocked(f, nil)
	default:
		c.launchLocked(f)
	}
}

// adoptLocked publishes a stored record, if it may still be served, and schedules its
// refresh.
func (c *Cache) adoptLocked(e *entry, rec *Record, value any) bool {
	wall, mono := c.now()
	m := metaOf(rec, value)
	if m.serveUntil != 0 && m.serveUntil <= wall {
		return false
	}
	if m.fetchedAt > wall+int64(clockSlack) {
		m.freshUntil = wall // its clock or ours is wrong: ask the origin
	}
	e.holder.set(value, m)
	e.meta, e.record = m, rec
	e.expireAt(m, wall, mono)
	e.due = mono + m.freshUntil - wall
	if m.freshUntil <= wall {
		e.due = mono + int64(e.spread())
	}
	c.announceLocked(e)
	return true
}

// metaOf returns the meta of a stored record.
func metaOf(rec *Record, value any) *meta {
	fresh := rec.FreshUntil.Sub(rec.CheckedAt)
	return &meta{
		version:   rec.Version,
		fetchedAt: wallNanos(rec.FetchedAt), checkedAt: wallNanos(rec.CheckedAt),
		freshUntil: wallNanos(rec.FreshUntil), serveUntil: wallNanos(rec.ServeUntil), hardEnd: wallNanos(rec.ExpiresAt),
		etag: rec.Header.Get("Etag"), lastModified: rec.Header.Get("Last-Modified"),
		hash: bodyHash(rec.Body), size: len(rec.Body), code: rec.Status,
		plan: plan{fresh: fresh, next: fresh, life: fresh},
	}
}

// keepLocked makes the record of a good answer and queues it for the storage.
func (c *Cache) keepLocked(e *entry, out *outcome) {
	if c.cfg.storage == nil || e.readonly || out.unread && e.record == nil {
		return
	}
	m := e.meta
	rec := &Record{
		Key: e.key, Version: m.version, Status: m.code, Header: out.headers(e.record), Body: out.body,
		FetchedAt: wallTime(m.fetchedAt), CheckedAt: wallTime(m.checkedAt),
		FreshUntil: wallTime(m.freshUntil), ServeUntil: wallTime(m.serveUntil), ExpiresAt: wallTime(m.hardEnd),
	}
	if e.record != nil {
		rec.unknown = e.record.unknown
		if out.unread {
			rec.Body = e.record.Body
		}
	}
	e.record = rec
	e.unsaved = rec
	if !e.saving {
		e.saving = c.pool.Submit(storeLane, &lane.Task{Run: func() { c.save(e) }}, false)
	}
}

// save writes the newest record of e, and those that come meanwhile.
func (c *Cache) save(e *entry) {
	for {
		c.mu.Lock()
		rec := e.unsaved
		e.unsaved = nil
		e.saving = rec != nil
		c.mu.Unlock()
		if rec == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), storeTimeout)
		err := c.saveRecord(ctx, rec)
		cancel()
		if err != nil {
			c.storageFailed(e, "store", err)
		}
		c.undoDoomed(e, rec)
	}
}

// undoDoomed deletes a record that was invalidated while it was being written.
func (c *Cache) undoDoomed(e *entry, rec *Record) {
	c.mu.Lock()
	doomed := e.record == nil && e.doomed == rec.Version
	c.mu.Unlock()
	if !doomed {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), storeTimeout)
	defer cancel()
	if err := c.deleteRecord(ctx, e.key); err != nil {
		c.storageFailed(e, "store", err)
	}
}

// flush writes the records that the cache's end found unsaved.
func (c *Cache) flush(entries []*entry) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), storeTimeout)
	defer cancel()
	for _, e := range entries {
		if err := c.saveRecord(ctx, e.record); err != nil {
			c.storageFailed(e, "store", err)
		}
	}
}

// storageFailed tells sink and observer of an error of the storage, which fails no
// refresh.
func (c *Cache) storageFailed(e *entry, op string, err error) {
	if errors.Is(err, context.Canceled) && c.ctx.Err() != nil {
		return // called off by Close
	}
	re := &RefreshError{Key: e.name, Op: op, Stale: e.holder.kept() != nil, Err: err}
	c.report(re)
	c.observe(Event{Kind: "storage", Key: e.name, Time: c.wall(), Err: re})
}
