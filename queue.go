package everfresh

import "slices"

// A deadline is one node of the queue. The time stands beside the pointer so that
// sifting compares without a cache miss.
type deadline struct {
	at int64 // nanoseconds on the cache's monotonic clock
	e  *entry
}

// queue is a 4-ary heap of deadlines, earliest first. An entry knows its place in
// it by entry.index, so that a deadline can be moved or removed. Its zero value is
// empty. It is guarded by engine.mu.
//
// A timing wheel inserts faster, but wakes up for empty ticks; timers cost eight
// times the memory.
type queue []deadline

// set puts e into the queue at time at, moves it there, or takes it out if at is
// never. It reports whether the head of the queue changed.
func (q *queue) set(e *entry, at int64) bool {
	i := int(e.index)
	switch {
	// It leaves, or stays out.
	case at == never && i == notQueued:
		return false
	case at == never:
		q.remove(i)
		return i == 0
	// It enters at the end and rises.
	case i == notQueued:
		*q = append(*q, deadline{at, e})
		i = len(*q) - 1
		e.index = int32(i)
		return q.up(i) == 0
	// It moves up or down. The head changes if it was the head or becomes it.
	default:
		(*q)[i].at = at
		moved := q.down(q.up(i))
		return i == 0 || moved == 0
	}
}

// popDue removes and returns the earliest entry if its time is not after now. It returns
// false if nothing is due.
func (q *queue) popDue(now int64) (*entry, bool) {
	if len(*q) == 0 || (*q)[0].at > now {
		return nil, false
	}
	e := (*q)[0].e
	q.remove(0)
	return e, true
}

// next returns the earliest time in the queue, or never if it is empty.
func (q queue) next() int64 {
	if len(q) == 0 {
		return never
	}
	return q[0].at
}

// remove takes out the deadline at place i. The last one fills the gap and finds its place.
func (q *queue) remove(i int) {
	old := *q
	old[i].e.index = notQueued
	last := len(old) - 1
	moved := old[last]
	old[last] = deadline{}
	*q = old[:last]
	if i == last {
		return
	}
	old[i] = moved
	moved.e.index = int32(i)
	q.down(q.up(i))
}

// up moves the deadline at place i towards the head, past those that are later, and returns
// its new place. The others move into the gap, so that each is written once.
func (q queue) up(i int) int {
	d := q[i]
	for i > 0 {
		parent := (i - 1) / 4
		if q[parent].at <= d.at {
			break
		}
		q.place(i, q[parent])
		i = parent
	}
	q.place(i, d)
	return i
}

// down moves the deadline at place i away from the head, past those that are earlier, and
// returns its new place.
func (q queue) down(i int) int {
	d := q[i]
	for {
		child := q.earliestChild(i)
		if child < 0 || q[child].at >= d.at {
			break
		}
		q.place(i, q[child])
		i = child
	}
	q.place(i, d)
	return i
}

// rebuild restores the order after times were changed in place. It is O(n), less than n
// single moves.
func (q queue) rebuild() {
	for i := range slices.Backward(q) {
		q.down(i)
	}
}

// earliestChild returns the index of the earliest of i's children, or -1. The four stand
// beside each other, mostly in one cache line.
func (q queue) earliestChild(i int) int {
	first := 4*i + 1
	if first >= len(q) {
		return -1
	}
	best := first
	for c := first + 1; c < min(first+4, len(q)); c++ {
		if q[c].at < q[best].at {
			best = c
		}
	}
	return best
}

// place puts d at place i, and tells its entry.
func (q queue) place(i int, d deadline) {
	q[i] = d
	d.e.index = int32(i)
}
