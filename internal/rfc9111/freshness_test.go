package rfc9111_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh/internal/rfc9111"
)

// received is a Sunday; requests in these tests take no time unless they say so.
var received = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

const maxSpan = (1 << 31) * time.Second

// at formats a date that lies d after the response came.
func at(d time.Duration) string {
	return received.Add(d).Format(http.TimeFormat)
}

// header builds a header of names and values by turns. A repeated name adds a line.
func header(nameValues ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(nameValues); i += 2 {
		h.Add(nameValues[i], nameValues[i+1])
	}
	return h
}

func ExampleOf() {
	received := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	h := http.Header{
		"Cache-Control": {"public, max-age=3600"},
		"Date":          {"Sun, 01 Mar 2026 11:55:00 GMT"},
		"Age":           {"600"},
	}
	f := rfc9111.Of(h, received.Add(-2*time.Second), received, false)
	fmt.Println(f.Lifetime, "by", f.Source)
	fmt.Println(f.Age, "old, fresh for another", f.Lifetime-f.Age)
	// Output:
	// 1h0m0s by max-age
	// 10m2s old, fresh for another 49m58s
}

func TestLifetime(t *testing.T) {
	t.Parallel()
	const hour = time.Hour
	cases := []struct {
		name            string
		h               http.Header
		private, shared time.Duration
		privateSource   rfc9111.Source
		sharedSource    rfc9111.Source
	}{
		{"nil header", nil, 0, 0, rfc9111.None, rfc9111.None},
		{"date only", header("Date", at(0)), 0, 0, rfc9111.None, rfc9111.None},
		{"max-age", header("Cache-Control", "max-age=3600"), hour, hour, rfc9111.MaxAge, rfc9111.MaxAge},
		{"max-age before expires", header("Cache-Control", "max-age=3600", "Expires", at(9*hour), "Date", at(0)), hour, hour, rfc9111.MaxAge, rfc9111.MaxAge},
		{"max-age before past expires", header("Cache-Control", "max-age=3600", "Expires", at(-hour), "Date", at(0)), hour, hour, rfc9111.MaxAge, rfc9111.MaxAge},
		{"max-age before bad expires", header("Cache-Control", "max-age=3600", "Expires", "0"), hour, hour, rfc9111.MaxAge, rfc9111.MaxAge},
		{"max-age 0 before expires", header("Cache-Control", "max-age=0", "Expires", at(hour)), 0, 0, rfc9111.MaxAge, rfc9111.MaxAge},
		{"bad max-age before expires", header("Cache-Control", "max-age=x", "Expires", at(hour)), 0, 0, rfc9111.MaxAge, rfc9111.MaxAge},
		{"negative max-age", header("Cache-Control", "max-age=-3600"), 0, 0, rfc9111.MaxAge, rfc9111.MaxAge},
		{"decimal max-age", header("Cache-Control", "max-age=3600.0"), 0, 0, rfc9111.MaxAge, rfc9111.MaxAge},
		{"large max-age", header("Cache-Control", "max-age=99999999999"), maxSpan, maxSpan, rfc9111.MaxAge, rfc9111.MaxAge},
		{"s-maxage", header("Cache-Control", "s-maxage=3600"), 0, hour, rfc9111.None, rfc9111.SMaxAge},
		{"s-maxage longer", header("Cache-Control", "s-maxage=3600, max-age=0"), 0, hour, rfc9111.MaxAge, rfc9111.SMaxAge},
		{"s-maxage shorter", header("Cache-Control", "max-age=3600", "Cache-Control", "s-maxage=0"), hour, 0, rfc9111.MaxAge, rfc9111.SMaxAge},
		{"bad s-maxage", header("Cache-Control", "max-age=3600, s-maxage=1h"), hour, 0, rfc9111.MaxAge, rfc9111.SMaxAge},
		{"expires", header("Expires", at(hour), "Date", at(0)), hour, hour, rfc9111.Expires, rfc9111.Expires},
		{"expires from date", header("Expires", at(hour), "Date", at(-hour)), 2 * hour, 2 * hour, rfc9111.Expires, rfc9111.Expires},
		{"expires without date", header("Expires", at(hour)), hour, hour, rfc9111.Expires, rfc9111.Expires},
		{"expires with bad date", header("Expires", at(hour), "Date", "foo"), hour, hour, rfc9111.Expires, rfc9111.Expires},
		{"expires within blanks", header("Expires", " "+at(hour)+"\t", "Date", " "+at(-hour)), 2 * hour, 2 * hour, rfc9111.Expires, rfc9111.Expires},
		{"expires before date, both ahead", header("Expires", at(hour), "Date", at(2*hour)), 0, 0, rfc9111.Expires, rfc9111.Expires},
		{"expires now", header("Expires", at(0), "Date", at(0)), 0, 0, rfc9111.Expires, rfc9111.Expires},
		{"expires far away", header("Expires", "Fri, 31 Dec 9999 23:59:59 GMT"), maxSpan, maxSpan, rfc9111.Expires, rfc9111.Expires},
		{"expires twice", header("Expires", at(hour), "Expires", at(hour)), 0, 0, rfc9111.Expires, rfc9111.Expires},
		{"expires as a list", header("Expires", at(hour)+", "+at(hour)), 0, 0, rfc9111.Expires, rfc9111.Expires},
		{"expires empty", header("Expires", ""), 0, 0, rfc9111.Expires, rfc9111.Expires},
		{"expires -1", header("Expires", "-1"), 0, 0, rfc9111.Expires, rfc9111.Expires},
		{"no-cache", header("Cache-Control", "max-age=3600, s-maxage=3600, no-cache", "Expires", at(hour)), 0, 0, rfc9111.NoCache, rfc9111.NoCache},
		{"no-store", header("Cache-Control", "max-age=3600, s-maxage=3600, no-store", "Expires", at(hour)), 0, 0, rfc9111.NoStore, rfc9111.NoStore},
		{"no-store and no-cache", header("Cache-Control", "no-cache, no-store"), 0, 0, rfc9111.NoStore, rfc9111.NoStore},
		{"no-store and must-understand", header("Cache-Control", "max-age=3600, no-store, must-understand"), 0, 0, rfc9111.NoStore, rfc9111.NoStore},
		{"qualified no-cache", header("Cache-Control", `max-age=3600, no-cache="Set-Cookie"`), hour, hour, rfc9111.MaxAge, rfc9111.MaxAge},
		{"qualified no-cache without quotes", header("Cache-Control", "max-age=3600, no-cache=Set-Cookie"), 0, 0, rfc9111.NoCache, rfc9111.NoCache},
		{"other directives", header("Cache-Control", "max-age=3600, private, must-revalidate, proxy-revalidate, immutable"), hour, hour, rfc9111.MaxAge, rfc9111.MaxAge},
		{"pragma says nothing", header("Cache-Control", "max-age=3600", "Pragma", "no-cache"), hour, hour, rfc9111.MaxAge, rfc9111.MaxAge},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if f := rfc9111.Of(c.h, received, received, false); f.Lifetime != c.private || f.Source != c.privateSource {
				t.Errorf("private: %v by %v, want %v by %v", f.Lifetime, f.Source, c.private, c.privateSource)
			}
			if f := rfc9111.Of(c.h, received, received, true); f.Lifetime != c.shared || f.Source != c.sharedSource {
				t.Errorf("shared: %v by %v, want %v by %v", f.Lifetime, f.Source, c.shared, c.sharedSource)
			}
		})
	}
}

