package everfresh

import "sync/atomic"

// A demand is what callers of Newer have asked of an entry, and the rate limit that bounds
// it. The limit is a token bucket of fetches, represented by the time at which it will be
// full again. Fields are guarded by engine.mu, except limited, which is only written under
// it.
type demand struct {
	limited atomic.Pointer[RateLimitError] // the last limit reached; nil if a fetch has ended it

	lastGood    uint64 // seq of the last flight with a good answer since the demand was made
	fullAt      int64  // when the bucket will be full again, monotonic
	freeFetches uint8  // fetches in a row that were given back
	dueAtRefill bool   // the entry is due because the limit ends then
}

// maxFreeFetches bounds how many fetches in a row are given back. Without this limit, a
// caller that is never satisfied could fetch without end from an origin whose response
// always changes, or that fails every other time.
const maxFreeFetches = 10

// present returns the rate limit in force, or nil.
func (d *demand) present(mono int64) *RateLimitError {
	if limited := d.limited.Load(); limited != nil && mono < limited.until {
		return limited
	}
	return nil
}

// charge takes a fetch from the bucket, or returns the limit if it is empty.
func (d *demand) charge(cfg *config, wall, mono int64) *RateLimitError {
	// The limit was reached before.
	refill := int64(cfg.refill)
	if limited := d.present(mono); limited != nil {
		return limited
	}
	if mono-d.fullAt >= refill*int64(cfg.burst) {
		d.freeFetches = 0 // no caller has asked for a while
	}
	// It is reached now if the bucket has less than one token.
	if wait := d.fullAt - mono - refill*int64(cfg.burst-1); wait > 0 {
		limited := &RateLimitError{Until: wallTime(wall + wait), until: mono + wait}
		d.limited.Store(limited)
		return limited
	}
	d.fullAt = max(d.fullAt, mono) + refill
	return nil
}

// chargeRefill charges for a refresh that starts because the limit has ended. It reports
// whether the refresh is such a one.
func (d *demand) chargeRefill(cfg *config, mono int64) bool {
	if d == nil || !d.dueAtRefill {
		return false
	}
	d.limited.Store(nil)
	d.fullAt = max(d.fullAt, mono) + int64(cfg.refill)
	return true
}

// refund ends a rate limit, and gives back a fetch that was charged.
func (d *demand) refund(cfg *config, charged bool) { //nolint:revive // The flag says what there is to give back.
	if d == nil {
		return
	}
	d.limited.Store(nil)
	if charged && d.freeFetches < maxFreeFetches {
		d.freeFetches++
		d.fullAt -= int64(cfg.refill)
	}
}

// dueBy returns the end of the limit in force if it is before due, as a caller of Newer
// still hopes for another value.
func (d *demand) dueBy(due, mono int64) int64 {
	if d == nil {
		return due
	}
	limited := d.present(mono)
	if limited == nil || limited.until >= due {
		return due
	}
	d.dueAtRefill = true
	return limited.until
}
