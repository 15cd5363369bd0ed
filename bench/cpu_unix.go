//go:build unix

package main

import (
	"fmt"
	"syscall"
	"time"
)

// resourceUsage returns what this process has used. What child processes used does not
// count.
func resourceUsage() (systemUsage, error) {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return systemUsage{}, fmt.Errorf("getrusage: %w", err)
	}
	return systemUsage{time.Duration(ru.Utime.Nano() + ru.Stime.Nano()), float64(ru.Nvcsw)}, nil
}
