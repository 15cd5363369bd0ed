package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
)

const usage = `everfresh keeps remote resources fresh in memory. This command shows how.

Usage:

    everfresh demo [--for DURATION] [--plain]
        watch a cache, and an origin that fails now and then
    everfresh get [-v] [flags] URL...
        print what is at a URL; -v explains its freshness
    everfresh watch [flags] URL...
        keep URLs fresh, and watch how; -n watches many at once
    everfresh store ls|show|rm|check|rekey [flags] DIR
        see what a cache has stored in a directory, check it and remove it
    everfresh version
        print the version
    everfresh help [COMMAND]
        print this, or more about a command

Exit status: 0 if all went well, 1 if something failed, 2 if the command line is wrong,
130 if get or store was interrupted.
`

const demoUsage = `Usage: everfresh demo [--for DURATION] [--plain] [--no-color]

Starts a small origin on a loopback port and a cache, and shows how the cache keeps
six resources fresh. A round takes 20 seconds, in which the origin fails, hangs and
recovers; Ctrl-C ends it. A reader asks for every value all the time, and counts those
that are missing. FAILED counts the refreshes that failed.

    --for DURATION   end after this time, such as 10s; default: when interrupted
    --plain          print one line per event, as when the output is not a terminal
    --no-color       use no colour

NO_COLOR and TERM=dumb are respected. Ends with a summary; the exit status is 1 if a
value was ever missing. Under "go run" the exit status is go's own: 1 for any but 0.
`

const getUsage = `Usage: everfresh get [-v] [flags] URL...

Prints what is at each URL to the standard output, as a cache would hold it: decoded,
whole, and only if the origin answered well. Secrets in URLs are kept out of messages.

    -v                   explain the freshness on standard error, and
                         ask a second time to see whether the origin can confirm what
                         it sent; times are those of a cache with default options,
                         but without jitter
    -H 'Name: value'     send this header field, but not Host, which the URL sets; may
                         be repeated; never shown, and not sent on when a redirect
                         leads to another origin
    --timeout DURATION   give up after this time; default: 10s
    --max-bytes N        refuse a larger payload; default: 10485760 (10 MiB)
    -o FILE              write to FILE instead, once everything has been fetched

The proxy is taken from HTTP_PROXY, HTTPS_PROXY and NO_PROXY. On a terminal, payloads
that end within a line are kept apart by a line break.
`

const watchUsage = `Usage: everfresh watch [flags] URL...
       everfresh watch [flags] -n N URL-PATTERN

Keeps each URL fresh and shows a live table: state, age, next refresh, last answer,
bytes, failures in a row (IN A ROW), and the load of each host. If the output is not a
terminal, it prints one line per event: time, URL, kind, status, bytes, duration, and
when the next refresh comes. Secrets in URLs are not shown. Bodies are not kept.

    -n N               watch N URLs, made from one pattern by putting 0 to N-1 in the
                       place of each {}; shows totals, and a histogram of how late
                       refreshes start, instead of a row for each
    --every DURATION   refresh this often; default: when freshness ends
    --min DURATION     refresh no sooner than this where the origin decides;
                       default: 10s
    --per-host N       refreshes of one origin at once; default: 4
    -H 'Name: value'   send this header field, but not Host, which the URL sets; may
                       be repeated; never shown, and not sent on when a redirect
                       leads to another origin
    --for DURATION     end after this time, such as 10s; default: when interrupted
    --plain            print lines, as when the output is not a terminal
    --no-color         use no colour

NO_COLOR and TERM=dumb are respected; the proxy is taken from HTTP_PROXY, HTTPS_PROXY
and NO_PROXY. Ends with a summary. The exit status is 0 whatever the origins answered.
`

const storeUsage = `Usage: everfresh store ls [filters] [--clear] DIR
       everfresh store show [--clear] [--body] DIR KEY
       everfresh store rm [filters | --all] DIR
       everfresh store check DIR
       everfresh store rekey --keys FILE DIR

Works on the records that a cache keeps in a directory with package filestore, also
while programs use it.

    ls      lists the records: how long the value is fresh, and may be served
    show    describes the record of a resource: KEY is its key or, without one, its URL
    rm      removes records, but none that cannot be read
    check   reads everything; the exit status is 1 if a record cannot be served
    rekey   encrypts with the first key the records that were encrypted with another

Filters; a record must satisfy all that are given:

    --key KEY           the record of this resource
    --pattern REGEXP    keys that the expression matches anywhere
    --param NAME[=V]    keys that are URLs with this query parameter; may be repeated
    --priority P        this priority or below: low, normal or high
    --stale             values that may not be served any more

    --all               rm: every record
    --clear             show keys as they are; else URLs are shown without secrets
    --body              write the payload and nothing else
    --keys FILE         the store is encrypted with these keys

A key file has a line "names:HEX", with the secret for names, and a line "ID:HEX" for
each key, the first of which encrypts. HEX is 64 hexadecimal digits, such as "openssl
rand -hex 32" makes. Empty lines, and lines that begin with #, are ignored. The keys
are never shown.
`

var usages = map[string]string{
	"": usage, "demo": demoUsage, "get": getUsage, "watch": watchUsage, "store": storeUsage,
}

// runHelp prints the usage of the program or of one command.
func runHelp(args []string, std console) error {
	topic := strings.Join(args, " ")
	text, ok := usages[topic]
	if !ok {
		return &usageError{text: fmt.Sprintf("help: unknown command %q", topic)}
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
