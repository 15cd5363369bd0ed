package weburl

import (
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	maxHost  = 253  // bytes of a DNS name without its trailing dot (RFC 1035 3.1)
	maxLabel = 63   // bytes of one label
	maxIDN   = 1024 // bytes passed to IDNA, whose cost grows with the square of a label
)

const (
	reasonSyntax   = "not a valid URL"
	reasonRelative = "not absolute, or without a host"
	reasonScheme   = "the scheme is not http or https"
	reasonUserinfo = "userinfo is not allowed"
	reasonHost     = "invalid host"
	reasonPort     = "invalid port"
	reasonPath     = "the path does not begin with a slash"
)

// Error says why a URL or a pattern is rejected. Its text never contains any part of the
// URL or the pattern, so it may be logged.
type Error struct {
	// Reason is the text without the prefix of the package.
	Reason string
}

// Error returns the reason.
func (e *Error) Error() string { return "url: " + e.Reason }

// Parse parses a URL that is to be fetched (RFC 3986). A fragment is dropped
// silently; everything else is kept as written. The URL belongs to the caller.
// The error is an [*Error]: see [Check].
func Parse(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil { // its text quotes the URL
		return nil, &Error{Reason: reasonSyntax}
	}
	if err := Check(u); err != nil {
		return nil, err
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// Check returns an [*Error] if u, a redirect target or the URL of a built request, must not
// be fetched. It rejects a nil URL, one without scheme or host, a scheme other than http and
// https, userinfo (even empty), a host that is neither a name nor an IPv6 address or has a
// zone, and a port outside 1 to 65535. In a URL built by hand, it also rejects an opaque part
// or a path without a leading slash: a request through a proxy would append such a path to
// the host name.
func Check(u *url.URL) error {
	if u != nil && u.User != nil {
		return &Error{Reason: reasonUserinfo}
	}
	_, err := authorityOf(u)
	return err
}

// Canonical returns a copy of u for comparing, not for fetching: scheme in lower
// case, ASCII host, default port and leading zeros of a port removed, Path
// decoded and cleaned, RawPath empty, no fragment and no userinfo, the query as it was. Cleaning
// reads a backslash as a slash, joins doubled slashes, resolves dot segments,
// keeps a trailing slash, and makes an empty path "/". Canonical is idempotent. The
// error is an [*Error]: Canonical rejects what [Check] rejects, except userinfo.
func Canonical(u *url.URL) (*url.URL, error) {
	a, err := authorityOf(u)
	if err != nil {
		return nil, err
	}
	host := a.host
	if a.port != "" {
		host += ":" + a.port
	}
	return &url.URL{
		Scheme: a.scheme, Host: host, Path: cleanPath(u.Path),
		RawQuery: u.RawQuery, ForceQuery: u.ForceQuery,
	}, nil
}

// Origin returns scheme://host[:port] of u in canonical form (RFC 6454 6.2, with
// the ASCII host), or "" if [Canonical] rejects u. It allocates only its result
// unless the host needs folding.
func Origin(u *url.URL) string {
	a, err := authorityOf(u)
	switch {
	case err != nil:
		return ""
	case a.port == "":
		return a.scheme + "://" + a.host
	default:
		return a.scheme + "://" + a.host + ":" + a.port
	}
}

// PlainOrigin returns the [Origin] of a raw URL as a part of the text, without parsing the
// URL and without allocating. It returns false if the origin is not written there in
// canonical form, or if that would take longer to find out.
func PlainOrigin(raw string) (origin string, ok bool) {
	scheme, rest, _ := strings.Cut(raw, "://")
	if scheme != "http" && scheme != "https" {
		return "", false
	}
	end := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		end = i
	}
	host, port, hasPort := strings.Cut(rest[:end], ":")
	if !validHost(host) {
		return "", false
	}
	if hasPort {
		folded, ok := foldPort(port)
		if !ok || port == "" || folded != port || port == defaultPort(scheme) {
			return "", false
		}
	}
	return raw[:len(raw)-len(rest)+end], true
}

// Plain reports, without allocating, whether raw has a [PlainOrigin] and otherwise only a
// path: [Parse] accepts it then. It may be false for other URLs that Parse accepts, too.
func Plain(raw string) bool {
	origin, ok := PlainOrigin(raw)
	return ok && isPlainPath(raw[len(origin):])
}

// SameOrigin reports whether a and b have the same [Origin]. It is false for a URL that
// has none, even compared with itself.
func SameOrigin(a, b *url.URL) bool {
	o := Origin(a)
	return o != "" && o == Origin(b)
}

// Downgrade reports whether going from one URL to the other leaves https for http.
func Downgrade(from, to *url.URL) bool {
	return foldScheme(from.Scheme) == "https" && foldScheme(to.Scheme) == "http"
}

// authority is the scheme, host and port of a URL, in canonical form. The port is empty if
// it is the scheme's default, and an IPv6 host has its brackets.
type authority struct {
	scheme, host, port string
}

func authorityOf(u *url.URL) (authority, error) {
	if reason := shape(u); reason != "" {
		return authority{}, &Error{Reason: reason}
	}
	host, port, ok := splitHost(u.Host)
	if host = foldHost(host); !ok || host == "" {
		return authority{}, &Error{Reason: reasonHost}
	}
	if port, ok = foldPort(port); !ok {
		return authority{}, &Error{Reason: reasonPort}
	}
	scheme := foldScheme(u.Scheme)
	if port == defaultPort(scheme) {
		port = ""
	}
	return authority{scheme: scheme, host: host, port: port}, nil
}

// shape returns what is wrong with u apart from its userinfo, host and port, or "".
func shape(u *url.URL) string {
	switch {
	case u == nil:
		return reasonSyntax
	case u.Scheme == "":
		return reasonRelative
	case foldScheme(u.Scheme) == "":
		return reasonScheme
	case u.Opaque != "" || u.Host == "":
		return reasonRelative
	case !rooted(u.Path) || !rooted(u.RawPath):
		return reasonPath
	}
	return ""
}

func rooted(p string) bool { return p == "" || p[0] == '/' }

// foldScheme returns http or https, or "" for every other scheme.
func foldScheme(s string) string {
	// Not strings.EqualFold, which also treats the long s (U+017F) as an s.
	switch s = strings.ToLower(s); s {
	case "http", "https":
		return s
	}
	return ""
}

func defaultPort(scheme string) string {
	if scheme == "https" {
		return "443"
	}
	return "80"
}

// splitHost splits host[:port]; the host of an IPv6 address keeps its brackets.
func splitHost(s string) (host, port string, ok bool) {
	end := 0
	if strings.HasPrefix(s, "[") {
		end = strings.IndexByte(s, ']') + 1
	}
	i := strings.IndexByte(s[end:], ':')
	if i < 0 {
		return s, "", true
	}
	host, port = s[:end+i], s[end+i+1:]
	return host, port, !strings.Contains(port, ":")
}

// foldPort removes leading zeros. An empty port is the default one (RFC 3986 3.2.3).
func foldPort(port string) (string, bool) {
	if port == "" {
		return "", true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return strings.TrimLeft(port, "0"), err == nil && n > 0
}

// foldHost returns the canonical form of a host without its port, or "" if
// the host is invalid.
func foldHost(host string) string {
	if strings.HasPrefix(host, "[") {
		return foldIPv6(host)
	}
	if !isASCII(host) {
		host = punycode(host)
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if !validHost(host) {
		return ""
	}
	return host
}

func foldIPv6(host string) string {
	addr, err := netip.ParseAddr(strings.TrimSuffix(host[1:], "]"))
	if err != nil || !addr.Is6() || addr.Zone() != "" || !strings.HasSuffix(host, "]") {
		return ""
	}
	return "[" + addr.String() + "]"
}

func punycode(host string) string {
	if len(host) > maxIDN || !utf8.ValidString(host) { // IDNA maps all invalid runes to the same one
		return ""
	}
	ascii, err := idna.Lookup.ToASCII(host)
	if err != nil {
		return ""
	}
	return ascii
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// validHost reports whether host is a name in lower case that a resolver would
// look up. Empty labels are rejected: ".a.test" must not count as a subdomain.
func validHost(host string) bool {
	label := 0
	for i := range len(host) {
		switch c := host[i]; {
		case c == '.' && label == 0:
			return false
		case c == '.':
			label = 0
		case !isHostByte(c) || label == maxLabel:
			return false
		default:
			label++
		}
	}
	return label > 0 && len(host) <= maxHost
}

func isHostByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// cleanPath cleans a decoded path and keeps its trailing slash, since /a and /a/
// are two resources.
func cleanPath(p string) string {
	p = strings.ReplaceAll(p, `\`, "/")
	if p == "" {
		return "/"
	}
	clean := path.Clean(p)
	if clean != "/" && (strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") || strings.HasSuffix(p, "/..")) {
		clean += "/"
	}
	return clean
}
