package jwks_test

import (
	"context"
	"crypto"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh/jwks"
	"github.com/everfresh-go/everfresh/jwks/jwkstest"
)

// twoIssuers are the closed set of two issuers, whose keys have the same names. Faults
// stand before the first one from the start.
func twoIssuers(t *testing.T, faults ...jwkstest.Fault) (a, b *jwkstest.Issuer, both *jwks.Issuers) {
	t.Helper()
	a, b = jwkstest.New(jwkstest.WithURL("https://a.test")), jwkstest.New(jwkstest.WithURL("https://b.test"))
	for _, fault := range faults {
		down(a, fault)
	}
	s := siteOf(t, a, withClientOf(a, b))
	sources := map[string]jwks.KeySource{a.URL(): s.discovered(t), "https://nil.test": nil}
	of, err := jwks.FromIssuer(s.cache, b.URL())
	if err != nil {
		t.Fatal(err)
	}
	sources[b.URL()] = of
	both = jwks.Multi(sources)
	clear(sources) // it was copied
	return a, b, both
}

// A token is verified with the keys of the issuer that it names, and not with any other's.
func TestMulti(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, both := twoIssuers(t)
		for _, iss := range []*jwkstest.Issuer{a, b} {
			claims := map[string]any{"iss": iss.URL(), "sub": "x"}
			payload, err := both.VerifySignature(t.Context(), iss.Sign(claims))
			if err != nil || !strings.Contains(string(payload), iss.URL()) {
				t.Errorf("%s: %s, %v", iss.URL(), payload, err)
			}
			src, err := both.Source(iss.URL())
			if err != nil {
				t.Fatal(err)
			}
			wantKeyAtOnce(t, src, iss.Key())
		}
		for name, tt := range map[string]struct {
			claims any
			want   error
		}{
			"the other's name":       {map[string]any{"iss": a.URL()}, jwks.ErrSignature},
			"unknown issuer":         {map[string]any{"iss": "https://c.test"}, jwks.ErrIssuer},
			"an issuer of no set":    {map[string]any{"iss": "https://nil.test"}, jwks.ErrIssuer},
			"slash at the end":       {map[string]any{"iss": b.URL() + "/"}, jwks.ErrIssuer},
			"capitals":               {map[string]any{"iss": "https://B.test"}, jwks.ErrIssuer},
			"no issuer":              {map[string]any{"sub": "x"}, jwks.ErrToken},
			"empty issuer":           {map[string]any{"iss": ""}, jwks.ErrToken},
			"issuer is not a string": {map[string]any{"iss": []string{b.URL()}}, jwks.ErrToken},
			"null":                   {[]byte("null"), jwks.ErrToken},
			"no object":              {[]byte(`["iss"]`), jwks.ErrToken},
			"no JSON":                {[]byte("x"), jwks.ErrToken},
			"nothing":                {[]byte(""), jwks.ErrToken},
		} {
			_, err := both.VerifySignature(t.Context(), b.Sign(tt.claims))
			wantError(t, err, tt.want)
			if errors.Is(err, jwks.ErrUnavailable) {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, err := both.VerifySignature(t.Context(), "x")
		wantError(t, err, jwks.ErrToken)
	})
}

// An issuer of the set cannot sign for another one by naming both: JSON libraries do not
// agree on which of two names counts, and some ignore case.
func TestMultiTakesNoTokenOfTwoIssuers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, evil, both := twoIssuers(t)
		for _, claims := range []string{
			`{"iss":"https://a.test","iss":"https://b.test"}`,
			`{"iss":"https://b.test","iss":"https://a.test"}`,
			`{"iss":"https://a.test","ISS":"https://b.test"}`,
			`{"ISS":"https://b.test","iss":"https://a.test"}`,
			`{"Iss":"https://b.test"}`,
			`{"i\u017f\u017f":"https://b.test","iss":"https://b.test"}`,
			`{"iss":"https://a.test","\u0069ss":"https://b.test"}`,
			`{"iss":"https://b.test","ISS":null}`,
		} {
			if _, err := both.VerifySignature(t.Context(), evil.Sign([]byte(claims))); err == nil || !errors.Is(err, jwks.ErrToken) {
				t.Errorf("%s: %v", claims, err)
			}
		}
		if _, err := both.VerifySignature(t.Context(), evil.Sign([]byte(` {"sub":{"iss":"https://a.test"},"iss":"https://b.test"} `))); err != nil {
			t.Errorf("one issuer: %v", err)
		}
	})
}

// A stub is a source with one answer.
type stub struct {
	key   crypto.PublicKey
	err   error
	calls int
}

func (s *stub) Key(context.Context, string, string) (crypto.PublicKey, error) {
	s.calls++
	return s.key, s.err
}

