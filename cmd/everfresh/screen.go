package main

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"
)

// A style is the parameters of an SGR escape sequence; empty is plain.
type style string

const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
	cyan   style = "36"
)

// A span is text in one style.
type span struct {
	text  string
	style style
}

// A row is a line of the screen.
type row []span

// A screen redraws a terminal in place: each frame is one write that overwrites the
// last one, so that nothing flickers. It uses the alternate screen, and what the
// terminal showed before comes back at the end.
type screen struct {
	out    io.Writer
	colour bool
	frame  bytes.Buffer
}

const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[2J" // alternate screen, no cursor, empty
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	cursorHome  = "\x1b[H"
	clearRight  = "\x1b[K"
	clearBelow  = "\x1b[J"
)

func (s *screen) open() error  { return printText(s.out, enterScreen) }
func (s *screen) close() error { return printText(s.out, leaveScreen) }

// draw shows rows, as much of them as fits.
func (s *screen) draw(rows []row, width, height int) error {
	s.frame.Reset()
	s.frame.WriteString(cursorHome)
	rows = rows[:min(len(rows), height)]
	for i, r := range rows {
		// The last column stays free: behind it, clearRight would clear it.
		s.frame.WriteString(r.render(width-1, s.colour) + clearRight)
		if i < len(rows)-1 {
			s.frame.WriteString("\r\n")
		}
	}
	s.frame.WriteString(clearBelow)
	return printText(s.out, s.frame.String())
}

// render returns the first width columns of r.
func (r row) render(width int, colour bool) string { //nolint:revive // The flag is a setting of the screen.
	var b strings.Builder
	for _, s := range r {
		text := cut(s.text, width)
		width -= utf8.RuneCountInString(text)
		if text == "" {
			continue
		}
		if s.style == plain || !colour {
			b.WriteString(text)
			continue
		}
		b.WriteString("\x1b[" + string(s.style) + "m" + text + "\x1b[0m")
	}
	return strings.TrimRight(b.String(), " ")
}

// cut returns the first width characters of s.
func cut(s string, width int) string {
	for i := range s {
		if width--; width < 0 {
			return s[:i]
		}
	}
	return s
}

// unicodeBars reports whether the locale has the characters of the bars; one that is
// not set is taken for UTF-8.
func unicodeBars(env func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(env(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return true
}
