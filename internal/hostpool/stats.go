package hostpool

// Stats counts what a pool holds at one moment.
type Stats struct {
	Running int // tasks on a worker; functions of Go are not among them
	Parked  int // tasks that have not started
	Lanes   int // lanes that have a task of either kind
}

// A Load counts what a pool holds of one lane at one moment.
type Load struct {
	Name            string
	Running, Parked int
}

// Stats returns the pool's counts.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{Running: p.running, Parked: p.parked, Lanes: len(p.lanes)}
}

// Lanes returns the counts of each lane that has a task, in no particular order; nil
// if there is none. The slice is the caller's. It is O(lanes), during all of which no
// task starts.
func (p *Pool) Lanes() []Load {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lanes) == 0 {
		return nil
	}
	all := make([]Load, 0, len(p.lanes))
	for _, l := range p.lanes {
		all = append(all, Load{Name: l.name, Running: l.running, Parked: l.parked()})
	}
	return all
}
