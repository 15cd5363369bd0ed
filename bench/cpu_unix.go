//go:build unix

package main

import (
	"fmt"
	"syscall"
	"time"
)

// cpuTime returns the processor time that this process has used, in user and in system
// mode together. That of child processes does not count.
func cpuTime() (time.Duration, error) {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return 0, fmt.Errorf("getrusage: %w", err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano()), nil
}
