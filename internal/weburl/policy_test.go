package weburl

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/idna"
)

type verdict struct {
	raw  string
	want bool
}

func checkPolicy(t *testing.T, name string, allow func(*url.URL) bool, tests []verdict) {
	t.Helper()
	for _, tt := range tests {
		if got := allow(canonical(t, tt.raw)); got != tt.want {
			t.Errorf("%s of %s = %t, want %t", name, tt.raw, got, tt.want)
		}
	}
}

func TestHosts(t *testing.T) {
	tests := []struct {
		patterns string
		urls     []verdict
	}{
		{"a.test", []verdict{
			{"https://a.test/", true},
			{"http://a.test/x?y", true},
			{"https://A.TEST./", true},
			{"https://a.test:443/", true},
			{"http://a.test:80/", true},
			{"https://a.test:80/", false},
			{"http://a.test:443/", false},
			{"https://a.test:8443/", false},
			{"https://b.a.test/", false},
			{"https://a.test.attacker.test/", false},
			{"https://eviла.test/", false},
			{"https://evila.test/", false},
			{"https://evil.test/?redirect=https://a.test/", false},
			{"https://evil.test/a.test", false},
			{"https://a.test@evil.test/", false},
			{"https://evil.test/#a.test", false},
		}},
		{"a.test:8443", []verdict{
			{"https://a.test:8443/", true},
			{"http://a.test:08443/", true},
			{"https://a.test/", false},
			{"https://a.test:443/", false},
		}},
		{"a.test:443", []verdict{
			{"https://a.test/", true},
			{"http://a.test:443/", true},
			{"http://a.test/", false},
		}},
		{"*.a.test", []verdict{
			{"https://b.a.test/", true},
			{"https://c.b.A.test./", true},
			{"https://a.test/", false},
			{"https://evila.test/", false},
			{"https://a.test.evil.test/", false},
			{"https://b.a.test:8443/", false},
		}},
		{"*.a.test:8443", []verdict{
			{"https://b.a.test:8443/", true},
			{"https://b.a.test/", false},
			{"https://a.test:8443/", false},
		}},
		{"BÜCHER.Test.", []verdict{
			{"https://bücher.test/", true},
			{"https://xn--bcher-kva.test/", true},
			{"https://bucher.test/", false},
		}},
		{"*.bücher.test", []verdict{
			{"https://a.xn--bcher-kva.test/", true},
			{"https://xn--bcher-kva.test/", false},
		}},
		{"[2001:DB8::0:1] [::1]:8080", []verdict{
			{"https://[2001:db8:0::1]/", true},
			{"https://[2001:db8::2]/", false},
			{"http://[::1]:8080/", true},
			{"http://[::1]/", false},
		}},
		{"192.0.2.1", []verdict{
			{"http://192.0.2.1/", true},
			{"http://[::ffff:192.0.2.1]/", false},
			{"http://3221225985/", false},
		}},
		{"*.2.1", []verdict{{"http://[::ffff:192.0.2.1]/", false}}},
		{"a.test b.test:1 *.c.test", []verdict{
			{"https://a.test/", true},
			{"https://b.test:1/", true},
			{"https://x.c.test/", true},
			{"https://b.test/", false},
		}},
	}
	for _, tt := range tests {
		allow, err := Hosts(strings.Fields(tt.patterns)...)
		if err != nil {
			t.Errorf("Hosts(%s): %v", tt.patterns, err)
			continue
		}
		checkPolicy(t, "Hosts "+tt.patterns, allow, tt.urls)
	}
}

func TestHostsRefusesPatterns(t *testing.T) {
	for _, pattern := range []string{
		"", "*", "*.", "*.*.s3cr3t", "s3cr3t.*.test", "*s3cr3t.test", ".s3cr3t", "s3cr3t..test", "s3cr3t:", "s3cr3t:x", "s3cr3t:0", "s3cr3t:65536",
		"s3cr3t:1:2", "https://s3cr3t", "s3cr3t/", "u:s3cr3t@a.test", "u@s3cr3t", "s3cr3t?x", " s3cr3t", "::1", "*.[::1]", "[::1", "[1.2.3.4]", "[fe80::1%en0]", "*。s3cr3t", "ü_s3cr3t",
	} {
		allow, err := Hosts("a.test", pattern)
		if allow != nil {
			t.Errorf("Hosts(%q) has a policy", pattern)
		}
		checkReason(t, pattern, err, "host pattern 2 is not host, host:port or *.host")
	}
	_, err := Hosts()
	checkReason(t, "no pattern", err, "no host pattern")
}

