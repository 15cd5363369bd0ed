package weburl

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"
)

// secret stands in every refused URL, and must not stand in the refusal.
const secret = "s3cr3t"

func TestParse(t *testing.T) {
	long := strings.Repeat("a", maxLabel)
	tests := []struct {
		raw, reason string // no reason: accepted
	}{
		{raw: "https://a.test"},
		{raw: "http://a.test/x?secret=s3cr3t"},
		{raw: "HTTPS://A.TEST/"},
		{raw: "https://a.test:8443/"},
		{raw: "https://a.test:/"},
		{raw: "https://a.test:00443/"},
		{raw: "https://a.test./"},
		{raw: "https://a_b.test/"},
		{raw: "https://localhost/"},
		{raw: "https://bücher.test/"},
		{raw: "https://b%C3%BCcher.test/"},
		{raw: "http://[::1]:8080"},
		{raw: "http://[::ffff:192.0.2.1]/"},
		{raw: "http://127.0.0.1:8080/"},
		{raw: "http://0x7f.1/"},
		{raw: "http://2130706433/"},
		{raw: "https://a.test/x@y"},
		{raw: "https://" + long + "." + long + "." + long + ".test/"},

		{raw: "", reason: reasonRelative},
		{raw: "/s3cr3t", reason: reasonRelative},
		{raw: "a.test/s3cr3t", reason: reasonRelative},
		{raw: "//a.test/s3cr3t", reason: reasonRelative},
		{raw: "https:///s3cr3t", reason: reasonRelative},
		{raw: "https:/s3cr3t", reason: reasonRelative},
		{raw: "https:s3cr3t", reason: reasonRelative},
		{raw: "https://?s3cr3t", reason: reasonRelative},
		{raw: "http://a.test/%zz?s3cr3t", reason: reasonSyntax},
		{raw: "http://a.test/\n?s3cr3t", reason: reasonSyntax},
		{raw: " https://a.test/s3cr3t", reason: reasonSyntax},
		{raw: "https://a b/s3cr3t", reason: reasonSyntax},
		{raw: "https://a.test%2f.s3cr3t.test/", reason: reasonSyntax},
		{raw: `https://a.test\@s3cr3t.test/`, reason: reasonSyntax},
		{raw: "ftp://a.test/s3cr3t", reason: reasonScheme},
		{raw: "file:///s3cr3t", reason: reasonScheme},
		{raw: "httpx://a.test/s3cr3t", reason: reasonScheme},
		{raw: "javascript:s3cr3t", reason: reasonScheme},
		{raw: "a.test:8080/s3cr3t", reason: reasonScheme},
		{raw: "https://user:s3cr3t@a.test/", reason: reasonUserinfo},
		{raw: "https://s3cr3t@a.test/", reason: reasonUserinfo},
		{raw: "https://@a.test/s3cr3t", reason: reasonUserinfo},
		{raw: "https://a.test:443@s3cr3t.test/", reason: reasonUserinfo},
		{raw: "https://:443/s3cr3t", reason: reasonHost},
		{raw: "https://./s3cr3t", reason: reasonHost},
		{raw: "https://a..test/s3cr3t", reason: reasonHost},
		{raw: "https://.a.test/s3cr3t", reason: reasonHost},
		{raw: "https://a.test../s3cr3t", reason: reasonHost},
		{raw: "https://*.a.test/s3cr3t", reason: reasonHost},
		{raw: "https://a.test,b.test/s3cr3t", reason: reasonHost},
		{raw: "https://a%C3%BC_b.test/s3cr3t", reason: reasonHost},
		{raw: "https://a／s3cr3t.test/", reason: reasonHost},
		{raw: "https://%FF.test/s3cr3t", reason: reasonHost},
		{raw: "https://\u00ad/s3cr3t", reason: reasonHost},
		{raw: "https://" + long + "a.test/s3cr3t", reason: reasonHost},
		{raw: "https://" + strings.Repeat("a.", 127) + "/s3cr3t", reason: ""},
		{raw: "https://" + strings.Repeat("a.", 128) + "/s3cr3t", reason: reasonHost},
		{raw: "https://[fe80::1%25en0]/s3cr3t", reason: reasonHost},
		{raw: "https://a.test:0/s3cr3t", reason: reasonPort},
		{raw: "https://a.test:65536/s3cr3t", reason: reasonPort},
	}
	for _, tt := range tests {
		u, err := Parse(tt.raw)
		checkReason(t, tt.raw, err, tt.reason)
		if (u == nil) == (err == nil) {
			t.Errorf("Parse(%q) = %v, %v", tt.raw, u, err)
		}
	}
}

