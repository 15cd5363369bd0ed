package everfresh

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/everfresh-go/everfresh/internal/redact"
)

// newTransport returns a transport with the limits that the package comment lists. It is
// not http.DefaultTransport, which has no limit for response headers, and uses the proxy of
// the environment.
func newTransport(cfg *cacheConfig) *http.Transport {
	return &http.Transport{
		Proxy:                  cfg.proxy,
		DialContext:            newDialer(cfg).DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    cfg.perHost,
		IdleConnTimeout:        freshConnTime,
		TLSHandshakeTimeout:    5 * time.Second,
		ResponseHeaderTimeout:  10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // the body reader counts encoded bytes
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
	}
}

// newDialer returns the dialer of the cache's own transports. The guard of
// [WithPublicOnly] is its Control function, which is called for each address of a name
// after the name was resolved and before the address is connected to. No answer of the DNS
// can change between the two.
func newDialer(cfg *cacheConfig) *net.Dialer {
	// Five seconds for resolving and connecting together, whatever addresses there are.
	d := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	if guard := cfg.public; guard != nil {
		d.ControlContext = func(_ context.Context, network, address string, _ syscall.RawConn) error {
			if err := guard.Dial(network, address); err != nil {
				return redact.Own(fmt.Errorf("%w: %w", ErrNotAllowed, err))
			}
			return nil
		}
	}
	return d
}
