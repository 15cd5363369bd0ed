package storagetest

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/everfresh-go/everfresh/store"
)

// explained are the sentences in the comment of Storage that demand nothing of a
// store: they explain or permit something.
var explained = []string{
	"A Storage keeps values under keys and gives each stored value a version.",
	"Memory is the simplest implementation.",
	"The rules below are the contract, one sentence each.",
	"Users rely on all of them, and an implementation follows all of them.",
	"Errors may be wrapped.",
	"Every call:",
	"Keys and values:",
	"Reading:",
	"Writing, where a write is a Store or a Delete:",
	"Because of the last rule, a Delete can be repeated safely when its result was lost: versions are never reused, so the item that it was meant for is gone.",
	"It also means that two Deletes that race may both succeed.",
	"Versions:",
	"Listing:",
	"The order is up to the store.",
	"A store that holds resources is also an io.Closer:",
	"The code that opened a store closes it.",
}

// TestEverySentenceHasACheck: each sentence of the comment of Storage is quoted by
// a check or explained here, and nothing else is.
func TestEverySentenceHasACheck(t *testing.T) {
	sentences := sentencesOf(t, filepath.Join("..", "store.go"), "Storage")
	if len(sentences) < 40 {
		t.Fatalf("found only %d sentences in the comment of Storage", len(sentences))
	}
	known := make(map[string]bool)
	for _, c := range checks {
		known[c.rule] = true
	}
	for _, c := range handleChecks {
		if !known[c.rule] {
			t.Errorf("%s proves a rule that no check proves on one handle", c.name)
		}
	}
	for _, s := range explained {
		if known[s] {
			t.Errorf("both checked and explained: %q", s)
		}
		known[s] = true
	}
	for _, s := range sentences {
		if !known[s] {
			t.Errorf("no check for %q", s)
		}
		delete(known, s)
	}
	for s := range known {
		t.Errorf("not in the comment: %q", s)
	}
}

// sentencesOf returns the sentences in the comment of a type, without link brackets.
func sentencesOf(t *testing.T, file, name string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var sentences []string
	for _, decl := range parsed.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE || gen.Specs[0].(*ast.TypeSpec).Name.Name != name {
			continue
		}
		text := strings.NewReplacer("[", "", "]", "", "\n  - ", "\n\n").Replace(gen.Doc.Text())
		for paragraph := range strings.SplitSeq(text, "\n\n") {
			text := strings.Join(strings.Fields(paragraph), " ")
			for s := range strings.SplitAfterSeq(text, ". ") {
				sentences = append(sentences, strings.TrimSpace(s))
			}
		}
	}
	return sentences
}

func TestNamesAreUnique(t *testing.T) {
	all := names()
	slices.Sort(all)
	if unique := slices.Compact(slices.Clone(all)); len(unique) != len(all) {
		t.Errorf("two checks have one name: %q", all)
	}
}

func TestChecksNoticeBrokenStores(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			for _, name := range m.fails {
				i := slices.IndexFunc(checks, func(c check) bool { return c.name == name })
				if i < 0 {
					t.Fatalf("there is no check %s", name)
				}
				b := &broken{Storage: new(store.Memory), maxValue: -1}
				m.mutate(b)
				if err := checks[i].run(t.Context(), b, config{maxValue: b.maxValue}); err == nil {
					t.Errorf("%s does not notice", name)
				}
			}
		})
	}
	for _, c := range checks {
		proved := func(fails []string) bool { return slices.Contains(fails, c.name) }
		if !slices.ContainsFunc(mutants, func(m mutant) bool { return proved(m.fails) }) {
			t.Errorf("no broken store proves that %s can fail", c.name)
		}
	}
}

