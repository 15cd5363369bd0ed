package pages_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the root of the repository.
const root = "../../../"

// TestReadmeProgram runs the program of README.md, which prints what its last comment says.
func TestReadmeProgram(t *testing.T) {
	page, err := os.ReadFile(root + "README.md")
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(page)
	want := regexp.MustCompile(`fmt\.Println\(.*\) +// (.*)`).FindSubmatch(page)
	if program == nil || want == nil {
		t.Fatal("README.md has no program that prints something")
	}
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, program[1], 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := exec.CommandContext(t.Context(), "go", "run", file).CombinedOutput() //nolint:gosec // Our own page.
	if err != nil || string(got) != string(want[1])+"\n" {
		t.Errorf("prints %q, %v; want %q", got, err, want[1])
	}
}

// TestReadmeExamples compiles the examples after the first, which are bodies of functions.
func TestReadmeExamples(t *testing.T) {
	page, err := os.ReadFile(root + "README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "## What it does")
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(rest, -1)
	if len(blocks) < 5 {
		t.Fatalf("%d examples, want one of keys and one for each way to open a store", len(blocks))
	}
	work, err := filepath.Abs(root + "go.work")
	if err != nil {
		t.Fatal(err)
	}
	const module = "github.com/everfresh-go/everfresh"
	for _, block := range blocks {
		var src strings.Builder
		src.WriteString("package main\n\nimport (\n\t\"context\"\n")
		for name, path := range map[string]string{
			"everfresh.": module, "filestore.": module + "/store/filestore", "boltstore.": module + "/store/boltstore",
			"sqlstore.": module + "/store/sqlstore", "sql.Open": "database/sql", "os.": "os", "fmt.": "fmt", "jwks.": module + "/jwks", "jwkstest.": module + "/jwks/jwkstest",
			"mongostore.": module + "/store/mongostore", "mongo.Connect": "go.mongodb.org/mongo-driver/v2/mongo",
			"options.Client": "go.mongodb.org/mongo-driver/v2/mongo/options",
		} {
			if strings.Contains(block[1], name) {
				fmt.Fprintf(&src, "\t%q\n", path)
			}
		}
		fmt.Fprintf(&src, ")\n\nfunc main() {}\n\nfunc _(ctx context.Context, token string) error {\n%s\n_ = cache\nreturn nil\n}\n", block[1])
		file := filepath.Join(t.TempDir(), "main.go")
		if err := os.WriteFile(file, []byte(src.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", os.DevNull, file) //nolint:gosec // Our own page.
		cmd.Env = append(os.Environ(), "GOWORK="+work)                                 // stores are modules of their own
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s\n%s", err, out, src.String())
		}
	}
}
