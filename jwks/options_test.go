package jwks_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/jwks"
	"github.com/everfresh-go/everfresh/jwks/jwkstest"
)

// How long a set is fresh, and when it is asked for again, is what Cache-Control says
// within 5 min and 1 h, and 15 min without it. Jitter makes a refresh up to a tenth
// earlier, the first up to a half, and later only where the minimum decides.
func TestRefreshIntervals(t *testing.T) {
	const minute = time.Minute
	for name, tt := range map[string]struct {
		header, value string
		opts          []jwks.Option
		least, most   time.Duration // of the second interval
	}{
		"silent":           {least: 13*minute + 30*time.Second, most: 15 * minute},
		"other directives": {header: "Cache-Control", value: "public, must-revalidate", least: 13*minute + 30*time.Second, most: 15 * minute},
		"20 min":           {header: "Cache-Control", value: "max-age=1200", least: 18 * minute, most: 20 * minute},
		"no-cache":         {header: "Cache-Control", value: "no-cache", least: 5 * minute, most: 5*minute + 30*time.Second},
		"no-store":         {header: "Cache-Control", value: "no-store, max-age=0", least: 5 * minute, most: 5*minute + 30*time.Second},
		"expired":          {header: "Expires", value: "0", least: 5 * minute, most: 5*minute + 30*time.Second},
		"a day":            {header: "Cache-Control", value: "max-age=86400", least: 54 * minute, most: 60 * minute},
		"age":              {header: "Age", value: "600", least: 5 * minute, most: 5*minute + 30*time.Second},
		"other limits": {
			header: "Cache-Control", value: "max-age=86400", least: 108 * minute, most: 120 * minute,
			opts: []jwks.Option{jwks.WithResource(everfresh.WithMaxRefreshInterval(2 * time.Hour))},
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachConstructor(t, func(t *testing.T, open func(*site, testing.TB, ...jwks.Option) *jwks.Source) {
				synctest.Test(t, func(t *testing.T) {
					s := newSite(t)
					if tt.header != "" {
						s.iss.KeySet().SetHeader(tt.header, tt.value)
					}
					ready(t, open(s, t, tt.opts...))
					time.Sleep(6 * time.Hour)
					requests := s.iss.KeySet().Requests()
					for i := 2; i < len(requests); i++ {
						d := requests[i].At.Sub(requests[i-1].At)
						if d < tt.least-time.Second || d > tt.most+time.Second {
							t.Errorf("refresh %d after %v, want %v to %v", i, d, tt.least, tt.most)
						}
					}
					if len(requests) < 3 {
						t.Errorf("%d requests in 6 hours", len(requests))
					}
				})
			})
		})
	}
}

// Refreshes are spread over a tenth of the interval, so that the processes of a service do
// not ask together.
func TestRefreshesAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		ready(t, s.source(t))
		time.Sleep(48 * time.Hour)
		requests, early, late := s.iss.KeySet().Requests(), 0, 0
		for i := 2; i < len(requests); i++ {
			switch d := requests[i].At.Sub(requests[i-1].At); {
			case d < 14*time.Minute+15*time.Second:
				early++
			default:
				late++
			}
		}
		if early == 0 || late == 0 { // of about 200
			t.Errorf("%d refreshes are more than 5 %% early, %d are not", early, late)
		}
	})
}

// After failures in a row the delay doubles from 250 ms to 30 s, or as WithBackoff says,
// give or take a quarter.
func TestBackoff(t *testing.T) {
	for name, tt := range map[string]struct {
		opts           []jwks.Option
		floor, ceiling time.Duration
	}{
		"default":  {floor: 250 * time.Millisecond, ceiling: 30 * time.Second},
		"longer":   {[]jwks.Option{jwks.WithBackoff(10*time.Second, 5*time.Minute)}, 10 * time.Second, 5 * time.Minute},
		"constant": {[]jwks.Option{jwks.WithBackoff(time.Second, time.Second)}, time.Second, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			eachConstructor(t, func(t *testing.T, open func(*site, testing.TB, ...jwks.Option) *jwks.Source) {
				synctest.Test(t, func(t *testing.T) {
					s := newSite(t)
					s.iss.KeySet().Break(jwkstest.Answer(http.StatusBadGateway, nil, ""))
					open(s, t, tt.opts...)
					time.Sleep(2 * time.Hour)
					requests, want := s.iss.KeySet().Requests(), tt.floor
					for i := range 20 {
						d := requests[i+1].At.Sub(requests[i].At)
						if d < want*3/4 || d > want*5/4+50*time.Millisecond {
							t.Fatalf("%v after failure %d, want %v give or take a quarter", d, i+1, want)
						}
						want = min(2*want, tt.ceiling)
					}
				})
			})
		})
	}
}

