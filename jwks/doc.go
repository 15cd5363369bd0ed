// Package jwks holds the public keys that verify other people's tokens: a JSON Web Key Set
// (RFC 7517) that is read from its issuer, kept fresh in the background, and one atomic load
// away on every request.
//
//	src, err := jwks.FromIssuer(cache, "https://issuer.example")  // no network wait
//	key, err := src.Key(ctx, kid, alg)                            // a crypto.PublicKey
//
// A [Source] plugs into golang-jwt, go-oidc, jwx and go-jose, none of which this package
// imports; the examples show each. [Source.VerifySignature] verifies a compact JWS with the
// standard library alone. It checks signatures, and nothing else: claims such as exp, iss
// and aud are the caller's, or its JWT library's, to check.
//
// # What is trusted
//
// The issuer's host, as TLS vouches for it. Keys come from the URL that [New] is given, or
// from the jwks_uri of the metadata of the issuer that [FromIssuer] is given; never from
// what a token says: its jku, x5u and jwk are not read, and its iss only chooses among the
// issuers of a closed set ([Multi]). Metadata must name the very issuer it was asked of
// (OpenID Connect Discovery, section 4.3; RFC 8414, section 3.3). URLs must be https, and
// key set and redirects must stay on the origin of the URL or issuer, unless
// [WithOrigins] or [WithInsecureHTTP] say otherwise. Which addresses may be dialled is
// the cache's to say: [everfresh.WithPublicOnly].
//
// With a storage ([everfresh.WithStorage]), who can write it can put keys there, too, unless
// it is sealed (package store/sealed). What was fetched under former options stays stored:
// remove it when an origin is no longer trusted.
//
// Symmetric keys are never admitted, private halves are dropped, and the algorithm that a
// token names must be on the list of [WithAlgorithms] and be one that the key can have:
// its type and curve, its alg, its use and key_ops decide, not the token. A token signed
// with HMAC by means of a public key is refused, and so is "none".
//
// # What is bounded
//
//	fetches for unknown key IDs   2 at once, then one every 15 s, however many ask
//	a fetch                       5 s, and at most 1 MiB
//	keys in a set                 1000
//	time between refreshes        what Cache-Control says, from 5 min to 1 h; 15 min if it is silent
//	time between tries            250 ms, doubling to 30 s, while the issuer fails; Retry-After, up to 5 min
//	use of keys after an outage   24 h beyond their freshness
//	redirects                     3, on the same origin
//	length of a key ID            256 bytes
//	length of a token             1 MiB
//
// [WithResource] changes those that are the cache's.
//
// # What happens when
//
// A token with a new key ID, after a rotation: the key set is fetched within that first
// request, and its key is found. A fetch that brings a changed set is not charged to the
// budget above, up to ten in a row, so that a second rotation right after is found as fast.
//
// Tokens with invented key IDs, in any number: they share the budget. When it is spent they
// are refused at once, without a fetch, and the set is refreshed when the budget refills,
// so that a rotation meanwhile is seen within 15 s. Tokens with known key IDs never wait.
//
// The issuer fails, hangs or answers with garbage: the last good set stays in use. An answer
// that is no key set, or holds no usable key, never replaces one. After 24 h without a good
// answer beyond its freshness, a set is no longer used ([ErrUnavailable]).
//
// The process starts while the issuer is down: [New] and [FromIssuer] succeed; Key waits for
// the first fetch only, and its error is [ErrUnavailable]. With a storage
// ([everfresh.WithStorage]) the keys of the last run verify.
//
// A key is withdrawn: it is gone after the next successful refresh, at most 1 h later. If
// the metadata names another place for the keys and the old one still answers, the new place
// is noticed when the metadata is refreshed, at most 1 h later.
//
// A key of a kind that is not known, or that is broken, is left out, and told once to the
// cache's error sink and in [Set.Skipped]; it does not keep others from being used.
//
// # Errors
//
// One question decides how to answer a request whose token is not verified:
//
//	errors.Is(err, jwks.ErrUnavailable)  503: nobody can say whether the token is good
//	otherwise                            401: the token is not good
//
// The latter are [ErrKeyNotFound], [ErrAlgorithm], [ErrToken], [ErrSignature] and
// [ErrIssuer]. An ErrKeyNotFound that is a [*RateLimitError] means that the issuer was not
// asked, as it was too often lately: the key may be new and good. Answer 401, or 503 with a
// Retry-After from its RetryAfter if your clients throw a token away on 401. A key ID is text
// of whoever sent the token: in errors it is quoted and cut; do not make it a metric's label.
package jwks
