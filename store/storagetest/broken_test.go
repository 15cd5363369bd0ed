package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/everfresh-go/everfresh/store"
)

// broken is a store that keeps the contract but for the methods it is given.
type broken struct {
	store.Storage // a *store.Memory

	load   func(ctx context.Context, key string) (store.Item, error)
	put    func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error)
	remove func(ctx context.Context, key string, cond store.Condition) error
	list   func(ctx context.Context, prefix string) iter.Seq2[store.Meta, error]
	close  func() error

	maxValue int64 // what it documents; 0 if it does not
}

const testLimit = 1000

func (b *broken) Load(ctx context.Context, key string) (store.Item, error) {
	if b.load != nil {
		return b.load(ctx, key)
	}
	return b.Storage.Load(ctx, key)
}

func (b *broken) Store(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
	if b.put != nil {
		return b.put(ctx, key, value, cond)
	}
	return b.Storage.Store(ctx, key, value, cond)
}

func (b *broken) Delete(ctx context.Context, key string, cond store.Condition) error {
	if b.remove != nil {
		return b.remove(ctx, key, cond)
	}
	return b.Storage.Delete(ctx, key, cond)
}

func (b *broken) List(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
	if b.list != nil {
		return b.list(ctx, prefix)
	}
	return b.Storage.List(ctx, prefix)
}

func (b *broken) Close() error {
	if b.close != nil {
		return b.close()
	}
	return b.Storage.(io.Closer).Close()
}

// A mutant breaks the contract on purpose, in one way.
type mutant struct {
	name   string
	fails  []string // the checks that must notice; others may
	mutate func(b *broken)
}

var mutants = []mutant{
	{"loses one of two Stores that run at once", []string{"Concurrent"}, loseStore},
	{"ignores ctx", []string{"DoneContext", "ListContext"}, ignoreContext},
	{"applies a Store before it looks at ctx", []string{"DoneContext"}, storeThenContext},
	{"names the key in errors", []string{"ErrorText"}, nameKey},
	{"folds the case of keys", []string{"Keys", "LoadAbsent"}, foldCase},
	{"cuts keys at NUL", []string{"Keys"}, cutAtNUL},
	{"takes keys of any length", []string{"LongKey"}, takeLongKeys},
	{"trims values", []string{"Values"}, trimValues},
	{"truncates large values", []string{"Values"}, truncateValues},
	{"answers an absent key with an empty item", []string{"LoadAbsent", "Delete"}, inventItems},
	{"leaves the key out of the item", []string{"RoundTrip"}, omitKey},
	{"reads from a replica that lags", []string{"ReadYourWrites", "RoundTrip"}, lag},
	{"keeps the caller's slice", []string{"StoreCopies"}, keepSlice},
	{"lends its own slice", []string{"LoadCopies"}, lendSlice},
	{"refuses to replace", []string{"Unconditional"}, onlyCreate},
	{"ignores conditions of Store", []string{"StoreConflict", "OneStoreWins", "Current"}, ignoreStoreCondition},
	{"ignores conditions of Delete", []string{"DeleteConflict", "Current"}, ignoreDeleteCondition},
	{"checks the condition before it writes, not while", []string{"OneStoreWins", "StoreOrDelete"}, checkThenWrite},
	{"returns the bare ErrConflict", []string{"StoreConflict", "DeleteConflict", "Current"}, bareConflict},
	{"reports a Current that was not met", []string{"Current"}, wrongCurrent},
	{"forgets to delete", []string{"Delete"}, neverDelete},
	{"complains about deleting nothing", []string{"DeleteAbsent"}, deleteNotFound},
	{"applies conditions to deleting nothing", []string{"DeleteAbsent"}, deleteConflict},
	{"counts versions from 1 after a Delete", []string{"FreshVersions"}, restartVersions},
	{"derives versions from values", []string{"FreshVersions", "SameVersion"}, hashVersions},
	{"returns no version", []string{"SameVersion"}, noVersion},
	{"goes on without its ctx", []string{"ContextEnds"}, hang},
	{"rolls back a Store whose ctx ends by deleting the item", []string{"UnknownOutcome"}, rollBack},
	{"reads the prefix as a pattern", []string{"List"}, globPrefix},
	{"lists the size of the stored form", []string{"List"}, wrongSize},
	{"lists before the loop begins", []string{"ListAgain"}, listAtOnce},
	{"lists each key twice", []string{"ListWhileWriting", "List"}, listTwice},
	{"lists one page only", []string{"ListWhileWriting"}, listOnePage},
	{"goes on after the loop ended", []string{"ListEarlyEnd"}, listOn},
	{"stays locked after the loop ended", []string{"ListEarlyEnd"}, leakLock},
	{"is locked during a List", []string{"ListBody"}, lockInList},
	{"yields an item with the error", []string{"ListContext"}, itemWithError},
	{"complains about a second Close", []string{"CloseTwice"}, closeOnce},
	{"works after Close", []string{"UseAfterClose", "CloseUnderWay", "ListError"}, neverClose},
	{"pulls the file from under its calls", []string{"CloseUnderWay"}, pullFile},
	{"ends a List without its error", []string{"ListError"}, swallowListError},
	{"goes on after the error of a List", []string{"ListError"}, repeatListError},
	{"names the key in the errors of a closed store", []string{"ErrorTextClosed"}, nameKeyClosed},
	{"takes values over its limit", []string{"Values"}, takeLargeValues},
	{"refuses the largest value", []string{"Values"}, refuseLargest},
	{"names the value that is too large", []string{"ErrorText"}, nameValue},
}

