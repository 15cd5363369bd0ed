package hostpool

// What stands here is called with Pool.mu held.

// pick returns the task to start now, if there is one, and its lane, in which it
// counts as running from now on.
func (p *Pool) pick() (*lane, *Task) {
	for c := range p.turns {
		turn := p.turns[c].first
		if turn == nil {
			continue
		}
		l := turn.of
		turn.leave() // settle puts it at the end, if there is more to do
		t := l.tasks[c].first.of
		p.unpark(t)
		l.running++
		p.settle(l)
		return l, t
	}
	return nil, nil
}

func (p *Pool) park(l *lane, t *Task, c class) {
	t.lane = l
	l.tasks[c].push(&t.place, t)
	p.parked++
	p.settle(l)
}

// unpark takes t out of its lane, which the caller must settle.
func (p *Pool) unpark(t *Task) {
	t.lane = nil
	t.place.leave()
	p.parked--
}

// settle gives l the turns that it should have, and ends it if it has no task left.
// A turn that it has already keeps its place.
func (p *Pool) settle(l *lane) {
	for c := range p.turns {
		ready := l.tasks[c].len > 0 && l.running < p.perLane
		switch {
		case !ready:
			l.turn[c].leave()
		case l.turn[c].in == nil:
			p.turns[c].push(&l.turn[c], l)
		}
	}
	if l.running == 0 && l.parked() == 0 {
		delete(p.lanes, l.name)
		l.name = ""
		p.spare = l
	}
}

// laneNamed returns the lane of that name. One that is new must get a task before mu
// is free.
func (p *Pool) laneNamed(name string) *lane {
	if l := p.lanes[name]; l != nil {
		return l
	}
	l := p.spare
	if l == nil {
		l = new(lane)
	}
	p.spare = nil
	l.name = name
	p.lanes[name] = l
	return l
}

func (l *lane) parked() int { return l.tasks[urgent].len + l.tasks[patient].len }

func classOf(urgently bool) class { //nolint:revive // The flag ends here: this is where it becomes a class.
	if urgently {
		return urgent
	}
	return patient
}
