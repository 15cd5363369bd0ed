package main

import (
	"fmt"
	"slices"
)

var keyBars = slices.Concat(lookupBars(), verifyBars(), parseBars(), stormBars())

func lookupBars() []bar {
	var bars []bar
	for _, n := range keySizes {
		found, refused, bare := fmt.Sprintf("everfresh/%d", n), fmt.Sprintf("refused/%d", n), fmt.Sprintf("bare/%d", n)
		bars = append(bars,
			bar{group: "keys", candidate: found, metric: timeMetric, over: bare, most: 2},
			bar{group: "keys", candidate: found, metric: allocsMetric},
			bar{group: "keys", candidate: refused, metric: allocsMetric})
	}
	return append(bars, bar{group: "keys", candidate: "everfresh/99", metric: timeMetric, over: "everfresh/3", most: 1.15})
}

// verifyBars are against the fastest peer, that is, against each.
func verifyBars() []bar {
	var bars []bar
	for _, alg := range keyAlgorithms {
		for _, peer := range []string{"oidc/", "jwx/", "keyfunc/", "jose/"} {
			bars = append(bars, bar{group: "verify", candidate: "everfresh/" + alg, metric: timeMetric, over: peer + alg, most: 1})
		}
	}
	return bars
}

func parseBars() []bar {
	var bars []bar
	for _, n := range keySizes {
		everfresh, jose := fmt.Sprintf("everfresh/%d", n), fmt.Sprintf("jose/%d", n)
		bars = append(bars,
			bar{group: "parse", candidate: everfresh, metric: timeMetric, over: jose, most: 1},
			bar{group: "parse", candidate: everfresh, metric: bytesMetric, over: jose, most: 1})
	}
	return bars
}