// Retry-After postpones the next try, by 5 min at most, and never makes it earlier.
func TestRetryAfter(t *testing.T) {
	for name, tt := range map[string]struct {
		value       string
		least, most time.Duration
	}{
		"2 min":       {"120", 2 * time.Minute, 2 * time.Minute},
		"a day":       {"86400", 5 * time.Minute, 5 * time.Minute},
		"a date":      {"Sat, 01 Jan 2000 00:03:00 GMT", 3 * time.Minute, 3 * time.Minute},
		"in the past": {"Fri, 31 Dec 1999 00:00:00 GMT", 187 * time.Millisecond, 313 * time.Millisecond},
		"0":           {"0", 187 * time.Millisecond, 313 * time.Millisecond},
		"nonsense":    {"soon", 187 * time.Millisecond, 313 * time.Millisecond},
		"negative":    {"-1", 187 * time.Millisecond, 313 * time.Millisecond},
		"a century":   {"99999999999999999999", 187 * time.Millisecond, 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				s.iss.KeySet().Break(jwkstest.Answer(http.StatusTooManyRequests, http.Header{"Retry-After": {tt.value}}, ""))
				s.source(t)
				time.Sleep(10 * time.Minute)
				requests := s.iss.KeySet().Requests()
				if len(requests) < 2 {
					t.Fatal("not asked again within 10 min")
				}
				if d := requests[1].At.Sub(requests[0].At); d < tt.least || d > tt.most+50*time.Millisecond {
					t.Errorf("asked again after %v, want %v to %v", d, tt.least, tt.most)
				}
			})
		})
	}
}

// Only with WithEmptySet does an answer without keys replace a set.
func TestEmptySet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		src := ready(t, s.source(t, jwks.WithEmptySet()))
		s.iss.Withdraw("key-1")
		if err := src.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantUnknown(t, src, "key-1")
		if set, err := src.Set(t.Context()); err != nil || set.Len() != 0 {
			t.Errorf("%v, %v", set, err)
		}
		wantKey(t, src, s.iss.Rotate("ES256"))
		s.iss.KeySet().Break(jwkstest.Answer(http.StatusOK, nil, `{"error":"oops"}`))
		wantError(t, src.Refresh(t.Context()), jwks.ErrInvalidSet, jwks.ErrUnavailable)
		wantKeyAtOnce(t, src, s.iss.Key())
	})
}

// reissue makes the issuer give a new key the ID of its only one.
func reissue(iss *jwkstest.Issuer) {
	old, next := iss.Key(), iss.NewKey("ES256")
	next.ID = old.ID
	iss.Withdraw(old.ID)
	iss.Publish(next)
}

// With WithSignatureRefresh a token by a new key under an old ID is verified by the first
// request; without it not before the next refresh.
func TestSignatureRefresh(t *testing.T) {
	for name, tt := range map[string]struct {
		opts    []jwks.Option
		fetches int
	}{
		"off": {nil, 1},
		"on":  {[]jwks.Option{jwks.WithSignatureRefresh()}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				src := ready(t, s.source(t, tt.opts...))
				reissue(s.iss)
				_, err := src.VerifySignature(t.Context(), s.iss.Sign(nil))
				if (err == nil) != (tt.fetches == 2) || err != nil && !errors.Is(err, jwks.ErrSignature) {
					t.Errorf("VerifySignature: %v", err)
				}
				if n := s.fetches(); n != tt.fetches {
					t.Errorf("%d fetches, want %d", n, tt.fetches)
				}
				time.Sleep(time.Hour)
				if _, err := src.VerifySignature(t.Context(), s.iss.Sign(nil)); err != nil {
					t.Errorf("after the next refresh: %v", err)
				}
			})
		})
	}
}

// Wrong signatures share the budget of unknown keys; when it is spent, they are refused
// as what they are. A known key with a right signature is not concerned.
func TestSignatureRefreshIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		src := ready(t, s.source(t, jwks.WithSignatureRefresh()))
		bad, good := s.iss.Sign(nil, jwkstest.Tampered()), s.iss.Sign(nil)
		for range 100 {
			_, err := src.VerifySignature(t.Context(), bad)
			wantError(t, err, jwks.ErrSignature)
			verifyAtOnce(t, src, good)
		}
		if n := s.fetches(); n != 3 {
			t.Errorf("%d fetches for wrong signatures, want 2", n-1)
		}
		time.Sleep(time.Minute) // the trailing refresh is over
		s.iss.KeySet().Break(jwkstest.Drop)
		_, err := src.VerifySignature(t.Context(), bad)
		wantError(t, err, jwks.ErrUnavailable)
		verifyAtOnce(t, src, good)
	})
}

