//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd || windows)

package filestore

import "errors"

// TryLock implements locker. Without a lock that the system releases when its process
// ends, there is no safe way to share a directory, so Open fails on these systems.
func (fileLock) TryLock() (bool, error) { return false, errors.ErrUnsupported }

// Unlock implements locker.
func (fileLock) Unlock() error { return errors.ErrUnsupported }
