package weburl

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

func ipv6(host string) string { return netip.MustParseAddr(host).String() }

func TestRedact(t *testing.T) {
	tests := []struct{ raw, want string }{
		{"https://a.test", "https://a.test"},
		{"https://a.test/x/y.json", "https://a.test/x/y.json"},
		{"HTTPS://A.test:443/%7Ex/%2F", "HTTPS://A.test:443/%7Ex/%2F"},
		{"http://[::1]:8080/x", "http://[::1]:8080/x"},
		{"http://[::ffff:192.0.2.1]/?x=1", "http://[::ffff:192.0.2.1]/?x=…"},
		{"https://a..test/x", "https://a..test/x"},
		{"https://a..test/x?y=1", "https://a..test/x?y=…"},
		{"https://bücher.test/ü", "https://bücher.test/ü"},
		{"https://a.test/?", "https://a.test/?"},
		{"/x/y", "/x/y"},
		{"", ""},

		{"https://user:s3cr3t@a.test/x", "https://a.test/x"},
		{"https://s3cr3t@a.test", "https://a.test"},
		{"https://u:s3cr3t@a.test:1/x?y=z#w", "https://a.test:1/x?y=…"},
		{"//u:s3cr3t@a.test/x", "//a.test/x"},
		{"https://a.test/x#s3cr3t", "https://a.test/x"},
		{"https://a.test/x#", "https://a.test/x"},
		{"https://a.test/%7Ex#s3cr3t", "https://a.test/%7Ex"},

		{"https://a.test/t?appid=wx1&secret=s3cr3t", "https://a.test/t?appid=…&secret=…"},
		{"https://a.test/t?empty=", "https://a.test/t?…"},
		{"https://a.test/t?a==s3cr3t=", "https://a.test/t?a=…"},
		{"https://a.test/t?s3cr3t", "https://a.test/t?…"},
		{"https://a.test/t?=s3cr3t", "https://a.test/t?…=…"},
		{"https://a.test/t?a=1;s3cr3t=2", "https://a.test/t?a=…"},
		{"https://a.test/t?a=1&&b=2&", "https://a.test/t?a=…&&b=…&"},
		{"https://a.test/t?s3cr3t%20x=1", "https://a.test/t?…=…"},
		{"https://a.test/t?a[s3cr3t]=1", "https://a.test/t?…=…"},
		{"https://a.test/t?ü=1", "https://a.test/t?…=…"},
		{"https://a.test/t?A.b_c-9=1", "https://a.test/t?A.b_c-9=…"},
		{"https://a.test/t?" + strings.Repeat("n", 40) + "=1", "https://a.test/t?" + strings.Repeat("n", 40) + "=…"},
		{"https://a.test/t?" + strings.Repeat("n", 41) + "=1", "https://a.test/t?…=…"},
		{"https://a.test/?a=1&b=2&c=3&d=4&e=5&f=6&g=7&h=8", "https://a.test/?a=…&b=…&c=…&d=…&e=…&f=…&g=…&h=…"},
		{"https://a.test/?a=1&b=2&c=3&d=4&e=5&f=6&g=7&h=8&i=9&j=0", "https://a.test/?a=…&b=…&c=…&d=…&e=…&f=…&g=…&h=…&…"},
		{"/x?s3cr3t=s3cr3t%", "/x?s3cr3t=…"},

		{"http://a.test/%zz?s3cr3t", unparsable},
		{"http://a.test/%zz", unparsable},
		{"http://a.test/%4", unparsable},
		{"http://a.test/\x7f", unparsable},
		{"http://a.test:8x/", unparsable},
		{"http://u:s3cr3t\n@a.test/", unparsable},
		{"https://a b@s3cr3t/", unparsable},
		{"https:u:s3cr3t@a.test", unparsable},
		{"https:///u:s3cr3t@a.test/", unparsable},
		{"https:/u:s3cr3t%40a.test/", unparsable},
		{"s3cr3t@a.test/x", unparsable},
		{"mailto:s3cr3t@a.test", unparsable},
		{`https:\\u:s3cr3t@a.test`, unparsable},
		{"https://[fe80::1%en0]/", unparsable},
		{"https://[fe80::1%25en0]/", unparsable},
		{"https://s3+cr3t/x@a.test/", unparsable},
		{"https://u:s3/cr3t@a.test/", unparsable},
		{"//%Ca$s3cr3t/@0", unparsable},
		{"ftp://a:1:2/", unparsable},

		{"https://a.test/" + strings.Repeat("x", 185), "https://a.test/" + strings.Repeat("x", 185)},
		{"https://a.test/" + strings.Repeat("x", 186), "https://a.test/" + strings.Repeat("x", 182) + "…"},
		{"https://a.test/" + strings.Repeat("ü", 100), "https://a.test/" + strings.Repeat("ü", 91) + "…"},
		{"https://a.test/x" + strings.Repeat("ü", 100), "https://a.test/x" + strings.Repeat("ü", 90) + "…"},
		{"https://a.test/" + strings.Repeat("x", 200) + "?s3cr3t=1", "https://a.test/" + strings.Repeat("x", 182) + "…"},
	}
	for _, tt := range tests {
		if got := Redact(tt.raw); got != tt.want {
			t.Errorf("Redact(%q) = %q, want %q", tt.raw, got, tt.want)
		}
	}
}

