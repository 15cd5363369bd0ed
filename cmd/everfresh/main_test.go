package main

import (
	"bytes"
	"errors"
	"flag"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

func TestUsage(t *testing.T) {
	const overview = `everfresh keeps remote resources fresh in memory. This command shows how.

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
	for _, tt := range []struct {
		args string
		want result
	}{
		{"", result{2, "", overview}},
		{"help", result{0, overview, ""}},
		{"-h", result{0, overview, ""}},
		{"--help", result{0, overview, ""}},
		{"help nope", result{2, "", "everfresh: help: unknown command \"nope\"\nSee \"everfresh help\".\n"}},
		{"help get demo", result{2, "", "everfresh: help: unknown command \"get demo\"\nSee \"everfresh help\".\n"}},
		{"help demo", result{0, demoUsage, ""}},
		{"demo -h", result{0, demoUsage, ""}},
		{"help get", result{0, getUsage, ""}},
		{"get http://a.test/ --help", result{0, getUsage, ""}},
		{"help watch", result{0, watchUsage, ""}},
		{"watch -n 3 -h", result{0, watchUsage, ""}},
		{"help store", result{0, storeUsage, ""}},
		{"store ls -h", result{0, storeUsage, ""}},
		{"frobnicate", result{2, "", "everfresh: unknown command \"frobnicate\"\nSee \"everfresh help\".\n"}},
		{"version now", result{2, "", "everfresh: version takes no arguments\nSee \"everfresh help\".\n"}},
		{"demo now", result{2, "", "everfresh: demo: unexpected argument \"now\"\nSee \"everfresh help demo\".\n"}},
		{"demo --for -1s", result{2, "", "everfresh: demo: --for is not positive; without it, the command runs until it is interrupted\nSee \"everfresh help demo\".\n"}},
		{"demo --for 0", result{2, "", "everfresh: demo: --for is not positive; without it, the command runs until it is interrupted\nSee \"everfresh help demo\".\n"}},
		{"demo --for long", result{2, "", "everfresh: demo: --for: \"long\" is not a duration; try 10s\nSee \"everfresh help demo\".\n"}},
		{"get", result{2, "", "everfresh: get: no URL\nSee \"everfresh help get\".\n"}},
		{"get -x", result{2, "", "everfresh: get: unknown flag -x\nSee \"everfresh help get\".\n"}},
		{"get http://a.test/ --timeout 0s", result{2, "", "everfresh: get: --timeout is not positive\nSee \"everfresh help get\".\n"}},
		{"get http://a.test/ --max-bytes 0", result{2, "", "everfresh: get: --max-bytes is not positive\nSee \"everfresh help get\".\n"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			if got := command(t.Context(), strings.Fields(tt.args)...); got != tt.want {
				t.Errorf("got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// TestUsageNamesFlags fails when a flag is added that the usage does not know.
func TestUsageNamesFlags(t *testing.T) {
	for _, text := range []string{"--for DURATION", "--plain", "--no-color"} {
		if !strings.Contains(demoUsage, "\n    "+text+" ") {
			t.Errorf("usage of demo lacks %q", text)
		}
	}
	for _, text := range []string{
		"-n N", "--every DURATION", "--min DURATION", "--per-host N", "-H 'Name: value'", "--for DURATION", "--plain", "--no-color",
	} {
		if !strings.Contains(watchUsage, "\n    "+text+" ") {
			t.Errorf("usage of watch lacks %q", text)
		}
	}
	for _, text := range []string{
		"--key KEY", "--pattern REGEXP", "--param NAME[=V]", "--priority P", "--stale", "--all", "--clear", "--body", "--keys FILE",
	} {
		if !strings.Contains(storeUsage, "\n    "+text+" ") {
			t.Errorf("usage of store lacks %q", text)
		}
	}
	for _, text := range []string{"-v", "-H 'Name: value'", "--timeout DURATION", "--max-bytes N", "-o FILE"} {
		if !strings.Contains(getUsage, "\n    "+text+" ") {
			t.Errorf("usage of get lacks %q", text)
		}
	}
}

func TestVersion(t *testing.T) {
	got := command(t.Context(), "version")
	if got.code != exitOK || got.stderr != "" || !strings.HasPrefix(got.stdout, "everfresh ") {
		t.Errorf("version: %+v", got)
	}
	platform := " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + "\n"
	for want, info := range map[string]*debug.BuildInfo{
		"everfresh (devel)" + platform: nil,
		"everfresh v1.2.3" + platform:  {Main: debug.Module{Version: "v1.2.3"}},
	} {
		if got := versionText(info); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		args     string
		operands string
		v        bool
		o        string
	}{
		{"", "", false, ""},
		{"a b", "a b", false, ""},
		{"-v a", "a", true, ""},
		{"a -v", "a", true, ""},
		{"a -v b -o f c", "a b c", true, "f"},
		{"a -- -v", "a -v", false, ""},
		{"-v -- a -o", "a -o", true, ""},
		{"a -o=f --", "a", false, "f"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			flags := flag.NewFlagSet("test", flag.ContinueOnError)
			v, o := flags.Bool("v", false, ""), flags.String("o", "", "")
			operands, err := parse(flags, strings.Fields(tt.args))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(operands, strings.Fields(tt.operands)) || *v != tt.v || *o != tt.o {
				t.Errorf("got %q, -v %t, -o %q", operands, *v, *o)
			}
		})
	}
}

// TestFlagProblem: what package flag refuses is told in words, and no header is shown.
func TestFlagProblem(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--bogus"}, "unknown flag --bogus"},
		{[]string{"--bogus=1"}, "unknown flag --bogus"},
		{[]string{"-x"}, "unknown flag -x"},
		{[]string{"--timeout"}, "--timeout wants a value"},
		{[]string{"-H"}, "-H wants a value"},
		{[]string{"--timeout", "10"}, `--timeout: "10" is not a duration; try 10s`},
		{[]string{"--timeout", "2.5"}, `--timeout: "2.5" is not a duration; try 2.5s`},
		{[]string{"--timeout=a\"b: c"}, `--timeout: "a\"b: c" is not a duration; try 10s`},
		{[]string{"--timeout", ""}, `--timeout: "" is not a duration; try 10s`},
		{[]string{"--max-bytes", "1MiB"}, `--max-bytes: "1MiB" is not a number`},
		{[]string{"--max-bytes", "9223372036854775808"}, `--max-bytes: "9223372036854775808" is out of range`},
		{[]string{"-v=maybe"}, `-v: "maybe" is not true or false`},
		{[]string{"-HX-Key: " + secret}, "-H wants 'Name: value' behind a space"},
		{[]string{"-H" + secret}, "-H wants 'Name: value' behind a space"},
		{[]string{"---" + secret}, "a flag is malformed"},
		{[]string{"-x: " + secret}, "unknown flag -x"},
	} {
		_, err := parseGet(append(tt.args, "http://a.test/"), console{env: noEnv})
		if len(tt.args) == 1 && strings.HasSuffix(tt.want, "wants a value") {
			_, err = parseGet(tt.args, console{env: noEnv})
		}
		if err == nil || err.Error() != "get: "+tt.want {
			t.Errorf("%q: got %v, want %s", tt.args, err, tt.want)
		}
	}
}

// TestOutputFails: what cannot be printed is a failure, whatever it was.
func TestOutputFails(t *testing.T) {
	for _, args := range []string{"help", "version", "get -h", "store -h", "demo -h", "demo --for 1h", "watch -h", "watch --for 1h -n 3 http://origin.invalid/{}"} {
		var stderr bytes.Buffer
		std := console{stdout: &fullWriter{}, stderr: &stderr, env: noEnv}
		if code := run(t.Context(), strings.Fields(args), std); code != exitFailure {
			t.Errorf("%s: exit code %d", args, code)
		}
		if got, want := stderr.String(), "everfresh: cannot write: no space left\n"; got != want {
			t.Errorf("%s: got %q, want %q", args, got, want)
		}
	}
}

func TestNamed(t *testing.T) {
	for text, want := range map[string]string{
		"cannot write":        "everfresh: cannot write",
		"everfresh: no value": "everfresh: no value",
	} {
		if got := named(errors.New(text)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
