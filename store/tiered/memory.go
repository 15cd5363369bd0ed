package tiered

import (
	"container/list"
	"time"

	"github.com/everfresh-go/everfresh/store"
)

// slotSize is the approximate size of a slot without its key and its value, in bytes.
const slotSize = 256

// A state is the state of a key: a value with its version, or the absence of both.
type state struct {
	value   []byte // never modified, so it may be read without the lock
	version store.Version
	absent  bool
}

// A slot is the entry of one key. It exists while it holds a state or has users. All its
// fields are guarded by the mutex of the tier.
type slot struct {
	key     string
	users   int    // calls in progress that use it
	writers int    // users that are writing to the back store
	changes uint64 // completed writes; a change tells a call that a write came in between
	held    bool
	dirty   bool  // whether the held state is not in the back store yet
	state   state // valid if held
	since   time.Time
	recent  *list.Element // its place in memory.recent if held and not dirty
}

func cost(key string, value []byte) int { return slotSize + len(key) + len(value) }

// memory holds states up to a number of bytes. States that the back store has as well
// are evicted, the least recently used first; dirty ones are not. All its fields are
// guarded by the mutex of the tier.
type memory struct {
	max     int
	clean   int // bytes of states that are not dirty
	pending int // bytes of dirty states
	slots   map[string]*slot
	dirty   map[*slot]struct{}
	recent  list.List // of *slot, most recently used first
}

func newMemory(maxBytes int) *memory {
	return &memory{max: maxBytes, slots: make(map[string]*slot), dirty: make(map[*slot]struct{})}
}

// use returns the slot of key. The caller ends its use with done.
func (m *memory) use(key string) *slot {
	sl := m.slots[key]
	if sl == nil {
		sl = &slot{key: key}
		m.slots[key] = sl
	}
	sl.users++
	return sl
}

func (m *memory) done(sl *slot) {
	sl.users--
	m.tidy(sl)
}

func (m *memory) tidy(sl *slot) {
	if !sl.held && sl.users == 0 && m.slots[sl.key] == sl {
		delete(m.slots, sl.key)
	}
}

// touch makes sl the most recently used slot.
func (m *memory) touch(sl *slot) {
	if sl.recent != nil {
		m.recent.MoveToFront(sl.recent)
	}
}

// keep puts st, which the back store has, into sl if there is room.
func (m *memory) keep(sl *slot, st state, now time.Time) {
	m.forget(sl)
	need := cost(sl.key, st.value)
	if m.pending+need > m.max {
		return
	}
	m.evictFor(need)
	sl.held, sl.state, sl.since = true, st, now
	sl.recent = m.recent.PushFront(sl)
	m.clean += need
}

// write puts st, which the back store does not have yet, into sl. It returns false if
// there is no room.
func (m *memory) write(sl *slot, st state) bool {
	need, others := cost(sl.key, st.value), m.pending
	if sl.dirty {
		others -= cost(sl.key, sl.state.value)
	}
	if others+need > m.max {
		return false
	}
	m.forget(sl)
	m.evictFor(need)
	sl.held, sl.dirty, sl.state = true, true, st
	sl.changes++
	m.pending += need
	m.dirty[sl] = struct{}{}
	return true
}

// written marks the state of sl as written to the back store.
func (m *memory) written(sl *slot, now time.Time) {
	st := sl.state
	m.forget(sl)
	if !st.absent {
		m.keep(sl, st, now)
	}
	m.tidy(sl)
}

// forget drops the state of sl, if it holds one.
func (m *memory) forget(sl *slot) {
	if !sl.held {
		return
	}
	size := cost(sl.key, sl.state.value)
	if sl.dirty {
		m.pending -= size
		delete(m.dirty, sl)
	} else {
		m.clean -= size
		m.recent.Remove(sl.recent)
	}
	sl.held, sl.dirty, sl.state, sl.recent = false, false, state{}, nil
}

func (m *memory) evictFor(need int) {
	for m.clean+m.pending+need > m.max {
		oldest := m.recent.Back()
		if oldest == nil {
			return
		}
		sl, _ := oldest.Value.(*slot)
		m.forget(sl)
		m.tidy(sl)
	}
}

// clear drops everything, and makes calls in progress not keep what they read.
func (m *memory) clear() {
	for _, sl := range m.slots {
		sl.changes++
		m.forget(sl)
		m.tidy(sl)
	}
}
