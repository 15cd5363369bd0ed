// Package everfresh keeps remote resources fresh in memory.
//
// Register a URL once. From then on its newest good payload is one atomic load away. A
// background refresher fetches it again shortly before its freshness lifetime ends. When the origin
// fails, the last good payload stays, and the error sink is told why.
//
//	c := everfresh.NewCache(ctx, everfresh.WithErrSink(sink))
//	defer c.Close()
//
//	keys, err := everfresh.Register(c, "https://issuer.example/jwks", everfresh.JSON[KeySet]())
//	...
//	set, err := keys.Get(ctx) // waits only for the first value
//
// There are two APIs for one engine. [Register] is typed and is what new code should use.
// [Cache.Register], [Cache.Get] and [Cache.Refresh] are untyped and keep the shape of
// httprc v1, so that a program written for it moves by changing one import line.
//
// # Flow
//
//	Register ─> entry ─> storage (stored record) ─> queue ─> refresher ─> host queue ─> worker
//	                                                  ^                                    │ middleware: cache > group > resource
//	                                                  │                                    v
//	Get <── one atomic load <── publish <── Decoder <── body <── Fetcher <──────────────> origin
//	                               └──> storage, watchers, observer         errors ──> error sink
//
// # Defaults
//
//	option                  default           meaning
//	WithMinRefreshInterval  15 min            shortest time between two refreshes
//	WithMaxRefreshInterval  30 days           longest time between two refreshes
//	WithRefreshInterval     unset             the origin's headers decide
//	WithRefreshWindow       10 ms             deadlines this close start together
//	WithRefreshAhead        0                 refresh this long before freshness ends; a value
//	                                          with an expiry: a tenth of its lifetime, at most 1 min
//	WithJitter              0.05              part of the interval; the first one is spread over half
//	WithMaxStale            no limit          how long a stale value is still served
//	WithBackoff             250 ms, 5 min     floor and ceiling of the delay after a failure
//	WithTimeout             30 s              one fetch, from request to decoded value
//	WithMaxBytes            10 MiB            body after decompression
//	WithNewerLimit          2, 15 s           fetches that Newer may start: burst, refill
//	WithPrefetch            typed API only    fetch before a caller asks
//	WithWorkers             64                refreshes at once
//	WithMaxPerHost          4                 refreshes at once for one origin
//	WithProxy               none              the environment's proxy is not used
//	WithPublicOnly          off               addresses that may be dialled: public ones
//	WithAllow               all               http and https URLs without userinfo
//
// Fixed limits of the default transport: 5 s to resolve and connect, 5 s for the
// TLS handshake, 10 s for the response header of at most 64 KiB, TLS 1.2 or later.
// Fixed limits of every body: 5 s without a byte, 1 KiB/s after that, 200 decoded
// bytes for each encoded one past the first MiB. A redirect is followed three
// times at most.
//
// # Freshness
//
// The lifetime of a response is its max-age, or else Expires − Date, less its
// age (RFC 9111, sections 4.2.1 and 4.2.3), clamped to the minimum and maximum interval.
// Without either it is 0: there is no heuristic freshness. The next refresh comes shortly
// before the end of that time, by a random part ([WithJitter]), or shortly after it where
// the minimum interval decides. A registered resource is stored because the program asked
// for that: no-store and no-cache only make its lifetime 0, and must-revalidate and
// stale-if-error are ignored; only [WithMaxStale] limits how long a stale value is served.
// Refreshes are conditional (RFC 9110, section 13); a 304, or a 200 with the same bytes,
// keeps value and version.
//
// A value with a method ExpiresAt() time.Time sets its own lifetime, like a token that
// carries its expiry in the body. That is a hard limit: the value is refreshed before it,
// and withdrawn when it is reached (after a sleep of the machine within a minute).
//
// # Failures
//
// A failed refresh keeps the last good value. It is tried again after an exponential
// back-off with full jitter; Retry-After is obeyed up to one hour. The headers of an error
// response never change the freshness of the value. Get without a value returns the result
// of one fetch; during back-off it returns the last *[RefreshError] at once. A process that
// starts with a stored record continues the back-off of the one before.
//
// # Errors
//
// [ErrNotRegistered], [ErrRegistered], [ErrNotAllowed], [ErrNotReady],
// [ErrStale], [ErrTooLarge] and [ErrClosed] are matched with errors.Is;
// *[RefreshError], *[StatusError] and *[RateLimitError] with errors.As. When a
// wait ends with the caller's context, the error holds the context's error and
// why the last fetch failed.
//
// # Goroutines
//
// [NewCache] starts one, the refresher. Workers and the dispatcher of sink and
// observer are started when there is work and end with it. [Cache.Close], or the
// end of NewCache's context, stops them all; Close waits for them, at most
// 5 s in all. A resource costs memory, but no goroutine and no timer.
//
// # Security
//
// URLs can hold secrets. A resource registered with [WithKey] is always named by its key;
// without one, messages show the URL with its query values removed. Header values and
// bodies are never shown. Every URL, also that of a redirect, must pass [WithAllow]. No
// header, body or Referer of the caller is sent to another origin, and https never falls
// back to http. Bodies are bounded after decompression, and one that was cut short never
// replaces a value.
package everfresh