func TestExpiresCountsFromTheResponse(t *testing.T) {
	t.Parallel()
	f := rfc9111.Of(header("Expires", at(time.Hour)), received.Add(-time.Minute), received, false)
	if want := (rfc9111.Freshness{Lifetime: time.Hour, Age: time.Minute, Source: rfc9111.Expires}); f != want {
		t.Errorf("Of = %+v, want %+v", f, want)
	}
}

func TestInitialAge(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name  string
		h     http.Header
		delay time.Duration
		want  time.Duration
	}{
		{"nothing", nil, 0, 0},
		{"delay only", nil, 3 * time.Second, 3 * time.Second},
		{"negative delay", header("Age", "10"), -time.Hour, 10 * time.Second},
		{"age", header("Age", "10"), 0, 10 * time.Second},
		{"age and delay", header("Age", "10"), 3 * time.Second, 13 * time.Second},
		{"date in the past", header("Date", at(-time.Minute)), 0, time.Minute},
		{"date in the future", header("Date", at(time.Minute)), 0, 0},
		{"delay is no part of the apparent age", header("Date", at(-time.Minute)), 3 * time.Second, time.Minute},
		{"age exceeds date", header("Date", at(-time.Minute), "Age", "61"), 0, 61 * time.Second},
		{"date exceeds age", header("Date", at(-time.Minute), "Age", "59"), 0, time.Minute},
		{"bad date", header("Date", "yesterday", "Age", "59"), 0, 59 * time.Second},
		{"first date counts", header("Date", at(-time.Minute), "Date", at(0)), 0, time.Minute},
		{"bad age", header("Date", at(-time.Minute), "Age", "7200.0"), 0, time.Minute},
		{"date of year 1", header("Date", "Mon, 01 Jan 0001 00:00:00 GMT"), 0, maxSpan},
		{"sum saturates", header("Age", "2147483648"), 1<<63 - 1, maxSpan},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if f := rfc9111.Of(c.h, received.Add(-c.delay), received, false); f.Age != c.want {
				t.Errorf("Age = %v, want %v", f.Age, c.want)
			}
		})
	}
}

