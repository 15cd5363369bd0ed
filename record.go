package everfresh

import (
	"fmt"
	"net/http"
	"time"

	"github.com/everfresh-go/everfresh/internal/rfc9111"
	"github.com/everfresh-go/everfresh/store"
)

// What follows turns records into what the engine knows about a value, and back. All of it
// is pure.

// decodeStored decodes the stored record of key. A record of another key is damaged, too: a
// file was copied, or two keys have one hash.
func decodeStored(key string, data []byte) (*Record, error) {
	rec := new(Record)
	if err := rec.UnmarshalBinary(data); err != nil {
		return nil, err
	}
	if rec.Key != key {
		return nil, fmt.Errorf("%w: it belongs to another key", store.ErrCorrupt)
	}
	return rec, nil
}

// recordOf returns the record of a good answer. last is the record of the value before, or
// nil. Fields that a newer release has added to it are kept.
func recordOf(key string, cfg *config, info *valueInfo, out *outcome, last *Record) *Record {
	rec := &Record{
		Key: key, Info: info.public(), Status: int(info.code), Header: out.recordHeaders(last), Body: out.body,
		Priority: cfg.priority,
	}
	if last != nil {
		rec.unknown = last.unknown
		if out.notModified {
			rec.Body = last.Body
		}
	}
	return rec
}

// recordHeaders returns the fields to keep in the record. A 304 updates those of the last
// record (RFC 9111, section 3.2).
func (out *outcome) recordHeaders(last *Record) http.Header {
	headers := recordHeaders(out.header)
	if !out.notModified {
		return headers
	}
	for name, values := range last.Header {
		if _, ok := headers[name]; !ok && name != "Date" && name != "Age" { // these two belong to one message
			headers[name] = values
		}
	}
	return headers
}

// withFailures returns a copy of r that holds the failures since the last good answer.
func (r *Record) withFailures(f *failure) *Record {
	rec := *r
	rec.Failures, rec.NotBefore = f.count, f.err.Next
	return &rec
}

// infoOfRecord returns what is known about a stored value. Its freshness is worked out
// again, since the options may have changed, and so that values that were stored together
// are not refreshed together. It is served neither longer than the record says nor longer
// than the options say.
//
// A record made by a clock that was ahead has a bound that is too late. Then infoOfRecord
// also returns a record with the corrected bound, which is what is stored next: with the
// old one, every restart would extend it.
func infoOfRecord(cfg *config, rec *Record, wall int64) (*valueInfo, *Record) {
	info := &valueInfo{
		version: rec.Version, fetchedAt: wallNanos(rec.FetchedAt), checkedAt: wallNanos(rec.CheckedAt),
		expiresAt:  wallNanos(rec.ExpiresAt),
		validators: joinValidators(rec.Header.Get("Etag"), rec.Header.Get("Last-Modified")),
		hash:       bodyHash(rec.Body), size: sizeOf(rec.Body), code: uint16(rec.Status), //nolint:gosec // 200 or 203.
	}
	// Plan the refresh as for an answer that came when the record was checked, but not
	// beyond the first plan, which the record knows.
	p := planOfRecord(cfg, rec)
	info.schedule(cfg, p, rec.CheckedAt)
	if end := wallNanos(rec.ServeUntil); end != 0 && (info.serveUntil == 0 || end < info.serveUntil) {
		info.serveUntil = end
	}
	// Cap the bound at the latest one that an answer could have now.
	latest := later(later(wall, p.fresh), cfg.maxStale)
	if cfg.maxStale == 0 || info.serveUntil <= latest {
		return info, rec
	}
	corrected := *rec
	info.serveUntil, corrected.ServeUntil = latest, wallTime(latest)
	return info, &corrected
}

func planOfRecord(cfg *config, rec *Record) plan {
	var ttl time.Duration
	if !rec.ExpiresAt.IsZero() {
		ttl = rec.ExpiresAt.Sub(rec.CheckedAt)
	}
	stored := rec.FreshUntil.Sub(rec.CheckedAt)
	fresh := rfc9111.Of(rec.Header, rec.CheckedAt, rec.CheckedAt, false)
	if fresh.Source == rfc9111.None {
		fresh.Lifetime = stored + fresh.Age
	}
	p := planFor(cfg, fresh, ttl, false, random)
	p.fresh, p.next = min(p.fresh, stored), min(p.next, stored)
	return p
}

// An invalidRecord tells which record must go because its value was invalidated: one of
// that value, if it was last checked before. The origin may give the same bytes again,
// which are the same version.
type invalidRecord struct {
	version store.Version // in the storage, as far as is known
	value   uint64        // the version of the value
	before  time.Time
}

func (i *invalidRecord) condemned(rec *Record) bool {
	return rec.Version == i.value && rec.CheckedAt.Before(i.before)
}
