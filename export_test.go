package everfresh

// WithClock replaces the cache's clock: wall time in nanoseconds since 1970, and a
// monotonic one since any start.
func WithClock(now func() (wall, mono int64)) CacheOption {
	return cacheOption(func(c *cacheConfig) { c.clock = now })
}