func TestHandleChecksNoticeBrokenStores(t *testing.T) {
	for _, c := range handleChecks {
		good := new(store.Memory)
		if err := c.run(t.Context(), func() store.Storage { return &handle{Storage: good} }); err != nil {
			t.Errorf("%s fails on good handles: %v", c.name, err)
		}
		failed := false
		for _, m := range handleMutants {
			if !slices.Contains(m.fails, c.name) {
				continue
			}
			place := new(store.Memory)
			if err := c.run(t.Context(), func() store.Storage { return m.open(place) }); err == nil {
				t.Errorf("%s does not notice a store that %s", c.name, m.name)
			}
			failed = true
		}
		if !failed {
			t.Errorf("no broken store proves that %s can fail", c.name)
		}
	}
}

func TestCheck(t *testing.T) {
	if err := Check(t.Context(), new(store.Memory)); err != nil {
		t.Errorf("Memory: %v", err)
	}

	b := &broken{Storage: new(store.Memory)}
	deleteNotFound(b)
	err := Check(t.Context(), b)
	var rule *RuleError
	if !errors.As(err, &rule) || !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("Check = %v, want a *RuleError around ErrNotFound", err)
	}
	const text = `Concurrent: "Every method is safe for concurrent use.": `
	if rule.Check != "Concurrent" || !strings.HasPrefix(rule.Error(), text) {
		t.Errorf("the first error is %q", rule)
	}
}

func TestCheckTouchesNoItems(t *testing.T) {
	m := new(store.Memory)
	if _, err := put(t.Context(), m, "k", "precious"); err != nil {
		t.Fatal(err)
	}
	if err := Check(t.Context(), m); err == nil {
		t.Error("Check accepted a store with an item")
	}
	if err := wantValue(t.Context(), m, "k", "precious"); err != nil {
		t.Error(err)
	}
}

func TestCheckEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := &broken{Storage: new(store.Memory)}
	b.remove = func(ctx context.Context, key string, cond store.Condition) error {
		cancel()
		return b.Storage.Delete(ctx, key, cond)
	}
	if err := Check(ctx, b); !errors.Is(err, context.Canceled) {
		t.Errorf("Check = %v, want %v", err, context.Canceled)
	}
}

func TestExceptions(t *testing.T) {
	b := &broken{Storage: new(store.Memory)}
	b.remove = func(ctx context.Context, key string, cond store.Condition) error {
		if len(key) > store.MaxKeyLen {
			return nil
		}
		return b.Storage.Delete(ctx, key, cond)
	}
	if err := Check(t.Context(), b); err == nil {
		t.Error("Check does not notice the broken store")
	}
	b.Storage = new(store.Memory)
	if err := Check(t.Context(), b, Except("LongKey", "a long key has nothing to delete")); err != nil {
		t.Errorf("with an exception: %v", err)
	}
	if err := Check(t.Context(), new(store.Memory), Except("LongKeys", "misspelled")); err == nil {
		t.Error("Check took an exception from a check that does not exist")
	}
}

// TestRunInChild only has a meaning in the process that TestRun starts.
func TestRunInChild(t *testing.T) {
	if os.Getenv("STORAGETEST_CHILD") == "" {
		return
	}
	Run(t, func(*testing.T, string) store.Storage {
		b := &broken{Storage: new(store.Memory)}
		deleteConflict(b)
		return b
	}, Except("Reopen", "items are in memory"), Except("ReopenVersions", "items are in memory"),
		Except("TwoHandles", "items are in memory"), Except("TwoHandlesRace", "items are in memory"))
}

func TestRun(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestRunInChild$", "-test.v")
	cmd.Env = append(os.Environ(), "STORAGETEST_CHILD=1")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("Run passes a broken store")
	}
	for _, want := range []string{
		"--- FAIL: TestRunInChild/DeleteAbsent",
		"Delete of an absent key returns nil, whatever its condition.",
		"--- PASS: TestRunInChild/Keys",
		"--- PASS: TestRunInChild/Reopen",
		`declared exception from "Load returns the key, the value and the version of the last Store of the key.": items are in memory`,
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the output lacks %q:\n%s", want, out)
		}
	}
	if n := strings.Count(string(out), "--- FAIL: TestRunInChild/"); n != 1 {
		t.Errorf("%d checks failed, want DeleteAbsent alone:\n%s", n, out)
	}
}
