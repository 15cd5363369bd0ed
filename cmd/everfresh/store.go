package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/store"
)

// A storeCommand is a command line of store.
type storeCommand struct {
	std     console
	verb    string
	dir     string
	key     string // of show
	query   everfresh.Query
	all     bool   // of rm
	clear   bool   // show keys unredacted
	body    bool   // of show
	keyFile string // file with the keys of an encrypted store
}

// filters are the flags that select records.
var filters = []string{"key", "pattern", "param", "priority", "stale"}

// storeVerbs are the commands of store with the flags that each takes, besides --keys.
var storeVerbs = map[string][]string{
	"ls":    append([]string{"clear"}, filters...),
	"show":  {"clear", "body"},
	"rm":    append([]string{"all"}, filters...),
	"check": nil,
	"rekey": nil,
}

// runStore is the command store.
func runStore(ctx context.Context, args []string, std console) error {
	s, err := parseStore(args, std)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return printText(std.stdout, storeUsage)
	case err != nil:
		return err
	}
	err = s.run(ctx)
	if err != nil && ctx.Err() != nil {
		return errInterrupted
	}
	return err
}

func parseStore(args []string, std console) (*storeCommand, error) {
	s := &storeCommand{std: std}
	var pattern, priority string
	params := paramFlag{}
	flags := flag.NewFlagSet("store", flag.ContinueOnError)
	flags.StringVar(&s.query.Key, "key", "", "")
	flags.StringVar(&pattern, "pattern", "", "")
	flags.Var(params, "param", "")
	flags.StringVar(&priority, "priority", "", "")
	flags.BoolVar(&s.query.Stale, "stale", false, "")
	flags.BoolVar(&s.all, "all", false, "")
	flags.BoolVar(&s.clear, "clear", false, "")
	flags.BoolVar(&s.body, "body", false, "")
	flags.StringVar(&s.keyFile, "keys", "", "")
	operands, err := parse(flags, args)
	if err != nil {
		return nil, err
	}
	s.query.Params = params
	problem := firstProblem(s.takeOperands(operands), s.takeQuery(pattern, priority), s.flagProblem(flags))
	if problem != "" {
		return nil, &usageError{command: "store", text: "store: " + problem}
	}
	return s, nil
}

// takeOperands stores the operands, and returns a text that says what is wrong with them.
func (s *storeCommand) takeOperands(operands []string) string {
	if len(operands) == 0 {
		return "no command; want ls, show, rm, check or rekey"
	}
	s.verb, operands = operands[0], operands[1:]
	if _, ok := storeVerbs[s.verb]; !ok {
		return fmt.Sprintf("unknown command %q", s.verb)
	}
	if s.verb == "show" {
		if len(operands) != 2 || operands[1] == "" {
			return "show wants a directory and a key"
		}
		s.key = operands[1]
	} else if len(operands) != 1 {
		return s.verb + " wants one directory"
	}
	s.dir = operands[0]
	return ""
}

// takeQuery stores the filters, and returns a text that says what is wrong with them.
func (s *storeCommand) takeQuery(pattern, priority string) string {
	if pattern != "" {
		re, err := regexp.Compile(pattern)
		if err != nil {
			return "--pattern is not a regular expression"
		}
		s.query.Pattern = re
	}
	if priority == "" {
		return ""
	}
	all := []store.Priority{store.Low, store.Normal, store.High}
	i := slices.IndexFunc(all, func(p store.Priority) bool { return p.String() == priority })
	if i < 0 {
		return "--priority is not low, normal or high"
	}
	s.query.Priority = all[i]
	return ""
}

// flagProblem says what is wrong with the flags for this verb. An empty filter is an
// error: it would select all records, which the user cannot have meant.
func (s *storeCommand) flagProblem(flags *flag.FlagSet) string {
	var problem string
	picked := false
	flags.Visit(func(f *flag.Flag) {
		problem = firstProblem(problem, s.unfit(f))
		picked = picked || slices.Contains(filters, f.Name) && f.Value.String() != "false"
	})
	switch {
	case problem != "":
		return problem
	case s.verb == "rm" && picked == s.all:
		return "rm wants either filters or --all"
	case s.verb == "rekey" && s.keyFile == "":
		return "rekey wants --keys"
	default:
		return ""
	}
}

// unfit says what is wrong with a flag that is there.
func (s *storeCommand) unfit(f *flag.Flag) string {
	switch {
	case f.Name != "keys" && !slices.Contains(storeVerbs[s.verb], f.Name):
		return s.verb + " takes no " + dashed(f.Name)
	case f.Name != "param" && f.Value.String() == "":
		return dashed(f.Name) + " is empty"
	default:
		return ""
	}
}

// A paramFlag is the values of --param: a name, or name=value.
type paramFlag map[string]*string

// String implements flag.Value.
func (paramFlag) String() string { return "" }

// Set implements flag.Value.
func (p paramFlag) Set(text string) error {
	name, value, valued := strings.Cut(text, "=")
	p[name] = nil
	if valued {
		p[name] = &value
	}
	return nil
}

// run opens the store, does what was asked for, and closes it.
func (s *storeCommand) run(ctx context.Context) error {
	records, files, err := s.open() //nolint:contextcheck // Opening has its own time limit.
	if err != nil {
		return s.named(err)
	}
	return s.named(errors.Join(s.do(ctx, records, files), files.Close()))
}

// named puts the command's name before err, in place of the library's.
func (*storeCommand) named(err error) error {
	if err == nil {
		return nil
	}
	return errors.New("store: " + strings.TrimPrefix(err.Error(), "everfresh: "))
}

func (s *storeCommand) do(ctx context.Context, records, files store.Storage) error {
	switch s.verb {
	case "show":
		return s.show(ctx, records)
	case "rm":
		return s.remove(ctx, records)
	case "check":
		return s.check(ctx, records, files)
	case "rekey":
		return s.rekey(ctx, records)
	default:
		return s.list(ctx, records)
	}
}

// remove removes what the query selects.
func (s *storeCommand) remove(ctx context.Context, records store.Storage) error {
	n, err := s.query.Purge(ctx, records)
	return firstOf(printText(s.std.stdout, "removed "+plural(n, "record", "records")+"\n"), summed(err))
}

// rekey encrypts with the primary key the records that were encrypted with another one.
func (s *storeCommand) rekey(ctx context.Context, records store.Storage) error {
	rekeyer, ok := store.As[store.Rekeyer](records)
	if !ok {
		return errors.New("the store is not encrypted")
	}
	n, err := rekeyer.Rekey(ctx)
	text := plural(n, "record", "records") + " encrypted with the first key\n"
	return firstOf(printText(s.std.stdout, text), err)
}

// summed returns one line for the errors of many records.
func summed(err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	errs := joined.Unwrap()
	if len(errs) == 1 {
		return errs[0]
	}
	return fmt.Errorf("%d errors, the first: %s", len(errs), strings.TrimPrefix(errs[0].Error(), "everfresh: "))
}
