package sealed_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/everfresh-go/everfresh/internal/everfreshtest"
	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/sealed"
)

// tampered returns what an attacker who can write to the inner store may make of a record,
// by the name of what was done. Those called "repaired" have a correct checksum.
func tampered(innerKey string, b, other []byte) map[string][]byte {
	all := map[string][]byte{
		"swapped": other, "empty": {}, "twice": slices.Concat(b, b), "longer": slices.Concat(b, []byte{0}),
	}
	for i := range b {
		flipped := bytes.Clone(b)
		flipped[i] ^= 1 << (i % 8)
		all[fmt.Sprint("flipped at ", i)] = flipped
		all[fmt.Sprint("cut at ", i)] = bytes.Clone(b[:i])
	}
	for what, forged := range all {
		if len(forged) > sha256.Size {
			body := forged[:len(forged)-sha256.Size]
			sum := sha256.Sum256(slices.Concat(body, []byte(innerKey)))
			all["repaired, "+what] = slices.Concat(body, sum[:])
		}
	}
	for what, forged := range all {
		if bytes.Equal(forged, b) {
			delete(all, what) // its checksum only was flipped, and then repaired
		}
	}
	return all
}

func TestTamperingIsDetected(t *testing.T) {
	inner := new(store.Memory)
	s := sealed.New(inner, newKeys(t))
	put(t, s, "k", "value")
	good := onlyItem(t, inner)
	put(t, s, "other", "other value")
	var other []byte
	for _, item := range items(t, inner) {
		if item.Key != good.Key {
			other = item.Value
		}
	}
	for what, forged := range tampered(good.Key, good.Value, other) {
		if _, err := inner.Store(t.Context(), good.Key, forged, store.Any()); err != nil {
			t.Fatal(err)
		}
		item, err := s.Load(t.Context(), "k")
		repaired := strings.HasPrefix(what, "repaired")
		switch {
		case err == nil:
			t.Errorf("%s: Load = %q", what, item.Value)
		case !repaired && !errors.Is(err, store.ErrCorrupt):
			t.Errorf("%s: the error is %v, want ErrCorrupt", what, err)
		case !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrKeyUnavailable):
			t.Errorf("%s: the error is %v", what, err)
		}
	}
	if keys, err := listed(s.List(t.Context(), "")); !slices.Equal(keys, []string{"other"}) || err == nil {
		t.Errorf("List = %q, %v, want the intact record and an error", keys, err)
	}
	put(t, s, "k", "new") // a damaged record stays until it is replaced
	wantValue(t, s, "k", "new")
}

func TestWrongKeysDiscardNothing(t *testing.T) {
	inner := new(store.Memory)
	right, names := newKey("k1"), sealed.NewSecret()
	good := sealed.New(inner, sealed.Keys{Names: names, Records: ringOf(t, right)})
	put(t, good, "k", "value")
	before := fmt.Sprint(items(t, inner))

	for _, tt := range []struct {
		name string
		keys sealed.Keys
		load error
	}{
		{"unknown id", sealed.Keys{Names: names, Records: ringOf(t, newKey("k2"))}, store.ErrKeyUnavailable},
		{"other secret of that id", sealed.Keys{Names: names, Records: ringOf(t, newKey("k1"))}, store.ErrKeyUnavailable},
		{"a ring without keys", sealed.Keys{Names: names, Records: new(sealed.KeyRing)}, store.ErrKeyUnavailable},
		{"a nil ring", sealed.Keys{Names: names, Records: (*sealed.KeyRing)(nil)}, store.ErrKeyUnavailable},
		{"an AEAD that only fails", sealed.Keys{Names: names, Records: failing{}}, store.ErrKeyUnavailable},
		{"no keys", sealed.Keys{Names: names}, store.ErrKeyUnavailable},
		{"no secret of names", sealed.Keys{Records: ringOf(t, right)}, store.ErrKeyUnavailable},
		{"nothing", sealed.Keys{}, store.ErrKeyUnavailable},
		{"another secret of names", sealed.Keys{Names: sealed.NewSecret(), Records: ringOf(t, right)}, store.ErrNotFound},
	} {
		s := sealed.New(inner, tt.keys)
		wantLoadErr(t, s, tt.load)
		if keys, err := listed(s.List(t.Context(), "")); len(keys) != 0 || !errors.Is(err, store.ErrKeyUnavailable) {
			t.Errorf("%s: List = %q, %v, want ErrKeyUnavailable", tt.name, keys, err)
		}
		if n, err := s.Rekey(t.Context()); n != 0 || !errors.Is(err, store.ErrKeyUnavailable) {
			t.Errorf("%s: Rekey = %d, %v, want ErrKeyUnavailable", tt.name, n, err)
		}
		if _, err := s.Store(t.Context(), "k", []byte("x"), store.IfVersion("none")); err == nil {
			t.Errorf("%s: a Store succeeded although its condition does not hold", tt.name)
		}
		if after := fmt.Sprint(items(t, inner)); after != before {
			t.Fatalf("%s: the inner store has changed", tt.name)
		}
	}
	wantValue(t, good, "k", "value")
}

