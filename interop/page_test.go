package interop

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	// The programs on the page use them; go.mod must know.
	_ "github.com/everfresh-go/everfresh"
	_ "github.com/everfresh-go/everfresh/jwks"
	_ "github.com/lestrrat-go/httprc"
	_ "github.com/lestrrat-go/httprc/v3"
)

// A pageKind is what programs with the same first line may use.
type pageKind struct {
	imports []string
	vars    string
}

// pages are the pages with programs, and the kinds of these by their first line. A program
// of docs/jwks.md without such a line is part of an example, which is compiled as such.
var pages = map[string]map[string]pageKind{
	"httprc.md": {
		"// httprc v3": {
			[]string{v3Path, v3Path + "/errsink", v3Path + "/tracesink"},
			"var ctrl httprc.Controller\nvar r *httprc.ResourceBase[Keys]\n",
		},
		"// everfresh": {[]string{ourPath}, "var c *everfresh.Cache\n"},
	},
	"jwks.md": {
		"// everfresh":          {[]string{ourPath, ourPath + "/jwks"}, ""},
		"// everfresh with jwx": {[]string{ourPath, jwxPath + "/jwk"}, "var cache *everfresh.Cache\n"},
	},
}

// pageCommon is what they all may use.
var pageCommon = []string{"context", "errors", "log/slog", "net/http", "regexp", "time"}

// pagePrelude declares what the programs take for granted.
const pagePrelude = `
type Keys struct{}

var (
	ctx    context.Context
	url    string
	logger *slog.Logger
	report func(error)
	legacy interface{ Get(url string) (*http.Response, error) }
)

`

var pageProgram = regexp.MustCompile("(?s)```go\n(// [^\n]*)\n(.*?)```")

// TestProgramsOnThePage compiles every program of the pages, those before the move and
// those after it.
func TestProgramsOnThePage(t *testing.T) {
	t.Parallel()
	imp := pageImporter(t)
	for name, kinds := range pages {
		page := readFile(t, filepath.Join(ourDir, "docs", name))
		seen := make(map[string]bool)
		for i, p := range pageProgram.FindAllStringSubmatch(page, -1) {
			t.Run(fmt.Sprint(name, i), func(t *testing.T) {
				kind, ok := kinds[p[1]]
				require.True(t, ok || name == "jwks.md", "a program begins with %q", p[1])
				if ok {
					pageCompile(t, imp, kind, p[2])
				}
				seen[p[1]] = true
			})
		}
		for first := range kinds {
			require.True(t, seen[first], "%s: no program begins with %q", name, first)
		}
	}
	page := readFile(t, filepath.Join(ourDir, "docs", "httprc.md"))
	require.Len(t, pageProgram.FindAllString(page, -1), strings.Count(page, "```go\n"))
	require.Contains(t, page, "+\t"+`httprc "github.com/everfresh-go/everfresh"`)
}

// pageCompile type-checks the body of a function.
func pageCompile(t *testing.T, imp types.Importer, kind pageKind, program string) {
	t.Helper()
	var src strings.Builder
	src.WriteString("package page\n\n")
	for _, path := range slices.Concat(kind.imports, pageCommon) {
		fmt.Fprintf(&src, "import %q\n", path)
	}
	src.WriteString(pagePrelude + kind.vars)
	fmt.Fprintf(&src, "func _() error {\n%s\nreturn nil\n}\n", program)
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "page.go", src.String(), 0)
	require.NoError(t, err, "%s", program)
	conf := types.Config{Importer: imp, Error: func(err error) {
		if te, ok := err.(types.Error); !ok || !te.Soft { //nolint:errorlint // Error is called with this type.
			t.Errorf("%v in\n%s", err, program)
		}
	}}
	_, _ = conf.Check("page", fset, []*ast.File{f}, nil) // Error receives every error
}

// pageImporter imports packages as the go command compiled them.
func pageImporter(t *testing.T) types.Importer {
	t.Helper()
	args := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}"}
	for _, kinds := range pages {
		for _, kind := range kinds {
			args = append(args, kind.imports...)
		}
	}
	for _, path := range pagePackages {
		args = append(args, path)
	}
	exports := make(map[string]string)
	for line := range strings.Lines(goCommand(t, ".", append(args, pageCommon...)...)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[path] = file
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
}
