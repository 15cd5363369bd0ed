// Package guard decides which addresses may be dialled when untrusted people choose URLs.
//
// It checks addresses, never the text of hosts: a resolver may turn 0x7f.1, 2130706433 or
// any name into 127.0.0.1, and may return something else the next time. An address is
// checked right before it is dialled, after name resolution.
package guard

import (
	"errors"
	"net/netip"
	"net/url"
	"slices"
)

// An Error says why an address is rejected. Its text contains neither the address nor the
// host. Otherwise, someone who can choose URLs and read errors could explore the names of a
// private network.
type Error struct {
	// Reason is the purpose of the range that contains the address.
	Reason string
}

// Error returns the reason.
func (e *Error) Error() string { return "address not public: " + e.Reason }

var (
	errPrefix = errors.New("not a valid prefix")
	errAll    = errors.New("the prefix of all addresses")
	errMapped = errors.New("a prefix of IPv4-mapped addresses: write it as IPv4")
)

// A Guard allows public addresses and exceptions. The zero value has no exceptions. It is
// safe for concurrent use once the last exception has been added.
type Guard struct {
	except []netip.Prefix
}

// Except also allows the addresses in p. It rejects a prefix that is invalid, that could
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

// Addr returns an [*Error] if addr must not be dialled. An IPv4-mapped address is checked
// as an IPv4 address, which it is to the kernel.
func (g *Guard) Addr(addr netip.Addr) error {
	if addr.Zone() != "" { // valid only on one machine, and Unmap drops it
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

// Dial checks the arguments that a net.Dialer passes to its Control function. It returns an
// [*Error] for anything other than TCP to an address.
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

// URL checks the host of u if it is an address in its usual form. The addresses of a name
// are checked when they are dialled.
func (g *Guard) URL(u *url.URL) error {
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		return nil //nolint:nilerr // It is a name.
	}
	return g.Addr(addr)
}
