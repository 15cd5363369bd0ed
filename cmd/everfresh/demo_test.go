package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
)

// stagedDemo is a demonstration in a bubble: exact, and over in no time. It writes to
// the buffer.
func stagedDemo(length time.Duration) (*demo, *bytes.Buffer) {
	n := everfreshtest.NewNet()
	var out bytes.Buffer
	d := newDemo(console{stdout: &out, stderr: io.Discard, env: noEnv})
	d.length, d.jitter = length, 0
	d.listen = func(context.Context) (net.Listener, error) { return n, nil }
	d.client = &http.Client{Transport: &http.Transport{DialContext: n.DialContext, DisableCompression: true}}
	return d, &out
}

var readCount = regexp.MustCompile(`reads \d+`)

// settled makes output comparable: what happened at one time has no order, and the
// number of reads depends on the machine.
func settled(out string) string {
	lines := strings.SplitAfter(readCount.ReplaceAllString(out, "reads N"), "\n")
	slices.SortStableFunc(lines, func(a, b string) int {
		if len(a) < 8 || len(b) < 8 || a[7] != 's' || b[7] != 's' {
			return 0
		}
		return strings.Compare(a, b)
	})
	return strings.Join(lines, "")
}

// TestScript plays two rounds and compares every line.
func TestScript(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, out := stagedDemo(2*round - 100*time.Millisecond)
		if err := d.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := out.String()
		if strings.ContainsAny(got, "\x1b\r") {
			t.Error("escape codes in plain output")
		}
		golden(t, "script.txt", settled(got))
	})
}

// TestScriptShowsEverything: however the script changes, a round of it shows what the
// demonstration promises, and no value is ever missing.
func TestScriptShowsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, out := stagedDemo(round)
		d.jitter = 0.05
		if err := d.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			`keys      fetched    next in .*, 200, `, `keys      unchanged  next in .*, 304`,
			`settings  unchanged  next in .*, 304`,
			`prices    fetched    next in .*, 200, `,
			`token     fetched    next in .*, 200, `,
			`flags     failed     next in 2\.\ds, 503`,
			`flags     stale      `, `flags     unchanged  next in .*, 200, same bytes`,
			`report    failed     next in .*, no answer within 1\.5s\n`, `report    unchanged  next in .*, 304`,
			`origin    fails      flags`, `origin    hangs      report`,
			`(?m)^reads \d{5}, missing 0$`,
		} {
			if !regexp.MustCompile(want).MatchString(out.String()) {
				t.Errorf("no %s in\n%s", want, out)
			}
		}
	})
}

var (
	coloured = regexp.MustCompile("\x1b\\[[0-9;]+m")
	escape   = regexp.MustCompile("\x1b\\[\\??[0-9;]*[a-zA-Z]")
)

// liveDemo runs a staged demonstration on a terminal of 110 × 34.
func liveDemo(t *testing.T, length time.Duration, colour bool) string {
	t.Helper()
	d, out := stagedDemo(length)
	d.term = terminal{live: true, colour: colour, size: func() (width, height int) { return 110, 34 }}
	if err := d.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestScreen compares what the terminal shows while one resource fails, with what stays
// on it after the end.
func TestScreen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := liveDemo(t, 5900*time.Millisecond, true)
		body, ok := strings.CutPrefix(out, enterScreen)
		frames, after, left := strings.Cut(body, leaveScreen)
		if !ok || !left {
			t.Fatalf("the screen is not entered first or not left: %q", out)
		}
		all := strings.Split(frames, cursorHome)[1:]
		if want := 29; len(all) != want {
			t.Errorf("%d frames in 5.9 s, want %d", len(all), want)
		}
		for _, frame := range all {
			if rows := strings.Split(frame, "\r\n"); len(rows) > 34 {
				t.Errorf("frame of %d rows", len(rows))
			}
			if strings.Count(frame, clearRight) != strings.Count(frame, "\r\n")+1 || !strings.HasSuffix(frame, clearBelow) {
				t.Errorf("a frame leaves something of the last one: %q", frame)
			}
		}
		last := strings.ReplaceAll(all[len(all)-1], "\r\n", "\n")
		shown := escape.ReplaceAllString(last+"\n--- after the end ---\n"+after, "")
		golden(t, "screen.txt", settled(shown))
		golden(t, "screen.ansi", colours(last))
	})
}

// colours lists which texts a frame shows in which style.
func colours(frame string) string {
	var b strings.Builder
	for _, m := range regexp.MustCompile("\x1b\\[([0-9;]+)m(.*?)\x1b\\[0m").FindAllStringSubmatch(frame, -1) {
		if m[1] != string(dim) {
			fmt.Fprintf(&b, "%s %s\n", m[1], strings.TrimSpace(m[2]))
		}
	}
	lines := strings.SplitAfter(b.String(), "\n")
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "")
}

// TestScreenNarrow: what does not fit a usual terminal is left out, not cut.
func TestScreenNarrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, out := stagedDemo(time.Second)
		d.term = terminal{live: true, size: func() (width, height int) { return 80, 24 }}
		if err := d.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), " FAILED"+clearRight) || strings.Contains(out.String(), "max-age") {
			t.Errorf("the table does not end with FAILED in\n%q", out)
		}
	})
}

