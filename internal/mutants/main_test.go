package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The list must fit the sources without running any test: each old text occurs once,
// each test exists, and there are enough of them.
func TestListFits(t *testing.T) {
	mutants, err := parse(list)
	if err != nil {
		t.Fatal(err)
	}
	if len(mutants) < 40 {
		t.Errorf("%d mutants, want at least 40", len(mutants))
	}
	tests := rootTests(t)
	for _, m := range mutants {
		src, err := os.ReadFile(filepath.Join("..", "..", m.file))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(src), m.old); n != 1 {
			t.Errorf("%s: %q occurs %d times", m.file, m.old, n)
		}
		if name, _, _ := strings.Cut(m.test, "/"); !strings.Contains(tests, "func "+name+"(") {
			t.Errorf("no test %s", m.test)
		}
	}
}

func rootTests(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("../../*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(src)
	}
	return all.String()
}

func TestParseRefusesBrokenLine(t *testing.T) {
	if _, err := parse("queue.go | TestX | old"); err == nil {
		t.Error("a line of three parts was accepted")
	}
}
