// Package weburl reads, compares, allows and redacts the URLs the engine fetches.
//
// [Parse] and [Check] say which URLs may be fetched at all: absolute http and
// https URLs with a valid host and no userinfo. [Canonical] gives the one
// spelling of a URL that policies judge, [Origin] the part of it that redirects
// and host lanes compare. [Hosts], [Prefix] and [Regexp] build policies. [Redact]
// gives the spelling that may appear in a message.
//
// # Hosts are names
//
// A host is folded to the ASCII name that net/http would look up: IDNA (the
// Lookup profile, applied to non-ASCII names only, as net/http does), lower
// case, one trailing dot removed. A host in brackets is an IPv6 address, written
// as RFC 5952 asks; zones are refused. No other host string is read as an
// address: 0x7f.1, 2130706433 and 127.1 stay names, because what they mean
// depends on the resolver. Only a guard at dial time sees the real address.
//
// An IPv4-mapped address such as [::ffff:192.0.2.1] is not unmapped. Its Host
// header differs from that of 192.0.2.1, other clients hold the two for two
// origins, and a policy that names one of them does not silently allow the other.
//
// # What a policy cannot see
//
// A policy is given the canonical URL, while the request carries the path as it
// was registered. A server that resolves no dot segments, or keeps %2f apart from
// a slash, reads /other/../keys and /other/%2e%2e/keys as paths below /other; here
// both are /keys. Where such a server matters, give each degree of trust a host.
//
// All functions and the policies they return are safe for concurrent use.
// Their time is linear in the length of the URL.
package weburl
