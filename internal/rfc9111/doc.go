// Package rfc9111 parses the caching fields of an HTTP response: how long it is
// fresh, how old it was on arrival, and the directives of its Cache-Control.
//
//	Cache-Control   ParseDirectives --+
//	Expires, Date   ParseDate       --+--> Of: lifetime, initial age, source
//	Age             ParseAge        --+
//	Retry-After     ParseRetryAfter -----> how long to wait
//
// Every function is pure: it reads no clock, keeps no state, does not modify its
// arguments, and is safe for concurrent use. None returns an error, because RFC 9111
// says how a recipient handles invalid fields. Where it leaves a choice, this package
// chooses the result that is less fresh.
//
// No duration is negative or longer than 2^31 seconds, about 68 years, which is the
// limit of delta-seconds in RFC 9111, section 1.2.2.
//
// # Malformed Cache-Control
//
// The field is parsed one member at a time, so that a bad member does not affect
// others. A member with an invalid argument is handled by its name:
//
//	max-age, s-maxage                         0, the response is stale
//	no-store, no-cache, private,
//	must-revalidate, proxy-revalidate         set
//	anything else                             ignored
//
// A member that violates the grammar of RFC 9110, for example with an unclosed
// quote, makes it unclear where members begin and end. In that case each word of
// the member is handled by the table above, and the restricting names in its second
// row count anywhere in the field, even inside quotes. So nothing around a no-store
// or no-cache can hide it. In a field that follows the grammar, quoted text is data
// and never a directive.
//
// # Heuristic freshness
//
// There is none: a response without explicit freshness has a lifetime of 0 and
// the source [None]. The refresher then uses its minimum interval. A client cache
// would add the heuristic of RFC 9111, section 4.2.2, itself, because it depends on
// the status code.
package rfc9111
