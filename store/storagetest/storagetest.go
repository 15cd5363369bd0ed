package storagetest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh/store"
)

// checkTimeout limits one check, so that a store that hangs fails a named check.
const checkTimeout = 2 * time.Minute

// A check tests one rule of the contract on an empty store. Its error says how the
// rule was broken.
type check struct {
	name string
	rule string // a sentence in the comment of Storage
	run  func(ctx context.Context, s store.Storage, conf config) error
}

// A handleCheck tests a rule on more than one handle of an empty place.
type handleCheck struct {
	name string
	rule string
	run  func(ctx context.Context, open func() store.Storage) error
}

// An Option tells [Run] or [Check] something about the store.
type Option func(*config)

type config struct {
	maxValue   int64 // -1 if unknown
	exceptions []exception
}

type exception struct{ check, reason string }

// MaxValue says that the store's documented size limit for values is n bytes. The suite
// then stores values of n and of n+1 bytes. Without it, a value of 5 MiB may be stored
// or rejected.
func MaxValue(n int64) Option {
	return func(c *config) { c.maxValue = n }
}

// Except declares that the store does not follow the rule of the named check, and why.
// The check is skipped; [Run] prints its rule and the reason. The name of a check that
// does not exist is a failure.
func Except(check, reason string) Option {
	return func(c *config) { c.exceptions = append(c.exceptions, exception{check, reason}) }
}

// A RuleError says that a store breaks a rule. [Check] returns one for each, joined.
type RuleError struct {
	Check string // the name of the check, for example "OneStoreWins"
	Rule  string // the rule, quoted from the comment of [store.Storage]
	Err   error  // what happened instead
}

// Error implements error.
func (e *RuleError) Error() string {
	return fmt.Sprintf("%s: %q: %v", e.Check, e.Rule, e.Err)
}

// Unwrap returns Err.
func (e *RuleError) Unwrap() error { return e.Err }

// Run tests the stores that open returns. Each check is a subtest with the check's name.
//
// Run calls open with a place: a name of lower-case letters, digits and underscores
// that no earlier test run has used. A store in a new place is empty. A store in a
// place that was opened before has the items that were left there; it may be opened
// while an earlier one is still in use. A store that loses its items on Close declares
// exceptions from Reopen and ReopenVersions. One that can only be opened once at a time
// declares exceptions from TwoHandles and TwoHandlesRace.
//
// Run closes every store that is an [io.Closer], found with [store.As], at the end of
// the check or earlier; open may clean up with t.Cleanup. The checks run one after the
// other, each for at most two minutes.
func Run(t *testing.T, open func(t *testing.T, place string) store.Storage, opts ...Option) {
	t.Helper()
	conf, err := configure(opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			runOne(t, conf, c.name, c.rule, func(ctx context.Context) error {
				return c.run(ctx, opener(t, open)(), conf)
			})
		})
	}
	for _, c := range handleChecks {
		t.Run(c.name, func(t *testing.T) {
			runOne(t, conf, c.name, c.rule, func(ctx context.Context) error {
				return c.run(ctx, opener(t, open))
			})
		})
	}
}

func runOne(t *testing.T, conf config, name, rule string, run func(ctx context.Context) error) {
	t.Helper()
	if reason, ok := conf.excepts(name); ok {
		t.Logf("declared exception from %q: %s", rule, reason)
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), checkTimeout)
	defer cancel()
	if err := run(ctx); err != nil {
		t.Errorf("%s\n%v", rule, err)
	}
}

// opener returns a function that opens the same new place each time it is called.
func opener(t *testing.T, open func(t *testing.T, place string) store.Storage) func() store.Storage {
	place := newPlace()
	return func() store.Storage {
		t.Helper()
		s := open(t, place)
		if s == nil {
			t.Fatal("open returned no store")
		}
		t.Cleanup(func() {
			if err := closeStore(s); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
		return s
	}
}

// newPlace returns a name that can be used for a file, a table, a bucket or a prefix,
// and that is unique even on a server that outlives the test.
func newPlace() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return "storagetest_" + hex.EncodeToString(b[:])
}

// Check runs the checks that need only one handle on s. It returns nil if s follows the
// contract, and otherwise a [*RuleError] for each failed check, joined.
//
// The store must be empty: Check writes to s and deletes everything after each check.
// If there is an item, Check returns an error and changes nothing. At the end it closes
// s if s is an [io.Closer]. Check returns early when ctx ends.
func Check(ctx context.Context, s store.Storage, opts ...Option) error {
	conf, err := configure(opts)
	if err != nil {
		return err
	}

	// Refuse a store with items, because the checks delete everything.
	for _, err := range s.List(ctx, "") {
		if err != nil {
			return fmt.Errorf("look for items: %w", err)
		}
		return errors.New("the store is not empty")
	}

	// Run the checks one after the other, each on an empty store.
	var errs []error
	for _, c := range checks {
		if _, ok := conf.excepts(c.name); ok {
			continue
		}
		if err := c.run(ctx, s, conf); err != nil {
			errs = append(errs, &RuleError{Check: c.name, Rule: c.rule, Err: err})
		}
		if ctx.Err() != nil {
			return errors.Join(append(errs, ctx.Err())...)
		}
		if err := empty(ctx, s); err != nil && !errors.Is(err, store.ErrClosed) {
			return errors.Join(append(errs, fmt.Errorf("clear the store after %s: %w", c.name, err))...)
		}
	}
	return errors.Join(append(errs, closeStore(s))...)
}

func configure(opts []Option) (config, error) {
	conf := config{maxValue: -1}
	for _, opt := range opts {
		opt(&conf)
	}
	for _, e := range conf.exceptions {
		if !slices.Contains(names(), e.check) {
			return conf, fmt.Errorf("exception from %q: no such check", e.check)
		}
	}
	return conf, nil
}

func (c config) excepts(check string) (reason string, ok bool) {
	i := slices.IndexFunc(c.exceptions, func(e exception) bool { return e.check == check })
	if i < 0 {
		return "", false
	}
	return c.exceptions[i].reason, true
}

func names() []string {
	var all []string
	for _, c := range checks {
		all = append(all, c.name)
	}
	for _, c := range handleChecks {
		all = append(all, c.name)
	}
	return all
}

// empty deletes all items of s.
func empty(ctx context.Context, s store.Storage) error {
	keys, err := keysOf(s.List(ctx, ""))
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := s.Delete(ctx, key, store.Any()); err != nil {
			return err
		}
	}
	if keys, err = keysOf(s.List(ctx, "")); err == nil && len(keys) > 0 {
		return fmt.Errorf("%d items are left after all were deleted", len(keys))
	}
	return err
}

func closeStore(s store.Storage) error {
	if c, ok := store.As[io.Closer](s); ok {
		return c.Close()
	}
	return nil
}
