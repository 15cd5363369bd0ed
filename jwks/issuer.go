package jwks

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/weburl"
)

const (
	// oidcPath is appended to the issuer: OpenID Connect Discovery, section 4.
	oidcPath = "/.well-known/openid-configuration"
	// oauthPath is put before the issuer's path: RFC 8414, section 3.
	oauthPath = "/.well-known/oauth-authorization-server"
)

// FromIssuer returns the source of the keys of an issuer, whose metadata has the URL of the
// keys. The issuer is an https URL without a query, exactly as in the iss of its tokens.
// FromIssuer does not wait for the network.
//
// The metadata is a resource of its own, from OpenID Connect Discovery or, if that returns
// 404, from RFC 8414. It is refreshed like the keys, and also when the URL of the keys
// returns 404 or 410. It must name exactly this issuer, and a jwks_uri on the issuer's
// origin unless [WithOrigins] allows another. Metadata that does not never replaces valid
// metadata.
//
// In the cache, its errors and its storage, the key of the metadata is the URL of OpenID
// Connect Discovery, even if RFC 8414 has answered. The key of the key set is the issuer
// followed by "/(keys)", because the URL of the key set may change.
//
// The errors are those of [New].
func FromIssuer(c *everfresh.Cache, issuer string, opts ...Option) (*Source, error) {
	cfg, err := newConfig(c, opts)
	if err != nil {
		return nil, err
	}
	d, err := cfg.newDiscovery(issuer)
	if err != nil {
		return nil, err
	}
	d.metadata, err = everfresh.Register(c, d.oidc, d.decode, cfg.resourceOptions(d.origin,
		everfresh.WithKey(d.oidc), everfresh.WithRequest(d.metadataRequest), everfresh.WithMiddleware(d.orOAuth))...)
	if err != nil {
		return nil, fmt.Errorf("jwks: %w", err)
	}
	s := &Source{cfg: cfg, cache: c, metadataKey: d.oidc}
	s.keys, err = everfresh.Register(c, d.oidc, cfg.decode, cfg.resourceOptions(d.origin,
		everfresh.WithKey(d.keys), everfresh.WithRequest(d.keysRequest), everfresh.WithMiddleware(d.orMoved))...)
	if err != nil {
		return nil, fmt.Errorf("jwks: %w", errors.Join(err, c.Unregister(d.oidc)))
	}
	return s, nil
}

// metadata has the fields of an issuer's metadata that are used.
type metadata struct {
	Issuer  string `json:"issuer"`
	JWKSURI string `json:"jwks_uri"`
}

// discovery finds the URL of an issuer's keys.
type discovery struct {
	cfg         *config
	issuer      string
	origin      string
	oidc, oauth string // URLs of the metadata
	keys        string // key of the resource with the key set
	metadata    *everfresh.Resource[metadata]
	answered    atomic.Pointer[answer] // the last good response with keys
}

// An answer is the URL and the validators of a response.
type answer struct{ url, etag, modified string }

func (c *config) newDiscovery(issuer string) (*discovery, error) {
	u, err := weburl.Parse(issuer)
	if err != nil {
		return nil, fmt.Errorf("jwks: issuer: %w: %w", everfresh.ErrNotAllowed, err)
	}
	if strings.ContainsAny(issuer, "?#") {
		return nil, fmt.Errorf("jwks: issuer: %w: the URL has a query or fragment", everfresh.ErrNotAllowed)
	}
	base := strings.TrimSuffix(issuer, "/")
	root := *u
	root.Path, root.RawPath = "", ""
	return &discovery{
		cfg: c, issuer: issuer, origin: weburl.Origin(u),
		oidc:  base + oidcPath,
		keys:  base + "/(keys)",
		oauth: root.String() + oauthPath + strings.TrimSuffix(u.EscapedPath(), "/"),
	}, nil
}

// metadataRequest makes the request for the metadata. It overrides a request of the options.
func (d *discovery) metadataRequest(ctx context.Context, _ *everfresh.Snapshot[any]) (*http.Request, error) {
	return http.NewRequestWithContext(ctx, http.MethodGet, d.oidc, nil)
}

// orOAuth is a middleware that tries the URL of RFC 8414 if there is nothing at the first URL.
func (d *discovery) orOAuth(next everfresh.Fetcher) everfresh.Fetcher {
	return everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
		resp, err := next.Fetch(req)
		if err != nil || !gone(resp) {
			return resp, err
		}
		return again(next, req, resp, d.oauth)
	})
}

// gone reports whether resp says that there is nothing at the URL.
func gone(resp *http.Response) bool {
	return resp != nil && (resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone)
}

