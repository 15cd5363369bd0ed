// Package guard decides which addresses may be dialled when strangers name URLs.
//
// It judges addresses, never the spelling of hosts: a resolver may read 0x7f.1,
// 2130706433 or any name as 127.0.0.1, and may say something else the next time. An
// address is judged when it is about to be dialled, after all of that.
package guard

import (
	"errors"
	"net/netip"
	"net/url"
	"slices"
)

// An Error says why an address is refused. Its text holds neither the address nor the
// host: who may name URLs and read errors would learn the names of a private network.
type Error struct {
	// Reason is the purpose of the range that the address is in.
	Reason string
}

// Error returns the reason.
func (e *Error) Error() string { return "address not public: " + e.Reason }

var (
	errPrefix = errors.New("not a valid prefix")
	errAll    = errors.New("the prefix of all addresses")
	errMapped = errors.New("a prefix of IPv4-mapped addresses: write it as IPv4")
)

// A Guard allows public addresses, and exceptions. The zero value has none. It is safe
// for concurrent use once the last exception is added.
type Guard struct {
	except []netip.Prefix
}

// Except also allows the addresses of p. It refuses a prefix that is invalid, that could
// match nothing, or that would match everything.
func (g *Guard) Except(p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return errPrefix
	case p.Addr().Is4In6():
		return errMapped
	case p.Bits() == 0:
		return errAll
	default:
		g.except = append(g.except, p)
		return nil
	}
}

// Addr returns an [*Error] if addr must not be dialled. An IPv4-mapped address is judged
// as the IPv4 address that it is to the kernel.
func (g *Guard) Addr(addr netip.Addr) error {
	if addr.Zone() != "" { // of one machine only, and Unmap drops it
		return &Error{Reason: "has a zone"}
	}
	addr = addr.Unmap()
	if slices.ContainsFunc(g.except, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return nil
	}
	if reason := refusal(addr); reason != "" {
		return &Error{Reason: reason}
	}
	return nil
}

// Dial judges what a net.Dialer passes to its Control function. It refuses, with an
// [*Error], what is not TCP to an address.
func (g *Guard) Dial(network, address string) error {
	if network != "tcp4" && network != "tcp6" {
		return &Error{Reason: "not TCP"}
	}
	ap, err := netip.ParseAddrPort(address)
	if err != nil { // its text quotes the address
		return &Error{Reason: "not an address"}
	}
	return g.Addr(ap.Addr())
}

// URL judges the host of u if it is an address in its usual form. A name is judged when
// it is dialled.
func (g *Guard) URL(u *url.URL) error {
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return nil //nolint:nilerr // It is a name.
	}
	return g.Addr(addr)
}