func TestRedactAllocations(t *testing.T) {
	for _, raw := range []string{
		"https://a.test", "http://a.test:8080/x/%20y/ü", "https://[::1]:8080/", "https://bücher.test/", "https://A-b_c.test/x@y:z",
	} {
		if n := testing.AllocsPerRun(100, func() { Redact(raw) }); n != 0 {
			t.Errorf("Redact(%s) allocates %v times", raw, n)
		}
	}
}

// The canary is legal, as it is, in userinfo, query and fragment, and neither in
// a host nor in a plain name. It begins with no hex digit, which a percent sign
// before it would eat.
const (
	canary        = "xYzZy$7f3a"
	canaryEscaped = "xYzZy%247f3a"
)

func FuzzRedact(f *testing.F) {
	for _, s := range [][4]string{
		{"https://", "u", "a.test/x", "q"},
		{"http://", "", "[::1]:8080", "a=1&b"},
		{"//", "u:p", "bücher.test", ";"},
		{"https:/", "u", "a.test/%7E", "#"},
		{"", "x", "/y?z", "%"},
		{"HTTPS:\\\\", "", "a.test/\xff", ""},
		{"//%Ca", "", "/@0", "/"},
	} {
		f.Add(s[0], s[1], s[2], s[3])
	}
	f.Fuzz(func(t *testing.T, scheme, user, rest, extra string) {
		for _, secret := range []string{canary, canaryEscaped} {
			for _, raw := range []string{
				scheme + user + rest + extra,
				scheme + user + ":" + secret + "@" + rest + extra,
				scheme + secret + extra + "@" + rest,
				scheme + rest + "?" + extra + "=" + secret,
				scheme + rest + "?" + extra + secret + "=" + extra,
				scheme + rest + "?" + secret + extra,
				scheme + user + "@" + rest + "?a=1&" + extra + "#" + secret + extra,
			} {
				checkRedacted(t, raw)
			}
		}
	})
}

func checkRedacted(t *testing.T, raw string) {
	got := Redact(raw)
	if len(got) > maxRedacted {
		t.Fatalf("Redact(%q) has %d bytes", raw, len(got))
	}
	if utf8.ValidString(raw) && !utf8.ValidString(got) {
		t.Fatalf("Redact(%q) = %q cuts a rune", raw, got)
	}
	u, err := url.Parse(raw)
	if err != nil {
		if got != unparsable {
			t.Fatalf("Redact(%q) = %q, but %v", raw, got, err)
		}
		return
	}
	if holdsCanary(u.Path) || holdsCanary(u.EscapedPath()) {
		return // the path is kept
	}
	if holdsCanary(got) {
		t.Fatalf("Redact(%q) = %q", raw, got)
	}
}

func holdsCanary(s string) bool {
	return strings.Contains(s, canary) || strings.Contains(s, canaryEscaped)
}
