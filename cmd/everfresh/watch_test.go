package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// watchOrigin answers 304 where it can, but 503 at /bad. It counts its requests.
func watchOrigin(t *testing.T) (base string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.URL.Path == "/bad" {
			http.Error(w, "out of order", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Cache-Control", "max-age=1")
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("hello "+r.Header.Get("X-Api-Key")))
	}))
	t.Cleanup(srv.Close)
	return srv.URL, requests
}

// watchFor runs the command until its output matches all of lines, and interrupts it.
func watchFor(t *testing.T, lines []string, args ...string) result {
	t.Helper()
	var stdout, stderr lockedBuffer
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, args, console{stdout: &stdout, stderr: &stderr, env: noEnv}) }()
	for _, want := range lines {
		expr := regexp.MustCompile(want)
		until(t, want, func() bool { return expr.MatchString(stdout.String()) })
	}
	cancel()
	return result{<-ended, stdout.String(), stderr.String()}
}

// TestWatchFor: a watch ends by itself when its time is over.
func TestWatchFor(t *testing.T) {
	base, _ := watchOrigin(t)
	got := command(t.Context(), "watch", "--for", "50ms", base+"/a")
	if got.code != exitOK || got.stderr != "" || !strings.Contains(got.stdout, " of 1 resource: ") {
		t.Errorf("%+v", got)
	}
}

// TestWatchInAPipe runs the command as a user does, without a terminal.
func TestWatchInAPipe(t *testing.T) {
	base, _ := watchOrigin(t)
	got := watchFor(t, []string{
		`(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z  ` + base + `/a +fetched    200      19 B  +[\d.]+(µs|ms|s)  next in 0\.\ds$`,
		`(?m)  ` + base + `/a\?k=…  unchanged  304       0 B  .*  next in 0\.1s$`,
		`(?m)  ` + base + `/bad +failed     503         -  .*  next in \d\.\ds  unexpected status 503 Service Unavailable$`,
	}, "watch", "--every", "100ms", "-H", "X-Api-Key: "+secret, base+"/a", base+"/a?k="+secret, base+"/a", base+"/bad")
	if got.code != exitOK || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	for _, want := range []string{
		`(?m)^\d+\.\ds: \d+ refreshes of 3 resources: 2 brought a new value, \d+ found it unchanged, [1-9]\d* failed$`,
		`\n\d+ 304s, 38 B, half started within .* of their time, 99 % within .*, all within .*\n$`,
	} {
		if !regexp.MustCompile(want).MatchString(got.stdout) {
			t.Errorf("no %s in\n%s", want, got.stdout)
		}
	}
	if strings.ContainsAny(got.stdout, "\x1b\r") || strings.Contains(got.stdout, secret) {
		t.Errorf("escape codes or a secret in\n%q", got.stdout)
	}
}

// TestWatchInterrupted: an interrupt ends a watch in order, before or after its start.
func TestWatchInterrupted(t *testing.T) {
	base, requests := watchOrigin(t)
	for _, args := range []string{"watch " + base + "/a", "watch -n 3 " + base + "/{}"} {
		ctx, cancel := context.WithCancel(t.Context())
		seen := requests.Load()
		go func() {
			defer cancel()
			for deadline := time.Now().Add(10 * time.Second); requests.Load() == seen && time.Now().Before(deadline); {
				<-time.After(time.Millisecond)
			}
		}()
		got := command(ctx, strings.Fields(args)...)
		if got.code != exitOK || !strings.Contains(got.stdout, "brought a new value") {
			t.Errorf("%s: %+v", args, got)
		}
		if got = command(ctx, strings.Fields(args)...); got.code != exitOK || !strings.Contains(got.stdout, "0 refreshes of ") {
			t.Errorf("%s, interrupted already: %+v", args, got)
		}
	}
}

