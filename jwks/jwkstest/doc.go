// Package jwkstest provides an issuer of tokens for tests: it publishes keys and metadata,
// signs, rotates keys, and fails in every way in which a real one does.
//
//	iss := jwkstest.New()
//	src := newVerifier(iss.Client(), iss.KeySet().URL()) // the code under test
//
//	token := iss.Sign(map[string]any{"iss": iss.URL(), "sub": "alice"})
//	...
//	iss.Rotate("ES256")
//	iss.KeySet().Break(jwkstest.Answer(503, nil, ""))
//	...
//	iss.KeySet().Recover()
//
// It has three endpoints. Each has its own headers, fault and list of requests:
//
//	KeySet     <issuer>/jwks.json                             RFC 7517, section 5
//	Discovery  <issuer>/.well-known/openid-configuration      OpenID Connect Discovery 1.0
//	Metadata   /.well-known/oauth-authorization-server<path>  RFC 8414, section 3.1
//
// # In memory or on a server
//
// A new [Issuer] has no server: the client of [Issuer.Client] answers in the goroutine of
// the request, without a network. So it works in a bubble of [testing/synctest], where a
// hanging endpoint or an hour of outage costs no time. [Issuer.Start] starts a real TLS
// server instead, for code that makes its own connections. An Issuer is also an
// [http.Handler].
//
// # Keys
//
// [Issuer.Rotate] makes a key, publishes it, and signs with it from then on. Older keys
// stay until [Issuer.Withdraw]. Its two steps can be done separately, to sign with a key
// that no client can know yet:
//
//	next := iss.NewKey("RS256")
//	token := iss.Sign(claims, jwkstest.SignedBy(next)) // not published
//	iss.Publish(next)                                  // now it is
//
// Keys are called key-1, key-2 and so on. [Key].Private can be used to sign with any other
// library. [Issuer.PublishJWK] publishes keys that this package cannot make, such as keys
// of type AKP or oct.
//
// # Bad tokens
//
// Options of [Issuer.Sign] make tokens that a verifier must reject:
//
//	iss.Sign(claims, jwkstest.Unsigned())                     // alg none
//	iss.Sign(claims, jwkstest.HMAC(publicKeyPEM))             // HS256 with the public key
//	iss.Sign(claims, jwkstest.Tampered())                     // wrong signature
//	iss.Sign(claims, jwkstest.WithHeader("kid", "unknown"))   // nil: without kid
//	iss.Sign(claims, jwkstest.WithHeader("alg", "RS256"))     // not the key's
//	iss.Sign(claims, jwkstest.SignedBy(iss.NewKey("ES256")))  // by an unpublished key
//
// # Faults
//
// A [Fault] is in effect at an endpoint from [Endpoint.Break] until the next Break or
// [Endpoint.Recover]. It is a middleware, so further faults, or a hook on each request, are
// functions of three lines.
//
// # Errors
//
// A mistake in a test, such as an unknown algorithm or claims that are not JSON,
// panics. Do not use this package outside tests.
package jwkstest