// Some malformed hosts are refused by one version of net/url and not by another.
func TestParseRefusesWhateverNetURLTakes(t *testing.T) {
	for _, raw := range []string{
		"http://::1/", "http://a:b:80/", "http://a.test:x/", "http://[1.2.3.4]/", "http://[::1/",
		"http://[::1]x/", "http://x[::1]/", "http://[a.test]/", "http://[]/", "http://a.test:-1/", "http://a.test:+1/",
		"http://[fe80::1%en0]/",
	} {
		if u, err := Parse(raw); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", raw, u)
		}
	}
}

func checkReason(t *testing.T, of string, err error, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Errorf("%.80q: %v", of, err)
		}
		return
	}
	var e *Error
	if !errors.As(err, &e) || e.Reason != want {
		t.Errorf("%.80q: error %v, want reason %q", of, err, want)
		return
	}
	if strings.Contains(e.Error(), secret) || !strings.HasPrefix(e.Error(), "url: ") {
		t.Errorf("%.80q: error text %q", of, e)
	}
}

func TestParseKeepsAllButTheFragment(t *testing.T) {
	u, err := Parse("https://BÜCHER.test:443/a%2Fb/../c?q=1#f%20g")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := u.String(), "https://B%C3%9CCHER.test:443/a%2Fb/../c?q=1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCheckOfBuiltURLs(t *testing.T) {
	tests := []struct {
		name   string
		u      *url.URL
		reason string
	}{
		{"good", &url.URL{Scheme: "https", Host: "a.test"}, ""},
		{"fragment", &url.URL{Scheme: "https", Host: "a.test", Path: "/x", Fragment: "f"}, ""},
		{"nil", nil, reasonSyntax},
		{"zero", &url.URL{}, reasonRelative},
		{"empty userinfo", &url.URL{Scheme: "https", Host: "a.test", User: url.User("")}, reasonUserinfo},
		{"opaque", &url.URL{Scheme: "https", Host: "a.test", Opaque: "//b.test/s3cr3t"}, reasonRelative},
		{"path without slash", &url.URL{Scheme: "https", Host: "a.test", Path: ".s3cr3t.test/"}, reasonPath},
		{"raw path without slash", &url.URL{Scheme: "https", Host: "a.test", Path: "/.b.test", RawPath: "%2f.b.test"}, reasonPath},
		{"backslash path", &url.URL{Scheme: "https", Host: "a.test", Path: `\s3cr3t`}, reasonPath},
		{"path in host", &url.URL{Scheme: "https", Host: "a.test/s3cr3t"}, reasonHost},
		{"userinfo in host", &url.URL{Scheme: "https", Host: "s3cr3t@a.test"}, reasonHost},
		{"line feed in host", &url.URL{Scheme: "https", Host: "a.test\r\nX: s3cr3t"}, reasonHost},
		{"two colons", &url.URL{Scheme: "https", Host: "a:1:2"}, reasonHost},
		{"open bracket", &url.URL{Scheme: "https", Host: "[::1"}, reasonHost},
		{"bracket only", &url.URL{Scheme: "https", Host: "["}, reasonHost},
		{"after bracket", &url.URL{Scheme: "https", Host: "[::1]x:80"}, reasonHost},
		{"IPv4 in brackets", &url.URL{Scheme: "https", Host: "[127.0.0.1]"}, reasonHost},
		{"zone", &url.URL{Scheme: "https", Host: "[fe80::1%en0]:80"}, reasonHost},
		{"port no number", &url.URL{Scheme: "https", Host: "a.test:+80"}, reasonPort},
		{"long s", &url.URL{Scheme: "http\u017f", Host: "a.test"}, reasonScheme},
	}
	for _, tt := range tests {
		checkReason(t, tt.name, Check(tt.u), tt.reason)
	}
}

