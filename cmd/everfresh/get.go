package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"os"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/everfresh-go/everfresh"
)

// A getCommand is a command line of get.
type getCommand struct {
	std      console
	verbose  bool
	header   headerFlag
	timeout  time.Duration
	maxBytes int64
	file     string
	tty      bool // the payloads go to a terminal
	within   bool // the last of them ended within a line
	urls     []string
}

// runGet is the command get.
func runGet(ctx context.Context, args []string, std console) error {
	g, err := parseGet(args, std)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return printText(std.stdout, getUsage)
	case err != nil:
		return err
	default:
		return g.run(ctx)
	}
}

func parseGet(args []string, std console) (*getCommand, error) {
	g := &getCommand{std: std}
	flags := flag.NewFlagSet("get", flag.ContinueOnError)
	flags.BoolVar(&g.verbose, "v", false, "")
	flags.Var(&g.header, "H", "")
	flags.DurationVar(&g.timeout, "timeout", 10*time.Second, "")
	flags.Int64Var(&g.maxBytes, "max-bytes", 10<<20, "")
	flags.StringVar(&g.file, "o", "", "")
	var err error
	if g.urls, err = parse(flags, args); err != nil {
		return nil, err
	}
	if problem := g.problem(); problem != "" {
		return nil, &usageError{command: "get", text: "get: " + problem}
	}
	g.tty = isTerminal(std.stdout)
	return g, nil
}

// problem says what is wrong with the command line.
func (g *getCommand) problem() string {
	switch {
	case len(g.urls) == 0:
		return "no URL"
	case g.header.problem != "":
		return g.header.problem
	case g.timeout <= 0:
		return "--timeout is not positive"
	case g.maxBytes <= 0:
		return "--max-bytes is not positive"
	default:
		return urlProblem(g.urls...)
	}
}

// A headerFlag is the values of -H.
type headerFlag struct {
	fields  [][2]string
	problem string // what is wrong with the first field that cannot be sent
}

// String implements flag.Value.
func (*headerFlag) String() string { return "" }

// Set implements flag.Value. It returns no error: package flag would print the value.
func (h *headerFlag) Set(field string) error {
	name, value, ok := strings.Cut(field, ":")
	name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
	value = strings.TrimSpace(value)
	h.problem = firstProblem(h.problem, fieldProblem(name, value, ok))
	h.fields = append(h.fields, [2]string{name, value})
	return nil
}

// fieldProblem says what is wrong with a header field, and shows neither its value nor
// its name, which may be a value without a name.
func fieldProblem(name, value string, colon bool) string {
	switch {
	case !colon || name == "":
		return "-H wants 'Name: value'"
	case !httpguts.ValidHeaderFieldName(name):
		return "-H: a field has a name that cannot be sent"
	case !httpguts.ValidHeaderFieldValue(value):
		return "-H: a field has a value that cannot be sent"
	case name == "Host":
		return "-H cannot set Host, which is that of the URL"
	default:
		return ""
	}
}

// A download is a URL of the command line.
type download struct {
	resource *everfresh.Resource[[]byte]
	trace    *trace
}

// run prints every payload. It continues after a URL that failed, and reports it at the end.
func (g *getCommand) run(ctx context.Context) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	cache := everfresh.NewCache(ctx, g.options()...)
	defer cache.Close() //nolint:contextcheck // Closing has its own time limit.
	var failed []error
	var payloads [][]byte
	for _, d := range g.start(cache, &failed) {
		payload, err := g.fetch(ctx, d)
		if ctx.Err() != nil {
			return g.finish(nil, append(failed, errInterrupted))
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		payloads = append(payloads, payload)
	}
	return g.finish(payloads, failed)
}

// options returns the options of the cache: the defaults, except where a command differs.
func (g *getCommand) options() []everfresh.CacheOption {
	opts := []everfresh.CacheOption{
		everfresh.WithTimeout(g.timeout),
		everfresh.WithMaxBytes(g.maxBytes),
		everfresh.WithJitter(0), // so that the time of the next refresh shows what the headers say
		everfresh.WithLenientBody(true),
		everfresh.WithProxy(http.ProxyFromEnvironment),
	}
	for _, field := range g.header.fields {
		opts = append(opts, everfresh.WithHeader(field[0], field[1]))
	}
	return opts
}

// start registers every URL, so that all are fetched at once. The result has the order
// of the command line; a URL that is there twice is fetched once.
func (g *getCommand) start(cache *everfresh.Cache, failed *[]error) []download {
	known := make(map[string]download)
	var downloads []download
	for _, url := range g.urls {
		d, ok := known[url]
		if !ok {
			var err error
			d, err = register(cache, url)
			if err != nil {
				*failed = append(*failed, err)
				continue
			}
			known[url] = d
		}
		downloads = append(downloads, d)
	}
	return downloads
}

func register(cache *everfresh.Cache, url string) (download, error) {
	t := new(trace)
	res, err := everfresh.Register(cache, url, everfresh.Bytes(), everfresh.WithMiddleware(t.wrap))
	return download{resource: res, trace: t}, err
}

// fetch waits for a payload, and explains it if that was asked for. Without a file to
// write to it prints the payload.
func (g *getCommand) fetch(ctx context.Context, d download) ([]byte, error) {
	payload, err := d.resource.Get(ctx)
	if err := g.breakLine(); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, firstOf(g.tell(explainFailure(err, time.Now())), err)
	}
	if g.verbose { // explaining asks the origin once more
		if err := g.tell(explain(ctx, d, time.Now())); err != nil {
			return nil, err
		}
	}
	if g.file != "" {
		return payload, nil
	}
	if len(payload) > 0 {
		g.within = !bytes.HasSuffix(payload, []byte("\n"))
	}
	return nil, write(g.std.stdout, payload)
}

// tell prints an explanation, if that was asked for.
func (g *getCommand) tell(explanation string) error {
	if !g.verbose {
		return nil
	}
	return printText(g.std.stderr, explanation)
}

// breakLine keeps what follows on a terminal apart from the last payload.
func (g *getCommand) breakLine() error {
	if !g.tty || !g.within {
		return nil
	}
	g.within = false
	return write(g.std.stdout, []byte("\n"))
}

// finish writes the file, if everything is there for it.
func (g *getCommand) finish(payloads [][]byte, failed []error) error {
	if len(failed) > 0 {
		for _, err := range failed[:len(failed)-1] {
			fmt.Fprintln(g.std.stderr, named(err))
		}
		return failed[len(failed)-1]
	}
	if g.file == "" {
		return nil
	}
	f, err := os.Create(g.file)
	if err != nil {
		return fmt.Errorf("cannot write: %w", err)
	}
	for _, p := range payloads {
		if err := write(f, p); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

func write(w io.Writer, payload []byte) error {
	if _, err := w.Write(payload); err != nil {
		return fmt.Errorf("cannot write: %w", err)
	}
	return nil
}
