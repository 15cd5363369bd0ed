package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func listed(t *testing.T) rules {
	t.Helper()
	r, err := parse(list)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestGoFiles(t *testing.T) {
	tests := []struct {
		name, src string
		want      []finding
	}{
		{"comment", "package p\n\n// It begins anew.\n", []finding{{3, "anew"}}},
		{"second line of a comment", "package p\n\n/* One\nlanes */\n", []finding{{4, "lanes"}}},
		{"comment inside a function", "package p\nfunc f() {\n\t// Nobody waits.\n}\n", []finding{{3, "nobody"}}},
		{"trailing comment", "package p\nvar x int // lest it\n", []finding{{2, "lest"}}},
		{"name in a comment", "package p\n// See setAside.\n", []finding{{2, "aside"}}},
		{"string", "package p\nvar s = \"the untyped door\"\n", []finding{{2, "door"}}},
		{"raw string", "package p\nvar s = `one\nhears`\n", []finding{{3, "hears"}}},
		{"struct tag", "package p\ntype t struct { A int `json:\"mortal\"` }\n", []finding{{2, "mortal"}}},
		{"package", "package lane\n", []finding{{1, "lane"}}},
		{"function", "package p\nfunc mustBeEmpty() {}\n", []finding{{2, "must"}}},
		{"method", "package p\nfunc (t t) warmStart() {}\n", []finding{{2, "warm"}}},
		{"type", "package p\ntype hostMeta int\n", []finding{{2, "meta"}}},
		{"type parameter", "package p\nfunc f[KeptValue any]() {}\n", []finding{{2, "kept"}}},
		{"constant", "package p\nconst maxKept = 1\n", []finding{{2, "kept"}}},
		{"variable", "package p\nvar a, warm = 1, 2\n", []finding{{2, "warm"}}},
		{"field", "package p\ntype t struct{ renewed int }\n", []finding{{2, "renewed"}}},
		{"method of an interface", "package p\ntype t interface{ settle() }\n", []finding{{2, "settle"}}},
		{"receiver", "package p\nfunc (kept t) f() {}\n", []finding{{2, "kept"}}},
		{"parameter", "package p\nfunc f(meta int) {}\n", []finding{{2, "meta"}}},
		{"result", "package p\nfunc f() (kept int) { return }\n", []finding{{2, "kept"}}},
		{"short declaration", "package p\nfunc f() { a, kept := 1, 2 }\n", []finding{{2, "kept"}}},
		{"range", "package p\nfunc f() { for _, lane := range x {} }\n", []finding{{2, "lane"}}},
		{"label", "package p\nfunc f() {\nsettle:\n}\n", []finding{{3, "settle"}}},
		{"import name", "package p\nimport lane \"x\"\n", []finding{{2, "lane"}}},
		{"initials", "package p\nvar HTTPMeta, metaURL, META int\n", []finding{{2, "meta"}, {2, "meta"}, {2, "meta"}}},
		{"snake case", "package p\nfunc must_be() {}\n", []finding{{2, "must"}}},
		{"several in a line", "package p // nobody, lest\n", []finding{{1, "nobody"}, {1, "lest"}}},

		{"prose may use these", "package p\n// It must be kept warm, meta.\nvar s = \"must settle\"\n", nil},
		{"allowed name", "package p\ntype Meta struct{ MustRevalidate bool }\n", nil},
		{"another package's name", "package p\nvar x = regexp.MustCompile(s)\n", nil},
		{"another package's field", "package p\nfunc f() { x.Meta = 1; x.meta, y = 1, 2 }\n", nil},
		{"import path", "package p\nimport \"example.com/lane/door\"\n", nil},
		{"parts of words", "package p\n// outdoors, hearsay, planes, filestore\nvar metadata, mustard, warmth int\n", nil},
		{"http.NoBody", "package p\nvar b = http.NoBody\n", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := check(t, "x.go", tt.src)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("found %v, want %v", got, tt.want)
			}
		})
	}
}

func TestMarkdown(t *testing.T) {
	got, err := check(t, "x.md", "# Doors\n\nIt must do `boxed`.\n\n```go\nx.Aside()\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []finding{{1, "doors"}, {3, "boxed"}, {6, "aside"}}
	if !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}

func TestInvalidGo(t *testing.T) {
	if _, err := check(t, "x.go", "func"); err == nil {
		t.Error("a file that does not parse passed")
	}
}

// Every word of the list is found: none is misspelled in a way that no text can have.
func TestEveryWordIsFound(t *testing.T) {
	r := listed(t)
	if len(r) < 27 {
		t.Errorf("%d words, want at least 27", len(r))
	}
	for word, rule := range r {
		got, err := r.goFile("x.go", []byte("package p\nvar the"+strings.ToUpper(word[:1])+word[1:]+"Of int\n"))
		if err != nil || len(got) != 1 || got[0].word != word {
			t.Errorf("%s in an identifier: found %v, %v", word, got, err)
		}
		if rule.instead == "" {
			t.Errorf("%s: nothing to write instead", word)
		}
	}
}

func TestInvalidList(t *testing.T) {
	for _, s := range []string{"word", "word | everywhere", "word | nowhere | other", "a | everywhere | b | c"} {
		if _, err := parse(s); err == nil {
			t.Errorf("parse(%q) returned no error", s)
		}
	}
}

func TestSkip(t *testing.T) {
	tests := []struct {
		file string
		want bool
	}{
		{"cache.go", false},
		{"store/store_test.go", false},
		{"docs/httprc.md", false},
		{"internal/words/main.go", false},
		{"bench/raw.go", false},
		{"testdata/x.go", true},
		{"store/testdata/x.md", true},
		{"bench/raw/x.md", true},
		{"docs/plots/x.svg", true},
	}
	for _, tt := range tests {
		if got := skip(tt.file); got != tt.want {
			t.Errorf("skip(%q) = %t, want %t", tt.file, got, tt.want)
		}
	}
}

// Each path that is skipped exists, and says why.
func TestSkippedExist(t *testing.T) {
	for path, reason := range skipped {
		if _, err := os.Stat(filepath.Join("..", "..", path)); err != nil || reason == "" {
			t.Errorf("%s (%q): %v", path, reason, err)
		}
	}
}

func check(t *testing.T, name, src string) ([]finding, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	return listed(t).check(file)
}
