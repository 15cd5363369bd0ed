package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The queue is not part of the API, and virtual time is only for tests: these two groups
// are measured by tests of the root package.

var (
	queueColumns = []string{"ns/op", "B/item"}
	queueItem    = metric{name: "memory", unit: " B", column: "B an item", of: field(1)}

	burstColumns = secondColumns()
	burstPeak    = metric{name: "peak", column: "peak", of: func(s sample) float64 { return slices.Max(rates(s)) }}
	burstMean    = metric{name: "mean", column: "mean", of: func(s sample) float64 { return mean(rates(s)) }}
	burstRatio   = metric{name: "peak over mean", column: "peak over mean", of: func(s sample) float64 {
		return slices.Max(rates(s)) / mean(rates(s))
	}}
)

// burstCycle is how many seconds a cycle takes in the root's test.
const burstCycle = 60

func secondColumns() []string {
	var columns []string
	for i := range burstCycle {
		columns = append(columns, "s"+strconv.Itoa(i))
	}
	return columns
}

// rates returns the figures that are numbers.
func rates(s sample) []float64 { return slices.DeleteFunc(slices.Clone(s), math.IsNaN) }

func mean(vs []float64) float64 {
	sum := 0.0
	for _, v := range vs {
		sum += v
	}
	return sum / float64(len(vs))
}

// queueRows returns a row for each candidate of BenchmarkQueue.
func queueRows() []row {
	var rows []row
	for _, op := range []string{"pop-push", "reschedule", "remove-insert"} {
		for _, size := range []string{"1000", "100000", "1000000"} {
			for _, who := range []string{"everfresh", "container-heap"} {
				label := fmt.Sprintf("%s, %s: %s", strings.ReplaceAll(op, "-", " and "), thousands(size), strings.ReplaceAll(who, "-h", "/h"))
				rows = append(rows, row{op + "/" + who + "/" + size, label})
			}
		}
	}
	return rows
}

// thousands puts commas into a number.
func thousands(digits string) string {
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// testRounds runs the test of g once in a round.
func (g group) testRounds(ctx context.Context, sc scale) ([]measurement, error) {
	var ms []measurement
	for round := range sc.roundsOf(g) {
		samples, err := g.test(ctx, sc)
		if err != nil {
			return nil, err
		}
		for _, row := range g.rows {
			s, ok := samples[row.name]
			if !ok {
				return nil, fmt.Errorf("the test says nothing of %s", row.name)
			}
			ms = append(ms, measurement{round + 1, g.name, row.name, s})
		}
	}
	return ms, nil
}

// goTest runs tests of the root package and returns what they print, also if they fail.
func goTest(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test"}, args...)...)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("go test %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

var queueLine = regexp.MustCompile(`(?m)^BenchmarkQueue/(\S+/\d+)(?:-\d+)?\s+\d+\s+(\S+) ns/op\s+(\S+) B/item`)

func testQueue(ctx context.Context, sc scale) (map[string]sample, error) {
	args := []string{"-run", "^$", "-bench", "^BenchmarkQueue$", "-benchtime", "300ms", "."}
	if sc.tiny() {
		args = []string{"-run", "^$", "-bench", "^BenchmarkQueue$", "-benchtime", "1x", "-short", "."}
	}
	out, err := goTest(ctx, args...)
	if err != nil {
		return nil, err
	}
	samples := make(map[string]sample)
	for _, m := range queueLine.FindAllStringSubmatch(out, -1) {
		if samples[m[1]], err = parseSample(m[2:]); err != nil {
			return nil, err
		}
	}
	return samples, nil
}

var burstLine = regexp.MustCompile(`requests in each second: \[([\d ]+)\]`)

func testBurst(ctx context.Context, sc scale) (map[string]sample, error) {
	n := 1_000_000
	if sc.tiny() {
		n = 5000 // with fewer, chance alone makes peaks
	}
	out, err := goTest(ctx, "-count=1", "-run", "^TestBurstOfEqualDeadlines$", "-v", ".", "-burst", strconv.Itoa(n))
	m := burstLine.FindStringSubmatch(out)
	if m == nil { // if it failed, but tells, the table shows what it missed
		return nil, errors.Join(errors.New("the test says nothing of its requests"), err)
	}
	s, err := parseSample(strings.Fields(m[1]))
	if err != nil {
		return nil, err
	}
	if len(s) != 2*burstCycle {
		return nil, fmt.Errorf("%d seconds, want %d", len(s), 2*burstCycle)
	}
	s[0] = math.NaN() // the first values
	return map[string]sample{"first": s[:burstCycle], "second": s[burstCycle:]}, nil
}
