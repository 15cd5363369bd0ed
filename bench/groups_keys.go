package main

import (
	"fmt"
	"time"
)

// keyGroups are those of package jwks.
var keyGroups = []group{
	{
		name: "keys", title: "A key by its ID",
		note: "The last key of a set whose keys are RSA, P-256 and Ed25519 in turn, one goroutine. golang-jwt and package crypto need a `crypto.PublicKey`. everfresh, keyfunc and go-jose (inside its own type) have it ready; jwx converts its own key with `jwk.Export`. A refused key is an unknown one while the rate limit for such fetches is exhausted. go-oidc has no look-up of its own: see the next table.",
		per:  "bare", columns: sliceColumns, shown: readMetrics, peers: keyPeers,
		slices: 15, slice: 2 * time.Millisecond, open: openKeys,
		rows: sizedRows(map[string]string{
			"bare":       "`atomic.Pointer` to a map",
			"everfresh":  "everfresh `Source.Key`",
			"refused":    "everfresh `Source.Key`, refused",
			"cached":     "jwx `CachedSet.LookupKeyID`",
			"exported":   "jwx `CachedSet.LookupKeyID`, `jwk.Export`",
			"jwx-lookup": "jwx `Cache.Lookup`, `LookupKeyID`",
			"keyfunc":    "keyfunc `Keyfunc(token)`",
			"jose":       "go-jose `JSONWebKeySet.Key`",
		}, "bare", "everfresh", "refused", "cached", "exported", "jwx-lookup", "keyfunc", "jose"),
	},
	{
		name: "verify", title: "Verifying a token",
		note: "From the token's text to its payload: the token is parsed, its key is found among 12 by its ID, and the signature is checked. Claims are not checked. golang-jwt also decodes the claims into its `RegisteredClaims`, and returns no payload. The key set of go-jose is in memory and never refreshed. The last row of each algorithm is for information.",
		per:  "everfresh", columns: sliceColumns, shown: []metric{timeMetric, cpuMetric, bytesMetric, allocsMetric}, peers: keyPeers,
		slices: 15, slice: 4 * time.Millisecond, open: openVerify, rows: verifyRows(),
	},
	{
		name: "parse", title: "Parsing a key set",
		note: "RSA, P-256 and Ed25519 in turn. A set is parsed once for each change. jwx parses into its own types, which `jwk.Export` converts to keys of package crypto; the others produce these directly.",
		per:  "everfresh", columns: sliceColumns, shown: []metric{timeMetric, bytesMetric, allocsMetric}, peers: keyPeers,
		slices: 15, slice: 4 * time.Millisecond, open: openParse,
		rows: sizedRows(map[string]string{
			"everfresh": "everfresh `jwks.Parse`",
			"jose":      "go-jose `json.Unmarshal` into a `JSONWebKeySet`",
			"jwkset":    "jwkset `json.Unmarshal` into a `JWKSMarshal`, `JWKSlice`",
			"jwx":       "jwx `jwk.Parse`",
		}, "everfresh", "jose", "jwkset", "jwx"),
	},
	{
		name: "storms", title: "What happens when",
		note:   "What verifiers do when clients or the issuer misbehave. Nothing here is about speed: each library is tried once, in a process of its own and with its defaults, against an issuer on loopback that answers after 5 ms. With *jwx, refreshing* the caller reads the set by `Cache.Lookup` and calls `Cache.Refresh` when a token's key is not in it, since jwx itself does not; with *jwx* the set is a `CachedSet`, and `Cache.Refresh` is called where a row says that there is a refresh. keyfunc and go-oidc have no such call: they get a token with an unknown key instead. An empty field means that it did not happen in time: within 10 s for the start, within 15.5 s for a new key. The verdict is everfresh's.",
		across: true, columns: stormColumns(), shown: stormMetrics(), rounds: 1, probes: stormProbes, peers: keyPeers,
		rows: []row{
			{"everfresh", "everfresh"},
			{"jwx-refresh", "jwx, refreshing"},
			{"jwx", "jwx"},
			{"keyfunc", "keyfunc"},
			{"oidc", "go-oidc"},
		},
	},
}

// sizedRows returns a row for each candidate, named in order, at each size.
func sizedRows(labels map[string]string, order ...string) []row {
	var rows []row
	for _, n := range keySizes {
		for _, name := range order {
			rows = append(rows, row{fmt.Sprintf("%s/%d", name, n), fmt.Sprintf("%s, %d keys", labels[name], n)})
		}
	}
	return rows
}

func verifyRows() []row {
	var rows []row
	for _, alg := range keyAlgorithms {
		rows = append(rows,
			row{"everfresh/" + alg, "everfresh `Source.VerifySignature`, " + alg},
			row{"oidc/" + alg, "go-oidc `RemoteKeySet.VerifySignature`, " + alg},
			row{"jwx/" + alg, "jwx `jws.Verify` with a `CachedSet`, " + alg},
			row{"keyfunc/" + alg, "golang-jwt with keyfunc, " + alg},
			row{"jose/" + alg, "go-jose `ParseSignedCompact`, `JSONWebKeySet.Key`, `Verify`, " + alg},
			row{"jwt-everfresh/" + alg, "golang-jwt with everfresh `jwks.Keyfunc`, " + alg})
	}
	return rows
}
