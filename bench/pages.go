package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	readme    = "README.md"
	scalePage = "../docs/scale.md"
	plotDir   = "../docs/plots"
)

// What is made from the raw output stands between these lines of a page.
const (
	beginTables = "<!-- tables: made by go run . -table, do not edit -->\n"
	endTables   = "<!-- end of tables -->\n"
)

// pages returns every file that is made, or made in part, from the raw output in dir.
func pages(dir string) (map[string]string, error) {
	runs, err := readRaw(dir)
	if err != nil {
		return nil, err
	}
	files := make(map[string]string)
	for _, p := range plots(runs) {
		files[filepath.Join(plotDir, p.file)] = p.svg()
	}
	for file, made := range map[string]string{readme: tables(runs), scalePage: scaleTables(runs)} {
		old, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if files[file], err = withMade(string(old), made); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return files, nil
}

// writePages writes them.
func writePages(dir string) error {
	files, err := pages(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(plotDir, 0o755); err != nil {
		return err
	}
	for file, text := range files {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// withMade returns a page in which made has taken its place.
func withMade(page, made string) (string, error) {
	before, rest, ok := strings.Cut(page, beginTables)
	_, after, ok2 := strings.Cut(rest, endTables)
	if !ok || !ok2 {
		return "", fmt.Errorf("no place for the tables: it begins with %q and ends with %q", beginTables, endTables)
	}
	return before + beginTables + made + "\n" + endTables + after, nil
}
