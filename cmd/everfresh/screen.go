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

// leave closes the screen and prints rows where the user sees them after the end.
func (s *screen) leave(rows []row, width int) error {
	if err := s.close(); err != nil {
		return err
	}
	var b strings.Builder
	for _, r := range rows {
		b.WriteString(r.render(width, s.colour) + "\n")
	}
	return printText(s.out, b.String()+"\n")
}

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

// render returns the first width columns of r; an ellipsis stands for the rest.
func (r row) render(width int, colour bool) string { //nolint:revive // The flag is a setting of the screen.
	var b strings.Builder
	for _, s := range r.fit(width) {
		text := s.text
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

// fit returns r if it fits width, else what does of it and an ellipsis. White space at
// the end needs no room.
func (r row) fit(width int) row {
	var text strings.Builder
	for _, s := range r {
		text.WriteString(s.text)
	}
	if utf8.RuneCountInString(strings.TrimRight(text.String(), " ")) <= width {
		return r
	}
	room := max(width-1, 0)
	var fitting row
	for _, s := range r {
		n := utf8.RuneCountInString(s.text)
		if n > room {
			return append(fitting, span{cut(s.text, room) + cut("…", width), s.style})
		}
		room -= n
		fitting = append(fitting, s)
	}
	return fitting
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
