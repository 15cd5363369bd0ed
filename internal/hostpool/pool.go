// Package hostpool runs tasks on a bounded number of workers and limits how many of
// them work for the same host. Each host that has tasks has a queue of its own.
//
// A worker never waits for a slot: a task whose host is at its limit is parked in the
// host's queue, and the worker runs another task. So one slow or dead host delays no
// other.
package hostpool

import (
	"context"
	"sync"
)

// A class says which of two parked tasks runs first: the one of the lower class.
type class int

const (
	urgent class = iota // a caller waits for the task
	patient
	classes // the number of classes
)

// A Pool runs a limited number of tasks at once, in all and for each host.
//
// Urgent tasks go first, both within a host's queue and among hosts; while they keep a
// host or all workers busy, other tasks wait. Within the same urgency, hosts take
// turns, and the tasks of a host run in the order in which they were submitted.
//
// Workers are goroutines that start when there is a task for them and end when there
// is none: an idle pool holds no goroutine and no queue. Every operation is O(1),
// except where its comment says otherwise.
//
// All methods are safe for concurrent use. A running task may call them, and so may a
// caller that holds a lock of its own, since the pool calls nothing while it holds its
// lock. Only Wait blocks. A Pool is made by [New].
type Pool struct {
	workers, perHost int // the limits, which never change

	// mu guards the fields below, every hostQueue, and every Task except its Do.
	//
	// Whenever mu is free, a queue has a turn only if all workers are busy: a call that
	// brings a task or frees a slot also starts the task that this made ready. It is
	// never more than one.
	mu      sync.Mutex
	queues  map[string]*hostQueue    // by host: those that have a task, parked or running
	turns   [classes]list[hostQueue] // those that have a task of the class and room to run it
	running int                      // tasks that run, each on a worker of its own
	parked  int                      // tasks that have not started
	others  int                      // functions of Go that run
	closed  bool
	idle    chan struct{} // closed when the last goroutine ends; nil unless a Wait needs it
	spare   *hostQueue    // the last queue to become empty, for reuse; nil if there is none
}

// A hostQueue is a host's queue. It exists as long as the host has tasks.
type hostQueue struct {
	name    string              // of the host
	running int                 // tasks of the host that run
	tasks   [classes]list[Task] // tasks of the host that are parked

	// turn is the queue's place in Pool.turns, one for each class, so that an urgent
	// task does not cost the host's other tasks their turn.
	turn [classes]node[hostQueue]
}

// A Runner does the work of a task. It is an interface so that the owner of a task can be
// its Runner without an allocation; a method value would be one.
type Runner interface{ Run() }

// A Task is one unit of work. It belongs to the caller and may be a part of a larger
// struct; with Do set, its zero value is ready for [Pool.Submit]. It must not be
// copied, nor submitted again while it is parked. Once it has started, has been taken
// or was returned by [Pool.Close], it may be submitted again, even by its own Do.
type Task struct {
	// Do does the work. Its Run must not panic: the pool would still count its slots
	// correctly, but it does not recover, since only the owner knows what state the
	// panic has left.
	Do Runner

	queue *hostQueue // where it is parked; nil if it is not parked
	place node[Task] // its place in one of queue.tasks
}

// New returns a pool that runs at most workers tasks at once, and at most perHost of
// the same host. A limit below 1 counts as 1.
func New(workers, perHost int) *Pool {
	return &Pool{
		workers: max(workers, 1),
		perHost: max(perHost, 1),
		queues:  make(map[string]*hostQueue),
	}
}

// Submit runs t.Do on a worker: at once, if a worker is free and the named host is
// below its limit, and otherwise when its turn comes. After Close it returns false and
// does not accept the task. It panics if t is parked already.
func (p *Pool) Submit(name string, t *Task, urgently bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.queue != nil {
		panic("hostpool: task submitted while it is parked")
	}
	if p.closed {
		return false
	}
	p.park(p.queueOf(name), t, classOf(urgently))

	// A free worker starts at once, with this task if the host has room for it.
	if p.running == p.workers {
		return true
	}
	if q, t := p.pick(); t != nil {
		p.running++
		go p.work(q, t)
	}
	return true
}

// Urge makes a parked task urgent. The task goes behind the urgent tasks that its host
// already has. Urge does nothing if t is urgent or not parked.
func (p *Pool) Urge(t *Task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := t.queue
	if q == nil || t.place.in == &q.tasks[urgent] {
		return
	}
	t.place.leave()
	q.tasks[urgent].push(&t.place, t)
	p.updateTurns(q)
}

// Take takes a parked task out of the pool. The caller then runs it, outside the limits
// and unknown to Wait. Take returns false if t is not parked because it has started, has
// been taken or was returned by Close.
func (p *Pool) Take(t *Task) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := t.queue
	if q == nil {
		return false
	}
	p.unpark(t)
	p.updateTurns(q)
	return true
}

// Go runs f at once, on a goroutine of its own and outside the limits, but Wait waits
// for it. After Close it returns false and does not run f. Like [Task].Do, f must not
// panic.
func (p *Pool) Go(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.others++
	go func() {
		defer p.otherEnded()
		f()
	}()
	return true
}

// Close keeps further tasks from starting and returns those that were parked, in no
// particular order. They will not run, which the owner should report. Tasks that
// are running continue; see Wait. A further Close returns nil. Close is O(parked tasks).
func (p *Pool) Close() []*Task {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	var parked []*Task
	for _, q := range p.queues {
		for c := range q.tasks {
			for n := q.tasks[c].first; n != nil; n = q.tasks[c].first {
				parked = append(parked, n.of)
				p.unpark(n.of)
			}
		}
		p.updateTurns(q)
	}
	return parked
}

// Wait waits until no worker and no function of Go runs. After Close, nothing that the
// pool has started is left then; before Close, new tasks may follow. Wait returns ctx's
// error if ctx ends first. In a task, it returns only when ctx ends.
func (p *Pool) Wait(ctx context.Context) error {
	idle := p.whenIdle()
	if idle == nil {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// whenIdle returns a channel that is closed when the last goroutine ends, or nil if
// there is none now.
func (p *Pool) whenIdle() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running+p.others == 0 {
		return nil
	}
	if p.idle == nil {
		p.idle = make(chan struct{})
	}
	return p.idle
}

// work is a worker. It runs t, a task of q, and then the tasks that are ready.
func (p *Pool) work(q *hostQueue, t *Task) {
	growStack()
	defer func() {
		if t == nil {
			return
		}
		// Run has panicked or called runtime.Goexit, which ends this goroutine, too:
		// another one takes its place.
		if q, t = p.next(q); t != nil {
			go p.work(q, t)
		}
	}()
	for t != nil {
		t.Do.Run()
		q, t = p.next(q)
	}
}

// next frees the slot of a task of q that has ended, and returns the task that its
// worker runs next, with the task's queue. A nil task ends the worker.
func (p *Pool) next(q *hostQueue) (*hostQueue, *Task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q.running--
	p.updateTurns(q)
	q, t := p.pick()
	if t == nil {
		p.running--
		p.checkIdle()
	}
	return q, t
}

func (p *Pool) otherEnded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.others--
	p.checkIdle()
}

func (p *Pool) checkIdle() {
	if p.running+p.others == 0 && p.idle != nil {
		close(p.idle)
		p.idle = nil
	}
}

// growStack grows the stack of a new worker at once to the size that an HTTP exchange
// needs. Otherwise the stack would grow step by step and be copied three times.
//
//go:noinline
func growStack() {
	var room [5 << 10]byte
	use(&room)
}

//go:noinline
func use(*[5 << 10]byte) {}
