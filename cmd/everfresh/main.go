// Command everfresh shows what the everfresh library does: with a demonstration that
// needs nothing else, and with any URL.
//
//	everfresh demo               watch a cache, and an origin that fails now and then
//	everfresh get -v URL         print a payload, and how its freshness was worked out
//	everfresh version
//	everfresh help [COMMAND]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Exit codes.
const (
	exitOK = iota
	exitFailure
	exitUsage
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	std := console{stdout: os.Stdout, stderr: os.Stderr, env: os.Getenv}
	code := run(ctx, os.Args[1:], std)
	stop()
	os.Exit(code)
}

// A console is what a command talks to.
type console struct {
	stdout, stderr io.Writer
	env            func(name string) string
}

// A usageError is a command line that cannot be understood. It is used as a pointer.
type usageError struct {
	command string // whose help to look at; empty: the program's
	text    string
}

// Error implements error.
func (e *usageError) Error() string { return e.text }

// run does what args ask for and returns the exit code.
func run(ctx context.Context, args []string, std console) int {
	if len(args) == 0 {
		fmt.Fprint(std.stderr, usage)
		return exitUsage
	}
	return report(std, dispatch(ctx, args[0], args[1:], std))
}

// dispatch runs one command.
func dispatch(ctx context.Context, command string, args []string, std console) error {
	switch command {
	case "demo":
		return runDemo(ctx, args, std)
	case "get":
		return runGet(ctx, args, std)
	case "version", "-version", "--version":
		return runVersion(args, std)
	case "help", "-h", "-help", "--help":
		return runHelp(args, std)
	default:
		return &usageError{text: fmt.Sprintf("unknown command %q", command)}
	}
}

// report tells of err and returns the exit code for it.
func report(std console, err error) int {
	var wrong *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &wrong):
		fmt.Fprintf(std.stderr, "%s\n%s\n", named(wrong), hint(wrong.command))
		return exitUsage
	default:
		fmt.Fprintln(std.stderr, named(err))
		return exitFailure
	}
}

// named returns the text of err with the program's name before it, which those of the
// library have already.
func named(err error) string {
	return "everfresh: " + strings.TrimPrefix(err.Error(), "everfresh: ")
}

func hint(command string) string {
	return fmt.Sprintf("See %q.", strings.TrimSpace("everfresh help "+command))
}

// parse parses args with flags before, between and after the operands, which it
// returns; "--" ends the flags. It returns flag.ErrHelp if help was asked for.
func parse(flags *flag.FlagSet, args []string) ([]string, error) {
	flags.SetOutput(io.Discard) // the error says it all
	flags.Usage = func() {}
	var operands []string
	for {
		err := flags.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			return nil, flag.ErrHelp
		}
		if err != nil {
			return nil, &usageError{command: flags.Name(), text: flags.Name() + ": " + err.Error()}
		}
		rest := flags.Args()
		if parsed := len(args) - len(rest); len(rest) == 0 || parsed > 0 && args[parsed-1] == "--" {
			return append(operands, rest...), nil
		}
		operands, args = append(operands, rest[0]), rest[1:]
	}
}
