package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh"
)

func TestStoreUsage(t *testing.T) {
	for args, want := range map[string]string{
		"":                                "no command; want ls, show, rm, check or rekey",
		"list dir":                        `unknown command "list"`,
		"ls":                              "ls wants one directory",
		"ls a b":                          "ls wants one directory",
		"show dir":                        "show wants a directory and a key",
		"rm dir":                          "rm wants either filters or --all",
		"rm dir --stale=false":            "rm wants either filters or --all",
		"rm dir --all --stale":            "rm wants either filters or --all",
		"rm dir --clear --all":            "rm takes no --clear",
		"show dir k --stale":              "show takes no --stale",
		"check dir --pattern x":           "check takes no --pattern",
		"ls dir --all":                    "ls takes no --all",
		"ls dir --pattern (" + secret:     "--pattern is not a regular expression",
		"rm dir --pattern= --stale":       "--pattern is empty",
		"rm dir --key=":                   "--key is empty",
		"ls dir --priority urgent":        "--priority is not low, normal or high",
		"rekey dir":                       "rekey wants --keys",
		"ls dir --keys=":                  "--keys is empty",
		"ls dir --bogus":                  "unknown flag --bogus",
		"ls dir --stale=perhaps":          `--stale: "perhaps" is not true or false`,
		"ls dir --pattern a --pattern b(": "--pattern is not a regular expression",
	} {
		got := storeRun(t, strings.Fields(args)...)
		if want := (result{exitUsage, "", "everfresh: store: " + want + "\nSee \"everfresh help store\".\n"}); got != want {
			t.Errorf("%s: got %+v, want %+v", args, got, want)
		}
	}
}

