package interop

import (
	"go/types"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// pagePackages are the packages whose names docs/jwks.md has in its tables.
var pagePackages = map[string]string{
	"everfresh": ourPath,
	"jwks":      ourPath + "/jwks",
	"httprc":    v3Path,
	"jwk":       jwxPath + "/jwk",
	"jws":       jwxPath + "/jws",
	"keyfunc":   "github.com/MicahParks/keyfunc/v3",
	"oidc":      "github.com/coreos/go-oidc/v3/oidc",
}

// pageValues are the variables there, with package and type.
var pageValues = map[string][2]string{
	"cache":    {"everfresh", "Cache"},
	"src":      {"jwks", "Source"},
	"c":        {"jwk", "Cache"},
	"set":      {"jwk", "Set"},
	"k":        {"keyfunc", "Keyfunc"},
	"provider": {"oidc", "Provider"},
}

var pageName = regexp.MustCompile(`\b(\w+)\.([A-Z]\w*)`)

// TestNamesOnTheKeysPage: whatever docs/jwks.md names there is, here and elsewhere, and in
// what is moved from, too.
func TestNamesOnTheKeysPage(t *testing.T) {
	t.Parallel()
	imp := pageImporter(t)
	packages := make(map[string]*types.Package)
	for name, path := range pagePackages {
		pkg, err := imp.Import(path)
		require.NoError(t, err)
		packages[name] = pkg
	}
	page := readFile(t, filepath.Join(ourDir, "docs", "jwks.md"))
	found := 0
	for _, code := range regexp.MustCompile("`[^`\n]+`").FindAllString(page, -1) {
		for _, m := range pageName.FindAllStringSubmatch(code, -1) {
			if pkg, ok := packages[m[1]]; ok {
				require.NotNil(t, pkg.Scope().Lookup(m[2]), "%s", m[0])
				found++
			}
			if value, ok := pageValues[m[1]]; ok {
				named := packages[value[0]].Scope().Lookup(value[1]).Type()
				member, _, _ := types.LookupFieldOrMethod(named, true, nil, m[2])
				require.NotNil(t, member, "%s", m[0])
				found++
			}
		}
	}
	require.Greater(t, found, 60)
}

// TestOverridesOnTheKeysPage: the fields of keyfunc's options are on the page.
func TestOverridesOnTheKeysPage(t *testing.T) {
	t.Parallel()
	pkg, err := pageImporter(t).Import(pagePackages["keyfunc"])
	require.NoError(t, err)
	fields, ok := pkg.Scope().Lookup("Override").Type().Underlying().(*types.Struct)
	require.True(t, ok)
	page := readFile(t, filepath.Join(ourDir, "docs", "jwks.md"))
	for field := range fields.Fields() {
		require.True(t, strings.Contains(page, field.Name()), "the page does not name %s", field.Name())
	}
}
