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

// FromIssuer returns the source of the keys of an issuer, whose metadata says where they
// are. The issuer is its identifier to the letter, an https URL without query: the one that
// its tokens have as iss. It does not wait for the network.
//
// The metadata is a resource of its own: by OpenID Connect Discovery or, if that answers
// 404, by RFC 8414. It is refreshed as the keys are, and when the keys' URL answers 404 or
// 410. It must name the very issuer, and a jwks_uri on its origin unless [WithOrigins]
// allows another. Metadata that does not replaces none that did.
//
// In the cache, its errors and its storage the metadata goes by its URL, also where RFC 8414
// has answered, and the keys by the issuer and "/(keys)", as where they are may change.
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
	d.meta, err = everfresh.Register(c, d.oidc, d.decode, cfg.resourceOptions(d.origin,
		everfresh.WithKey(d.oidc), everfresh.WithRequest(d.metadataRequest), everfresh.WithMiddleware(d.orOAuth))...)
	if err != nil {
		return nil, fmt.Errorf("jwks: %w", err)
	}
	s := &Source{cfg: cfg, cache: c, meta: d.oidc}
	s.keys, err = everfresh.Register(c, d.oidc, cfg.decode, cfg.resourceOptions(d.origin,
		everfresh.WithKey(d.keys), everfresh.WithRequest(d.keysRequest), everfresh.WithMiddleware(d.orMoved))...)
	if err != nil {
		return nil, fmt.Errorf("jwks: %w", errors.Join(err, c.Unregister(d.oidc)))
	}
	return s, nil
}

// metadata is what is used of an issuer's.
type metadata struct {
	Issuer  string `json:"issuer"`
	JWKSURI string `json:"jwks_uri"`
}

// discovery finds where an issuer has its keys.
type discovery struct {
	cfg         *config
	issuer      string
	origin      string
	oidc, oauth string // where its metadata is
	keys        string // what the resource of its keys is called
	meta        *everfresh.Resource[metadata]
	answered    atomic.Pointer[answer] // the last good one for the keys
}

// An answer is where validators come from.
type answer struct{ url, etag, modified string }

func (c *config) newDiscovery(issuer string) (*discovery, error) {
	u, err := weburl.Parse(issuer)
	if err != nil {
		return nil, fmt.Errorf("jwks: issuer: %w: %w", everfresh.ErrNotAllowed, err)
	}
	if strings.ContainsAny(issuer, "?#") {
		return nil, fmt.Errorf("jwks: issuer: %w: it has a query or fragment", everfresh.ErrNotAllowed)
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

// metadataRequest asks for the metadata, whatever else the options say.
func (d *discovery) metadataRequest(ctx context.Context, _ *everfresh.Snapshot[any]) (*http.Request, error) {
	return http.NewRequestWithContext(ctx, http.MethodGet, d.oidc, nil)
}

// orOAuth is a middleware that asks at the other place where there is nothing at the first.
func (d *discovery) orOAuth(next everfresh.Fetcher) everfresh.Fetcher {
	return everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
		resp, err := next.Fetch(req)
		if err != nil || !gone(resp) {
			return resp, err
		}
		return again(next, req, resp, d.oauth)
	})
}

// gone reports whether resp says that there is nothing.
func gone(resp *http.Response) bool {
	return resp != nil && (resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone)
}

// again sends req to another URL, instead of resp.
func again(next everfresh.Fetcher, req *http.Request, resp *http.Response, rawURL string) (*http.Response, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return resp, nil //nolint:nilerr // The answer says better what is wrong.
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

// decode makes metadata of an answer.
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

// check says why m cannot be used, or nil.
func (d *discovery) check(m metadata) error {
	if m.Issuer != d.issuer {
		return errors.New("it names another issuer: the name must be the same to the letter, with or without a slash at its end")
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

// keysRequest asks for the key set at the place that the metadata names.
func (d *discovery) keysRequest(ctx context.Context, _ *everfresh.Snapshot[any]) (*http.Request, error) {
	m, err := d.meta.Get(ctx)
	if err != nil {
		return nil, d.afterMetadata(ctx, err)
	}
	return http.NewRequestWithContext(ctx, http.MethodGet, m.JWKSURI, nil)
}

// afterMetadata makes the keys be asked for right after the metadata is, so that two
// back-offs do not add up.
func (d *discovery) afterMetadata(ctx context.Context, err error) error {
	delay := d.cfg.delay(ctx)
	var failed *everfresh.RefreshError
	if errors.As(err, &failed) && !failed.Next.IsZero() {
		delay = time.Until(failed.Next)
	}
	return everfresh.RetryAfter(err, delay)
}

// orMoved is a middleware that asks for the metadata again when the keys are not where it
// says, and for the keys where they are now.
func (d *discovery) orMoved(next everfresh.Fetcher) everfresh.Fetcher {
	next = d.ownValidators(next)
	return everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
		resp, err := next.Fetch(req)
		if err != nil || !gone(resp) {
			return resp, err
		}
		seen := d.meta.Snapshot()
		if seen != nil && seen.Value.JWKSURI != req.URL.String() { // found out meanwhile
			return again(next, req, resp, seen.Value.JWKSURI)
		}
		now, err := d.meta.Newer(req.Context(), seen)
		if err != nil || now == nil || now.Value.JWKSURI == req.URL.String() {
			return resp, nil //nolint:nilerr // The sink hears of it from the metadata's own resource.
		}
		return again(next, req, resp, now.Value.JWKSURI)
	})
}

// ownValidators is a middleware that sends validators only to the URL that they are of
// (RFC 9110, section 8.8): the keys may have moved, and a new place that happens to use the
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

// withoutHeaders takes the caller's header fields from a request to another origin than the
// issuer's: they may hold what only the issuer is to know.
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
