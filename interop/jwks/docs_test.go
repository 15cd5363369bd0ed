package jwks_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const page = "../../docs/jwks.md"

// sourcesOf returns the text of all files of a pattern.
func sourcesOf(t *testing.T, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.NotEmpty(t, names)
	var all strings.Builder
	for _, name := range names {
		all.Write(readFile(t, name))
	}
	return all.String()
}

// The programs of docs/jwks.md are literal parts of the examples here, except those that
// begin with a comment, which the test in the directory above compiles.
func TestProgramsOfThePageAreExamples(t *testing.T) {
	t.Parallel()
	examples := sourcesOf(t, "example_*_test.go")
	n := 0
	for _, m := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readFile(t, page)), -1) {
		if strings.HasPrefix(m[1], "// everfresh") {
			continue
		}
		n++
		require.True(t, strings.Contains(examples, m[1]), "no example has\n%s", m[1])
	}
	require.Equal(t, 5, n)
}

// The lines of code in the documentation of package jwks are in an example here or there.
func TestLinesOfTheDocumentationAreInExamples(t *testing.T) {
	t.Parallel()
	examples := sourcesOf(t, "example_*_test.go") + sourcesOf(t, "../../jwks/example_*_test.go")
	for _, line := range []string{
		`src, err := jwks.FromIssuer(cache, "https://issuer.example")`,
		`key, err := src.Key(ctx, `,
	} {
		require.Contains(t, string(readFile(t, "../../jwks/doc.go")), line)
		require.Contains(t, examples, line)
	}
	const keyfunc = `jwt.Parse(raw, jwks.Keyfunc(src, func(t *jwt.Token) map[string]any { return t.Header }))`
	require.Contains(t, string(readFile(t, "../../jwks/keyfunc.go")), keyfunc)
	require.Contains(t, examples, keyfunc)
}

// The page's table of behaviours has a row for each, with the answers of each of the four.
func TestBehavioursOnThePage(t *testing.T) {
	t.Parallel()
	text := string(readFile(t, page))
	for what, b := range behaviours {
		cells := []string{what}
		for _, name := range []string{"everfresh", "jwx", "keyfunc", "go-oidc"} {
			answer := "no"
			if slices.Contains(b.with, name) {
				answer = "yes"
			}
			cells = append(cells, answer)
		}
		row := "| " + strings.Join(cells, " | ") + " |"
		require.True(t, strings.Contains(text, row+"\n"), "the page lacks %s", row)
	}
	require.Equal(t, len(behaviours), len(regexp.MustCompile(`(?m)\| (yes|no) \|$`).FindAllString(text, -1)))
}

// The page names the versions that go.mod has, and tests that there are.
func TestVersionsAndTestsOnThePage(t *testing.T) {
	t.Parallel()
	text, mod, tests := string(readFile(t, page)), string(readFile(t, "../go.mod")), sourcesOf(t, "*_test.go")
	for name, module := range map[string]string{
		"golang-jwt ": "golang-jwt/jwt/v5 ", "go-oidc ": "coreos/go-oidc/v3 ", "jwx ": "lestrrat-go/jwx/v3 ",
		"go-jose ": "go-jose/go-jose/v4 ", "keyfunc ": "MicahParks/keyfunc/v3 ", "jwkset ": "MicahParks/jwkset ",
	} {
		_, version, ok := strings.Cut(mod, module)
		require.True(t, ok, module)
		version, _, _ = strings.Cut(strings.Fields(version)[0], " ")
		require.Contains(t, strings.ReplaceAll(text, "\n", " "), name+version)
	}
	for _, m := range regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(text, -1) {
		require.Contains(t, tests, "func "+m[1]+"(")
	}
}
