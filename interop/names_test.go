package interop

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A surface is what a package exports: names, and how they are declared. Methods and
// fields are named Type.Name.
type surface map[string]string

// surfaceOf reads the surface of the package in dir.
func surfaceOf(t *testing.T, dir string) surface {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	s := make(surface)
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range f.Decls {
			s.add(d)
		}
	}
	require.NotEmpty(t, s, dir)
	return s
}

func (s surface) add(d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		s.addFunc(d)
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			s.addSpec(spec)
		}
	}
}

func (s surface) addFunc(fn *ast.FuncDecl) {
	name := fn.Name.Name
	if fn.Recv != nil {
		name = receiver(fn.Recv.List[0].Type) + "." + name
	}
	s.put(name, fn.Type)
}

// receiver returns the name of a method's type.
func receiver(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.StarExpr:
		return receiver(x.X)
	case *ast.IndexExpr:
		return receiver(x.X)
	case *ast.Ident:
		return x.Name
	default:
		return "?"
	}
}

func (s surface) addSpec(spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			s.put(name.Name, nil)
		}
	case *ast.TypeSpec:
		s.addType(spec)
	}
}

func (s surface) addType(spec *ast.TypeSpec) {
	name := spec.Name.Name
	switch x := spec.Type.(type) {
	case *ast.InterfaceType:
		s.put(name, nil)
		s.addMembers(name, x.Methods)
	case *ast.StructType:
		s.put(name, nil)
		s.addMembers(name, x.Fields)
	default:
		s.put(name, x)
	}
}

func (s surface) addMembers(typ string, members *ast.FieldList) {
	for _, m := range members.List {
		for _, name := range m.Names {
			s.put(typ+"."+name.Name, m.Type)
		}
	}
}

// put notes an exported name; its declaration is written without the names of its
// parameters.
func (s surface) put(name string, x ast.Expr) {
	for part := range strings.SplitSeq(name, ".") {
		if !ast.IsExported(part) {
			return
		}
	}
	s[name] = declaration(x)
}

var paramNames = regexp.MustCompile(`\b[a-z]\w* (\*|\.\.\.|\[|func|any|bool|int|string|error|[A-Z]|\w+\.[A-Z])`)

func declaration(x ast.Expr) string {
	if x == nil {
		return ""
	}
	var b bytes.Buffer
	if err := printer.Fprint(&b, token.NewFileSet(), x); err != nil {
		return err.Error()
	}
	text := strings.ReplaceAll(b.String(), "interface{}", "any")
	return paramNames.ReplaceAllString(text, "$1")
}

// optionTypes are one here: an Option fits wherever a CacheOption or RegisterOption does.
var optionTypes = regexp.MustCompile(`\b\w*Option$`)

// differing returns the names of old that ours lacks or declares otherwise.
func (s surface) differing(ours surface) []string {
	var names []string
	for name, decl := range s {
		mine, ok := ours[name]
		if !ok || optionTypes.ReplaceAllString(mine, "Option") != optionTypes.ReplaceAllString(decl, "Option") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// section returns the part of the page under a heading of the second level.
func section(t *testing.T, heading string) string {
	t.Helper()
	page := readFile(t, filepath.Join(ourDir, "docs", "httprc.md"))
	_, rest, ok := strings.Cut(page, "\n## "+heading+"\n")
	require.True(t, ok, "no section %q", heading)
	text, _, _ := strings.Cut(rest, "\n## ")
	return text
}

// requireNamed checks that text has each name between backquotes, whole or after a dot.
func requireNamed(t *testing.T, text string, names []string) {
	t.Helper()
	words := make(map[string]bool)
	for _, code := range regexp.MustCompile("`[^`\n]+`").FindAllString(text, -1) {
		for _, word := range regexp.MustCompile(`[A-Za-z]\w*`).FindAllString(code, -1) {
			words[word] = true
		}
	}
	for _, name := range names {
		if last := name[strings.LastIndex(name, ".")+1:]; !words[last] {
			t.Errorf("the page does not name %s", name)
		}
	}
}

// TestV1NamesThatDoNotCarryOver: every name of v1 means the same here, or the page says
// what became of it.
func TestV1NamesThatDoNotCarryOver(t *testing.T) {
	v1, ours := surfaceOf(t, moduleDir(t, v1Path)), surfaceOf(t, ourDir)
	names := v1.differing(ours)
	t.Log("differing: ", names)
	for _, name := range []string{
		"NewCache", "Cache.Register", "Cache.Unregister", "Cache.IsRegistered", "Cache.Get", "Cache.Refresh",
		"ErrSink.Error", "ErrSinkFunc", "Transformer.Transform", "TransformFunc", "WithErrSink", "WithMinRefreshInterval",
		"WithRefreshInterval", "WithRefreshWindow", "WithTransformer",
	} {
		require.Contains(t, v1, name)
		require.NotContains(t, names, name)
	}
	requireNamed(t, section(t, "From v1"), names)
}

// TestV3NamesAreOnThePage: the page says what became of every name of v3.
func TestV3NamesAreOnThePage(t *testing.T) {
	dir := moduleDir(t, v3Path)
	text := section(t, "From v3")
	for _, pkg := range []string{".", "errsink", "tracesink", "proxysink"} {
		names := slices.Sorted(maps.Keys(surfaceOf(t, filepath.Join(dir, pkg))))
		requireNamed(t, text, names)
	}
}
