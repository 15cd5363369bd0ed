package jwks_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh/jwks"
	"github.com/everfresh-go/everfresh/jwks/jwkstest"
)

// However many unknown key IDs are asked for at once, two fetches answer them all, and
// in the long run it is one every 15 s.
func TestStormOfUnknownKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		src := ready(t, s.source(t))
		s.iss.KeySet().Break(jwkstest.Delay(5 * time.Millisecond))
		start := time.Now()
		if refused := strangers(t, src, crowd()); refused == crowd() {
			t.Error("no newer set was asked for")
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("answering took %v", d)
		}
		ctx, stop := context.WithTimeout(t.Context(), 4*time.Minute)
		defer stop()
		storm(ctx, src)
		asked := s.iss.KeySet().Requests()[1:]
		if n := mostWithin(asked, 15*time.Second); n > 2 {
			t.Errorf("%d fetches within 15 s, want at most 2", n)
		}
		if n := mostWithin(asked, time.Minute); n > 6 {
			t.Errorf("%d fetches within a minute, want at most 6", n)
		}
		if n := len(asked); n < 16 || n > 18 {
			t.Errorf("%d fetches in 4 minutes, want one every 15 s and one more", n)
		}
	})
}

// A token signed with a new key is verified by the request that brings it, which waits
// for one fetch; also right after the last rotation, and any number of times.
func TestRotationIsSeenByTheFirstRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rtt = 100 * time.Millisecond
		s := newSite(t)
		src := ready(t, s.source(t))
		s.iss.KeySet().Break(jwkstest.Delay(rtt))
		for i := range 10 {
			next := s.iss.Rotate("ES256")
			start := time.Now()
			wantKey(t, src, next)
			if d := time.Since(start); d > rtt {
				t.Errorf("rotation %d was seen after %v, want one round trip", i, d)
			}
		}
		if n := s.fetches(); n != 11 {
			t.Errorf("%d fetches for 10 rotations", n-1)
		}
		// None of them was charged to the budget.
		wantUnknown(t, src, "a")
		wantUnknown(t, src, "b")
		if n := s.fetches(); n != 13 {
			t.Errorf("%d fetches for two unknown keys after the rotations, want 2", n-11)
		}
		wantCooling(t, src, "c")
	})
}

// While others invent key IDs without end, a rotation is seen within 15 s, and what they
// cost the issuer stays bounded.
func TestRotationDuringAStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		src := ready(t, s.source(t))
		s.iss.KeySet().Break(jwkstest.Delay(5 * time.Millisecond))
		ctx, stop := context.WithCancel(t.Context())
		var attack sync.WaitGroup
		attack.Go(func() { storm(ctx, src) })
		const rotations = 8
		for i := range rotations {
			time.Sleep(20*time.Second + time.Duration(i)*2357*time.Millisecond)
			next := s.iss.Rotate("ES256")
			if d := seenAfter(t, src, next); d > 15*time.Second+100*time.Millisecond {
				t.Errorf("rotation %d was seen after %v", i, d)
			}
		}
		stop()
		attack.Wait()
		if n := mostWithin(s.iss.KeySet().Requests()[1:], time.Minute); n > 6+3 { // 3 rotations at most fall into one
			t.Errorf("%d fetches within a minute", n)
		}
	})
}

// seenAfter returns how long it takes until src has key.
func seenAfter(t *testing.T, src jwks.KeySource, key jwkstest.Key) time.Duration {
	t.Helper()
	start := time.Now()
	for time.Since(start) < time.Hour {
		if _, err := src.Key(t.Context(), key.ID, key.Algorithm); err == nil {
			break
		}
		time.Sleep(7 * time.Millisecond)
	}
	wantKey(t, src, key)
	return time.Since(start)
}

// Known keys never wait, whatever others ask for and however slow the issuer is.
func TestKnownKeysDuringAStorm(t *testing.T) {
	for name, fault := range map[string]jwkstest.Fault{
		"slow issuer":    jwkstest.Delay(2 * time.Second),
		"hung issuer":    jwkstest.Hang,
		"failing issuer": jwkstest.Answer(http.StatusServiceUnavailable, nil, ""),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				src := ready(t, s.source(t))
				known, token := s.iss.Key(), s.iss.Sign(map[string]any{"sub": "a"})
				s.iss.KeySet().Break(fault)
				ctx, stop := context.WithCancel(t.Context())
				var attack sync.WaitGroup
				for range 4 {
					attack.Go(func() { storm(ctx, src) })
				}
				for i := range 10_000 {
					time.Sleep(7 * time.Millisecond)
					wantKeyAtOnce(t, src, known)
					if i%100 == 0 {
						verifyAtOnce(t, src, token)
					}
				}
				stop()
				attack.Wait()
			})
		})
	}
}

func verifyAtOnce(t *testing.T, src *jwks.Source, token string) {
	t.Helper()
	start := time.Now()
	if _, err := src.VerifySignature(t.Context(), token); err != nil || time.Since(start) != 0 {
		t.Fatalf("VerifySignature: %v after %v", err, time.Since(start))
	}
}

// Any number of concurrent calls of Refresh return, with two fetches at most, and leave
// a source that works and no goroutine.
func TestStormOfRefreshes(t *testing.T) {
	for name, delay := range map[string]time.Duration{"at once": 0, "slow": 20 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				src := ready(t, s.source(t))
				s.iss.KeySet().Break(jwkstest.Delay(delay))
				before := goroutines()
				var all sync.WaitGroup
				for range crowd() {
					all.Go(func() {
						if err := src.Refresh(t.Context()); err != nil && !errors.Is(err, jwks.ErrKeyNotFound) {
							t.Errorf("Refresh: %v", err)
						}
					})
				}
				all.Wait()
				if n := s.fetches() - 1; n < 1 || n > 2 {
					t.Errorf("%d fetches", n)
				}
				wantGoroutines(t, before)
				time.Sleep(31 * time.Second)
				next := s.iss.Rotate("ES256")
				wantKey(t, src, next)
			})
		})
	}
}

