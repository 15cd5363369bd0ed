package main

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// Raw output is a header of lines "# key: value" and one line a measurement, its fields
// in the order of rawColumns.
const rawColumns = "round group candidate ns/op allocs/op B/op cpu-us/op"

// header describes the machine and what was compared on it.
func header() []string {
	return []string{
		"date: " + time.Now().UTC().Format(time.DateOnly),
		"go: " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		fmt.Sprintf("GOMAXPROCS: %d", runtime.GOMAXPROCS(0)),
		"cpu: " + cpuModel(),
		"peers: " + strings.Join(peerVersions(), ", "),
	}
}

// cpuModel returns the name of the processor where the system tells it.
func cpuModel() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func peerVersions() []string {
	var versions []string
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return versions
	}
	for _, dep := range info.Deps {
		if path, ok := strings.CutPrefix(dep.Path, "github.com/lestrrat-go/"); ok && strings.HasPrefix(path, "httprc") {
			versions = append(versions, path+" "+dep.Version)
		}
	}
	return versions
}

// writeRaw writes the raw output of a group.
func writeRaw(dir, group string, ms []measurement) error {
	var b bytes.Buffer
	for _, line := range header() {
		fmt.Fprintf(&b, "# %s\n", line)
	}
	fmt.Fprintf(&b, "# columns: %s\n", rawColumns)
	for _, m := range ms {
		fmt.Fprintf(&b, "%d %s %-16s %10.2f %8.2f %9.1f %8.2f\n",
			m.round, m.group, m.candidate, m.ns, m.allocs, m.bytes, m.cpu)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, group+".txt"), b.Bytes(), 0o644)
}

// A groupRun is the raw output of a group.
type groupRun struct {
	group  group
	header map[string]string
	ms     []measurement
}

// readRaw reads the raw output of every group in dir.
func readRaw(dir string) (map[string]*groupRun, error) {
	runs := make(map[string]*groupRun, len(groups))
	for _, g := range groups {
		text, err := os.ReadFile(filepath.Join(dir, g.name+".txt"))
		if err != nil {
			return nil, err
		}
		if runs[g.name], err = parseRaw(g, text); err != nil {
			return nil, fmt.Errorf("%s.txt: %w", g.name, err)
		}
	}
	return runs, nil
}

func parseRaw(g group, text []byte) (*groupRun, error) {
	r := &groupRun{group: g, header: map[string]string{}}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		if comment, ok := strings.CutPrefix(lines.Text(), "# "); ok {
			key, value, _ := strings.Cut(comment, ": ")
			r.header[key] = value
			continue
		}
		m, err := parseLine(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		r.ms = append(r.ms, m)
	}
	return r, lines.Err()
}

func parseLine(line string) (measurement, error) {
	var m measurement
	_, err := fmt.Sscan(line, &m.round, &m.group, &m.candidate, &m.ns, &m.allocs, &m.bytes, &m.cpu)
	return m, err
}

// of returns the measurements of a candidate by their round.
func (r *groupRun) of(candidate string) map[int]sample {
	samples := make(map[int]sample)
	for _, m := range r.ms {
		if m.candidate == candidate {
			samples[m.round] = m.sample
		}
	}
	return samples
}

// median returns the median of a candidate's rounds.
func (r *groupRun) median(candidate string, m metric) float64 {
	return median(slices.Collect(maps.Values(r.of(candidate))), m.of)
}

// ratio returns the median of the rounds' ratios of two candidates: those of one round
// were measured side by side, those of different rounds were not.
func (r *groupRun) ratio(candidate, over string, m metric) float64 {
	below := r.of(over)
	var ratios []float64
	for round, s := range r.of(candidate) {
		ratios = append(ratios, m.of(s)/m.of(below[round]))
	}
	return median(ratios, func(v float64) float64 { return v })
}

// whole returns an error unless there is a measurement of each candidate in each round.
func (r *groupRun) whole() error {
	want := len(r.group.rows) * full.rounds
	if len(r.ms) != want {
		return fmt.Errorf("%d measurements, want %d", len(r.ms), want)
	}
	for _, row := range r.group.rows {
		if n := len(r.of(row.name)); n != full.rounds {
			return fmt.Errorf("%d rounds of %s, want %d", n, row.name, full.rounds)
		}
	}
	return nil
}
