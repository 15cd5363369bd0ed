package jwks_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/jwks"
	"github.com/everfresh-go/everfresh/jwks/jwkstest"
	"github.com/everfresh-go/everfresh/store"
)

const html = "<!doctype html><title>Maintenance</title>"

// outages are the ways in which an issuer is down.
func outages() map[string]jwkstest.Fault {
	headers := http.Header{"Cache-Control": {"max-age=86400"}, "Etag": {`"wrong"`}}
	return map[string]jwkstest.Fault{
		"refused":         jwkstest.Drop,
		"503":             jwkstest.Answer(http.StatusServiceUnavailable, nil, ""),
		"503 with a life": jwkstest.Answer(http.StatusServiceUnavailable, headers, ""),
		"404":             jwkstest.Answer(http.StatusNotFound, headers, `{"keys":[]}`),
		"204":             jwkstest.Answer(http.StatusNoContent, headers, ""),
		"hangs":           jwkstest.Hang,
		"error document":  jwkstest.Answer(http.StatusOK, headers, `{"error":"oops"}`),
		"no keys":         jwkstest.Answer(http.StatusOK, headers, `{"keys":[]}`),
		"no usable key":   jwkstest.Answer(http.StatusOK, headers, `{"keys":[{"kty":"oct","kid":"key-1","k":"AAAA"}]}`),
		"keys is null":    jwkstest.Answer(http.StatusOK, headers, `{"keys":null}`),
		"HTML":            jwkstest.Answer(http.StatusOK, headers, html),
		"empty":           jwkstest.Answer(http.StatusOK, headers, ""),
		"truncated":       jwkstest.Truncate,
	}
}

// down breaks all endpoints of the issuer.
func down(iss *jwkstest.Issuer, fault jwkstest.Fault) {
	iss.KeySet().Break(fault)
	iss.Discovery().Break(fault)
	iss.Metadata().Break(fault)
}

func up(iss *jwkstest.Issuer) {
	iss.KeySet().Recover()
	iss.Discovery().Recover()
	iss.Metadata().Recover()
}

// eachOutage runs a test for each outage, in a bubble.
func eachOutage(t *testing.T, test func(t *testing.T, fault jwkstest.Fault)) {
	t.Helper()
	for name, fault := range outages() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, fault) })
		})
	}
}

// eachConstructor runs a test with each way to make a source.
func eachConstructor(t *testing.T, test func(t *testing.T, open func(*site, testing.TB, ...jwks.Option) *jwks.Source)) {
	t.Helper()
	t.Run("New", func(t *testing.T) { test(t, (*site).source) })
	t.Run("FromIssuer", func(t *testing.T) { test(t, (*site).discovered) })
}

// While the issuer is down for an hour, every token with a known key is verified, the
// issuer is asked about twice a minute, and no longer than 40 s after it is back its
// newest key is known.
func TestHourWithoutTheIssuer(t *testing.T) {
	eachOutage(t, func(t *testing.T, fault jwkstest.Fault) {
		s := newSite(t)
		src := ready(t, s.source(t))
		before := s.fetches()
		s.iss.KeySet().Break(fault)
		for range 3600 {
			time.Sleep(time.Second)
			wantKeyAtOnce(t, src, s.iss.Key())
		}
		if n := s.fetches() - before; n < 50 || n > mostFetches {
			t.Errorf("%d fetches in an hour, want 50 to %d", n, mostFetches)
		}
		next := s.iss.Rotate("ES256")
		s.iss.KeySet().Recover()
		if d := seenAfter(t, src, next); d > 40*time.Second {
			t.Errorf("back to normal after %v", d)
		}
	})
}

// mostFetches is how many fetches an hour of outage may cost.
const mostFetches = 130

// Keys are used for 24 h beyond their freshness and not a second longer, and are there
// again 40 s after the issuer is.
func TestDayWithoutTheIssuer(t *testing.T) {
	eachOutage(t, func(t *testing.T, fault jwkstest.Fault) {
		s := newSite(t)
		src := ready(t, s.source(t))
		known, fresh := s.iss.Key(), src.Status().FreshUntil
		if d := time.Until(fresh); d != 15*time.Minute {
			t.Errorf("fresh for %v", d)
		}
		s.iss.KeySet().Break(fault)
		time.Sleep(time.Until(fresh.Add(24*time.Hour - time.Second)))
		wantKeyAtOnce(t, src, known)
		time.Sleep(2 * time.Second)
		_, err := src.Key(t.Context(), known.ID, known.Algorithm)
		wantError(t, err, everfresh.ErrStale, jwks.ErrUnavailable)
		if errors.Is(err, jwks.ErrKeyNotFound) || src.Status().Ready {
			t.Errorf("a set that is too old: %v, status %+v", err, src.Status())
		}
		if len(s.heard.about(everfresh.ErrStale)) == 0 {
			t.Error("the sink did not hear of it")
		}
		s.iss.KeySet().Recover()
		if d := seenAfter(t, src, known); d > 40*time.Second {
			t.Errorf("back to normal after %v", d)
		}
	})
}