func TestCanonical(t *testing.T) {
	tests := []struct{ raw, want string }{
		{"HTTPS://A.Test", "https://a.test/"},
		{"https://a.test./", "https://a.test/"},
		{"https://a.test.:443/", "https://a.test/"},
		{"https://a.test:443/", "https://a.test/"},
		{"https://a.test:0443/", "https://a.test/"},
		{"https://a.test:/", "https://a.test/"},
		{"https://a.test:80/", "https://a.test:80/"},
		{"http://a.test:80/", "http://a.test/"},
		{"http://a.test:443/", "http://a.test:443/"},
		{"http://a.test:08080/", "http://a.test:8080/"},
		{"https://BÜCHER.test/", "https://xn--bcher-kva.test/"},
		{"https://b%C3%BCcher.test/", "https://xn--bcher-kva.test/"},
		{"https://bu\u0308cher.test/", "https://xn--bcher-kva.test/"},
		{"https://XN--Bcher-KVA.test/", "https://xn--bcher-kva.test/"},
		{"https://ａ。test/", "https://a.test/"},
		{"https://a.test。/", "https://a.test/"},
		{"https://A_b.test/", "https://a_b.test/"},
		{"http://[2001:DB8:0:0::1]:80/", "http://[2001:db8::1]/"},
		{"http://[::1]:8080", "http://[::1]:8080/"},
		{"http://[::FFFF:c000:0201]/", "http://[::ffff:192.0.2.1]/"},
		{"http://0X7F.1/", "http://0x7f.1/"},
		{"http://127.000.0.1/", "http://127.000.0.1/"},
		{"http://2130706433/", "http://2130706433/"},
		{"https://u:p@a.test/x#f", "https://a.test/x"},
		{"https://a.test/?b=%2e%2e/&a=1", "https://a.test/?b=%2e%2e/&a=1"},
		{"https://a.test/x?", "https://a.test/x?"},
		{"https://a.test?q", "https://a.test/?q"},
		{"https://a.test/x/", "https://a.test/x/"},
		{"https://a.test/x/.", "https://a.test/x/"},
		{"https://a.test/x/y/..", "https://a.test/x/"},
		{"https://a.test/x/y/../z", "https://a.test/x/z"},
		{"https://a.test/..", "https://a.test/"},
		{"https://a.test/../../x", "https://a.test/x"},
		{"https://a.test/x/%2e%2E/y", "https://a.test/y"},
		{"https://a.test/x%2f..%2Fy", "https://a.test/y"},
		{"https://a.test/x/%252e%252e/y", "https://a.test/x/%252e%252e/y"},
		{"https://a.test//x///y//", "https://a.test/x/y/"},
		{`https://a.test/x\y`, "https://a.test/x/y"},
		{`https://a.test/x/..\..\y`, "https://a.test/y"},
		{"https://a.test/x%5C..%5cy", "https://a.test/y"},
		{"https://a.test/%61%20b", "https://a.test/a%20b"},
		{"https://a.test/...", "https://a.test/..."},
		{"https://a.test/x/..;/y", "https://a.test/x/..;/y"},
	}
	for _, tt := range tests {
		u := parseURL(t, tt.raw)
		before := *u
		got, err := Canonical(u)
		if err != nil {
			t.Errorf("Canonical(%s): %v", tt.raw, err)
			continue
		}
		if got.String() != tt.want || got.RawPath != "" || got.User != nil || got.Fragment != "" {
			t.Errorf("Canonical(%s) = %s (%+v), want %s", tt.raw, got, got, tt.want)
		}
		if *u != before {
			t.Errorf("Canonical(%s) changed its argument", tt.raw)
		}
		if again, err := Canonical(got); err != nil || *again != *got {
			t.Errorf("Canonical(%s) is not idempotent: %v, %v", tt.raw, again, err)
		}
	}
}

