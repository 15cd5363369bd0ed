//go:build !unix

package main

import (
	"errors"
	"fmt"
	"time"
)

// cpuTime returns errors.ErrUnsupported.
func cpuTime() (time.Duration, error) {
	return 0, fmt.Errorf("processor time: %w", errors.ErrUnsupported)
}
