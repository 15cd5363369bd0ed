package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh/store"
)

// A check proves one rule of the contract of [store.Storage] on an empty store,
// which it may leave closed or full. Its error says how the rule was broken.
type check struct {
	name string
	rule string // as it stands in the comment of Storage
	run  func(ctx context.Context, s store.Storage) error
}

// contract has one check for each rule, in the order of the comment of Storage.
var contract = []check{
	{"Concurrent", "Every method may be called from many goroutines at once.", checkConcurrent},
	{"DoneContext", "A call whose ctx is already done returns the error of ctx and changes nothing.", checkDoneContext},
	{"ErrorText", "The text of an error contains neither a key nor a value.", checkErrorText},

	{"Keys", "A key is any string of 0 to MaxKeyLen bytes, and keys are equal only if all their bytes are.", checkKeys},
	{"LongKey", "Load, Store and Delete of a longer key return ErrTooLarge.", checkLongKey},
	{"Values", "A value is any bytes, none included, up to a limit that the store documents; " +
		"Store of more returns ErrTooLarge and changes nothing.", checkValues},

	{"LoadAbsent", "Load of an absent key returns ErrNotFound.", checkLoadAbsent},
	{"RoundTrip", "Load returns the key, the value and the version of the last Store of the key.", checkRoundTrip},
	{"ReadYourWrites", "A Load that begins after a Store of the key has returned sees that Store or a later write.", checkReadYourWrites},
	{"StoreCopies", "Store keeps a copy of the value, so the caller may change its bytes afterwards.", checkStoreCopies},
	{"LoadCopies", "Load returns a copy of the value, which the caller may change and no later write changes.", checkLoadCopies},

	{"Unconditional", "A write without a condition succeeds whether the key is absent or present.", checkUnconditional},
	{"StoreConflict", "A Store whose condition does not hold returns a *ConflictError and changes nothing.", checkStoreConflict},
	{"DeleteConflict", "A Delete of a present key whose condition does not hold returns a *ConflictError and changes nothing.", checkDeleteConflict},
	{"Current", "The Current of a *ConflictError is the version the write met, and does not satisfy its condition.", checkCurrent},
	{"OneStoreWins", "Of Stores that race with IfVersion for the version a key has, or with IfAbsent for an absent key, " +
		"exactly one succeeds.", checkOneStoreWins},
	{"StoreOrDelete", "Of a Store and a Delete that race with IfVersion for the version a key has, exactly one succeeds.", checkStoreOrDelete},
	{"Delete", "After a Delete that succeeded the key is absent.", checkDelete},
	{"DeleteAbsent", "Delete of an absent key returns nil, whatever its condition.", checkDeleteAbsent},

	{"FreshVersions", "Every Store that succeeds gives the key a version it never had, not even before a Delete.", checkFreshVersions},
	{"SameVersion", "The version of a stored item is never empty, and is the same in Store, Load and List.", checkSameVersion},

	{"List", "List yields key, version and size of each item whose key begins with prefix, and nothing else.", checkList},
	{"ListAnew", "List itself reads nothing, and each loop over what it returned lists anew.", checkListAnew},
	{"ListWhileWriting", "While others write, List yields each key that nobody writes exactly once, and any other at most once.", checkListWhileWriting},
	{"ListEarlyEnd", "A loop over a List may be left early.", checkListEarlyEnd},
	{"ListBody", "The body of a loop over a List may call any method of the store.", checkListBody},
	{"ListContext", "A List whose ctx ends yields the error of ctx next, with a zero Meta, and stops.", checkListContext},

	{"CloseTwice", "A second Close returns nil.", checkCloseTwice},
	{"UseAfterClose", "Every call after Close returns ErrClosed.", checkUseAfterClose},
}

func TestMemoryKeepsContract(t *testing.T) {
	for _, c := range contract {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if err := c.run(ctx, new(store.Memory)); err != nil {
				t.Errorf("%s\n%v", c.rule, err)
			}
		})
	}
}

