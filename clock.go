package everfresh

import "time"

// Schedules count on the monotonic clock, which nobody sets; what is stored and shown is
// by the wall clock. The refresher compares the two.

// clockFrom returns a clock that counts from start.
func clockFrom(start time.Time) func() (wall, mono int64) {
	return func() (wall, mono int64) {
		t := time.Now()
		return t.UnixNano(), int64(t.Sub(start))
	}
}

func (c *Cache) wall() time.Time {
	wall, _ := c.now()
	return wallTime(wall)
}

func (c *Cache) mono() int64 {
	_, mono := c.now()
	return mono
}

// wallAt returns what the wall clock shows at a monotonic time; the zero time for never.
func wallAt(at, wall, mono int64) time.Time {
	if at == never {
		return time.Time{}
	}
	return time.Unix(0, wall).Add(time.Duration(at - mono))
}

// later returns t+d, or never if that is too far away to tell.
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

// wallNanos is the inverse of wallTime. Times that nanoseconds cannot count to are the
// nearest that they can.
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
