package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A candidate is one way to do what its group compares.
type candidate struct {
	name string
	ops  int // operations in one pass, as the time is counted
	all  int // those of all goroutines together, as allocations are counted
	// run does passes passes, keeps every result, and returns an error if one is wrong.
	run func(passes int) error
	// check, if there is one, tells after a run and outside its time whether what
	// was measured happened.
	check func() error
}

// A group is a set of candidates that are compared with each other.
type group struct {
	name    string
	title   string
	note    string   // for the reader of the table
	per     string   // candidate that the ratios are taken to, see base; "" for a table without them
	across  bool     // the table has a column for each candidate
	peers   []string // modules that are compared; nil: cachePeers
	columns []string // the figures of a sample, as the raw output names them
	shown   []metric // the columns of the table, first what counts
	rounds  int      // at most; 0: as the scale says
	rows    []row

	// One of these measures the candidates.
	open   func(context.Context, scale) (*stage, error)
	probes map[string]probe // by the row's name
	test   func(context.Context, scale) (map[string]sample, error)

	slices int           // of each candidate that open brings, in a round
	slice  time.Duration // the approximate length of each
}

// base returns the candidate that candidate is compared with: of names with a slash, such
// as everfresh/99, the one with the same end.
func (g group) base(candidate string) string {
	if i := strings.LastIndexByte(candidate, '/'); i >= 0 {
		return g.per + candidate[i:]
	}
	return g.per
}

// A stage is the candidates of a group, ready to run.
type stage struct {
	candidates []candidate
	close      func() error
}

// A scale is how much is measured.
type scale struct {
	resources int // behind the read groups
	origin    int // resources that the refresh group fetches
	callers   int // of concurrent refreshes
	rounds    int
	slices    int           // at most; 0: as the group says
	slice     time.Duration // at most; 0: as the group says
	most      int           // resources of any group; 0: as the group says
}

// tiny reports whether the figures are meaningless, as in tests.
func (sc scale) tiny() bool { return sc.most > 0 }

// roundsOf returns how many rounds of g there are.
func (sc scale) roundsOf(g group) int {
	if g.rounds == 0 {
		return sc.rounds
	}
	return min(g.rounds, sc.rounds)
}

var full = scale{resources: 1000, origin: 200, callers: 16, rounds: 9}

// A sample is the figures of a candidate, in the order of its group's columns. One that
// the candidate does not have is not a number.
type sample []float64

// A measurement is the median sample of a candidate in a round.
type measurement struct {
	round     int
	group     string
	candidate string
	sample
}

// measure runs the rounds of g.
func (g group) measure(ctx context.Context, sc scale) ([]measurement, error) {
	switch {
	case g.probes != nil:
		return g.probeRounds(ctx, sc)
	case g.test != nil:
		return g.testRounds(ctx, sc)
	default:
		return g.sliceRounds(ctx, sc)
	}
}

// sliceRounds measures in slices: in a round the candidates take turns in random order, so
// that other load on the machine affects all of them alike. The figure of a candidate is the
// median of its slices.
func (g group) sliceRounds(ctx context.Context, sc scale) ([]measurement, error) {
	st, err := g.open(ctx, sc)
	if err != nil {
		return nil, err
	}
	ms, err := g.takeTurns(ctx, sc, st.candidates)
	if cerr := st.close(); err == nil {
		err = cerr
	}
	return ms, err
}

func (g group) takeTurns(ctx context.Context, sc scale, cs []candidate) ([]measurement, error) {
	if sc.slices > 0 {
		g.slices, g.slice = min(g.slices, sc.slices), min(g.slice, sc.slice)
	}
	passes, err := calibrate(cs, g.slice)
	if err != nil {
		return nil, err
	}
	var ms []measurement
	for round := range sc.roundsOf(g) {
		samples, err := g.round(ctx, cs, passes)
		if err != nil {
			return nil, err
		}
		for i, c := range cs {
			ms = append(ms, measurement{round + 1, g.name, c.name, medianSample(samples[i])})
		}
	}
	return ms, nil
}

// round returns the samples of each candidate.
func (g group) round(ctx context.Context, cs []candidate, passes []int) ([][]sample, error) {
	samples := make([][]sample, len(cs))
	for range g.slices {
		for _, i := range rand.Perm(len(cs)) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			s, err := cs[i].slice(passes[i])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", cs[i].name, err)
			}
			samples[i] = append(samples[i], s)
		}
	}
	return samples, nil
}

// calibrate returns how many passes of each candidate take about d.
func calibrate(cs []candidate, d time.Duration) ([]int, error) {
	passes := make([]int, len(cs))
	for i, c := range cs {
		for n := 1; ; n *= 2 {
			start := time.Now()
			if err := c.run(n); err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			if took := time.Since(start); took >= d/4 {
				passes[i] = max(int(float64(n)*float64(d)/float64(took)), 1)
				break
			}
		}
	}
	return passes, nil
}

// slice measures passes passes. The garbage of others is collected before, and one pass
// that does not count brings the candidate's memory back into the processor's caches.
func (c candidate) slice(passes int) (sample, error) {
	runtime.GC()
	if err := c.run(1); err != nil {
		return sample{}, err
	}
	before, err := readUsage()
	if err != nil {
		return sample{}, err
	}
	start := time.Now()
	if err := c.run(passes); err != nil {
		return sample{}, err
	}
	took := time.Since(start)
	after, err := readUsage()
	if err != nil {
		return sample{}, err
	}
	if c.check != nil {
		if err := c.check(); err != nil {
			return sample{}, err
		}
	}
	all := float64(passes * c.all)
	return sample{
		float64(took.Nanoseconds()) / float64(passes*c.ops),
		float64(after.mallocs-before.mallocs) / all,
		float64(after.bytes-before.bytes) / all,
		float64((after.cpu - before.cpu).Nanoseconds()) / 1000 / all,
	}, nil
}

// usage is what this process has used since it began.
type usage struct {
	mallocs, bytes uint64
	cpu            time.Duration
}

func readUsage() (usage, error) {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	used, err := resourceUsage()
	return usage{mem.Mallocs, mem.TotalAlloc, used.cpu}, err
}

// systemUsage is what the system says that this process has used.
type systemUsage struct {
	cpu      time.Duration // in user and in system mode together
	switches float64       // how often one of its threads waited, and was woken
}

// since returns what this process uses while f runs.
func since(f func() error) (systemUsage, error) {
	before, err := resourceUsage()
	if err != nil {
		return before, err
	}
	if err := f(); err != nil {
		return before, err
	}
	after, err := resourceUsage()
	return systemUsage{after.cpu - before.cpu, after.switches - before.switches}, err
}

// medianSample returns the median of each figure.
func medianSample(samples []sample) sample {
	all := make(sample, len(samples[0]))
	for i := range all {
		all[i] = median(samples, field(i))
	}
	return all
}

// median returns the median of what of yields for each of all; 0 if there is none.
func median[T any](all []T, of func(T) float64) float64 {
	vs := make([]float64, len(all))
	for i, v := range all {
		vs[i] = of(v)
	}
	slices.Sort(vs)
	n := len(vs)
	switch {
	case n == 0:
		return 0
	case n%2 == 1:
		return vs[n/2]
	default:
		return (vs[n/2-1] + vs[n/2]) / 2
	}
}
