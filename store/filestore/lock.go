package filestore

import (
	"context"
	"os"
	"time"

	"github.com/everfresh-go/everfresh/store"
)

const (
	lockPollMin = 200 * time.Microsecond
	lockPollMax = 10 * time.Millisecond
)

// A locker is a lock that excludes other handles, in this process and in others.
type locker interface {
	TryLock() (bool, error)
	Unlock() error
}

// A lock is what a write holds. The system's lock cannot be waited for with a
// context, so that a write that does not get it asks again.
type lock struct {
	turn chan struct{} // holds one value while nobody in this Store has the lock
	file locker
}

func newLock(file locker) *lock {
	l := &lock{turn: make(chan struct{}, 1), file: file}
	l.turn <- struct{}{}
	return l
}

// take waits for the lock until ctx ends, or done.
func (l *lock) take(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-l.turn:
	case <-ctx.Done():
		return ctx.Err()
	case <-done:
		return store.ErrClosed
	}
	if err := l.poll(ctx, done); err != nil {
		l.turn <- struct{}{}
		return err
	}
	return nil
}

func (l *lock) poll(ctx context.Context, done <-chan struct{}) error {
	for delay := lockPollMin; ; delay = min(2*delay, lockPollMax) {
		ok, err := l.file.TryLock()
		if err != nil {
			return ioError("lock the directory", err)
		}
		if ok {
			return nil
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-done:
			timer.Stop()
			return store.ErrClosed
		}
	}
}

// release gives the lock back. If the system refuses, which it has no reason to,
// later writes of this Store work and others wait until it is closed.
func (l *lock) release() {
	_ = l.file.Unlock()
	l.turn <- struct{}{}
}

// A fileLock locks an open file; the system drops the lock when the process ends.
type fileLock struct{ file *os.File }

// control calls f with the descriptor of the file, which stays open meanwhile.
func (l fileLock) control(f func(fd uintptr) error) error {
	conn, err := l.file.SyscallConn()
	if err != nil {
		return err
	}
	var errCall error
	if err := conn.Control(func(fd uintptr) { errCall = f(fd) }); err != nil {
		return err
	}
	return errCall
}