func TestMemoryZeroValue(t *testing.T) {
	ctx := t.Context()
	for name, call := range map[string]func(m *store.Memory) error{
		"Load": func(m *store.Memory) error {
			_, err := m.Load(ctx, "k")
			return wantErr(err, store.ErrNotFound)
		},
		"Store": func(m *store.Memory) error {
			_, err := m.Store(ctx, "k", nil, store.Any())
			return err
		},
		"Delete": func(m *store.Memory) error { return m.Delete(ctx, "k", store.Any()) },
		"List":   func(m *store.Memory) error { return wantKeys(ctx, m, "") },
		"Ping":   func(m *store.Memory) error { return m.Ping(ctx) },
		"Close":  (*store.Memory).Close,
	} {
		t.Run(name, func(t *testing.T) {
			if err := call(new(store.Memory)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMemoryListIsSorted(t *testing.T) {
	var m store.Memory
	for _, key := range []string{"b", "a", "", "c", "a/b", "\xff", "A"} {
		if _, err := put(t.Context(), &m, key, key); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for meta, err := range m.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, meta.Key)
	}
	if want := []string{"", "A", "a", "a/b", "b", "c", "\xff"}; !slices.Equal(got, want) {
		t.Errorf("List = %q, want %q", got, want)
	}
}

func TestMemoryListIsASnapshot(t *testing.T) {
	ctx := t.Context()
	var m store.Memory
	list := m.List(ctx, "") // made before the first Store, begins after it
	first, err := put(ctx, &m, "a", "old")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := put(ctx, &m, "b", "old"); err != nil {
		t.Fatal(err)
	}
	var got []store.Meta
	for meta, err := range list {
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			_, errStore := put(ctx, &m, "c", "new")
			if err := errors.Join(errStore, m.Delete(ctx, "b", store.Any())); err != nil {
				t.Fatal(err)
			}
		}
		got = append(got, meta)
	}
	if len(got) != 2 || got[0] != (store.Meta{Key: "a", Version: first, Size: 3}) || got[1].Key != "b" {
		t.Errorf("the loop saw %+v, want a and b as they were when it began", got)
	}
	if err := wantKeys(ctx, &m, "", "a", "c"); err != nil {
		t.Errorf("a later loop: %v", err)
	}
}

func TestMemoryListOutlivesClose(t *testing.T) {
	ctx := t.Context()
	var m store.Memory
	for _, key := range []string{"a", "b"} {
		if _, err := put(ctx, &m, key, key); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	for _, err := range m.List(ctx, "") {
		if err := errors.Join(err, m.Close()); err != nil {
			t.Fatal(err)
		}
		seen++
	}
	if seen != 2 {
		t.Errorf("the loop saw %d items, want 2", seen)
	}
}

func TestMemoryPing(t *testing.T) {
	var m store.Memory
	if err := m.Ping(t.Context()); err != nil {
		t.Errorf("Ping = %v, want nil", err)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Ping(done); !errors.Is(err, context.Canceled) {
		t.Errorf("Ping with a done ctx = %v, want %v", err, context.Canceled)
	}
}

func checkConcurrent(ctx context.Context, s store.Storage) error {
	return race(64, func(i int) error {
		key := fmt.Sprint("own", i)
		for round := range 10 {
			_, errOwn := put(ctx, s, key, fmt.Sprint(i, round))
			_, errShared := put(ctx, s, fmt.Sprint("shared", round%4), fmt.Sprint(i))
			errDelete := s.Delete(ctx, "absent", store.Any())
			_, errList := keysOf(s.List(ctx, "shared"))
			errLoad := wantValue(ctx, s, key, fmt.Sprint(i, round))
			if err := errors.Join(errOwn, errShared, errDelete, errList, errLoad); err != nil {
				return err
			}
		}
		return nil
	})
}

func checkDoneContext(ctx context.Context, s store.Storage) error {
	if _, err := put(ctx, s, "k", "old"); err != nil {
		return err
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	expired, cancel := context.WithDeadline(ctx, time.Unix(0, 0))
	defer cancel()
	if err := errors.Join(
		wantAllErr(callAll(canceled, s, "k"), context.Canceled),
		wantAllErr(callAll(expired, s, "k"), context.DeadlineExceeded),
	); err != nil {
		return err
	}
	if err := wantKeys(ctx, s, "", "k"); err != nil {
		return err
	}
	return wantValue(ctx, s, "k", "old")
}

func checkErrorText(ctx context.Context, s store.Storage) error {
	const canary = "canary"
	_, errAbsent := s.Load(ctx, canary)
	if _, err := put(ctx, s, canary, canary); err != nil {
		return err
	}
	_, errStore := s.Store(ctx, canary, []byte(canary), store.IfAbsent())
	_, errTooLarge := s.Load(ctx, strings.Repeat(canary, store.MaxKeyLen))
	errs := []error{errAbsent, errStore, errTooLarge, s.Delete(ctx, canary, store.IfAbsent())}

	done, cancel := context.WithCancel(ctx)
	cancel()
	for _, err := range callAll(done, s, canary) {
		errs = append(errs, err)
	}
	if c, ok := store.As[io.Closer](s); ok {
		errs = append(errs, c.Close()) // must not add to the errors below, and joins as nil
		for _, err := range callAll(ctx, s, canary) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err == nil || strings.Contains(err.Error(), canary) {
		return fmt.Errorf("the texts are:\n%w", err)
	}
	return nil
}

func checkKeys(ctx context.Context, s store.Storage) error {
	keys := []string{
		"", "\x00", "\x00\x00", " ", ".", "..", "../k", "/", "//", "/k", "k", "k/", "k/k", "k/../k", `k\k`,
		"K", "k.", "k ", " k", "k\x00", "k\n", "k*", "k?", "k[a]", "k%", "k_", "k.tmp", ".k", "-k", "k:k", "con", "nul.txt",
		"é", "e\u0301", "日本", "\xff", "\xc3", "\xc3\x28", "https://a.test/b?c=d&e=%2F#f",
		strings.Repeat("x", 255), strings.Repeat("x", 256), strings.Repeat("\xff", store.MaxKeyLen), strings.Repeat("/", store.MaxKeyLen),
	}
	for _, key := range keys {
		if _, err := put(ctx, s, key, "value of "+key); err != nil {
			return fmt.Errorf("key %.40q: %w", key, err)
		}
	}
	for _, key := range keys { // only now, so that keys which collide are found
		if err := wantValue(ctx, s, key, "value of "+key); err != nil {
			return fmt.Errorf("key %.40q: %w", key, err)
		}
	}
	return wantKeys(ctx, s, "", keys...)
}

func checkLongKey(ctx context.Context, s store.Storage) error {
	key := strings.Repeat("x", store.MaxKeyLen+1)
	_, errLoad := s.Load(ctx, key)
	_, errStore := put(ctx, s, key, "v")
	for _, err := range []error{errLoad, errStore, s.Delete(ctx, key, store.Any())} {
		if err := wantErr(err, store.ErrTooLarge); err != nil {
			return err
		}
	}
	return wantKeys(ctx, s, "")
}

func checkValues(ctx context.Context, s store.Storage) error {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, value := range [][]byte{nil, {}, {0}, []byte("\r\n"), all, bytes.Repeat(all, 1<<8)} {
		if _, err := s.Store(ctx, "k", value, store.Any()); err != nil {
			return fmt.Errorf("%d bytes: %w", len(value), err)
		}
		if err := wantValue(ctx, s, "k", string(value)); err != nil {
			return fmt.Errorf("%d bytes: %w", len(value), err)
		}
	}
	return checkLargeValue(ctx, s)
}

// checkLargeValue stores what some stores refuse.
func checkLargeValue(ctx context.Context, s store.Storage) error {
	if _, err := put(ctx, s, "large", "old"); err != nil {
		return err
	}
	want := strings.Repeat("large", 1<<20)
	_, err := put(ctx, s, "large", want)
	if errors.Is(err, store.ErrTooLarge) {
		want, err = "old", nil
	}
	if err != nil {
		return err
	}
	return wantValue(ctx, s, "large", want)
}

func checkLoadAbsent(ctx context.Context, s store.Storage) error {
	if _, err := put(ctx, s, "k", "v"); err != nil {
		return err
	}
	for _, key := range []string{"", "K", "k/", "kk"} {
		item, err := s.Load(ctx, key)
		if err := wantErr(err, store.ErrNotFound); err != nil {
			return err
		}
		if item.Key != "" || item.Value != nil || item.Version != "" {
			return fmt.Errorf("the item is %+v, want the zero Item", item)
		}
	}
	return nil
}

func checkRoundTrip(ctx context.Context, s store.Storage) error {
	for _, value := range []string{"first", "second", "second", "", "fifth"} {
		version, err := put(ctx, s, "k", value)
		if err != nil {
			return err
		}
		item, err := s.Load(ctx, "k")
		if err != nil {
			return err
		}
		if item.Key != "k" || string(item.Value) != value || item.Version != version {
			return fmt.Errorf("Load = %+v, want key k, value %q, version %q", item, value, version)
		}
	}
	return nil
}

func checkReadYourWrites(ctx context.Context, s store.Storage) error {
	const last = 200
	var stored atomic.Int64 // the number in the last value whose Store returned
	if _, err := put(ctx, s, "k", "0"); err != nil {
		return err
	}
	write := func() error {
		defer stored.Store(last) // lets the readers end, also after an error
		for n := range last {
			if _, err := put(ctx, s, "k", fmt.Sprint(n+1)); err != nil {
				return err
			}
			stored.Store(int64(n + 1))
		}
		return nil
	}
	return race(4, func(i int) error {
		if i == 0 {
			return write()
		}
		for seen := int64(0); seen < last; {
			seen = stored.Load()
			if err := wantAtLeast(ctx, s, "k", seen); err != nil {
				return err
			}
		}
		return nil
	})
}

func wantAtLeast(ctx context.Context, s store.Storage, key string, want int64) error {
	item, err := s.Load(ctx, key)
	if err != nil {
		return err
	}
	var got int64
	if _, err := fmt.Sscan(string(item.Value), &got); err != nil {
		return err
	}
	if got < want {
		return fmt.Errorf("Load = %d, after Store of %d had returned", got, want)
	}
	return nil
}

func checkStoreCopies(ctx context.Context, s store.Storage) error {
	value := []byte("abc")
	if _, err := s.Store(ctx, "k", value, store.Any()); err != nil {
		return err
	}
	value[0] = 'X'
	return wantValue(ctx, s, "k", "abc")
}

func checkLoadCopies(ctx context.Context, s store.Storage) error {
	if _, err := put(ctx, s, "k", "abc"); err != nil {
		return err
	}
	changed, err := s.Load(ctx, "k")
	if err != nil {
		return err
	}
	changed.Value[0] = 'X'
	kept, err := s.Load(ctx, "k")
	if err != nil {
		return err
	}
	if err := overwriteMany(ctx, s); err != nil {
		return err
	}
	if string(kept.Value) != "abc" {
		return fmt.Errorf("the loaded value now reads %q, want abc", kept.Value)
	}
	return nil
}

// overwriteMany makes a store reuse what it lent: pages, buffers, slices.
func overwriteMany(ctx context.Context, s store.Storage) error {
	for round := range 10 {
		for i := range 50 {
			if _, err := put(ctx, s, fmt.Sprint("k", i), strings.Repeat(fmt.Sprint(round), 500)); err != nil {
				return err
			}
		}
		if _, err := put(ctx, s, "k", fmt.Sprintf("d%02d", round)); err != nil {
			return err
		}
	}
	return s.Delete(ctx, "k", store.Any())
}

func checkUnconditional(ctx context.Context, s store.Storage) error {
	for _, cond := range []store.Condition{store.Any(), {}} {
		for _, value := range []string{"new", "replaced"} {
			if _, err := s.Store(ctx, "k", []byte(value), cond); err != nil {
				return fmt.Errorf("Store: %w", err)
			}
			if err := wantValue(ctx, s, "k", value); err != nil {
				return err
			}
		}
		for range 2 {
			if err := s.Delete(ctx, "k", cond); err != nil {
				return fmt.Errorf("Delete: %w", err)
			}
		}
	}
	return nil
}

// putOldNew stores k twice and returns both versions, of which new is current.
func putOldNew(ctx context.Context, s store.Storage) (older, newer store.Version, err error) {
	older, errOld := put(ctx, s, "k", "old")
	newer, errNew := put(ctx, s, "k", "new")
	return older, newer, errors.Join(errOld, errNew)
}

func checkStoreConflict(ctx context.Context, s store.Storage) error {
	older, newer, err := putOldNew(ctx, s)
	if err != nil {
		return err
	}
	for _, cond := range []store.Condition{store.IfAbsent(), store.IfVersion(older), store.IfVersion("unheard of")} {
		version, err := s.Store(ctx, "k", []byte("wrong"), cond)
		if err := wantConflict(err); err != nil {
			return fmt.Errorf("%+v: %w", cond, err)
		}
		if version != "" {
			return fmt.Errorf("%+v: the version is %q, want none", cond, version)
		}
	}
	if err := wantValue(ctx, s, "k", "new"); err != nil {
		return err
	}
	if _, err := s.Store(ctx, "absent", nil, store.IfVersion(newer)); wantConflict(err) != nil {
		return fmt.Errorf("absent key: %w", wantConflict(err))
	}
	if err := wantKeys(ctx, s, "", "k"); err != nil {
		return err
	}
	_, errReplace := s.Store(ctx, "k", nil, store.IfVersion(newer)) // these hold
	_, errCreate := s.Store(ctx, "absent", nil, store.IfAbsent())
	return errors.Join(errReplace, errCreate)
}

func checkDeleteConflict(ctx context.Context, s store.Storage) error {
	older, newer, err := putOldNew(ctx, s)
	if err != nil {
		return err
	}
	for _, cond := range []store.Condition{store.IfAbsent(), store.IfVersion(older), store.IfVersion("unheard of")} {
		if err := wantConflict(s.Delete(ctx, "k", cond)); err != nil {
			return fmt.Errorf("%+v: %w", cond, err)
		}
	}
	if err := wantValue(ctx, s, "k", "new"); err != nil {
		return err
	}
	return s.Delete(ctx, "k", store.IfVersion(newer))
}

func checkCurrent(ctx context.Context, s store.Storage) error {
	older, newer, err := putOldNew(ctx, s)
	if err != nil {
		return err
	}
	_, errCreate := s.Store(ctx, "k", nil, store.IfAbsent())
	_, errReplace := s.Store(ctx, "k", nil, store.IfVersion(older))
	_, errAbsent := s.Store(ctx, "absent", nil, store.IfVersion(newer))
	return errors.Join(
		wantCurrent(errCreate, newer),
		wantCurrent(errReplace, newer),
		wantCurrent(errAbsent, ""),
		wantCurrent(s.Delete(ctx, "k", store.IfAbsent()), newer),
		wantCurrent(s.Delete(ctx, "k", store.IfVersion(older)), newer),
	)
}

func checkOneStoreWins(ctx context.Context, s store.Storage) error {
	version := store.Version("") // of an absent key: the first round is IfAbsent
	for range 8 {
		cond := store.IfVersion(version)
		var winners atomic.Int32
		won := make([]store.Version, 64)
		err := race(len(won), func(i int) (err error) {
			won[i], err = s.Store(ctx, "k", []byte{byte(i)}, cond)
			if err == nil {
				winners.Add(1)
				return nil
			}
			return wantConflict(err)
		})
		if err != nil {
			return err
		}
		if n := winners.Load(); n != 1 {
			return fmt.Errorf("%d of %d Stores succeeded", n, len(won))
		}
		winner := slices.IndexFunc(won, func(v store.Version) bool { return v != "" })
		if err := wantValue(ctx, s, "k", string([]byte{byte(winner)})); err != nil {
			return err
		}
		version = won[winner]
	}
	return nil
}

func checkStoreOrDelete(ctx context.Context, s store.Storage) error {
	for round := range 32 {
		version, err := put(ctx, s, "k", "old")
		if err != nil {
			return err
		}
		cond := store.IfVersion(version)
		errs := make([]error, 2)
		err = race(2, func(i int) error {
			if i == round%2 { // each may be the one that tends to run first
				_, errs[i] = s.Store(ctx, "k", []byte("new"), cond)
			} else {
				errs[i] = s.Delete(ctx, "k", cond)
			}
			if errs[i] != nil {
				return wantConflict(errs[i])
			}
			return nil
		})
		if err != nil {
			return err
		}
		if (errs[0] == nil) == (errs[1] == nil) {
			return fmt.Errorf("round %d: the errors of the two are %v", round, errs)
		}
	}
	return nil
}

func checkDelete(ctx context.Context, s store.Storage) error {
	for _, conditional := range []bool{false, true} {
		version, err := put(ctx, s, "k", "v")
		if err != nil {
			return err
		}
		cond := store.Any()
		if conditional {
			cond = store.IfVersion(version)
		}
		if err := s.Delete(ctx, "k", cond); err != nil {
			return err
		}
		if _, err := s.Load(ctx, "k"); wantErr(err, store.ErrNotFound) != nil {
			return wantErr(err, store.ErrNotFound)
		}
		if err := wantKeys(ctx, s, ""); err != nil {
			return err
		}
	}
	return nil
}

func checkDeleteAbsent(ctx context.Context, s store.Storage) error {
	version, err := put(ctx, s, "other", "v")
	if err != nil {
		return err
	}
	for _, cond := range []store.Condition{store.Any(), store.IfAbsent(), store.IfVersion(version)} {
		if err := s.Delete(ctx, "k", cond); err != nil {
			return fmt.Errorf("%+v: %w", cond, err)
		}
	}
	return wantKeys(ctx, s, "", "other")
}

func checkFreshVersions(ctx context.Context, s store.Storage) error {
	seen := make(map[store.Version]bool)
	for i := range 30 {
		version, err := put(ctx, s, "k", "always the same")
		if err != nil {
			return err
		}
		if seen[version] {
			return fmt.Errorf("Store %d gave version %q again", i, version)
		}
		seen[version] = true
		if i%3 == 2 {
			if err := s.Delete(ctx, "k", store.IfVersion(version)); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkSameVersion(ctx context.Context, s store.Storage) error {
	for _, key := range []string{"a", "b", "a"} {
		version, err := put(ctx, s, key, "")
		if err != nil {
			return err
		}
		if version == "" {
			return errors.New("the version that Store gave is empty")
		}
		item, err := s.Load(ctx, key)
		if err != nil {
			return err
		}
		for meta, err := range s.List(ctx, key) {
			if err != nil {
				return err
			}
			if meta.Version != version || item.Version != version {
				return fmt.Errorf("Store gave %q, Load %q, List %q", version, item.Version, meta.Version)
			}
		}
	}
	return nil
}

func checkList(ctx context.Context, s store.Storage) error {
	keys := []string{"a", "a/b", "a/b/c", "a/bc", "a*", "a%", "ab", "A/b", "b", "\xff", "\xff\xff"}
	want := make(map[string]store.Meta)
	for i, key := range keys {
		version, err := put(ctx, s, key, strings.Repeat("x", i))
		if err != nil {
			return err
		}
		want[key] = store.Meta{Key: key, Version: version, Size: int64(i)}
	}
	for meta, err := range s.List(ctx, "") {
		if err != nil {
			return err
		}
		if meta != want[meta.Key] {
			return fmt.Errorf("List yields %+v, want %+v", meta, want[meta.Key])
		}
	}
	return errors.Join(
		wantKeys(ctx, s, "", keys...),
		wantKeys(ctx, s, "a/", "a/b", "a/b/c", "a/bc"),
		wantKeys(ctx, s, "a/b", "a/b", "a/b/c", "a/bc"),
		wantKeys(ctx, s, "a*", "a*"),
		wantKeys(ctx, s, "a%", "a%"),
		wantKeys(ctx, s, "\xff", "\xff", "\xff\xff"),
		wantKeys(ctx, s, "absent"),
		wantKeys(ctx, s, strings.Repeat("a", store.MaxKeyLen+1)),
	)
}

func checkListAnew(ctx context.Context, s store.Storage) error {
	list := s.List(ctx, "k")
	for i := range 3 {
		if _, err := put(ctx, s, fmt.Sprint("k", i), ""); err != nil {
			return err
		}
		keys, err := keysOf(list)
		if err != nil {
			return err
		}
		if len(keys) != i+1 {
			return fmt.Errorf("the loop saw %q after Store %d", keys, i+1)
		}
	}
	return nil
}

func checkListWhileWriting(ctx context.Context, s store.Storage) error {
	stable := make([]string, 60)
	for i := range stable {
		stable[i] = fmt.Sprint("k/stable", i)
		if _, err := put(ctx, s, stable[i], ""); err != nil {
			return err
		}
	}
	var done atomic.Bool
	return race(4, func(i int) error {
		if i > 0 {
			return churn(ctx, s, i, &done)
		}
		defer done.Store(true)
		for range 20 {
			if err := listOnce(ctx, s, stable); err != nil {
				return err
			}
		}
		return nil
	})
}

// churn writes keys between the stable ones until done, and at least once.
func churn(ctx context.Context, s store.Storage, writer int, done *atomic.Bool) error {
	for n := 0; ; n++ {
		key := fmt.Sprintf("k/stable%d-%d", n%60, writer)
		_, err := put(ctx, s, key, fmt.Sprint(n))
		if n%3 == 0 {
			err = errors.Join(err, s.Delete(ctx, key, store.Any()))
		}
		if err != nil || done.Load() {
			return err
		}
	}
}

func listOnce(ctx context.Context, s store.Storage, stable []string) error {
	keys, err := keysOf(s.List(ctx, "k/"))
	if err != nil {
		return err
	}
	times := make(map[string]int)
	for _, key := range keys {
		if times[key]++; times[key] > 1 {
			return fmt.Errorf("%q came twice", key)
		}
	}
	for _, key := range stable {
		if times[key] == 0 {
			return fmt.Errorf("%q was skipped", key)
		}
	}
	return nil
}

func checkListEarlyEnd(ctx context.Context, s store.Storage) error {
	keys := []string{"a", "b", "c", "d"}
	for _, key := range keys {
		if _, err := put(ctx, s, key, key); err != nil {
			return err
		}
	}
	calls := 0
	s.List(ctx, "")(func(_ store.Meta, err error) bool {
		calls++
		return calls < 2
	})
	if calls != 2 {
		return fmt.Errorf("the loop went on: %d items after it ended", calls-2)
	}
	if _, err := put(ctx, s, "a", "again"); err != nil { // nothing is left locked or open
		return err
	}
	return wantKeys(ctx, s, "", keys...)
}

func checkListBody(ctx context.Context, s store.Storage) error {
	for _, key := range []string{"k/a", "k/b", "k/c"} {
		if _, err := put(ctx, s, key, key); err != nil {
			return err
		}
	}
	for meta, err := range s.List(ctx, "k/") {
		if err != nil {
			return err
		}
		_, errStore := put(ctx, s, "copy/"+meta.Key, meta.Key)
		_, errList := keysOf(s.List(ctx, "k/"))
		errLoad := wantValue(ctx, s, meta.Key, meta.Key)
		errDelete := s.Delete(ctx, meta.Key, store.IfVersion(meta.Version))
		if err := errors.Join(errStore, errList, errLoad, errDelete); err != nil {
			return err
		}
	}
	return wantKeys(ctx, s, "", "copy/k/a", "copy/k/b", "copy/k/c")
}

func checkListContext(ctx context.Context, s store.Storage) error {
	for _, key := range []string{"a", "b", "c"} {
		if _, err := put(ctx, s, key, key); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var metas []store.Meta
	var errs []error
	for meta, err := range s.List(ctx, "") {
		metas, errs = append(metas, meta), append(errs, err)
		cancel()
	}
	if len(errs) != 2 || errs[0] != nil || !errors.Is(errs[1], context.Canceled) || metas[1] != (store.Meta{}) {
		return fmt.Errorf("the loop saw %+v with errors %v", metas, errs)
	}
	return nil
}

func checkCloseTwice(_ context.Context, s store.Storage) error {
	c, ok := store.As[io.Closer](s)
	if !ok {
		return nil
	}
	return errors.Join(c.Close(), c.Close())
}

func checkUseAfterClose(ctx context.Context, s store.Storage) error {
	c, ok := store.As[io.Closer](s)
	if !ok {
		return nil
	}
	if _, err := put(ctx, s, "k", "v"); err != nil {
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

func put(ctx context.Context, s store.Storage, key, value string) (store.Version, error) {
	return s.Store(ctx, key, []byte(value), store.Any())
}

// callAll calls every method of Storage and returns the error of each.
func callAll(ctx context.Context, s store.Storage, key string) map[string]error {
	_, errLoad := s.Load(ctx, key)
	_, errStore := put(ctx, s, key, "new")
	_, errCreate := s.Store(ctx, key+"2", nil, store.IfAbsent())
	_, errList := keysOf(s.List(ctx, key))
	return map[string]error{
		"Load":   errLoad,
		"Store":  errStore,
		"Create": errCreate,
		"Delete": s.Delete(ctx, key, store.Any()),
		"List":   errList,
	}
}

// race runs f in n goroutines that start together, and joins their errors.
func race(n int, f func(i int) error) error {
	var wg sync.WaitGroup
	start := make(chan struct{})
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return errors.Join(errs...)
}

func keysOf(list func(func(store.Meta, error) bool)) ([]string, error) {
	var keys []string
	for meta, err := range list {
		if err != nil {
			return nil, err
		}
		keys = append(keys, meta.Key)
	}
	return keys, nil
}

func wantKeys(ctx context.Context, s store.Storage, prefix string, want ...string) error {
	got, err := keysOf(s.List(ctx, prefix))
	if err != nil {
		return err
	}
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		return fmt.Errorf("List of prefix %.40q = %.40q, want %.40q", prefix, got, want)
	}
	return nil
}

func wantValue(ctx context.Context, s store.Storage, key, want string) error {
	item, err := s.Load(ctx, key)
	if err != nil {
		return err
	}
	if string(item.Value) != want {
		return fmt.Errorf("Load = %.20q (%d bytes), want %.20q (%d bytes)", item.Value, len(item.Value), want, len(want))
	}
	return nil
}

func wantErr(got, want error) error {
	switch {
	case errors.Is(got, want):
		return nil
	case got == nil:
		return fmt.Errorf("no error, want %w", want)
	}
	return fmt.Errorf("the error is %w, want %w", got, want)
}

func wantAllErr(calls map[string]error, want error) error {
	for name, err := range calls {
		if err := wantErr(err, want); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func wantConflict(err error) error {
	var conflict *store.ConflictError
	switch {
	case err == nil:
		return errors.New("no error, want a *ConflictError")
	case errors.As(err, &conflict) && errors.Is(err, store.ErrConflict):
		return nil
	}
	return fmt.Errorf("the error is %w, want a *ConflictError", err)
}

func wantCurrent(err error, want store.Version) error {
	var conflict *store.ConflictError
	if !errors.As(err, &conflict) {
		return wantConflict(err)
	}
	if conflict.Current != want {
		return fmt.Errorf("the current version is %q, want %q", conflict.Current, want)
	}
	return nil
}
