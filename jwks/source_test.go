package jwks_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/jwks"
	"github.com/everfresh-go/everfresh/jwks/jwkstest"
)

// What a token can ask for without a fetch is refused without one: an algorithm that is
// not allowed, a key ID that is too long, a known key for another algorithm.
func TestRefusedWithoutAFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		src := ready(t, s.source(t))
		long := strings.Repeat("k", 257)
		for name, tt := range map[string]struct {
			kid, alg string
			want     error
		}{
			"none":                       {"key-1", "none", jwks.ErrAlgorithm},
			"HMAC":                       {"key-1", "HS256", jwks.ErrAlgorithm},
			"no algorithm":               {"key-1", "", jwks.ErrAlgorithm},
			"unknown algorithm":          {"unknown", "XX999", jwks.ErrAlgorithm},
			"lower case":                 {"key-1", "es256", jwks.ErrAlgorithm},
			"algorithm of another key":   {"key-1", "RS256", jwks.ErrAlgorithm},
			"algorithm of another curve": {"key-1", "ES384", jwks.ErrAlgorithm},
			"long key ID":                {long, "ES256", jwks.ErrKeyNotFound},
		} {
			for range 5 {
				_, err := src.Key(t.Context(), tt.kid, tt.alg)
				wantError(t, err, tt.want)
				if errors.Is(err, jwks.ErrUnavailable) {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		if n := s.fetches(); n != 1 {
			t.Errorf("%d fetches", n-1)
		}
		wantUnknown(t, src, strings.Repeat("k", 256))
		if n := s.fetches(); n != 2 {
			t.Errorf("%d fetches for a key ID of 256 bytes, want 1", n-1)
		}
	})
}

// Texts of a stranger are quoted and cut where errors show them.
func TestErrorsQuoteWhatStrangersSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		src := ready(t, s.source(t))
		s.iss.Publish(jwkstest.Key{ID: "\x1b[2J\nok", Algorithm: "ES256", Private: s.iss.Key().Private})
		if err := src.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		many := jwks.Multi(map[string]jwks.KeySource{"a": src})
		evil := "\x1b[2J\n" + strings.Repeat("\x00", 240)
		for name, ask := range map[string]func() error{
			"key ID":         func() error { _, err := src.Key(t.Context(), evil, "ES256"); return err },
			"long key ID":    func() error { _, err := src.Key(t.Context(), strings.Repeat(evil, 9), "ES256"); return err },
			"wrong key type": func() error { _, err := src.Key(t.Context(), "\x1b[2J\nok", "RS256"); return err },
			"algorithm":      func() error { _, err := src.Key(t.Context(), "key-1", evil); return err },
			"issuer":         func() error { _, err := many.Source(evil); return err },
			"token's issuer": func() error {
				_, err := many.VerifySignature(t.Context(), s.iss.Sign(map[string]any{"iss": evil}))
				return err
			},
			"token's algorithm": func() error {
				_, err := src.VerifySignature(t.Context(), s.iss.Sign(nil, jwkstest.WithHeader("alg", evil)))
				return err
			},
		} {
			err := ask()
			if err == nil {
				t.Fatalf("%s: no error", name)
			}
			if text := err.Error(); strings.ContainsAny(text, "\x1b\n\x00") || len(text) > 400 {
				t.Errorf("%s: %d bytes: %q", name, len(text), text)
			}
		}
	})
}

