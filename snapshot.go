package everfresh

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// An Info identifies a value and says when it was received and confirmed, and how long it is
// fresh and served. [Snapshot], [Status] and [Record] embed it. Its times carry no monotonic
// reading: compare them with the wall clock.
type Info struct {
	Version    uint64    // names the value; a newer value has a greater one, the same bytes keep it
	FetchedAt  time.Time // when the value was received
	CheckedAt  time.Time // when the origin last confirmed it
	FreshUntil time.Time // when its freshness ends, minimum and maximum applied
	ServeUntil time.Time // when it stops being served; zero: never
	ExpiresAt  time.Time // the value's own expiry; zero: it has none
}

// A Snapshot is one value of a resource and where it came from. It is immutable.
type Snapshot[T any] struct {
	Value T
	Info
	Err error // why the last refresh failed; nil if it did not
}

// A Status describes a resource without its value.
type Status struct {
	Key       string        // its key; without one its URL, query values removed
	Ready     bool          // Get does not wait
	Fetching  bool          // a refresh is under way or waits for its turn
	Info                    // of the last good value, served or not; zero before the first
	Next      time.Time     // next refresh; zero: none planned, or it is under way
	Failures  int           // in a row
	Err       error         // why the last refresh failed, or that the value reached its limit; else nil
	Code      int           // status of the last good answer with a body: 200 or 203
	Bytes     int           // of the body after decompression
	Freshness string        // what decided how long the value is fresh
	Lifetime  time.Duration // as the origin or the value's expiry gave it, before minimum, maximum and interval
	Age       time.Duration // age of the answer when it was received
}

// String describes s in one line for people: the name, what is served until when, what
// happens next, and what went wrong. Times are in UTC.
func (s Status) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q: ", s.Key)
	// What is served.
	switch {
	case !s.Ready && s.Version == 0:
		b.WriteString("no value yet")
	case !s.Ready:
		b.WriteString("value withdrawn")
	default:
		fmt.Fprintf(&b, "version %d, %d bytes, fresh until %s (%s)", s.Version, s.Bytes, utc(s.FreshUntil), s.Freshness)
	}
	if s.Ready && !s.ServeUntil.IsZero() {
		fmt.Fprintf(&b, ", served until %s", utc(s.ServeUntil))
	}
	// What happens next.
	switch {
	case s.Fetching:
		b.WriteString(", being refreshed")
	case !s.Next.IsZero():
		fmt.Fprintf(&b, ", next refresh %s", utc(s.Next))
	}
	// What went wrong.
	if s.Failures > 0 {
		fmt.Fprintf(&b, ", %d failures in a row", s.Failures)
	}
	if s.Err != nil {
		fmt.Fprintf(&b, ": %v", s.Err)
	}
	return b.String()
}

// utc returns a time as String shows it.
func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// A state is what readers of a resource see. It is immutable except for snap.
type state[T any] struct {
	value T
	info  *valueInfo
	snap  atomic.Pointer[Snapshot[T]] // made when a caller asks for it
}

// snapshot returns the snapshot of s, which all callers share.
func (s *state[T]) snapshot() *Snapshot[T] {
	if snap := s.snap.Load(); snap != nil {
		return snap
	}
	// Two callers may make one at the same time. The first one wins, so that all get the
	// same.
	s.snap.CompareAndSwap(nil, snapshotOf(s.value, s.info))
	return s.snap.Load()
}

// snapshotOf returns a new snapshot of v.
func snapshotOf[T any](v T, info *valueInfo) *Snapshot[T] {
	snap := &Snapshot[T]{Value: v, Info: info.public()}
	if info.err != nil {
		snap.Err = info.err
	}
	return snap
}
