package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/everfresh-go/everfresh/store"
)

// TestEveryRuleHasACheck compares the rules in the comment of Storage with those
// that the checks quote, so that neither list grows or changes alone.
func TestEveryRuleHasACheck(t *testing.T) {
	rules := rulesOf(t, "store.go", "Storage")
	if len(rules) < 20 {
		t.Fatalf("found only %d rules in the comment of Storage", len(rules))
	}
	for i := range max(len(rules), len(contract)) {
		switch {
		case i >= len(rules):
			t.Errorf("check %s quotes a rule that is not in the comment", contract[i].name)
		case i >= len(contract):
			t.Errorf("no check for the rule %q", rules[i])
		case rules[i] != contract[i].rule:
			t.Errorf("rule %d reads\n%q, check %s quotes\n%q", i, rules[i], contract[i].name, contract[i].rule)
		}
	}
}

// rulesOf returns the list items in the comment of a type, without link brackets.
func rulesOf(t *testing.T, file, name string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var rules []string
	for _, decl := range parsed.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE || gen.Specs[0].(*ast.TypeSpec).Name.Name != name {
			continue
		}
		text := strings.NewReplacer("[", "", "]", "").Replace(gen.Doc.Text())
		for _, item := range strings.Split(text, "\n  - ")[1:] {
			item, _, _ = strings.Cut(item, "\n\n")
			rules = append(rules, strings.Join(strings.Fields(item), " "))
		}
	}
	return rules
}

// broken is a store that keeps the contract but for the methods it is given.
type broken struct {
	store.Storage // a *store.Memory

	load   func(ctx context.Context, key string) (store.Item, error)
	put    func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error)
	remove func(ctx context.Context, key string, cond store.Condition) error
	list   func(ctx context.Context, prefix string) iter.Seq2[store.Meta, error]
	close  func() error
}

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

// mutants break the contract on purpose, each in one way.
var mutants = []struct {
	name   string
	fails  []string // the checks that must notice; others may
	mutate func(b *broken)
}{
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
	{"reads the prefix as a pattern", []string{"List"}, globPrefix},
	{"lists the size of the stored form", []string{"List"}, wrongSize},
	{"lists before the loop begins", []string{"ListAnew"}, listAtOnce},
	{"lists each key twice", []string{"ListWhileWriting", "List"}, listTwice},
	{"lists one page only", []string{"ListWhileWriting"}, listOnePage},
	{"goes on after the loop ended", []string{"ListEarlyEnd"}, listOn},
	{"stays locked after the loop ended", []string{"ListEarlyEnd"}, leakLock},
	{"is locked during a List", []string{"ListBody"}, lockInList},
	{"yields an item with the error", []string{"ListContext"}, itemWithError},
	{"complains about a second Close", []string{"CloseTwice"}, closeOnce},
	{"works after Close", []string{"UseAfterClose"}, neverClose},
}

func TestChecksNoticeBrokenStores(t *testing.T) {
	noticed := make(map[string]bool)
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			for _, name := range m.fails {
				i := slices.IndexFunc(contract, func(c check) bool { return c.name == name })
				b := &broken{Storage: new(store.Memory)}
				m.mutate(b)
				if err := contract[i].run(t.Context(), b); err == nil {
					t.Errorf("%s does not notice", name)
				}
				noticed[name] = true
			}
		})
	}
	for _, c := range contract {
		if !noticed[c.name] {
			t.Errorf("no broken store proves that %s can fail", c.name)
		}
	}
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
	kept := make(map[string][]byte)
	b.load = func(ctx context.Context, key string) (store.Item, error) {
		item, err := b.Storage.Load(ctx, key)
		item.Value = bytes.Clone(kept[key])
		return item, err
	}
	b.put = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		kept[key] = value
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

func globPrefix(b *broken) {
	b.list = func(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
		prefix, _, _ = strings.Cut(prefix, "*")
		return b.Storage.List(ctx, prefix)
	}
}

func wrongSize(b *broken) {
	b.list = func(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
		return func(yield func(store.Meta, error) bool) {
			for meta, err := range b.Storage.List(ctx, prefix) {
				meta.Size += 28
				if !yield(meta, err) {
					return
				}
			}
		}
	}
}

func listAtOnce(b *broken) {
	b.list = func(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
		metas := maps.Collect(b.Storage.List(ctx, prefix))
		return maps.All(metas)
	}
}

func listTwice(b *broken) {
	b.list = func(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
		return func(yield func(store.Meta, error) bool) {
			for meta, err := range b.Storage.List(ctx, prefix) {
				for range 2 {
					if !yield(meta, err) {
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
			for meta, err := range b.Storage.List(ctx, prefix) {
				if n++; n > 50 || !yield(meta, err) {
					return
				}
			}
		}
	}
}

func listOn(b *broken) {
	b.list = func(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
		return func(yield func(store.Meta, error) bool) {
			for meta, err := range b.Storage.List(ctx, prefix) {
				yield(meta, err)
			}
		}
	}
}

func leakLock(b *broken) {
	locked := false
	b.list = func(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
		return func(yield func(store.Meta, error) bool) {
			for meta, err := range b.Storage.List(ctx, prefix) {
				if !yield(meta, err) {
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
			for meta, err := range b.Storage.List(ctx, prefix) {
				if err != nil {
					meta.Key = "last"
				}
				if !yield(meta, err) {
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
