//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd || windows)

package filestore

import "errors"

// TryLock implements locker. Without a lock that dies with its process there is no
// safe way to share a directory, so that Open fails here.
func (fileLock) TryLock() (bool, error) { return false, errors.ErrUnsupported }

// Unlock implements locker.
func (fileLock) Unlock() error { return errors.ErrUnsupported }
