// Package jwks provides the public keys with which a service verifies the tokens of an
// issuer: a JSON Web Key Set (RFC 7517) that is fetched from the issuer, kept fresh in the
// background, and read with one atomic load on every request.
//
//	src, err := jwks.FromIssuer(cache, "https://issuer.example")  // no network wait
//	key, err := src.Key(ctx, kid, alg)                            // a crypto.PublicKey
//
// A [Source] can be used with golang-jwt, go-oidc, jwx and go-jose, as the examples show;
// this package imports none of them. [Source.VerifySignature] verifies a compact JWS with
// only the standard library. It checks signatures and nothing else: the caller, or its JWT
// library, must check claims such as exp, iss and aud.
//
// # What is trusted
//
// The issuer's host is trusted, authenticated by TLS. Keys come from the URL passed to
// [New], or from the jwks_uri in the metadata of the issuer passed to [FromIssuer]. They
// never come from a token: its jku, x5u and jwk are not read, and its iss only selects one
// of the issuers of a closed set ([Multi]). Metadata must name exactly the issuer from
// which it was fetched (OpenID Connect Discovery, section 4.3; RFC 8414, section 3.3).
// URLs must be https, and the key set and redirects must stay on the origin of the URL or
// issuer, unless [WithOrigins] or [WithInsecureHTTP] say otherwise. The cache decides which
// addresses may be dialled: [everfresh.WithPublicOnly].
//
// With a storage ([everfresh.WithStorage]), anyone who can write to the storage can add
// keys, too, unless it is sealed (package store/sealed). Keys that were fetched with earlier
// options stay stored: remove them when an origin is no longer trusted.
//
// Symmetric keys are never accepted and private parts are dropped. The algorithm of a token
// must be on the list of [WithAlgorithms] and must be possible for the key: the key's type
// and curve and its alg, use and key_ops decide that, not the token. A token that was signed
// with HMAC, with a public key as the secret, is rejected, and so is "none".
//
// # Limits
//
//	fetches for unknown key IDs   2 at once, then one every 15 s, however many ask
//	a fetch                       5 s, and at most 1 MiB
//	keys in a set                 1000
//	time between refreshes        as Cache-Control says, from 5 min to 1 h; 15 min without it
//	time between retries          250 ms, doubling to 30 s, while the issuer fails; Retry-After, up to 5 min
//	use of keys after an outage   24 h beyond their freshness
//	redirects                     3, on the same origin
//	length of a key ID            256 bytes
//	length of a token             1 MiB
//
// [WithResource] changes the limits that the cache enforces.
//
// # What happens when
//
// A token has a new key ID, after a rotation: the key set is fetched during that first
// request, and the key is found. A fetch that returns a changed set does not count against
// the limit above, up to ten in a row, so that a second rotation soon afterwards is found
// just as fast.
//
// Tokens have invented key IDs, in any number: they share the limit. When it is reached,
// they are rejected at once, without a fetch. The set is refreshed as soon as the limit
// allows, so that a rotation in the meantime is noticed within 15 s. Tokens with known key
// IDs never wait.
//
// The issuer fails, hangs or returns garbage: the last good set stays in use. A response
// that is not a key set, or has no usable key, never replaces one. A set is no longer used
// ([ErrUnavailable]) when it has been stale for 24 h.
//
// The process starts while the issuer is down: [New] and [FromIssuer] succeed. Key waits
// only for the first fetch, and its error is [ErrUnavailable]. With a storage
// ([everfresh.WithStorage]), the keys of the last run are used.
//
// A key is withdrawn: it is gone after the next successful refresh, at most 1 h later. If
// the metadata names a new URL for the keys and the old one still works, the new URL is
// used after the next refresh of the metadata, at most 1 h later.
//
// A key is broken or of an unknown kind: it is left out, and reported once to the cache's
// error sink and in [Set.Skipped]. The other keys are used.
//
// # Errors
//
// One question decides how to answer a request whose token could not be verified:
//
//	errors.Is(err, jwks.ErrUnavailable)  503: it is unknown whether the token is valid
//	otherwise                            401: the token is not valid
//
// The latter are [ErrKeyNotFound], [ErrAlgorithm], [ErrToken], [ErrSignature] and
// [ErrIssuer]. An ErrKeyNotFound that is a [*RateLimitError] means that the issuer was not
// asked, because it has been asked too often recently: the key may be new and valid. Answer
// 401, or 503 with a Retry-After from its RetryAfter if your clients discard a token on 401.
// A key ID is text from the sender of the token: errors quote and truncate it. Do not use it
// as the label of a metric.
package jwks
