package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// A probe measures once what cannot be measured in slices. It runs in a process of its
// own, so that nothing else has touched its heap and nothing else uses its processor time.
type probe struct {
	run  func(ctx context.Context, n int, span time.Duration) (sample, error)
	n    int           // resources
	span time.Duration // how long it watches, if it does
}

// probeRounds runs every probe of g once in a round, in random order.
func (g group) probeRounds(ctx context.Context, sc scale) ([]measurement, error) {
	var ms []measurement
	for round := range sc.roundsOf(g) {
		for _, i := range rand.Perm(len(g.rows)) {
			name := g.rows[i].name
			s, err := g.runProbe(ctx, sc, name)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			ms = append(ms, measurement{round + 1, g.name, name, s})
		}
	}
	return ms, nil
}

// runProbe runs a probe as a child process.
func (g group) runProbe(ctx context.Context, sc scale, name string) (sample, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := g.probes[name]
	if sc.tiny() {
		p.n, p.span = min(p.n, sc.most), min(p.span, tinySpan)
	}
	cmd := exec.CommandContext(ctx, exe, "-probe", g.name, name, strconv.Itoa(p.n), p.span.String())
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	return parseSample(strings.Fields(string(out)))
}

// tinySpan is how long probes watch when they are only tried out.
const tinySpan = 50 * time.Millisecond

// child does what this program does as a child of itself, and reports whether it is one:
// to be an origin (-serve), or to run a probe (-probe, its group, its name, how many
// resources, how long).
func child(args []string) (bool, error) {
	switch {
	case len(args) == 1 && args[0] == "-serve":
		return true, serve(os.Stdin, os.Stdout)
	case len(args) == 5 && args[0] == "-probe":
		return true, printProbe(args[1], args[2], args[3], args[4])
	default:
		return false, nil
	}
}

// printProbe runs a probe and prints its figures.
func printProbe(groupName, name, size, watch string) error {
	n, err := strconv.Atoi(size)
	if err != nil {
		return err
	}
	span, err := time.ParseDuration(watch)
	if err != nil {
		return err
	}
	for _, g := range groups {
		p, ok := g.probes[name]
		if !ok || g.name != groupName {
			continue
		}
		s, err := p.run(context.Background(), n, span)
		for _, v := range s {
			fmt.Println(v)
		}
		return err
	}
	return errors.New("no such probe")
}
