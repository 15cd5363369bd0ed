package guard

import "net/netip"

// A reserved range contains no public addresses. Its reason is the purpose of the range.
type reserved struct {
	prefix netip.Prefix
	reason string
}

// reserved4 are the IPv4 ranges that the IANA registry of special-purpose addresses
// (RFC 6890) does not call globally reachable, and some more. 192.0.0.0/24 is rejected
// entirely: its two anycast addresses serve no HTTP, and one cloud has its metadata there.
var reserved4 = ranges(
	"0.0.0.0/8", "this network",
	"10.0.0.0/8", "private use",
	"100.64.0.0/10", "shared address space", // also the metadata of one cloud
	"127.0.0.0/8", "loopback",
	"169.254.0.0/16", "link local", // also the metadata of most clouds
	"172.16.0.0/12", "private use",
	"192.0.0.0/24", "protocol assignments",
	"192.0.2.0/24", "documentation",
	"192.88.99.0/24", "6to4 relay",
	"192.168.0.0/16", "private use",
	"198.18.0.0/15", "benchmarking",
	"198.51.100.0/24", "documentation",
	"203.0.113.0/24", "documentation",
	"224.0.0.0/4", "multicast",
	"240.0.0.0/4", "reserved", // with the broadcast address

	// Not in the registry: Azure's virtual machines reach its host agent at this address,
	// which looks public.
	"168.63.129.16/32", "cloud platform",
)

// reserved6 are the reserved ranges within 2000::/3, the only part of IPv6 from which
// public addresses are assigned. 2001::/23 is rejected entirely: the few global ranges in
// it serve no HTTP. Addresses of Teredo, in that range, and of 6to4 contain an IPv4 address
// to which a relay forwards packets; both are obsolete.
var reserved6 = ranges(
	"2001::/32", "Teredo",
	"2001::/23", "protocol assignments",
	"2001:db8::/32", "documentation",
	"2002::/16", "6to4",
	"3fff::/20", "documentation",
)

// special6 are named ranges outside 2000::/3. The other ranges there are rejected, too.
var special6 = ranges(
	"::/128", "unspecified",
	"::1/128", "loopback",
	"::/96", "IPv4-compatible",
	"64:ff9b:1::/48", "local-use translation",
	"fc00::/7", "unique local", // also the metadata of two clouds
	"fe80::/10", "link local",
	"fec0::/10", "site local",
	"ff00::/8", "multicast",
)

var (
	global6 = netip.MustParsePrefix("2000::/3")
	nat64   = netip.MustParsePrefix("64:ff9b::/96")
)

// ranges makes a list of pairs of prefix and reason.
func ranges(pairs ...string) []reserved {
	list := make([]reserved, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, reserved{netip.MustParsePrefix(pairs[i]), pairs[i+1]})
	}
	return list
}

// refusal returns why addr is not public, or "" if it is. An address of NAT64 (RFC 6052) is
// checked as the IPv4 address to which a translator sends: hosts without IPv4 reach all of
// IPv4 that way.
func refusal(addr netip.Addr) string {
	if nat64.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	switch {
	case addr.Is4():
		return find(reserved4, addr)
	case global6.Contains(addr):
		return find(reserved6, addr)
	}
	if reason := find(special6, addr); reason != "" {
		return reason
	}
	return "not given out" // nor is the zero Addr
}

// find returns the reason of the first range that contains addr, or "".
func find(list []reserved, addr netip.Addr) string {
	for _, r := range list {
		if r.prefix.Contains(addr) {
			return r.reason
		}
	}
	return ""
}
