package hostpool

// Stats counts what a pool holds at one moment. Only tests look at it.
type Stats struct {
	Running int // tasks on a worker; functions of Go are not among them
	Parked  int // tasks that have not started
	Queues  int // hosts that have a task of either kind
}

// A Load counts what a pool holds of one host at one moment.
type Load struct {
	Name            string
	Running, Parked int
}

// Stats returns the pool's counts.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{Running: p.running, Parked: p.parked, Queues: len(p.queues)}
}

// Loads returns the counts of each host that has a task, in no particular order, or nil
// if there is none.
func (p *Pool) Loads() []Load {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queues) == 0 {
		return nil
	}
	all := make([]Load, 0, len(p.queues))
	for _, q := range p.queues {
		all = append(all, Load{Name: q.name, Running: q.running, Parked: q.parked()})
	}
	return all
}

// A runFunc is a function that is a Runner.
type runFunc func()

func (f runFunc) Run() { f() }