// failing is an AEAD that is out of order.
type failing struct{}

var errOutOfOrder = errors.New("out of order")

func (failing) Encrypt(_, _ []byte) ([]byte, error) { return nil, errOutOfOrder }
func (failing) Decrypt(_, _ []byte) ([]byte, error) { return nil, errOutOfOrder }

func TestErrorsOfAnAEAD(t *testing.T) {
	s := sealed.New(new(store.Memory), sealed.Keys{Names: sealed.NewSecret(), Records: failing{}})
	_, err := s.Store(t.Context(), "k", nil, store.Any())
	if !errors.Is(err, store.ErrKeyUnavailable) || !errors.Is(err, errOutOfOrder) {
		t.Errorf("Store: %v, want ErrKeyUnavailable with its cause", err)
	}
}

func TestUnreadableRecordCanBeReplaced(t *testing.T) {
	for what, err := range map[string]error{"damaged": store.ErrCorrupt, "encrypted": store.ErrKeyUnavailable} {
		inner := &everfreshtest.Hooked{Storage: new(store.Memory)}
		keys := newKeys(t)
		put(t, sealed.New(inner, keys), "k", "old")
		inner.LoadFunc = func(context.Context, string) (store.Item, error) { return store.Item{}, err }
		if _, err := sealed.New(inner, keys).Store(t.Context(), "k", []byte("new"), store.Any()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		inner.LoadFunc = nil
		wantValue(t, sealed.New(inner, keys), "k", "new")
	}
}

// TestReplay: who can write the inner store puts an older record back.
func TestReplay(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after func(t *testing.T, s *sealed.Store) // what this process does after the first Store
	}{
		{"replaced", func(t *testing.T, s *sealed.Store) { put(t, s, "k", "second") }},
		{"replaced twice", func(t *testing.T, s *sealed.Store) { put(t, s, "k", "second"); put(t, s, "k", "third") }},
		{"replaced by another process", func(t *testing.T, s *sealed.Store) {}},
		{"deleted and stored again", func(t *testing.T, s *sealed.Store) {
			if err := s.Delete(t.Context(), "k", store.Any()); err != nil {
				t.Fatal(err)
			}
			put(t, s, "k", "second")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inner, keys := new(store.Memory), newKeys(t)
			s := sealed.New(inner, keys)
			put(t, s, "k", "first")
			old := onlyItem(t, inner)
			tt.after(t, s)
			put(t, sealed.New(inner, keys), "k", "by another process")
			wantValue(t, s, "k", "by another process")

			if _, err := inner.Store(t.Context(), old.Key, old.Value, store.Any()); err != nil {
				t.Fatal(err)
			}
			wantLoadErr(t, s, sealed.ErrReplayed)
			wantLoadErr(t, s, store.ErrCorrupt)
			if keys, err := listed(s.List(t.Context(), "")); len(keys) != 0 || !errors.Is(err, sealed.ErrReplayed) {
				t.Errorf("List = %q, %v, want ErrReplayed only", keys, err)
			}
			if n, err := s.Rekey(t.Context()); n != 0 || !errors.Is(err, sealed.ErrReplayed) {
				t.Errorf("Rekey = %d, %v, want ErrReplayed", n, err)
			}
			// A process that was started since cannot know, as the documentation says.
			wantValue(t, sealed.New(inner, keys), "k", "first")

			put(t, s, "k", "repaired")
			wantValue(t, s, "k", "repaired")
			wantValue(t, sealed.New(inner, keys), "k", "repaired")
		})
	}
}

// TestLateLoadIsNoReplay: a Load that began before a Store may return what was there
// then.
func TestLateLoadIsNoReplay(t *testing.T) {
	inner := &everfreshtest.Hooked{Storage: new(store.Memory)}
	s := sealed.New(inner, newKeys(t))
	put(t, s, "k", "old")
	inner.LoadFunc = func(ctx context.Context, key string) (store.Item, error) {
		item, err := inner.Storage.Load(ctx, key)
		inner.LoadFunc = nil
		_, errStore := s.Store(ctx, "k", []byte("new"), store.Any())
		return item, errors.Join(err, errStore)
	}
	wantValue(t, s, "k", "old")
	wantValue(t, s, "k", "new")
}

