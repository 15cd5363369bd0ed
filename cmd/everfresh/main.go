// Command everfresh shows what the everfresh library does: with a demonstration that
// needs nothing else, with any URL, and with what a cache has stored.
//
//	everfresh demo               watch a cache, and an origin that fails now and then
//	everfresh get -v URL         print a payload and explain its freshness
//	everfresh watch URL...       keep URLs fresh, and watch how
//	everfresh store ls DIR       see what a cache has stored, check it and remove it
//	everfresh version
//	everfresh help [COMMAND]
package main

import (
	"context"
	"errors"
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

	exitInterrupted = 130 // 128 and the number of SIGINT, as shells have it
)

// errInterrupted says that a signal ended a command before it was done.
var errInterrupted = errors.New("interrupted")

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
	case "watch":
		return runWatch(ctx, args, std)
	case "store":
		return runStore(ctx, args, std)
	case "version", "-version", "--version":
		return runVersion(args, std)
	case "help", "-h", "-help", "--help":
		return runHelp(args, std)
	default:
		return &usageError{text: fmt.Sprintf("unknown command %q", command)}
	}
}

// report prints err and returns the exit code for it.
func report(std console, err error) int {
	var wrong *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &wrong):
		fmt.Fprintf(std.stderr, "%s\n%s\n", named(wrong), hint(wrong.command))
		return exitUsage
	case errors.Is(err, errInterrupted):
		fmt.Fprintln(std.stderr, named(err))
		return exitInterrupted
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
