package jwks_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/jwks"
	"github.com/everfresh-go/everfresh/jwks/jwkstest"
)

// odd are keys that must not make a set fail.
var odd = []string{
	`{"kty":"AKP","kid":"akp","alg":"ML-DSA-65","pub":"AAAA"}`,
	`{"kty":"OKP","kid":"ed448","crv":"Ed448","x":"AAAA"}`,
	`{"kty":"EC","kid":"secp256k1","crv":"secp256k1","x":"AAAA","y":"AAAA"}`,
	`{"kty":"oct","kid":"oct","k":"c2VjcmV0LWNhbmFyeQ"}`,
	`{"kty":"EC","kid":"off-curve","crv":"P-256","x":"AQ","y":"AQ"}`,
	`{"kty":"RSA","kid":"short","n":"AQAB","e":"AQAB"}`,
	`{"kid":"no-kty"}`,
	`17`,
}

// publishOdd puts odd keys before and after a key for encryption, which is not odd.
func publishOdd(iss *jwkstest.Issuer) {
	enc := strings.Replace(string(iss.NewKey("ES256").JWK()), `"sig"`, `"enc"`, 1)
	for i, jwk := range odd {
		if i == len(odd)/2 {
			iss.PublishJWK(enc)
		}
		iss.PublishJWK(jwk)
	}
}

// Keys that cannot be used do not keep others from being used, and the sink receives
// each once: not again after a 304, the same bytes, or a rotation that leaves them.
func TestOddKeysAreLeftOutAndReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		publishOdd(s.iss)
		src := ready(t, s.source(t))
		wantKeyAtOnce(t, src, s.iss.Key())
		wantReports(t, s, len(odd))
		set, err := src.Set(t.Context())
		if err != nil || len(set.Skipped()) != len(odd) || set.Len() != 2 {
			t.Fatalf("%d keys, left out: %v, %v", set.Len(), set.Skipped(), err)
		}

		time.Sleep(3 * time.Hour) // 304s
		s.iss.KeySet().SetHeader("ETag", "")
		time.Sleep(3 * time.Hour) // the same bytes
		wantReports(t, s, len(odd))
		wantKey(t, src, s.iss.Rotate("ES256"))
		wantReports(t, s, len(odd))

		s.iss.PublishJWK(`{"kty":"NEW","kid":"another"}`)
		wantKey(t, src, s.iss.Rotate("ES256"))
		wantReports(t, s, len(odd)+1)
	})
}

// wantReports checks what the sink heard: n different keys, with their reasons told once
// and without what is secret of them.
func wantReports(t *testing.T, s *site, n int) {
	t.Helper()
	synctest.Wait()
	reports := s.heard.skipped()
	if len(reports) != n || len(s.heard.all()) != n {
		t.Fatalf("the sink heard of %d keys, want %d: %v", len(reports), n, s.heard.all())
	}
	for _, err := range s.heard.all() {
		var re *everfresh.RefreshError
		var one jwks.Skipped
		if !errors.As(err, &re) || re.Op != "decode" || !errors.As(err, &one) {
			t.Errorf("the sink heard %T %v", err, err)
		}
		if text := err.Error(); strings.Count(text, one.Err.Error()) != 1 || strings.Contains(text, "c2VjcmV0LWNhbmFyeQ") {
			t.Errorf("report: %s", text)
		}
	}
	ids := make([]string, 0, n)
	for _, one := range reports {
		ids = append(ids, one.ID)
	}
	slices.Sort(ids)
	if len(slices.Compact(slices.DeleteFunc(ids, func(id string) bool { return id == "" }))) < n-1 {
		t.Errorf("a key was reported twice: %v", reports)
	}
}

// A refresh that finds the same set is conditional, parses nothing and leaves the very
// same set in place, whether the issuer says so by 304 or by the same bytes.
func TestSameSetIsNotParsedAgain(t *testing.T) {
	for name, etag := range map[string]bool{"304": true, "same bytes": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				if !etag {
					s.iss.KeySet().SetHeader("ETag", "")
				}
				s.iss.PublishJWK(`{"kty":"COUNT","kid":"count"}`)
				var parsed atomic.Int64
				src := ready(t, s.source(t, jwks.WithKeyParser("COUNT", func(json.RawMessage) (jwks.Key, error) {
					parsed.Add(1)
					return jwks.Key{}, errors.ErrUnsupported
				})))
				set, err := src.Set(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				first := src.Status()
				time.Sleep(3 * time.Hour)
				if err := src.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				wantAllConditional(t, s.iss.KeySet().Requests(), etag)
				if again, err := src.Set(t.Context()); again != set || err != nil {
					t.Errorf("another set for the same document: %v", err)
				}
				if st := src.Status(); st.Version != first.Version || !st.CheckedAt.After(first.CheckedAt) {
					t.Errorf("status %+v, was %+v", st, first)
				}
				if n := parsed.Load(); n != 1 {
					t.Errorf("the document was parsed %d times", n)
				}
			})
		})
	}
}

func wantAllConditional(t *testing.T, requests []jwkstest.Request, etag bool) { //nolint:revive // A fact of the case.
	t.Helper()
	if len(requests) < 10 {
		t.Fatalf("%d requests in 3 hours", len(requests))
	}
	for i, r := range requests {
		want := http.StatusOK
		if i > 0 && etag {
			want = http.StatusNotModified
		}
		if r.Conditional() != (i > 0 && etag) || r.Status != want {
			t.Errorf("request %d: conditional %v, status %d", i, r.Conditional(), r.Status)
		}
	}
}

// A flood is a body of 64 MiB.
type flood struct{ left int64 }

func (f *flood) Read(p []byte) (int, error) {
	if f.left <= 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), f.left)
	f.left -= n
	return int(n), nil
}

func (*flood) Close() error { return nil }

// A body of 64 MiB is refused for less than 4 MiB, announced or not, and evicts nothing.
func TestFloodIsRefused(t *testing.T) {
	const size = 64 << 20
	for name, length := range map[string]int64{"announced": size, "chunked": -1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				var flooding atomic.Bool
				src := ready(t, s.source(t, jwks.WithResource(everfresh.WithMiddleware(func(next everfresh.Fetcher) everfresh.Fetcher {
					return everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
						if !flooding.Load() {
							return next.Fetch(req)
						}
						resp := &http.Response{
							StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
							ContentLength: length, Body: &flood{size}, Request: req,
						}
						if length < 0 {
							resp.TransferEncoding = []string{"chunked"}
						}
						return resp, nil
					})
				}))))
				flooding.Store(true)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				err := src.Refresh(t.Context())
				runtime.ReadMemStats(&after)
				wantError(t, err, everfresh.ErrTooLarge, jwks.ErrUnavailable)
				if n := after.TotalAlloc - before.TotalAlloc; n >= 4<<20 {
					t.Errorf("%d bytes were allocated", n)
				}
				wantKeyAtOnce(t, src, s.iss.Key())
				if d := time.Until(src.Status().Next); d > 37500*time.Millisecond {
					t.Errorf("the next try is %v away", d)
				}
			})
		})
	}
}
