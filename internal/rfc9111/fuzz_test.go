package rfc9111_test

import (
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh/internal/rfc9111"
)

// The grammar of the field once more, as regular expressions, to judge the parser
// by something that shares no code with it.
const (
	tokenRE  = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+"
	quotedRE = `"(?:[^\x00-\x08\x0a-\x1f\x7f"\\]|\\[^\x00-\x08\x0a-\x1f\x7f])*"`
	memberRE = tokenRE + "(?:=(?:" + tokenRE + "|" + quotedRE + "))?"
)

var (
	words   = regexp.MustCompile(tokenRE)
	members = regexp.MustCompile(memberRE)
	field   = regexp.MustCompile(`\A[ \t]*(?:` + memberRE + `)?[ \t]*(?:,[ \t]*(?:` + memberRE + `)?[ \t]*)*\z`)
)

func wellFormed(lines []string) bool {
	for _, line := range lines {
		if !field.MatchString(line) {
			return false
		}
	}
	return true
}

// says reports whether name is a directive of lines: a member without a quoted
// argument where they are well-formed, and any word at all where they are not.
func says(lines []string, name string) bool {
	reading := words
	if wellFormed(lines) {
		reading = members
	}
	for _, found := range reading.FindAllString(strings.Join(lines, ","), -1) {
		bare, arg, _ := strings.Cut(found, "=")
		if strings.EqualFold(bare, name) && !strings.HasPrefix(arg, `"`) {
			return true
		}
	}
	return false
}

// freshOf returns the freshness of a response that is fresh for long by Expires,
// so that whatever Cache-Control takes away shows.
func freshOf(lines []string, shared bool) rfc9111.Freshness {
	h := header("Date", at(0), "Expires", at(1000000*time.Hour))
	h["Cache-Control"] = lines
	return rfc9111.Of(h, received, received, shared)
}

func FuzzDirectives(f *testing.F) {
	for _, seed := range []string{
		"", ",", "max-age=60", "public, max-age=31536000, immutable", "s-maxage=5, max-age=1",
		"max-age=x, no-store", "no-store, stale-while-revalidate=x", "public=1, max-age=10", "no-store=1", `x="unterminated`,
		"no-cache=Set-Cookie,max-age=60", "private=x,no-store", "max-age=60\nno-store", "max-age=0, max-age=60",
		`x="open` + "\n" + `no-store, y="shut"`, `x="a, no-store, y="b`, `x="\", no-store, \"", max-age=60`, `x="\`,
		`no-cache="a, B"`, `no-cache="a\n"`, `no-cache=""`, `private="no-store"`, "no-cache=\"a,\tb\"", `no-cache="a", x="`,
		"max-age=99999999999x", "max-age=99999999999", `max-age="60"`, "max-age=2147483647", "max-age =60", "max-age= 60",
		"max-age=60; no-store", "no-cache no-store", "must-understand, no-store", "\"no-store\"", "x=\"\x01no-store\"", "no-\u017ftore", "x=\"\xff\"",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		lines := strings.Split(s, "\n")
		d := rfc9111.ParseDirectives(lines)
		checkBounds(t, d)
		if joined := rfc9111.ParseDirectives([]string{strings.Join(lines, ", ")}); wellFormed(lines) && !reflect.DeepEqual(d, joined) {
			t.Errorf("lines read as %+v, joined as %+v", d, joined)
		}
		for _, name := range []string{"no-store", "no-cache"} {
			if f := freshOf(lines, true); says(lines, name) && f.Lifetime != 0 {
				t.Errorf("%q says %s and is fresh: %+v", lines, name, f)
			}
			checkAdded(t, lines, name)
		}
	})
}

func checkBounds(t *testing.T, d rfc9111.Directives) {
	t.Helper()
	for _, n := range []int64{d.MaxAge, d.SMaxAge, int64(d.StaleWhileRevalidate / time.Second), int64(d.StaleIfError / time.Second)} {
		if n < 0 || n > 1<<31 {
			t.Errorf("an age out of bounds: %+v", d)
		}
	}
	if (d.MaxAge > 0 && !d.HasMaxAge) || (d.SMaxAge > 0 && !d.HasSMaxAge) {
		t.Errorf("an age that is not there: %+v", d)
	}
	for _, name := range append(d.NoCacheFields, d.PrivateFields...) {
		if words.FindString(name) != name || http.CanonicalHeaderKey(name) != name {
			t.Errorf("%q is no canonical field name", name)
		}
	}
}

