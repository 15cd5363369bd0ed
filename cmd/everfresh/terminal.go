package main

import (
	"io"
	"os"
	"strconv"
)

// A terminal says how to draw on the standard output, if it is one.
type terminal struct {
	live   bool // redraw in place
	colour bool
	size   func() (width, height int)
}

// terminalOf looks at out and the environment.
func terminalOf(out io.Writer, env func(string) string) terminal {
	t := terminal{colour: env("NO_COLOR") == ""}
	f, ok := out.(*os.File)
	if !ok {
		return t
	}
	_, _, tty := windowSize(f)
	named := env("TERM") != "" || env("WT_SESSION") != "" // the latter is Windows Terminal
	t.live = tty && named && env("TERM") != "dumb"
	t.size = func() (width, height int) {
		w, h, _ := windowSize(f)
		return dimension(env("COLUMNS"), w, 80), dimension(env("LINES"), h, 24)
	}
	return t
}

// dimension returns what the user set, or what the terminal says, or a usual value.
func dimension(set string, asked, usual int) int {
	if n, err := strconv.Atoi(set); err == nil && n > 0 {
		return n
	}
	if asked > 0 {
		return asked
	}
	return usual
}
