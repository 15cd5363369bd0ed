// Package jwkstest is an issuer of tokens for tests: it publishes keys and
// metadata, signs, rotates, and fails in every way a real one does.
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
// # Where it is
//
// A new [Issuer] is nowhere: the client of [Issuer.Client] answers in the
// goroutine that asks, without a network, so it works in a bubble of
// [testing/synctest], where a hanging endpoint and an hour of outage cost no time.
// [Issuer.Start] gives it a real TLS server instead, for code that makes its own
// connections. An Issuer is an [http.Handler] too.
//
// # Keys
//
// [Issuer.Rotate] makes a key, publishes it, and signs with it from then on; older
// keys stay until [Issuer.Withdraw]. Its two steps can be taken apart, to sign with
// a key that no client can know yet:
//
//	next := iss.NewKey("RS256")
//	token := iss.Sign(claims, jwkstest.SignedBy(next)) // not published
//	iss.Publish(next)                                  // now it is
//
// Keys are called key-1, key-2 and so on. [Key].Private signs with any other
// library. What this package cannot make, such as a key of type AKP or oct, is
// published by [Issuer.PublishJWK].
//
// # Bad tokens
//
// Options of [Issuer.Sign] make the tokens that a verifier must refuse:
//
//	iss.Sign(claims, jwkstest.Unsigned())                     // alg none
//	iss.Sign(claims, jwkstest.HMAC(publicKeyPEM))             // HS256 by the public key
//	iss.Sign(claims, jwkstest.Tampered())                     // wrong signature
//	iss.Sign(claims, jwkstest.WithHeader("kid", "unknown"))   // nil: without kid
//	iss.Sign(claims, jwkstest.WithHeader("alg", "RS256"))     // not the key's
//	iss.Sign(claims, jwkstest.SignedBy(iss.NewKey("ES256")))  // by an unpublished key
//
// # Faults
//
// A [Fault] stands before an endpoint, from [Endpoint.Break] until the next Break
// or [Endpoint.Recover]. It is a middleware, so a fault that is not here is a
// function of three lines, and so is a hook on each request.
//
// # Errors
//
// A mistake in a test, such as an unknown algorithm or claims that are not JSON,
// panics. Nothing here is fit for use outside tests.
package jwkstest
