// Mutants runs the hand-made mutations of list.txt: each changes one place of the root
// package in a way that compiles, and the test it names must fail.
//
// A line of the list reads
//
//	file | test | old text | new text
//
// where the old text occurs in the file exactly once. Run it from the root of the
// repository. It exits with 1 if a mutant survives, does not compile, or does not fit
// its file any more. Arguments select the lines whose test contains one of them.
package main

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed list.txt
var list string

type mutant struct{ file, test, old, text string }

func main() {
	if err := run(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, only []string) error {
	mutants, err := parse(list)
	if err != nil {
		return err
	}
	var bad []error
	ran := 0
	for i, m := range mutants {
		if !selected(m.test, only) {
			continue
		}
		ran++
		err := m.check()
		if err != nil {
			bad = append(bad, fmt.Errorf("mutant %d (%s, %s): %w", i+1, m.file, m.test, err))
			continue
		}
		fmt.Fprintf(w, "killed %2d  %s  %s\n", i+1, m.file, m.test)
	}
	fmt.Fprintf(w, "%d mutants, %d killed\n", ran, ran-len(bad))
	return errors.Join(bad...)
}

func selected(test string, only []string) bool {
	return len(only) == 0 || slices.ContainsFunc(only, func(s string) bool { return strings.Contains(test, s) })
}

// parse reads the list; empty lines and lines that begin with # are comments.
func parse(s string) ([]mutant, error) {
	var mutants []mutant
	lines := bufio.NewScanner(strings.NewReader(s))
	for lines.Scan() {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.Split(line, " | ")
		if len(parts) != 4 {
			return nil, fmt.Errorf("not four parts: %s", line)
		}
		mutants = append(mutants, mutant{parts[0], parts[1], parts[2], parts[3]})
	}
	return mutants, lines.Err()
}

// check builds the mutant beside the original and runs its test.
func (m mutant) check() error {
	src, err := os.ReadFile(m.file)
	if err != nil {
		return err
	}
	if n := bytes.Count(src, []byte(m.old)); n != 1 {
		return fmt.Errorf("%q occurs %d times", m.old, n)
	}
	dir, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	overlay, err := m.overlay(dir, src)
	if err != nil {
		return err
	}
	out, err := exec.Command("go", "test", "-vet=off", "-count=1", "-timeout=60s", "-overlay", overlay, "-run", "^"+m.test+"$", ".").CombinedOutput() //nolint:gosec,noctx // The list is ours, and -timeout bounds it.
	switch {
	case err == nil:
		return errors.New("survived")
	case bytes.Contains(out, []byte("[build failed]")), bytes.Contains(out, []byte("[setup failed]")):
		return fmt.Errorf("does not compile: %s", out)
	default:
		return nil
	}
}

// overlay writes the mutated file and the overlay that puts it in the original's place.
func (m mutant) overlay(dir string, src []byte) (string, error) {
	original, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	mutated := filepath.Join(dir, "mutated.go")
	if err := os.WriteFile(mutated, bytes.Replace(src, []byte(m.old), []byte(m.text), 1), 0o600); err != nil {
		return "", err
	}
	data, err := json.Marshal(map[string]map[string]string{"Replace": {original: mutated}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, data, 0o600)
}
