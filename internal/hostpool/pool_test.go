package hostpool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A peak counts what runs now, and the most that ran at once.
type peak struct{ now, most atomic.Int64 }

func (p *peak) enter() {
	n := p.now.Add(1)
	for m := p.most.Load(); n > m && !p.most.CompareAndSwap(m, n); m = p.most.Load() {
	}
}

func (p *peak) exit() { p.now.Add(-1) }

// hang returns a task that runs until release is closed.
func hang(release <-chan struct{}) *Task {
	return &Task{Do: runFunc(func() { <-release })}
}

func submitTo(t *testing.T, p *Pool, name string, task *Task, urgently bool) {
	t.Helper()
	ok := p.Submit(name, task, urgently)
	if !ok {
		t.Fatalf("Submit(%q) = false on an open pool", name)
	}
}

// wantEmpty fails unless p holds nothing any more.
func wantEmpty(t *testing.T, p *Pool) {
	t.Helper()
	if got := p.Stats(); got != (Stats{}) {
		t.Errorf("Stats() = %+v, want none", got)
	}
	if got := p.Loads(); got != nil {
		t.Errorf("Loads() = %v, want nil", got)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.turns {
		if l := p.turns[c]; l.first != nil || l.last != nil || l.len != 0 {
			t.Errorf("turns of class %d are not empty: %+v", c, l)
		}
	}
}

func TestLimitsHoldUnderLoad(t *testing.T) {
	const submitters, each, workers, perHost, hosts = 64, 300, 16, 3, 9
	p := New(workers, perHost)
	var all peak
	var byHost [hosts]peak
	var ran atomic.Int64
	var wg sync.WaitGroup
	for g := range submitters {
		wg.Go(func() {
			for i := range each {
				n := (g + i) % hosts
				p.Submit(strconv.Itoa(n), &Task{Do: runFunc(func() {
					all.enter()
					byHost[n].enter()
					runtime.Gosched()
					byHost[n].exit()
					all.exit()
					ran.Add(1)
				})}, i%5 == 0)
			}
		})
	}
	wg.Wait()
	if err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := ran.Load(); got != submitters*each {
		t.Errorf("%d tasks ran, want %d", got, submitters*each)
	}
	if got := all.most.Load(); got > workers {
		t.Errorf("%d tasks at once, limit is %d", got, workers)
	}
	for n := range byHost {
		if got := byHost[n].most.Load(); got > perHost {
			t.Errorf("%d tasks of host %d at once, limit is %d", got, n, perHost)
		}
	}
	wantEmpty(t, p)
}

// TestLimitsAreUsed fails if a slot stays free while a task could use it.
func TestLimitsAreUsed(t *testing.T) {
	tests := []struct {
		workers, perHost, hosts int
		running                 int
	}{
		{workers: 64, perHost: 4, hosts: 1, running: 4},
		{workers: 64, perHost: 4, hosts: 3, running: 12},
		{workers: 64, perHost: 4, hosts: 100, running: 64},
		{workers: 3, perHost: 4, hosts: 2, running: 3},
		{workers: 0, perHost: -1, hosts: 2, running: 1},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d workers, %d per host, %d hosts", tt.workers, tt.perHost, tt.hosts), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := New(tt.workers, tt.perHost)
				release := make(chan struct{})
				for i := range 10 * tt.hosts {
					submitTo(t, p, strconv.Itoa(i%tt.hosts), hang(release), false)
				}
				want := Stats{Running: tt.running, Parked: 10*tt.hosts - tt.running, Queues: tt.hosts}
				if got := p.Stats(); got != want {
					t.Errorf("Stats() = %+v, want %+v", got, want)
				}
				close(release)
				synctest.Wait()
				wantEmpty(t, p)
			})
		})
	}
}