func parseURL(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func canonical(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := Canonical(parseURL(t, raw))
	if err != nil {
		t.Fatalf("%.80q: %v", raw, err)
	}
	return u
}

func TestCanonicalRefuses(t *testing.T) {
	for _, u := range []*url.URL{nil, {}, {Scheme: "ftp", Host: "a.test"}, {Scheme: "http", Host: "a..test"}, {Scheme: "http", Host: "a.test:0"}} {
		var e *Error
		if got, err := Canonical(u); got != nil || !errors.As(err, &e) {
			t.Errorf("Canonical(%+v) = %v, %v", u, got, err)
		}
	}
}

func TestOrigin(t *testing.T) {
	tests := []struct{ raw, want string }{
		{"https://a.test/x?y#z", "https://a.test"},
		{"HTTPS://u:p@A.test.:0443/x", "https://a.test"},
		{"http://a.test:443/", "http://a.test:443"},
		{"http://[0:0::1]:8080", "http://[::1]:8080"},
		{"https://bücher.test:1/", "https://xn--bcher-kva.test:1"},
		{"/x", ""},
		{"ftp://a.test/", ""},
		{"https://a..test/", ""},
	}
	for _, tt := range tests {
		if got := Origin(parseURL(t, tt.raw)); got != tt.want {
			t.Errorf("Origin(%s) = %q, want %q", tt.raw, got, tt.want)
		}
	}
	if got := Origin(nil); got != "" {
		t.Errorf("Origin(nil) = %q", got)
	}
}

func TestSameOrigin(t *testing.T) {
	tests := []struct {
		a, b string
		want bool
	}{
		{"https://a.test/x", "https://A.TEST.:443/y?z", true},
		{"http://[::1]/", "http://[0:0:0:0:0:0:0:1]:80/", true},
		{"https://bücher.test/", "https://xn--bcher-kva.test/", true},
		{"https://a.test/", "http://a.test/", false},
		{"http://a.test:443/", "https://a.test/", false},
		{"https://a.test/", "https://a.test:8443/", false},
		{"https://a.test/", "https://a.test.evil.test/", false},
		{"https://a.test/", "https://www.a.test/", false},
		{"http://192.0.2.1/", "http://[::ffff:192.0.2.1]/", false},
		{"http://127.0.0.1/", "http://127.1/", false},
		{"/x", "/x", false},
		{"https://a..test/", "https://a..test/", false},
	}
	for _, tt := range tests {
		a, b := parseURL(t, tt.a), parseURL(t, tt.b)
		if SameOrigin(a, b) != tt.want || SameOrigin(b, a) != tt.want {
			t.Errorf("SameOrigin(%s, %s), want %t both ways", tt.a, tt.b, tt.want)
		}
	}
}

func TestDowngrade(t *testing.T) {
	for _, tt := range []struct {
		from, to string
		want     bool
	}{
		{"https", "http", true},
		{"HTTPS", "Http", true},
		{"https", "https", false},
		{"http", "https", false},
		{"http", "http", false},
		{"ftp", "http", false},
	} {
		if got := Downgrade(&url.URL{Scheme: tt.from}, &url.URL{Scheme: tt.to}); got != tt.want {
			t.Errorf("Downgrade(%s, %s) = %t", tt.from, tt.to, got)
		}
	}
}

func TestOriginAllocations(t *testing.T) {
	for _, raw := range []string{"https://keys.a.test/jwks", "https://keys.a.test:8443/jwks"} {
		u := parseURL(t, raw)
		if n := testing.AllocsPerRun(100, func() { Origin(u) }); n > 1 {
			t.Errorf("Origin(%s) allocates %v times, want at most 1", raw, n)
		}
	}
}

func BenchmarkOrigin(b *testing.B) {
	for _, raw := range []string{"https://keys.a.test/jwks", "https://Keys.A.test.:8443/jwks", "https://bücher.test/", "https://[2001:db8::1]/"} {
		u := parseURL(b, raw)
		b.Run(u.Hostname(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Origin(u)
			}
		})
	}
}

// TestLongURLs gives every function a mebibyte built to make careless code
// quadratic. Linear code needs milliseconds; one quadratic pass needs minutes.
func TestLongURLs(t *testing.T) {
	const size = 1 << 20
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	urls := []string{
		"https://a.test/" + fill("a"),
		"https://a.test/" + fill("a/"),
		"https://a.test/" + fill("../"),
		"https://a.test/" + fill("a/../"),
		"https://a.test/" + fill(`\..`),
		"https://a.test/%" + fill("25"),
		"https://a.test/%" + fill("25") + "2e",
		"https://a.test/" + fill("%25"),
		"https://a.test/?" + fill("a=b&"),
		"https://a.test/?" + fill("="),
		"https://a.test/#" + fill("a"),
		"https://" + fill("a."),
		"https://" + fill("ü"),
		"https://" + fill(everyHan()),
		"https://" + fill("a:") + "@a.test/",
		"https://a.test:" + fill("0") + "443/",
		"https://[" + fill(":") + "]/",
		fill("a") + "://a.test/",
	}
	start := time.Now()
	allow := policies(t)
	for _, raw := range urls {
		if got := Redact(raw); len(got) > maxRedacted {
			t.Errorf("Redact of a long URL has %d bytes", len(got))
		}
		u, err := Parse(raw)
		if err != nil {
			continue
		}
		Origin(u)
		c, err := Canonical(u)
		if err != nil {
			t.Errorf("%.40q: %v", raw, err)
			continue
		}
		for _, f := range allow {
			f(c)
		}
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("took %v", d)
	}
}

