package jwkstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"time"
)

// errHost is the error for a host that belongs to none of the client's issuers.
var errHost = errors.New("jwkstest: no issuer has this host")

// Client returns a client that reaches this issuer and nothing else. See
// [NewClient].
func (i *Issuer) Client() *http.Client { return NewClient(i) }

// NewClient returns a client that reaches these issuers by scheme and host, and fails for
// all other hosts. Issuers that were not started answer in memory, in the goroutine of the
// request, and the whole body is available together with the header. Started issuers are
// reached through their server. The client need not be closed.
func NewClient(issuers ...*Issuer) *http.Client {
	return &http.Client{Transport: transport(issuers)}
}

// Start starts a TLS server for the issuer on a free port of this machine. It runs until
// the cleanup of tb, which also ends all faults. Call Start first, because it changes the
// URLs of the issuer and its endpoints to those of the server; a second call panics. The
// server's own Client trusts its certificate. Each request has its own connection: on a
// reused one net/http would repeat a dropped request, which would be counted twice.
func (i *Issuer) Start(tb interface{ Cleanup(func()) }) *httptest.Server {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.server != nil {
		panic("jwkstest: started already")
	}
	i.server = httptest.NewUnstartedServer(i)
	i.server.Config.SetKeepAlivesEnabled(false)
	i.server.StartTLS()
	i.origin = i.server.URL
	server := i.server
	tb.Cleanup(func() {
		for _, e := range i.endpoints() {
			e.Recover() // Close waits for the requests that hang
		}
		server.Close()
	})
	return server
}

type transport []*Issuer

// RoundTrip implements [http.RoundTripper].
func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	for _, i := range t {
		i.mu.Lock()
		origin, server := i.origin, i.server
		i.mu.Unlock()
		switch {
		case origin != req.URL.Scheme+"://"+req.URL.Host:
		case server != nil:
			return server.Client().Transport.RoundTrip(req)
		default:
			return i.roundTrip(req)
		}
	}
	closeBody(req)
	return nil, errHost
}

// closeBody closes the body, which every RoundTrip must do. Its error does not matter,
// because no endpoint uses the body.
func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// roundTrip answers in memory, as a server and net/http would.
func (i *Issuer) roundTrip(req *http.Request) (*http.Response, error) {
	defer closeBody(req)
	ctx := req.Context()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}

	// Run the handler, and fail as net/http would.
	rec := httptest.NewRecorder()
	aborted := i.runHandler(rec, incoming(req))
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case aborted && !rec.Flushed:
		return nil, fmt.Errorf("jwkstest: the connection was closed: %w", io.EOF)
	}

	// Complete the response as a server would, with a Date and without deleted fields.
	resp := rec.Result()
	resp.Request = req
	if _, set := resp.Header["Date"]; !set {
		resp.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	maps.DeleteFunc(resp.Header, func(_ string, values []string) bool { return len(values) == 0 })
	switch {
	case req.Method == http.MethodHead:
		resp.Body = http.NoBody
	case aborted:
		resp.Body = io.NopCloser(io.MultiReader(resp.Body, torn{}))
	}
	return resp, nil
}

// runHandler reports whether the handler has closed the connection.
func (i *Issuer) runHandler(w http.ResponseWriter, r *http.Request) (aborted bool) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			aborted = true
		default:
			panic(p)
		}
	}()
	i.ServeHTTP(w, r)
	return false
}

// incoming returns a client's request as a server receives it.
func incoming(req *http.Request) *http.Request {
	r := req.Clone(req.Context())
	r.RequestURI = req.URL.RequestURI()
	r.RemoteAddr = "192.0.2.1:1234" // as httptest.NewRequest has it
	if r.Host == "" {
		r.Host = req.URL.Host
	}
	if r.Header == nil {
		r.Header = make(http.Header)
	}
	if r.Body == nil {
		r.Body = http.NoBody
	}
	return r
}

// torn is the end of a body whose connection was closed.
type torn struct{}

func (torn) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
