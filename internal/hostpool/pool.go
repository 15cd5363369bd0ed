// Package hostpool runs tasks on a bounded number of workers, of which each lane gets a
// bounded share. A lane is a name that tasks have in common, such as a host.
//
// A worker never waits for a slot: a task whose lane has no room is parked in that
// lane, and the worker does something else. So one slow or dead host delays no other.
package hostpool

import (
	"context"
	"sync"
)

// A class says which of two parked tasks goes first: that of the lower class.
type class int

const (
	urgent class = iota // somebody waits for the task
	patient
	classes // how many there are
)

// A Pool runs tasks, at most so many at once, and at most so many of one lane.
//
// Urgent tasks go first, both inside their lane and among lanes; while they keep a
// lane or all workers busy, what is not urgent waits. Within the same urgency, lanes
// take turns, and a lane runs its tasks in the order in which they came.
//
// Workers are goroutines, started when there is a task for them and ended when there
// is none: a pool that has nothing to do holds no goroutine and no lane. Every
// operation is O(1), except where its comment says otherwise.
//
// All methods may be called by several goroutines at once, by a running task, and by
// a caller that holds a lock of its own, as the pool runs nothing foreign under its
// lock; only Wait blocks. A Pool is made by [New].
type Pool struct {
	workers, perLane int // the limits, never changed

	mu      sync.Mutex          // guards what follows, every lane, and every Task but its Run
	lanes   map[string]*lane    // those that have a task, parked or running
	turns   [classes]list[lane] // those that have a task of the class, and room to run it
	running int                 // tasks that run, each on a worker of its own
	parked  int                 // tasks that have not started
	others  int                 // functions of Go that run
	closed  bool
	idle    chan struct{} // closed when the last goroutine ends; nil while nobody waits for that
	spare   *lane         // the lane that ended last, to be used again; nil if there is none

	// Whenever mu is free, a lane has a turn only if all workers are busy: whoever
	// brings a task or frees a slot also starts what this made ready, which is one
	// task at most.
}

// A lane is what the pool knows of one name while there are tasks for it.
type lane struct {
	name    string
	running int
	tasks   [classes]list[Task] // the parked ones

	// turn is the lane's place in Pool.turns, one for each class, so that an urgent
	// task does not cost the others of its lane their turn.
	turn [classes]node[lane]
}

// A Task is one unit of work. It belongs to the caller and may be a part of a larger
// struct; with Run set, its zero value is ready for [Pool.Submit]. It must not be
// copied, nor submitted again while it is parked. Once it has started, was taken or
// was returned by [Pool.Close] it may be, even by its own Run.
type Task struct {
	// Run does the work. It must not panic: the pool would keep count of its slots,
	// but it does not recover, as only the owner can know what the panic has left.
	Run func()

	lane  *lane      // where it is parked; nil if it is not
	place node[Task] // in one of lane.tasks
}

// New returns a pool that runs at most workers tasks at once, and at most perLane of
// one lane. A limit below 1 counts as 1.
func New(workers, perLane int) *Pool {
	return &Pool{
		workers: max(workers, 1),
		perLane: max(perLane, 1),
		lanes:   make(map[string]*lane),
	}
}

// Submit runs t.Run on a worker: at once, if fewer than all are busy and lane has
// room, or else when its turn comes. It returns false, and does not take the task,
// once Close was called. It panics if t is parked already.
func (p *Pool) Submit(lane string, t *Task, urgently bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.lane != nil {
		panic("hostpool: task submitted while it is parked")
	}
	if p.closed {
		return false
	}
	p.park(p.laneNamed(lane), t, classOf(urgently))
	if p.running == p.workers {
		return true
	}
	if l, t := p.pick(); t != nil {
		p.running++
		go p.work(l, t)
	}
	return true
}

// Urge makes a parked task urgent; it comes after the urgent tasks that its lane has
// already. It does nothing if t is urgent or not parked.
func (p *Pool) Urge(t *Task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := t.lane
	if l == nil || t.place.in == &l.tasks[urgent] {
		return
	}
	t.place.leave()
	l.tasks[urgent].push(&t.place, t)
	p.settle(l)
}

// Take takes a parked task out of the pool, so that the caller runs it: outside the
// limits, and unknown to Wait. It returns false if t is not parked, since it has
// started, was taken or was returned by Close.
func (p *Pool) Take(t *Task) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := t.lane
	if l == nil {
		return false
	}
	p.unpark(t)
	p.settle(l)
	return true
}

// Go runs f at once, on a goroutine of its own and outside the limits, but known to
// Wait. It returns false, and does not run f, once Close was called. As for
// [Task].Run, f must not panic.
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

// Close keeps tasks from starting and returns those that were parked, in no
// particular order; they will not run, and it is up to the owner to say so. What runs
// is left to end; see Wait. Close may be called again and then returns nil. It is
// O(parked tasks).
func (p *Pool) Close() []*Task {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	var never []*Task
	for _, l := range p.lanes {
		for c := range l.tasks {
			for n := l.tasks[c].first; n != nil; n = l.tasks[c].first {
				never = append(never, n.of)
				p.unpark(n.of)
			}
		}
		p.settle(l)
	}
	return never
}

// Wait waits until no worker and no function of Go runs. After Close this is the end
// of everything that the pool has started; before, new tasks may follow. It returns
// ctx's error if ctx ends first. A task that waits for its own pool waits for ctx.
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

// work is a worker. It runs t, of lane l, and then whatever is ready.
func (p *Pool) work(l *lane, t *Task) {
	growStack()
	defer func() {
		if t == nil {
			return
		}
		// Run has panicked or called runtime.Goexit, and this goroutine with it.
		if l, t = p.next(l); t != nil {
			go p.work(l, t)
		}
	}()
	for t != nil {
		t.Run()
		l, t = p.next(l)
	}
}

// next frees the slot of a task of lane l that has ended, and returns what its worker
// does next; a nil task ends the worker.
func (p *Pool) next(l *lane) (*lane, *Task) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.running--
	p.settle(l)
	l, t := p.pick()
	if t == nil {
		p.running--
		p.checkIdle()
	}
	return l, t
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

// growStack makes room on the stack of a worker that has just started. An exchange over
// HTTP needs this much, and a new stack that grows by and by is copied three times.
//
//go:noinline
func growStack() {
	var room [5 << 10]byte
	use(&room)
}

//go:noinline
func use(*[5 << 10]byte) {}
