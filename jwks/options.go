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

// The options of the cache that differ from its defaults, to suit keys: a minimum interval,
// because some issuers forbid caching; a maximum interval, because revoked keys must not be
// used for long; a short timeout, because requests wait for an unknown key.
const (
	minInterval     = 5 * time.Minute
	maxInterval     = time.Hour
	defaultLifetime = 15 * time.Minute // of a set whose response does not specify one
	jitter          = 0.1
	backoffFloor    = 250 * time.Millisecond
	backoffCeiling  = 30 * time.Second
	maxStale        = 24 * time.Hour
	fetchTimeout    = 5 * time.Second
	maxBytes        = 1 << 20
	onDemandBurst   = 2
	onDemandRefill  = 15 * time.Second
)

// An Option configures a [Source]. The errors of invalid options wrap [ErrOption].
type Option interface{ apply(*config) error }

type option func(*config) error

func (o option) apply(c *config) error { return o(c) }

// config has the settings of the options.
type config struct {
	algorithms       algorithms
	custom           []string // names of WithAlgorithms that are not built in
	parsers          []ParseOption
	origins          []string // in addition to that of the URL or issuer
	insecure         bool
	allowEmpty       bool
	refreshSignature bool
	floor, ceiling   time.Duration // of the back-off
	resource         []everfresh.RegisterOption
}

// newConfig checks the arguments of [New] and [FromIssuer].
func newConfig(cache *everfresh.Cache, opts []Option) (*config, error) {
	if cache == nil {
		return nil, fmt.Errorf("jwks: %w: the cache is nil", ErrOption)
	}
	c := &config{algorithms: allAlgorithms, floor: backoffFloor, ceiling: backoffCeiling}
	for _, o := range opts {
		if o == nil {
			return nil, fmt.Errorf("jwks: %w: the option is nil", ErrOption)
		}
		if err := o.apply(c); err != nil {
			return nil, err
		}
	}
	if len(c.custom) > 0 && len(c.parsers) == 0 {
		return nil, fmt.Errorf("jwks: %w: unknown algorithm %q, and there is no key parser", ErrOption, cut(c.custom[0]))
	}
	return c, nil
}

// WithAlgorithms sets the signature algorithms (alg in RFC 7518, RFC 8037 and RFC 9864) that
// may be used. Without [WithKeyParser], an algorithm that is not built in is an error; HMAC
// and "none" are always errors. Default: RS256, RS384, RS512, PS256, PS384, PS512, ES256,
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

// WithOrigins allows the key set to be on further origins, such as
// "https://www.googleapis.com": as the jwks_uri of an issuer's metadata, or as the target of
// a redirect. The caller's header fields are not sent to them. Several uses add up. When you
// remove an origin, also remove its keys from the storage. Default: only the origin of the
// URL or issuer passed to [New] or [FromIssuer].
func WithOrigins(origins ...string) Option {
	return option(func(c *config) error {
		for _, o := range origins {
			u, err := weburl.Parse(o)
			if err != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
				return fmt.Errorf("jwks: %w: WithOrigins needs an origin such as https://a.example", ErrOption)
			}
			c.origins = append(c.origins, weburl.Origin(u))
		}
		return nil
	})
}

// WithInsecureHTTP allows http URLs. Anyone who can answer requests for such a URL can sign
// tokens: use it only for tests and in trusted networks. Default: https only.
func WithInsecureHTTP() Option {
	return option(func(c *config) error { c.insecure = true; return nil })
}

// WithEmptySet accepts a set without a usable key, for an issuer that may withdraw all its
// keys. Default: such a response is a failure, and the last good set stays in use.
func WithEmptySet() Option {
	return option(func(c *config) error { c.allowEmpty = true; return nil })
}

// WithSignatureRefresh makes [Source.VerifySignature] fetch the set when a signature by a
// known key is wrong, and try again if the set has changed. It is for issuers that reuse the
// ID of an old key for a new one. Anyone can send wrong signatures, so these fetches count
// against the limit for unknown key IDs. Default: a wrong signature is final.
func WithSignatureRefresh() Option {
	return option(func(c *config) error { c.refreshSignature = true; return nil })
}

// WithBackoff sets the delay after a failure and its maximum. The delay doubles with every
// failure in a row and is randomized by up to a quarter. It replaces everfresh.WithBackoff,
// whose delays are randomized much more: while an issuer is down, keys should be fetched
// neither much more often nor much less often than the maximum says. Default: 250 ms and
// 30 s.
func WithBackoff(floor, ceiling time.Duration) Option {
	return option(func(c *config) error {
		if floor <= 0 || ceiling < floor {
			return fmt.Errorf("jwks: %w: a back-off needs 0 < floor <= ceiling", ErrOption)
		}
		c.floor, c.ceiling = floor, ceiling
		return nil
	})
}

// WithResource sets options of the key set's resource in the cache, such as intervals,
// limits, HTTP client, middleware and priority. They override those of this package. With
// [FromIssuer] they also apply to the metadata, except everfresh.WithKey and
// everfresh.WithRequest, which are only for [New]. For the back-off use [WithBackoff].
func WithResource(opts ...everfresh.RegisterOption) Option {
	return option(func(c *config) error { c.resource = append(c.resource, opts...); return nil })
}

// resourceOptions returns the options of a resource whose URL and redirects are at origin.
// The options in own come last.
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

// permits returns an error that says why u may not be fetched, or nil.
func (c *config) permits(u *url.URL, origin string) error {
	if u.Scheme != "https" && !c.insecure {
		return errNotHTTPS
	}
	if o := weburl.Origin(u); o != origin && !slices.Contains(c.origins, o) {
		return errOtherOrigin
	}
	return nil
}

// allows reports whether alg, whose algorithmBit is bit, may be used.
func (c *config) allows(alg string, bit algorithms) bool {
	return c.algorithms&bit != 0 || slices.Contains(c.custom, alg)
}
