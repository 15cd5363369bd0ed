package everfresh

import (
	"context"
	"net"
	"net/http"
)

// WithClock replaces the cache's clock: wall time in nanoseconds since 1970, and a
// monotonic one since any start.
func WithClock(now func() (wall, mono int64)) CacheOption {
	return cacheOption(func(c *cacheConfig) { c.clock = now })
}

// DialWith makes the cache's own transports dial with dial. It must be called before
// the first Register.
func DialWith(c *Cache, dial func(ctx context.Context, network, addr string) (net.Conn, error)) {
	for _, client := range []*http.Client{c.fetcher.pooled, c.fetcher.fresh} {
		client.Transport.(*http.Transport).DialContext = dial
	}
}

// DialThrough makes the cache's own transports dial with their own dialer as change
// changed it. It must be called before the first Register.
func DialThrough(c *Cache, change func(*net.Dialer)) {
	d := newDialer(&c.cfg)
	change(d)
	DialWith(c, d.DialContext)
}
