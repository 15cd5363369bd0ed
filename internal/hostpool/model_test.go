package hostpool

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
)

// A model does what [Pool] does in the simplest way: it searches slices, and works out
// the turns again after each step.
type model struct {
	workers, perHost int
	parked           [2][]job    // urgent ones, others; in the order of submission
	turns            [2][]string // hosts that could run one of these, the longest wait first
	running          []job
	started          []int // all ids, in order
}

type job struct {
	id   int
	host string
}

func (m *model) submit(j job, queue int) {
	m.parked[queue] = append(m.parked[queue], j)
	m.step()
}

// remove takes id out of its queue and returns the job.
func (m *model) remove(id int) (job, bool) {
	for q := range m.parked {
		if i := slices.IndexFunc(m.parked[q], func(j job) bool { return j.id == id }); i >= 0 {
			j := m.parked[q][i]
			m.parked[q] = slices.Delete(m.parked[q], i, i+1)
			return j, true
		}
	}
	return job{}, false
}

func (m *model) urge(id int) {
	if slices.ContainsFunc(m.parked[0], func(j job) bool { return j.id == id }) {
		return
	}
	if j, ok := m.remove(id); ok {
		m.parked[0] = append(m.parked[0], j)
	}
	m.step()
}

func (m *model) take(id int) bool {
	_, ok := m.remove(id)
	m.step()
	return ok
}

func (m *model) finish(i int) {
	m.running = slices.Delete(m.running, i, i+1)
	m.step()
}

func (m *model) ready(host string, queue int) bool {
	n := 0
	for _, j := range m.running {
		if j.host == host {
			n++
		}
	}
	return n < m.perHost && slices.ContainsFunc(m.parked[queue], func(j job) bool { return j.host == host })
}

// step brings the turns up to date and starts what can start.
func (m *model) step() {
	m.refreshTurns()
	for len(m.running) < m.workers {
		q := 0
		if len(m.turns[0]) == 0 {
			q = 1
		}
		if len(m.turns[q]) == 0 {
			return
		}
		host := m.turns[q][0]
		m.turns[q] = m.turns[q][1:]
		i := slices.IndexFunc(m.parked[q], func(j job) bool { return j.host == host })
		j := m.parked[q][i]
		m.parked[q] = slices.Delete(m.parked[q], i, i+1)
		m.running = append(m.running, j)
		m.started = append(m.started, j.id)
		m.refreshTurns()
	}
}

func (m *model) refreshTurns() {
	for q := range m.turns {
		m.turns[q] = slices.DeleteFunc(m.turns[q], func(host string) bool { return !m.ready(host, q) })
		for _, j := range m.parked[q] {
			if m.ready(j.host, q) && !slices.Contains(m.turns[q], j.host) {
				m.turns[q] = append(m.turns[q], j.host)
			}
		}
	}
}

func (m *model) stats() Stats {
	hosts := map[string]bool{}
	for _, j := range slices.Concat(m.running, m.parked[0], m.parked[1]) {
		hosts[j.host] = true
	}
	return Stats{Running: len(m.running), Parked: len(m.parked[0]) + len(m.parked[1]), Queues: len(hosts)}
}

// A pair is a pool and its model, which go through the same steps.
type pair struct {
	*testing.T
	pool    *Pool
	model   *model
	tasks   []*Task
	ends    []chan struct{} // closed to end the task of that id
	started []int
}

func (pr *pair) submit(host string, queue int) {
	id, end := len(pr.tasks), make(chan struct{})
	task := &Task{Do: runFunc(func() {
		pr.started = append(pr.started, id) // at most one task starts in a step
		<-end
	})}
	pr.tasks, pr.ends = append(pr.tasks, task), append(pr.ends, end)
	pr.pool.Submit(host, task, queue == 0)
	pr.model.submit(job{id, host}, queue)
}

func (pr *pair) finish(i int) {
	close(pr.ends[pr.model.running[i].id])
	pr.model.finish(i)
}

func (pr *pair) step(rnd *rand.Rand) string {
	recent := 0
	if len(pr.tasks) > 0 {
		recent = max(len(pr.tasks)-1-rnd.IntN(40), 0) // most older ones have ended
	}
	switch op := rnd.IntN(10); {
	case op < 5 || len(pr.tasks) == 0:
		host, queue := string(rune('a'+rnd.IntN(6))), min(rnd.IntN(4), 1)
		pr.submit(host, queue)
		return fmt.Sprintf("Submit(%q, %d, %t)", host, len(pr.tasks)-1, queue == 0)
	case op < 6:
		pr.pool.Urge(pr.tasks[recent])
		pr.model.urge(recent)
		return fmt.Sprintf("Urge(%d)", recent)
	case op < 7:
		got, want := pr.pool.Take(pr.tasks[recent]), pr.model.take(recent)
		if got != want {
			pr.Errorf("Take(%d) = %t, want %t", recent, got, want)
		}
		return fmt.Sprintf("Take(%d)", recent)
	case len(pr.model.running) > 0:
		i := rnd.IntN(len(pr.model.running))
		pr.finish(i)
		return fmt.Sprintf("end of running task %d", i)
	default:
		return "nothing"
	}
}

func (pr *pair) compare(what string) {
	pr.Helper()
	synctest.Wait()
	if !slices.Equal(pr.started, pr.model.started) {
		n := min(len(pr.started), len(pr.model.started))
		pr.Fatalf("after %s: started %v, want %v", what, pr.started[max(n-5, 0):], pr.model.started[max(n-5, 0):])
	}
	if got, want := pr.pool.Stats(), pr.model.stats(); got != want {
		pr.Fatalf("after %s: Stats() = %+v, want %+v", what, got, want)
	}
}

func (pr *pair) drain() {
	for len(pr.model.running) > 0 {
		pr.finish(0)
		pr.compare("draining")
	}
	wantEmpty(pr.T, pr.pool)
}

func TestPoolAgainstModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	limits := []struct{ workers, perHost int }{{1, 1}, {1, 4}, {3, 1}, {4, 2}, {8, 3}}
	for _, lim := range limits {
		t.Run(fmt.Sprintf("%d workers, %d per host", lim.workers, lim.perHost), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, uint64(lim.workers)))
			synctest.Test(t, func(t *testing.T) {
				pr := &pair{
					T:     t,
					pool:  New(lim.workers, lim.perHost),
					model: &model{workers: lim.workers, perHost: lim.perHost},
				}
				for range 1500 {
					pr.compare(pr.step(rnd))
				}
				pr.drain()
			})
		})
	}
}
