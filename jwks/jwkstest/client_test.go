package jwkstest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/everfresh-go/everfresh/jwks/jwkstest"
)

// A client reaches its issuers, by scheme and host, and nothing else.
func TestClientReachesItsIssuersOnly(t *testing.T) {
	a := jwkstest.New(jwkstest.WithURL("https://a.test"))
	b := jwkstest.New(jwkstest.WithURL("https://b.test"))
	c := jwkstest.New()
	b.Rotate("ES256")
	c.Start(t)
	client := jwkstest.NewClient(a, b, c)
	for _, iss := range []*jwkstest.Issuer{a, b, c} {
		resp, err := client.Get(iss.KeySet().URL())
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || len(iss.KeySet().Requests()) != 1 {
			t.Errorf("%v, %d requests", err, len(iss.KeySet().Requests()))
		}
		if n := strings.Count(string(body), `"kid"`); (iss == b) != (n == 2) {
			t.Errorf("%s has %d keys", iss.URL(), n)
		}
	}
	for _, u := range []string{"http://a.test/jwks.json", "https://a.test:444/jwks.json", "https://issuer.test/jwks.json"} {
		_, err := client.Get(u)
		if err == nil || !strings.Contains(err.Error(), "no issuer") {
			t.Errorf("%s: %v", u, err)
		}
	}
}

// A redirect is followed to another issuer if the client may.
func TestRedirectIsFollowed(t *testing.T) {
	a, b := jwkstest.New(), jwkstest.New(jwkstest.WithURL("https://b.test"))
	a.KeySet().Break(jwkstest.Redirect(b.KeySet().URL()))
	resp, err := jwkstest.NewClient(a, b).Get(a.KeySet().URL())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.Request.URL.String() != b.KeySet().URL() || len(b.KeySet().Requests()) != 1 {
		t.Errorf("the answer is from %s", resp.Request.URL)
	}
}

// A request whose context has ended before it began does not arrive, and an error
// of the context is its cause, as with net/http.
func TestEndedContext(t *testing.T) {
	iss := jwkstest.New()
	cause := errors.New("the cause")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, iss.KeySet().URL(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	_, err = iss.Client().Transport.RoundTrip(req)
	if !errors.Is(err, cause) || len(iss.KeySet().Requests()) != 0 {
		t.Errorf("the error is %v, %d requests arrived", err, len(iss.KeySet().Requests()))
	}
}

type closedBody struct {
	io.Reader
	closed bool
}

func (b *closedBody) Close() error {
	b.closed = true
	return nil
}

// RoundTrip closes the body of every request, and leaves the rest of it as it was;
// a request without Header or Host, made by hand, is one too.
func TestRoundTripContract(t *testing.T) {
	iss := jwkstest.New()
	for _, target := range []string{iss.KeySet().URL(), "https://other.test/"} {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		body := &closedBody{Reader: strings.NewReader("x")}
		req := &http.Request{Method: http.MethodGet, URL: u, Body: body}
		if resp, err := iss.Client().Transport.RoundTrip(req); err == nil {
			resp.Body.Close()
		}
		if !body.closed || req.Host != "" || req.Header != nil || req.RequestURI != "" {
			t.Errorf("%s: closed %v, %+v", target, body.closed, req)
		}
	}
}

// A handler sees what it would see on a server.
func TestHandlerSeesAServersRequest(t *testing.T) {
	everywhere(t, func(t *testing.T, iss *jwkstest.Issuer) {
		u, err := url.Parse(iss.URL())
		if err != nil {
			t.Fatal(err)
		}
		iss.KeySet().Break(func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, err := io.WriteString(w, r.RequestURI+" "+strings.ReplaceAll(r.Host, u.Host, "HOST"))
				if err != nil || r.RemoteAddr == "" || r.Body == nil || r.Header == nil {
					t.Error("the request is not complete", err)
				}
			})
		})
		if _, body := fetch(t, iss, iss.KeySet().URL()+"?a=b"); body != "/jwks.json?a=b HOST" {
			t.Errorf("it saw %s", body)
		}
		if r := iss.KeySet().Requests()[0]; r.Status != http.StatusOK {
			t.Errorf("a status that was not spelled out is on record as %d", r.Status)
		}
	})
}

// A fault that panics for another reason than to close the connection is heard.
func TestPanicOfAFaultIsHeard(t *testing.T) {
	iss := jwkstest.New()
	iss.KeySet().Break(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("jwkstest: a mistake") })
	})
	panics(t, func() { _, _ = iss.Client().Get(iss.KeySet().URL()) })
}

// Start keeps the path of the issuer, and its cleanup does not wait for what hangs.
func TestStart(t *testing.T) {
	iss := jwkstest.New(jwkstest.WithURL("https://issuer.test/tenant"))
	early := iss.Client()
	hung := make(chan error, 1)
	t.Run("server", func(t *testing.T) {
		server := iss.Start(t)
		if iss.URL() != server.URL+"/tenant" || iss.KeySet().URL() != server.URL+"/tenant/jwks.json" {
			t.Errorf("the URLs are %s, %s", iss.URL(), iss.KeySet().URL())
		}
		resp, err := early.Get(iss.KeySet().URL())
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		resp, err = server.Client().Get(iss.KeySet().URL())
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		iss.KeySet().Break(jwkstest.Hang)
		go func() {
			resp, err := server.Client().Get(iss.KeySet().URL())
			if err == nil {
				resp.Body.Close()
			}
			hung <- err
		}()
		arrived(t, iss.KeySet(), 3)
	})
	if err := <-hung; err != nil {
		t.Errorf("the request that hung: %v", err)
	}
	if _, err := iss.Client().Get(iss.KeySet().URL()); err == nil {
		t.Error("the server is still there")
	}
}
