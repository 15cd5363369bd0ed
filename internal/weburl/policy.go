package weburl

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"regexp/syntax"
	"strings"
)

// hostRule is a host pattern and the key under which it is found.
type hostRule struct {
	host string
	port string // empty: the default port of either scheme
	sub  bool   // the subdomains of host, not host itself
}

type hostRules map[hostRule]struct{}

// Hosts returns a policy that allows the URLs of the given hosts.
//
//   - "a.test" and "[2001:db8::1]" stand for the default port of http and of https,
//   - "a.test:8443" for that port only,
//   - "*.a.test" for every subdomain at any depth, and neither for a.test itself
//     nor for evila.test; it may have a port too.
//
// Patterns are converted like hosts: IDN, case, trailing dot. The policy expects the
// result of [Canonical] and rejects any other form. A pattern that is not a host, or an
// empty list, is an [*Error] with the pattern's position.
func Hosts(hosts ...string) (func(*url.URL) bool, error) {
	if len(hosts) == 0 {
		return nil, &Error{Reason: "no host pattern"}
	}
	rules := make(hostRules, len(hosts))
	for i, pattern := range hosts {
		rule, ok := parseHostRule(pattern)
		if !ok {
			return nil, &Error{Reason: fmt.Sprintf("host pattern %d is not host, host:port or *.host", i+1)}
		}
		rules[rule] = struct{}{}
	}
	return rules.allow, nil
}

func parseHostRule(pattern string) (hostRule, bool) {
	name, sub := strings.CutPrefix(pattern, "*.")
	host, port, ok := splitHost(name)
	if !ok || strings.HasSuffix(name, ":") { // an empty port is probably a missing value
		return hostRule{}, false
	}
	host = foldHost(host)
	port, ok = foldPort(port)
	if !ok || host == "" || sub && host[0] == '[' {
		return hostRule{}, false
	}
	return hostRule{host: host, port: port, sub: sub}, true
}

func (r hostRules) allow(u *url.URL) bool {
	host, port, _ := splitHost(u.Host)
	if port != "" {
		return r.has(host, port)
	}
	return r.has(host, "") || r.has(host, defaultPort(u.Scheme))
}

func (r hostRules) has(host, port string) bool {
	if _, ok := r[hostRule{host: host, port: port}]; ok {
		return true
	}
	for {
		_, parent, found := strings.Cut(host, ".")
		if !found {
			return false
		}
		if _, ok := r[hostRule{host: parent, port: port, sub: true}]; ok {
			return true
		}
		host = parent
	}
}

// Prefix returns a policy that allows the URLs below prefix, which looks like
// "https://a.test/keys": scheme, host and port are equal, and the path is the
// prefix's or continues it after a slash, so /keys and /keys/x but not /keysx.
// With a trailing slash, "/keys/" does not allow /keys. Any query is allowed.
//
// The path must be below the prefix in two interpretations: decoded once, and decoded
// until nothing is left to decode (%252e%252e), both cleaned as in [Canonical]. A dot
// segment with a parameter ("..;x"), which some servers resolve, is rejected. The policy
// expects the result of [Canonical] and rejects a path in any other form.
//
// A prefix that [Parse] rejects, or that has a query or a fragment, is an [*Error].
func Prefix(prefix string) (func(*url.URL) bool, error) {
	if strings.ContainsAny(prefix, "?#") {
		return nil, &Error{Reason: "a prefix has no query and no fragment"}
	}
	base, err := Parse(prefix)
	if err != nil {
		return nil, err
	}
	if base, err = Canonical(base); err != nil {
		return nil, err
	}
	decoded := decodePath(base.Path)
	return func(u *url.URL) bool {
		return u.Scheme == base.Scheme && u.Host == base.Host &&
			u.RawPath == "" && u.Path == cleanPath(u.Path) &&
			below(u.Path, base.Path) && below(decodePath(u.Path), decoded)
	}, nil
}

// below reports whether p is dir or continues it on a segment boundary.
func below(p, dir string) bool {
	rest, ok := strings.CutPrefix(p, dir)
	if !ok || strings.Contains(p, "/..;") {
		return false
	}
	return rest == "" || rest[0] == '/' || strings.HasSuffix(dir, "/")
}

// decodePath decodes p until no percent-encoding is left and cleans it. It decodes on
// a stack, in one pass: repeated passes over "%25252525..." take quadratic time. The
// result is the same, because two encoded bytes never overlap.
func decodePath(p string) string {
	out := make([]byte, 0, len(p))
	for i := range len(p) {
		out = append(out, p[i])
		for n := len(out) - 3; n >= 0 && isEncoded(out[n:]); n = len(out) - 3 {
			out = append(out[:n], unhex(out[n+1])<<4|unhex(out[n+2]))
		}
	}
	return cleanPath(string(out))
}

func isEncoded(b []byte) bool { return b[0] == '%' && isHex(b[1]) && isHex(b[2]) }

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// Regexp returns a policy that allows the URLs whose whole canonical form,
// scheme://host/path?query, matches pattern (RE2). The pattern is anchored at both ends,
// so a match inside a query does not count. The user must still escape dots and end the
// host: `https://a\.test.*` also matches a.test.evil.test, but `https://a\.test/.*` does
// not.
//
// A pattern that is empty, or does not compile by itself, is an [*Error].
func Regexp(pattern string) (func(*url.URL) bool, error) {
	if pattern == "" {
		return nil, &Error{Reason: "empty regular expression"}
	}
	// Compile it alone first: "a)|(?:b" compiles within the anchors, but escapes them.
	if _, err := regexp.Compile(pattern); err != nil {
		return nil, regexpError(err)
	}
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil { // an unclosed \Q
		return nil, regexpError(err)
	}
	return func(u *url.URL) bool { return re.MatchString(u.String()) }, nil
}

// regexpError keeps the kind of the error but drops the quoted pattern.
func regexpError(err error) error {
	reason := "invalid regular expression"
	if se := (*syntax.Error)(nil); errors.As(err, &se) {
		reason += ": " + se.Code.String()
	}
	return &Error{Reason: reason}
}
