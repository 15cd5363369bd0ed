package dispatch

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func post(t *testing.T, q *Queue, f func()) {
	t.Helper()
	if !q.Post(f) {
		t.Fatal("Post = false on an open queue with room")
	}
}

// blocked returns a queue of that size whose dispatcher runs a callback that ends
// when release is called.
func blocked(t *testing.T, size int, overflow func(int)) (q *Queue, release func()) {
	t.Helper()
	q = New(size, overflow)
	hold := make(chan struct{})
	post(t, q, func() { <-hold })
	synctest.Wait()
	return q, func() { close(hold) }
}

func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 1000
		var got, want []int
		q := New(n, func(dropped int) { t.Errorf("overflow(%d), want no drops", dropped) })
		for i := range n {
			post(t, q, func() {
				time.Sleep(time.Millisecond)
				got = append(got, i)
			})
			want = append(want, i)
		}
		if err := q.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("ran in order %v", got)
		}
	})
}

// TestRingWraps posts and runs in every rhythm around the end of the ring.
func TestRingWraps(t *testing.T) {
	for size := range 6 {
		t.Run(fmt.Sprintf("size %d", size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := New(size, nil)
				var got, want []int
				for round := range 20 {
					hold := make(chan struct{})
					post(t, q, func() { <-hold })
					synctest.Wait()
					for i := range max(size, 1) + 2 {
						id := 100*round + i
						if q.Post(func() { got = append(got, id) }) {
							want = append(want, id)
						}
					}
					close(hold)
					synctest.Wait()
				}
				if len(want) != 20*max(size, 1) || !slices.Equal(got, want) {
					t.Errorf("accepted %v\nran      %v", want, got)
				}
			})
		})
	}
}

func TestOverflowIsCountedAndReportedInItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		say := func(s string) { got = append(got, s) }
		q, release := blocked(t, 3, func(dropped int) { say(fmt.Sprint(dropped, " dropped")) })
		post(t, q, func() {
			say("1")
			post(t, q, func() { say("after") }) // there is room again, for one
			if q.Post(func() { say("lost") }) {
				t.Error("Post on a queue that is full again = true")
			}
		})
		for _, s := range []string{"2", "3", "lost", "lost"} {
			if ok := q.Post(func() { say(s) }); ok != (s != "lost") {
				t.Errorf("Post(%s) = %t", s, ok)
			}
		}
		release()
		synctest.Wait()
		if want := []string{"1", "2", "3", "3 dropped", "after"}; !slices.Equal(got, want) {
			t.Errorf("ran %q, want %q", got, want)
		}

		got = nil
		post(t, q, func() { say("later") })
		synctest.Wait()
		if want := []string{"later"}; !slices.Equal(got, want) {
			t.Errorf("then ran %q, want %q: a report comes once", got, want)
		}
	})
}

// TestOverflowOfTheOverflow drops while overflow runs, which makes the next report.
func TestOverflowOfTheOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q *Queue
		var reports []int
		q, release := blocked(t, 2, func(dropped int) {
			reports = append(reports, dropped)
			for range 10 - 2*dropped { // 2 fit
				q.Post(func() {})
			}
		})
		for range 5 { // 2 fit
			q.Post(func() {})
		}
		release()
		synctest.Wait()
		if want := []int{5 - 2, 4 - 2, 6 - 2}; !slices.Equal(reports, want) {
			t.Errorf("reports = %v, want %v", reports, want)
		}
	})
}

func TestNoOverflowFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, release := blocked(t, 1, nil)
		post(t, q, func() {})
		if q.Post(func() {}) {
			t.Error("Post on a full queue = true")
		}
		release()
		if err := q.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

var bubbleName = regexp.MustCompile(`synctest bubble \d+`)

// bubbleGoroutines returns how many goroutines the bubble has. [runtime.NumGoroutine]
// counts a goroutine for a moment after its end, and those of other tests.
func bubbleGoroutines() int {
	synctest.Wait()
	buf := make([]byte, 1<<20)
	stacks := string(buf[:runtime.Stack(buf, true)])
	mine := bubbleName.FindString(stacks) // the caller's stack is the first
	n := 0
	for _, name := range bubbleName.FindAllString(stacks, -1) {
		if name == mine {
			n++
		}
	}
	return n
}

func TestDispatcherEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if a goroutine is left
		q := New(10, nil)
		before := bubbleGoroutines()
		for range 3 {
			for range 5 {
				post(t, q, func() { time.Sleep(time.Second) })
			}
			if got := bubbleGoroutines() - before; got != 1 {
				t.Errorf("%d goroutines while callbacks run, want 1", got)
			}
			time.Sleep(5 * time.Second)
			if got := bubbleGoroutines() - before; got != 0 {
				t.Errorf("%d goroutines after the last callback, want none", got)
			}
		}
	})
}

