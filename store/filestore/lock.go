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

// A locker is a lock that excludes other handles, in this process and in other ones.
type locker interface {
	TryLock() (bool, error)
	Unlock() error
}

// A lock is the lock that a write holds. Waiting for the system's lock cannot be cancelled
// by a context, so a write that does not get the lock tries again after a pause.
type lock struct {
	turn chan struct{} // holds a token while no call of this Store has the lock
	file locker
}

func newLock(file locker) *lock {
	l := &lock{turn: make(chan struct{}, 1), file: file}
	l.turn <- struct{}{}
	return l
}

// take waits for the lock until ctx ends or done is closed.
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

// release releases the lock. If the system fails to do so, for which there is no known
// reason, writes of this Store still work, but others wait until it is closed.
func (l *lock) release() {
	_ = l.file.Unlock()
	l.turn <- struct{}{}
}

// A fileLock locks an open file. The system releases the lock when the process ends.
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
