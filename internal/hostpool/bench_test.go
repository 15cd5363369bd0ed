package hostpool

import (
	"strconv"
	"testing"
)

// BenchmarkAlone submits to an idle pool: a goroutine starts and ends each time.
func BenchmarkAlone(b *testing.B) {
	p := New(64, 4)
	ran := make(chan struct{})
	task := &Task{Do: runFunc(func() { ran <- struct{}{} })}
	b.ReportAllocs()
	for b.Loop() {
		p.Submit("host", task, false)
		<-ran
	}
}

// BenchmarkBurst parks many tasks, which busy workers then run one after another.
func BenchmarkBurst(b *testing.B) {
	for _, hosts := range []int{1, 16, 10_000} {
		b.Run(strconv.Itoa(hosts)+" hosts", func(b *testing.B) {
			names := make([]string, hosts)
			for i := range names {
				names[i] = strconv.Itoa(i)
			}
			p := New(64, 4)
			tasks := make([]Task, b.N)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range tasks {
				tasks[i].Do = runFunc(func() {})
				p.Submit(names[i%hosts], &tasks[i], i%8 == 0)
			}
			if err := p.Wait(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkParkAndTake is the price of the bookkeeping alone.
func BenchmarkParkAndTake(b *testing.B) {
	p := New(1, 1)
	release := make(chan struct{})
	p.Submit("host", hang(release), false)
	defer close(release)
	task := &Task{Do: runFunc(func() {})}
	b.ReportAllocs()
	for b.Loop() {
		p.Submit("other", task, false)
		p.Urge(task)
		p.Take(task)
	}
}