// No answer but a good one replaces a set or sets the time of the next try, whatever its
// headers say.
func TestBadAnswersEvictNothing(t *testing.T) {
	eachOutage(t, func(t *testing.T, fault jwkstest.Fault) {
		s := newSite(t)
		src := ready(t, s.source(t))
		set, err := src.Set(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.iss.KeySet().Break(fault)
		wantError(t, src.Refresh(t.Context()), jwks.ErrUnavailable)
		for range 200 {
			if d := time.Until(src.Status().Next); d > 37500*time.Millisecond {
				t.Fatalf("the next try is %v away", d)
			}
			time.Sleep(6007 * time.Millisecond)
		}
		if got, err := src.Set(t.Context()); got != set || err != nil {
			t.Errorf("another set: %v", err)
		}
		wantKeyAtOnce(t, src, s.iss.Key())
		if len(s.heard.all()) == 0 {
			t.Error("the sink did not hear of it")
		}
		s.iss.KeySet().Recover()
		next := s.iss.Rotate("ES256")
		if d := seenAfter(t, src, next); d > 40*time.Second {
			t.Errorf("back to normal after %v", d)
		}
	})
}

// A source is made while its issuer is down, without an error and without waiting; what
// is asked of it says that it is unavailable.
func TestStartWithoutTheIssuer(t *testing.T) {
	eachConstructor(t, func(t *testing.T, open func(*site, testing.TB, ...jwks.Option) *jwks.Source) {
		eachOutage(t, func(t *testing.T, fault jwkstest.Fault) {
			s := newSite(t)
			down(s.iss, fault)
			start := time.Now()
			src := open(s, t)
			if d := time.Since(start); d != 0 {
				t.Errorf("making a source took %v", d)
			}
			_, err := src.Key(t.Context(), "key-1", "ES256")
			wantError(t, err, jwks.ErrUnavailable, everfresh.ErrNotReady)
			if d := time.Since(start); d > 5*time.Second || errors.Is(err, jwks.ErrKeyNotFound) {
				t.Errorf("Key = %v after %v", err, d)
			}
			_, err = src.Set(t.Context())
			wantError(t, err, jwks.ErrUnavailable)
			wantError(t, src.Refresh(t.Context()), jwks.ErrUnavailable)
			if src.Status().Ready {
				t.Error("ready without keys")
			}
			up(s.iss)
		})
	})
}

// However many ask before there are keys, a dead issuer is asked as its back-off says.
func TestStormWithoutKeys(t *testing.T) {
	eachConstructor(t, func(t *testing.T, open func(*site, testing.TB, ...jwks.Option) *jwks.Source) {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			down(s.iss, jwkstest.Drop)
			src := open(s, t)
			ctx, stop := contextFor(t, time.Minute)
			defer stop()
			storm(ctx, src)
			if n := s.fetches() + len(s.iss.Discovery().Requests()); n < 5 || n > 12 {
				t.Errorf("%d requests in the first minute of an outage", n)
			}
		})
	})
}

// After a blip of 0.5 s at the start the first token is verified within 1 s of the start;
// after any outage within 40 s of its end.
func TestFirstSuccess(t *testing.T) {
	eachConstructor(t, func(t *testing.T, open func(*site, testing.TB, ...jwks.Option) *jwks.Source) {
		eachOutage(t, func(t *testing.T, fault jwkstest.Fault) {
			for outage, within := range map[time.Duration]time.Duration{
				500 * time.Millisecond: 500 * time.Millisecond,
				7 * time.Second:        40 * time.Second,
				time.Hour:              40 * time.Second,
			} {
				s := newSite(t)
				down(s.iss, fault)
				src := open(s, t)
				time.Sleep(outage)
				up(s.iss)
				start := time.Now()
				if err := src.Ready(t.Context()); err != nil {
					t.Fatal(err)
				}
				if d := time.Since(start); d > within {
					t.Errorf("ready %v after an outage of %v, want within %v", d, outage, within)
				}
				wantKeyAtOnce(t, src, s.iss.Key())
			}
		})
	})
}

// With a storage, the first request of a process is verified with the keys of the last
// one while the issuer is down.
func TestStartFromTheStoreWithoutTheIssuer(t *testing.T) {
	eachConstructor(t, func(t *testing.T, open func(*site, testing.TB, ...jwks.Option) *jwks.Source) {
		eachOutage(t, func(t *testing.T, fault jwkstest.Fault) {
			disk := new(store.Memory)
			last := newSite(t, everfresh.WithStorage(disk))
			ready(t, open(last, t))
			if err := last.cache.Close(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(6 * time.Hour)
			down(last.iss, fault)
			s := siteOf(t, last.iss, everfresh.WithStorage(disk))
			src := open(s, t)
			wantKeyAtOnce(t, src, last.iss.Key())
			time.Sleep(time.Hour)
			wantKeyAtOnce(t, src, last.iss.Key())
			up(last.iss)
			next := last.iss.Rotate("ES256")
			if d := seenAfter(t, src, next); d > 40*time.Second {
				t.Errorf("back to normal after %v", d)
			}
		})
	})
}

// Ready waits through failures, and says why it waited in vain.
func TestReadySaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.iss.KeySet().Break(jwkstest.Answer(http.StatusTeapot, nil, ""))
		src := s.source(t)
		ctx, cancel := contextFor(t, 3*time.Second)
		defer cancel()
		err := src.Ready(ctx)
		wantError(t, err, jwks.ErrUnavailable)
		var status *everfresh.StatusError
		if !errors.As(err, &status) || status.Code != http.StatusTeapot || !strings.Contains(err.Error(), "418") {
			t.Errorf("Ready = %v", err)
		}
	})
}
