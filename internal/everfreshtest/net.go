package everfreshtest

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A Net is a network in memory, for tests of what a real transport does in a synctest
// bubble. It is a [net.Listener], and is made inside the bubble.
type Net struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	dials atomic.Int64
}

// NewNet returns a network.
func NewNet() *Net { return &Net{conns: make(chan net.Conn), done: make(chan struct{})} }

// DialContext connects to the listener, whatever the address.
func (n *Net) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	n.dials.Add(1)
	client, server := net.Pipe()
	select {
	case n.conns <- server:
		return client, nil
	case <-n.done:
		return nil, ErrRefused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Dials returns how often DialContext was called.
func (n *Net) Dials() int64 { return n.dials.Load() }

// Accept implements [net.Listener].
func (n *Net) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.done:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (n *Net) Close() error {
	n.once.Do(func() { close(n.done) })
	return nil
}

// Addr implements [net.Listener].
func (*Net) Addr() net.Addr { return &net.UnixAddr{Name: "origin.test:80", Net: "mem"} }

// Serve runs h behind a Net and returns a client for it. All goroutines end with the test.
func Serve(t testing.TB, h http.Handler) *http.Client {
	t.Helper()
	n := NewNet()
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Hour}
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(n) })
	tr := &http.Transport{DialContext: n.DialContext, DisableCompression: true}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		_ = srv.Close()
		_ = n.Close()
		wg.Wait()
	})
	return &http.Client{Transport: tr}
}
