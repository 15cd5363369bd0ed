package storagetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strings"

	"github.com/everfresh-go/everfresh/store"
)

func globPrefix(b *broken) {
	b.list = func(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
		prefix, _, _ = strings.Cut(prefix, "*")
		return b.Storage.List(ctx, prefix)
	}
}

func wrongSize(b *broken) {
	b.list = func(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
		return func(yield func(store.Meta, error) bool) {
			for info, err := range b.Storage.List(ctx, prefix) {
				info.Size += 28
				if !yield(info, err) {
					return
				}
			}
		}
	}
}

func listAtOnce(b *broken) {
	b.list = func(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
		infos := maps.Collect(b.Storage.List(ctx, prefix))
		return maps.All(infos)
	}
}

func listTwice(b *broken) {
	b.list = func(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
		return func(yield func(store.Meta, error) bool) {
			for info, err := range b.Storage.List(ctx, prefix) {
				for range 2 {
					if !yield(info, err) {
						return
					}
				}
			}
		}
	}
}

func listOnePage(b *broken) {
	b.list = func(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
		return func(yield func(store.Meta, error) bool) {
			n := 0
			for info, err := range b.Storage.List(ctx, prefix) {
				if n++; n > 50 || !yield(info, err) {
					return
				}
			}
		}
	}
}

func listOn(b *broken) {
	b.list = func(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
		return func(yield func(store.Meta, error) bool) {
			for info, err := range b.Storage.List(ctx, prefix) {
				yield(info, err)
			}
		}
	}
}

func leakLock(b *broken) {
	locked := false
	b.list = func(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
		return func(yield func(store.Meta, error) bool) {
			for info, err := range b.Storage.List(ctx, prefix) {
				if !yield(info, err) {
					locked = true
					return
				}
			}
		}
	}
	b.put = refuseWhile(b, &locked)
}

func lockInList(b *broken) {
	locked := false
	b.list = func(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
		return func(yield func(store.Meta, error) bool) {
			locked = true
			defer func() { locked = false }()
			b.Storage.List(ctx, prefix)(yield)
		}
	}
	b.put = refuseWhile(b, &locked)
}

// refuseWhile returns an error where a mutex would hang.
func refuseWhile(b *broken, locked *bool) func(context.Context, string, []byte, store.Condition) (store.Version, error) {
	return func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		if *locked {
			return "", store.ErrUnavailable
		}
		return b.Storage.Store(ctx, key, value, cond)
	}
}

func itemWithError(b *broken) {
	b.list = func(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
		return func(yield func(store.Meta, error) bool) {
			for info, err := range b.Storage.List(ctx, prefix) {
				if err != nil {
					info.Key = "last"
				}
				if !yield(info, err) {
					return
				}
			}
		}
	}
}

func swallowListError(b *broken) {
	b.list = func(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
		return func(yield func(store.Meta, error) bool) {
			for info, err := range b.Storage.List(ctx, prefix) {
				if err != nil || !yield(info, nil) {
					return
				}
			}
		}
	}
}

func repeatListError(b *broken) {
	b.list = func(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
		return func(yield func(store.Meta, error) bool) {
			for info, err := range b.Storage.List(ctx, prefix) {
				if !yield(info, err) || err != nil && !yield(store.Meta{}, err) {
					return
				}
			}
		}
	}
}

func closeOnce(b *broken) {
	closed := false
	b.close = func() error {
		if closed {
			return store.ErrClosed
		}
		closed = true
		return nil
	}
}

func neverClose(b *broken) {
	b.close = func() error { return nil }
}

func pullFile(b *broken) {
	b.load = func(ctx context.Context, key string) (store.Item, error) {
		item, err := b.Storage.Load(ctx, key)
		if errors.Is(err, store.ErrClosed) {
			return store.Item{}, errors.New("bad file descriptor")
		}
		return item, err
	}
}

func nameKeyClosed(b *broken) {
	b.remove = func(ctx context.Context, key string, cond store.Condition) error {
		err := b.Storage.Delete(ctx, key, cond)
		if errors.Is(err, store.ErrClosed) {
			err = fmt.Errorf("delete %s: %w", key, err)
		}
		return err
	}
}