// loseStore makes the first Store wait for a second one, which comes only if they
// run at once, and then forgets the first.
func loseStore(b *broken) {
	var calls atomic.Int32
	second := make(chan struct{})
	b.put = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		switch calls.Add(1) {
		case 1:
			<-second
			return "lost", nil
		case 2:
			close(second)
		}
		return b.Storage.Store(ctx, key, value, cond)
	}
}

func ignoreContext(b *broken) {
	b.load = func(ctx context.Context, key string) (store.Item, error) {
		return b.Storage.Load(context.WithoutCancel(ctx), key)
	}
	b.list = func(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
		return b.Storage.List(context.WithoutCancel(ctx), prefix)
	}
}

func storeThenContext(b *broken) {
	b.put = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		v, err := b.Storage.Store(context.WithoutCancel(ctx), key, value, cond)
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return v, err
	}
}

func nameKey(b *broken) {
	b.load = func(ctx context.Context, key string) (store.Item, error) {
		item, err := b.Storage.Load(ctx, key)
		if err != nil {
			err = fmt.Errorf("load %q: %w", key, err)
		}
		return item, err
	}
}

func foldCase(b *broken) {
	b.load = func(ctx context.Context, key string) (store.Item, error) {
		return b.Storage.Load(ctx, strings.ToLower(key))
	}
	b.put = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		return b.Storage.Store(ctx, strings.ToLower(key), value, cond)
	}
}

func cutAtNUL(b *broken) {
	b.put = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		key, _, _ = strings.Cut(key, "\x00")
		return b.Storage.Store(ctx, key, value, cond)
	}
}

func takeLongKeys(b *broken) {
	b.put = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		return b.Storage.Store(ctx, key[:min(len(key), store.MaxKeyLen)], value, cond)
	}
}

func trimValues(b *broken) {
	b.put = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		return b.Storage.Store(ctx, key, bytes.TrimSpace(value), cond)
	}
}

func truncateValues(b *broken) {
	b.put = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		return b.Storage.Store(ctx, key, value[:min(len(value), 1<<20)], cond)
	}
}

func inventItems(b *broken) {
	b.load = func(ctx context.Context, key string) (store.Item, error) {
		item, err := b.Storage.Load(ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			return store.Item{Key: key}, nil
		}
		return item, err
	}
}

func omitKey(b *broken) {
	b.load = func(ctx context.Context, key string) (store.Item, error) {
		item, err := b.Storage.Load(ctx, key)
		item.Key = ""
		return item, err
	}
}

func lag(b *broken) {
	var mu sync.Mutex
	before := make(map[string]store.Item) // as it was before the last Store
	b.load = func(_ context.Context, key string) (store.Item, error) {
		mu.Lock()
		defer mu.Unlock()
		return before[key], nil
	}
	b.put = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		mu.Lock()
		defer mu.Unlock()
		before[key], _ = b.Storage.Load(ctx, key)
		return b.Storage.Store(ctx, key, value, cond)
	}
}

func keepSlice(b *broken) {
	stored := make(map[string][]byte)
	b.load = func(ctx context.Context, key string) (store.Item, error) {
		item, err := b.Storage.Load(ctx, key)
		item.Value = bytes.Clone(stored[key])
		return item, err
	}
	b.put = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		stored[key] = value
		return b.Storage.Store(ctx, key, value, cond)
	}
}

func lendSlice(b *broken) {
	page := make(map[string][]byte)
	b.load = func(ctx context.Context, key string) (store.Item, error) {
		item, err := b.Storage.Load(ctx, key)
		item.Value = page[key]
		return item, err
	}
	b.put = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		page[key] = append(page[key][:0], value...)
		return b.Storage.Store(ctx, key, value, cond)
	}
}

func hang(b *broken) {
	b.list = func(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
		return func(yield func(store.Meta, error) bool) {
			if _, ok := ctx.Deadline(); ok {
				<-context.WithoutCancel(ctx).Done() // forever
			}
		}
	}
}

// The stores below have a limit, testLimit, which they miss.

func takeLargeValues(b *broken) {
	b.maxValue = testLimit
}

func refuseLargest(b *broken) {
	b.maxValue = testLimit
	b.put = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		if len(value) >= testLimit {
			return "", store.ErrTooLarge
		}
		return b.Storage.Store(ctx, key, value, cond)
	}
}

func nameValue(b *broken) {
	b.maxValue = testLimit
	b.put = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		if len(value) > testLimit {
			return "", fmt.Errorf("%w: it begins with %.100q", store.ErrTooLarge, value)
		}
		return b.Storage.Store(ctx, key, value, cond)
	}
}
