package storagetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/everfresh-go/everfresh/store"
)

func onlyCreate(b *broken) {
	b.put = func(ctx context.Context, key string, value []byte, _ store.Condition) (store.Version, error) {
		return b.Storage.Store(ctx, key, value, store.IfAbsent())
	}
}

func ignoreStoreCondition(b *broken) {
	b.put = func(ctx context.Context, key string, value []byte, _ store.Condition) (store.Version, error) {
		return b.Storage.Store(ctx, key, value, store.Any())
	}
}

func ignoreDeleteCondition(b *broken) {
	b.remove = func(ctx context.Context, key string, _ store.Condition) error {
		return b.Storage.Delete(ctx, key, store.Any())
	}
}

// checkThenWrite lets the first conditional write wait until a second one has
// seen too that its condition holds, so that two winners do not depend on luck.
func checkThenWrite(b *broken) {
	var winners atomic.Int32
	second := make(chan struct{})
	check := func(ctx context.Context, key string, cond store.Condition) error {
		item, _ := b.Storage.Load(ctx, key)
		if !cond.Holds(item.Version) {
			return &store.ConflictError{Current: item.Version}
		}
		if _, ok := cond.Want(); !ok {
			return nil
		}
		switch winners.Add(1) {
		case 1:
			<-second
		case 2:
			close(second)
		}
		return nil
	}
	b.put = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		if err := check(ctx, key, cond); err != nil {
			return "", err
		}
		return b.Storage.Store(ctx, key, value, store.Any())
	}
	b.remove = func(ctx context.Context, key string, cond store.Condition) error {
		if err := check(ctx, key, cond); err != nil {
			return err
		}
		return b.Storage.Delete(ctx, key, store.Any())
	}
}

func bareConflict(b *broken) {
	bare := func(err error) error {
		if errors.Is(err, store.ErrConflict) {
			return store.ErrConflict
		}
		return err
	}
	b.put = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		v, err := b.Storage.Store(ctx, key, value, cond)
		return v, bare(err)
	}
	b.remove = func(ctx context.Context, key string, cond store.Condition) error {
		return bare(b.Storage.Delete(ctx, key, cond))
	}
}

func wrongCurrent(b *broken) {
	b.put = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		v, err := b.Storage.Store(ctx, key, value, cond)
		if want, ok := cond.Want(); ok && err != nil {
			err = &store.ConflictError{Current: want}
		}
		return v, err
	}
}

func neverDelete(b *broken) {
	b.remove = func(context.Context, string, store.Condition) error { return nil }
}

func deleteNotFound(b *broken) {
	b.remove = func(ctx context.Context, key string, cond store.Condition) error {
		if _, err := b.Storage.Load(ctx, key); err != nil {
			return err
		}
		return b.Storage.Delete(ctx, key, cond)
	}
}

func deleteConflict(b *broken) {
	b.remove = func(ctx context.Context, key string, cond store.Condition) error {
		if _, err := b.Storage.Load(ctx, key); err != nil && !cond.Holds("") {
			return &store.ConflictError{}
		}
		return b.Storage.Delete(ctx, key, cond)
	}
}

func restartVersions(b *broken) {
	n := 0
	b.put = func(ctx context.Context, key string, value []byte, _ store.Condition) (store.Version, error) {
		n++
		_, err := b.Storage.Store(ctx, key, value, store.Any())
		return store.Version(fmt.Sprint(n)), err
	}
	b.remove = func(ctx context.Context, key string, _ store.Condition) error {
		n = 0
		return b.Storage.Delete(ctx, key, store.Any())
	}
}

func hashVersions(b *broken) {
	b.put = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		_, err := b.Storage.Store(ctx, key, value, cond)
		return store.Version(fmt.Sprintf("%x", value)), err
	}
}

func noVersion(b *broken) {
	b.put = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		_, err := b.Storage.Store(ctx, key, value, cond)
		return "", err
	}
}

func rollBack(b *broken) {
	b.put = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		if _, ok := ctx.Deadline(); !ok {
			return b.Storage.Store(ctx, key, value, cond)
		}
		<-ctx.Done()
		return "", errors.Join(b.Storage.Delete(context.WithoutCancel(ctx), key, store.Any()), ctx.Err())
	}
}
