package parity_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
	"github.com/everfresh-go/everfresh/store"
)

// shapeFiles parses the files of the package in dir that are not tests.
func shapeFiles(t *testing.T, dir string) []*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	if len(files) == 0 {
		t.Fatalf("no Go files in %s", dir)
	}
	return files
}

// shapeEach calls visit for every declaration of root and store.
func shapeEach(t *testing.T, visit func(ast.Decl)) {
	t.Helper()
	for _, f := range slices.Concat(shapeFiles(t, root), shapeFiles(t, filepath.Join(root, "store"))) {
		for _, d := range f.Decls {
			visit(d)
		}
	}
}

// shapeSpecs calls visit for every exported name that root and store declare with tok.
func shapeSpecs(t *testing.T, tok token.Token, visit func(name string, spec ast.Spec)) {
	t.Helper()
	shapeEach(t, func(d ast.Decl) {
		gen, ok := d.(*ast.GenDecl)
		if !ok || gen.Tok != tok {
			return
		}
		for _, spec := range gen.Specs {
			for _, name := range shapeNames(spec) {
				if name.IsExported() {
					visit(name.Name, spec)
				}
			}
		}
	})
}

func shapeNames(spec ast.Spec) []*ast.Ident {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		return []*ast.Ident{spec.Name}
	case *ast.ValueSpec:
		return spec.Names
	default:
		return nil
	}
}

// shapeFuncs calls visit for every exported function and method of root and store.
func shapeFuncs(t *testing.T, visit func(*ast.FuncDecl)) {
	t.Helper()
	shapeEach(t, func(d ast.Decl) {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.IsExported() {
			visit(fn)
		}
	})
}

// TestDefectInterfacesAreNarrow: v3 exported an interface of 13 methods, setters
// included, that nobody else could usefully implement.
func TestDefectInterfacesAreNarrow(t *testing.T) {
	seen := 0
	shapeSpecs(t, token.TYPE, func(name string, spec ast.Spec) {
		if iface, ok := spec.(*ast.TypeSpec).Type.(*ast.InterfaceType); ok {
			seen++
			if n := iface.Methods.NumFields(); n > 4 {
				t.Errorf("%s has %d methods", name, n)
			}
		}
	})
	if seen < 5 {
		t.Errorf("only %d interfaces found", seen)
	}
	shapeFuncs(t, func(fn *ast.FuncDecl) {
		if fn.Recv != nil && strings.HasPrefix(fn.Name.Name, "Set") {
			t.Errorf("%s is a setter", fn.Name.Name)
		}
	})
}

// shapeFetcher and the others are implementations from outside the package.
type (
	shapeFetcher     struct{}
	shapeSink        struct{}
	shapeTransformer struct{}
)

func (shapeFetcher) Fetch(*http.Request) (*http.Response, error) {
	return nil, errors.New("no network")
}
func (shapeSink) Error(error)                                          {}
func (shapeTransformer) Transform(string, *http.Response) (any, error) { return "made", nil }

// TestDefectInterfacesCanBeImplemented: v1's Fetcher had a method that was not exported.
func TestDefectInterfacesCanBeImplemented(t *testing.T) {
	var s store.Storage = new(store.Memory)
	c := everfreshtest.NewCache(t, everfresh.WithErrSink(shapeSink{}), everfresh.WithFetcher(shapeFetcher{}), everfresh.WithStorage(s))
	if err := c.Register(contractURL, everfresh.WithTransformer(shapeTransformer{})); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), contractURL); err == nil || !strings.Contains(err.Error(), "no network") {
		t.Errorf("Get = %v", err)
	}
	shapeSpecs(t, token.TYPE, func(name string, spec ast.Spec) {
		iface, ok := spec.(*ast.TypeSpec).Type.(*ast.InterfaceType)
		if !ok || strings.HasSuffix(name, "Option") { // options are made by functions only
			return
		}
		for _, m := range iface.Methods.List {
			if len(m.Names) > 0 && !m.Names[0].IsExported() {
				t.Errorf("%s cannot be implemented: %s", name, m.Names[0].Name)
			}
		}
	})
}