// wantGoroutines checks that there are no more than n.
func wantGoroutines(t *testing.T, n int) {
	t.Helper()
	synctest.Wait()
	if got := goroutines(); got > n {
		t.Errorf("%d goroutines, want %d", got, n)
	}
}

// goroutines counts those of this test's bubble. The runtime's own count includes
// others, and some that are gone.
func goroutines() int {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	return strings.Count(string(stacks), ", synctest bubble ")
}

// An endpoint that hangs is felt by those who ask for an unknown key only, and by them
// until their own context ends, or for 5 s.
func TestHungEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		src := ready(t, s.source(t))
		s.iss.KeySet().Break(jwkstest.Hang)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := src.Key(ctx, "unknown", "ES256")
		wantError(t, err, jwks.ErrUnavailable, context.DeadlineExceeded)
		if d := time.Since(start); d != 100*time.Millisecond {
			t.Errorf("a caller with 100 ms waited %v", d)
		}
		wantKeyAtOnce(t, src, s.iss.Key())
		_, err = src.Key(t.Context(), "unknown", "ES256")
		wantError(t, err, jwks.ErrUnavailable)
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("a patient caller had its answer %v after the fetch began, want 5 s", d)
		}
	})
}

// The end of one caller's context leaves the fetch for the others, also if it was that
// caller who started it.
func TestFetchOutlivesWhoAskedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		src := ready(t, s.source(t))
		s.iss.KeySet().Break(jwkstest.Hang)
		next := s.iss.Rotate("ES256")
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			_, err := src.Key(ctx, next.ID, next.Algorithm)
			wantError(t, err, jwks.ErrUnavailable, context.Canceled)
		})
		synctest.Wait()
		all.Go(func() {
			got, err := src.Key(t.Context(), next.ID, next.Algorithm)
			if err != nil || !sameKey(got, next) {
				t.Errorf("the other caller: %v", err)
			}
		})
		synctest.Wait()
		cancel()
		synctest.Wait()
		time.Sleep(time.Second)
		s.iss.KeySet().Recover()
		all.Wait()
	})
}

// A dead issuer does not delay another one of the same cache.
func TestDeadIssuerDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dead, good := jwkstest.New(jwkstest.WithURL("https://dead.test")), jwkstest.New()
		s := siteOf(t, good, withClientOf(dead, good))
		ready(t, s.source(t))
		dead.KeySet().Break(jwkstest.Hang)
		hung, err := jwks.New(s.cache, dead.KeySet().URL())
		if err != nil {
			t.Fatal(err)
		}
		src, err := jwks.FromIssuer(s.cache, good.URL())
		if err != nil {
			t.Fatal(err)
		}
		var waiting sync.WaitGroup
		waiting.Go(func() {
			_, err := hung.Key(t.Context(), "key-1", "ES256")
			wantError(t, err, jwks.ErrUnavailable)
		})
		start := time.Now()
		wantKey(t, src, good.Rotate("ES256"))
		if d := time.Since(start); d > 20*time.Millisecond {
			t.Errorf("the other issuer's keys took %v", d)
		}
		waiting.Wait()
	})
}

// earlier answers with the document of when the request came, after a delay.
func earlier(d time.Duration) jwkstest.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			plain := r.Clone(r.Context())
			plain.Header.Del("If-None-Match")
			old := httptest.NewRecorder()
			next.ServeHTTP(old, plain)
			time.Sleep(d)
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(old.Body.Bytes())
		})
	}
}

// A slow, old response never replaces a newer set, and callers who ask while it is
// in progress get one that is newer than their question.
func TestNoOlderSetReplacesANewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		src := ready(t, s.source(t))
		first := s.iss.Key()
		s.iss.KeySet().Break(earlier(3 * time.Second))
		var all sync.WaitGroup
		all.Go(func() { wantUnknown(t, src, "unknown") }) // its answer is from before the rotation
		time.Sleep(time.Second)
		next := s.iss.Rotate("ES256")
		s.iss.Withdraw(first.ID)
		all.Go(func() {
			if err := src.Refresh(t.Context()); err != nil {
				t.Errorf("Refresh: %v", err)
			}
			set, err := src.Set(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			if _, ok := set.Lookup(next.ID, "ES256"); !ok {
				t.Error("a Refresh brought a set that is older than the call")
			}
		})
		time.Sleep(time.Second)
		all.Wait()
		s.iss.KeySet().Recover()
		for range 100 {
			time.Sleep(time.Second)
			wantKeyAtOnce(t, src, next)
			if _, err := src.Key(t.Context(), first.ID, "ES256"); err == nil {
				t.Fatal("the old set came back")
			}
		}
	})
}

// A key that its issuer has withdrawn is gone after the next refresh, which is at most an
// hour away.
func TestWithdrawnKeyIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.iss.KeySet().SetHeader("Cache-Control", "max-age=31536000")
		src := ready(t, s.source(t))
		first := s.iss.Key()
		next := s.iss.Rotate("ES256")
		s.iss.Withdraw(first.ID)
		wantKey(t, src, next) // this fetch has the news
		wantUnknown(t, src, first.ID)

		s.iss.Withdraw(next.ID)
		s.iss.Rotate("ES256")
		wantKeyAtOnce(t, src, next)
		time.Sleep(time.Hour + time.Second)
		wantUnknown(t, src, next.ID)
	})
}
