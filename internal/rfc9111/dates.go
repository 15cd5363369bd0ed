package rfc9111

import (
	"strings"
	"time"
)

// maxSpan is the longest duration that this package returns.
const maxSpan = maxSeconds * time.Second

// ParseDate reads an HTTP-date, RFC 9110, section 5.6.7, in any of its three
// formats:
//
//	Sun, 06 Nov 1994 08:49:37 GMT     IMF-fixdate
//	Sunday, 06-Nov-94 08:49:37 GMT    RFC 850
//	Sun Nov  6 08:49:37 1994          asctime
//
// It reports false for everything else, such as a single-digit hour, two spaces,
// another zone, a leap second, or blanks around the date. Letter case is ignored. The
// day of the week must be valid, but need not match the date. The result is in UTC.
//
// A two-digit year is between 1969 and 2068. RFC 9110 interprets it relative to the
// present instead, which needs a clock; years for which the two differ are in the past
// here, and therefore stale.
func ParseDate(s string) (time.Time, bool) {
	comma := strings.IndexByte(s, ',')
	if comma < 0 {
		return parseShape(s, 0, "aaa aaa _9 99:99:99 9999", time.ANSIC)
	}
	end := max(len(s)-len(" GMT"), comma)
	if !strings.EqualFold(s[end:], " GMT") {
		return time.Time{}, false
	}
	s = s[:end]
	if comma == len("Sun") {
		return parseFixdate(s)
	}
	return parseShape(s, comma, ", 99-aaa-99 99:99:99", "Monday, 02-Jan-06 15:04:05")
}

const (
	weekdays = "SunMonTueWedThuFriSat"
	months   = "JanFebMarAprMayJunJulAugSepOctNovDec"
)

// parseFixdate parses an IMF-fixdate without its zone. Nearly every Date has this format,
// and time.Parse takes several times as long.
func parseFixdate(s string) (time.Time, bool) {
	if !hasShape(s, "aaa, 99 aaa 9999 99:99:99") || nameIndex(weekdays, s[:3]) < 0 {
		return time.Time{}, false
	}
	month := nameIndex(months, s[8:11])
	day, year := number(s[5:7]), number(s[12:16])
	hour, minute, second := number(s[17:19]), number(s[20:22]), number(s[23:25])
	if month < 0 || hour > 23 || minute > 59 || second > 59 {
		return time.Time{}, false
	}
	t := time.Date(year, time.Month(month+1), day, hour, minute, second, 0, time.UTC)
	if t.Day() != day { // no such day
		return time.Time{}, false
	}
	return t, true
}

// nameIndex returns which of the three-letter names name is, in any case, or -1.
func nameIndex(names, name string) int {
	const toLower = 0x20
	for i := 0; i < len(names); i += 3 {
		if names[i]|toLower == name[0]|toLower && strings.EqualFold(names[i:i+3], name) {
			return i / 3
		}
	}
	return -1
}

// number returns the value of a string of digits.
func number(digits string) int {
	n := 0
	for i := range len(digits) {
		n = 10*n + int(digits[i]-'0')
	}
	return n
}

// parseShape parses s with layout if s[from:] has the given shape. On its own,
// time.Parse accepts deviations from the layout: missing digits, more blanks,
// fractions of a second.
func parseShape(s string, from int, shape, layout string) (time.Time, bool) {
	if !hasShape(s[from:], shape) {
		return time.Time{}, false
	}
	t, err := time.Parse(layout, s)
	return t, err == nil
}

// hasShape compares s with shape byte by byte: 'a' stands for a letter, '9' for a
// digit, '_' for a digit or a blank, and any other byte for itself.
func hasShape(s, shape string) bool {
	if len(s) != len(shape) {
		return false
	}
	for i := range len(s) {
		if !fits(s[i], shape[i]) {
			return false
		}
	}
	return true
}

func fits(c, shape byte) bool {
	switch shape {
	case 'a':
		return isLetter(c)
	case '9':
		return isDigit(c)
	case '_':
		return isDigit(c) || c == ' '
	default:
		return c == shape
	}
}

// ParseAge reads the lines of an Age field, RFC 9111, section 5.1, as in h["Age"].
// The first member of the first line counts. ParseAge reports false if it is not
// a number of seconds in digits only, or if there are no lines: such a field is
// ignored. Ages above 2^31 seconds become 2^31 seconds.
func ParseAge(lines []string) (time.Duration, bool) {
	if len(lines) == 0 {
		return 0, false
	}
	first, _, _ := strings.Cut(lines[0], ",")
	n, ok := deltaSeconds(trimOWS(first))
	return time.Duration(n) * time.Second, ok
}

// ParseRetryAfter reads the value of a Retry-After field, RFC 9110, section
// 10.2.3: a number of seconds, or a date, of which it returns the distance from
// now. The result is 0 for a date in the past and at most 2^31 seconds. It reports
// false if v is neither.
func ParseRetryAfter(v string, now time.Time) (time.Duration, bool) {
	v = trimOWS(v)
	if n, ok := deltaSeconds(v); ok {
		return time.Duration(n) * time.Second, true
	}
	t, ok := ParseDate(v)
	if !ok {
		return 0, false
	}
	return span(t.Sub(now)), true
}

// span limits d to the range from 0 to maxSpan.
func span(d time.Duration) time.Duration {
	return min(max(d, 0), maxSpan)
}