// TestStoreNone: a directory that holds no store is left as it is.
func TestStoreNone(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Join(dir, "none")} {
		got := storeRun(t, "ls", d)
		if want := (result{exitFailure, "", fmt.Sprintf("everfresh: store: no store in %q\n", d)}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

const storeHeader = "BYTES +CHECKED +FRESH +SERVED +PRIORITY +FAILURES +KEY\n"

func TestStoreList(t *testing.T) {
	dir, base := newStore(t)
	addStale(t, dir)
	gold := `13 B +\ds ago +for (2h0m0|1h59m5\d)s +for (3h0m0|2h59m5\d)s +high +0 +gold\n`
	low := `12 B +\ds ago +for .* +for .* +low +0 +` + base + `/low\?tenant=…&key=…\n`
	normal := `15 B +\ds ago +for .* +for .* +normal +0 +` + base + `/normal\n`
	old := `1 B +24h0m\ds ago +over +over +normal +3 +old\n`
	for args, want := range map[string]string{
		"":                                gold + low + normal + old,
		"--priority low":                  low,
		"--priority normal":               low + normal + old,
		"--stale":                         old,
		"--key gold":                      gold,
		"--key unknown":                   "",
		"--pattern /normal$":              normal,
		"--param tenant":                  low,
		"--param tenant=2":                "",
		"--param tenant=1 --priority low": low,
		"--pattern /normal --clear":       normal,
	} {
		t.Run(args, func(t *testing.T) {
			got := storeRun(t, append([]string{"ls", dir}, strings.Fields(args)...)...)
			wantMatch(t, got, exitOK, storeHeader+want, "")
		})
	}
	whole := storeRun(t, "ls", "--clear", "--param", "key", dir)
	wantMatch(t, whole, exitOK, storeHeader+`12 B .* `+base+`/low\?tenant=1&key=`+secret+"\n", "")
}

func TestStoreShow(t *testing.T) {
	dir, base := newStore(t)
	got := storeRun(t, "show", dir, base+storedResources[0].path)
	const moment = `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`
	wantMatch(t, got, exitOK, `key: +`+base+`/low\?tenant=…&key=…
version: +\d+
status: +200 OK
headers: +Cache-Control, .*Etag
body: +12 bytes
fetched: +\ds ago, `+moment+`
checked: +\ds ago, `+moment+`
fresh: +for .*, `+moment+`
served: +for .*, `+moment+`
priority: +low
failures: +0 in a row
`, "")
	if got := storeRun(t, "show", "--body", dir, "gold"); got != (result{0, "body of /high", ""}) {
		t.Errorf("%+v", got)
	}
	if got := storeRun(t, "show", dir, "unknown"); got != (result{1, "", "everfresh: store: no record of this key\n"}) {
		t.Errorf("%+v", got)
	}
}

func TestStoreDescribe(t *testing.T) {
	rec := &everfresh.Record{Key: "k", Failures: 1, NotBefore: time.Unix(1000, 0)}
	var out bytes.Buffer
	s := &storeCommand{std: console{stdout: &out}}
	if err := s.describe(rec, time.Unix(900, 0)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`served: +no end\n`, `failures: +1 in a row\n`, `not before: +1970-01-01T00:16:40Z\n`} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
}

func TestServedUntil(t *testing.T) {
	early, late := time.Unix(1, 0), time.Unix(2, 0)
	for _, tt := range []struct{ serve, end, want time.Time }{
		{}, {early, late, early}, {late, early, early}, {early, time.Time{}, early}, {time.Time{}, late, late},
	} {
		if got := servedUntil(&everfresh.Record{Info: everfresh.Info{ServeUntil: tt.serve, ExpiresAt: tt.end}}); !got.Equal(tt.want) {
			t.Errorf("%v and %v: got %v", tt.serve, tt.end, got)
		}
	}
}

func TestStoreRemove(t *testing.T) {
	for args, want := range map[string]string{
		"--all":              "removed 4 records\n",
		"--stale":            "removed 1 record\n",
		"--pattern /(low|n)": "removed 2 records\n",
		"--priority normal":  "removed 3 records\n",
		"--key gold":         "removed 1 record\n",
		"--param tenant":     "removed 1 record\n",
		"--key unknown":      "removed 0 records\n",
	} {
		t.Run(args, func(t *testing.T) {
			dir, _ := newStore(t)
			addStale(t, dir)
			if got := storeRun(t, append([]string{"rm", dir}, strings.Fields(args)...)...); got != (result{0, want, ""}) {
				t.Errorf("%+v", got)
			}
			var removed int
			if _, err := fmt.Sscanf(want, "removed %d", &removed); err != nil {
				t.Fatal(err)
			}
			if left := len(names(t, dir)); left != 4-removed {
				t.Errorf("%d records are left", left)
			}
		})
	}
}

// TestStoreCheck: what cannot be served is named and fails the command; what is in
// quarantine is only counted.
func TestStoreCheck(t *testing.T) {
	dir, _ := newStore(t)
	check := func(code int, stdout string) {
		t.Helper()
		stderr := ""
		if code != 0 {
			stderr = "everfresh: store: not every record can be served\n"
		}
		wantMatch(t, storeRun(t, "check", dir), code, stdout, stderr)
	}
	check(exitOK, "3 records good\n")
	addBytes(t, dir, quarantinePrefix+"x", []byte("rubbish"))
	check(exitOK, "3 records good, 1 in quarantine\n")
	addBytes(t, dir, "rubbish", []byte("rubbish"))
	check(exitFailure, "rubbish: damaged\n3 records good, 1 damaged, 1 in quarantine\n")
	damage(t, dir, "body of /normal", -1) // its value
	check(exitFailure, "(?s).*[0-9a-f]{64}: damaged\n.*2 records good, 2 damaged, 1 in quarantine\n")
	damage(t, dir, "body of /high", 0) // its header, by which the file store knows it
	check(exitFailure, "(?s).*some records: damaged\n1 record good, 2 damaged, others not readable, 1 in quarantine\n")

	// What can be read is listed and removed all the same.
	list := storeRun(t, "ls", dir)
	wantMatch(t, list, exitFailure, storeHeader+".*/low.*\n", "everfresh: store: 3 errors, the first: .*\n")
	wantMatch(t, storeRun(t, "rm", "--all", dir), exitFailure, "removed 1 record\n", "everfresh: store: 3 errors, the first: .*\n")
}

// TestStoreCheckNewer: a record of a newer version is not damaged.
func TestStoreCheckNewer(t *testing.T) {
	dir := t.TempDir()
	addBytes(t, dir, "newer", newerRecord(t))
	wantMatch(t, storeRun(t, "check", dir), exitFailure,
		"newer: written by a newer version\n0 records good, 1 of a newer version\n",
		"everfresh: store: not every record can be served\n")
}

func TestStoreSealed(t *testing.T) {
	dir, base, keys := newSealedStore(t)
	for _, item := range names(t, dir) {
		if !strings.HasPrefix(item, sealedPrefix) {
			t.Errorf("%s is not encrypted", item)
		}
	}
	wantMatch(t, storeRun(t, "ls", "--keys", keys, "--key", base+"/normal", dir), exitOK, storeHeader+".*/normal\n", "")
	wantMatch(t, storeRun(t, "show", "--keys", keys, "--body", dir, "gold"), exitOK, "body of /high", "")
	wantMatch(t, storeRun(t, "check", "--keys", keys, dir), exitOK, "3 records good\n", "")

	const unserved = "everfresh: store: not every record can be served\n"
	t.Run("without keys", func(t *testing.T) {
		wantMatch(t, storeRun(t, "check", dir), exitFailure,
			"(sealed.[0-9a-f]{64}: encrypted, which wants --keys\n){3}0 records good, 3 encrypted without a key\n", unserved)
		wantMatch(t, storeRun(t, "rm", "--all", dir), exitFailure, "removed 0 records\n",
			"everfresh: store: 3 errors, the first: read record: the record is encrypted, which wants --keys: .*\n")
	})
	t.Run("beside plain records", func(t *testing.T) {
		mixed, _, keys := newSealedStore(t)
		addStale(t, mixed)
		wantMatch(t, storeRun(t, "check", "--keys", keys, mixed), exitFailure,
			"old: not encrypted, and left out with --keys\n3 records good, 1 not encrypted\n", unserved)
	})
	t.Run("with a wrong key", func(t *testing.T) {
		wrong := writeKeys(t, "names:"+hexNames, "new:"+hexNew)
		wantMatch(t, storeRun(t, "check", "--keys", wrong, dir), exitFailure,
			"some records: encrypted with a key that is not here\n0 records good, others not readable\n", unserved)
		wantMatch(t, storeRun(t, "rekey", "--keys", wrong, dir), exitFailure, "0 records encrypted with the first key\n",
			"everfresh: store: .*encryption key is unavailable\n")
		wantMatch(t, storeRun(t, "show", "--keys", wrong, dir, "gold"), exitFailure, "",
			"everfresh: store: read record: .*encryption key is unavailable\n")
	})
	t.Run("rekey", func(t *testing.T) {
		both := writeKeys(t, "new:"+hexNew, "old:"+hexOld, "names:"+hexNames)
		wantMatch(t, storeRun(t, "rekey", "--keys", both, dir), exitOK, "3 records encrypted with the first key\n", "")
		wantMatch(t, storeRun(t, "rekey", "--keys", both, dir), exitOK, "0 records encrypted with the first key\n", "")
		one := writeKeys(t, "names:"+hexNames, "new:"+hexNew)
		wantMatch(t, storeRun(t, "check", "--keys", one, dir), exitOK, "3 records good\n", "")
		wantMatch(t, storeRun(t, "rm", "--all", "--keys", one, dir), exitOK, "removed 3 records\n", "")
	})
}

// TestStoreKeyFile: a key file that cannot be used is refused, and not shown.
func TestStoreKeyFile(t *testing.T) {
	dir, _ := newStore(t)
	for content, want := range map[string]string{
		"":                                    "no line names:HEX",
		"names:" + hexNames:                   "no line ID:HEX",
		"old:" + hexOld:                       "no line names:HEX",
		"names:" + hexNames + "\n\n" + hexOld: "line 3: invalid key: no colon after the id",
		"names:" + hexNames + "\nold:" + hexOld[1:]:                 "line 2: invalid key: a secret is 64 hexadecimal digits",
		"names:" + hexNames + "\nnames:" + hexNew:                   "line 2: a second secret of names",
		"names:" + hexNames + "\nold:" + hexOld + "\nold:" + hexNew: "invalid key: two keys have the same id",
		"names:" + strings.Repeat("0", 64):                          "line 1: invalid key: the secret is all zeros",
	} {
		file := writeKeys(t, content)
		got := storeRun(t, "ls", "--keys", file, dir)
		if want := (result{1, "", fmt.Sprintf("everfresh: store: key file %q: %s\n", file, want)}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	got := storeRun(t, "ls", "--keys", filepath.Join(dir, "none"), dir)
	wantMatch(t, got, exitFailure, "", "everfresh: store: cannot read the keys: open .*\n")
}

func TestStoreInterrupted(t *testing.T) {
	dir, _ := newStore(t)
	ctx, cancel := contextOver(t)
	defer cancel()
	for _, args := range []string{"ls", "check", "rm --all", "show"} {
		args := append([]string{"store"}, append(strings.Fields(args), dir)...)
		if args[1] == "show" {
			args = append(args, "gold")
		}
		got := command(ctx, args...)
		if got.code != exitInterrupted || got.stderr != "everfresh: interrupted\n" {
			t.Errorf("%q: %+v", args, got)
		}
	}
	if left := len(names(t, dir)); left != 3 {
		t.Errorf("%d records are left", left)
	}
}

func TestStoreOutputFails(t *testing.T) {
	dir, _ := newStore(t)
	for _, args := range []string{"ls", "check", "rm --stale"} {
		var stderr bytes.Buffer
		std := console{stdout: &fullWriter{}, stderr: &stderr, env: noEnv}
		code := run(t.Context(), append(append([]string{"store"}, strings.Fields(args)...), dir), std)
		if code != exitFailure || stderr.String() != "everfresh: store: cannot write: no space left\n" {
			t.Errorf("%s: code %d, %q", args, code, stderr.String())
		}
	}
}
