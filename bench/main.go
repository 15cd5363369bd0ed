// Command bench measures everfresh beside httprc v1, httprc v3 and the least that Go
// itself can do. README.md says what is compared and how to repeat it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

const (
	rawDir = "raw"
	// limit ends a run in which another library hangs.
	limit = 20 * time.Minute
)

func main() {
	if is, err := child(os.Args[1:]); is {
		exit(err)
		return
	}
	tables := flag.Bool("table", false, "make the tables of README.md and docs/scale.md, and its plots, from the committed raw output")
	check := flag.Bool("check", false, "fail if the committed raw output misses a bar")
	only := flag.String("group", "", "measure this group only")
	flag.Parse()
	exit(run(*tables, *check, *only))
}

// exit ends the program if err is not nil.
func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(tables, check bool, only string) error {
	switch {
	case tables:
		return writePages(rawDir)
	case check:
		return checkRaw(rawDir)
	default:
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		return measureAll(ctx, only)
	}
}

// measureAll measures the groups, writes the raw output of each, and makes the tables.
func measureAll(ctx context.Context, only string) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	chosen := slices.DeleteFunc(slices.Clone(groups), func(g group) bool { return only != "" && g.name != only })
	if len(chosen) == 0 {
		return fmt.Errorf("no group %q", only)
	}
	for _, g := range chosen {
		fmt.Println("measuring", g.name)
		start := time.Now()
		rows, err := g.measure(ctx, full)
		if err != nil {
			return fmt.Errorf("group %s: %w", g.name, err)
		}
		fmt.Println("that took", time.Since(start).Round(time.Second))
		if err := writeRaw(rawDir, g, rows); err != nil {
			return err
		}
	}
	if err := writePages(rawDir); err != nil {
		return err
	}
	return report()
}

// report prints how the bars were met.
func report() error {
	runs, err := readRaw(rawDir)
	if err != nil {
		return err
	}
	for _, b := range bars {
		line, _ := b.verdict(runs)
		fmt.Println(line)
	}
	return nil
}

// checkRaw returns an error that names every bar that the raw output in dir misses.
func checkRaw(dir string) error {
	runs, err := readRaw(dir)
	if err != nil {
		return err
	}
	return missed(runs)
}

// missed returns an error that names every bar that runs miss, and every group that is
// not whole.
func missed(runs map[string]*groupRun) error {
	var errs []error
	for _, g := range groups {
		if err := runs[g.name].whole(); err != nil {
			errs = append(errs, fmt.Errorf("group %s: %w", g.name, err))
		}
	}
	for _, b := range bars {
		if line, ok := b.verdict(runs); !ok {
			errs = append(errs, errors.New(strings.TrimSpace(line)))
		}
	}
	return errors.Join(errs...)
}
