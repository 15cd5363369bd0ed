// Package everfreshtest has what the tests of everfresh share: caches that a test closes,
// an origin, a network in memory, a storage with hooks, a recorder of errors and events,
// and checks. Only tests import it. All of it works in a synctest bubble.
package everfreshtest
