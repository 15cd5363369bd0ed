package everfresh

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/everfresh-go/everfresh/internal/weburl"
)

// permit reports why u may not be fetched: it is no URL to fetch, or a policy refuses it.
func permit(u *url.URL, policies []func(*url.URL) error) error {
	if err := weburl.Check(u); err != nil {
		return fmt.Errorf("%w: %w", ErrNotAllowed, err)
	}
	if len(policies) == 0 {
		return nil
	}
	// Policies judge one spelling of each URL.
	canonical, err := weburl.Canonical(u)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotAllowed, err)
	}
	for _, allow := range policies {
		if err := allow(canonical); err != nil {
			return fmt.Errorf("%w: %w", ErrNotAllowed, err)
		}
	}
	return nil
}

// AllowHosts returns a policy for [WithAllow] that accepts these hosts: "a.example",
// "a.example:8443", or "*.a.example" for all its subdomains. A host without a port
// means the default port of its scheme. An invalid pattern is an error of Register.
func AllowHosts(hosts ...string) func(*url.URL) error {
	match, err := weburl.Hosts(hosts...)
	return policy(match, err, "host not on the list")
}

// AllowPrefix returns a policy for [WithAllow] that accepts URLs under prefix, such as
// "https://a.example/keys/": same scheme, host and port, and a path below it, whole
// segments compared after "..", "%2e" and the like are resolved. An invalid prefix is
// an error of Register.
func AllowPrefix(prefix string) func(*url.URL) error {
	match, err := weburl.Prefix(prefix)
	return policy(match, err, "not under the prefix")
}

// AllowRegexp returns a policy for [WithAllow] that accepts URLs which expr matches
// from beginning to end: it is anchored here. An invalid expression is an error of
// Register.
func AllowRegexp(expr string) func(*url.URL) error {
	match, err := weburl.Regexp(expr)
	return policy(match, err, "no match")
}

// A patternError is the error of a policy that could not be made. It refuses every URL,
// whatever the other policies say.
type patternError struct{ err error }

func (e *patternError) Error() string { return "invalid URL pattern: " + e.err.Error() }

// policy returns a policy that accepts what match does; with an err it refuses everything.
func policy(match func(*url.URL) bool, err error, refusal string) func(*url.URL) error {
	// Both errors are made once, since a policy may be asked very often.
	invalid := &patternError{err}
	refused := errors.New(refusal)
	return func(u *url.URL) error {
		switch {
		case err != nil:
			return invalid
		case !match(u):
			return refused
		default:
			return nil
		}
	}
}

// anyOf returns a policy that accepts what at least one of policies accepts. Its error says
// why each of them refused.
func anyOf(policies []func(*url.URL) error) func(*url.URL) error {
	return func(u *url.URL) error {
		// Ask all of them: an invalid one refuses whatever the others say.
		errs := []error{errors.New("refused by every policy")}
		allowed := false
		for _, p := range policies {
			err := p(u)
			var invalid *patternError
			if errors.As(err, &invalid) {
				return invalid
			}
			allowed = allowed || err == nil
			errs = append(errs, err)
		}
		switch {
		case allowed:
			return nil
		case len(policies) == 1:
			return errs[1]
		default:
			return errors.Join(errs...)
		}
	}
}
