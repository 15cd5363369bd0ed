package jwks_test

import (
	"context"
	"crypto"
	"errors"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/jwks"
	"github.com/everfresh-go/everfresh/jwks/jwkstest"
)

// A site is an issuer, a cache that reaches it in memory, and what the sink of that heard.
type site struct {
	iss   *jwkstest.Issuer
	cache *everfresh.Cache
	heard *sink
}

// newSite returns a site whose cache the test closes.
func newSite(t testing.TB, opts ...everfresh.CacheOption) *site {
	t.Helper()
	return siteOf(t, jwkstest.New(), opts...)
}

func siteOf(t testing.TB, iss *jwkstest.Issuer, opts ...everfresh.CacheOption) *site {
	t.Helper()
	s := &site{iss: iss, heard: new(sink)}
	all := append([]everfresh.CacheOption{everfresh.WithErrSink(s.heard), everfresh.WithHTTPClient(iss.Client())}, opts...)
	s.cache = everfresh.NewCache(context.WithoutCancel(t.Context()), all...)
	t.Cleanup(func() {
		if err := s.cache.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// source returns the source of the site's key set.
func (s *site) source(t testing.TB, opts ...jwks.Option) *jwks.Source {
	t.Helper()
	src, err := jwks.New(s.cache, s.iss.KeySet().URL(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// discovered returns the source of the site's issuer.
func (s *site) discovered(t testing.TB, opts ...jwks.Option) *jwks.Source {
	t.Helper()
	src, err := jwks.FromIssuer(s.cache, s.iss.URL(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// fetches returns how often the key set was asked for.
func (s *site) fetches() int { return len(s.iss.KeySet().Requests()) }

// A sink remembers what it heard.
type sink struct {
	mu   sync.Mutex
	errs []error
}

func (s *sink) Error(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, err)
}

// all returns what was heard.
func (s *sink) all() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.errs)
}

// about returns what was heard that is target.
func (s *sink) about(target error) []error {
	var found []error
	for _, err := range s.all() {
		if errors.Is(err, target) {
			found = append(found, err)
		}
	}
	return found
}

// skipped returns the reports of keys that were left out.
func (s *sink) skipped() []jwks.Skipped {
	var found []jwks.Skipped
	for _, err := range s.all() {
		var one jwks.Skipped
		if errors.As(err, &one) {
			found = append(found, one)
		}
	}
	return found
}

// ready waits for the first key set, and until nothing is in progress.
func ready(t testing.TB, src *jwks.Source) *jwks.Source {
	t.Helper()
	if err := src.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return src
}

// wantKey checks that src has the public half of key.
func wantKey(t testing.TB, src jwks.KeySource, key jwkstest.Key) {
	t.Helper()
	got, err := src.Key(t.Context(), key.ID, key.Algorithm)
	if err != nil {
		t.Fatalf("Key(%q): %v", key.ID, err)
	}
	if !sameKey(got, key) {
		t.Fatalf("Key(%q) is another key", key.ID)
	}
}

func sameKey(got crypto.PublicKey, key jwkstest.Key) bool {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(got)
}

// wantKeyAtOnce checks that src has key and that it is returned without waiting.
func wantKeyAtOnce(t testing.TB, src jwks.KeySource, key jwkstest.Key) {
	t.Helper()
	start := time.Now()
	wantKey(t, src, key)
	if d := time.Since(start); d != 0 {
		t.Fatalf("a known key took %v", d)
	}
}

// wantError checks that err is all of these.
func wantError(t testing.TB, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("error = %v, want one that is %q", err, target)
		}
	}
}

// wantUnknown checks that the issuer does not know a key, for sure.
func wantUnknown(t testing.TB, src jwks.KeySource, kid string) {
	t.Helper()
	_, err := src.Key(t.Context(), kid, "ES256")
	wantError(t, err, jwks.ErrKeyNotFound)
	if errors.Is(err, jwks.ErrUnavailable) {
		t.Errorf("unknown key: %v", err)
	}
}

// wantCooling checks that asking for an unknown key is refused without waiting.
func wantCooling(t testing.TB, src jwks.KeySource, kid string) *jwks.RateLimitError {
	t.Helper()
	start := time.Now()
	_, err := src.Key(t.Context(), kid, "ES256")
	var cooling *jwks.RateLimitError
	if !errors.As(err, &cooling) || time.Since(start) != 0 {
		t.Fatalf("unknown key during a storm: %v after %v", err, time.Since(start))
	}
	return cooling
}

// crowd returns how many goroutines call at once. The race detector allows no more
// than 8128 of them.
func crowd() int {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return 7_000
	}
	for _, s := range info.Settings {
		if s.Key == "-race" && s.Value == "true" {
			return 7_000
		}
	}
	return 10_000
}

// strangers asks for n unknown keys at once, and returns how many were refused because
// there were too many. It returns when all have their answer.
func strangers(t testing.TB, src *jwks.Source, n int) (refused int) {
	t.Helper()
	var all sync.WaitGroup
	var cooling, other atomic.Int64
	for i := range n {
		all.Go(func() {
			_, err := src.Key(t.Context(), "stranger-"+strconv.Itoa(i), "ES256")
			var ce *jwks.RateLimitError
			switch {
			case errors.As(err, &ce):
				cooling.Add(1)
			case !errors.Is(err, jwks.ErrKeyNotFound):
				other.Add(1)
			}
		})
	}
	all.Wait()
	if bad := other.Load(); bad > 0 {
		t.Errorf("%d of %d unknown keys were not refused as such", bad, n)
	}
	return int(cooling.Load())
}

// storm asks for one unknown key every 10 ms until the end of ctx.
func storm(ctx context.Context, src *jwks.Source) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			_, _ = src.Key(ctx, "invented-"+strconv.Itoa(i), "ES256")
		}
	}
}

// mostWithin returns the largest number of requests in any time as long as window.
func mostWithin(requests []jwkstest.Request, window time.Duration) (most int) {
	for i, first := range requests {
		n := 0
		for _, r := range requests[i:] {
			if r.At.Sub(first.At) < window {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// withClientOf makes the cache reach these issuers.
func withClientOf(issuers ...*jwkstest.Issuer) everfresh.CacheOption {
	return everfresh.WithHTTPClient(jwkstest.NewClient(issuers...))
}

func contextFor(t testing.TB, d time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(t.Context(), d)
}