// The second source is asked only when the first has no answer, and a key is unknown only
// if both say so.
func TestFailover(t *testing.T) {
	down, unknown := errors.Join(jwks.ErrUnavailable, errors.New("down")), errors.Join(jwks.ErrKeyNotFound)
	for name, tt := range map[string]struct {
		first, second *stub
		key           crypto.PublicKey
		is            []error
		asked         int // how often the second
	}{
		"first has it":         {&stub{key: 1}, &stub{key: 2}, 1, nil, 0},
		"second has it":        {&stub{err: unknown}, &stub{key: 2}, 2, nil, 1},
		"first is down":        {&stub{err: down}, &stub{key: 2}, 2, nil, 1},
		"neither":              {&stub{err: unknown}, &stub{err: unknown}, nil, []error{jwks.ErrKeyNotFound}, 1},
		"first down, unknown":  {&stub{err: down}, &stub{err: unknown}, nil, []error{jwks.ErrUnavailable, jwks.ErrKeyNotFound}, 1},
		"unknown, second down": {&stub{err: unknown}, &stub{err: down}, nil, []error{jwks.ErrUnavailable, jwks.ErrKeyNotFound}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := jwks.Failover(tt.first, tt.second).Key(t.Context(), "k", "ES256")
			if key != tt.key || (err == nil) != (tt.is == nil) || tt.second.calls != tt.asked {
				t.Errorf("Key = %v, %v after %d calls of the second", key, err, tt.second.calls)
			}
			wantError(t, err, tt.is...)
			if len(tt.is) == 1 && errors.Is(err, jwks.ErrUnavailable) {
				t.Errorf("Key = %v", err)
			}
		})
	}
}

// With an issuer that is down in front, a second one verifies; VerifySignature takes any
// source.
func TestFailoverVerifies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, both := twoIssuers(t, jwkstest.Drop)
		first, errA := both.Source(a.URL())
		second, errB := both.Source(b.URL())
		if err := errors.Join(errA, errB); err != nil {
			t.Fatal(err)
		}
		src := jwks.Failover(first, second)
		start := time.Now()
		if payload, err := jwks.VerifySignature(t.Context(), src, b.Sign([]byte(`{"x":1}`))); err != nil || string(payload) != `{"x":1}` {
			t.Errorf("VerifySignature = %s, %v", payload, err)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("it took %v", d)
		}
		_, err := jwks.VerifySignature(t.Context(), src, b.Sign(nil, jwkstest.Tampered()))
		wantError(t, err, jwks.ErrSignature)
		_, err = jwks.VerifySignature(t.Context(), src, b.Sign(nil, jwkstest.WithHeader("kid", "unknown")))
		wantError(t, err, jwks.ErrUnavailable, jwks.ErrKeyNotFound)
		_, err = jwks.VerifySignature(t.Context(), second, "x")
		wantError(t, err, jwks.ErrToken)
	})
}

// Keyfunc reads kid and alg of a header, and takes nothing for text that is none.
func TestKeyfunc(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		src := ready(t, s.source(t))
		type token struct{ header map[string]any }
		find := jwks.Keyfunc(src, func(tok *token) map[string]any { return tok.header })
		for name, tt := range map[string]struct {
			header map[string]any
			want   error
		}{
			"good":                {map[string]any{"kid": "key-1", "alg": "ES256", "typ": "JWT"}, nil},
			"no kid":              {map[string]any{"alg": "ES256"}, nil},
			"no alg":              {map[string]any{"kid": "key-1"}, jwks.ErrToken},
			"alg is not a string": {map[string]any{"kid": "key-1", "alg": []any{"ES256"}}, jwks.ErrToken},
			"kid is not a string": {map[string]any{"kid": 1, "alg": "ES256"}, jwks.ErrToken},
			"kid is null":         {map[string]any{"kid": nil, "alg": "ES256"}, jwks.ErrToken},
			"none":                {map[string]any{"kid": "key-1", "alg": "none"}, jwks.ErrAlgorithm},
			"unknown":             {map[string]any{"kid": "key-2", "alg": "ES256"}, jwks.ErrKeyNotFound},
			"no header":           {nil, jwks.ErrToken},
		} {
			got, err := find(&token{tt.header})
			if tt.want != nil {
				wantError(t, err, tt.want)
				continue
			}
			if err != nil || !sameKey(got, s.iss.Key()) {
				t.Errorf("%s: %v", name, err)
			}
		}
		s.iss.KeySet().Break(jwkstest.Hang)
		ctx, cancel := contextFor(t, 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := jwks.KeyfuncContext(ctx, src, func(h map[string]any) map[string]any { return h })(map[string]any{"kid": "x", "alg": "ES256"})
		wantError(t, err, context.DeadlineExceeded, jwks.ErrUnavailable)
		if d := time.Since(start); d != 100*time.Millisecond {
			t.Errorf("it took %v", d)
		}
	})
}
