package everfresh

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"
)

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
	churn(interval int64)     // takes the earliest out and puts it back an interval later
	move(e *entry, in int64)  // in: after the present head
	renew(e *entry, in int64) // takes e out and puts it in again
	bytes() uintptr           // beside the entries
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

func (b *benchOurs) renew(e *entry, in int64) {
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

func (b *benchStandard) renew(e *entry, in int64) {
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
			run("remove-insert", q.renew)
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
