package sealed

import (
	"sync"

	"github.com/everfresh-go/everfresh/store"
)

// maxPositions bounds how many keys a Store remembers.
const maxPositions = 1 << 20

// A mark is what is known of a key: the highest position seen, and the version that
// had it, "" if the key was absent afterwards. The version is only a guess of what
// the inner store holds now. The zero mark stands for a key never seen.
type mark struct {
	position uint64
	version  store.Version
}

// positions remembers the mark of each key. Past the limit it forgets any one.
type positions struct {
	mu    sync.Mutex
	marks map[name]mark // guarded by mu
	limit int
}

func (p *positions) of(n name) mark {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.marks[n]
}

// note remembers m, unless a higher position was seen.
func (p *positions) note(n name, m mark) {
	p.mu.Lock()
	defer p.mu.Unlock()
	old, ok := p.marks[n]
	if m.position < old.position {
		return
	}
	if p.marks == nil {
		p.marks = make(map[name]mark)
	}
	if !ok && len(p.marks) >= p.limit {
		for victim := range p.marks {
			delete(p.marks, victim)
			break
		}
	}
	p.marks[n] = m
}

// deleted remembers that the key is absent. Its position stays, as what was there
// before must not come back.
func (p *positions) deleted(n name) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m, ok := p.marks[n]; ok {
		p.marks[n] = mark{position: m.position}
	}
}
