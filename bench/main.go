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
	readme = "README.md"
	// limit ends a run in which a peer hangs.
	limit = 10 * time.Minute
)

func main() {
	serveOrigin := flag.Bool("serve", false, "be the origin of the refresh group: print the address, serve until standard input ends")
	tables := flag.Bool("table", false, "make the tables of README.md from the committed raw output")
	check := flag.Bool("check", false, "fail if the committed raw output misses a bar")
	only := flag.String("group", "", "measure this group only")
	flag.Parse()
	if err := run(*serveOrigin, *tables, *check, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(serveOrigin, tables, check bool, only string) error {
	switch {
	case serveOrigin:
		return serve(os.Stdin, os.Stdout)
	case tables:
		return writeTables(rawDir, readme)
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
		rows, err := g.measure(ctx, full)
		if err != nil {
			return fmt.Errorf("group %s: %w", g.name, err)
		}
		if err := writeRaw(rawDir, g.name, rows); err != nil {
			return err
		}
	}
	if err := writeTables(rawDir, readme); err != nil {
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
