//go:build !unix

package main

import (
	"errors"
	"fmt"
)

// resourceUsage returns errors.ErrUnsupported.
func resourceUsage() (systemUsage, error) {
	return systemUsage{}, fmt.Errorf("processor time: %w", errors.ErrUnsupported)
}
