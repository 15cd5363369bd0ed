package jwkstest_test

import (
	"context"
	"crypto"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh/jwks/jwkstest"
)

// oddSigner is a signer whose public key no JWK can hold.
type oddSigner struct{ crypto.Signer }

func (oddSigner) Public() crypto.PublicKey { return "odd" }

// A matching ETag gives 304, until the document changes; both are on record.
func TestConditionalRequests(t *testing.T) {
	everywhere(t, func(t *testing.T, iss *jwkstest.Issuer) {
		url := iss.KeySet().URL()
		first, _ := fetch(t, iss, url)
		tag := first.Header.Get("ETag")
		if !strings.HasPrefix(tag, `"`) {
			t.Fatalf("the ETag is %q", tag)
		}
		same, body := fetch(t, iss, url, "If-None-Match", tag)
		if same.StatusCode != http.StatusNotModified || body != "" || same.Header.Get("ETag") != tag {
			t.Errorf("unchanged: %d %q, ETag %q", same.StatusCode, body, same.Header.Get("ETag"))
		}
		iss.Rotate("ES256")
		changed, _ := fetch(t, iss, url, "If-None-Match", tag)
		if changed.StatusCode != http.StatusOK || changed.Header.Get("ETag") == tag {
			t.Errorf("changed: %d, ETag %q", changed.StatusCode, changed.Header.Get("ETag"))
		}

		var log []string
		for _, r := range iss.KeySet().Requests() {
			log = append(log, strconv.Itoa(r.Status)+" "+strconv.FormatBool(r.Conditional()))
		}
		if got := strings.Join(log, ", "); got != "200 false, 304 true, 200 true" {
			t.Errorf("the requests were %s", got)
		}
		if n := len(iss.Discovery().Requests()) + len(iss.Metadata().Requests()); n != 0 {
			t.Errorf("%d requests are counted at other endpoints", n)
		}
	})
}

// An ETag can be switched off, and one that is fixed lies.
func TestETagIsSettable(t *testing.T) {
	everywhere(t, func(t *testing.T, iss *jwkstest.Issuer) {
		url := iss.KeySet().URL()
		first, _ := fetch(t, iss, url)
		iss.KeySet().SetHeader("ETag", "")
		resp, _ := fetch(t, iss, url, "If-None-Match", first.Header.Get("ETag"))
		if _, ok := resp.Header["Etag"]; ok || resp.StatusCode != http.StatusOK {
			t.Errorf("without ETag: %d, %v", resp.StatusCode, resp.Header)
		}
		iss.KeySet().SetHeader("ETag", `"fixed"`)
		iss.Rotate("ES256")
		if resp, _ := fetch(t, iss, url, "If-None-Match", `"fixed"`); resp.StatusCode != http.StatusNotModified {
			t.Errorf("fixed ETag: %d", resp.StatusCode)
		}
	})
}

// Memory and server send the same fields: three of their own, those that were set,
// and none that was emptied.
func TestHeaders(t *testing.T) {
	everywhere(t, func(t *testing.T, iss *jwkstest.Issuer) {
		e := iss.KeySet()
		plain, _ := fetch(t, iss, e.URL())
		if plain.Header.Get("Content-Type") != "application/json" || plain.ContentLength <= 0 {
			t.Errorf("the header is %v", plain.Header)
		}
		if date, err := http.ParseTime(plain.Header.Get("Date")); err != nil || time.Since(date).Abs() > time.Minute {
			t.Errorf("the date is %q", plain.Header.Get("Date"))
		}
		if plain.Header.Get("Cache-Control") != "" {
			t.Error("there is a Cache-Control that was not set")
		}
		e.SetHeader("cache-control", "max-age=60")
		e.SetHeader("Age", "5")
		e.SetHeader("Date", "")
		e.SetHeader("Content-Type", "")
		resp, _ := fetch(t, iss, e.URL())
		if resp.Header.Get("Cache-Control") != "max-age=60" || resp.Header.Get("Age") != "5" {
			t.Errorf("the header is %v", resp.Header)
		}
		for _, name := range []string{"Date", "Content-Type"} {
			if v, ok := resp.Header[name]; ok {
				t.Errorf("%s is sent: %q", name, v)
			}
		}
		same, _ := fetch(t, iss, e.URL(), "If-None-Match", resp.Header.Get("ETag"))
		if same.StatusCode != http.StatusNotModified || same.Header.Get("Cache-Control") != "max-age=60" {
			t.Errorf("the 304 is a %d with %v", same.StatusCode, same.Header)
		}
	})
}

// HEAD has the header without the body, and other methods are refused.
func TestMethods(t *testing.T) {
	everywhere(t, func(t *testing.T, iss *jwkstest.Issuer) {
		head, err := iss.Client().Head(iss.KeySet().URL())
		if err != nil {
			t.Fatal(err)
		}
		defer head.Body.Close()
		if n, _ := head.Body.Read(make([]byte, 1)); n != 0 || head.StatusCode != http.StatusOK || head.ContentLength <= 0 {
			t.Errorf("HEAD: %d, length %d, read %d", head.StatusCode, head.ContentLength, n)
		}
		post, err := iss.Client().Post(iss.KeySet().URL(), "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		defer post.Body.Close()
		if post.StatusCode != http.StatusMethodNotAllowed || post.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("POST: %d, %v", post.StatusCode, post.Header)
		}
	})
}

// A request's record is the caller's own, and has the header that came.
func TestRequestsAreCopies(t *testing.T) {
	iss := jwkstest.New()
	before := time.Now()
	fetch(t, iss, iss.KeySet().URL(), "X-Test", "1")
	r := iss.KeySet().Requests()[0]
	r.Header.Set("X-Test", "2")
	again := iss.KeySet().Requests()[0]
	if again.Header.Get("X-Test") != "1" || again.At.Before(before) || again.At.After(time.Now()) {
		t.Errorf("the record is %+v", again)
	}
}

// Everything at once, for the race detector: each answer is whole.
func TestConcurrentUse(t *testing.T) {
	everywhere(t, func(t *testing.T, iss *jwkstest.Issuer) {
		var wg sync.WaitGroup
		for n := range 4 {
			wg.Go(func() {
				for range 10 {
					iss.Withdraw(iss.Rotate("ES256").ID)
					iss.Sign(nil)
					iss.KeySet().Break(jwkstest.Answer(200, nil, `{"keys":[]}`), jwkstest.Delay(time.Hour))
					iss.KeySet().SetHeader("Age", strconv.Itoa(n))
					iss.SetMetadata("n", n)
					iss.KeySet().Recover()
				}
			})
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				for range 10 {
					for _, url := range []string{iss.KeySet().URL(), iss.Discovery().URL()} {
						req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
						if err != nil {
							t.Error(err)
							return
						}
						resp, err := iss.Client().Do(req)
						if err != nil || resp.StatusCode != http.StatusOK {
							t.Error(resp, err)
							return
						}
						resp.Body.Close()
					}
				}
			})
		}
		wg.Wait()
		if n := len(iss.KeySet().Requests()); n != 40 {
			t.Errorf("%d requests are on record, want 40", n)
		}
	})
}