func TestPrefix(t *testing.T) {
	tests := []struct {
		prefix string
		urls   []verdict
	}{
		{"https://a.test/keys", []verdict{
			{"https://a.test/keys", true},
			{"https://a.test/keys/", true},
			{"https://a.test/keys/x?y=../..", true},
			{"https://A.test.:443//keys/./x", true},
			{"https://a.test/%6beys/x", true},
			{"https://a.test/keys/x%20y%2520z", true},
			{"https://a.test/keys/..x", true},
			{"https://a.test/keys/x;v=1", true},
			{"https://a.test/keys/100%25", true},
			{"https://a.test/keysx", false},
			{"https://a.test/Keys", false},
			{"https://a.test/", false},
			{"http://a.test/keys", false},
			{"https://a.test:8443/keys", false},
			{"https://a.test.evil.test/keys", false},
			{"https://evil.test/?https://a.test/keys", false},
			{"https://a.test@evil.test/keys", false},
			{"https://a.test/keys/../x", false},
			{"https://a.test/keys/%2e%2e/x", false},
			{"https://a.test/keys/.%2e/x", false},
			{"https://a.test/keys%2f..%2fx", false},
			{"https://a.test/keys/..%2fx", false},
			{"https://a.test/keys/%252e%252e/x", false},
			{"https://a.test/keys/%252e%252e%252fx", false},
			{"https://a.test/keys/%25252e%25252e/x", false},
			{"https://a.test/keys/%25%32%65%25%32%65/x", false},
			{"https://a.test/keys/%2525%32%65./x", false},
			{`https://a.test/keys\..\x`, false},
			{`https://a.test/keys/..\x`, false},
			{"https://a.test/keys/%5c..%5c..%5cx", false},
			{"https://a.test/keys/%255c..%255c..%255cx", false},
			{"https://a.test/keys//../../x", false},
			{"https://a.test/keys/..;/x", false},
			{"https://a.test/keys/..;a=b/x", false},
			{"https://a.test/keys/%252e%252e;/x", false},
			{"https://a.test/keys/..%253b/x", false},
			{"https://a.test/%256beys/x", false}, // below only once it is decoded twice
			{"https://a.test/x/%252e%252e/keys", false},
		}},
		{"https://a.test/keys/", []verdict{
			{"https://a.test/keys/", true},
			{"https://a.test/keys/x", true},
			{"https://a.test/keys/x/..", true},
			{"https://a.test/keys", false},
			{"https://a.test/keys/..", false},
		}},
		{"HTTP://BÜCHER.test.:8080/a%20b/../c/", []verdict{
			{"http://xn--bcher-kva.test:8080/c/d", true},
			{"http://xn--bcher-kva.test/c/d", false},
		}},
		{"https://a.test", []verdict{
			{"https://a.test", true},
			{"https://a.test/x", true},
			{"https://a.test/../x", true},
			{"https://a.test:8443/", false},
		}},
		{"https://a.test/a%2520b", []verdict{
			{"https://a.test/a%2520b/c", true},
			{"https://a.test/a%20b/c", false},
			{"https://a.test/a%252520b/c", false},
		}},
		{"http://[::1]:8080/x", []verdict{
			{"http://[0::1]:8080/x/y", true},
			{"http://[::1]/x/y", false},
		}},
	}
	for _, tt := range tests {
		allow, err := Prefix(tt.prefix)
		if err != nil {
			t.Errorf("Prefix(%s): %v", tt.prefix, err)
			continue
		}
		checkPolicy(t, "Prefix "+tt.prefix, allow, tt.urls)
	}
}

// A caller that forgets Canonical must not bypass the policy.
func TestPoliciesRefuseOtherSpellings(t *testing.T) {
	hosts, err1 := Hosts("a.test", "*.b.test")
	prefix, err2 := Prefix("https://a.test/keys")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for _, raw := range []string{"https://a.test/keys/../x", `https://a.test/keys/\..\..\x`, "https://A.test/keys/x", "https://a.test:443/keys", "https://a.test/keys/x%2fy"} {
		if prefix(parseURL(t, raw)) {
			t.Errorf("Prefix allows %s as it is", raw)
		}
	}
	for _, u := range []*url.URL{{Scheme: "https", Host: "A.test"}, {Scheme: "https", Host: "a.test."}, {Scheme: "https", Host: "a.test:443x"}, {Scheme: "https", Host: "x.b.test."}} {
		if hosts(u) {
			t.Errorf("Hosts allows %q as it is", u.Host)
		}
	}
}

func TestPrefixRefuses(t *testing.T) {
	const extra = "a prefix has no query and no fragment"
	for _, tt := range []struct{ prefix, reason string }{
		{"https://a.test/?s3cr3t", extra},
		{"https://a.test/?", extra},
		{"https://a.test/#s3cr3t", extra},
		{"https://a.test/#", extra},
		{"/s3cr3t", reasonRelative},
		{"a.test/s3cr3t", reasonRelative},
		{"ftp://a.test/s3cr3t", reasonScheme},
		{"https://u:s3cr3t@a.test/", reasonUserinfo},
		{"https://*.s3cr3t/", reasonHost},
		{"https://a.test/s3cr3t%", reasonSyntax},
	} {
		allow, err := Prefix(tt.prefix)
		if allow != nil {
			t.Errorf("Prefix(%q) has a policy", tt.prefix)
		}
		checkReason(t, tt.prefix, err, tt.reason)
	}
}

