// Package weburl parses, compares, allows and redacts the URLs that the cache fetches.
//
// [Parse] and [Check] decide which URLs may be fetched at all: absolute http and https
// URLs with a valid host and no userinfo. [Canonical] returns the canonical form of a
// URL, which policies check, and [Origin] the part that redirects and the queues of
// hosts compare. [Hosts], [Prefix] and [Regexp] make policies. [Redact] returns the form
// that may appear in a message.
//
// # Hosts are names
//
// A host is converted to the ASCII name that net/http would look up: IDNA (the Lookup
// profile, applied only to non-ASCII names, as in net/http), lower case, and without one
// trailing dot. A host in brackets is an IPv6 address, written as RFC 5952 requires;
// zones are rejected. No other host is parsed as an address: 0x7f.1, 2130706433 and
// 127.1 stay names, because their meaning depends on the resolver. Only a guard at dial
// time sees the real address.
//
// An IPv4-mapped address such as [::ffff:192.0.2.1] is not unmapped. Its Host header
// differs from that of 192.0.2.1, other clients treat the two as different origins, and
// a policy that names one of them does not silently allow the other.
//
// # What a policy cannot see
//
// A policy receives the canonical URL, but the request has the path as it was
// registered. A server that does not resolve dot segments, or that distinguishes %2f
// from a slash, treats /other/../keys and /other/%2e%2e/keys as paths below /other; here
// both are /keys. If such servers matter to you, use one host for each level of trust.
//
// All functions and the policies they return are safe for concurrent use.
// Their time is linear in the length of the URL.
package weburl
