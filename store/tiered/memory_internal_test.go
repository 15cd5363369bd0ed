package tiered

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestMemoryAccounts does what tiers do with slots, in any order, and counts again.
func TestMemoryAccounts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	m := newMemory(4000)
	for range 20_000 {
		sl := m.use(fmt.Sprint("k", r.IntN(20)))
		st := state{value: make([]byte, r.IntN(600))}
		switch r.IntN(6) {
		case 0:
			if !sl.dirty {
				m.keep(sl, st, time.Time{})
			}
		case 1:
			m.write(sl, st)
		case 2:
			m.write(sl, state{absent: true})
		case 3:
			if sl.dirty {
				m.written(sl, time.Time{})
			}
		case 4:
			if !sl.dirty {
				m.forget(sl)
			}
		case 5:
			m.touch(sl)
		}
		m.done(sl)
		checkMemory(t, m)
	}
	m.clear()
	checkMemory(t, m)
	if len(m.slots) != 0 {
		t.Errorf("%d slots are left", len(m.slots))
	}
}

func checkMemory(t *testing.T, m *memory) {
	t.Helper()
	var clean, pending, dirty, recent int
	for key, sl := range m.slots {
		switch {
		case !sl.held && sl.users == 0:
			t.Fatalf("slot %s is empty and unused", key)
		case sl.dirty:
			pending += cost(key, sl.state.value)
			dirty++
		case sl.held:
			clean += cost(key, sl.state.value)
			recent++
		}
	}
	if clean != m.clean || pending != m.pending || dirty != len(m.dirty) || recent != m.recent.Len() {
		t.Fatalf("memory counts %d and %d bytes, %d dirty and %d others; there are %d, %d, %d, %d",
			m.clean, m.pending, len(m.dirty), m.recent.Len(), clean, pending, dirty, recent)
	}
	if clean+pending > m.max {
		t.Fatalf("memory holds %d bytes of %d", clean+pending, m.max)
	}
}
