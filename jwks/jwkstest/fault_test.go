package jwkstest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh/jwks/jwkstest"
)

// Each fault shows the client what it says, in memory as on a server, at the
// endpoint where it is and no other, until it ends.
func TestFaults(t *testing.T) {
	tests := map[string]struct {
		faults []jwkstest.Fault
		want   string // status, header field, body, errors
		status int    // on record
	}{
		"status": {
			[]jwkstest.Fault{jwkstest.Answer(503, http.Header{"Retry-After": {"120"}}, "")},
			"503 [application/json 120 ] \"\"", 503,
		},
		"body": {
			[]jwkstest.Fault{jwkstest.Answer(200, http.Header{"Content-Type": {"text/html"}}, "<p>oops")},
			"200 [text/html  ] \"<p>oops\"", 200,
		},
		"redirect": {
			[]jwkstest.Fault{jwkstest.Redirect("https://elsewhere.test/")},
			"302 [application/json  https://elsewhere.test/] \"\"", 302,
		},
		"drop":     {[]jwkstest.Fault{jwkstest.Drop}, "EOF", 0},
		"truncate": {[]jwkstest.Fault{jwkstest.Truncate, jwkstest.Answer(200, nil, "0123456789")}, "200 of 10 [application/json  ] \"01234\" unexpected EOF", 200},
		"delay":    {[]jwkstest.Fault{jwkstest.Delay(1), jwkstest.Answer(418, nil, "x")}, "418 [application/json  ] \"x\"", 418},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, iss *jwkstest.Issuer) {
				iss.KeySet().Break(test.faults...)
				if got := seen(t, iss, iss.KeySet().URL()); got != test.want {
					t.Errorf("the client sees %s, want %s", got, test.want)
				}
				all := iss.KeySet().Requests()
				if len(all) != 1 || all[0].Status != test.status {
					t.Errorf("on record are %+v", all)
				}
				object(t, iss, iss.Discovery().URL())
				iss.KeySet().Recover()
				if got := names(t, iss); got != "key-1" {
					t.Errorf("afterwards the set is %q", got)
				}
			})
		})
	}
}

// seen describes an answer.
func seen(t *testing.T, iss *jwkstest.Issuer, url string) string {
	t.Helper()
	resp, err := ask(t, iss, url)
	if err != nil {
		if errors.Is(err, io.EOF) {
			return "EOF"
		}
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	h := resp.Header
	text := fmt.Sprintf("%d [%s %s %s] %q",
		resp.StatusCode, h.Get("Content-Type"), h.Get("Retry-After"), h.Get("Location"), body)
	if err != nil {
		text = strings.Replace(text, " ", fmt.Sprintf(" of %d ", resp.ContentLength), 1) + " " + err.Error()
	}
	return text
}

// A conditional request is truncated too, as a 304 would have nothing to lose.
func TestTruncateTakesNoCondition(t *testing.T) {
	everywhere(t, func(t *testing.T, iss *jwkstest.Issuer) {
		resp, whole := fetch(t, iss, iss.KeySet().URL())
		iss.KeySet().Break(jwkstest.Truncate)
		resp, err := ask(t, iss, iss.KeySet().URL(), "If-None-Match", resp.Header.Get("ETag"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		half, err := io.ReadAll(resp.Body)
		if !errors.Is(err, io.ErrUnexpectedEOF) || string(half) != whole[:len(whole)/2] {
			t.Errorf("%d %q, %v", resp.StatusCode, half, err)
		}
	})
}

// A request that hangs gets what comes after the fault: the document, as it is by
// then, or the next fault. The rest of its own fault is not heard.
func TestHeldRequestsGetWhatComesNext(t *testing.T) {
	holds := map[string][]jwkstest.Fault{
		"hang":             {jwkstest.Hang},
		"delay":            {jwkstest.Delay(time.Hour)},
		"hang and answer":  {jwkstest.Hang, jwkstest.Answer(500, nil, "")},
		"delay and hang":   {jwkstest.Delay(1), jwkstest.Hang},
		"hang, then again": {jwkstest.Hang, jwkstest.Hang},
	}
	for name, faults := range holds {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, iss *jwkstest.Issuer) {
				for n, next := range []func(){
					iss.KeySet().Recover,
					func() { iss.KeySet().Break(jwkstest.Answer(429, nil, "")) },
				} {
					iss.KeySet().Break(faults...)
					status := make(chan int)
					go func() {
						resp, err := iss.Client().Get(iss.KeySet().URL())
						if err != nil {
							t.Error(err)
							close(status)
							return
						}
						resp.Body.Close()
						status <- resp.StatusCode
					}()
					arrived(t, iss.KeySet(), n+1)
					if got := iss.KeySet().Requests()[n].Status; got != 0 {
						t.Errorf("the request was answered: %d", got)
					}
					next()
					if got := <-status; got != []int{200, 429}[n] {
						t.Errorf("the status is %d", got)
					}
				}
			})
		})
	}
}

