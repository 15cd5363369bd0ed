package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const secret = "s3cret-canary"

// site is a server with one page for each thing that get can meet.
func site(t *testing.T) (base string, hits *sync.Map) {
	t.Helper()
	hits = new(sync.Map)
	var count atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/text", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "text\n") })
	mux.HandleFunc("/byte", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "1") })
	mux.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) { // those of the query
		for name, values := range r.URL.Query() {
			w.Header().Set(name, values[0])
		}
		fmt.Fprint(w, "one\n")
	})
	mux.HandleFunc("/busy", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", r.FormValue("after"))
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	mux.HandleFunc("/binary", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte{0, 0xff, '\r', '\n', 0x1b}) })
	mux.HandleFunc("/empty", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/etag", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=7200")
		w.Header().Set("Age", "600")
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "", time.Unix(1e9, 0), strings.NewReader("tagged"))
	})
	mux.HandleFunc("/changing", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "answer %d", count.Add(1)) })
	mux.HandleFunc("/once", func(w http.ResponseWriter, _ *http.Request) {
		if n, _ := hits.Load("/once"); n != int64(1) {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprint(w, "once")
	})
	mux.HandleFunc("/gzip", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		fmt.Fprint(z, "unpacked")
		_ = z.Close()
	})
	mux.HandleFunc("/header", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s|%s", r.Header.Get("X-Api-Key"), strings.Join(r.Header.Values("X-Two"), "+"))
	})
	mux.Handle("/moved", http.RedirectHandler("/text", http.StatusFound))
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "half of it")
	})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := hits.LoadOrStore(r.URL.Path, int64(0))
		hits.Store(r.URL.Path, n.(int64)+1)
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, hits
}

