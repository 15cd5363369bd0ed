package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	v1Path  = "github.com/lestrrat-go/httprc"
	v3Path  = "github.com/lestrrat-go/httprc/v3"
	ourPath = "github.com/everfresh-go/everfresh"
	jwxPath = "github.com/lestrrat-go/jwx/v3"
	ourDir  = ".."
)

// goCommand runs the go command in dir, outside any workspace, and returns what it
// printed.
func goCommand(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	if err != nil {
		stderr := ""
		if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // Output documents the type.
			stderr = string(exit.Stderr)
		}
		t.Fatalf("go %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr)
	}
	return string(out)
}

// moduleFile returns a file of a module as it lies in the module cache.
func moduleFile(t *testing.T, module, name string) string {
	t.Helper()
	return readFile(t, filepath.Join(moduleDir(t, module), name))
}

func moduleDir(t *testing.T, module string) string {
	t.Helper()
	dir := strings.TrimSpace(goCommand(t, ".", "list", "-m", "-f", "{{.Dir}}", module))
	require.NotEmpty(t, dir, "%s is not in the module cache", module)
	return dir
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(text)
}

// moved returns a program of v1 with its import line changed, and checks that no other
// line differs.
func moved(t *testing.T, program string) string {
	t.Helper()
	lines := strings.Split(program, "\n")
	changed := 0
	for i, line := range lines {
		if strings.TrimSpace(line) == `"`+v1Path+`"` {
			lines[i] = "\t" + `httprc "github.com/everfresh-go/everfresh"`
		}
	}
	for i, line := range strings.Split(program, "\n") {
		if line != lines[i] {
			changed++
		}
	}
	require.Equal(t, 1, changed, "lines that differ from the original")
	return strings.Join(lines, "\n")
}

// tempModule writes files into a module that uses the everfresh of this repository and
// the same versions of everything else as this module.
func tempModule(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs(ourDir)
	require.NoError(t, err)
	mod := readFile(t, "go.mod")
	mod = strings.Replace(mod, "module github.com/everfresh-go/everfresh/interop", "module moved.test", 1)
	mod = strings.Replace(mod, "=> ..", "=> "+root, 1)
	files["go.mod"] = mod
	files["go.sum"] = readFile(t, "go.sum")
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

// TestV1ExternalTests runs v1's own external test files. Only their import line is
// changed.
func TestV1ExternalTests(t *testing.T) {
	t.Parallel()
	files := make(map[string]string)
	for _, name := range []string{"httprc_test.go", "httprc_example_test.go"} {
		files[name] = moved(t, moduleFile(t, v1Path, name))
		require.Contains(t, files[name], "package httprc_test\n")
	}
	out := goCommand(t, tempModule(t, files), "test", "-race", "-count=1", "-v", ".")
	require.Contains(t, out, "--- PASS: TestCache ")
	require.Contains(t, out, "--- PASS: ExampleCache ")
}

// TestV1Synopsis runs the program of the SYNOPSIS of v1's README, with the output that
// it states: none.
func TestV1Synopsis(t *testing.T) {
	t.Parallel()
	program := synopsis(t, v1Path)
	require.Contains(t, program, "// OUTPUT:\n}")
	dir := tempModule(t, map[string]string{"synopsis_test.go": moved(t, program)})
	out := goCommand(t, dir, "test", "-race", "-count=1", "-v", ".")
	require.Contains(t, out, "--- PASS: ExampleCache ")
}

// synopsis returns the Go program in the section SYNOPSIS of a module's README.
func synopsis(t *testing.T, module string) string {
	t.Helper()
	_, section, ok := strings.Cut(moduleFile(t, module, "README.md"), "# SYNOPSIS\n")
	require.True(t, ok, "no section SYNOPSIS")
	_, block, ok := strings.Cut(section, "```go\n")
	require.True(t, ok, "no Go program")
	program, _, ok := strings.Cut(block, "```\n")
	require.True(t, ok, "the Go program does not end")
	return program
}