// checkAdded adds the member name to lines in each way that no quote of theirs can
// undo: nothing may stay fresh.
func checkAdded(t *testing.T, lines []string, name string) {
	t.Helper()
	first, last := lines[0], lines[len(lines)-1]
	for _, added := range [][]string{
		append([]string{name + ", " + first}, lines[1:]...),
		append(append([]string{}, lines[:len(lines)-1]...), last+", "+name),
		append([]string{name}, lines...),
		append(append([]string{}, lines...), name),
		{strings.Join(lines, ", ") + "," + strings.ToUpper(name)},
	} {
		for _, shared := range []bool{false, true} {
			f := freshOf(added, shared)
			if f.Lifetime != 0 || (f.Source != rfc9111.NoStore && f.Source != rfc9111.NoCache) {
				t.Errorf("%q is fresh: %+v", added, f)
			}
		}
	}
}

func FuzzDates(f *testing.F) {
	for _, s := range append([]string{
		"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Sun Nov 06 08:49:37 1994",
		"Wednesday, 18-Aug-50 02:01:18 gmt", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0000 00:00:00 GMT",
	}, invalidDates...) {
		f.Add(s, at(0), "0", int64(0))
		f.Add(at(time.Hour), s, "2147483649, 0", int64(1))
	}
	for _, age := range []string{"", "-7200", "7200.0", "7200;foo=bar", "99999999999x", "9223372036854775808"} {
		f.Add(at(time.Hour), at(0), age, int64(1<<63-1))
	}
	f.Fuzz(func(t *testing.T, expires, date, age string, delay int64) {
		h := http.Header{"Expires": {expires}, "Date": {date}, "Age": {age}}
		got := rfc9111.Of(h, received.Add(-time.Duration(delay)), received, false)
		if got.Lifetime < 0 || got.Lifetime > maxSpan || got.Age < 0 || got.Age > maxSpan || got.Source != rfc9111.Expires {
			t.Errorf("Of(%q) = %+v", h, got)
		}
		if d, ok := rfc9111.ParseAge(h["Age"]); d < 0 || d > maxSpan || (!ok && d != 0) || (ok && got.Age < d) {
			t.Errorf("ParseAge(%q) = %v, %v; Of has %v", age, d, ok, got.Age)
		}
		checkRoundTrip(t, expires)
		checkRoundTrip(t, date)
	})
}

// checkRoundTrip checks that one of the three formats prints an accepted date in the
// same way, except for the day of the week.
func checkRoundTrip(t *testing.T, s string) {
	t.Helper()
	parsed, ok := rfc9111.ParseDate(s)
	if !ok {
		return
	}
	i := strings.IndexAny(s, ", ")
	for _, layout := range []string{", 02 Jan 2006 15:04:05 GMT", ", 02-Jan-06 15:04:05 GMT", " Jan _2 15:04:05 2006", " Jan 02 15:04:05 2006"} {
		if strings.EqualFold(parsed.Format(layout), s[i:]) {
			return
		}
	}
	t.Errorf("ParseDate(%q) = %v, which no format writes so", s, parsed)
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range append([]string{
		"0", "120", " 120", "2147483648", "99999999999999999999", "99999999999x", "-1", "1.5", "120, 240",
		at(time.Minute), at(-time.Minute), "Fri, 31 Dec 9999 23:59:59 GMT", "Sunday, 01-Mar-26 12:01:00 GMT",
	}, invalidDates...) {
		f.Add(s, received.Unix())
	}
	f.Add(at(0), int64(1<<62))
	f.Add(at(0), int64(-1<<62))
	digits := regexp.MustCompile(`\A[0-9]+\z`)
	f.Fuzz(func(t *testing.T, v string, unix int64) {
		now := time.Unix(unix, 0)
		d, ok := rfc9111.ParseRetryAfter(v, now)
		if d < 0 || d > maxSpan || (!ok && d != 0) {
			t.Errorf("ParseRetryAfter(%q) = %v, %v", v, d, ok)
		}
		v = strings.Trim(v, " \t")
		until, dated := rfc9111.ParseDate(v)
		if ok != (dated || digits.MatchString(v)) {
			t.Errorf("ParseRetryAfter(%q) reports %v", v, ok)
		}
		if dated && d > 0 && d < maxSpan && !now.Add(d).Equal(until) {
			t.Errorf("ParseRetryAfter(%q) = %v, which ends at %v", v, d, now.Add(d))
		}
	})
}