// again discards resp and sends req to another URL.
func again(next everfresh.Fetcher, req *http.Request, resp *http.Response, rawURL string) (*http.Response, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return resp, nil //nolint:nilerr // The response explains the failure better.
	}
	if resp.Body != nil {
		if err := resp.Body.Close(); err != nil {
			return nil, err
		}
	}
	req = req.Clone(req.Context())
	req.URL, req.Host = u, u.Host
	return next.Fetch(req)
}

// decode decodes metadata.
func (d *discovery) decode(ctx context.Context, resp *http.Response) (metadata, error) {
	m, err := everfresh.JSON[metadata]()(ctx, resp)
	if err == nil {
		err = d.check(m)
	}
	if err != nil {
		return metadata{}, fmt.Errorf("jwks: %w: %w", ErrMetadata, err)
	}
	return m, nil
}

// check returns an error that says why m cannot be used, or nil.
func (d *discovery) check(m metadata) error {
	if m.Issuer != d.issuer {
		return errors.New("it names another issuer: the two must match exactly, including a slash at the end")
	}
	u, err := weburl.Parse(m.JWKSURI)
	if err == nil {
		err = d.cfg.permits(u, d.origin)
	}
	if err != nil {
		return fmt.Errorf("jwks_uri: %w: %w", everfresh.ErrNotAllowed, err)
	}
	return nil
}

// keysRequest makes the request for the key set at the URL in the metadata.
func (d *discovery) keysRequest(ctx context.Context, _ *everfresh.Snapshot[any]) (*http.Request, error) {
	m, err := d.metadata.Get(ctx)
	if err != nil {
		return nil, d.afterMetadata(ctx, err)
	}
	return http.NewRequestWithContext(ctx, http.MethodGet, m.JWKSURI, nil)
}

// afterMetadata schedules the next fetch of the keys right after that of the metadata, so
// that the two back-offs do not add up.
func (d *discovery) afterMetadata(ctx context.Context, err error) error {
	delay := d.cfg.delay(ctx)
	var failed *everfresh.RefreshError
	if errors.As(err, &failed) && !failed.Next.IsZero() {
		delay = time.Until(failed.Next)
	}
	return everfresh.RetryAfter(err, delay)
}

// orMoved is a middleware that refreshes the metadata when the keys are not at the URL in
// it, and then fetches the keys from the new URL.
func (d *discovery) orMoved(next everfresh.Fetcher) everfresh.Fetcher {
	next = d.ownValidators(next)
	return everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
		resp, err := next.Fetch(req)
		if err != nil || !gone(resp) {
			return resp, err
		}
		seen := d.metadata.Snapshot()
		if seen != nil && seen.Value.JWKSURI != req.URL.String() { // the metadata has been refreshed meanwhile
			return again(next, req, resp, seen.Value.JWKSURI)
		}
		now, err := d.metadata.Newer(req.Context(), seen)
		if err != nil || now == nil || now.Value.JWKSURI == req.URL.String() {
			return resp, nil //nolint:nilerr // The resource of the metadata reports this error to the sink.
		}
		return again(next, req, resp, now.Value.JWKSURI)
	})
}

// ownValidators is a middleware that sends validators only to the URL that they came from
// (RFC 9110, section 8.8): the keys may have moved, and a new URL that happens to use the
// same ETag, such as "1", would confirm keys that it does not have.
func (d *discovery) ownValidators(next everfresh.Fetcher) everfresh.Fetcher {
	return everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
		req = d.withoutHeaders(req)
		now := answer{req.URL.String(), req.Header.Get("If-None-Match"), req.Header.Get("If-Modified-Since")}
		if last := d.answered.Load(); last == nil || *last != now {
			req = req.Clone(req.Context())
			req.Header.Del("If-None-Match")
			req.Header.Del("If-Modified-Since")
		}
		resp, err := next.Fetch(req)
		if err == nil && resp != nil && resp.StatusCode == http.StatusOK {
			d.answered.Store(&answer{now.url, resp.Header.Get("Etag"), resp.Header.Get("Last-Modified")})
		}
		return resp, err
	})
}

// withoutHeaders removes the caller's header fields from a request to another origin than
// the issuer's: they may contain secrets that are meant only for the issuer.
func (d *discovery) withoutHeaders(req *http.Request) *http.Request {
	if weburl.Origin(req.URL) == d.origin {
		return req
	}
	req = req.Clone(req.Context())
	maps.DeleteFunc(req.Header, func(name string, _ []string) bool {
		return !slices.Contains([]string{"Accept", "Accept-Encoding", "If-None-Match", "If-Modified-Since"}, name)
	})
	return req
}
