package everfresh

import (
	"math/rand/v2"
	"time"

	"github.com/everfresh-go/everfresh/internal/rfc9111"
)

const (
	// firstSpread is the part of a resource's first interval that jitter may
	// take: resources registered together must not stay together.
	firstSpread = 0.5

	// spreadLimit bounds over how long refreshes are spread that a jump of the clock or
	// a restart made due at once; a tenth of the interval does, too.
	spreadLimit = 30 * time.Second

	// retryAfterMax bounds what a Retry-After can postpone.
	retryAfterMax = time.Hour

	// aheadPart and aheadMax say how long before its expiry a value is refreshed if
	// WithRefreshAhead does not.
	aheadPart = 10
	aheadMax  = time.Minute
)

// A plan says how long a good answer is fresh and when it is asked for again.
type plan struct {
	fresh time.Duration // from the answer's receipt to the end of its freshness
	next  time.Duration // from the answer's receipt to the next refresh; at most fresh
	why   rule
	age   time.Duration // the answer's age when it was received
	life  time.Duration // its freshness lifetime as the origin said it
}

// A rule names what decided the freshness of a value.
type rule struct {
	source   rfc9111.Source
	override override
}

type override uint8

const (
	byHeader   override = iota
	byInterval          // WithRefreshInterval
	byMin               // the minimum is longer than what the header said
	byMax               // the maximum is shorter than what the header said
	byValue             // the value's own ExpiresAt
)

// String describes the rule in the words of Status.Freshness.
func (r rule) String() string {
	switch r.override {
	case byInterval:
		return "refresh interval"
	case byMin:
		return r.source.String() + ", raised to the minimum"
	case byMax:
		return r.source.String() + ", cut to the maximum"
	case byValue:
		return "the value's own expiry"
	default:
		return r.source.String()
	}
}

// planFor works out the plan of an answer with freshness f. ttl is the time until the
// value's ExpiresAt, or 0 if it has none. rnd returns random numbers in [0,1).
func planFor(cfg *config, f rfc9111.Freshness, ttl time.Duration, first bool, rnd func() float64) plan {
	if ttl > 0 {
		return planWithExpiry(cfg, f, ttl, first, rnd)
	}
	// How long it is fresh.
	p := plan{age: f.Age, life: f.Lifetime, why: rule{source: f.Source}}
	p.fresh, p.why.override = clamp(cfg, f.Lifetime-f.Age)
	// When it is refreshed: about then, or ahead of it, but not before the minimum.
	p.next = jittered(cfg, p, cfg.min, first, rnd)
	if cfg.ahead > 0 && p.why.override != byInterval {
		p.next = min(p.next, max(p.fresh-cfg.ahead, cfg.min))
	}
	p.fresh = max(p.fresh, p.next)
	return p
}

// planWithExpiry is planFor of a value that has a ttl, whatever the headers say about it.
// It is refreshed ahead of its expiry; no minimum postpones that.
func planWithExpiry(cfg *config, f rfc9111.Freshness, ttl time.Duration, first bool, rnd func() float64) plan {
	p := plan{age: f.Age, life: ttl + f.Age, why: rule{source: f.Source, override: byValue}, fresh: ttl}
	// An interval or a maximum can only shorten its life.
	switch {
	case cfg.every > 0 && cfg.every < ttl:
		p.fresh, p.why.override = cfg.every, byInterval
	case cfg.every == 0 && cfg.max < ttl:
		p.fresh, p.why.override = cfg.max, byMax
	}
	// The refresh comes with jitter, but in time.
	latest := latestRefresh(cfg, ttl)
	p.next = min(jittered(cfg, p, min(cfg.min, latest), first, rnd), latest)
	return p
}

// latestRefresh returns the latest time for the refresh of a value that has a ttl. If the
// time ahead of its expiry has come already, the origin is asked again after half of the
// ttl.
func latestRefresh(cfg *config, ttl time.Duration) time.Duration {
	ahead := cfg.ahead
	if ahead <= 0 {
		ahead = min(ttl/aheadPart, aheadMax)
	}
	if latest := ttl - ahead; latest >= cfg.backoffMin {
		return latest
	}
	return max(ttl/2, cfg.backoffMin)
}

// clamp returns how long an answer is fresh that has left before it is stale, and what
// decided that.
func clamp(cfg *config, left time.Duration) (time.Duration, override) {
	switch {
	case cfg.every > 0:
		return cfg.every, byInterval
	case left <= cfg.min:
		return cfg.min, byMin
	case left > cfg.max:
		return cfg.max, byMax
	default:
		return left, byHeader
	}
}

// jittered moves a refresh before the end of freshness by a random part of it, but never
// below floor: where the minimum interval decides, it adds. Without jitter, resources that
// were registered together would be fetched together for ever, by all replicas.
func jittered(cfg *config, p plan, floor time.Duration, first bool, rnd func() float64) time.Duration { //nolint:revive // A fact, not a choice.
	// How far a random part of the interval may move it.
	spread := cfg.jitter
	if first && spread > 0 {
		spread = max(spread, firstSpread)
	}
	d := time.Duration(float64(p.fresh) * spread * rnd())
	switch p.why.override {
	case byMin:
		return p.fresh + d
	case byInterval:
		return p.fresh - d
	default:
		return max(p.fresh-d, floor)
	}
}

// spread returns a random delay for a refresh that became due together with others.
func spread(cfg *config, interval time.Duration) time.Duration {
	if cfg.jitter == 0 {
		return 0
	}
	return time.Duration(float64(min(spreadLimit, interval/10)) * random())
}

// backoff returns the delay before the attempt that follows the n-th failure in a
// row: exponential with full jitter, between floor and cap. Without jitter it is
// the upper end.
func backoff(cfg *config, n int, rnd func() float64) time.Duration {
	top := cfg.backoffMin
	for i := 1; i < n && top < cfg.backoffMax; i++ {
		top += min(top, cfg.backoffMax-top) // doubles, without an overflow
	}
	if cfg.jitter == 0 {
		return top
	}
	return cfg.backoffMin + time.Duration(float64(top-cfg.backoffMin)*rnd())
}

// retryDelay returns the delay after a failure. What the origin asks for with Retry-After is
// obeyed if it is longer than the back-off; what a decoder or a fetcher asks for with
// [RetryAfter], if it is longer than the floor.
func retryDelay(cfg *config, err error, n int, now time.Time, rnd func() float64) time.Duration {
	// A decoder or a fetcher knows best.
	d := backoff(cfg, n, rnd)
	if s, ok := steeringOf(err); ok {
		if s.permanent {
			return max(d, cfg.min)
		}
		return max(s.after, cfg.backoffMin)
	}
	// Then the origin, within reason.
	if after, ok := retryAfter(err, now); ok {
		return max(d, min(after, retryAfterMax))
	}
	return d
}

// retryAfter returns the delay that an error response asks for, in either form of
// Retry-After (RFC 9110, section 10.2.3).
func retryAfter(err error, now time.Time) (time.Duration, bool) {
	se := statusErrorOf(err)
	if se == nil {
		return 0, false
	}
	v := se.Header.Get("Retry-After")
	if v == "" {
		return 0, false
	}
	return rfc9111.ParseRetryAfter(v, now)
}

// random returns a random number in [0,1).
func random() float64 { return rand.Float64() }
