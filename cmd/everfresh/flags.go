package main

import (
	"errors"
	"flag"
	"io"
	"regexp"
	"strings"
	"time"
)

// parse parses args with flags before, between and after the operands, which it
// returns; "--" ends the flags. It returns flag.ErrHelp if help was asked for.
func parse(flags *flag.FlagSet, args []string) ([]string, error) {
	flags.SetOutput(io.Discard) // the error is reported by the caller
	flags.Usage = func() {}
	var operands []string
	for {
		err := flags.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			return nil, flag.ErrHelp
		}
		if err != nil {
			return nil, &usageError{command: flags.Name(), text: flags.Name() + ": " + flagProblem(flags, err)}
		}
		rest := flags.Args()
		if parsed := len(args) - len(rest); len(rest) == 0 || parsed > 0 && args[parsed-1] == "--" {
			return append(operands, rest...), nil
		}
		operands, args = append(operands, rest[0]), rest[1:]
	}
}

// given reports whether the flag name is on the command line.
func given(flags *flag.FlagSet, name string) bool {
	found := false
	flags.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

// The texts of package flag, which has no types for its errors.
var (
	unknownFlag  = regexp.MustCompile(`(?s)^flag provided but not defined: -([A-Za-z0-9-]*)`)
	lacksValue   = regexp.MustCompile(`^flag needs an argument: -(.*)`)
	invalidValue = regexp.MustCompile(`(?s)^invalid (?:boolean )?value ("(?:[^"\\]|\\.)*") for (?:flag )?-([A-Za-z0-9-]+): (.*)`)
)

// flagProblem describes an error of package flag. The description never contains a value
// of -H: a field that is written without a space after -H looks like an unknown flag.
func flagProblem(flags *flag.FlagSet, err error) string {
	text := err.Error()
	if m := unknownFlag.FindStringSubmatch(text); m != nil {
		if strings.HasPrefix(m[1], "H") && flags.Lookup("H") != nil {
			return "-H wants 'Name: value' behind a space"
		}
		return "unknown flag " + dashed(m[1])
	}
	if m := lacksValue.FindStringSubmatch(text); m != nil {
		return dashed(m[1]) + " wants a value"
	}
	if m := invalidValue.FindStringSubmatch(text); m != nil {
		return dashed(m[2]) + ": " + valueProblem(flags.Lookup(m[2]), m[1], m[3])
	}
	return "a flag is malformed" // what it is may be secret
}

// dashed writes a flag as the help does.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// valueProblem says why f cannot take a quoted value.
func valueProblem(f *flag.Flag, quoted, reason string) string {
	var kind any
	if g, ok := f.Value.(flag.Getter); ok {
		kind = g.Get()
	}
	switch kind.(type) {
	case time.Duration:
		return quoted + " is not a duration; try " + durationLike(quoted)
	case int, int64:
		if strings.HasSuffix(reason, "out of range") {
			return quoted + " is out of range"
		}
		return quoted + " is not a number"
	case bool:
		return quoted + " is not true or false"
	default:
		return reason
	}
}

// durationLike is a duration that may have been meant.
func durationLike(quoted string) string {
	seconds := strings.Trim(quoted, `"`) + "s"
	if _, err := time.ParseDuration(seconds); err == nil {
		return seconds
	}
	return "10s"
}
