package interop

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestV3Synopsis runs the program of the SYNOPSIS of v3's README, and its port to the
// typed API, which is an example of the package. Both state the same output.
func TestV3Synopsis(t *testing.T) {
	t.Parallel()
	program := synopsis(t, v3Path)
	port := readFile(t, filepath.Join(ourDir, "example_v3_test.go"))
	require.Equal(t, "world\n", statedOutput(t, program))
	require.Equal(t, "world\n", statedOutput(t, port))

	theirs := goCommand(t, tempModule(t, map[string]string{"synopsis_test.go": program}), "test", "-count=1", "-v", ".")
	require.Contains(t, theirs, "--- PASS: ExampleClient ")
	ours := goCommand(t, tempModule(t, map[string]string{"synopsis_test.go": port}), "test", "-race", "-count=1", "-v", ".")
	require.Contains(t, ours, "--- PASS: Example_httprcV3 ")
}

// statedOutput returns the output that the only example of a file states.
func statedOutput(t *testing.T, file string) string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "example_test.go", file, parser.ParseComments)
	require.NoError(t, err)
	examples := doc.Examples([]*ast.File{f}...)
	require.Len(t, examples, 1)
	return examples[0].Output
}
