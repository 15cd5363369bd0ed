package filestore

import (
	"context"
	"errors"
	"testing"

	"github.com/everfresh-go/everfresh/store"
)

type freeLock struct{}

func (freeLock) TryLock() (bool, error) { return true, nil }
func (freeLock) Unlock() error          { return nil }

// memStore opens a store on a tree in memory.
func memStore(t tree) (*Store, error) {
	s := newStore(t, newLock(freeLock{}), config{maxValue: 1 << 20, quarantine: 2})
	return s, s.prepare()
}

// absent stands for no item where a value is expected.
const absent = "\x00absent"

// A powerTest runs a workload and looks at all states that a loss of power would
// leave after each of its steps.
type powerTest struct {
	disk    *memTree
	settled map[string]string // what each key must have: the last write that returned
	writing map[string]string // what it may have too: the write in progress

	states, torn, lost, failed int
}

// crash looks at the states after one step.
func (p *powerTest) crash() {
	p.disk.afterPowerLoss(func(image *memTree) {
		p.states++
		s, err := memStore(image)
		if err != nil || len(image.live[tmpDir]) != 0 {
			p.failed++
			return
		}
		for key, want := range p.settled {
			item, err := s.Load(context.Background(), key)
			got := string(item.Value)
			if errors.Is(err, store.ErrNotFound) {
				got, err = absent, nil
			}
			other, underWay := p.writing[key]
			switch {
			case err != nil:
				p.torn++
			case got != want && (!underWay || got != other):
				p.lost++
			}
		}
	})
}

// run writes: new keys, replacements, with and without conditions, deletes.
func (p *powerTest) run(t *testing.T) {
	t.Helper()
	p.disk.step = p.crash
	s, err := memStore(p.disk)
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range []struct{ key, value string }{
		{"a", "first"}, {"b", "other"}, {"a", "second, which is longer"}, {"b", absent}, {"a", ""}, {"b", "again"}, {"a", absent}, {"a", "back"}, {"b", "last"},
	} {
		if _, ok := p.settled[w.key]; !ok {
			p.settled[w.key] = absent
		}
		p.writing = map[string]string{w.key: w.value}
		if w.value == absent {
			err = s.Delete(t.Context(), w.key, store.Any())
		} else {
			_, err = s.Store(t.Context(), w.key, []byte(w.value), store.Any())
		}
		if err != nil {
			t.Fatal(err)
		}
		p.settled[w.key], p.writing = w.value, nil
		p.crash()
		if i%3 == 2 {
			p.disk.writeBack(tmpDir) // or there were too many states to look at
		}
	}
}

func TestPowerLoss(t *testing.T) {
	for _, tt := range []struct {
		name       string
		breakIt    func(*memTree)
		torn, lost bool
	}{
		{"the store", func(*memTree) {}, false, false},
		{"without sync of the file", func(d *memTree) { d.skipFileSync = true }, true, false},
		{"without sync of the directory", func(d *memTree) { d.skipDirSync = true }, false, true},
		{"in place of a rename", func(d *memTree) { d.inPlace = true }, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &powerTest{disk: newMemTree(), settled: make(map[string]string)}
			tt.breakIt(p.disk)
			p.run(t)
			t.Logf("%d states, %d torn, %d lost", p.states, p.torn, p.lost)
			if p.states < 200 || p.failed > 0 {
				t.Errorf("%d states, of which %d could not be opened or kept a file in tmp", p.states, p.failed)
			}
			if tt.torn != (p.torn > 0) || tt.lost != (p.lost > 0) {
				t.Errorf("of %d states %d tear a record and %d lose a write; want torn %t, lost %t",
					p.states, p.torn, p.lost, tt.torn, tt.lost)
			}
		})
	}
}

// TestPowerLossWhileADamagedRecordIsReplaced: whatever is lost, the write is not once
// it has returned, and no other record is touched.
func TestPowerLossWhileADamagedRecordIsReplaced(t *testing.T) {
	disk := newMemTree()
	s, err := memStore(disk)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "a", "untouched")
	put(t, s, "b", "will be damaged")
	f := disk.live[recordsDir][fileName("b")]
	f.live[len(f.live)-1] ^= 1
	f.disk[len(f.disk)-1] ^= 1

	p := &powerTest{disk: disk, settled: map[string]string{"a": "untouched"}}
	disk.step = p.crash
	put(t, s, "b", "new")
	p.settled["b"] = "new"
	p.crash()
	if err := s.Delete(t.Context(), "a", store.Any()); err != nil {
		t.Fatal(err)
	}
	disk.afterPowerLoss(func(image *memTree) {
		if n := len(image.live[quarantineDir]); n != 1 {
			t.Errorf("%d records in quarantine after a loss of power, want 1", n)
		}
	})
	if p.states < 20 || p.torn+p.failed > 0 {
		t.Errorf("%d states, %d torn, %d not opened", p.states, p.torn, p.failed)
	}
}

// TestDeleteOfAbsentKeyIsDurable: another process's Delete may have ended before its
// sync, and its removal must not come undone after one that returned.
func TestDeleteOfAbsentKeyIsDurable(t *testing.T) {
	disk := newMemTree()
	s, err := memStore(disk)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "k", "v")
	if err := disk.Remove(recordsDir + "/" + fileName("k")); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "k", store.Any()); err != nil {
		t.Fatal(err)
	}
	disk.afterPowerLoss(func(image *memTree) {
		s, err := memStore(image)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Load(t.Context(), "k"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("after a loss of power Load = %v, want ErrNotFound", err)
		}
	})
}