// TestTraps holds one row or more for each fault known of the library's own
// freshness calculation, and says what Of makes of the same response.
func TestTraps(t *testing.T) {
	t.Parallel()
	lastModified := at(-100 * time.Hour)
	cases := []struct {
		fault string
		h     http.Header
		want  rfc9111.Freshness
	}{
		{"one bad member voids the field", header("Cache-Control", "max-age=x, no-store"), rfc9111.Freshness{Source: rfc9111.NoStore}},
		{"one bad member voids the field", header("Cache-Control", "no-store, stale-while-revalidate=x"), rfc9111.Freshness{Source: rfc9111.NoStore}},
		{"one bad member voids the field", header("Cache-Control", "public=1, max-age=10"), rfc9111.Freshness{Lifetime: 10 * time.Second, Source: rfc9111.MaxAge}},
		{"one bad member voids the field", header("Cache-Control", "immutable=1, max-age=10"), rfc9111.Freshness{Lifetime: 10 * time.Second, Source: rfc9111.MaxAge}},
		{"one bad member voids the field", header("Cache-Control", "no-store=1"), rfc9111.Freshness{Source: rfc9111.NoStore}},
		{"one bad member voids the field", header("Cache-Control", `max-age=60, x="unterminated`), rfc9111.Freshness{Lifetime: time.Minute, Source: rfc9111.MaxAge}},
		{"one bad member voids the field", header("Cache-Control", `max-age=60, x="unterminated, no-cache`), rfc9111.Freshness{Source: rfc9111.NoCache}},
		{"unquoted field list swallows the rest", header("Cache-Control", "no-cache=Set-Cookie,max-age=60"), rfc9111.Freshness{Source: rfc9111.NoCache}},
		{"unquoted field list swallows the rest", header("Cache-Control", "private=x,no-store"), rfc9111.Freshness{Source: rfc9111.NoStore}},
		{"unquoted field list swallows the rest", header("Cache-Control", "private=x,max-age=60"), rfc9111.Freshness{Lifetime: time.Minute, Source: rfc9111.MaxAge}},
		{"only the first line is read", header("Cache-Control", "max-age=60", "Cache-Control", "no-store"), rfc9111.Freshness{Source: rfc9111.NoStore}},
		{"only the first line is read", header("Cache-Control", `x="open`, "Cache-Control", `no-store, y="shut"`), rfc9111.Freshness{Source: rfc9111.NoStore}},
		{"invalid expires falls to the heuristic", header("Expires", "0", "Last-Modified", lastModified), rfc9111.Freshness{Source: rfc9111.Expires}},
		{"future last-modified", header("Last-Modified", at(time.Hour)), rfc9111.Freshness{}},
		{"age ignored", header("Cache-Control", "max-age=60", "Age", "50"), rfc9111.Freshness{Lifetime: time.Minute, Age: 50 * time.Second, Source: rfc9111.MaxAge}},
		{"date ignored", header("Cache-Control", "max-age=60", "Date", at(-50*time.Second)), rfc9111.Freshness{Lifetime: time.Minute, Age: 50 * time.Second, Source: rfc9111.MaxAge}},
		{"no-cache gives no reason", header("Cache-Control", "no-cache, max-age=60"), rfc9111.Freshness{Source: rfc9111.NoCache}},
		{"heuristic whatever the status", header("Last-Modified", lastModified), rfc9111.Freshness{}},
		{"private cache minds authorization", header("Cache-Control", "private, max-age=60", "Authorization", "x"), rfc9111.Freshness{Lifetime: time.Minute, Source: rfc9111.MaxAge}},
		{"an absent age looks present", header("Cache-Control", "stale-if-error=5"), rfc9111.Freshness{}},
		{"last duplicate wins", header("Cache-Control", "max-age=0, max-age=60"), rfc9111.Freshness{Source: rfc9111.MaxAge}},
		{"last duplicate wins", header("Cache-Control", "max-age=60, max-age=0"), rfc9111.Freshness{Source: rfc9111.MaxAge}},
		{"last duplicate wins", header("Cache-Control", "max-age=60", "Cache-Control", "max-age=30"), rfc9111.Freshness{Lifetime: 30 * time.Second, Source: rfc9111.MaxAge}},
		{"last duplicate wins", header("Cache-Control", "max-age=60, max-age=x"), rfc9111.Freshness{Source: rfc9111.MaxAge}},
		{"junk date fails the call", header("Cache-Control", "max-age=60", "Date", "junk"), rfc9111.Freshness{Lifetime: time.Minute, Source: rfc9111.MaxAge}},
		{"junk last-modified fails the call", header("Cache-Control", "max-age=60", "Last-Modified", "junk"), rfc9111.Freshness{Lifetime: time.Minute, Source: rfc9111.MaxAge}},
		{"unknown members and warnings", header("Cache-Control", "query, community=\"UCI\", max-age=60", "Warning", `110 - "stale"`), rfc9111.Freshness{Lifetime: time.Minute, Source: rfc9111.MaxAge}},
		{"digits that overflow hide garbage", header("Cache-Control", "max-age=99999999999x"), rfc9111.Freshness{Source: rfc9111.MaxAge}},
		{"digits that overflow hide garbage", header("Cache-Control", `max-age="4294967296, 1"`), rfc9111.Freshness{Source: rfc9111.MaxAge}},
	}
	for _, c := range cases {
		if got := rfc9111.Of(c.h, received, received, false); got != c.want {
			t.Errorf("%s: Of(%v) = %+v, want %+v", c.fault, c.h, got, c.want)
		}
	}
}

