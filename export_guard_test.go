package everfresh

import "net"

// DialThrough makes the cache's own transports dial with their own dialer as change
// changed it. It must be called before the first Register.
func DialThrough(c *Cache, change func(*net.Dialer)) {
	d := newDialer(&c.cfg)
	change(d)
	DialWith(c, d.DialContext)
}
