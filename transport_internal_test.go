package everfresh

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestDefaultTransportLimits(t *testing.T) {
	cfg := defaults()
	tr := newTransport(&cfg)
	if tr.TLSClientConfig.MinVersion != tls.VersionTLS12 || tr.TLSClientConfig.InsecureSkipVerify {
		t.Errorf("TLS from %x, verification skipped: %v", tr.TLSClientConfig.MinVersion, tr.TLSClientConfig.InsecureSkipVerify)
	}
	if tr.TLSHandshakeTimeout != 5*time.Second || tr.ResponseHeaderTimeout != 10*time.Second {
		t.Errorf("TLS handshake %v, header %v; want 5 s and 10 s", tr.TLSHandshakeTimeout, tr.ResponseHeaderTimeout)
	}
	if tr.MaxResponseHeaderBytes != 64<<10 {
		t.Errorf("header of at most %d bytes, want 64 KiB", tr.MaxResponseHeaderBytes)
	}
	if tr.MaxIdleConns <= 0 || tr.MaxIdleConnsPerHost != cfg.perHost || tr.IdleConnTimeout != freshConnTime {
		t.Errorf("idle connections: %d, %d a host, for %v", tr.MaxIdleConns, tr.MaxIdleConnsPerHost, tr.IdleConnTimeout)
	}
	if tr.Proxy != nil {
		t.Error("there is a proxy by default")
	}
}

// A server that takes the request and never answers.
func TestDefaultTransportHeaderTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := defaults()
		tr := newTransport(&cfg)
		var wg sync.WaitGroup
		tr.DialContext = func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			wg.Go(func() {
				defer server.Close()
				buf := make([]byte, 1024)
				for {
					if _, err := server.Read(buf); err != nil {
						return
					}
				}
			})
			return client, nil
		}
		start := time.Now()
		f := &httpFetcher{pooled: guarded(&http.Client{Transport: tr}), now: time.Now}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://a.test/?secret=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := f.Fetch(req)
		if err == nil {
			resp.Body.Close()
			t.Fatal("an answer came from nowhere")
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("gave up after %v, want 10 s", took)
		}
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() || !strings.Contains(err.Error(), "awaiting response headers") {
			t.Errorf("error = %v, want a timeout that says for what", err)
		}
		wg.Wait()
	})
}

func TestDefaultTransportTLS(t *testing.T) {
	tests := []struct {
		name     string
		versions [2]uint16 // of the server
		trusted  bool
		proto    int    // of a good answer
		want     string // part of the error
	}{
		{"TLS 1.2 and 1.3", [2]uint16{tls.VersionTLS12, tls.VersionTLS13}, true, 2, ""},
		{"TLS 1.2", [2]uint16{tls.VersionTLS12, tls.VersionTLS12}, true, 2, ""},
		{"TLS 1.1", [2]uint16{tls.VersionTLS10, tls.VersionTLS11}, true, 0, "protocol version"},
		{"unknown issuer", [2]uint16{tls.VersionTLS12, tls.VersionTLS13}, false, 0, "unknown authority"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			srv.EnableHTTP2 = true
			srv.TLS = &tls.Config{MinVersion: tt.versions[0], MaxVersion: tt.versions[1]} //nolint:gosec // To be refused.
			srv.Config.ErrorLog = log.New(io.Discard, "", 0)
			srv.StartTLS()
			defer srv.Close()
			cfg := defaults()
			tr := newTransport(&cfg)
			defer tr.CloseIdleConnections()
			tr.TLSClientConfig.RootCAs = x509.NewCertPool()
			if tt.trusted {
				tr.TLSClientConfig.RootCAs.AddCert(srv.Certificate())
			}
			f := &httpFetcher{pooled: guarded(&http.Client{Transport: tr}), now: time.Now}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := f.Fetch(req)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error = %v, want %q", err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.ProtoMajor != tt.proto {
				t.Errorf("answered by HTTP/%d, want HTTP/%d", resp.ProtoMajor, tt.proto)
			}
		})
	}
}

// Hosts that failed long ago are forgotten, however many there are.
func TestFailedHostsAreForgotten(t *testing.T) {
	now := time.Unix(1e9, 0)
	cfg := defaults()
	f := newHTTPFetcher(newTransport(&cfg), newTransport(&cfg), func() time.Time { return now })
	for i := range 3 * maxFailed {
		f.exchangeFailed(t.Context(), "http://"+string(rune('a'+i%26))+strings.Repeat("x", i/26)+".test")
		now = now.Add(freshConnTime / maxFailed * 2)
	}
	if n := len(f.failed.at); n > maxFailed {
		t.Errorf("%d failed hosts are remembered, want at most %d", n, maxFailed)
	}
}

// When many hosts fail at once, each failure must not cost a look at all the others.
func TestFailedHostsAreSweptSeldom(t *testing.T) {
	calls := 0
	cfg := defaults()
	f := newHTTPFetcher(newTransport(&cfg), newTransport(&cfg), func() time.Time {
		calls++
		return time.Unix(1e9, 0)
	})
	const n = 4 * maxFailed
	for i := range n {
		f.exchangeFailed(t.Context(), "http://"+strconv.Itoa(i)+".test")
	}
	if calls > 10*n {
		t.Errorf("%d looks at the clock for %d failures: each one is compared with all others", calls, n)
	}
}

// The guard stands in both transports' dialers, whose limits stay the same with it.
func TestDialerOfPublicOnly(t *testing.T) {
	cfg := defaults()
	for _, public := range []bool{false, true} {
		if public {
			WithPublicOnly().applyCache(&cfg)
		}
		d := newDialer(&cfg)
		if d.Timeout != 5*time.Second || d.KeepAlive <= 0 || d.Control != nil || (d.ControlContext != nil) != public {
			t.Errorf("public only: %v; dialer %+v", public, d)
		}
	}
}
