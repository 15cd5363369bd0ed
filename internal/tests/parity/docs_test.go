package parity_test

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
)

// root is the root of the repository.
const root = "../../.."

// docsPage is the page for those who come from httprc.
func docsPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, "docs", "httprc.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// docsRows returns the rows of the page's tables.
func docsRows(t *testing.T) []string {
	t.Helper()
	var rows []string
	for line := range strings.Lines(docsPage(t)) {
		if strings.HasPrefix(line, "| ") {
			rows = append(rows, line)
		}
	}
	return rows
}

var docsFunc = regexp.MustCompile(`(?m)^func ((?:Test|Example|Fuzz)\w*)\(`)

// docsTests returns the names of the tests of all packages and modules of this
// repository, those of the contract with their numbers.
func docsTests(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range docsFunc.FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range contractCases() {
		names["TestContract/"+tt.id] = true
	}
	return names
}

var docsMention = regexp.MustCompile("`((?:Test|Example|Fuzz)[A-Z_]\\w*(?:/[\\w/]+)?)`")

// TestPageNamesTestsThatExist: no claim without a test.
func TestPageNamesTestsThatExist(t *testing.T) {
	tests := docsTests(t)
	mentions := docsMention.FindAllStringSubmatch(docsPage(t), -1)
	for _, m := range mentions {
		if !tests[m[1]] {
			t.Errorf("there is no %s", m[1])
		}
	}
	if len(mentions) < 100 {
		t.Errorf("only %d tests are named", len(mentions))
	}
	for _, row := range docsRows(t) {
		if !docsMention.MatchString(row) && !docsStatement.MatchString(row) && !strings.Contains(row, "| Test |") && !strings.HasPrefix(row, "| No. |") {
			t.Errorf("a row without a test: %s", row)
		}
	}
}

var docsStatement = regexp.MustCompile(`^\| (v[13]/\d\d) \|`)

// TestPageHasEveryStatement: each statement of the contract has one row, and each row a
// statement.
func TestPageHasEveryStatement(t *testing.T) {
	var onPage, tested []string
	for _, row := range docsRows(t) {
		if m := docsStatement.FindStringSubmatch(row); m != nil {
			onPage = append(onPage, m[1])
		}
	}
	for _, tt := range contractCases() {
		tested = append(tested, tt.id)
	}
	if !slices.Equal(onPage, tested) {
		t.Errorf("on the page: %v\ntested: %v", onPage, tested)
	}
	if len(tested) != 18+22 {
		t.Errorf("%d statements", len(tested))
	}
}

// docsDefects are the numbers of all known defects.
var docsDefects = map[string]int{"S": 10, "v1.": 12, "v3.": 16, "A1.": 6, "A3.": 11}

// TestPageHasEveryDefect: each defect has a row with its numbers and its tests.
func TestPageHasEveryDefect(t *testing.T) {
	rows := make(map[string]string)
	for _, row := range docsRows(t) {
		ids, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " |")
		rows[ids] = row
	}
	numbers := make(map[string]bool)
	for _, d := range defects() {
		row := rows[strings.ReplaceAll(d.ids, " ", ", ")]
		if row == "" {
			t.Errorf("the page has no row for %s", d.ids)
		}
		var named []string
		for _, m := range docsMention.FindAllStringSubmatch(row, -1) {
			named = append(named, m[1])
		}
		if !slices.Equal(named, d.tests) {
			t.Errorf("%s: the page names %v, want %v", d.ids, named, d.tests)
		}
		for id := range strings.FieldsSeq(d.ids) {
			numbers[id] = true
		}
	}
	for prefix, n := range docsDefects {
		for i := range n {
			if id := prefix + strconv.Itoa(i+1); !numbers[id] {
				t.Errorf("defect %s is missing", id)
			}
		}
	}
}

// A docsGetter is a client of the kind that v1 took.
type docsGetter struct{ urls []string }

func (g *docsGetter) Get(url string) (*http.Response, error) {
	g.urls = append(g.urls, url)
	return everfreshtest.Client(everfreshtest.Text("x")).Get(url)
}

// TestClientWithOnlyGet: the adapter on the page works.
func TestClientWithOnlyGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		legacy := new(docsGetter)
		c := everfreshtest.NewCache(t)
		err := c.Register(contractURL, everfresh.WithFetcher(everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
			return legacy.Get(req.URL.String())
		})))
		if err != nil {
			t.Fatal(err)
		}
		contractGet(t, c, "x")
		if !slices.Equal(legacy.urls, []string{contractURL}) {
			t.Errorf("fetched %v", legacy.urls)
		}
	})
}