// Each error is either the token's fault (401) or not (503), never both.
func TestErrorsAreFor401Or503(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		src := ready(t, s.source(t))
		_, _, _ = ask(src, "a"), ask(src, "b"), ask(src, "c")
		broken := newSite(t)
		broken.iss.KeySet().Break(jwkstest.Drop)
		hung := newSite(t)
		hung.iss.KeySet().Break(jwkstest.Hang)
		closed := newSite(t)
		left := ready(t, closed.source(t))
		if err := closed.cache.Close(); err != nil {
			t.Fatal(err)
		}
		verify := func(opts ...jwkstest.SignOption) error {
			_, err := src.VerifySignature(t.Context(), s.iss.Sign(nil, opts...))
			return err
		}
		_, unknownIssuer := jwks.Multi(nil).Source("x")
		_, notAToken := src.VerifySignature(t.Context(), "a.b")
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		brokenSource, hungSource := broken.source(t), hung.source(t)
		_, waited := hungSource.Key(ended, "key-1", "ES256")
		both := jwks.Failover(src, brokenSource)
		for name, tt := range map[string]struct {
			err  error
			is   error
			down bool // 503
		}{
			"unknown key":        {ask(src, "d"), jwks.ErrKeyNotFound, false},
			"unknown to static":  {ask(jwks.Static(nil), "d"), jwks.ErrKeyNotFound, false},
			"cooling":            {src.Refresh(t.Context()), jwks.ErrKeyNotFound, false},
			"wrong algorithm":    {verify(jwkstest.WithHeader("alg", "RS256")), jwks.ErrAlgorithm, false},
			"no algorithm":       {verify(jwkstest.Unsigned()), jwks.ErrAlgorithm, false},
			"wrong signature":    {verify(jwkstest.Tampered()), jwks.ErrSignature, false},
			"not a token":        {notAToken, jwks.ErrToken, false},
			"unknown issuer":     {unknownIssuer, jwks.ErrIssuer, false},
			"no keys yet":        {ask(brokenSource, "key-1"), everfresh.ErrNotReady, true},
			"refresh fails":      {brokenSource.Refresh(t.Context()), jwks.ErrUnavailable, true},
			"caller left":        {waited, context.Canceled, true},
			"closed":             {ask(left, "d"), everfresh.ErrClosed, true},
			"failover, one down": {ask(both, "d"), jwks.ErrKeyNotFound, true},
		} {
			wantError(t, tt.err, tt.is)
			if down := errors.Is(tt.err, jwks.ErrUnavailable); down != tt.down {
				t.Errorf("%s: unavailable %v: %v", name, down, tt.err)
			}
			if !strings.HasPrefix(fmt.Sprint(tt.err), "jwks: ") {
				t.Errorf("%s: text %q", name, tt.err)
			}
		}
		hung.iss.KeySet().Recover()
	})
}

// ask asks for a key and returns the error.
func ask(src jwks.KeySource, kid string) error {
	_, err := src.Key(context.Background(), kid, "ES256")
	return err
}

// A RateLimitError says when asking again makes sense, and that is true. One value serves
// all who ask meanwhile.
func TestCoolingErrorSaysWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		src := ready(t, s.source(t))
		wantUnknown(t, src, "a")
		wantUnknown(t, src, "b")
		cooling := wantCooling(t, src, "c")
		if d := cooling.RetryAfter(); d != 15*time.Second || !cooling.Until.Equal(time.Now().Add(d)) {
			t.Errorf("retry after %v, until %v", d, cooling.Until)
		}
		if wantCooling(t, src, "d") != cooling {
			t.Error("two errors in one period")
		}
		var engine *everfresh.RateLimitError
		if !errors.As(error(cooling), &engine) || !strings.Contains(cooling.Error(), "2000-01-01T00:00:15Z") {
			t.Errorf("%v", cooling)
		}
		next := s.iss.Rotate("ES256")
		time.Sleep(cooling.RetryAfter() + 50*time.Millisecond)
		wantKeyAtOnce(t, src, next) // the set was refreshed when the budget refilled
		if d := cooling.RetryAfter(); d != 0 {
			t.Errorf("retry after %v when it is over", d)
		}
	})
}

// A token without a key ID finds the only key for its algorithm; with several the caller
// tries all, and VerifySignature does.
func TestTokensWithoutKeyID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		src := ready(t, s.source(t))
		first := s.iss.Key()
		got, err := src.Key(t.Context(), "", "ES256")
		if err != nil || !sameKey(got, first) {
			t.Errorf("the only key: %v", err)
		}
		if _, err := src.Key(t.Context(), "", "EdDSA"); !errors.Is(err, jwks.ErrKeyNotFound) {
			t.Errorf("no key at all: %v", err)
		}
		before := s.fetches()
		second := s.iss.Rotate("ES256")
		payload, err := src.VerifySignature(t.Context(), s.iss.Sign([]byte(`{"n":2}`), jwkstest.WithHeader("kid", nil)))
		if err != nil || string(payload) != `{"n":2}` || s.fetches() != before+1 {
			t.Fatalf("a new key without an ID: %s, %v after %d fetches", payload, err, s.fetches()-before)
		}
		for _, k := range []jwkstest.Key{first, second} {
			if _, err := src.VerifySignature(t.Context(), s.iss.Sign(nil, jwkstest.SignedBy(k), jwkstest.WithHeader("kid", nil))); err != nil {
				t.Errorf("%s without its ID: %v", k.ID, err)
			}
		}
		keys, err := src.Keys(t.Context(), "ES256")
		if err != nil || len(keys) != 2 || !sameKey(keys[0], first) || !sameKey(keys[1], second) {
			t.Errorf("Keys = %d, %v", len(keys), err)
		}
		clear(keys) // they are the caller's
		_, err = src.Key(t.Context(), "", "ES256")
		wantError(t, err, jwks.ErrKeyNotFound) // any of two may be it
		_, err = src.Keys(t.Context(), "RS256")
		wantError(t, err, jwks.ErrKeyNotFound)
		wantKey(t, src, first)
	})
}

