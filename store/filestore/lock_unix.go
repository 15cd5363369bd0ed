//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package filestore

import (
	"errors"
	"syscall"
)

// TryLock implements locker. Unlike a lock of fcntl, a lock of flock belongs to the open
// file, so it also excludes other Stores of this process.
func (l fileLock) TryLock() (bool, error) {
	err := l.control(func(fd uintptr) error {
		return syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB)
	})
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return false, nil
	}
	return err == nil, err
}

// Unlock implements locker.
func (l fileLock) Unlock() error {
	return l.control(func(fd uintptr) error { return syscall.Flock(int(fd), syscall.LOCK_UN) })
}