func TestRegexp(t *testing.T) {
	tests := []struct {
		pattern string
		urls    []verdict
	}{
		{`https://example\.com/.*`, []verdict{
			{"https://example.com", true},
			{"https://EXAMPLE.com.:443/x?y=z", true},
			{"https://example.com.attacker.com/", false},
			{"https://attacker.com/?redirect=https://example.com/", false},
			{"https://attacker.com/https://example.com/", false},
			{"https://attacker.com/#https://example.com/", false},
			{"https://example.com@attacker.com/", false},
			{"https://exampleXcom/", false},
			{"https://example.com:8443/", false},
			{"http://example.com/", false},
		}},
		{`https://example\.com`, []verdict{{"https://example.com", false}}}, // the path is "/"
		{`https://example.com/.*`, []verdict{{"https://example-com/", true}}},
		{`https://example\.com.*`, []verdict{{"https://example.com.attacker.com/", true}}},
		{`https://a\.test/x|https://b\.test/x`, []verdict{
			{"https://a.test/x", true},
			{"https://b.test/x", true},
			{"https://a.test/xy", false},
			{"https://c.test/?https://b.test/x", false},
		}},
		{`(?i)https://a\.test/X\?q=1`, []verdict{
			{"https://a.test/x?Q=1", true},
			{"https://a.test/x?q=12", false},
		}},
		{`(?m)^https://a\.test/$`, []verdict{{"https://a.test/", true}, {"https://a.test/x", false}}},
		{`https://a\.test/keys/.*`, []verdict{
			{"https://a.test/keys/../x", false},
			{"https://a.test/keys/%2e%2e/x", false},
			{"https://a.test/keys/%252e%252e/x", true}, // one reading: who needs both takes Prefix
		}},
		{`https://xn--bcher-kva\.test/`, []verdict{{"https://Bücher.test", true}}},
		{`https://bücher\.test/`, []verdict{{"https://Bücher.test", false}}},
		{`http://\[::1\]:8080/`, []verdict{{"http://[0:0::1]:8080", true}}},
	}
	for _, tt := range tests {
		allow, err := Regexp(tt.pattern)
		if err != nil {
			t.Errorf("Regexp(%s): %v", tt.pattern, err)
			continue
		}
		checkPolicy(t, "Regexp "+tt.pattern, allow, tt.urls)
	}
}

