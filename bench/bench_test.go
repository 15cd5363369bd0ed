package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestMain lets the test binary be the child of a test, as the program is of itself.
func TestMain(m *testing.M) {
	if is, err := child(os.Args[1:]); is {
		exit(err)
		return
	}
	os.Exit(m.Run())
}

func TestPagesHaveTheFiguresOfTheRawOutput(t *testing.T) {
	files, err := pages(rawDir)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		} else if string(text) != want {
			t.Errorf("%s differs from what the raw output gives: run go run . -table", file)
		}
	}
	drawn, err := filepath.Glob(filepath.Join(plotDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range drawn {
		if _, ok := files[file]; !ok {
			t.Errorf("%s is not made from raw output", file)
		}
		if shown := "plots/" + filepath.Base(file); !strings.Contains(files[scalePage], shown) {
			t.Errorf("docs/scale.md does not show %s", shown)
		}
	}
}

// TestPlotsAreXML: a plot that a browser refuses shows nothing.
func TestPlotsAreXML(t *testing.T) {
	for _, p := range plots(runsWith(good)) {
		d := xml.NewDecoder(strings.NewReader(p.svg()))
		texts := 0
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", p.file, err)
			}
			if e, ok := token.(xml.StartElement); ok && e.Name.Local == "text" {
				texts++
			}
		}
		if texts < 6 || strings.Contains(p.svg(), "NaN") || strings.Contains(p.svg(), "Inf") {
			t.Errorf("%s has %d texts, and a figure that is no number: %t", p.file, texts, strings.Contains(p.svg(), "NaN"))
		}
	}
}

func TestAxis(t *testing.T) {
	a := axisOf([]float64{3, 47}, false, 0, 100)
	if got := a.marks(); !slices.Equal(got, []float64{0, 10, 20, 30, 40, 50}) {
		t.Errorf("marks %v", got)
	}
	if got := a.pixel(25); got != 50 {
		t.Errorf("25 of 50 is at %v, want the middle", got)
	}
	a = axisOf([]float64{2, 900}, true, 0, 300)
	if got := a.marks(); !slices.Equal(got, []float64{1, 10, 100, 1000}) {
		t.Errorf("marks %v", got)
	}
	if got := a.pixel(10); math.Abs(got-100) > 0.001 {
		t.Errorf("10 of 1 to 1000 is at %v, want a third", got)
	}
}

func TestRawOutputIsWhole(t *testing.T) {
	runs, err := readRaw(rawDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		if err := runs[g.name].whole(); err != nil {
			t.Errorf("group %s: %v", g.name, err)
		}
	}
}

// TestSmoke runs every candidate of every group, a few times.
func TestSmoke(t *testing.T) {
	tiny := scale{resources: 20, origin: 8, callers: 4, rounds: 1, slices: 2, slice: 100 * time.Microsecond, most: 20}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			ms, err := g.measure(t.Context(), tiny)
			if err != nil {
				t.Fatal(err)
			}
			if rounds := tiny.roundsOf(g); len(ms) != rounds*len(g.rows) {
				t.Errorf("%d measurements, want %d rounds of %d candidates", len(ms), rounds, len(g.rows))
			}
			for _, m := range ms {
				if !slices.ContainsFunc(g.rows, func(r row) bool { return r.name == m.candidate }) {
					t.Errorf("candidate %s has no row in the table", m.candidate)
				}
				if len(m.sample) != len(g.columns) || slices.Max(rates(m.sample)) <= 0 {
					t.Errorf("round %d of %s: %v, want figures for %v", m.round, m.candidate, m.sample, g.columns)
				}
			}
		})
	}
}

func TestWrongResultIsAnError(t *testing.T) {
	read := reading(func(passes int) uint64 { return uint64(passes) })
	if err := read.candidate("right", 1, 1).run(3); err != nil {
		t.Error(err)
	}
	if err := read.candidate("wrong", 1, 2).run(3); err == nil {
		t.Error("a wrong sum passed")
	}
	if err := read.parallel("wrong", 1, 2).run(3); err == nil {
		t.Error("a wrong sum passed in parallel")
	}
}