func TestCallbackMayPost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(1, nil)
		n := 0
		var again func()
		again = func() {
			if n++; n < 100 {
				post(t, q, again)
			}
		}
		post(t, q, again)
		synctest.Wait()
		if n != 100 {
			t.Errorf("ran %d times, want 100", n)
		}
	})
}

func TestAbortedCallbackDoesNotStopTheQueue(t *testing.T) {
	aborts := map[string]func(){
		"panic":        func() { panic("oops") },
		"nil":          nil,
		"Goexit":       runtime.Goexit,
		"nested panic": func() { defer panic("again"); panic("oops") },
	}
	for name, abort := range aborts {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := New(10, nil)
				var got []int
				for i := range 4 {
					post(t, q, func() { got = append(got, i) })
					post(t, q, abort)
				}
				if err := q.Close(t.Context()); err != nil {
					t.Error(err)
				}
				if !slices.Equal(got, []int{0, 1, 2, 3}) {
					t.Errorf("ran %v, want all four in order", got)
				}
			})
		})
	}
}

func TestPanickingOverflowDoesNotStopTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		q, release := blocked(t, 1, func(int) { calls++; panic("oops") })
		q.Post(func() {})
		q.Post(func() {})
		release()
		if err := q.Close(t.Context()); err != nil || calls != 1 {
			t.Errorf("Close = %v after %d calls of overflow, want nil after one", err, calls)
		}
	})
}

func TestCloseOfNewQueue(t *testing.T) {
	q := New(1, nil)
	for range 2 {
		if err := q.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if q.Post(func() { t.Error("ran") }) {
		t.Error("Post after Close = true")
	}
}

func TestCloseWaitsForWhatIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran, reported := 0, 0
		q, release := blocked(t, 3, func(dropped int) { time.Sleep(time.Second); reported += dropped })
		for range 10 {
			q.Post(func() { time.Sleep(time.Second); ran++ })
		}
		start := time.Now()
		release()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if err := q.Close(t.Context()); err != nil {
					t.Error(err)
				}
				if got := time.Since(start); got != 4*time.Second {
					t.Errorf("Close took %v, want 3 s for the callbacks and 1 s for the report", got)
				}
			})
		}
		wg.Wait()
		if q.Post(func() {}) {
			t.Error("Post after Close = true")
		}
		if ran != 3 || reported != 7 {
			t.Errorf("%d ran and %d were reported lost, want 3 and 7", ran, reported)
		}
	})
}

func TestStuckCallbackBoundsClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, release := blocked(t, 10, nil)
		ran := 0
		for range 4 {
			post(t, q, func() { ran++ })
		}
		for range 2 {
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			err := q.Close(ctx)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "stuck, 4 more") {
				t.Errorf("Close = %v, want that a callback is stuck and 4 wait", err)
			}
			if got := time.Since(start); got != 5*time.Second {
				t.Errorf("Close took %v, want 5 s", got)
			}
		}
		if q.Post(func() {}) {
			t.Error("Post after Close = true")
		}
		release()
		if err := q.Close(t.Context()); err != nil || ran != 4 {
			t.Errorf("Close = %v with %d run after the release, want nil with 4", err, ran)
		}
	})
}

func TestPostUnderLoad(t *testing.T) {
	const posters, each = 32, 500
	tests := []struct {
		name string
		size int
	}{
		{"all fit", posters * each},
		{"few fit", 16},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var accepted atomic.Int64
			var ran, dropped int // only the dispatcher writes them
			last := make([]int, posters)
			q := New(tt.size, func(n int) { dropped += n })
			var owner sync.Mutex // as of an owner that posts while it holds a lock
			var wg sync.WaitGroup
			for g := range posters {
				wg.Go(func() {
					for i := 1; i <= each; i++ {
						owner.Lock()
						ok := q.Post(func() {
							owner.Lock()
							defer owner.Unlock()
							ran++
							if i <= last[g] {
								t.Errorf("callback %d of %d ran after %d", i, g, last[g])
							}
							last[g] = i
						})
						owner.Unlock()
						if ok {
							accepted.Add(1)
						}
					}
				})
			}
			wg.Wait()
			if err := q.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if int64(ran) != accepted.Load() || ran+dropped != posters*each {
				t.Errorf("accepted %d, ran %d, dropped %d of %d", accepted.Load(), ran, dropped, posters*each)
			}
			if tt.size == posters*each && dropped != 0 {
				t.Errorf("%d dropped, want none", dropped)
			}
		})
	}
}

func BenchmarkPost(b *testing.B) {
	q := New(b.N, nil)
	f := func() {}
	b.ReportAllocs()
	for range b.N {
		q.Post(f)
	}
	if err := q.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}
