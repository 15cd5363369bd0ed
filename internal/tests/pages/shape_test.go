package pages_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The root stays small enough to read: what a user can name is counted here.
func TestExportedNamesAreFew(t *testing.T) {
	options, others := 0, 0
	for _, name := range rootExports(t) {
		if strings.HasPrefix(name, "With") {
			options++
		} else {
			others++
		}
	}
	if options > 30 || others > 45 {
		t.Errorf("%d options and %d other exported names, want at most 30 and 45", options, others)
	}
}

// Every test that ARCHITECTURE.md calls the guard of an invariant must exist.
func TestInvariantsNameTests(t *testing.T) {
	page, err := os.ReadFile(root + "ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	var sources strings.Builder
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		src, err := os.ReadFile(path)
		sources.Write(src)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(string(page), -1)
	if len(names) < 24 {
		t.Errorf("%d tests are named, want one for each of 24 invariants", len(names))
	}
	for _, m := range names {
		if !strings.Contains(sources.String(), "func "+m[1]+"(") {
			t.Errorf("ARCHITECTURE.md names %s, which does not exist", m[1])
		}
	}
}

// rootExports returns the exported names of package everfresh, methods apart.
func rootExports(t *testing.T) []string {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, root+e.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	pkg, err := doc.NewFromFiles(fset, files, "github.com/everfresh-go/everfresh")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	values := append(append([]*doc.Value(nil), pkg.Consts...), pkg.Vars...)
	funcs := append([]*doc.Func(nil), pkg.Funcs...)
	for _, typ := range pkg.Types {
		names = append(names, typ.Name)
		funcs = append(funcs, typ.Funcs...)
		values = append(append(values, typ.Consts...), typ.Vars...)
	}
	for _, f := range funcs {
		names = append(names, f.Name)
	}
	for _, v := range values {
		names = append(names, v.Names...)
	}
	return names
}
