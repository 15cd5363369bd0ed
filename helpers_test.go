package everfresh_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh"
)

// viaHandler is a transport that calls a handler directly: no connection, no
// goroutine, so that it scales and works in a synctest bubble.
type viaHandler struct{ http.Handler }

func (h viaHandler) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	resp := rec.Result()
	resp.ContentLength = int64(rec.Body.Len())
	resp.Request = req
	return resp, nil
}

// clientOf returns a client whose requests h answers in process.
func clientOf(h http.HandlerFunc) *http.Client { return &http.Client{Transport: viaHandler{h}} }

// text answers every request with body and header fields kv.
func text(body string, kv ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(kv); i += 2 {
			w.Header().Set(kv[i], kv[i+1])
		}
		_, _ = w.Write([]byte(body))
	}
}

// newCache returns a cache that the test closes.
func newCache(t testing.TB, opts ...everfresh.CacheOption) *everfresh.Cache {
	t.Helper()
	c := everfresh.NewCache(context.WithoutCancel(t.Context()), opts...)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

// register registers url at the typed door and fails the test if it cannot.
func register[T any](t testing.TB, c *everfresh.Cache, url string, d everfresh.Decoder[T], opts ...everfresh.RegisterOption) *everfresh.Resource[T] {
	t.Helper()
	r, err := everfresh.Register(c, url, d, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A listener remembers what sink and observer heard.
type listener struct {
	mu     sync.Mutex
	errs   []error
	events []everfresh.Event
}

func (l *listener) Error(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
}

func (l *listener) Observe(ev everfresh.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, ev)
}

func (l *listener) Errors() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]error(nil), l.errs...)
}

func (l *listener) Events(kind string) []everfresh.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []everfresh.Event
	for _, ev := range l.events {
		if kind == "" || ev.Kind == kind {
			found = append(found, ev)
		}
	}
	return found
}

// options makes l both sink and observer.
func (l *listener) options() []everfresh.CacheOption {
	return []everfresh.CacheOption{everfresh.WithErrSink(l), everfresh.WithObserver(l.Observe)}
}

// A memNet is a network in memory, for tests of what a real transport does in a
// synctest bubble. It must be made inside the bubble.
type memNet struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newMemNet() *memNet {
	return &memNet{conns: make(chan net.Conn), done: make(chan struct{})}
}

var errRefused = errors.New("connection refused")

func (m *memNet) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case m.conns <- server:
		return client, nil
	case <-m.done:
		return nil, errRefused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *memNet) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memNet) Close() error {
	m.once.Do(func() { close(m.done) })
	return nil
}

func (*memNet) Addr() net.Addr { return memAddr{} }

type memAddr struct{}

func (memAddr) Network() string { return "mem" }
func (memAddr) String() string  { return "origin.test:80" }

// serve runs h behind a memNet and returns a client for it. All goroutines end with
// the test.
func serve(t testing.TB, h http.Handler) *http.Client {
	t.Helper()
	m := newMemNet()
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Hour}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(m) })
	tr := &http.Transport{DialContext: m.DialContext, DisableCompression: true}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		_ = srv.Close()
		_ = m.Close()
		wg.Wait()
	})
	return &http.Client{Transport: tr}
}

// allowAny is a URL policy that accepts every URL.
func allowAny(*url.URL) error { return nil }
