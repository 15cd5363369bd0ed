package storagetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/everfresh-go/everfresh/store"
)

// checkCloseUnderWay and the checks below close the store, and also accept one that is
// closed already. A store that is not an [io.Closer] passes them.
func checkCloseUnderWay(ctx context.Context, s store.Storage, _ config) error {
	c, ok := store.As[io.Closer](s)
	if !ok {
		return nil
	}
	const callers = 8
	var closed atomic.Bool
	running := make(chan struct{}, callers)
	return race(callers+1, func(i int) error {
		if i < callers {
			return callUntilClosed(ctx, s, fmt.Sprint("k", i), &closed, func() { running <- struct{}{} })
		}
		for range callers {
			<-running
		}
		defer closed.Store(true)
		return c.Close()
	})
}

// callUntilClosed uses s, which another goroutine closes, until every method has
// failed. It calls started after the first round.
func callUntilClosed(ctx context.Context, s store.Storage, key string, closed *atomic.Bool, started func()) error {
	for n, ended := 0, false; !ended; n++ {
		last := closed.Load()
		_, errStore := put(ctx, s, key, fmt.Sprint(n))
		_, errLoad := s.Load(ctx, key)
		_, errList := keysOf(s.List(ctx, key))
		errDelete := s.Delete(ctx, "absent", store.Any())
		if n == 0 {
			started()
		}
		for _, err := range []error{errStore, errLoad, errList, errDelete} {
			if (err != nil || last) && !errors.Is(err, store.ErrClosed) {
				return wantErr(err, store.ErrClosed)
			}
		}
		ended = errStore != nil // the calls after it fail as well
	}
	return nil
}

func checkListError(ctx context.Context, s store.Storage, _ config) error {
	c, ok := store.As[io.Closer](s)
	if !ok {
		return nil
	}
	if err := c.Close(); err != nil {
		return err
	}
	var infos []store.Meta
	var errs []error
	for info, err := range s.List(ctx, "") {
		infos, errs = append(infos, info), append(errs, err)
	}
	if len(errs) != 1 || errs[0] == nil || infos[0] != (store.Meta{}) {
		return fmt.Errorf("after Close the loop saw %+v with errors %v, want one error with a zero Meta", infos, errs)
	}
	return nil
}

func checkUseAfterClose(ctx context.Context, s store.Storage, _ config) error {
	c, ok := store.As[io.Closer](s)
	if !ok {
		return nil
	}
	if _, err := put(ctx, s, "k", "v"); err != nil && !errors.Is(err, store.ErrClosed) {
		return err
	}
	if err := c.Close(); err != nil {
		return err
	}
	calls := callAll(ctx, s, "k")
	if p, ok := store.As[store.Pinger](s); ok {
		calls["Ping"] = p.Ping(ctx)
	}
	return wantAllErr(calls, store.ErrClosed)
}

func checkClosedErrorText(ctx context.Context, s store.Storage, _ config) error {
	if err := closeStore(s); err != nil {
		return err
	}
	var errs []error
	for _, err := range callAll(ctx, s, canary) {
		errs = append(errs, err)
	}
	return wantNoCanary(errs)
}

func checkCloseTwice(_ context.Context, s store.Storage, _ config) error {
	return errors.Join(closeStore(s), closeStore(s))
}
