package main

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Raw output is a header of lines "# key: value" and one line a measurement: round, group,
// candidate, and the figures in the order of the group's columns.

// header describes the machine and what was compared on it.
func (g group) header() []string {
	return []string{
		"date: " + time.Now().UTC().Format(time.DateOnly),
		"go: " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		fmt.Sprintf("GOMAXPROCS: %d", runtime.GOMAXPROCS(0)),
		"cpu: " + cpuModel(),
		"peers: " + strings.Join(g.peerVersions(), ", "),
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

// peerNames are what the modules that are compared are called.
var peerNames = map[string]string{
	"github.com/lestrrat-go/httprc":    "httprc",
	"github.com/lestrrat-go/httprc/v3": "httprc/v3",
	"github.com/maypok86/otter/v2":     "otter",
	"github.com/viccon/sturdyc":        "sturdyc",
	"github.com/lestrrat-go/jwx/v3":    "jwx",
	"github.com/MicahParks/keyfunc/v3": "keyfunc",
	"github.com/MicahParks/jwkset":     "jwkset",
	"github.com/golang-jwt/jwt/v5":     "golang-jwt",
	"github.com/coreos/go-oidc/v3":     "go-oidc",
	"github.com/go-jose/go-jose/v4":    "go-jose",
}

var (
	cachePeers = []string{"httprc", "httprc/v3", "otter", "sturdyc"}
	keyPeers   = []string{"jwx", "httprc/v3", "keyfunc", "jwkset", "golang-jwt", "go-oidc", "go-jose"}
)

// peerVersions returns the peers of g with their versions.
func (g group) peerVersions() []string {
	peers := g.peers
	if peers == nil {
		peers = cachePeers
	}
	var versions []string
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return versions
	}
	for _, dep := range info.Deps {
		if name := peerNames[dep.Path]; slices.Contains(peers, name) {
			versions = append(versions, name+" "+dep.Version)
		}
	}
	return versions
}

// writeRaw writes the raw output of a group, and lines that its header has besides.
func writeRaw(dir string, g group, ms []measurement, more ...string) error {
	var b bytes.Buffer
	for _, line := range append(g.header(), more...) {
		fmt.Fprintf(&b, "# %s\n", line)
	}
	fmt.Fprintf(&b, "# columns: round group candidate %s\n", strings.Join(g.columns, " "))
	for _, m := range ms {
		fmt.Fprintf(&b, "%d %s %-16s", m.round, m.group, m.candidate)
		for _, v := range m.sample {
			fmt.Fprintf(&b, " %10.*f", decimals(v), v)
		}
		b.WriteByte('\n')
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, g.name+".txt"), b.Bytes(), 0o644)
}

// decimals returns how many of them a figure needs.
func decimals(v float64) int {
	if math.Abs(v) < 1 {
		return 6
	}
	return 3
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
		m, err := parseLine(g, lines.Text())
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		r.ms = append(r.ms, m)
	}
	return r, lines.Err()
}

func parseLine(g group, line string) (measurement, error) {
	fields := strings.Fields(line)
	if len(fields) != 3+len(g.columns) {
		return measurement{}, fmt.Errorf("%d fields, want %d", len(fields), 3+len(g.columns))
	}
	round, err := strconv.Atoi(fields[0])
	if err != nil {
		return measurement{}, err
	}
	s, err := parseSample(fields[3:])
	return measurement{round, fields[1], fields[2], s}, err
}

func parseSample(fields []string) (sample, error) {
	s := make(sample, len(fields))
	for i, text := range fields {
		var err error
		if s[i], err = strconv.ParseFloat(text, 64); err != nil {
			return nil, err
		}
	}
	return s, nil
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
	return median(ratios, itself)
}

// whole returns an error unless there is a measurement of each candidate in each round.
func (r *groupRun) whole() error {
	rounds := full.roundsOf(r.group)
	if want := len(r.group.rows) * rounds; len(r.ms) != want {
		return fmt.Errorf("%d measurements, want %d", len(r.ms), want)
	}
	for _, row := range r.group.rows {
		if n := len(r.of(row.name)); n != rounds {
			return fmt.Errorf("%d rounds of %s, want %d", n, row.name, rounds)
		}
	}
	return nil
}
