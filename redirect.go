package everfresh

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/everfresh-go/everfresh/internal/redact"
	"github.com/everfresh-go/everfresh/internal/refreshctx"
	"github.com/everfresh-go/everfresh/internal/weburl"
)

// maxRedirects is how many redirects are followed.
const maxRedirects = 3

// A hopPolicy is what a fetcher must know about a refresh besides its request: which URLs
// it may go to and what may go with it. The context of the request holds it.
type hopPolicy struct {
	allow []func(*url.URL) error // all must agree

	// url is the registered URL, which was permitted when it was registered. origin is its
	// origin, or empty if a request function built the request.
	url    url.URL
	origin string

	// etag and since are the validators that the engine has added. Unlike what the caller
	// has added, they may follow a redirect to another origin.
	etag, since string
}

// hops returns h. A refresh that embeds h is found by it in a context.
func (h *hopPolicy) hops() *hopPolicy { return h }

// hopPolicyOf returns the policy in ctx, or an empty one.
func hopPolicyOf(ctx context.Context) *hopPolicy {
	if p, ok := ctx.Value(refreshctx.Key{}).(interface{ hops() *hopPolicy }); ok {
		return p.hops()
	}
	return &hopPolicy{}
}

// permit reports whether u may be fetched.
func (h *hopPolicy) permit(u *url.URL) error { return permit(u, h.allow) }

// conditional reports whether the request only asks for a change.
func (h *hopPolicy) conditional() bool { return h.etag != "" || h.since != "" }

// setValidators makes a request conditional, unless its builder did.
func (h *hopPolicy) setValidators(header http.Header, etag, lastModified string) {
	if len(header["If-None-Match"])+len(header["If-Modified-Since"]) > 0 {
		return
	}
	h.etag, h.since = etag, lastModified
	if h.etag != "" {
		header["If-None-Match"] = []string{h.etag}
	}
	if h.since != "" {
		header["If-Modified-Since"] = []string{h.since}
	}
}

// strip removes every header field except the engine's own.
func (h *hopPolicy) strip(header http.Header) {
	etag, since := header.Get("If-None-Match"), header.Get("If-Modified-Since")
	clear(header)
	header.Set("Accept-Encoding", "gzip")
	if h.etag != "" && etag == h.etag { // middleware may have taken it out
		header.Set("If-None-Match", h.etag)
	}
	if h.since != "" && since == h.since {
		header.Set("If-Modified-Since", h.since)
	}
}

// refuseRedirect returns the error of a redirect that is not followed. Its text names no
// URL.
func refuseRedirect(reason string) error {
	return redact.Own(errors.New("redirect refused: " + reason))
}

// checkRedirect is the redirect policy of every client: few hops, no downgrade, every hop
// permitted, and nothing that the caller added crosses an origin.
func checkRedirect(req *http.Request, via []*http.Request) error {
	// Is the hop allowed at all?
	last := via[len(via)-1]
	if len(via) > maxRedirects {
		return refuseRedirect(fmt.Sprintf("more than %d", maxRedirects))
	}
	if weburl.Downgrade(last.URL, req.URL) {
		return refuseRedirect("from https to http")
	}
	hops := hopPolicyOf(req.Context())
	if err := hops.permit(req.URL); err != nil {
		return redact.Own(fmt.Errorf("redirect refused: %w", err))
	}
	// Within the origin, everything goes along except the URL of the last hop.
	req.Header.Del("Referer")
	if !crossed(req, via) {
		return nil
	}
	// To another origin, only what the engine added goes along.
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		return refuseRedirect(req.Method + " to another origin")
	}
	if req.Body != nil && req.Body != http.NoBody {
		return refuseRedirect("a body to another origin")
	}
	hops.strip(req.Header)
	req.Host = "" // the caller's may have been kept
	return nil
}

// crossed reports whether any hop left the first one's origin: a request that comes
// back does not regain what it lost.
func crossed(req *http.Request, via []*http.Request) bool {
	for _, hop := range append(via[1:len(via):len(via)], req) {
		if !weburl.SameOrigin(via[0].URL, hop.URL) {
			return true
		}
	}
	return false
}
