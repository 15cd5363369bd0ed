// Words reports the words of list.txt, which the project does not use, in its Go and
// Markdown files: in the identifiers they declare, word by word, in comments, in string
// literals and in prose. Each finding is printed as
//
//	file:line: word: what to write instead
//
// and any finding makes the exit code 1. Run it from the root of the repository;
// arguments restrict it to the files below these paths.
package main

import (
	_ "embed"
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

// skipped are the paths that are not checked, and why.
var skipped = map[string]string{
	"bench/raw/":                  "output of earlier runs, which is never rewritten",
	"internal/words/main_test.go": "its cases are the banned words",
}

func main() {
	n, err := run(os.Stdout, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "words:", err)
	}
	if err != nil || n > 0 {
		os.Exit(1)
	}
}

// run checks the tracked files below the given paths, or all, and returns the number
// of findings.
func run(w io.Writer, only []string) (int, error) {
	banned, err := parse(list)
	if err != nil {
		return 0, err
	}
	files, err := tracked(only)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, file := range files {
		findings, err := banned.check(file)
		if err != nil {
			return n, err
		}
		for _, f := range findings {
			fmt.Fprintf(w, "%s:%d: %s: write %s\n", file, f.line, f.word, banned[f.word].instead)
		}
		n += len(findings)
	}
	return n, nil
}

// tracked lists the Go and Markdown files that Git tracks, without those that are skipped.
func tracked(only []string) ([]string, error) {
	out, err := exec.Command("git", append([]string{"ls-files", "-z", "--"}, only...)...).Output() //nolint:gosec,noctx // The arguments are the developer's own.
	if err != nil {
		return nil, fmt.Errorf("git ls-files: %w", err)
	}
	files := strings.Split(strings.TrimRight(string(out), "\x00"), "\x00")
	files = slices.DeleteFunc(files, skip)
	if len(files) == 0 {
		return nil, errors.New("no files to check")
	}
	return files, nil
}

func skip(file string) bool {
	if ext := filepath.Ext(file); ext != ".go" && ext != ".md" {
		return true
	}
	for path := range skipped {
		if strings.HasPrefix(file, path) {
			return true
		}
	}
	return strings.Contains("/"+file, "/testdata/")
}

// A rule says where a word is banned and what to write instead.
type rule struct {
	everywhere bool // or only in the names that a file declares
	instead    string
}

type rules map[string]rule

// parse reads the list; empty lines and lines that begin with # are comments.
func parse(s string) (rules, error) {
	banned := rules{}
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.Split(line, " | ")
		if len(parts) != 3 || parts[1] != "everywhere" && parts[1] != "identifiers" {
			return nil, fmt.Errorf("list.txt: line %q does not read: word | everywhere or identifiers | what to write instead", line)
		}
		banned[parts[0]] = rule{everywhere: parts[1] == "everywhere", instead: parts[2]}
	}
	return banned, nil
}

// A finding is a banned word in a line of a file.
type finding struct {
	line int
	word string
}

// check returns the findings in a file, by line.
func (r rules) check(file string) ([]finding, error) {
	src, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // deleted, and not yet committed
	}
	if err != nil {
		return nil, err
	}
	findings := r.text(string(src), 1)
	if filepath.Ext(file) == ".go" {
		findings, err = r.goFile(file, src)
	}
	slices.SortStableFunc(findings, func(a, b finding) int { return a.line - b.line })
	return findings, err
}

// text returns the words that are banned everywhere in s, whose first line has the
// given number.
func (r rules) text(s string, line int) []finding {
	var findings []finding
	for l := range strings.Lines(s) {
		for _, word := range split(l) {
			if r[word].everywhere {
				findings = append(findings, finding{line, word})
			}
		}
		line++
	}
	return findings
}
