package rfc9111

import (
	"net/http"
	"time"
)

// A Source is the field that determined a lifetime. The zero value is [None].
type Source uint8

// The sources of a lifetime. NoCache and NoStore make it 0, whatever else the
// response says.
const (
	None Source = iota
	MaxAge
	SMaxAge
	Expires
	NoCache
	NoStore
)

// String returns the source as in the response, in lower case, or "none".
func (s Source) String() string {
	switch s {
	case MaxAge:
		return "max-age"
	case SMaxAge:
		return "s-maxage"
	case Expires:
		return "expires"
	case NoCache:
		return "no-cache"
	case NoStore:
		return "no-store"
	default:
		return "none"
	}
}

// Freshness is how long a response is fresh and how old it was on arrival. It is
// fresh for Lifetime - Age from then on, and stale at once if that is not
// positive. The zero value is a response without information, which is stale.
type Freshness struct {
	Lifetime time.Duration // from 0 to 2^31 seconds
	Age      time.Duration // from 0 to 2^31 seconds
	Source   Source        // what determined Lifetime
}

// Of returns the freshness lifetime, RFC 9111, section 4.2.1, and the corrected
// initial age, section 4.2.3, of a response with header h, whose keys are
// in net/http's canonical form. RequestTime and responseTime say when the
// request was sent and when the response came. The first that applies decides:
//
//	no-store, no-cache     0
//	s-maxage               if shared; a private cache ignores it
//	max-age                also when it is 0
//	Expires                minus Date, or minus responseTime without a valid Date;
//	                       0 if it is not a date or occurs more than once
//	nothing                0, with the source None
//
// A qualified no-cache="field" does not count as no-cache. Nothing else matters: not
// the status code, which the caller knows, not Pragma, and not Last-Modified, because
// there is no heuristic freshness here.
func Of(h http.Header, requestTime, responseTime time.Time, shared bool) Freshness {
	date, dated := ParseDate(firstLine(h["Date"]))
	if !dated {
		date = responseTime // RFC 9110, section 6.6.1
	}
	f := Freshness{Age: initialAge(h["Age"], date, requestTime, responseTime)}
	d := ParseDirectives(h["Cache-Control"])
	switch {
	case d.NoStore:
		f.Source = NoStore
	case d.NoCache:
		f.Source = NoCache
	case shared && d.HasSMaxAge:
		f.Source, f.Lifetime = SMaxAge, time.Duration(d.SMaxAge)*time.Second
	case d.HasMaxAge:
		f.Source, f.Lifetime = MaxAge, time.Duration(d.MaxAge)*time.Second
	case len(h["Expires"]) > 0:
		f.Source, f.Lifetime = Expires, untilExpires(h["Expires"], date)
	}
	return f
}

func untilExpires(lines []string, date time.Time) time.Duration {
	expires, ok := ParseDate(firstLine(lines))
	if !ok || len(lines) > 1 {
		return 0
	}
	return span(expires.Sub(date))
}

// initialAge returns the greater of the ages by the clocks and by the caches on the
// way. The delay is limited first, so that the sum cannot overflow.
func initialAge(lines []string, date, requestTime, responseTime time.Time) time.Duration {
	delay := span(responseTime.Sub(requestTime))
	age, _ := ParseAge(lines)
	var apparent time.Duration
	if date.Before(requestTime.Truncate(time.Second)) { // otherwise it was made since then, because a Date has whole seconds
		apparent = responseTime.Truncate(time.Second).Sub(date)
	}
	return span(max(apparent, age+delay))
}

func firstLine(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return trimOWS(lines[0])
}