// TestScreenTiny: a cut line says so, and what matters most stays.
func TestScreenTiny(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for width, want := range map[int][]string{
			80: {"failed     next in 2.0s, 503" + clearRight, "FAILED" + clearRight},
			44: {" everfresh demo  4.4s  6 resources" + clearRight, "failed     next in 2.0…" + clearRight, "FRESHNESS     AGE  …" + clearRight},
		} {
			d, out := stagedDemo(4500 * time.Millisecond)
			d.term = terminal{live: true, size: func() (int, int) { return width, 24 }}
			if err := d.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, text := range want {
				if !strings.Contains(out.String(), text) {
					frames := strings.Split(out.String(), cursorHome)
					t.Errorf("%d columns: no %q in\n%s", width, text, frames[len(frames)-1])
				}
			}
		}
	})
}

// TestTitle: the title is never cut.
func TestTitle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := liveView{log: newEventLog(time.Now()), list: make([]watched, 6), origin: "http://127.0.0.1:54321"}
		for width, want := range map[int]string{
			80: " everfresh demo  0.0s  one cache, 6 resources of http://127.0.0.1:54321",
			71: " everfresh demo  0.0s  6 resources", 40: " everfresh demo  0.0s  6 resources",
			30: " everfresh demo  0.0s", 10: " everfre…",
		} {
			if got := v.title(time.Now(), width).render(width-1, false); got != want {
				t.Errorf("%d: got %q, want %q", width, got, want)
			}
		}
	})
}

// TestFailedCounts: the column FAILED counts all failures, also those that are over.
func TestFailedCounts(t *testing.T) {
	b := newEventLog(time.Now())
	for _, kind := range []string{"failed", "failed", "unchanged", "failed", "fetched"} {
		b.observe(everfresh.Event{Kind: kind, Key: "a"})
	}
	if _, _, failed := b.resource("a"); failed != 3 {
		t.Errorf("%d failures", failed)
	}
	for want, got := range map[span]span{
		{"     -", dim}: failures(0, false), {"     3", plain}: failures(3, false), {"     3", red}: failures(3, true),
	} {
		if got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

func TestScreenWithoutColour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := liveDemo(t, time.Second, false)
		if !strings.Contains(out, cursorHome) {
			t.Error("no frames")
		}
		if found := coloured.FindString(out); found != "" {
			t.Errorf("colour %q", found)
		}
	})
}

// TestInterrupt: the end of the context ends a demonstration, also one that has time left.
func TestInterrupt(t *testing.T) {
	for _, length := range []time.Duration{0, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			d, out := stagedDemo(length)
			ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second+time.Millisecond)
			defer cancel()
			if err := d.run(ctx); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out.String(), "\n90.0s: ") || !strings.Contains(out.String(), ", missing 0\n") {
				t.Errorf("no summary at the end of\n%s", out)
			}
		})
	}
}

// TestMissing: a value that is not there any more is counted, and fails the command.
func TestMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		get := func(context.Context) error {
			if since := time.Since(start); since < 10*time.Millisecond || since > 15*time.Millisecond {
				return errors.New("no value")
			}
			return nil
		}
		r := startReader(t.Context(), []watched{{get: get}})
		time.Sleep(21 * time.Millisecond)
		r.stop()
		if reads, missing := r.reads.Load(), r.missing.Load(); reads != 6 || missing != 3 {
			t.Errorf("reads %d, missing %d; want 6 and 3", reads, missing)
		}
		var out bytes.Buffer
		d := newDemo(console{stdout: &out, env: noEnv})
		if err := d.summary(newEventLog(start), r, start); !errors.Is(err, errMissing) {
			t.Errorf("summary: %v", err)
		}
	})
}

// TestDemoFails: an origin that cannot start, a cache that refuses, and a terminal that
// goes away end the demonstration with an error.
func TestDemoFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := stagedDemo(time.Second)
		refused := errors.New("refused")
		d.listen = func(context.Context) (net.Listener, error) { return nil, refused }
		if err := d.run(t.Context()); !errors.Is(err, refused) {
			t.Errorf("no listener: %v", err)
		}
		d, _ = stagedDemo(time.Second)
		d.jitter = 2
		if err := d.run(t.Context()); err == nil || !strings.Contains(err.Error(), "jitter") {
			t.Errorf("invalid option: %v", err)
		}
		d, _ = stagedDemo(time.Hour)
		d.std.stdout = &fullWriter{room: 2000}
		d.term = terminal{live: true, size: func() (width, height int) { return 80, 24 }}
		if err := d.run(t.Context()); !errors.Is(err, errFull) {
			t.Errorf("terminal gone: %v", err)
		}
	})
}

// TestDemoReal runs the demonstration as a user does, on a loopback port.
func TestDemoReal(t *testing.T) {
	got := command(t.Context(), "demo", "--plain", "--for", "1s")
	if got.code != exitOK || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	for _, want := range []string{`settings  fetched    next in .*, 200, 48 B`, `(?m)^[1-9]\.\ds: \d+ refreshes: `, `missing 0\n$`} {
		if !regexp.MustCompile(want).MatchString(got.stdout) {
			t.Errorf("no %s in\n%s", want, got.stdout)
		}
	}
}

// TestSignals runs the program itself and interrupts it.
func TestSignals(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals to send")
	}
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0], "demo")
			cmd.Env = append(os.Environ(), "EVERFRESH_TEST_RUN_MAIN=1")
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewReader(stdout)
			if first, err := lines.ReadString('\n'); err != nil || !strings.Contains(first, "every resource answers") {
				t.Errorf("first line %q, %v", first, err)
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Error(err)
			}
			rest, _ := io.ReadAll(lines)
			if err := cmd.Wait(); err != nil {
				t.Errorf("the program ended with %v", err)
			}
			if !strings.Contains(string(rest), "missing 0\n") {
				t.Errorf("no summary in %q", rest)
			}
		})
	}
}