// TestTrapsOfDirectives holds the known faults that show in the directives and not
// in the lifetime.
func TestTrapsOfDirectives(t *testing.T) {
	t.Parallel()
	d := rfc9111.ParseDirectives([]string{"max-age=60, must-understand, stale-while-revalidate=99999999999x"})
	if !d.MustUnderstand || d.NoStore {
		t.Errorf("must-understand is lost among the extensions: %+v", d)
	}
	if d.StaleIfError != 0 || d.StaleWhileRevalidate != 0 {
		t.Errorf("an absent or bad stale window is not 0: %+v", d)
	}
	if d.Private || d.Public || d.MustRevalidate || d.HasSMaxAge {
		t.Errorf("something bears on Authorization that was not sent: %+v", d)
	}
	for _, name := range []string{"no-store", "no-cache", "private", "must-revalidate", "proxy-revalidate"} {
		bare, valued := rfc9111.ParseDirectives([]string{name}), rfc9111.ParseDirectives([]string{name + "=1"})
		if bare.NoStore != valued.NoStore || bare.NoCache != valued.NoCache || bare.Private != valued.Private ||
			bare.MustRevalidate != valued.MustRevalidate || bare.ProxyRevalidate != valued.ProxyRevalidate {
			t.Errorf("%s=1 is read as %+v, want %+v", name, valued, bare)
		}
	}
}

func TestSourceString(t *testing.T) {
	t.Parallel()
	want := map[rfc9111.Source]string{
		rfc9111.None: "none", rfc9111.MaxAge: "max-age", rfc9111.SMaxAge: "s-maxage", rfc9111.Expires: "expires",
		rfc9111.NoCache: "no-cache", rfc9111.NoStore: "no-store", rfc9111.Source(99): "none",
	}
	for source, text := range want {
		if got := source.String(); got != text {
			t.Errorf("Source(%d) = %q, want %q", source, got, text)
		}
	}
}

func TestHeaderIsNotModified(t *testing.T) {
	t.Parallel()
	h := header("Cache-Control", `private="b, a", x="`, "Cache-Control", "max-age=60", "Expires", at(0), "Date", at(0), "Age", "1, 2")
	before := fmt.Sprint(h)
	rfc9111.Of(h, received, received, true)
	if after := fmt.Sprint(h); after != before {
		t.Errorf("header became %s, was %s", after, before)
	}
}

func TestOfAllocations(t *testing.T) {
	cases := []struct {
		h    http.Header
		most float64
	}{
		{header("Date", at(-time.Minute), "Expires", at(time.Hour), "Age", "5"), 0},
		{header("Cache-Control", "max-age=60", "Date", at(0)), 1},
		{header("Cache-Control", "public, max-age=60, stale-while-revalidate=30"), 3},
	}
	for _, c := range cases {
		got := testing.AllocsPerRun(100, func() { rfc9111.Of(c.h, received, received, false) })
		if got > c.most {
			t.Errorf("Of(%v) allocates %v times, want at most %v", c.h, got, c.most)
		}
	}
}

func BenchmarkOf(b *testing.B) {
	for name, h := range map[string]http.Header{
		"none":    header("Date", at(0)),
		"expires": header("Date", at(0), "Expires", at(time.Hour)),
		"max-age": header("Date", at(0), "Cache-Control", "max-age=60"),
		"four":    header("Date", at(0), "Cache-Control", "public, max-age=60, immutable, stale-if-error=5"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				rfc9111.Of(h, received, received, false)
			}
		})
	}
}
