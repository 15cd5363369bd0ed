package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/MicahParks/jwkset"
	"github.com/everfresh-go/everfresh/jwks"
	"github.com/go-jose/go-jose/v4"
	"github.com/lestrrat-go/jwx/v3/jwk"
)

// openParse opens the candidates that parse a key set.
func openParse(ctx context.Context, _ scale) (*stage, error) {
	st := &stage{close: func() error { return nil }}
	for _, n := range keySizes {
		set, err := newKeySet(ctx, n)
		if err != nil {
			return nil, err
		}
		for name, parse := range parsers(set.data) {
			name = fmt.Sprintf("%s/%d", name, n)
			if got, err := parse(); err != nil || got != n {
				return nil, fmt.Errorf("%s: %d keys, error %w", name, got, err)
			}
			c, err := verification(parse).candidate(name)
			if err != nil {
				return nil, err
			}
			st.candidates = append(st.candidates, c)
		}
	}
	return st, nil
}

// parsers returns functions that parse data and return how many keys it has.
func parsers(data []byte) map[string]func() (int, error) {
	return map[string]func() (int, error){
		"everfresh": func() (int, error) {
			set, err := jwks.Parse(data)
			if err != nil {
				return 0, err
			}
			return set.Len(), nil
		},
		"jose": func() (int, error) {
			var set jose.JSONWebKeySet
			err := json.Unmarshal(data, &set)
			return len(set.Keys), err
		},
		"jwx": func() (int, error) {
			set, err := jwk.Parse(data)
			if err != nil {
				return 0, err
			}
			return set.Len(), nil
		},
		"jwkset": func() (int, error) {
			var set jwkset.JWKSMarshal
			if err := json.Unmarshal(data, &set); err != nil {
				return 0, err
			}
			keys, err := set.JWKSlice()
			return len(keys), err
		},
	}
}
