package weburl

import (
	"net/netip"
	"net/url"
	"strings"
	"unicode/utf8"
)

const (
	maxRedacted = 200 // bytes, ellipsis included
	maxParams   = 8
	maxName     = 40
	ellipsis    = "…"
	unparsable  = "(unparsable URL)"
)

// Redact returns a raw URL in a form for messages, of at most 200 bytes: a longer text is
// cut at a rune boundary and ends in "…". Scheme, host and path are kept; userinfo and
// fragment are dropped. Query values become "…", and so do names other than 1 to 40 of the
// bytes A-Z a-z 0-9 _ . - and parameters without "=", which may be the secret itself. After
// 8 parameters, the rest becomes "&…".
//
// A URL that does not parse, or that may hide userinfo elsewhere (http:user:pass@a.test,
// or a host with invalid bytes), becomes "(unparsable URL)". An http or https URL that
// needs no change is returned unchanged, without an allocation.
func Redact(raw string) string {
	if isPlain(raw) {
		return shorten(raw)
	}
	u, err := url.Parse(raw)
	if err != nil || hidesHost(u) {
		return unparsable
	}
	if u.User == nil && u.RawQuery == "" && !strings.Contains(raw, "#") {
		return shorten(raw)
	}
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	return shorten(shown.String() + redactQuery(u.RawQuery))
}

// hidesHost reports whether a mistyped URL may have userinfo in an unexpected place:
// http:user:pass@a.test, http:///user:pass@a.test, user@a.test, or a token with a slash as
// its host: http://to+k/en@a.test.
func hidesHost(u *url.URL) bool {
	if u.Opaque != "" || u.Host == "" {
		return u.Opaque != "" || strings.Contains(u.Path, "@")
	}
	return !isPlainHost(u.Host)
}

func redactQuery(query string) string {
	if query == "" {
		return ""
	}
	var b strings.Builder
	sep := "?"
	for range maxParams {
		param, rest, more := strings.Cut(query, "&")
		b.WriteString(sep + redactParam(param))
		if !more {
			return b.String()
		}
		query, sep = rest, "&"
	}
	return b.String() + "&" + ellipsis
}

func redactParam(param string) string {
	name, value, found := strings.Cut(param, "=")
	switch {
	case param == "":
		return ""
	case !found:
		return ellipsis
	case strings.Trim(value, "=") == "": // the parameter may be a value that ends in padding
		return ellipsis
	case !isPlainName(name):
		name = ellipsis
	}
	return name + "=" + ellipsis
}

func isPlainName(name string) bool {
	for i := range len(name) {
		if c := name[i]; !isNameByte(c) && c != '.' {
			return false
		}
	}
	return 0 < len(name) && len(name) <= maxName
}

// isNameByte reports whether c is one of A-Z a-z 0-9 _ -.
func isNameByte(c byte) bool {
	return isHostByte(c) || 'A' <= c && c <= 'Z'
}

func shorten(s string) string {
	if len(s) <= maxRedacted {
		return s
	}
	cut := maxRedacted - len(ellipsis)
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + ellipsis
}

// isPlain reports, without allocating, whether raw is an http or https URL that
// url.Parse accepts and that has no userinfo, query or fragment. It may wrongly return false.
func isPlain(raw string) bool {
	rest, ok := strings.CutPrefix(raw, "https://")
	if !ok {
		rest, ok = strings.CutPrefix(raw, "http://")
	}
	if !ok {
		return false
	}
	slash := strings.IndexByte(rest, '/')
	if slash < 0 {
		slash = len(rest)
	}
	return isPlainHost(rest[:slash]) && isPlainPath(rest[slash:])
}

// isPlainHost reports whether s, host[:port], looks like a host, valid or not.
func isPlainHost(s string) bool {
	host, port, ok := splitHost(s)
	if !ok || host == "" || strings.Trim(port, "0123456789") != "" {
		return false
	}
	if host[0] == '[' {
		inner, ok := strings.CutSuffix(host[1:], "]")
		addr, err := netip.ParseAddr(inner)
		return ok && err == nil && addr.Is6() && addr.Zone() == ""
	}
	for i := range len(host) {
		if c := host[i]; !isNameByte(c) && c != '.' && c < utf8.RuneSelf {
			return false
		}
	}
	return true
}

func isPlainPath(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c == 0x7f, c == '?', c == '#':
			return false
		case c == '%' && (len(s) < i+3 || !isHex(s[i+1]) || !isHex(s[i+2])):
			return false
		}
	}
	return true
}