func TestRegexpRefuses(t *testing.T) {
	const invalid = "invalid regular expression: "
	for _, tt := range []struct{ pattern, reason string }{
		{"", "empty regular expression"},
		{"s3cr3t)|(?:x", invalid + "unexpected )"},
		{"(s3cr3t", invalid + "missing closing )"},
		{`s3cr3t\`, invalid + `trailing backslash at end of expression`},
		{`\Qs3cr3t`, invalid + "missing closing )"},
		{`(?=s3cr3t)`, invalid + "invalid or unsupported Perl syntax"},
	} {
		allow, err := Regexp(tt.pattern)
		if allow != nil {
			t.Errorf("Regexp(%q) has a policy", tt.pattern)
		}
		checkReason(t, tt.pattern, err, tt.reason)
	}
}

func TestDecodePath(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"/a", "/a"},
		{"/%2", "/%2"},
		{"/%zz%", "/%zz%"},
		{"/%41", "/A"},
		{"/%2541", "/A"},
		{"/%2525252541", "/A"},
		{"/%2%35%34%31", "/A"},
		{"/%%34%31", "/A"},
		{"/%e2%80%a6", "/…"},
		{"/%2F%2f", "/"},
		{"/a/%2e%2E/", "/"},
	} {
		if got := decodePath(tt.in); got != tt.want {
			t.Errorf("settle(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzAllow(f *testing.F) {
	for _, s := range [][3]string{
		{"https://a.test/keys/x", "a.test", "https://a.test/keys"},
		{"https://b.A.test.:443/keys/%252e%252e/x", "*.a.test:443", "https://b.a.test/keys/"},
		{"http://[0::1]:8080/%5c..%5c", "[::1]:8080", "http://[::1]:8080/"},
		{"https://bücher.test//a/..;/b", "*.test", "https://xn--bcher-kva.test/a"},
		{"https://a.test/%25%32%65./", "2130706433", "http://0x7f.1/%2e"},
		{"http://a.test:80", "a.test:080", "HTTP://A.TEST:"},
	} {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, raw, pattern, prefix string) {
		u, err := Parse(raw)
		if err != nil {
			return
		}
		c := checkCanonical(t, u)
		// A pattern made from the URL is one that has a chance to match.
		_, parent, _ := strings.Cut(c.Host, ".")
		for _, p := range []string{pattern, pattern + c.Host, pattern + parent, "*." + pattern + parent} {
			if allow, err := Hosts(p); err == nil && allow(c) {
				checkHosts(t, u, p)
			}
		}
		for _, p := range []string{prefix, c.Scheme + "://" + c.Host + prefix} {
			if allow, err := Prefix(p); err == nil && allow(c) {
				checkPrefix(t, u, p)
			}
		}
	})
}

func checkCanonical(t *testing.T, u *url.URL) *url.URL {
	c, err := Canonical(u)
	if err != nil {
		t.Fatalf("Check allows %q, Canonical does not: %v", u, err)
	}
	if again, err := Canonical(c); err != nil || *again != *c {
		t.Fatalf("not idempotent: %+v, then %+v, %v", c, again, err)
	}
	parsed, err := Parse(c.String())
	if err != nil {
		t.Fatalf("canonical %q does not parse: %v", c, err)
	}
	if again, err := Canonical(parsed); err != nil || again.String() != c.String() {
		t.Fatalf("not idempotent through text: %q, then %q, %v", c, again, err)
	}
	if !SameOrigin(u, c) || !strings.HasPrefix(c.String(), Origin(u)+"/") {
		t.Fatalf("origin of %q is %q, of its canonical form %q", u, Origin(u), Origin(c))
	}
	return c
}

// checkHosts compares labels, from the right, the slow way.
func checkHosts(t *testing.T, u *url.URL, pattern string) {
	name, sub := strings.CutPrefix(pattern, "*.")
	p := parseURL(t, "http://"+name)
	host, want := slowHost(u.Hostname()), slowHost(p.Hostname())
	hl, wl := strings.Split(host, "."), strings.Split(want, ".")
	if !sub && host != want {
		t.Fatalf("%q allows %q", pattern, u)
	}
	if sub && (len(hl) <= len(wl) || strings.Join(hl[len(hl)-len(wl):], ".") != want) {
		t.Fatalf("%q allows %q", pattern, u)
	}
	port := strings.TrimLeft(u.Port(), "0")
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	wantPort := strings.TrimLeft(p.Port(), "0")
	if wantPort == "" {
		wantPort = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if port != wantPort {
		t.Fatalf("%q allows %q: ports %s and %s", pattern, u, wantPort, port)
	}
}

func slowHost(host string) string {
	if strings.Contains(host, ":") {
		return ipv6(host)
	}
	if strings.IndexFunc(host, func(r rune) bool { return r >= 0x80 }) >= 0 {
		host, _ = idna.Lookup.ToASCII(host)
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

func checkPrefix(t *testing.T, u *url.URL, prefix string) {
	p := parseURL(t, prefix)
	if u.Scheme != p.Scheme || slowHost(u.Hostname()) != slowHost(p.Hostname()) {
		t.Fatalf("%q allows %q", prefix, u)
	}
	got, want := slowClean(u.Path), slowClean(p.Path)
	if !slowBelow(got, want) {
		t.Fatalf("%q allows %q: %q is not below %q", prefix, u, got, want)
	}
	if got, want := slowDecodePath(u.Path), slowDecodePath(p.Path); !slowBelow(got, want) {
		t.Fatalf("%q allows %q: decoded, %q is not below %q", prefix, u, got, want)
	}
}

func slowBelow(segments, dir []string) bool {
	for i, s := range dir {
		if i >= len(segments) || segments[i] != s {
			return false
		}
	}
	return true
}

// slowClean returns the segments of a path that are left once dot segments,
// empty ones and backslashes are gone.
func slowClean(p string) []string {
	var out []string
	for s := range strings.FieldsFuncSeq(p, func(r rune) bool { return r == '/' || r == '\\' }) {
		switch {
		case s == "." || s == ".." && len(out) == 0:
		case s == "..":
			out = out[:len(out)-1]
		default:
			out = append(out, s)
		}
	}
	return out
}

func slowDecodePath(p string) []string {
	p = "/" + strings.Join(slowClean(p), "/")
	for {
		next := slowDecode(p)
		if next == p {
			return slowClean(p)
		}
		p = next
	}
}

// slowDecode decodes one level; what is not an encoded byte is kept.
func slowDecode(p string) string {
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		if i+3 <= len(p) {
			if s, err := url.PathUnescape(p[i : i+3]); err == nil && len(s) == 1 {
				b.WriteString(s)
				i += 2
				continue
			}
		}
		b.WriteByte(p[i])
	}
	return b.String()
}