func TestGetPrints(t *testing.T) {
	base, hits := site(t)
	for _, tt := range []struct {
		name, args, want string
	}{
		{"text as it is", "URL/text", "text\n"},
		{"bytes as they are", "URL/binary", "\x00\xff\r\n\x1b"},
		{"nothing", "URL/empty", ""},
		{"decoded", "URL/gzip", "unpacked"},
		{"after a redirect", "URL/moved", "text\n"},
		{"several in order", "URL/etag URL/text URL/gzip", "taggedtext\nunpacked"},
		{"one twice, fetched once", "URL/once URL/text URL/once", "oncetext\nonce"},
		{"a query", "URL/text?a=b&c", "text\n"},
		{"just within the limit", "--max-bytes 5 URL/text", "text\n"},
		{"after the end of flags", "-- URL/text", "text\n"},
		{"with headers", "-H X-Api-Key:abc URL/header -H X-Two:1 -H x-two:2", "abc|1+2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := command(t.Context(), strings.Fields("get "+strings.ReplaceAll(tt.args, "URL", base))...)
			if want := (result{exitOK, tt.want, ""}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	if n, _ := hits.Load("/once"); n != int64(1) {
		t.Errorf("/once was fetched %v times", n)
	}
}

// TestGetFails: a failure is told in one line that holds no secret, and exits with 1.
func TestGetFails(t *testing.T) {
	base, _ := site(t)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := "http://" + gone.Addr().String()
	_ = gone.Close()
	for _, tt := range []struct {
		name, args, stdout, stderr string
	}{
		{"not found", "URL/none?key=" + secret, "", `everfresh: fetch "URL/none\?key=…": unexpected status 404 Not Found`},
		{"with a secret header", "URL/none -H X-Api-Key:" + secret, "", `everfresh: fetch "URL/none": unexpected status 404 Not Found`},
		{"too large", "--max-bytes 4 URL/text", "", `everfresh: read "URL/text": body too large`},
		{"too slow", "--timeout 50ms URL/hang", "", `everfresh: fetch "URL/hang": no answer within 50ms: context deadline exceeded`},
		{"cut short", "URL/cut", "", `everfresh: read "URL/cut": .*`},
		{"no listener", refused + "/?key=" + secret, "", `everfresh: fetch "` + refused + `/\?key=…": .*refused`},
		{
			"some of them", "URL/none URL/text " + refused + " URL/gzip", "text\nunpacked",
			`everfresh: fetch "URL/none": unexpected status 404 Not Found` + "\n" + `everfresh: fetch "` + refused + `": .*refused`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := command(t.Context(), strings.Fields("get "+strings.ReplaceAll(tt.args, "URL", base))...)
			if got.code != exitFailure || got.stdout != tt.stdout {
				t.Errorf("got %+v", got)
			}
			want := "^" + strings.ReplaceAll(tt.stderr, "URL/", base+"/") + "\n$"
			if !regexp.MustCompile(want).MatchString(got.stderr) {
				t.Errorf("stderr %q, want %s", got.stderr, want)
			}
			if strings.Contains(got.stderr, secret) {
				t.Error("a secret is shown")
			}
		})
	}
}

// TestGetHeaderUsage: a header that cannot be sent is refused, and not shown.
func TestGetHeaderUsage(t *testing.T) {
	for field, want := range map[string]string{
		secret:                      "-H wants 'Name: value'",
		":" + secret:                "-H wants 'Name: value'",
		"Host: " + secret:           "-H cannot set Host, which is that of the URL",
		" host :" + secret:          "-H cannot set Host, which is that of the URL",
		"Bad Name: " + secret:       "-H: a field has a name that cannot be sent",
		secret + "(y): z":           "-H: a field has a name that cannot be sent",
		"X-Key: " + secret + "\x00": "-H: a field has a value that cannot be sent",
	} {
		want = "everfresh: get: " + want + "\nSee \"everfresh help get\".\n"
		got := command(t.Context(), "get", "-H", field, "-H", "X-Good: one", "http://a.test/")
		if got != (result{exitUsage, "", want}) {
			t.Errorf("%s: %+v", field, got)
		}
	}
}

// TestGetURLUsage: what is no URL is refused before anything is fetched, and its secrets
// are not shown.
func TestGetURLUsage(t *testing.T) {
	base, hits := site(t)
	const notWeb = " is not an http or https URL; want one like https://host/path"
	for rawURL, want := range map[string]string{
		"foo":                                `"foo"` + notWeb,
		"127.0.0.1:8765/x":                   `"127.0.0.1:8765/x"` + notWeb,
		"a.test/keys?key=" + secret:          `"a.test/keys?key=…"` + notWeb,
		"user:" + secret + "@a.test/":        `"a.test/"` + notWeb,
		"file:///etc/passwd":                 `"file:///etc/passwd"` + notWeb,
		"http://user:" + secret + "@a.test/": `"http://a.test/": userinfo is not allowed`,
		"HTTPS://":                           `"HTTPS://": not absolute, or without a host`,
		"http://a.test:99999/?key=" + secret: `"http://a.test:99999/?key=…": invalid port`,
	} {
		want = "everfresh: get: " + want + "\nSee \"everfresh help get\".\n"
		got := command(t.Context(), "get", base+"/text", rawURL)
		if got != (result{exitUsage, "", want}) {
			t.Errorf("%s: %+v, want %q", rawURL, got, want)
		}
	}
	if _, ok := hits.Load("/text"); ok {
		t.Error("something was fetched")
	}
}

// TestGetOnATerminal: payloads that end within a line are kept apart.
func TestGetOnATerminal(t *testing.T) {
	base, _ := site(t)
	for args, want := range map[string]string{
		"URL/etag URL/text URL/gzip":  "tagged\ntext\nunpacked",
		"URL/text URL/etag":           "text\ntagged",
		"URL/etag URL/empty URL/text": "tagged\ntext\n",
	} {
		var out bytes.Buffer
		std := console{stdout: &out, stderr: io.Discard, env: noEnv}
		g, err := parseGet(strings.Fields(strings.ReplaceAll(args, "URL", base)), std)
		if err != nil || g.tty {
			t.Fatalf("tty %t, %v", g.tty, err)
		}
		g.tty = true
		if err := g.run(t.Context()); err != nil || out.String() != want {
			t.Errorf("%s: got %q, %v", args, out.String(), err)
		}
	}
}

func TestGetFile(t *testing.T) {
	base, _ := site(t)
	file := filepath.Join(t.TempDir(), "out")
	if got := command(t.Context(), "get", base+"/text", "-o", file, base+"/gzip"); got != (result{}) {
		t.Fatalf("%+v", got)
	}
	// A failure leaves what is there.
	if got := command(t.Context(), "get", "-o", file, base+"/etag", base+"/none"); got.code != exitFailure || got.stdout != "" {
		t.Errorf("%+v", got)
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != "text\nunpacked" {
		t.Errorf("file holds %q, %v", got, err)
	}
	if got := command(t.Context(), "get", "-o", filepath.Join(file, "below"), base+"/text"); got.code != exitFailure ||
		!strings.HasPrefix(got.stderr, "everfresh: cannot write: open ") {
		t.Errorf("%+v", got)
	}
}

func TestGetOutputFails(t *testing.T) {
	base, _ := site(t)
	var stderr bytes.Buffer
	std := console{stdout: &fullWriter{room: 6}, stderr: &stderr, env: noEnv}
	if code := run(t.Context(), []string{"get", base + "/text", base + "/etag"}, std); code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	if want := "everfresh: cannot write: no space left\n"; stderr.String() != want {
		t.Errorf("stderr %q", stderr.String())
	}
}

// TestGetInterrupted: Ctrl-C ends a download at once.
func TestGetInterrupted(t *testing.T) {
	base, hits := site(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var waiting sync.WaitGroup
	waiting.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if _, ok := hits.Load("/hang"); ok || ctx.Err() != nil {
				cancel()
				return
			}
		}
	})
	got := command(ctx, "get", "--timeout", "1m", base+"/hang")
	cancel()
	waiting.Wait()
	if want := (result{exitInterrupted, "", "everfresh: interrupted\n"}); got != want {
		t.Errorf("%+v", got)
	}
	if got := command(ctx, "get", base+"/text"); got != (result{exitInterrupted, "", "everfresh: interrupted\n"}) {
		t.Errorf("interrupted already: %+v", got)
	}
}

// explained runs get -v and returns the fields of what it tells.
func explained(t *testing.T, payload string, args ...string) map[string]string {
	t.Helper()
	got := command(t.Context(), append([]string{"get", "-v"}, args...)...)
	if got.code != exitOK || got.stdout != payload {
		t.Fatalf("%+v", got)
	}
	lines := strings.Split(strings.TrimSuffix(got.stderr, "\n"), "\n")
	fields := map[string]string{"": lines[0]}
	for _, l := range lines[1:] {
		name, value, ok := strings.Cut(strings.TrimPrefix(l, "  "), ":")
		if !ok {
			t.Errorf("line %q", l)
		}
		fields[name] = strings.TrimSpace(value)
	}
	return fields
}

// expect compares the fields of an explanation with regular expressions.
func expect(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name, pattern := range want {
		if !regexp.MustCompile("^(" + pattern + ")$").MatchString(got[name]) {
			t.Errorf("%s is %q, want %s", name, got[name], pattern)
		}
	}
}

func TestGetExplains(t *testing.T) {
	base, _ := site(t)
	for _, tt := range []struct {
		path, payload string
		want          map[string]string
	}{
		{"/etag?key=" + secret, "tagged", map[string]string{
			"": base + `/etag\?key=…`, "status": "200 OK, 6 bytes", "validators": "ETag, Last-Modified",
			"decided by": "max-age", "lifetime": "2h0m0s", "age": "10m[01]s",
			"next": `in 1h(50m0|49m5\d)s, at \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S+`, "revalidated": "304",
		}},
		{"/text", "text\n", map[string]string{
			"status": "200 OK, 5 bytes", "validators": "none", "decided by": "no header of the origin; the minimum of 15m0s applies",
			"lifetime": "0s", "age": "[01]s", "next": "in (15m0|14m59)s, at .*", "revalidated": "200, same bytes",
		}},
		{"/headers?Cache-Control=max-age=31536000", "one\n", map[string]string{
			"decided by": "max-age, cut to the maximum", "lifetime": "365d", "next": "in 30d, at .*",
		}},
		{"/headers?Cache-Control=max-age=soon", "one\n", map[string]string{
			"decided by": "max-age is malformed; the minimum of 15m0s applies",
		}},
		{"/headers?Cache-Control=max-age=60", "one\n", map[string]string{"decided by": "max-age, raised to the minimum"}},
		{"/headers?Cache-Control=no-store", "one\n", map[string]string{"decided by": "no-store, raised to the minimum"}},
		{"/byte", "1", map[string]string{"status": "200 OK, 1 byte"}},
		{"/changing", "answer 1", map[string]string{"revalidated": "changed"}},
		{"/once", "once", map[string]string{
			"status": "200 OK, 4 bytes", "revalidated": "failed: unexpected status 500 Internal Server Error",
		}},
		{"/gzip", "unpacked", map[string]string{"status": `200 OK, 8 bytes \(sent as gzip\)`}},
		{"/moved", "text\n", map[string]string{"": base + "/moved", "status": "200 OK, 5 bytes"}},
	} {
		t.Run(tt.path, func(t *testing.T) {
			expect(t, explained(t, tt.payload, base+tt.path), tt.want)
		})
	}
}

// TestGetExplainsFailures: what fails is tried again, and -v says when.
func TestGetExplainsFailures(t *testing.T) {
	base, _ := site(t)
	for path, want := range map[string]string{
		"/none":             `next try:    in 2\d0ms \(back-off\)`,
		"/busy?after=120":   `next try:    in (120|119\.\d)?(2m0)?s \(Retry-After\)`,
		"/busy?after=0":     `next try:    in 2\d0ms \(back-off\)`,
		"/busy?after=later": `next try:    in 2\d0ms \(back-off\)`,
	} {
		got := command(t.Context(), "get", "-v", base+path)
		shown, _, query := strings.Cut(base+path, "=")
		if query {
			shown += "=…"
		}
		expr := "^" + regexp.QuoteMeta(shown) + "\n  " + want + "\neverfresh: fetch .*\n$"
		if got.code != exitFailure || !regexp.MustCompile(expr).MatchString(got.stderr) {
			t.Errorf("%s: %+v, want %s", path, got, expr)
		}
	}
}

func TestLong(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 250 * time.Millisecond: "250ms", 1500 * time.Millisecond: "2s", 15 * time.Minute: "15m0s",
		-3 * time.Second: "-3s", 47*time.Hour + time.Minute: "47h1m0s", 48 * time.Hour: "2d",
		30*24*time.Hour - time.Second: "30d", 8760 * time.Hour: "365d", 53*time.Hour + time.Minute: "2d5h", -53 * time.Hour: "-2d5h",
	} {
		if got := long(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

// TestGetUnframed: a body that ends with its connection is printed, with a warning.
func TestGetUnframed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			_, _ = io.WriteString(conn, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nall there is")
			_ = conn.Close()
		}
	})
	defer serving.Wait()
	defer l.Close()
	expect(t, explained(t, "all there is", "http://"+l.Addr().String()), map[string]string{
		"status":      "200 OK, 12 bytes; the origin does not mark its end: a cache wants WithLenientBody",
		"revalidated": "200, same bytes",
	})
}
