package everfresh

import (
	"hash/maphash"
	"math"
	"strings"
	"time"

	"github.com/everfresh-go/everfresh/internal/rfc9111"
)

// A valueInfo is what is known about a value besides the value itself. It is immutable: a
// refresh that confirms the value makes a new one.
// Times are wall-clock nanoseconds, 0 for none. There is one for each resource, so the
// fields are as small as they can be.
type valueInfo struct {
	version    uint64
	fetchedAt  int64
	checkedAt  int64
	freshUntil int64
	serveUntil int64
	expiresAt  int64 // the value's own expiry
	validators validators
	hash       uint64        // of the body
	err        *RefreshError // why the last refresh failed; nil if it did not
	next       time.Duration // from checkedAt to the next refresh
	lifetime   time.Duration // freshness lifetime by the rule of why
	age        time.Duration // of the answer when it was received
	size       uint32        // of the body; saturates
	code       uint16        // of the last answer with a body
	why        rule
}

// infoOf returns what is known about a value after a good answer; old is what was known
// before, or nil. Only a body has a hash and a size, so a 304 leaves them as they were.
func infoOf(cfg *config, out *outcome, old *valueInfo) *valueInfo {
	info := &valueInfo{
		validators: joinValidators(out.header.Get("Etag"), out.header.Get("Last-Modified")),
		hash:       out.hash, size: sizeOf(out.body), code: uint16(out.code), //nolint:gosec // A status has three digits.
		expiresAt: wallNanos(out.expiresAt),
		fetchedAt: wallNanos(out.received), checkedAt: wallNanos(out.received),
	}
	// The origin has confirmed the value, or the value is new.
	fresh := rfc9111.Of(out.header, out.sent, out.received, false)
	if out.same {
		info.inherit(out, old)
		fresh = out.lifetimeAfter(old, fresh)
	} else {
		info.version = nextVersion(old, out.received)
	}
	// How long it is fresh, and when it is refreshed, follows from the answer, its expiry and the options.
	var ttl time.Duration
	if info.expiresAt != 0 {
		ttl = out.expiresAt.Sub(out.received)
	}
	info.schedule(cfg, planFor(cfg, fresh, ttl, old == nil, random), out.received)
	return info
}

// inherit takes over what a confirmation of old does not change.
func (info *valueInfo) inherit(out *outcome, old *valueInfo) {
	// The value keeps its name and its age.
	info.version, info.fetchedAt = old.version, old.fetchedAt
	if !out.notModified {
		return
	}
	info.hash, info.size, info.code = old.hash, old.size, old.code
	info.validators = info.validators.or(old.validators)
}

// schedule notes what a plan means for a value that was received or confirmed at a time.
func (info *valueInfo) schedule(cfg *config, p plan, received time.Time) {
	// The freshness that the plan gives.
	info.next, info.why, info.lifetime, info.age = p.next, p.why, p.life, p.age
	info.freshUntil = later(received.UnixNano(), p.fresh)
	// The bound is the earlier one of WithMaxStale and the value's own expiry.
	if cfg.maxStale > 0 {
		info.serveUntil = later(info.freshUntil, cfg.maxStale)
	}
	if info.expiresAt != 0 && (info.serveUntil == 0 || info.expiresAt < info.serveUntil) {
		info.serveUntil = info.expiresAt
	}
}

// withError returns a copy of info that says why the last refresh failed. Everything else
// stays: a failure changes neither version nor freshness.
func (info *valueInfo) withError(err *RefreshError) *valueInfo {
	failed := *info
	failed.err = err
	return &failed
}

// public returns the part of info that users see.
func (info *valueInfo) public() Info {
	return Info{
		Version: info.version, FetchedAt: wallTime(info.fetchedAt), CheckedAt: wallTime(info.checkedAt),
		FreshUntil: wallTime(info.freshUntil), ServeUntil: wallTime(info.serveUntil), ExpiresAt: wallTime(info.expiresAt),
	}
}

// lifetimeAfter returns the freshness after a confirmation: a 304 without freshness
// fields leaves the stored ones in force (RFC 9111, section 3.2).
func (out *outcome) lifetimeAfter(old *valueInfo, fresh rfc9111.Freshness) rfc9111.Freshness {
	if out.notModified && fresh.Source == rfc9111.None {
		fresh.Lifetime, fresh.Source = old.lifetime, old.why.source
	}
	return fresh
}

// nextVersion returns a version for a new value: the time it came, which tells values of
// different processes apart, but always above the last version.
func nextVersion(old *valueInfo, received time.Time) uint64 {
	v := uint64(max(received.UnixNano(), 1)) //nolint:gosec // Not negative.
	if old != nil {
		v = max(v, old.version+1)
	}
	return v
}

// validators are an Etag and a Last-Modified field in one string, in which a newline
// separates them: most resources have one of them at most, and header values hold no
// newline.
type validators string

// joinValidators leaves out a field that holds a newline, as one made by a [Fetcher] can:
// net/http would refuse to send it.
func joinValidators(etag, lastModified string) validators {
	if strings.Contains(etag, "\n") {
		etag = ""
	}
	if lastModified == "" || strings.Contains(lastModified, "\n") {
		return validators(etag)
	}
	return validators(etag + "\n" + lastModified)
}

// split returns both fields, empty where there is none.
func (v validators) split() (etag, lastModified string) {
	etag, lastModified, _ = strings.Cut(string(v), "\n")
	return etag, lastModified
}

// or fills in from old what v lacks: a 304 need not repeat a validator (RFC 9110, section
// 15.4.5). Equal validators share their memory.
func (v validators) or(old validators) validators {
	if v == "" || v == old {
		return old
	}
	etag, lastModified := v.split()
	oldEtag, oldModified := old.split()
	if etag == "" {
		etag = oldEtag
	}
	if lastModified == "" {
		lastModified = oldModified
	}
	return joinValidators(etag, lastModified)
}

var hashSeed = maphash.MakeSeed()

// bodyHash returns a hash that an origin cannot aim at, since its seed is this process's.
func bodyHash(data []byte) uint64 { return maphash.Bytes(hashSeed, data) }

// sizeOf returns the size of a body, as valueInfo has it.
func sizeOf(data []byte) uint32 { return uint32(min(uint64(len(data)), math.MaxUint32)) }
