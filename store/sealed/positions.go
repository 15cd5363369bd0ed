package sealed

import (
	"sync"

	"github.com/everfresh-go/everfresh/store"
)

// maxPositions limits how many keys a Store remembers.
const maxPositions = 1 << 20

// A mark is what is known about a key: the highest position seen, and the version at that
// position, or "" if the key was deleted afterwards. The inner store may have another
// version by now. The zero mark means that the key has not been seen.
type mark struct {
	position uint64
	version  store.Version
}

// positions remembers the mark of each key. Beyond the limit it drops an arbitrary one.
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

// note remembers m, unless a higher position has been seen.
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

// deleted remembers that the key is absent. The position stays, so that the deleted record
// is not accepted if it is put back.
func (p *positions) deleted(n name) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m, ok := p.marks[n]; ok {
		p.marks[n] = mark{position: m.position}
	}
}
