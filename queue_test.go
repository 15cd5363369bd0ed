package everfresh

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// heapModel is what a queue should hold: the obvious way, in linear time.
type heapModel map[*entry]int64

func (m heapModel) next() int64 {
	first := never
	for _, at := range m {
		first = min(first, at)
	}
	return first
}

// heapEntries returns n entries that are in no queue.
func heapEntries(n int) []*entry {
	entries := make([]*entry, n)
	for i := range entries {
		entries[i] = &entry{schedule: schedule{index: notQueued}}
	}
	return entries
}

// heapCheck fails the test unless q is a 4-ary heap of exactly what m holds, and every
// entry knows its place.
func heapCheck(t *testing.T, q queue, m heapModel, entries []*entry) {
	t.Helper()
	if len(q) != len(m) {
		t.Fatalf("%d deadlines, want %d", len(q), len(m))
	}
	if q.next() != m.next() {
		t.Fatalf("next = %d, want %d", q.next(), m.next())
	}
	for i, d := range q {
		if int(d.e.index) != i {
			t.Fatalf("the entry at %d says that it is at %d", i, d.e.index)
		}
		if at, ok := m[d.e]; !ok || at != d.at {
			t.Fatalf("deadline %d at %d, want %d (%v)", i, d.at, at, ok)
		}
		if parent := (i - 1) / 4; i > 0 && q[parent].at > d.at {
			t.Fatalf("%d at %d is before its parent %d at %d", i, d.at, parent, q[parent].at)
		}
	}
	for i, e := range entries {
		if _, in := m[e]; !in && e.index != notQueued {
			t.Fatalf("entry %d says that it is at %d, but is not queued", i, e.index)
		}
	}
	for _, d := range q[len(q):cap(q)] {
		if d.e != nil {
			t.Fatal("the queue holds on to an entry that it does not contain")
		}
	}
}

// heapSet sets a deadline in q and m, and checks what set reports.
func heapSet(t *testing.T, q *queue, m heapModel, e *entry, at int64) {
	t.Helper()
	wasHead := len(*q) > 0 && (*q)[0].e == e
	changed := q.set(e, at)
	if at == never {
		delete(m, e)
	} else {
		m[e] = at
	}
	isHead := len(*q) > 0 && (*q)[0].e == e
	if want := wasHead || isHead; changed != want {
		t.Fatalf("set to %d reports %v, want %v", at, changed, want)
	}
}

// heapPop pops from q, and checks against m.
func heapPop(t *testing.T, q *queue, m heapModel, now int64) {
	t.Helper()
	first := m.next()
	e, ok := q.popDue(now)
	if want := len(m) > 0 && first <= now; ok != want {
		t.Fatalf("popDue(%d) = %v with the earliest at %d", now, ok, first)
	}
	if !ok {
		if e != nil {
			t.Fatal("popDue returned an entry and false")
		}
		return
	}
	if m[e] != first {
		t.Fatalf("popped one of %d, want one of %d", m[e], first)
	}
	delete(m, e)
}

// heapRebuild moves all deadlines in place, as a jump of the clock does.
func heapRebuild(rng *rand.Rand, q queue, m heapModel) {
	for i := range q {
		q[i].at = rng.Int64N(1000) - 500
		m[q[i].e] = q[i].at
	}
	q.rebuild()
}

func TestQueueAgainstModel(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 7))
		entries := heapEntries(1 + rng.IntN(90))
		span := 1 + rng.Int64N(1000) // a short one makes many equal times
		var q queue
		m := heapModel{}
		for range 1500 {
			e := entries[rng.IntN(len(entries))]
			switch op := rng.IntN(100); {
			case op < 55:
				heapSet(t, &q, m, e, rng.Int64N(span))
			case op < 75:
				heapSet(t, &q, m, e, never)
			case op < 98:
				heapPop(t, &q, m, rng.Int64N(span))
			default:
				heapRebuild(rng, q, m)
			}
			heapCheck(t, q, m, entries)
		}
	}
}

func TestQueueSorts(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	entries := heapEntries(1000)
	var q queue
	var want, got []int64
	for _, e := range entries {
		at := rng.Int64N(5000)
		want = append(want, at)
		q.set(e, at)
	}
	slices.Sort(want)
	for len(q) > 0 {
		got = append(got, q.next())
		q.popDue(never - 1)
	}
	if !slices.Equal(got, want) {
		t.Errorf("popped in another order than sorted")
	}
}

func TestQueueEmpty(t *testing.T) {
	var q queue
	if q.next() != never {
		t.Errorf("next of an empty queue = %d, want never", q.next())
	}
	if e, ok := q.popDue(never); e != nil || ok {
		t.Errorf("popDue of an empty queue = %v, %v", e, ok)
	}
	e := heapEntries(1)[0]
	if q.set(e, never) || len(q) != 0 || e.index != notQueued {
		t.Error("taking out what is not queued did something")
	}
	q.rebuild()
}

func TestQueueDueIsNotAfterNow(t *testing.T) {
	var q queue
	e := heapEntries(1)[0]
	q.set(e, 100)
	if _, ok := q.popDue(99); ok {
		t.Error("popped before its time")
	}
	if got, ok := q.popDue(100); !ok || got != e {
		t.Error("not popped at its time")
	}
}