// TestDefectSentinelsAreVariables: v3's were functions that returned the errors.
func TestDefectSentinelsAreVariables(t *testing.T) {
	seen := 0
	shapeSpecs(t, token.VAR, func(name string, _ ast.Spec) {
		if strings.HasPrefix(name, "Err") {
			seen++
		}
	})
	if seen < 7 {
		t.Errorf("only %d sentinels found", seen)
	}
	shapeFuncs(t, func(fn *ast.FuncDecl) {
		if fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Err") {
			t.Errorf("%s is a function", fn.Name.Name)
		}
	})
	_, err := everfreshtest.NewCache(t).Get(t.Context(), contractURL)
	everfreshtest.WantIs(t, err, everfresh.ErrNotRegistered)
}

// TestDefectNoConstantIsExported: v3 exported a buffer size that nothing used.
func TestDefectNoConstantIsExported(t *testing.T) {
	for _, f := range shapeFiles(t, root) {
		for _, d := range f.Decls {
			gen, ok := d.(*ast.GenDecl)
			if !ok || gen.Tok != token.CONST {
				continue
			}
			for _, spec := range gen.Specs {
				for _, name := range shapeNames(spec) {
					if name.IsExported() {
						t.Errorf("constant %s", name.Name)
					}
				}
			}
		}
	}
}

// TestDefectNoDependencyTravelsInAContext: v3 handed its HTTP client and trace sink from
// function to function as values of a context. Here one value travels, which tells a
// nested Get whose refresh it is part of.
func TestDefectNoDependencyTravelsInAContext(t *testing.T) {
	var keys []string
	for _, f := range shapeFiles(t, root) {
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 3 {
				return true
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "WithValue" {
				if key, ok := call.Args[1].(*ast.CompositeLit); ok {
					keys = append(keys, types.ExprString(key.Type))
				} else {
					keys = append(keys, "another")
				}
			}
			return true
		})
	}
	if keys = slices.Compact(keys); !slices.Equal(keys, []string{"refreshctx.Key"}) {
		t.Errorf("context values: %v", keys)
	}
}

// TestDefectPolicyDefaultIsWhatItsCommentSays: v3's comment said that all URLs are blocked
// by default, and its code allowed all.
func TestDefectPolicyDefaultIsWhatItsCommentSays(t *testing.T) {
	doc := ""
	shapeFuncs(t, func(fn *ast.FuncDecl) {
		if fn.Name.Name == "WithAllow" {
			doc = strings.Join(strings.Fields(fn.Doc.Text()), " ")
		}
	})
	if !strings.Contains(doc, "Default: all http and https URLs without userinfo.") {
		t.Errorf("the comment of WithAllow is: %s", doc)
	}
	c := everfreshtest.NewCache(t)
	for url, allowed := range map[string]bool{
		"https://a.test/": true, "http://b.test:8080/x?y=z": true, "http://127.0.0.1/": true,
		"ftp://a.test/": false, "file:///etc/passwd": false, "https://user@a.test/": false, "https://user:pw@a.test/": false,
	} {
		if err := c.Register(url); errors.Is(err, everfresh.ErrNotAllowed) == allowed {
			t.Errorf("%s: Register = %v", url, err)
		}
	}
}

// TestDefectMessagesNameTheCall: v3 spoke of "Controller.AddResource" in the errors of a
// method named Add.
func TestDefectMessagesNameTheCall(t *testing.T) {
	c := everfreshtest.NewCache(t)
	_, get := c.Get(t.Context(), contractURL)
	_, refresh := c.Refresh(t.Context(), contractURL)
	_, lookup := everfresh.Lookup[[]byte](c, contractURL)
	_, typed := everfresh.Register(c, "", everfresh.Bytes())
	for call, err := range map[string]error{
		"register": c.Register(""), "unregister": c.Unregister(contractURL),
		"get": get, "refresh": refresh, "lookup": lookup, "register ": typed, // twice: both doors
	} {
		if want := "everfresh: " + strings.TrimSpace(call); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v does not begin with %q", err, want)
		}
	}
}

// TestDefectOneWayToClose: v3 had Shutdown(timeout) beside ShutdownContext(ctx).
func TestDefectOneWayToClose(t *testing.T) {
	var ways []string
	for _, f := range shapeFiles(t, root) {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if ok && fn.Recv != nil && (strings.HasPrefix(fn.Name.Name, "Close") || strings.HasPrefix(fn.Name.Name, "Shutdown")) {
				if star, ok := fn.Recv.List[0].Type.(*ast.StarExpr); ok && star.X.(*ast.Ident).Name == "Cache" {
					ways = append(ways, fn.Name.Name)
				}
			}
		}
	}
	if !slices.Equal(ways, []string{"Close"}) {
		t.Errorf("ways to close a Cache: %v", ways)
	}
}