// everyHan returns many different letters: punycode makes a pass for each.
func everyHan() string {
	var b strings.Builder
	for r := rune(0x4e00); r < 0x9fa0; r++ {
		b.WriteRune(r)
	}
	return b.String()
}

func policies(t *testing.T) []func(*url.URL) bool {
	t.Helper()
	hosts, err1 := Hosts("*.test", "a.test")
	prefix, err2 := Prefix("https://a.test/")
	expr, err3 := Regexp(`https://a\.test/.*`)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	return []func(*url.URL) bool{hosts, prefix, expr}
}

func TestPlainOrigin(t *testing.T) {
	for raw, want := range map[string]string{
		"http://a.test":               "http://a.test",
		"https://a.test/":             "https://a.test",
		"https://a.test/b?c=d://e":    "https://a.test",
		"https://a.test?b":            "https://a.test",
		"https://a.test#b":            "https://a.test",
		"https://a_b.c-d.test:8443/x": "https://a_b.c-d.test:8443",
		"http://127.0.0.1:80443/x":    "",
		"http://127.0.0.1:8080/x":     "http://127.0.0.1:8080",
		"http://a.test:443":           "http://a.test:443",
		"http://a.test:80/":           "",
		"https://a.test:443/":         "",
		"https://a.test:/":            "",
		"https://a.test:08443/":       "",
		"https://A.test/":             "",
		"HTTPS://a.test/":             "",
		"https://a.test./":            "",
		"https://a..test/":            "",
		"https://u@a.test/":           "",
		"https://u:p@a.test/":         "",
		"https://[::1]/":              "",
		"https://b\u00fccher.test/":   "",
		"https:///a.test":             "",
		"ftp://a.test/":               "",
		"a.test":                      "",
		"":                            "",
		"https://a.test\\@b.test/":    "",
		"https://a%2etest/":           "",
	} {
		got, ok := PlainOrigin(raw)
		if got != want || ok != (want != "") {
			t.Errorf("PlainOrigin(%q) = %q, %v; want %q", raw, got, ok, want)
		}
		if plain := Plain(raw); plain && (want == "" || strings.ContainsAny(raw[len(want):], "?#")) {
			t.Errorf("%q is plain", raw)
		}
	}
}

func TestPlain(t *testing.T) {
	for raw, want := range map[string]bool{
		"http://a.test":          true,
		"https://a.test/b/c.%20": true,
		"https://a.test:8443/":   true,
		"https://a.test/%zz":     false,
		"https://a.test/\x7f":    false,
		"https://a.test/?b":      false,
		"https://a.test/#b":      false,
		"https://a.test:443/":    false,
		"a.test/":                false,
	} {
		if got := Plain(raw); got != want {
			t.Errorf("Plain(%q) = %v", raw, got)
		}
	}
}

// FuzzPlainOrigin: where there is a plain origin, it is the origin, and a plain URL is one
// that Parse accepts.
func FuzzPlainOrigin(f *testing.F) {
	for _, raw := range []string{"http://a.test", "https://a.test:8443/x?y", "http://a.test:80", "https://u@a.test/", "http://a.test\\b"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, ok := PlainOrigin(raw)
		if !ok {
			return
		}
		u, err := Parse(raw)
		if err != nil {
			if Plain(raw) {
				t.Errorf("%q is plain, but refused: %v", raw, err)
			}
			return // refused whatever its origin
		}
		if want := Origin(u); got != want {
			t.Errorf("PlainOrigin(%q) = %q, want %q", raw, got, want)
		}
	})
}
