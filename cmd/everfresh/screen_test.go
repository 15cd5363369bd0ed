package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh"
)

func TestRender(t *testing.T) {
	r := row{{"état", plain}, {" good ", green}, {"", red}, {"end  ", plain}}
	for _, tt := range []struct {
		width  int
		colour bool
		want   string
	}{
		{80, false, "état good end"},
		{80, true, "état\x1b[32m good \x1b[0mend"},
		{13, false, "état good end"},
		{12, false, "état good e…"},
		{7, false, "état g…"},
		{7, true, "état\x1b[32m g…\x1b[0m"},
		{5, true, "état\x1b[32m…\x1b[0m"},
		{4, true, "éta…"},
		{1, true, "…"},
		{0, true, ""},
		{-1, true, ""},
	} {
		if got := r.render(tt.width, tt.colour); got != tt.want {
			t.Errorf("width %d, colour %t: got %q, want %q", tt.width, tt.colour, got, tt.want)
		}
	}
}

// TestDrawSmall: a terminal that is too small shows what fits, and is not scrolled.
func TestDrawSmall(t *testing.T) {
	for _, tt := range []struct {
		width, height int
		want          string
	}{
		{5, 2, cursorHome + "abc…" + clearRight + "\r\n" + "123…" + clearRight + clearBelow},
		{3, 1, cursorHome + "a…" + clearRight + clearBelow},
		{1, 1, cursorHome + clearRight + clearBelow},
		{9, 0, cursorHome + clearBelow},
	} {
		var b strings.Builder
		s := screen{out: &b}
		rows := []row{{{"abcdefgh", bold}}, {{"12345678", plain}}, {{"more", plain}}}
		if err := s.draw(rows, tt.width, tt.height); err != nil {
			t.Fatal(err)
		}
		if got := b.String(); got != tt.want {
			t.Errorf("%d × %d: got %q, want %q", tt.width, tt.height, got, tt.want)
		}
	}
}

func TestState(t *testing.T) {
	now := time.Unix(1000, 0)
	later, earlier := now.Add(time.Second), now.Add(-time.Second)
	for _, tt := range []struct {
		want string
		st   everfresh.Status
	}{
		{waiting, everfresh.Status{}},
		{waiting, everfresh.Status{Fetching: true}},
		{refreshing, everfresh.Status{Ready: true, Fetching: true, Info: everfresh.Info{FreshUntil: earlier}}},
		{fresh, everfresh.Status{Ready: true, Info: everfresh.Info{FreshUntil: later}}},
		{stale, everfresh.Status{Ready: true, Info: everfresh.Info{FreshUntil: earlier}}},
	} {
		if got := stateOf(tt.st, now); got != tt.want {
			t.Errorf("%+v: got %s, want %s", tt.st, got, tt.want)
		}
		if _, ok := stateStyle[tt.want]; !ok {
			t.Errorf("%s has no style", tt.want)
		}
	}
}

func TestBar(t *testing.T) {
	checked := time.Unix(1000, 0)
	v := liveView{bars: [2]string{"=", "-"}}
	st := everfresh.Status{Info: everfresh.Info{CheckedAt: checked, FreshUntil: checked.Add(10 * time.Second)}}
	for after, want := range map[time.Duration]string{
		-time.Second: "==========", 0: "==========", 3 * time.Second: "=======---",
		9900 * time.Millisecond: "----------", time.Minute: "----------",
	} {
		left, gone := v.bar(st, checked.Add(after))
		if got := left + gone; got != want {
			t.Errorf("after %v: got %s, want %s", after, got, want)
		}
	}
	if left, gone := v.bar(everfresh.Status{}, checked); left+gone != "----------" {
		t.Errorf("without a value: %s", left+gone)
	}
}

// TestTerminal: only a terminal is drawn on, and only one that can be.
func TestTerminal(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if terminalOf(file, envOf(map[string]string{"TERM": "xterm"})).live {
		t.Error("a file is no terminal")
	}
	tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no pseudo-terminal to look at: ", err)
	}
	defer tty.Close()
	for _, tt := range []struct {
		env           map[string]string
		live, colour  bool
		width, height int
	}{
		{map[string]string{}, false, true, 80, 24},
		{map[string]string{"TERM": "xterm"}, true, true, 80, 24},
		{map[string]string{"TERM": "dumb"}, false, true, 80, 24},
		{map[string]string{"TERM": "xterm", "NO_COLOR": "1"}, true, false, 80, 24},
		{map[string]string{"TERM": "xterm", "COLUMNS": "132", "LINES": "50"}, true, true, 132, 50},
		{map[string]string{"TERM": "xterm", "COLUMNS": "0", "LINES": "x"}, true, true, 80, 24},
	} {
		got := terminalOf(tty, envOf(tt.env))
		if got.live != tt.live || got.colour != tt.colour {
			t.Errorf("%v: live %t, colour %t", tt.env, got.live, got.colour)
		}
		if w, h := got.size(); w != tt.width || h != tt.height {
			t.Errorf("%v: %d × %d", tt.env, w, h)
		}
		std := console{stdout: tty, env: envOf(tt.env)}
		if d, err := parseDemo(nil, std); err != nil || d.term.live != tt.live {
			t.Errorf("%v: demo live %t, %v", tt.env, d.term.live, err)
		}
		if d, err := parseDemo([]string{"--plain"}, std); err != nil || d.term.live {
			t.Errorf("%v: demo --plain live, %v", tt.env, err)
		}
	}
}

func TestDimension(t *testing.T) {
	if got := dimension("", 132, 80); got != 132 {
		t.Errorf("what the terminal says is ignored: %d", got)
	}
}

func TestUnicodeBars(t *testing.T) {
	for _, tt := range []struct {
		env  map[string]string
		want bool
	}{
		{nil, true},
		{map[string]string{"LANG": "de_DE.UTF-8"}, true},
		{map[string]string{"LANG": "C"}, false},
		{map[string]string{"LC_ALL": "POSIX", "LANG": "en_US.utf8"}, false},
		{map[string]string{"LC_CTYPE": "C.UTF-8", "LANG": "C"}, true},
	} {
		if got := unicodeBars(envOf(tt.env)); got != tt.want {
			t.Errorf("%v: got %t", tt.env, got)
		}
	}
}
