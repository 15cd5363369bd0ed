//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package main

import "os"

// notifyResize returns a channel that never receives: the size is checked for each frame
// anyway.
func notifyResize() (changed <-chan os.Signal, stop func()) { return nil, func() {} }

// windowSize reports whether f looks like a terminal; its size is unknown.
func windowSize(f *os.File) (width, height int, ok bool) {
	info, err := f.Stat()
	return 0, 0, err == nil && info.Mode()&os.ModeCharDevice != 0
}
