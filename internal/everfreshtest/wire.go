package everfreshtest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/everfresh-go/everfresh"
)

// Raw returns a client whose n-th request gets the n-th raw answer, and the last one from
// then on, each on its own connection in memory.
func Raw(t testing.TB, answers ...string) *http.Client {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	asked := 0
	next := func() string {
		mu.Lock()
		defer mu.Unlock()
		asked++
		return answers[min(asked, len(answers))-1]
	}
	dial := func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		wg.Go(func() {
			defer server.Close()
			if _, err := http.ReadRequest(bufio.NewReader(server)); err != nil {
				return
			}
			_, _ = io.WriteString(server, next())
		})
		return client, nil
	}
	t.Cleanup(wg.Wait)
	return &http.Client{Transport: &http.Transport{
		DialContext: dial, DialTLSContext: dial, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
	}}
}

// Gzip returns data, compressed.
func Gzip(data []byte) []byte {
	var packed bytes.Buffer
	zw, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	_, _ = zw.Write(data)
	_ = zw.Close()
	return packed.Bytes()
}

// Framed is a whole HTTP/1.1 answer with header lines fields.
func Framed(body string, fields ...string) string {
	return "HTTP/1.1 200 OK\r\n" + strings.Join(append(fields, fmt.Sprintf("Content-Length: %d", len(body))), "\r\n") + "\r\n\r\n" + body
}

// Loopback listens on addr, counts connections, and gives each one to serve. All
// ends with the test.
func Loopback(t testing.TB, addr string, serve func(net.Conn)) (hostport string, accepted *atomic.Int64) {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Skipf("no loopback socket: %v", err)
	}
	accepted = new(atomic.Int64)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		conns []net.Conn
	)
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
			wg.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, conn := range conns {
			_ = conn.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return ln.Addr().String(), accepted
}

// Once answers the first request of a connection with raw bytes.
func Once(raw string) func(net.Conn) {
	return func(conn net.Conn) {
		buf := make([]byte, 4096)
		_, _ = conn.Read(buf)
		_, _ = io.WriteString(conn, raw)
	}
}

// Moves returns middleware that sends requests to another URL, with a changed context.
func Moves(to string, ctx func(context.Context) context.Context) func(everfresh.Fetcher) everfresh.Fetcher {
	return func(next everfresh.Fetcher) everfresh.Fetcher {
		return everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
			moved := req.Clone(ctx(req.Context()))
			u, err := url.Parse(to)
			if err != nil {
				return nil, err
			}
			moved.URL, moved.Host = u, ""
			return next.Fetch(moved)
		})
	}
}
