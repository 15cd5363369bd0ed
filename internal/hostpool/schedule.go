package hostpool

// The functions in this file are called with Pool.mu held.

// pick returns the task to start now, if there is one, and its queue. The task counts
// as running from now on.
func (p *Pool) pick() (*hostQueue, *Task) {
	for c := range p.turns {
		turn := p.turns[c].first
		if turn == nil {
			continue
		}
		q := turn.of
		turn.leave() // updateTurns puts the queue at the end if it has more to run
		t := q.tasks[c].first.of
		p.unpark(t)
		q.running++
		p.updateTurns(q)
		return q, t
	}
	return nil, nil
}

// park puts t, which is in no queue, at the end of q's tasks of class c.
func (p *Pool) park(q *hostQueue, t *Task, c class) {
	t.queue = q
	q.tasks[c].push(&t.place, t)
	p.parked++
	p.updateTurns(q)
}

// unpark takes t out of its queue. The caller calls updateTurns afterwards.
func (p *Pool) unpark(t *Task) {
	t.queue = nil
	t.place.leave()
	p.parked--
}

// updateTurns gives q a turn in each class in which it can run a task, and takes the
// others away; a turn that q already has keeps its place. A queue without tasks is
// removed.
func (p *Pool) updateTurns(q *hostQueue) {
	// A queue has a turn in the classes of which it could start a task now.
	for c := range p.turns {
		ready := q.tasks[c].len > 0 && q.running < p.perHost
		switch {
		case !ready:
			q.turn[c].leave()
		case q.turn[c].in == nil:
			p.turns[c].push(&q.turn[c], q)
		}
	}
	// A host without tasks needs no queue; the next new host can use it.
	if q.running == 0 && q.parked() == 0 {
		delete(p.queues, q.name)
		q.name = ""
		p.spare = q
	}
}

// queueOf returns the queue of the named host, which it makes if there is none. A new
// queue must get a task before mu is released.
func (p *Pool) queueOf(name string) *hostQueue {
	if q := p.queues[name]; q != nil {
		return q
	}
	q := p.spare
	if q == nil {
		q = new(hostQueue)
	}
	p.spare = nil
	q.name = name
	p.queues[name] = q
	return q
}

// parked counts the tasks that have not started.
func (q *hostQueue) parked() int { return q.tasks[urgent].len + q.tasks[patient].len }

func classOf(urgently bool) class { //nolint:revive // The flag ends here: this is where it becomes a class.
	if urgently {
		return urgent
	}
	return patient
}
