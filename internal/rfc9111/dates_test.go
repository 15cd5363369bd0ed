package rfc9111_test

import (
	"strings"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh/internal/rfc9111"
)

func TestParseDate(t *testing.T) {
	t.Parallel()
	nov := time.Date(1994, time.November, 6, 8, 49, 37, 0, time.UTC)
	aug := time.Date(2050, time.August, 18, 2, 1, 18, 0, time.UTC)
	valid := map[string]time.Time{
		"Sun, 06 Nov 1994 08:49:37 GMT":     nov,
		"Sunday, 06-Nov-94 08:49:37 GMT":    nov,
		"Sun Nov  6 08:49:37 1994":          nov,
		"Sun Nov 06 08:49:37 1994":          nov,
		"Thu Aug 18 02:01:18 2050":          aug,
		"Thursday, 18-Aug-50 02:01:18 GMT":  aug,
		"Wednesday, 18-Aug-50 02:01:18 GMT": aug, // another day of the week
		"Mon, 06 Nov 1994 08:49:37 GMT":     nov, // another day of the week
		"THU, 18 Aug 2050 02:01:18 GMT":     aug,
		"Thu, 18 AUG 2050 02:01:18 GMT":     aug,
		"Thu, 18 Aug 2050 02:01:18 gMT":     aug,
		"sunday, 06-nov-94 08:49:37 gmt":    nov,
		"Sunday, 06-Nov-69 08:49:37 GMT":    nov.AddDate(-25, 0, 0),
		"Sunday, 06-Nov-68 08:49:37 GMT":    nov.AddDate(74, 0, 0),
		"Tue, 19 Jan 2038 14:14:08 GMT":     time.Date(2038, time.January, 19, 14, 14, 8, 0, time.UTC),
		"Fri, 31 Dec 9999 23:59:59 GMT":     time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC),
		"Sat, 29 Feb 2020 00:00:00 GMT":     time.Date(2020, time.February, 29, 0, 0, 0, 0, time.UTC),
	}
	for s, want := range valid {
		if got, ok := rfc9111.ParseDate(s); !ok || !got.Equal(want) || got.Location() != time.UTC {
			t.Errorf("ParseDate(%q) = %v, %v; want %v", s, got, ok, want)
		}
	}
	for _, s := range invalidDates {
		if got, ok := rfc9111.ParseDate(s); ok || !got.IsZero() {
			t.Errorf("ParseDate(%q) = %v, %v; want none", s, got, ok)
		}
	}
}

var invalidDates = []string{
	"", "0", "-1", "GMT", " GMT", ",", ", GMT", "foo", "1994-11-06T08:49:37Z",
	"Thu, 18 Aug 2050 02:01:18 UTC",
	"Thu, 18 Aug 2050 02:01:18 AEST",
	"Thu, 18 Aug 2050 02:01:18 +0000",
	"Thu, 18 Aug 2050 02:01:18GMT",
	"Thu, 18 Aug 2050 02:01:18",
	"Thu, 18 Aug 50 02:01:18 GMT",
	"Thu 18 Aug 2050 02:01:18 GMT",
	"Thu,18 Aug 2050 02:01:18 GMT",
	"Thu, 18  Aug  2050 02:01:18 GMT",
	"Thu, 18 Aug 2050  2:01:18 GMT",
	"Thu,  8 Aug 2050 02:01:18 GMT",
	"Thu, 8 Aug 2050 02:01:18 GMT",
	"Thu, 18-Aug-2050 02:01:18 GMT",
	"Thu, 18 Aug 2050 02.01.18 GMT",
	"Thu, 18 Aug 2050 2:01:18 GMT",
	"Thu, 18 Aug 2050 02:1:18 GMT",
	"Thu, 18 Aug 2050 02:01:18.5 GMT",
	"Thu, 18 Aug 2050 02:01 GMT",
	"Thu, 18 Aug 2050 24:01:18 GMT",
	"Sat, 31 Dec 2016 23:59:60 GMT", // a leap second
	"Thu, 31 Feb 2050 02:01:18 GMT",
	"Thu, 00 Aug 2050 02:01:18 GMT",
	"Thu, 18 Foo 2050 02:01:18 GMT",
	"Xyz, 18 Aug 2050 02:01:18 GMT",
	"Thursday, 18 Aug 2050 02:01:18 GMT",
	"Thu, 18-Aug-50 02:01:18 GMT",
	"Someday, 18-Aug-50 02:01:18 GMT",
	"Thursday, 18-Aug-50 2:01:18 GMT",
	"Thursday, 18-Aug-50 02:01:18 UTC",
	" Thu, 18 Aug 2050 02:01:18 GMT",
	"Thu, 18 Aug 2050 02:01:18 GMT ",
	"Thu, 18 Aug 2050 02:01:18 GMT, Thu, 18 Aug 2050 02:01:18 GMT",
	"Thu Aug 8 02:01:18 2050",
	"Thu Aug  8  2:01:18 2050",
	"Thu Aug  8 02:01:18 GMT 2050",
	"Thu Aug    02:01:18 2050",
	"Thu Aug 18 02:01:18 2050 GMT",
	"Thu Aug 1\u0130 02:01:18 2050",
}