func TestConcurrently(t *testing.T) {
	counts := make([]atomic.Int64, 5)
	err := concurrently(3, 20, 5, func(i int) error {
		counts[i].Add(1)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range counts {
		if n := counts[i].Load(); n != 4 {
			t.Errorf("resource %d was refreshed %d times, want 4", i, n)
		}
	}
	broken := errors.New("broken")
	if err := concurrently(3, 20, 5, func(int) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
}

func TestOrigin(t *testing.T) {
	h := origin()
	ask := func(path, etag string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		req := httptest.NewRequest(http.MethodGet, path, nil)
		req.Header.Set("If-None-Match", etag)
		h.ServeHTTP(rec, req)
		return rec
	}
	if rec := ask("/same/1", sameETag); rec.Code != http.StatusNotModified || rec.Body.Len() > 0 {
		t.Errorf("status %d with %d bytes for the present ETag, want an empty 304", rec.Code, rec.Body.Len())
	}
	first := ask("/new/1", "")
	second := ask("/new/1", first.Header().Get("Etag"))
	if second.Code != http.StatusOK || first.Body.String() == second.Body.String() {
		t.Errorf("status %d, and the same body: %t", second.Code, first.Body.String() == second.Body.String())
	}
	if b := second.Body.Bytes(); len(b) != bodySize || !json.Valid(b) {
		t.Errorf("body of %d bytes, want JSON of %d: %s", len(b), bodySize, b)
	}
}

func TestRawRoundTrip(t *testing.T) {
	dir := t.TempDir()
	g := groups[0]
	want := []measurement{
		{1, g.name, "bare", sample{1.25, 0, 0, 0}},
		{2, g.name, "peek", sample{1234567.5, 1.5, 100.5, 17.25}},
	}
	if err := writeRaw(dir, g, want); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, g.name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := parseRaw(g, text)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(r.ms, want) {
		t.Errorf("read back %v, want %v", r.ms, want)
	}
	for _, key := range []string{"date", "go", "GOMAXPROCS", "cpu", "peers"} {
		if _, ok := r.header[key]; !ok {
			t.Errorf("no %s in the header", key)
		}
	}
	for _, line := range []string{"1 held bare many 1 1 1", "first held bare 1 1 1 1", "1 held bare 1 1 1"} {
		if _, err := parseRaw(g, []byte(line)); err == nil {
			t.Errorf("%q passed, which is no measurement", line)
		}
	}
}

// Figures of groups that run in slices.
const (
	ns     = 0
	allocs = 1
	cpu    = 3
)

// runsWith returns whole runs in which every figure is 1, but for those of change.
func runsWith(change func(*measurement)) map[string]*groupRun {
	runs := make(map[string]*groupRun)
	for _, g := range groups {
		r := &groupRun{group: g}
		for round := range full.roundsOf(g) {
			for _, row := range g.rows {
				m := measurement{round + 1, g.name, row.name, repeat(1.0, len(g.columns))}
				change(&m)
				r.ms = append(r.ms, m)
			}
		}
		runs[g.name] = r
	}
	return runs
}

// good makes figures that meet every bar.
func good(m *measurement) {
	better := map[string]string{"queue": "everfresh", "late": "everfresh", "idle": "everfresh", "url": "everfresh", "url-1M": "everfresh"}[m.group]
	switch {
	case better != "" && !strings.Contains(m.candidate, better):
		m.sample = repeat(100.0, len(m.sample))
	case m.group == "refresh" && m.candidate == "v3":
		m.sample = repeat(10.0, len(m.sample))
	case m.group == "idle":
		m.sample = repeat(0.05, len(m.sample))
	case m.group == "storms":
		for i, f := range findings {
			m.sample[i] = max(f.least, f.most)
		}
	case m.group == "keys" || strings.HasSuffix(m.group, "url") || m.group == "url-1M" || m.group == "held":
		m.sample[allocs] = 0
	}
}

func TestMissedBars(t *testing.T) {
	tests := map[string]struct {
		change func(*measurement)
		want   []string
	}{
		"all met": {func(*measurement) {}, nil},
		"time": {func(m *measurement) {
			if m.group == "held" && m.candidate == "peek" {
				m.sample[ns] = 1.6
			}
		}, []string{"held: everfresh `Resource.Peek`: 1.60 times the time of bare `atomic.Pointer` load; bar: at most 1.5: "}},
		"one slow round is not the median": {func(m *measurement) {
			if m.candidate == "peek" && m.round == 3 {
				m.sample[ns] = 100
			}
		}, nil},
		"an allocation": {func(m *measurement) {
			if m.group == "url" && m.candidate == "everfresh" {
				m.sample[allocs] = 0.01
			}
		}, []string{"allocations: 0.010; bar: 0: "}},
		"how many times faster": {func(m *measurement) {
			if m.group == "url" && m.candidate == "v1" {
				m.sample[ns] = 3.9
			}
		}, []string{"3.90 times as fast as httprc v1 `Cache.Get`; bar: at least 4: "}},
		"processor time": {func(m *measurement) {
			if m.group == "refresh" && m.candidate == "v3" {
				m.sample[cpu] = 1.6
			}
		}, []string{"everfresh `Resource.Refresh`, 304: 0.62 times the processor time of httprc v3 `Controller.Refresh`, 200; bar: at most 0.55: ", "everfresh by schedule, no caller waits, 304: 0.62 times"}},
		"nothing measured": {func(m *measurement) {
			if m.group == "refresh" {
				m.sample[cpu] = 0
			}
		}, []string{
			"`Resource.Refresh`, 304", "`Resource.Refresh`, 304", "`Resource.Refresh`, 200", "`Resource.Refresh`, 200",
			"schedule, no caller waits, 304", "schedule, no caller waits, 304", "schedule, no caller waits, 200", "schedule, no caller waits, 200",
		}},
		"requests in a second": {func(m *measurement) {
			if m.candidate == "everfresh-304" {
				m.sample[ns] = 10
			}
		}, []string{"1.00 times the requests/s of httprc v3 `Controller.Refresh`, 200; bar: at least 1.6: "}},
		"by itself": {func(m *measurement) {
			if m.group == "late" && m.candidate == "everfresh" {
				m.sample[1] = 11.5
			}
		}, []string{"late: everfresh: p99: 11.5 ms; bar: at most 11 ms: "}},
		"of its own size": {func(m *measurement) {
			if m.group == "keys" && m.candidate == "bare/12" {
				m.sample[ns] = 0.4
			}
		}, []string{"everfresh `Source.Key`, 12 keys: 2.50 times the time of `atomic.Pointer` to a map, 12 keys; bar: at most 2: "}},
		"yes instead of no": {func(m *measurement) {
			if m.group == "storms" {
				m.sample[slices.IndexFunc(findings, func(f finding) bool { return f.name == "redirect" })] = 1
			}
		}, []string{"storms: everfresh: a redirect to another origin: followed: yes; bar: no: "}},
		"what did not happen": {func(m *measurement) {
			if m.group == "storms" {
				m.sample[slices.IndexFunc(findings, func(f finding) bool { return f.name == "start-s" })] = math.NaN()
			}
		}, []string{"until a token is verified: it did not happen; bar: at most 1: "}},
		"one busy second": {func(m *measurement) {
			if m.group == "burst" && m.candidate == "second" {
				m.sample[7] = 5
			}
		}, []string{"peak over mean: 4.69; bar: at most 2.5: "}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := missed(runsWith(func(m *measurement) {
				good(m)
				tt.change(m)
			}))
			if err == nil {
				if tt.want != nil {
					t.Errorf("no error, want %q", tt.want)
				}
				return
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(tt.want) {
				t.Fatalf("errors %q, want %q", lines, tt.want)
			}
			for i, want := range tt.want {
				if !strings.Contains(lines[i], want) || !strings.Contains(lines[i], "missed") {
					t.Errorf("error %q, want %q", lines[i], want)
				}
			}
		})
	}
}

func TestMissingMeasurement(t *testing.T) {
	runs := runsWith(good)
	runs["hot"].ms = runs["hot"].ms[1:]
	if err := missed(runs); err == nil || !strings.Contains(err.Error(), "group hot") {
		t.Errorf("error %v, want one about the group hot", err)
	}
	runs = runsWith(good)
	runs["hot"].ms[0] = runs["hot"].ms[1]
	if err := missed(runs); err == nil || !strings.Contains(err.Error(), "8 rounds of bare") {
		t.Errorf("error %v, want one about the rounds of bare", err)
	}
}

func TestTablesNeedTheirPlace(t *testing.T) {
	for _, text := range []string{"", beginTables, endTables} {
		if _, err := withMade(text, ""); err == nil {
			t.Errorf("no error for %q", text)
		}
	}
}

func TestMedian(t *testing.T) {
	same := func(v float64) float64 { return v }
	for _, tt := range []struct {
		of   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 2, 100}, 3}} {
		if got := median(tt.of, same); got != tt.want {
			t.Errorf("median of %v = %v, want %v", tt.of, got, tt.want)
		}
	}
}

func TestFigure(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 1.234: "1.23", 12.34: "12.3", 123.4: "123"} {
		if got := figure(v); got != want {
			t.Errorf("figure(%v) = %s, want %s", v, got, want)
		}
	}
}
