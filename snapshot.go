package everfresh

import (
	"sync/atomic"
	"time"
)

// A Snapshot is one value of a resource and where it came from. It is immutable. Its
// times carry no monotonic reading: compare them with the wall clock.
type Snapshot[T any] struct {
	Value      T
	Version    uint64    // names the value; a newer value has a greater one, the same bytes keep it
	FetchedAt  time.Time // when the value was received
	CheckedAt  time.Time // when the origin last confirmed it
	FreshUntil time.Time // when its freshness ends
	ServeUntil time.Time // when it stops being served; zero: never
	Err        error     // why the last refresh failed; nil if it did not
}

// A Status describes a resource without its value.
type Status struct {
	Key        string // its key; without one its URL, query values removed
	Ready      bool   // Get does not wait
	Fetching   bool   // a refresh is under way or waits for its turn
	Version    uint64
	FetchedAt  time.Time // zero before the first value, as the next three
	CheckedAt  time.Time
	FreshUntil time.Time
	ServeUntil time.Time     // zero also: no limit
	Next       time.Time     // next refresh; zero: none planned, or it is under way
	Failures   int           // in a row
	Err        error         // why the last refresh failed; nil if it did not
	Code       int           // status of the last good answer
	Bytes      int           // of the decoded body
	Freshness  string        // what decided how long the value is fresh
	Lifetime   time.Duration // freshness lifetime by that rule
	Age        time.Duration // age of the answer when it was received
}

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
	snap := &Snapshot[T]{
		Value: v, Version: info.version,
		FetchedAt: wallTime(info.fetchedAt), CheckedAt: wallTime(info.checkedAt),
		FreshUntil: wallTime(info.freshUntil), ServeUntil: wallTime(info.serveUntil),
	}
	if info.err != nil {
		snap.Err = info.err
	}
	return snap
}