// On a server, too, a client that gives up is let go.
func TestHangOnServerEndsWithTheClient(t *testing.T) {
	iss := jwkstest.New()
	iss.Start(t)
	iss.KeySet().Break(jwkstest.Hang)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		arrived(t, iss.KeySet(), 1)
		cancel()
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, iss.KeySet().URL(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := iss.Client().Do(req); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
}

// In a bubble a hanging request ends when its context or its client says so, to the
// nanosecond of virtual time; nothing stays behind, or the bubble would complain.
func TestHangInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		iss := jwkstest.New()
		iss.KeySet().Break(jwkstest.Hang)
		start := time.Now()

		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Hour)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, iss.KeySet().URL(), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := iss.Client().Do(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the error is %v", err)
		}
		if took := time.Since(start); took != 5*time.Hour {
			t.Errorf("it took %v", took)
		}

		client := iss.Client()
		client.Timeout = time.Minute
		var timeout interface{ Timeout() bool }
		if _, err := client.Get(iss.KeySet().URL()); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("the error is %v", err)
		}
		if took := time.Since(start); took != 5*time.Hour+time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

// A delay is exact, and the Date is that of the answer.
func TestDelayInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		iss := jwkstest.New()
		iss.KeySet().Break(jwkstest.Delay(10 * time.Second))
		start := time.Now()
		resp, _ := fetch(t, iss, iss.KeySet().URL())
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("it took %v", took)
		}
		if got := resp.Header.Get("Date"); got != start.Add(10*time.Second).UTC().Format(http.TimeFormat) {
			t.Errorf("the date is %s", got)
		}
		if at := iss.KeySet().Requests()[0].At; !at.Equal(start) {
			t.Errorf("it arrived at %v", at)
		}
	})
}

// A request that gave up before the fault ended is not answered, nor on record as
// answered.
func TestAbandonedRequestIsNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		iss := jwkstest.New()
		iss.KeySet().Break(jwkstest.Hang)
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, iss.KeySet().URL(), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() {
			_, err := iss.Client().Do(req)
			done <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the error is %v", err)
		}
		if r := iss.KeySet().Requests()[0]; r.Status != 0 {
			t.Errorf("on record is %+v", r)
		}
	})
}

// A request that is dropped is one request: net/http has no used connection on
// which it would try again.
func TestDropIsOneRequest(t *testing.T) {
	everywhere(t, func(t *testing.T, iss *jwkstest.Issuer) {
		fetch(t, iss, iss.KeySet().URL())
		iss.KeySet().Break(jwkstest.Drop)
		if got := seen(t, iss, iss.KeySet().URL()); got != "EOF" {
			t.Errorf("the client sees %s", got)
		}
		if n := len(iss.KeySet().Requests()); n != 2 {
			t.Errorf("%d requests are on record, want 2", n)
		}
	})
}
