package parity_test

import (
	"errors"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
	"github.com/everfresh-go/everfresh/store"
)

// TestDefectInterfacesAreNarrow: v3 exported an interface of 13 methods, setters
// included, that no one else could usefully implement. The linter interfacebloat looks at
// the others.
func TestDefectInterfacesAreNarrow(t *testing.T) {
	for _, typ := range []reflect.Type{
		reflect.TypeFor[everfresh.Fetcher](), reflect.TypeFor[everfresh.ErrSink](),
		reflect.TypeFor[everfresh.Transformer](), reflect.TypeFor[store.Storage](),
	} {
		if n := typ.NumMethod(); n > 4 {
			t.Errorf("%v has %d methods", typ, n)
		}
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[*everfresh.Cache](), reflect.TypeFor[*everfresh.Resource[int]]()} {
		for i := range typ.NumMethod() {
			if m := typ.Method(i); strings.HasPrefix(m.Name, "Set") {
				t.Errorf("%v has the setter %s", typ, m.Name)
			}
		}
	}
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
}

// TestDefectSentinelsAreVariables: v3's were functions that returned the errors.
func TestDefectSentinelsAreVariables(t *testing.T) {
	for _, f := range shapeDoc(t).Funcs {
		if strings.HasPrefix(f.Name, "Err") {
			t.Errorf("%s is a function", f.Name)
		}
	}
	_, err := everfreshtest.NewCache(t).Get(t.Context(), contractURL)
	everfreshtest.WantIs(t, err, everfresh.ErrNotRegistered)
}

// TestDefectNoConstantIsExported: v3 exported a buffer size that nothing used.
func TestDefectNoConstantIsExported(t *testing.T) {
	pkg := shapeDoc(t)
	consts := pkg.Consts
	for _, typ := range pkg.Types {
		consts = append(consts, typ.Consts...)
	}
	for _, c := range consts {
		t.Errorf("constants %v", c.Names)
	}
}

// TestDefectNoDependencyTravelsInAContext: v3 handed its HTTP client and trace sink from
// function to function as values of a context. Here one value travels, which tells a
// nested Get whose refresh it is part of.
func TestDefectNoDependencyTravelsInAContext(t *testing.T) {
	seen := 0
	for _, file := range shapeSources(t) {
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range regexp.MustCompile(`\bcontext\.WithValue\(.*`).FindAllString(string(src), -1) {
			if seen++; !strings.Contains(call, ", refreshctx.Key{}, ") {
				t.Errorf("%s: %s", filepath.Base(file), call)
			}
		}
	}
	if seen == 0 {
		t.Error("no context value found")
	}
}

// TestDefectPolicyDefaultIsWhatItsCommentSays: v3's comment said that all URLs are blocked
// by default, and its code allowed all.
func TestDefectPolicyDefaultIsWhatItsCommentSays(t *testing.T) {
	comment := ""
	for _, typ := range shapeDoc(t).Types { // go/doc lists an option with its type
		for _, f := range typ.Funcs {
			if f.Name == "WithAllow" {
				comment = strings.Join(strings.Fields(f.Doc), " ")
			}
		}
	}
	if !strings.Contains(comment, "Default: all http and https URLs without userinfo.") {
		t.Errorf("the comment of WithAllow is: %s", comment)
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
		"get": get, "refresh": refresh, "lookup": lookup, "register ": typed, // twice: both APIs
	} {
		if want := "everfresh: " + strings.TrimSpace(call); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v does not begin with %q", err, want)
		}
	}
}

// TestDefectOneWayToClose: v3 had Shutdown(timeout) beside ShutdownContext(ctx).
func TestDefectOneWayToClose(t *testing.T) {
	var ways []string
	typ := reflect.TypeFor[*everfresh.Cache]()
	for i := range typ.NumMethod() {
		if m := typ.Method(i); strings.HasPrefix(m.Name, "Close") || strings.HasPrefix(m.Name, "Shutdown") {
			ways = append(ways, m.Name)
		}
	}
	if !slices.Equal(ways, []string{"Close"}) {
		t.Errorf("ways to close a Cache: %v", ways)
	}
}

// shapeSources returns the sources of the root package.
func shapeSources(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(files, func(file string) bool { return strings.HasSuffix(file, "_test.go") })
}

// shapeDoc returns what go doc says of the root package.
func shapeDoc(t *testing.T) *doc.Package {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	for _, file := range shapeSources(t) {
		f, err := parser.ParseFile(fset, file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	pkg, err := doc.NewFromFiles(fset, files, "github.com/everfresh-go/everfresh")
	if err != nil {
		t.Fatal(err)
	}
	return pkg
}
