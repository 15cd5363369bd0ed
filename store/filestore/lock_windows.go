package filestore

import (
	"errors"
	"syscall"
	"unsafe"
)

// The calls that package syscall lacks.
var (
	kernel32     = syscall.NewLazyDLL("kernel32.dll")
	lockFileEx   = kernel32.NewProc("LockFileEx")
	unlockFileEx = kernel32.NewProc("UnlockFileEx")
)

const (
	lockFailImmediately = 0x1
	lockExclusive       = 0x2
	errorLockViolation  = syscall.Errno(33)
	errorIOPending      = syscall.Errno(997)
)

// TryLock implements locker: it locks the first byte of the file, even if the file is
// empty.
func (l fileLock) TryLock() (bool, error) {
	err := l.control(func(fd uintptr) error {
		var region syscall.Overlapped
		ok, _, err := lockFileEx.Call(fd, lockExclusive|lockFailImmediately, 0, 1, 0, uintptr(unsafe.Pointer(&region)))
		if ok == 0 {
			return err
		}
		return nil
	})
	if errors.Is(err, errorLockViolation) || errors.Is(err, errorIOPending) {
		return false, nil
	}
	return err == nil, err
}

// Unlock implements locker.
func (l fileLock) Unlock() error {
	return l.control(func(fd uintptr) error {
		var region syscall.Overlapped
		ok, _, err := unlockFileEx.Call(fd, 0, 1, 0, uintptr(unsafe.Pointer(&region)))
		if ok == 0 {
			return err
		}
		return nil
	})
}