// Only the algorithms of WithAlgorithms are allowed, and with WithKeyParser also those
// that are not built in.
func TestAlgorithms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		eddsa := s.iss.Rotate("EdDSA")
		s.iss.PublishJWK(`{"kty":"OWN","kid":"own","alg":"OWN1"}`)
		type own struct{ name string }
		src := ready(t, s.source(t, jwks.WithAlgorithms("EdDSA", "OWN1"),
			jwks.WithKeyParser("OWN", func(json.RawMessage) (jwks.Key, error) { return jwks.Key{Public: own{"x"}}, nil })))
		wantKeyAtOnce(t, src, eddsa)
		if key, err := src.Key(t.Context(), "own", "OWN1"); key != (own{"x"}) || err != nil {
			t.Errorf("own key: %v, %v", key, err)
		}
		for _, alg := range []string{"ES256", "OWN2", "RS256"} {
			_, err := src.Key(t.Context(), "key-1", alg)
			wantError(t, err, jwks.ErrAlgorithm)
		}
		_, err := src.VerifySignature(t.Context(), s.iss.Sign(nil, jwkstest.SignedBy(jwkstest.Key{ID: "key-1", Algorithm: "ES256", Private: s.iss.NewKey("ES256").Private})))
		wantError(t, err, jwks.ErrAlgorithm)
		if n := s.fetches(); n != 1 {
			t.Errorf("%d fetches", n)
		}
	})
}

// Without a cache there is no source.
func TestNoCache(t *testing.T) {
	_, err := jwks.New(nil, "https://issuer.test/keys")
	wantError(t, err, jwks.ErrOption)
	_, err = jwks.FromIssuer(nil, "https://issuer.test")
	wantError(t, err, jwks.ErrOption)
	_, err = jwks.Parse([]byte(`{"keys":[]}`), nil)
	wantError(t, err, jwks.ErrOption)
}

// Invalid options are rejected by both constructors, and nothing is registered.
func TestInvalidOptions(t *testing.T) {
	for name, opt := range map[string]jwks.Option{
		"nil":                    nil,
		"misspelt algorithm":     jwks.WithAlgorithms("ES256", "rs256"),
		"no algorithm":           jwks.WithAlgorithms(),
		"none":                   jwks.WithAlgorithms("ES256", "none"),
		"None":                   jwks.WithAlgorithms("None"),
		"HMAC":                   jwks.WithAlgorithms("HS256"),
		"hmac":                   jwks.WithAlgorithms("hs512"),
		"empty algorithm":        jwks.WithAlgorithms(""),
		"origin with a path":     jwks.WithOrigins("https://a.test/keys"),
		"origin with a query":    jwks.WithOrigins("https://a.test?x=1"),
		"origin with a password": jwks.WithOrigins("https://a:b@a.test"),
		"no origin":              jwks.WithOrigins("a.test"),
		"wildcard origin":        jwks.WithOrigins("*"),
		"back-off of 0":          jwks.WithBackoff(0, time.Second),
		"negative back-off":      jwks.WithBackoff(-1, time.Second),
		"back-off upside down":   jwks.WithBackoff(time.Minute, time.Second),
		"parser of no kty":       jwks.WithKeyParser("", func(json.RawMessage) (jwks.Key, error) { return jwks.Key{}, nil }),
		"parser of secrets":      jwks.WithKeyParser("oct", func(json.RawMessage) (jwks.Key, error) { return jwks.Key{}, nil }),
		"no parser":              jwks.WithKeyParser("X", nil),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				_, err := jwks.New(s.cache, s.iss.KeySet().URL(), opt)
				wantError(t, err, jwks.ErrOption)
				_, err = jwks.FromIssuer(s.cache, s.iss.URL(), opt)
				wantError(t, err, jwks.ErrOption)
				s.source(t) // nothing is in the way
				s.discovered(t)
			})
		})
	}
}

// WithResource changes what is the cache's: here the budget, the time-out and the limit.
func TestResourceOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		src := ready(t, s.source(t, jwks.WithResource(everfresh.WithNewerLimit(1, time.Minute), everfresh.WithTimeout(time.Second)),
			jwks.WithResource(everfresh.WithKey("keys"), everfresh.WithMaxBytes(500))))
		wantUnknown(t, src, "a")
		if d := wantCooling(t, src, "b").RetryAfter(); d != time.Minute {
			t.Errorf("cooling for %v", d)
		}
		if key := src.Status().Key; key != "keys" {
			t.Errorf("its name is %q", key)
		}
		time.Sleep(3 * time.Minute)
		s.iss.KeySet().Break(jwkstest.Hang)
		start := time.Now()
		wantError(t, ask(src, "c"), jwks.ErrUnavailable)
		if d := time.Since(start); d != time.Second {
			t.Errorf("the fetch ended after %v", d)
		}
		s.iss.KeySet().Recover()
		time.Sleep(time.Minute)
		s.iss.Rotate("ES256")
		s.iss.Rotate("ES256")
		wantError(t, ask(src, "d"), everfresh.ErrTooLarge)
	})
}