// TestQueueReportsHead: a false alarm only wakes the refresher, but one that is missed
// makes it sleep past a deadline.
func TestQueueReportsHead(t *testing.T) {
	var q queue
	e := heapEntries(4)
	steps := []struct {
		do   string
		e    *entry
		at   int64
		want bool
	}{
		{"first", e[0], 100, true},
		{"later", e[1], 200, false},
		{"earlier", e[2], 50, true},
		{"same time as the head", e[3], 50, false},
		{"behind the head moves back", e[1], 300, false},
		{"behind the head moves to the front", e[1], 10, true},
		{"head moves back", e[1], 300, true},
		{"head moves, but stays", e[2], 40, true},
		{"behind the head leaves", e[0], never, false},
		{"head leaves", e[2], never, true},
	}
	for _, s := range steps {
		if got := q.set(s.e, s.at); got != s.want {
			t.Errorf("%s: head changed = %v, want %v", s.do, got, s.want)
		}
	}
}

func TestQueueRebuild(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for n := range 40 {
		entries := heapEntries(n)
		var q queue
		m := heapModel{}
		for i, e := range entries {
			heapSet(t, &q, m, e, int64(i))
		}
		for range 20 {
			heapRebuild(rng, q, m)
			heapCheck(t, q, m, entries)
		}
	}
}

func TestQueueDoesNotAllocate(t *testing.T) {
	entries := heapEntries(100)
	var q queue
	for i, e := range entries {
		q.set(e, int64(i))
	}
	n := int64(0)
	allocs := testing.AllocsPerRun(1000, func() {
		n++
		e, _ := q.popDue(never - 1)
		q.set(e, n*7919%1000)
		q.set(entries[n%100], n*104729%1000)
	})
	if allocs != 0 {
		t.Errorf("%v allocations a refresh, want none", allocs)
	}
}

// A standardHeap is what one writes with container/heap: pointers to the entries, whose
// deadline stands in them, as does their place.
type standardHeap []*entry

func (h standardHeap) Len() int           { return len(h) }
func (h standardHeap) Less(i, j int) bool { return h[i].due < h[j].due }

func (h standardHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = int32(i), int32(j)
}

func (h *standardHeap) Push(x any) {
	e := x.(*entry)
	e.index = int32(len(*h))
	*h = append(*h, e)
}

func (h *standardHeap) Pop() any {
	old := *h
	last := len(old) - 1
	e := old[last]
	old[last] = nil
	e.index = notQueued
	*h = old[:last]
	return e
}

// A benchQueue is what the benchmarks need of either heap.
type benchQueue interface {
	fill(entries []*entry, times []int64)
	churn(interval int64)        // takes the earliest out and puts it back an interval later
	move(e *entry, in int64)     // in: after the present head
	reinsert(e *entry, in int64) // takes e out and puts it in again
	bytes() uintptr              // beside the entries
}

type benchOurs struct{ q queue }

func (b *benchOurs) fill(entries []*entry, times []int64) {
	for i, e := range entries {
		b.q.set(e, times[i])
	}
}

func (b *benchOurs) churn(interval int64) {
	now := b.q.next()
	e, _ := b.q.popDue(now)
	b.q.set(e, now+interval)
}

func (b *benchOurs) move(e *entry, in int64) { b.q.set(e, b.q.next()+in) }

func (b *benchOurs) reinsert(e *entry, in int64) {
	b.q.set(e, never)
	b.q.set(e, b.q.next()+in)
}

func (b *benchOurs) bytes() uintptr { return uintptr(cap(b.q)) * unsafe.Sizeof(deadline{}) }

type benchStandard struct{ h standardHeap }

func (b *benchStandard) fill(entries []*entry, times []int64) {
	for i, e := range entries {
		e.due = times[i]
		heap.Push(&b.h, e)
	}
}

func (b *benchStandard) churn(interval int64) {
	e := heap.Pop(&b.h).(*entry)
	e.due += interval
	heap.Push(&b.h, e)
}

func (b *benchStandard) move(e *entry, in int64) {
	e.due = b.h[0].due + in
	heap.Fix(&b.h, int(e.index))
}

func (b *benchStandard) reinsert(e *entry, in int64) {
	heap.Remove(&b.h, int(e.index))
	e.due = b.h[0].due + in
	heap.Push(&b.h, e)
}

func (b *benchStandard) bytes() uintptr { return uintptr(cap(b.h)) * unsafe.Sizeof((*entry)(nil)) }

// BenchmarkQueue compares the queue with container/heap on the same entries, which lie in
// memory in another order than their deadlines. bench runs it for its tables. With -short
// all sizes are small, to try the benchmark itself out.
func BenchmarkQueue(b *testing.B) {
	for _, n := range []int{1_000, 100_000, 1_000_000} {
		size := n
		if testing.Short() {
			size = 100
		}
		entries, times := benchEntries(size)
		for name, q := range map[string]benchQueue{"everfresh": &benchOurs{}, "container-heap": &benchStandard{}} {
			q.fill(entries, times)
			i := 0
			run := func(op string, step func(e *entry, at int64)) {
				b.Run(fmt.Sprintf("%s/%s/%d", op, name, n), func(b *testing.B) {
					for b.Loop() {
						i++
						step(entries[i%size], times[i%size*1009%size])
					}
					b.ReportMetric(float64(q.bytes())/float64(size), "B/item")
				})
			}
			run("pop-push", func(_ *entry, at int64) { q.churn(benchSpan - at/20) }) // with some jitter
			run("reschedule", q.move)
			run("remove-insert", q.reinsert)
			for _, e := range entries { // the other heap is to find them as this one did
				e.index = notQueued
			}
		}
	}
}

const benchSpan = int64(1) << 40

// benchEntries returns n entries in no order, and as many times.
func benchEntries(n int) ([]*entry, []int64) {
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	entries := heapEntries(n)
	rng.Shuffle(n, func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	times := make([]int64, n)
	for i := range times {
		times[i] = rng.Int64N(benchSpan)
	}
	return entries, times
}
