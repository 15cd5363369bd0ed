package main

import (
	"flag"
	"io"
	"os"
	"strconv"
)

// A terminal says how to draw on the standard output, if it is one.
type terminal struct {
	live   bool // redraw in place
	colour bool
	size   func() (width, height int)

	// resized returns a channel that receives when the size has changed, and a function to stop.
	resized func() (changed <-chan os.Signal, stop func())
}

// displayFlags are the flags of commands that draw.
type displayFlags struct{ plain, noColour bool }

func (f *displayFlags) define(flags *flag.FlagSet) {
	flags.BoolVar(&f.plain, "plain", false, "")
	flags.BoolVar(&f.noColour, "no-color", false, "")
}

// apply returns t with the flags applied.
func (f *displayFlags) apply(t terminal) terminal {
	t.live = t.live && !f.plain
	t.colour = t.colour && !f.noColour
	return t
}

// isTerminal reports whether out is a terminal, of whatever kind.
func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	_, _, tty := windowSize(f)
	return tty
}

// terminalOf looks at out and the environment.
func terminalOf(out io.Writer, env func(string) string) terminal {
	t := terminal{colour: env("NO_COLOR") == "", resized: notifyResize}
	f, ok := out.(*os.File)
	if !ok {
		return t
	}
	named := env("TERM") != "" || env("WT_SESSION") != "" // the latter is Windows Terminal
	t.live = isTerminal(f) && named && env("TERM") != "dumb"
	t.size = func() (width, height int) {
		w, h, _ := windowSize(f)
		return dimension(env("COLUMNS"), w, 80), dimension(env("LINES"), h, 24)
	}
	return t
}

// dimension returns the user's setting, or the size of the terminal, or a common value.
func dimension(set string, asked, usual int) int {
	if n, err := strconv.Atoi(set); err == nil && n > 0 {
		return n
	}
	if asked > 0 {
		return asked
	}
	return usual
}