// TestWatchCrowd watches 2000 resources and expects none to be forgotten.
func TestWatchCrowd(t *testing.T) {
	base, requests := watchOrigin(t)
	got := watchFor(t, []string{
		`(?m)^ +\d+\.\ds  registered 2000  ready 2000  fetching \d+  failing 0  fetches \d+/s  bytes .*/s  304s [1-9]\d{3,}` +
			`  errors 0  late p50 .* p99 .* max .*  heap .*  goroutines \d+  lost 0$`,
	}, "watch", "-n", "2000", "--every", "1s", base+"/{}?k="+secret+"{}")
	if got.code != exitOK || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	for _, want := range []string{
		`(?m)^ HOW LATE REFRESHES START$`, `(?m)^ +<\d+m?s +\d+ +[\d.]+%  #+$`,
		`refreshes of 2000 resources: 2000 brought a new value, \d+ found it unchanged, 0 failed\n`,
	} {
		if !regexp.MustCompile(want).MatchString(got.stdout) {
			t.Errorf("no %s in\n%s", want, got.stdout)
		}
	}
	if n := requests.Load(); n < 3000 {
		t.Errorf("%d requests", n)
	}
	if strings.ContainsAny(got.stdout, "\x1b\r") || strings.Contains(got.stdout, secret) {
		t.Errorf("escape codes or a secret in\n%q", got.stdout)
	}
}

func TestWatchUsage(t *testing.T) {
	const from1 = "-n wants a number from 1 to 100000000"
	for args, want := range map[string]string{
		"":                                     "no URL",
		"a.test/keys":                          `"a.test/keys" is not an http or https URL; want one like https://host/path`,
		"http://a.test/ file:///etc/passwd":    `"file:///etc/passwd" is not an http or https URL; want one like https://host/path`,
		"http://u:" + secret + "@a.test/":      `"http://a.test/": `,
		"-n 3":                                 "-n wants one URL pattern",
		"-n 3 http://a.test/{} http://b.test/": "-n wants one URL pattern",
		"-n 3 http://a.test/%d":                "-n wants {} in the URL pattern",
		"-n 0 http://a.test/{}":                from1,
		"-n -1 http://a.test/{}":               from1,
		"-n many http://a.test/{}":             from1,
		"-n 100000001 http://a.test/{}":        from1,
		"-n 3 {}://a.test/":                    `"(unparsable URL)" is not an http or https URL; want one like https://host/path`,
		"-n 3 http://a.test:6553{}7/":          `"http://a.test:655307/": invalid port`,
		"--for -1s http://a.test/":             "--for is not positive",
		"--for 0 http://a.test/":               "--for is not positive",
		"--every 9ms http://a.test/":           "--every is below 10ms",
		"--every -1s http://a.test/":           "--every is below 10ms",
		"--min 0s http://a.test/":              "--min is below 10ms",
		"--per-host 0 http://a.test/":          "--per-host is not positive",
		"-H " + secret + " http://a.test/":     "-H wants 'Name: value'\n",
		"--fast http://a.test/":                "unknown flag --fast",
	} {
		got := command(t.Context(), append([]string{"watch"}, strings.Fields(args)...)...)
		if got.code != exitUsage || got.stdout != "" || !strings.HasPrefix(got.stderr, "everfresh: watch: "+want) ||
			!strings.HasSuffix(got.stderr, "\nSee \"everfresh help watch\".\n") {
			t.Errorf("%s: %+v, want %q", args, got, want)
		}
		if strings.Contains(got.stderr, secret) {
			t.Errorf("%s: a secret is shown", args)
		}
	}
}

