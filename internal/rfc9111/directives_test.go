package rfc9111_test

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/cachecontrol/cacheobject"

	"github.com/everfresh-go/everfresh/internal/rfc9111"
)

func TestParseDirectives(t *testing.T) {
	t.Parallel()
	type want = rfc9111.Directives
	cases := []struct {
		name  string
		lines []string
		want  want
	}{
		{"no lines", nil, want{}},
		{"empty line", []string{""}, want{}},
		{"only commas", []string{" , ,\t,"}, want{}},
		{"every flag", []string{"no-store, no-cache, private, public, must-revalidate, proxy-revalidate, must-understand, immutable"}, want{
			NoStore: true, NoCache: true, Private: true, Public: true, MustRevalidate: true,
			ProxyRevalidate: true, MustUnderstand: true, Immutable: true,
		}},
		{"every flag before another member", []string{"immutable, must-understand, proxy-revalidate, must-revalidate, public, private, no-cache, no-store, x"}, want{
			NoStore: true, NoCache: true, Private: true, Public: true, MustRevalidate: true,
			ProxyRevalidate: true, MustUnderstand: true, Immutable: true,
		}},
		{"names in any case", []string{"No-StOrE, MaX-aGe=60, S-MAXAGE=1"}, want{
			NoStore: true, MaxAge: 60, HasMaxAge: true, SMaxAge: 1, HasSMaxAge: true,
		}},
		{"no blanks", []string{"public,max-age=60,immutable"}, want{Public: true, MaxAge: 60, HasMaxAge: true, Immutable: true}},
		{"tabs and empty members", []string{",\tmax-age=60\t,, no-store ,"}, want{MaxAge: 60, HasMaxAge: true, NoStore: true}},
		{"two lines", []string{"max-age=60", "no-store"}, want{MaxAge: 60, HasMaxAge: true, NoStore: true}},
		{"leading zeros", []string{"max-age=003600"}, want{MaxAge: 3600, HasMaxAge: true}},
		{"quoted age", []string{`max-age="60"`}, want{MaxAge: 60, HasMaxAge: true}},
		{"zero is present", []string{"max-age=0, s-maxage=0"}, want{HasMaxAge: true, HasSMaxAge: true}},
		{"2^31-2", []string{"max-age=2147483646"}, want{MaxAge: 1<<31 - 2, HasMaxAge: true}},
		{"2^31-1 is exact", []string{"max-age=2147483647"}, want{MaxAge: 1<<31 - 1, HasMaxAge: true}},
		{"2^31", []string{"max-age=2147483648, s-maxage=2147483648"}, want{MaxAge: 1 << 31, HasMaxAge: true, SMaxAge: 1 << 31, HasSMaxAge: true}},
		{"2^64 saturates", []string{"max-age=18446744073709551616"}, want{MaxAge: 1 << 31, HasMaxAge: true}},
		{"100 digits saturate", []string{"max-age=" + strings.Repeat("9", 100)}, want{MaxAge: 1 << 31, HasMaxAge: true}},
		{"stale windows", []string{"stale-while-revalidate=30, stale-if-error=86400"}, want{StaleWhileRevalidate: 30 * time.Second, StaleIfError: 24 * time.Hour}},
		{"least stale window", []string{"stale-while-revalidate=30, stale-while-revalidate=0, stale-while-revalidate=9"}, want{}},
		{"bad stale windows are ignored", []string{"stale-if-error=30, stale-if-error=x, stale-if-error, stale-if-error=99999999999x"}, want{StaleIfError: 30 * time.Second}},
		{"extension with a quoted comma", []string{`x="a, no-store, max-age=1", max-age=60`}, want{MaxAge: 60, HasMaxAge: true}},
		{"extension with an escaped quote", []string{`x="\", no-store, \"", max-age=60`}, want{MaxAge: 60, HasMaxAge: true}},
		{"extension with a quoted tab", []string{"x=\"a,\tno-store\", max-age=60"}, want{MaxAge: 60, HasMaxAge: true}},
		{"extension with obs-text", []string{"x=\"\xe9\", max-age=60"}, want{MaxAge: 60, HasMaxAge: true}},
		{"space before the equals sign", []string{"max-age =60"}, want{HasMaxAge: true}},
		{"space after the equals sign", []string{"max-age= 60"}, want{HasMaxAge: true}},
		{"apostrophes", []string{"max-age='60'"}, want{HasMaxAge: true}},
		{"semicolons", []string{"max-age=60; no-store"}, want{HasMaxAge: true, NoStore: true}},
		{"blanks for commas", []string{"no-cache no-store must-revalidate"}, want{NoStore: true, NoCache: true, MustRevalidate: true}},
		{"equals sign without argument", []string{"max-age=, s-maxage=, no-store=, public="}, want{HasMaxAge: true, HasSMaxAge: true, NoStore: true}},
		{"equals sign without name", []string{"=60, max-age=9"}, want{MaxAge: 9, HasMaxAge: true}},
		{"junk before an age", []string{";max-age=60"}, want{HasMaxAge: true}},
		{"a bad word spoils its member only", []string{"max-age=60, f@o"}, want{MaxAge: 60, HasMaxAge: true}},
		{"quoted directive", []string{`"no-store"`}, want{NoStore: true}},
		{"control in a quoted string", []string{"x=\"\x01 private\", max-age=60"}, want{Private: true, MaxAge: 60, HasMaxAge: true}},
		{"text after a quoted string", []string{`x="no-store"y, max-age=60`}, want{NoStore: true, MaxAge: 60, HasMaxAge: true}},
		{"quote inside a token", []string{`x=a"no-store"`}, want{NoStore: true}},
		{"backslash at the end", []string{`x="no-store\`}, want{NoStore: true}},
		{"similar names", []string{"no-stored, xno-cache, no_store, max-ages=60"}, want{}},
		{"folding is ASCII only", []string{"no-\u017ftore"}, want{}},
		{"malformed must-understand cannot lift no-store", []string{"no-store, must-understand=1"}, want{NoStore: true}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := rfc9111.ParseDirectives(c.lines); !reflect.DeepEqual(got, c.want) {
				t.Errorf("ParseDirectives(%q)\n got %+v\nwant %+v", c.lines, got, c.want)
			}
		})
	}
}

func TestParseDirectivesFieldLists(t *testing.T) {
	t.Parallel()
	cases := []struct {
		line    string
		noCache bool
		fields  []string
	}{
		{`no-cache="Set-Cookie"`, false, []string{"Set-Cookie"}},
		{`no-cache="set-cookie, X-b,x-A"`, false, []string{"Set-Cookie", "X-A", "X-B"}},
		{`no-cache="a", No-Cache="b, a"`, false, []string{"A", "B"}},
		{`no-cache=",a,, b ,"`, false, []string{"A", "B"}},
		{`no-cache="a", no-cache`, true, []string{"A"}},
		{`no-cache, no-cache="a"`, true, []string{"A"}},
		{`no-cache="no-store"`, false, []string{"No-Store"}},
		{`no-cache=Set-Cookie`, true, nil}, // the token form
		{`no-cache=""`, true, nil},
		{`no-cache=" , "`, true, nil},
		{`no-cache="a b"`, true, nil},
		{`no-cache="a;b"`, true, nil},
		{`no-cache="a, @"`, true, nil},
		{"no-cache=\"a,\tb\"", true, nil}, // the library makes a ? of the tab
		{`no-cache="a\n"`, true, nil},     // means an; the library reads a
		{`no-cache="a`, true, nil},
		{`no-cache='a'`, true, nil},
		{`no-cache="a", x="`, true, []string{"A"}}, // malformed: no quote can be trusted
	}
	for _, c := range cases {
		d := rfc9111.ParseDirectives([]string{c.line})
		if d.NoCache != c.noCache || !reflect.DeepEqual(d.NoCacheFields, c.fields) {
			t.Errorf("%s: NoCache %v, fields %q; want %v, %q", c.line, d.NoCache, d.NoCacheFields, c.noCache, c.fields)
		}
		d = rfc9111.ParseDirectives([]string{strings.NewReplacer("no-cache", "private", "No-Cache", "Private").Replace(c.line)})
		if d.Private != c.noCache || !reflect.DeepEqual(d.PrivateFields, c.fields) {
			t.Errorf("%s for private: Private %v, fields %q; want %v, %q", c.line, d.Private, d.PrivateFields, c.noCache, c.fields)
		}
	}
}

// TestLibraryFaults pins down what makes this package read member by member. When
// it fails, the library has changed and the reason may be gone.
func TestLibraryFaults(t *testing.T) {
	t.Parallel()
	for _, field := range []string{
		"max-age=x, no-store", "no-store, stale-while-revalidate=x", "public=1, max-age=10", "no-store=1", `x="unterminated`,
	} {
		if d, err := cacheobject.ParseResponseCacheControl(field); err == nil || d != nil {
			t.Errorf("%s: %+v, %v; want a nil result", field, d, err)
		}
	}
	if d, err := cacheobject.ParseResponseCacheControl("private=x,no-store"); err != nil || d.NoStore {
		t.Errorf("an unquoted list no longer swallows what follows: %+v, %v", d, err)
	}
	if d, err := cacheobject.ParseResponseCacheControl("max-age=99999999999x"); err != nil || d.MaxAge != math.MaxInt32 {
		t.Errorf("overflowing digits no longer hide garbage: %+v, %v", d, err)
	}
	if d, err := cacheobject.ParseResponseCacheControl(`no-cache="a\n"`); err != nil || !d.NoCache["A"] {
		t.Errorf("an escaped n is no longer a line feed: %+v, %v", d, err)
	}
}
