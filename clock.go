package everfresh

import "time"

// Deadlines count on the monotonic clock, which no one sets; what is stored and shown
// is by the wall clock. The scheduler compares the two.

// never is the deadline of what does not happen.
const never = int64(1<<63 - 1)

// A clock tells the time twice, in nanoseconds: by the wall since 1970, and monotonic
// since any start.
type clock func() (wall, mono int64)

// clockFrom returns a clock whose monotonic time counts from start.
func clockFrom(start time.Time) clock {
	return func() (wall, mono int64) {
		t := time.Now()
		return t.UnixNano(), int64(t.Sub(start))
	}
}

// wall returns what the wall clock shows, without a monotonic reading.
func (now clock) wall() time.Time {
	wall, _ := now()
	return wallTime(wall)
}

// mono returns what the monotonic clock shows.
func (now clock) mono() int64 {
	_, mono := now()
	return mono
}

// wallAt returns what the wall clock shows at a monotonic time; the zero time for never.
func wallAt(at, wall, mono int64) time.Time {
	if at == never {
		return time.Time{}
	}
	return time.Unix(0, wall).Add(time.Duration(at - mono))
}

// later returns t+d, or never if the sum overflows.
func later(t int64, d time.Duration) int64 {
	if d > 0 && t > never-int64(d) {
		return never
	}
	return t + int64(d)
}

// wallTime turns nanoseconds since 1970 into a time; 0 stands for the zero time.
func wallTime(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}

// wallNanos is the inverse of wallTime. A time that nanoseconds cannot express becomes
// the nearest one that they can.
func wallNanos(t time.Time) int64 {
	switch {
	case t.IsZero():
		return 0
	case t.Year() < 1970:
		return 1
	case t.Year() > 2261:
		return never
	default:
		return max(t.UnixNano(), 1)
	}
}
