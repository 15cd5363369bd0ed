package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/everfresh-go/everfresh/jwks/jwkstest"
	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v3/jwk"
)

// keySizes are how many keys a set has.
var keySizes = []int{3, 12, 99}

// lookups is how many keys are looked up in one pass.
const lookups = 64

// openKeys opens the candidates that look up the last key of a set by its ID.
func openKeys(ctx context.Context, _ scale) (*stage, error) {
	st := &stage{}
	var closers []func() error
	st.close = func() error {
		var errs []error
		for _, c := range closers {
			errs = append(errs, c())
		}
		return errors.Join(errs...)
	}
	for _, n := range keySizes {
		h, err := openKeyHolders(ctx, n)
		if err != nil {
			return nil, errors.Join(err, st.close())
		}
		closers = append(closers, h.close)
		for name, read := range h.lookups(ctx) {
			st.candidates = append(st.candidates, read.candidate(fmt.Sprintf("%s/%d", name, n), lookups, lookups))
		}
	}
	return st, nil
}

// lookups returns the readings of the last key. The caller's key ID is another string than
// that of the set.
func (h *keyHolders) lookups(ctx context.Context) map[string]reading {
	kid, alg := strings.Clone(h.last.ID), strings.Clone(h.last.Algorithm)
	token := &jwt.Token{Header: map[string]any{"kid": kid, "alg": alg}}
	return map[string]reading{
		"bare":       h.readBareKey(kid),
		"everfresh":  h.readKey(ctx, kid, alg),
		"refused":    h.readRefused(ctx, strings.Clone(unknownKeyID), alg),
		"cached":     h.readCached(kid),
		"exported":   h.readExported(kid),
		"jwx-lookup": h.readLookup(ctx, kid),
		"keyfunc":    h.readKeyfunc(token),
		"jose":       h.readJose(kid),
	}
}

// readBareKey reads the least that can be replaced meanwhile.
func (h *keyHolders) readBareKey(kid string) reading {
	var set atomic.Pointer[map[string]*jwkstest.Key]
	keys := make(map[string]*jwkstest.Key)
	for _, key := range h.jose.Keys {
		keys[key.KeyID] = &jwkstest.Key{ID: key.KeyID}
	}
	set.Store(&keys)
	return func(passes int) (sum uint64) {
		for range passes * lookups {
			if key := (*set.Load())[kid]; key != nil {
				sum++
			}
		}
		return sum
	}
}

func (h *keyHolders) readKey(ctx context.Context, kid, alg string) reading {
	return func(passes int) (sum uint64) {
		for range passes * lookups {
			if key, err := h.source.Key(ctx, kid, alg); err == nil && key != nil {
				sum++
			}
		}
		return sum
	}
}

// readRefused looks up a key that there is not, while the budget for these is spent.
func (h *keyHolders) readRefused(ctx context.Context, kid, alg string) reading {
	return func(passes int) (sum uint64) {
		for range passes * lookups {
			if _, err := h.source.Key(ctx, kid, alg); err != nil {
				sum++
			}
		}
		return sum
	}
}

func (h *keyHolders) readCached(kid string) reading {
	return func(passes int) (sum uint64) {
		for range passes * lookups {
			if _, ok := h.cached.LookupKeyID(kid); ok {
				sum++
			}
		}
		return sum
	}
}

// readExported makes what package crypto verifies with.
func (h *keyHolders) readExported(kid string) reading {
	return func(passes int) (sum uint64) {
		for range passes * lookups {
			key, ok := h.cached.LookupKeyID(kid)
			if !ok {
				continue
			}
			var public any
			if err := jwk.Export(key, &public); err == nil && public != nil {
				sum++
			}
		}
		return sum
	}
}

func (h *keyHolders) readLookup(ctx context.Context, kid string) reading {
	return func(passes int) (sum uint64) {
		for range passes * lookups {
			set, err := h.cache.Lookup(ctx, h.url())
			if err != nil {
				continue
			}
			if _, ok := set.LookupKeyID(kid); ok {
				sum++
			}
		}
		return sum
	}
}

func (h *keyHolders) readKeyfunc(token *jwt.Token) reading {
	return func(passes int) (sum uint64) {
		for range passes * lookups {
			if key, err := h.keyfunc.Keyfunc(token); err == nil && key != nil {
				sum++
			}
		}
		return sum
	}
}

func (h *keyHolders) readJose(kid string) reading {
	return func(passes int) (sum uint64) {
		for range passes * lookups {
			if keys := h.jose.Key(kid); len(keys) == 1 {
				sum++
			}
		}
		return sum
	}
}