// After the cache is closed its keys stay; what would need a fetch is unavailable.
func TestClosedCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		src := ready(t, s.source(t))
		if err := s.cache.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(48 * time.Hour)
		wantKeyAtOnce(t, src, s.iss.Key())
		wantError(t, ask(src, "unknown"), jwks.ErrUnavailable, everfresh.ErrClosed)
		wantError(t, src.Refresh(t.Context()), jwks.ErrUnavailable, everfresh.ErrClosed)
		_, err := jwks.New(s.cache, s.iss.KeySet().URL())
		wantError(t, err, everfresh.ErrClosed)
	})
}

// A caller that has waited for a fetch in vain is told why it failed.
func TestUnavailableSaysWhy(t *testing.T) {
	eachOutage(t, func(t *testing.T, fault jwkstest.Fault) {
		s := newSite(t)
		src := ready(t, s.source(t))
		s.iss.KeySet().Break(fault)
		err := ask(src, "unknown")
		wantError(t, err, jwks.ErrUnavailable)
		if errors.Is(err, jwks.ErrKeyNotFound) || errors.Is(err, everfresh.ErrNotReady) {
			t.Errorf("%v", err)
		}
		var failed *everfresh.RefreshError
		if !errors.As(err, &failed) || !failed.Stale || strings.Contains(err.Error(), html) {
			t.Errorf("%v", err)
		}
		if again := ask(src, "another"); again != err { //nolint:errorlint // One value serves all.
			t.Errorf("two errors for one failure: %v, %v", err, again)
		}
		s.iss.KeySet().Recover()
	})
}

// Failures are not charged: when the issuer is back, a rotation is seen by the first
// request after the back-off.
func TestFailuresAreNotCharged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		src := ready(t, s.source(t))
		s.iss.KeySet().Break(jwkstest.Drop)
		for range 5 {
			wantError(t, ask(src, "unknown"), jwks.ErrUnavailable)
			time.Sleep(time.Until(src.Status().Next))
		}
		s.iss.KeySet().Recover()
		time.Sleep(time.Minute)
		wantUnknown(t, src, "a")
		wantUnknown(t, src, "b")
		wantCooling(t, src, "c")
	})
}

// Key of a static source, and what a static source says of itself.
func TestStatic(t *testing.T) {
	iss := jwkstest.New()
	set, err := jwks.Parse([]byte(`{"keys":[` + string(iss.Key().JWK()) + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	src := jwks.Static(set)
	wantKey(t, src, iss.Key())
	wantUnknown(t, src, "unknown")
	if _, err := src.VerifySignature(t.Context(), iss.Sign(nil)); err != nil {
		t.Error(err)
	}
	_, err = src.VerifySignature(t.Context(), iss.Sign(nil, jwkstest.Tampered(), jwkstest.WithHeader("kid", nil)))
	wantError(t, err, jwks.ErrSignature)
	if got, err := src.Set(t.Context()); got != set || err != nil {
		t.Errorf("Set = %v", err)
	}
	if err := errors.Join(src.Ready(t.Context()), src.Refresh(t.Context())); err != nil || !src.Status().Ready {
		t.Errorf("%v, %+v", err, src.Status())
	}
	empty := jwks.Static(nil)
	wantUnknown(t, empty, "unknown")
	if set, err := empty.Set(t.Context()); set == nil || set.Len() != 0 || err != nil {
		t.Errorf("an empty source: %v, %v", set, err)
	}
}

// Finding a key, and refusing an unknown one during a storm, allocate nothing, whatever
// the size of the set.
func TestNoAllocations(t *testing.T) {
	for _, size := range []int{1, 12, 99} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				for range size - 1 {
					s.iss.Rotate("EdDSA")
				}
				src, last := ready(t, s.source(t)), s.iss.Key()
				var got crypto.PublicKey
				var err error
				if n := testing.AllocsPerRun(1000, func() { got, err = src.Key(t.Context(), last.ID, last.Algorithm) }); n != 0 {
					t.Errorf("%v allocations for a known key", n)
				}
				if err != nil || !sameKey(got, last) {
					t.Fatal(err)
				}
				wantUnknown(t, src, "a")
				wantUnknown(t, src, "b")
				wantCooling(t, src, "c")
				if n := testing.AllocsPerRun(1000, func() { got, err = src.Key(t.Context(), "d", "ES256") }); n != 0 {
					t.Errorf("%v allocations for an unknown key", n)
				}
				wantError(t, err, jwks.ErrKeyNotFound)
			})
		})
	}
}
