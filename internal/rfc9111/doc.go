// Package rfc9111 reads the caching fields of an HTTP response: how long it is
// fresh, how old it was on arrival, and what its Cache-Control asks for.
//
//	Cache-Control   ParseDirectives --+
//	Expires, Date   ParseDate       --+--> Of: lifetime, initial age, source
//	Age             ParseAge        --+
//	Retry-After     ParseRetryAfter -----> how long to wait
//
// Every function is pure: it reads no clock, keeps no state, modifies nothing it
// is given, and may be called from many goroutines at once. None returns an
// error, because RFC 9111 says what a recipient makes of a field that is wrong.
// Where it leaves a choice, this package takes the one that is less fresh.
//
// No duration is negative or longer than 2^31 seconds, about 68 years, where RFC
// 9111, section 1.2.2, lets delta-seconds end.
//
// # Malformed Cache-Control
//
// The field is read one member at a time, so that one bad member spoils only
// itself. A member whose argument makes no sense is decided by its name:
//
//	max-age, s-maxage                         0, the response is stale
//	no-store, no-cache, private,
//	must-revalidate, proxy-revalidate         set
//	anything else                             ignored
//
// A member that breaks the grammar of RFC 9110, such as a quote that never
// closes, makes it doubtful where members begin and end. Then each word of that
// member is decided by the table above, and the restricting names of its second
// row count wherever they stand in the field, inside quotes too. So nothing an
// origin writes around a no-store or no-cache can hide it. In a field that keeps
// to the grammar, what is quoted is data and never a directive.
//
// # Heuristic freshness
//
// There is none: a response without explicit freshness has a lifetime of 0 and
// the source [None]. The refresh engine then uses its minimum interval; a client
// cache adds the heuristic of RFC 9111, section 4.2.2, itself, because that
// depends on the status code.
package rfc9111