// TestProcessesShareAStore: writes without conditions, by two processes in turn and at
// once, are never taken for replays.
func TestProcessesShareAStore(t *testing.T) {
	inner, keys := new(store.Memory), newKeys(t)
	processes := []*sealed.Store{sealed.New(inner, keys), sealed.New(inner, keys)}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			s := processes[i%2]
			for n := range 50 {
				if _, err := s.Store(t.Context(), "k", fmt.Append(nil, i, n), store.Any()); err != nil {
					t.Error(err)
				}
				if _, err := s.Load(t.Context(), "k"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// TestProcessesOverlap: another process writes between the first and the last step of a
// Store. That Store comes later, so its position is higher.
func TestProcessesOverlap(t *testing.T) {
	inner, keys := &everfreshtest.Hooked{Storage: new(store.Memory)}, newKeys(t)
	a, b := sealed.New(inner, keys), sealed.New(inner, keys)
	inner.StoreFunc = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		inner.StoreFunc = nil
		if v, err := b.Store(ctx, "k", []byte("of b"), store.Any()); err != nil {
			return v, err
		}
		return inner.Storage.Store(ctx, key, value, cond)
	}
	put(t, a, "k", "of a")
	wantValue(t, b, "k", "of a")
	wantValue(t, a, "k", "of a")
}

// TestRotationUnderWriters goes through all steps of a rotation while eight writers,
// of two processes, write and read.
func TestRotationUnderWriters(t *testing.T) {
	inner, names := new(store.Memory), sealed.NewSecret()
	last := newKey("0")
	rings := []*sealed.KeyRing{ringOf(t, last), ringOf(t, last)}
	var processes []*sealed.Store
	for _, ring := range rings {
		processes = append(processes, sealed.New(inner, sealed.Keys{Names: names, Records: ring}))
	}
	for i := range 20 {
		put(t, processes[0], fmt.Sprint("idle", i), "idle")
	}

	var done atomic.Bool
	var turns [8]atomic.Int64
	var wg sync.WaitGroup
	for i := range turns {
		wg.Go(func() {
			s, key := processes[i%2], fmt.Sprint("k", i/2)
			for n := 0; !done.Load(); n++ {
				_, err := s.Store(t.Context(), key, fmt.Append(nil, n), store.Any())
				_, errLoad := s.Load(t.Context(), key)
				_, errIdle := s.Load(t.Context(), fmt.Sprint("idle", n%20))
				if err := errors.Join(err, errLoad, errIdle); err != nil {
					t.Error(err)
					return
				}
				turns[i].Add(1)
			}
		})
	}
	for round := range 5 {
		next := newKey(fmt.Sprint(round + 1))
		set(t, rings, last, next)
		set(t, rings, next, last)
		rekeyAll(t, processes[0])
		for i := range turns { // writes that began with the former key have ended
			for end := turns[i].Load() + 2; turns[i].Load() < end && !t.Failed(); {
				runtime.Gosched()
			}
		}
		rekeyAll(t, processes[0])
		set(t, rings, next)
		last = next
	}
	done.Store(true)
	wg.Wait()
	for _, item := range items(t, inner) {
		if !bytes.Contains(item.Value, []byte("EVFS\x01\x01"+last.ID)) {
			t.Error("a record is encrypted with a former key")
		}
	}
}

func set(t *testing.T, rings []*sealed.KeyRing, primary sealed.Key, others ...sealed.Key) {
	t.Helper()
	for _, ring := range rings {
		if err := ring.Set(primary, others...); err != nil {
			t.Fatal(err)
		}
	}
}

// rekeyAll calls Rekey until there is nothing left to do.
func rekeyAll(t *testing.T, s *sealed.Store) {
	t.Helper()
	for {
		n, err := s.Rekey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
	}
}

func TestRekeyOverwritesNoWrite(t *testing.T) {
	inner, old := &everfreshtest.Hooked{Storage: new(store.Memory)}, newKey("old")
	ring := ringOf(t, old)
	s := sealed.New(inner, sealed.Keys{Names: sealed.NewSecret(), Records: ring})
	put(t, s, "k", "first")
	set(t, []*sealed.KeyRing{ring}, newKey("new"), old)

	inner.StoreFunc = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
		inner.StoreFunc = nil
		// Between the Load and the Store of Rekey.
		if v, err := s.Store(ctx, "k", []byte("of another process"), store.Any()); err != nil {
			return v, err
		}
		return inner.Storage.Store(ctx, key, value, cond)
	}
	if n, err := s.Rekey(t.Context()); n != 0 || err != nil {
		t.Errorf("Rekey = %d, %v, want 0: the other write has the new key", n, err)
	}
	wantValue(t, s, "k", "of another process")
}

func TestRekey(t *testing.T) {
	inner, first, second := new(store.Memory), newKey("first"), newKey("second")
	ring := ringOf(t, first)
	s := sealed.New(inner, sealed.Keys{Names: sealed.NewSecret(), Records: ring})
	put(t, s, "a", "1")
	put(t, s, "b", "2")
	set(t, []*sealed.KeyRing{ring}, second, first)
	put(t, s, "c", "3")
	if _, err := inner.Store(t.Context(), "foreign", []byte("x"), store.Any()); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Rekey(t.Context()); n != 2 || err != nil {
		t.Errorf("Rekey = %d, %v, want 2", n, err)
	}
	set(t, []*sealed.KeyRing{ring}, second)
	for key, value := range map[string]string{"a": "1", "b": "2", "c": "3"} {
		wantValue(t, s, key, value)
	}
	before := items(t, inner)
	if n, err := s.Rekey(t.Context()); n != 0 || err != nil {
		t.Errorf("a second Rekey = %d, %v, want 0", n, err)
	}
	if fmt.Sprint(items(t, inner)) != fmt.Sprint(before) {
		t.Error("a second Rekey wrote")
	}
}

func TestRekeyGoesOnPastUnreadableRecords(t *testing.T) {
	inner, names, first, second := new(store.Memory), sealed.NewSecret(), newKey("first"), newKey("second")
	for key, k := range map[string]sealed.Key{"a": first, "b": newKey("lost"), "c": first} {
		put(t, sealed.New(inner, sealed.Keys{Names: names, Records: ringOf(t, k)}), key, key)
	}
	s := sealed.New(inner, sealed.Keys{Names: names, Records: ringOf(t, second, first)})
	if n, err := s.Rekey(t.Context()); n != 2 || !errors.Is(err, store.ErrKeyUnavailable) {
		t.Errorf("Rekey = %d, %v, want 2 and ErrKeyUnavailable", n, err)
	}
	if n := len(items(t, inner)); n != 3 {
		t.Errorf("there are %d records, want 3", n)
	}
}

// plainAEAD is an AEAD without IsCurrent, as one of Tink's is.
type plainAEAD struct{ sealed.AEAD }

func TestRekeyWithAForeignAEAD(t *testing.T) {
	keys := newKeys(t)
	keys.Records = plainAEAD{keys.Records}
	s := sealed.New(new(store.Memory), keys)
	put(t, s, "k", "v")
	for range 2 {
		if n, err := s.Rekey(t.Context()); n != 1 || err != nil {
			t.Errorf("Rekey = %d, %v, want 1", n, err)
		}
	}
	wantValue(t, s, "k", "v")
}

func TestPowers(t *testing.T) {
	inner := new(store.Memory)
	s := sealed.New(inner, newKeys(t))
	if r, ok := store.As[store.Rekeyer](s); !ok || r != store.Rekeyer(s) {
		t.Error("the store is no Rekeyer")
	}
	if _, ok := store.As[*store.Memory](s); ok {
		t.Error("the inner store can be reached")
	}
	p, ok := store.As[store.Pinger](s)
	if !ok || p.Ping(t.Context()) != nil {
		t.Error("the store is no Pinger, or does not answer")
	}
	if p, _ := store.As[store.Pinger](sealed.New(inner, sealed.Keys{})); !errors.Is(p.Ping(t.Context()), store.ErrKeyUnavailable) {
		t.Error("a store without keys says that it is able to work")
	}
	c, ok := store.As[io.Closer](s)
	if !ok || c.Close() != nil || !errors.Is(p.Ping(t.Context()), store.ErrClosed) {
		t.Error("Close does not reach the inner store")
	}

	powerless := sealed.New(&everfreshtest.Hooked{Storage: inner}, newKeys(t))
	if _, ok := store.As[store.Pinger](powerless); ok {
		t.Error("Ping although the inner store has none")
	}
	if _, ok := store.As[io.Closer](powerless); ok {
		t.Error("Close although the inner store has none")
	}
}
