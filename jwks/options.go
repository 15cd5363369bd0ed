package jwks

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/weburl"
)

// The cache's options that differ from its defaults. They suit keys: a floor, as some
// issuers forbid caching; a ceiling, as a revoked key must go; a short time-out, as
// requests wait for an unknown key.
const (
	minInterval     = 5 * time.Minute
	maxInterval     = time.Hour
	defaultLifetime = 15 * time.Minute // of a set whose answer says nothing
	jitter          = 0.1
	backoffFloor    = 250 * time.Millisecond
	backoffCeiling  = 30 * time.Second
	maxStale        = 24 * time.Hour
	fetchTimeout    = 5 * time.Second
	maxBytes        = 1 << 20
	onDemandBurst   = 2
	onDemandRefill  = 15 * time.Second
)

// An Option sets something of a [Source]. The errors of invalid ones wrap [ErrOption].
type Option interface{ apply(*config) error }

type option func(*config) error

func (o option) apply(c *config) error { return o(c) }

// config is what the options say.
type config struct {
	algorithms       algorithms
	custom           []string // names of WithAlgorithms that are not built in
	parsers          []ParseOption
	origins          []string // besides the URL's or the issuer's own
	insecure         bool
	allowEmpty       bool
	refreshSignature bool
	floor, ceiling   time.Duration // of the back-off
	resource         []everfresh.RegisterOption
}

// newConfig checks what [New] and [FromIssuer] are given.
func newConfig(cache *everfresh.Cache, opts []Option) (*config, error) {
	if cache == nil {
		return nil, fmt.Errorf("jwks: %w: the cache is nil", ErrOption)
	}
	c := &config{algorithms: allAlgorithms, floor: backoffFloor, ceiling: backoffCeiling}
	for _, o := range opts {
		if o == nil {
			return nil, fmt.Errorf("jwks: %w: it is nil", ErrOption)
		}
		if err := o.apply(c); err != nil {
			return nil, err
		}
	}
	if len(c.custom) > 0 && len(c.parsers) == 0 {
		return nil, fmt.Errorf("jwks: %w: algorithm %q is not known, and there is no key parser", ErrOption, cut(c.custom[0]))
	}
	return c, nil
}

// WithAlgorithms lets only these signature algorithms (the alg of RFC 7518, RFC 8037 and
// RFC 9864) be used. One that is not built in is an error without [WithKeyParser]; HMAC and
// "none" always are. Default: RS256, RS384, RS512, PS256, PS384, PS512, ES256,
// ES384, ES512, EdDSA and Ed25519.
func WithAlgorithms(names ...string) Option {
	return option(func(c *config) error {
		c.algorithms, c.custom = 0, nil
		for _, name := range names {
			switch bit := algorithmBit(name); {
			case bit != 0:
				c.algorithms |= bit
			case name == "" || strings.EqualFold(name, "none") || strings.HasPrefix(strings.ToUpper(name), "HS"):
				return fmt.Errorf("jwks: %w: algorithm %q is never allowed", ErrOption, cut(name))
			default:
				c.custom = append(c.custom, name)
			}
		}
		if len(names) == 0 {
			return fmt.Errorf("jwks: %w: no algorithm is allowed", ErrOption)
		}
		return nil
	})
}

// WithOrigins lets the key set be on these origins, too, such as
// "https://www.googleapis.com": as the jwks_uri of an issuer's metadata, or as the target of
// a redirect. They are sent no header of the caller's. Used again, it adds to them. When an
// origin is taken back, remove what is stored of its keys. Default: only the origin that
// [New] or [FromIssuer] is given.
func WithOrigins(origins ...string) Option {
	return option(func(c *config) error {
		for _, o := range origins {
			u, err := weburl.Parse(o)
			if err != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
				return fmt.Errorf("jwks: %w: WithOrigins wants an origin such as https://a.example", ErrOption)
			}
			c.origins = append(c.origins, weburl.Origin(u))
		}
		return nil
	})
}