func TestUrgentOvertakesAll(t *testing.T) {
	const parked = 10_000
	for _, name := range []string{"busy", "other"} {
		t.Run("for host "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := New(1, 1)
				release := make(chan struct{})
				submitTo(t, p, "busy", hang(release), false)
				var order []string
				for i := range parked {
					host := "busy"
					if i%2 == 1 {
						host = strconv.Itoa(i)
					}
					submitTo(t, p, host, &Task{Do: runFunc(func() { order = append(order, "patient") })}, false)
				}
				for _, s := range []string{"urgent 1", "urgent 2"} {
					submitTo(t, p, name, &Task{Do: runFunc(func() { order = append(order, s) })}, true)
				}
				close(release)
				synctest.Wait()
				if len(order) != parked+2 || order[0] != "urgent 1" || order[1] != "urgent 2" {
					t.Errorf("%d ran, first %q, want %d and the urgent ones first", len(order), order[:2], parked+2)
				}
			})
		})
	}
}

func TestHungHostsDelayNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(64, 4)
		release := make(chan struct{})
		for i := range 3 * 1000 {
			submitTo(t, p, fmt.Sprint("hung", i%3), hang(release), i%2 == 0)
		}
		start := time.Now()
		for i := range 100 {
			var at time.Duration
			submitTo(t, p, "alive", &Task{Do: runFunc(func() { at = time.Since(start) })}, false)
			synctest.Wait()
			if at != 0 || p.Stats().Running != 12 {
				t.Fatalf("task %d ran after %v, want at once", i, at)
			}
		}
		for range 100 {
			submitTo(t, p, "slow", &Task{Do: runFunc(func() { time.Sleep(time.Second) })}, false)
		}
		time.Sleep(25*time.Second - 1)
		if got := p.Stats().Parked - (3000 - 12); got != 0 {
			t.Errorf("%d of 100 one-second tasks are parked before 25 s, want none", got)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if got := p.Stats(); got != (Stats{Running: 12, Parked: 2988, Queues: 3}) {
			t.Errorf("Stats() after 25 s = %+v, want the hung ones only", got)
		}
		close(release)
	})
}

// logged runs the tasks that fill submits on one worker, after all are parked, and
// returns the names in the order in which they ran.
func logged(t *testing.T, fill func(p *Pool, submit func(host, name string, urgently bool) *Task)) []string {
	t.Helper()
	var order []string
	synctest.Test(t, func(t *testing.T) {
		p := New(1, 4)
		release := make(chan struct{})
		submitTo(t, p, "blocker", hang(release), false)
		fill(p, func(host, name string, urgently bool) *Task {
			task := &Task{Do: runFunc(func() { order = append(order, name) })}
			submitTo(t, p, host, task, urgently)
			return task
		})
		close(release)
		synctest.Wait()
		wantEmpty(t, p)
	})
	return order
}

func TestOrder(t *testing.T) {
	type submit = func(host, name string, urgently bool) *Task
	tests := []struct {
		rule string
		fill func(p *Pool, submit submit)
		want []string
	}{
		{
			"hosts take turns, and each is first in, first out",
			func(_ *Pool, submit submit) {
				for _, s := range []string{"a1", "a2", "a3", "b1", "b2", "c1"} {
					submit(s[:1], s, false)
				}
			},
			[]string{"a1", "b1", "c1", "a2", "b2", "a3"},
		},
		{
			"hosts with urgent tasks take turns before all others",
			func(_ *Pool, submit submit) {
				submit("a", "a1", false)
				for _, s := range []string{"b1!", "b2!", "c1!"} {
					submit(s[:1], s, true)
				}
			},
			[]string{"b1!", "c1!", "b2!", "a1"},
		},
		{
			"an urgent task does not cost its host its turn among the others",
			func(_ *Pool, submit submit) {
				submit("a", "a1", false)
				submit("b", "b1", false)
				submit("a", "a2!", true)
			},
			[]string{"a2!", "a1", "b1"},
		},
		{
			"an urged task goes first, in the order of urging",
			func(p *Pool, submit submit) {
				submit("a", "a1", false)
				a2, a3 := submit("a", "a2", false), submit("a", "a3", false)
				b1 := submit("b", "b1", false)
				p.Urge(a3)
				p.Urge(a2)
				p.Urge(a3) // already urgent: it stays where it is
				p.Urge(b1)
			},
			[]string{"a3", "b1", "a2", "a1"},
		},
		{
			"a taken task is gone, and so is its queue if it was the last",
			func(p *Pool, submit submit) {
				a1, b1 := submit("a", "a1", false), submit("b", "b1", true)
				submit("c", "c1", false)
				submit("a", "a2", false)
				if !p.Take(a1) || !p.Take(b1) || p.Take(a1) {
					panic("Take: want true, true, false")
				}
				p.Urge(a1) // not parked: nothing happens
			},
			[]string{"a2", "c1"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.rule, func(t *testing.T) {
			if got := logged(t, tt.fill); !slices.Equal(got, tt.want) {
				t.Errorf("ran %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTakeAndUrgeOfStartedTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(1, 1)
		release := make(chan struct{})
		task := hang(release)
		if p.Take(task) {
			t.Error("Take of a task that was never submitted = true")
		}
		submitTo(t, p, "a", task, false)
		p.Urge(task)
		if p.Take(task) {
			t.Error("Take of a started task = true")
		}
		close(release)
		synctest.Wait()
		if p.Take(task) {
			t.Error("Take of a task that has ended = true")
		}
		wantEmpty(t, p)
	})
}

func TestTaskIsReusableOnceStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(1, 1)
		ran := 0
		task := &Task{}
		task.Do = runFunc(func() {
			ran++
			if ran < 5 {
				p.Submit(strconv.Itoa(ran%2), task, ran == 2)
			}
		})
		submitTo(t, p, "0", task, false)
		synctest.Wait()
		if ran != 5 {
			t.Errorf("ran %d times, want 5", ran)
		}
		wantEmpty(t, p)
	})
}

func TestSubmitOfParkedTaskPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(1, 1)
		release := make(chan struct{})
		submitTo(t, p, "a", hang(release), false)
		parked := &Task{Do: runFunc(func() {})}
		submitTo(t, p, "a", parked, false)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("second Submit of a parked task did not panic")
				}
			}()
			p.Submit("b", parked, false)
		}()
		close(release)
		synctest.Wait()
		wantEmpty(t, p)
	})
}

func TestLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(3, 2)
		release := make(chan struct{})
		for _, name := range []string{"a", "a", "a", "b", "b", "c"} {
			submitTo(t, p, name, hang(release), name == "b")
		}
		got := p.Loads()
		slices.SortFunc(got, func(a, b Load) int { return int(a.Name[0]) - int(b.Name[0]) })
		want := []Load{{"a", 2, 1}, {"b", 1, 1}, {"c", 0, 1}}
		if !slices.Equal(got, want) {
			t.Errorf("Loads() = %v, want %v", got, want)
		}
		close(release)
		synctest.Wait()
		wantEmpty(t, p)
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(2, 1)
		release := make(chan struct{})
		submitTo(t, p, "a", hang(release), false)
		submitTo(t, p, "b", hang(release), false)
		want := map[*Task]bool{}
		for i := range 10 {
			task := &Task{Do: runFunc(func() { t.Error("a parked task ran after Close") })}
			submitTo(t, p, string(rune('a'+i%5)), task, i%3 == 0)
			want[task] = true
		}
		got := p.Close()
		for _, task := range got {
			if !want[task] {
				t.Error("Close returned a task twice, or one that was not parked")
			}
			delete(want, task)
			if p.Take(task) {
				t.Error("Take of a task that Close has returned = true")
			}
		}
		if len(want) != 0 {
			t.Errorf("Close did not return %d of 10 parked tasks", len(want))
		}
		if again := p.Close(); again != nil {
			t.Errorf("second Close() = %v, want nil", again)
		}
		if p.Submit("c", &Task{Do: runFunc(func() {})}, true) || p.Go(func() {}) {
			t.Error("Submit or Go = true after Close")
		}
		if got := p.Stats(); got != (Stats{Running: 2, Queues: 2}) {
			t.Errorf("Stats() after Close = %+v, want the two that run", got)
		}
		close(release)
		if err := p.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		wantEmpty(t, p)
	})
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(4, 1)
		start := time.Now()
		if err := p.Wait(t.Context()); err != nil {
			t.Errorf("Wait of a new pool: %v", err)
		}
		for range 3 {
			submitTo(t, p, "a", &Task{Do: runFunc(func() { time.Sleep(time.Second) })}, false)
		}
		if !p.Go(func() { time.Sleep(5 * time.Second) }) {
			t.Error("Go = false on an open pool")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		if err := p.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait = %v before the function of Go ended, want ctx's error", err)
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := p.Wait(t.Context()); err != nil || time.Since(start) != 5*time.Second {
					t.Errorf("Wait = %v after %v, want nil after 5 s", err, time.Since(start))
				}
			})
		}
		wg.Wait()
	})
}