func TestExpand(t *testing.T) {
	for pattern, want := range map[string]string{
		"http://h{}.test/%d0/{}?x={}": "http://h12.test/%d0/12?x=12",
		"http://a.test/":              "http://a.test/",
	} {
		if got := expand(pattern, 12); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got, want := shownPattern("http://h{}.test/p/{}?k="+secret+"{}"), "http://h{}.test/p/{}?k=…"; got != want {
		t.Errorf("shown as %s, want %s", got, want)
	}
}

// A lockedBuffer may be read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// until waits for a condition that another goroutine brings about.
func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !met(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// TestWatchResized: a live table is laid out again at once when the window changes, and
// its last one stays.
func TestWatchResized(t *testing.T) {
	base, _ := watchOrigin(t)
	for _, args := range []string{"-n 5 " + base + "/{}", base + "/a " + base + "/bad"} {
		var out lockedBuffer
		w, err := parseWatch(strings.Fields("--no-color "+args), console{stdout: &out, stderr: io.Discard, env: noEnv})
		if err != nil {
			t.Fatal(err)
		}
		var width atomic.Int64
		width.Store(100)
		resized := make(chan os.Signal)
		stopped := false
		w.term.live = true
		w.term.size = func() (int, int) { return int(width.Load()), 30 }
		w.term.resized = func() (<-chan os.Signal, func()) { return resized, func() { stopped = true } }
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- w.run(ctx) }()
		until(t, "a frame", func() bool { return strings.Contains(out.String(), cursorHome) })
		width.Store(20)
		select {
		case resized <- os.Interrupt: // any signal does
		case <-time.After(10 * time.Second):
			t.Fatal("a resize is not handled")
		}
		until(t, "a narrow frame", func() bool {
			frames := strings.Split(out.String(), cursorHome)
			last := frames[len(frames)-1]
			return strings.HasSuffix(last, clearBelow) && narrow(last, 20)
		})
		cancel()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		got := out.String()
		_, after, left := strings.Cut(got, leaveScreen)
		if !stopped || !left || !strings.Contains(after, "everfresh watch") || !strings.Contains(after, "brought a new value") {
			t.Errorf("%s: stopped %t, after the end %q", args, stopped, after)
		}
		if found := coloured.FindString(got); found != "" {
			t.Errorf("%s: colour %q", args, found)
		}
	}
}

// narrow reports whether all lines of a frame are below width.
func narrow(frame string, width int) bool {
	lines := strings.Split(escape.ReplaceAllString(frame, ""), "\r\n")
	return !slices.ContainsFunc(lines, func(l string) bool { return len([]rune(l)) >= width })
}

// TestOverviewRows compares the rows of an overview at several widths.
func TestOverviewRows(t *testing.T) {
	s := &overviewState{
		length: 61 * time.Second, states: stateCounts{registered: 1000, ready: 990, fetching: 4, failing: 10},
		sum:   totals{fetched: 1000, unchanged: 8000, notModified: 7500, failed: 30, bytes: 12_345_678, lost: 5, causes: map[string]int{"503": 10, "timeout": 20}},
		rates: rates{refreshes: 150.4, bytes: 20_000}, heap: 98_000_000, goroutines: 17,
	}
	for _, d := range []time.Duration{0, time.Millisecond, time.Millisecond, 150 * time.Millisecond, 7 * time.Second} {
		s.sum.late.add(d)
	}
	for _, width := range []int{40, 80, 200} {
		var b strings.Builder
		for _, r := range s.rows("http://a.test/{}", 1000, width, "#") {
			line := r.render(width-1, false)
			if len([]rune(line)) >= width {
				t.Errorf("width %d: %q", width, line)
			}
			b.WriteString(line + "\n")
		}
		golden(t, fmt.Sprintf("overview%d.txt", width), b.String())
	}
	if got := histogram(new(lateness), 80, "#"); len(got) != 2 {
		t.Errorf("an empty histogram: %v", got)
	}
}

// TestRates: a frame that follows at once, as after a resize, keeps the rates.
func TestRates(t *testing.T) {
	start := time.Unix(1000, 0)
	c := newOverview("http://a.test/{}", 1, start)
	c.measure(sample{start.Add(2 * time.Second), 100, 5000})
	want := rates{50, 2500}
	if c.rates != want {
		t.Errorf("got %+v", c.rates)
	}
	c.measure(sample{start.Add(2100 * time.Millisecond), 101, 5001})
	if c.rates != want {
		t.Errorf("after 100 ms: %+v", c.rates)
	}
}