func TestParseAge(t *testing.T) {
	t.Parallel()
	cases := []struct {
		lines []string
		want  time.Duration
		ok    bool
	}{
		{nil, 0, false},
		{[]string{""}, 0, false},
		{[]string{"0"}, 0, true},
		{[]string{"7200"}, 2 * time.Hour, true},
		{[]string{" 7200\t"}, 2 * time.Hour, true},
		{[]string{"007200"}, 2 * time.Hour, true},
		{[]string{"2147483647"}, maxSpan - time.Second, true},
		{[]string{"2147483648"}, maxSpan, true},
		{[]string{"2147483649"}, maxSpan, true},
		{[]string{strings.Repeat("9", 100)}, maxSpan, true},
		{[]string{"7200, 0"}, 2 * time.Hour, true},
		{[]string{"0, 7200"}, 0, true},
		{[]string{"7200", "0"}, 2 * time.Hour, true},
		{[]string{"0", "7200"}, 0, true},
		{[]string{"7200, x"}, 2 * time.Hour, true},
		{[]string{"x, 7200"}, 0, false},
		{[]string{"x", "7200"}, 0, false},
		{[]string{"-7200"}, 0, false},
		{[]string{"+7200"}, 0, false},
		{[]string{"7200.0"}, 0, false},
		{[]string{"7200;foo=bar"}, 0, false},
		{[]string{"99999999999x"}, 0, false},
		{[]string{`"7200"`}, 0, false},
		{[]string{"\u0663"}, 0, false},
	}
	for _, c := range cases {
		if got, ok := rfc9111.ParseAge(c.lines); got != c.want || ok != c.ok {
			t.Errorf("ParseAge(%q) = %v, %v; want %v, %v", c.lines, got, ok, c.want, c.ok)
		}
	}
}

func TestParseRetryAfter(t *testing.T) {
	t.Parallel()
	cases := []struct {
		v    string
		want time.Duration
		ok   bool
	}{
		{"120", 2 * time.Minute, true},
		{" 120 ", 2 * time.Minute, true},
		{"0", 0, true},
		{"2147483649", maxSpan, true},
		{strings.Repeat("9", 100), maxSpan, true},
		{at(time.Minute), time.Minute, true},
		{"Sunday, 01-Mar-26 12:01:00 GMT", time.Minute, true},
		{"Sun Mar  1 12:01:00 2026", time.Minute, true},
		{at(0), 0, true},
		{at(-time.Hour), 0, true},
		{"Fri, 31 Dec 9999 23:59:59 GMT", maxSpan, true},
		{"", 0, false},
		{"-1", 0, false},
		{"1.5", 0, false},
		{"2m", 0, false},
		{"120, 240", 0, false},
		{"tomorrow", 0, false},
	}
	for _, c := range cases {
		if got, ok := rfc9111.ParseRetryAfter(c.v, received); got != c.want || ok != c.ok {
			t.Errorf("ParseRetryAfter(%q) = %v, %v; want %v, %v", c.v, got, ok, c.want, c.ok)
		}
	}
}