// TestGoIsOutsideTheLimits fails if Go takes a slot, or waits for one.
func TestGoIsOutsideTheLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(1, 1)
		release := make(chan struct{})
		var running peak
		for range 10 {
			p.Go(func() { running.enter(); <-release })
		}
		submitTo(t, p, "a", &Task{Do: runFunc(func() { running.enter(); <-release })}, false)
		synctest.Wait()
		if got := running.now.Load(); got != 11 {
			t.Errorf("%d run, want 11", got)
		}
		close(release)
	})
}

// TestWorkersEnd relies on synctest, which fails if a goroutine is left.
func TestWorkersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(64, 4)
		before := runtime.NumGoroutine()
		for i := range 1000 {
			submitTo(t, p, strconv.Itoa(i%50), &Task{Do: runFunc(func() { time.Sleep(time.Millisecond) })}, false)
		}
		if got := runtime.NumGoroutine() - before; got > 64 { // fewer, if one of an earlier test ends only now
			t.Errorf("%d goroutines for 1000 tasks, want 64", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		wantEmpty(t, p)
	})
}

func TestAbortedRunFreesItsSlot(t *testing.T) {
	t.Run("Goexit", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := New(1, 1)
			ran := false
			submitTo(t, p, "a", &Task{Do: runFunc(func() { time.Sleep(time.Nanosecond); runtime.Goexit() })}, false)
			submitTo(t, p, "a", &Task{Do: runFunc(func() { ran = true; runtime.Goexit() })}, false)
			p.Go(runtime.Goexit)
			if err := p.Wait(t.Context()); err != nil || !ran {
				t.Errorf("Wait = %v, next task ran: %t, want nil and true", err, ran)
			}
			wantEmpty(t, p)
		})
	})
	t.Run("panic", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			// The worker runs on the test's goroutine, the only place to recover.
			p := New(1, 1)
			p.running = 1
			p.park(p.queueOf("a"), &Task{Do: runFunc(func() { panic("oops") })}, patient)
			q, task := p.pick()
			ran := false
			submitTo(t, p, "a", &Task{Do: runFunc(func() { ran = true })}, false)
			func() {
				defer func() {
					if got := recover(); got != "oops" {
						t.Errorf("recovered %v, want the task's own panic", got)
					}
				}()
				p.work(q, task)
			}()
			synctest.Wait()
			if !ran {
				t.Error("the next task did not run")
			}
			wantEmpty(t, p)
		})
	})
}

// TestEveryTaskEndsOnce races all methods and counts how often each task ends.
func TestEveryTaskEndsOnce(t *testing.T) {
	const submitters, each = 16, 400
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for round := range 4 {
		p := New(8, 2)
		fates := make([]atomic.Int32, submitters*each)
		ids := sync.Map{}
		var mu sync.Mutex // stands for the lock of an owner, held during calls of the pool
		var wg sync.WaitGroup
		for g := range submitters {
			rnd := rand.New(rand.NewPCG(seed, uint64(round*submitters+g)))
			wg.Go(func() {
				for i := range each {
					id := g*each + i
					task := &Task{}
					task.Do = runFunc(func() { mu.Lock(); defer mu.Unlock(); fates[id].Add(1) })
					ids.Store(task, id)
					mu.Lock()
					taken := p.Submit(strconv.Itoa(rnd.IntN(5)), task, rnd.IntN(4) == 0)
					mu.Unlock()
					if !taken {
						fates[id].Add(1)
						continue
					}
					if rnd.IntN(3) == 0 {
						p.Urge(task)
					}
					if rnd.IntN(3) == 0 && p.Take(task) {
						fates[id].Add(1)
					}
					if g == 0 && i == each/2 {
						for _, task := range p.Close() {
							id, _ := ids.Load(task)
							fates[id.(int)].Add(1)
						}
					}
				}
			})
		}
		wg.Wait()
		if err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		for id := range fates {
			if got := fates[id].Load(); got != 1 {
				t.Fatalf("task %d ended %d times, want once", id, got)
			}
		}
		wantEmpty(t, p)
	}
}