// WithInsecureHTTP lets URLs be http. Who can answer for such a URL can sign tokens: it is
// for tests, and for networks that are trusted. Default: https only.
func WithInsecureHTTP() Option {
	return option(func(c *config) error { c.insecure = true; return nil })
}

// WithEmptySet accepts an answer without a usable key, for an issuer that may withdraw all
// its keys. Default: such an answer is a failure, and the last good set stays.
func WithEmptySet() Option {
	return option(func(c *config) error { c.allowEmpty = true; return nil })
}

// WithSignatureRefresh fetches the set when [Source.VerifySignature] finds a wrong signature
// by a known key, and tries again if the set changed, for issuers that give a new key an
// old ID. Anybody can send wrong signatures, so these fetches come out of the budget for
// unknown key IDs. Default: a wrong signature is final.
func WithSignatureRefresh() Option {
	return option(func(c *config) error { c.refreshSignature = true; return nil })
}

// WithBackoff sets the delay after a failure and its cap. It doubles with every failure in a
// row, and is up to a quarter shorter or longer. It stands for everfresh.WithBackoff, whose
// delays are spread much wider: while an issuer is down, keys should neither be asked for
// much more often than the cap says, nor be missed for longer. Default: 250 ms and 30 s.
func WithBackoff(floor, ceiling time.Duration) Option {
	return option(func(c *config) error {
		if floor <= 0 || ceiling < floor {
			return fmt.Errorf("jwks: %w: a back-off needs 0 < floor <= cap", ErrOption)
		}
		c.floor, c.ceiling = floor, ceiling
		return nil
	})
}

// WithResource sets options of the key set's resource in the cache, after this package's
// own: intervals, limits, budget, HTTP client, middleware, priority. For [FromIssuer] they
// hold for the metadata as well, but for everfresh.WithKey and everfresh.WithRequest, which
// are for [New] only. For the back-off see [WithBackoff].
func WithResource(opts ...everfresh.RegisterOption) Option {
	return option(func(c *config) error { c.resource = append(c.resource, opts...); return nil })
}

// resourceOptions returns the options of a resource whose URL, and redirects, are at origin.
// Those in own are last.
func (c *config) resourceOptions(origin string, own ...everfresh.RegisterOption) []everfresh.RegisterOption {
	defaults := everfresh.Options(
		everfresh.WithMinRefreshInterval(minInterval), everfresh.WithMaxRefreshInterval(maxInterval),
		everfresh.WithJitter(jitter), everfresh.WithBackoff(c.floor, c.ceiling),
		everfresh.WithMaxStale(maxStale), everfresh.WithTimeout(fetchTimeout), everfresh.WithMaxBytes(maxBytes),
		everfresh.WithNewerLimit(onDemandBurst, onDemandRefill),
		everfresh.WithAllow(func(u *url.URL) error { return c.permits(u, origin) }),
		everfresh.WithHeader("Accept", "application/json, application/jwk-set+json"),
		everfresh.WithMiddleware(c.paced),
	)
	return slices.Concat([]everfresh.RegisterOption{defaults}, c.resource, own)
}

var (
	errNotHTTPS    = errors.New("not https, and WithInsecureHTTP is not set")
	errOtherOrigin = errors.New("another origin, which WithOrigins does not allow")
)

// permits says why u may not be fetched, or nil.
func (c *config) permits(u *url.URL, origin string) error {
	if u.Scheme != "https" && !c.insecure {
		return errNotHTTPS
	}
	if o := weburl.Origin(u); o != origin && !slices.Contains(c.origins, o) {
		return errOtherOrigin
	}
	return nil
}

// allows reports whether alg, of which bit is the algorithmBit, may be used.
func (c *config) allows(alg string, bit algorithms) bool {
	return c.algorithms&bit != 0 || slices.Contains(c.custom, alg)
}
