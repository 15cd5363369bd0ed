package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

const usage = `everfresh keeps remote resources fresh in memory. This command shows how.

Usage:

    everfresh demo [--for DURATION] [--plain]
        watch a cache, and an origin that fails now and then
    everfresh get [-v] [flags] URL...
        print what is at a URL; -v tells how its freshness was worked out
    everfresh version
        print the version
    everfresh help [COMMAND]
        print this, or more about a command

Exit status: 0 if all went well, 1 if something failed, 2 if the command line is wrong.
`

const demoUsage = `Usage: everfresh demo [--for DURATION] [--plain]

Starts a small origin on a loopback port and a cache, and shows how the cache keeps
six resources fresh. Every 20 seconds the origin fails, hangs and recovers. A reader
asks for every value all the time, and counts those that are missing.

    --for DURATION   end after this time, such as 10s; default: when interrupted
    --plain          print one line an event, as when the output is no terminal

NO_COLOR and TERM=dumb are respected. Ends with a summary; the exit status is 1 if a
value was ever missing.
`

const getUsage = `Usage: everfresh get [-v] [flags] URL...

Prints what is at each URL to the standard output, as a cache would hold it: decoded,
whole, and only if the origin answered well. Secrets in URLs are kept out of messages.

    -v                   tell on the standard error how freshness was worked out, and
                         ask a second time to see whether the origin can confirm what
                         it sent; times are those of a cache with default options
    -H 'Name: value'     send this header field; may be repeated; never shown, and
                         not sent on when a redirect leads to another origin
    --timeout DURATION   give up after this time; default: 10s
    --max-bytes N        refuse a larger payload; default: 10485760 (10 MiB)
    -o FILE              write to FILE instead, once everything has been fetched

The proxy is taken from HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
`

var usages = map[string]string{"": usage, "demo": demoUsage, "get": getUsage}

// runHelp prints the usage of the program or of one command.
func runHelp(args []string, std console) error {
	topic := ""
	if len(args) > 0 {
		topic = args[0]
	}
	text, ok := usages[topic]
	if !ok || len(args) > 1 {
		text = usage
	}
	return printText(std.stdout, text)
}

// runVersion prints the version of the program.
func runVersion(args []string, std console) error {
	if len(args) > 0 {
		return &usageError{text: "version takes no arguments"}
	}
	info, _ := debug.ReadBuildInfo() // nil without one
	return printText(std.stdout, versionText(info))
}

// versionText is the version as the Go command stamped it.
func versionText(info *debug.BuildInfo) string {
	version := "(devel)"
	if info != nil && info.Main.Version != "" {
		version = info.Main.Version
	}
	return fmt.Sprintf("everfresh %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// printText writes text that the user asked for.
func printText(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("cannot write: %w", err)
	}
	return nil
}
