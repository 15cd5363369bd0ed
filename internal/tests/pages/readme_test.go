package pages_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// root is the root of the repository.
const root = "../../../"

// pageText returns a page of the repository.
func pageText(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(root + page)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// pageExamples returns the Go examples of a page, which are bodies of functions.
func pageExamples(t *testing.T, page string) []string {
	t.Helper()
	var bodies []string
	for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(pageText(t, page), -1) {
		bodies = append(bodies, block[1])
	}
	return bodies
}

// pageProgram returns the file of a program that runs an example.
func pageProgram(t *testing.T, example string) (file string) {
	t.Helper()
	const module = "github.com/everfresh-go/everfresh"
	var src strings.Builder
	src.WriteString("package main\n\nimport (\n\t\"context\"\n\t\"log\"\n")
	for name, path := range map[string]string{
		"everfresh.": module, "filestore.": module + "/store/filestore", "boltstore.": module + "/store/boltstore",
		"sqlstore.": module + "/store/sqlstore", "mongostore.": module + "/store/mongostore", "sealed.": module + "/store/sealed",
		"tiered.": module + "/store/tiered", "jwks.": module + "/jwks",
		"sql.": "database/sql", "os.": "os", "fmt.": "fmt", "slog.": "log/slog",
		"mongo.": "go.mongodb.org/mongo-driver/v2/mongo", "options.": "go.mongodb.org/mongo-driver/v2/mongo/options",
	} {
		if regexp.MustCompile(`\b` + regexp.QuoteMeta(name)).MatchString(example) {
			fmt.Fprintf(&src, "\t%q\n", path)
		}
	}
	fmt.Fprintf(&src, `)

func main() {
	if err := example(context.Background(), ""); err != nil {
		log.Fatal(err)
	}
}

func example(ctx context.Context, token string) error {
	_ = token
	%s
	_ = cache
	return nil
}
`, example)
	file = filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(src.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// pageGo runs the go command in the workspace, since some stores are modules of their own.
func pageGo(t *testing.T, args ...string) (output string, err error) {
	t.Helper()
	work, err := filepath.Abs(root + "go.work")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", args...) //nolint:gosec // Our own pages.
	cmd.Env = append(os.Environ(), "GOWORK="+work)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestReadmeProgram runs the first example of README.md against an origin of our own. It
// prints what its last comment says.
func TestReadmeProgram(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"beta": true}`)
	}))
	defer origin.Close()
	example := pageExamples(t, "README.md")[0]
	if lines := strings.Count(strings.TrimSpace(example), "\n") + 1; lines > 15 {
		t.Errorf("the example has %d lines, want at most 15", lines)
	}
	want := regexp.MustCompile(`fmt\.Println\(.*\) +// (.*)`).FindStringSubmatch(example)
	url := regexp.MustCompile(`"https://[^"]*"`)
	if want == nil || len(url.FindAllString(example, -1)) != 1 {
		t.Fatal("the example does not print something from one URL")
	}
	example = url.ReplaceAllString(example, strconv.Quote(origin.URL))
	if got, err := pageGo(t, "run", pageProgram(t, example)); err != nil || got != want[1]+"\n" {
		t.Errorf("prints %q, %v; want %q", got, err, want[1])
	}
}

// TestPageExamples compiles the examples of README.md and of the page of stores.
func TestPageExamples(t *testing.T) {
	for page, least := range map[string]int{"README.md": 3, "docs/stores.md": 5} {
		examples := pageExamples(t, page)
		if len(examples) < least {
			t.Errorf("%s has %d examples, want at least %d", page, len(examples), least)
		}
		for _, example := range examples {
			if out, err := pageGo(t, "build", "-o", os.DevNull, pageProgram(t, example)); err != nil {
				t.Errorf("%s: %v\n%s\n%s", page, err, out, example)
			}
		}
	}
}

// TestReadmeFigures looks for each figure of README.md in the table of bench/README.md
// that it links to.
func TestReadmeFigures(t *testing.T) {
	rows := regexp.MustCompile(`(?m)^\| ([\d.,]+)[^|]*\|.*\[(.*)\]\(bench/README\.md#`).FindAllStringSubmatch(pageText(t, "README.md"), -1)
	if len(rows) != 3 {
		t.Errorf("%d figures, want 3", len(rows))
	}
	for _, row := range rows {
		_, section, ok := strings.Cut(pageText(t, "bench/README.md"), "\n### "+row[2]+"\n")
		section, _, _ = strings.Cut(section, "\n### ")
		if !ok || !strings.Contains(section, "| "+row[1]+" |") {
			t.Errorf("%q of bench/README.md has no %s", row[2], row[1])
		}
	}
}

// TestReadmeLinks looks for the files and sections that README.md and the pages beside it
// link to.
func TestReadmeLinks(t *testing.T) {
	notInAnchor := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	for _, page := range []string{"README.md", "docs/features.md", "docs/peers.md", "docs/stores.md"} {
		for _, link := range regexp.MustCompile(`\]\(([^):]+)\)`).FindAllStringSubmatch(pageText(t, page), -1) {
			name, anchor, _ := strings.Cut(link[1], "#")
			file := filepath.Join(filepath.Dir(page), name)
			if _, err := os.Stat(root + file); err != nil {
				t.Errorf("%s: %v", page, err)
				continue
			}
			found := anchor == ""
			if !found {
				for _, h := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(pageText(t, file), -1) {
					found = found || strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-") == anchor
				}
			}
			if !found {
				t.Errorf("%s links to %s, and there is no such section", page, link[1])
			}
		}
	}
}
