package secrets_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log"
	"log/slog"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
	"github.com/everfresh-go/everfresh/store"
)

// The canary is the secret that must be found nowhere. A text may cut it, so that each
// of its pieces is looked for.
const canary = "cAnArY7qx+s3cReT8zw/k3Yv4Lue9"

var canaryPieces = []string{"cAnArY7qx", "s3cReT8zw", "k3Yv4Lue9"}

// canaryForms are the spellings in which the canary counts as found, in lower case.
var canaryForms = sync.OnceValue(func() map[string]string {
	forms := make(map[string]string)
	for _, piece := range canaryPieces {
		add := func(form, spelling string) { forms[form+" of "+piece] = strings.ToLower(spelling) }
		add("raw", piece)
		add("hex in pairs", strings.Join(canaryBytes(piece, "%02x"), " "))
		add("hex", hex.EncodeToString([]byte(piece)))
		add("escaped", "%"+strings.Join(canaryBytes(piece, "%02X"), "%"))
		add("decimal", strings.Join(canaryBytes(piece, "%d"), " "))
		add("decimal, with commas", strings.Join(canaryBytes(piece, "%d"), ","))
		add("Go hex", strings.Join(canaryBytes(piece, "0x%x"), ", "))
		add("backslash", `\x`+strings.Join(canaryBytes(piece, "%02x"), `\x`))
		for before := range 3 { // how the piece may lie within groups of three bytes
			whole := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", before) + piece))
			add(fmt.Sprintf("base64 from %d", before), whole[(4*before+2)/3:8*(before+len(piece))/6])
		}
	}
	return forms
})

func canaryBytes(s, format string) []string {
	out := make([]string, len(s))
	for i := range len(s) {
		out[i] = fmt.Sprintf(format, s[i])
	}
	return out
}

// canaryIn returns the forms of the canary in text.
func canaryIn(text string) []string {
	text = strings.ToLower(text)
	var found []string
	for form, spelling := range canaryForms() {
		if strings.Contains(text, spelling) {
			found = append(found, form)
		}
	}
	return found
}

// A canaryBook collects every text that a user of the package can come to see.
type canaryBook struct {
	asJSON bool   // what json.Marshal makes of values, too
	only   string // if set, errors of one place only

	mu    sync.Mutex
	texts map[string]string // what each one is
	known map[*everfresh.RefreshError]bool
}

func newCanaryBook() *canaryBook {
	return &canaryBook{texts: make(map[string]string), known: make(map[*everfresh.RefreshError]bool)}
}

func newCanaryJSONBook() *canaryBook {
	b := newCanaryBook()
	b.asJSON = true
	return b
}

func (b *canaryBook) note(what, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.texts[text] = what
}

// Write implements io.Writer, for loggers.
func (b *canaryBook) Write(p []byte) (int, error) {
	b.note("log", string(p))
	return len(p), nil
}

// as returns a writer that notes what is written as what.
func (b *canaryBook) as(what string) io.Writer { return canaryPage{b, what} }

type canaryPage struct {
	book *canaryBook
	what string
}

func (p canaryPage) Write(text []byte) (int, error) {
	p.book.note(p.what, string(text))
	return len(text), nil
}

// value notes v in every format.
func (b *canaryBook) value(what string, v any) {
	for _, format := range []string{"%v", "%+v", "%#v", "%q", "%s", "%x"} {
		b.note(what+" "+format, fmt.Sprintf(format, v))
	}
	canaryTextLogger(b).Error(what, slog.Any("v", v))
	if !b.asJSON {
		return
	}
	data, err := json.Marshal(v)
	b.note(what+" json", string(data)+" "+fmt.Sprint(err))
	canaryJSONLogger(b).Error(what, slog.Any("v", v))
}

// err notes err and its causes.
func (b *canaryBook) err(what string, err error) {
	if err == nil || b.only != "" && b.only != strings.TrimRight(what, "> ") || b.knows(err) {
		return
	}
	b.note(what+" text", err.Error())
	b.value(what, err)
	canaryJSONLogger(b).Error(what, slog.Any("v", err)) // of an error it logs the text
	switch wrapper := err.(type) {                      //nolint:errorlint // Every layer is looked at.
	case interface{ Unwrap() error }:
		b.err(what+" > ", wrapper.Unwrap())
	case interface{ Unwrap() []error }:
		for _, cause := range wrapper.Unwrap() {
			b.err(what+" > ", cause)
		}
	}
}

// knows reports whether err was noted before: one failure is told to many.
func (b *canaryBook) knows(err error) bool {
	re, ok := err.(*everfresh.RefreshError) //nolint:errorlint // This very one.
	if !ok {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.known[re]
	b.known[re] = true
	return before
}

func canaryTextLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug - 10}))
}

func canaryJSONLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug - 10}))
}

// hits returns what shows the canary.
func (b *canaryBook) hits() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := strings.Join(slices.Collect(maps.Keys(b.texts)), "\x00")
	if len(canaryIn(all)) == 0 {
		return nil
	}
	var hits []string
	for text, what := range b.texts {
		if found := canaryIn(text); len(found) > 0 {
			slices.Sort(found)
			hits = append(hits, fmt.Sprintf("%s: %s: %.600s", what, found[0], text))
		}
	}
	slices.Sort(hits)
	return hits
}

// expectNone fails the test if the canary was seen, and shows a few of the texts.
func (b *canaryBook) expectNone(t *testing.T, when string) {
	t.Helper()
	hits := b.hits()
	for i, hit := range hits {
		if i == 5 {
			t.Errorf("%s: and %d more", when, len(hits)-i)
			return
		}
		t.Errorf("%s: %s", when, hit)
	}
}

// A canaryCase is one place where the canary may come from. Every case has it in its
// URL and in a header, besides.
type canaryCase struct {
	name      string
	answers   []string          // raw; $ stands for the canary
	transport http.RoundTripper // instead of answers
	opts      []everfresh.RegisterOption
	decode    everfresh.Decoder[canaryDoc]
	storage   func(store.Storage) store.Storage // wraps the storage
}

// canaryDoc is what the documents of the cases do not fit.
type canaryDoc struct {
	N   int
	I   int8
	F   float32
	Q   int `json:",string"`
	L   []int
	M   map[string]int
	K   map[int]int
	B   []byte
	T   time.Time
	A   netip.Addr
	P   net.IP
	Big *big.Int
	Num json.Number
	U   canaryText
	J   canaryJSON
	Z   canaryPanic
}

type (
	canaryText  struct{}
	canaryJSON  struct{}
	canaryPanic struct{}
)

func (*canaryText) UnmarshalText(b []byte) error  { return fmt.Errorf("not a text: %s", b) }
func (*canaryJSON) UnmarshalJSON(b []byte) error  { return fmt.Errorf("not JSON: %s", b) }
func (*canaryPanic) UnmarshalJSON(b []byte) error { panic(fmt.Sprintf("not JSON: %s", b)) }

// A canaryWay is how a case is run.
type canaryWay struct {
	keyed  bool // the URL is not the key, and has the canary in its path, too
	loaded bool // there is a value before it fails, and the client has a timeout of its own
}

var canaryWays = []canaryWay{{}, {keyed: true, loaded: true}}

// url is what a case is registered under.
func (w canaryWay) url() string {
	if w.keyed {
		return "https://a.test/" + url.PathEscape(canary) + "/x;" + canary + "?token=" + url.QueryEscape(canary)
	}
	return "https://a.test/?token=" + url.QueryEscape(canary) + "&" + canary + "&" + url.QueryEscape(canary) + "=x#" + canary
}

// run exercises every method of a cache with the case, and notes all there is to see.
func (c *canaryCase) run(t *testing.T, book *canaryBook, way canaryWay) {
	transport := c.transport
	if transport == nil {
		answers := slices.Clone(c.answers)
		for i := range answers {
			answers[i] = strings.ReplaceAll(answers[i], "$", canary)
		}
		transport = everfreshtest.Raw(t, answers...).Transport
	}
	client := &http.Client{Transport: transport}
	if way.loaded {
		client = &http.Client{Transport: &canaryLoaded{next: transport}, Timeout: time.Minute}
	}
	var storage store.Storage = new(store.Memory)
	if c.storage != nil {
		storage = c.storage(storage)
	}
	cache := everfresh.NewCache(context.WithoutCancel(t.Context()),
		everfresh.WithHTTPClient(client), everfresh.WithStorage(canaryNames(storage, book)),
		everfresh.WithErrSink(canarySink(book)), everfresh.WithObserver(canaryObserver(book)),
		everfresh.WithMinRefreshInterval(time.Minute), everfresh.WithMaxStale(time.Minute),
		everfresh.WithBackoff(30*time.Second, 5*time.Minute),
		everfresh.WithHeader("X-Api-Key", canary), everfresh.WithHeader("Authorization", "Bearer "+canary))
	key := way.url()
	opts := slices.Clone(c.opts)
	if way.keyed {
		key = "the key"
		opts = append(opts, everfresh.WithKey(key))
	}
	decode := c.decode
	if decode == nil {
		decode = everfresh.JSON[canaryDoc]()
	}
	r, err := everfresh.Register(cache, way.url(), decode, opts...)
	book.err("Register", err)
	if err == nil {
		canaryTyped(t, book, cache, r)
		canaryUntyped(t, book, cache, key)
		_, err = everfresh.Register(cache, way.url(), decode, opts...)
		book.err("Register again", err)
		book.err("untyped Register", cache.Register(way.url(), opts...))
		_, err = everfresh.Lookup[string](cache, key)
		book.err("Lookup", err)
	}
	time.Sleep(5 * time.Minute) // the value is refreshed, and then expires
	for st := range cache.All() {
		book.value("Status of All", st)
		book.err("Status.Err of All", st.Err)
	}
	book.err("Unregister", cache.Unregister(canary))
	book.err("Close", cache.Close())
	if r != nil {
		canaryTyped(t, book, cache, r)
		canaryUntyped(t, book, cache, key)
	}
	book.err("Register after Close", cache.Register(way.url(), opts...))
	time.Sleep(2 * time.Minute) // http.Client's timer outlives a transport that panics
}

func canaryTyped(t *testing.T, book *canaryBook, cache *everfresh.Cache, r *everfresh.Resource[canaryDoc]) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := r.Get(t.Context())
	book.err("Get", err)
	book.err("Refresh", r.Refresh(t.Context()))
	_, err = r.Newer(t.Context(), r.Snapshot())
	book.err("Newer", err)
	book.err("Ready", r.Ready(short))
	snap := r.Snapshot()
	if snap != nil {
		book.err("Snapshot.Err", snap.Err)
		book.err("Invalidate", r.Invalidate(t.Context(), snap.Version))
	}
	for range r.Watch(short) {
		continue
	}
	for _, ctx := range []context.Context{short, ended} {
		_, err = r.Get(ctx)
		book.err("Get, ended", err)
		book.err("Refresh, ended", r.Refresh(ctx))
		book.err("Ready, ended", r.Ready(ctx))
		_, err = r.Newer(ctx, snap)
		book.err("Newer, ended", err)
		book.err("Invalidate, ended", r.Invalidate(ctx, 1))
		book.err("Ready of the cache", cache.Ready(ctx))
	}
	book.value("Status", r.Status())
	book.err("Status.Err", r.Status().Err)
}

func canaryUntyped(t *testing.T, book *canaryBook, cache *everfresh.Cache, key string) {
	for _, key := range []string{key, canary, canaryWay{}.url() + "x"} {
		_, err := cache.Get(t.Context(), key)
		book.err("Cache.Get", err)
		_, err = cache.Refresh(t.Context(), key)
		book.err("Cache.Refresh", err)
		_, err = everfresh.Lookup[int](cache, key)
		book.err("Lookup", err)
	}
}

// canaryLoaded answers the first request well, so that the others fail beside a value.
type canaryLoaded struct {
	next http.RoundTripper
	once sync.Once
}

func (w *canaryLoaded) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	first := false
	w.once.Do(func() { first = true })
	if !first {
		return w.next.RoundTrip(req)
	}
	if req.Body != nil {
		_ = req.Body.Close()
	}
	return everfreshtest.Transport{Handler: everfreshtest.Text(`{"N":1}`, "ETag", `"`+canary+`"`, "Set-Cookie", canary, "X-Answer", canary, "Date", canary)}.RoundTrip(req)
}

// canaryNames notes the names that the storage is given. Values are the storage's.
func canaryNames(inner store.Storage, book *canaryBook) store.Storage {
	s := &everfreshtest.Hooked{Storage: inner}
	note := func(_ context.Context, key string) error {
		book.note("name in the storage", key)
		return nil
	}
	s.OnLoad(note)
	s.OnStore(note)
	return s
}

func canarySink(book *canaryBook) everfresh.ErrSink {
	logText := everfresh.LogSink(canaryTextLogger(book.as("LogSink text")))
	logJSON := everfresh.LogSink(canaryJSONLogger(book.as("LogSink JSON")))
	return everfresh.ErrSinkFunc(func(err error) {
		book.err("sink", err)
		logText.Error(err)
		logJSON.Error(err)
	})
}

func canaryObserver(book *canaryBook) func(everfresh.Event) {
	logText := everfresh.LogObserver(canaryTextLogger(book.as("LogObserver text")))
	logJSON := everfresh.LogObserver(canaryJSONLogger(book.as("LogObserver JSON")))
	return func(ev everfresh.Event) {
		book.value("event", ev)
		book.err("Event.Err", ev.Err)
		logText(ev)
		logJSON(ev)
	}
}

// canaryCases are all the places.
func canaryCases() []canaryCase {
	return slices.Concat(canaryHeads(), canaryBodies(), canaryDocuments(), canaryRedirects(),
		canaryTransports(), canaryRequests(), canaryPanics(), canaryStorages())
}

func canaryHeads() []canaryCase {
	const ok = "HTTP/1.1 200 OK\r\n"
	raw := map[string]string{
		"status line":                "$ $ $\r\n\r\n",
		"status line, one word":      "$\r\n\r\n",
		"no line":                    "$",
		"status code":                "HTTP/1.1 $ OK\r\n\r\n",
		"version":                    "HTTP/$ 200 OK\r\n\r\n",
		"reason":                     "HTTP/1.1 500 $\r\nContent-Length: 0\r\n\r\n",
		"line without a colon":       ok + "$\r\n\r\n",
		"first line with a space":    ok + " $: x\r\n\r\n",
		"name with a space":          ok + "$ $: x\r\n\r\n",
		"name with a control":        ok + "$\x01: x\r\n\r\n",
		"value with a control":       ok + "X: $\x01\r\n\r\n",
		"cut header":                 ok + "X: $",
		"length":                     ok + "Content-Length: $\r\n\r\n",
		"two lengths":                ok + "Content-Length: 1\r\nContent-Length: $\r\n\r\n",
		"transfer coding":            ok + "Transfer-Encoding: $\r\n\r\n",
		"transfer codings":           ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: $\r\n\r\n",
		"trailer":                    ok + "Transfer-Encoding: chunked\r\nTrailer: Content-Length, $\r\n\r\n0\r\n\r\n",
		"content coding":             ok + "Content-Encoding: $\r\nContent-Length: 1\r\n\r\nx",
		"flood":                      ok + strings.Repeat("X: $\r\n", 5000),
		"informational answers":      strings.Repeat("HTTP/1.1 103 $\r\nLink: $\r\n\r\n", 100) + ok + "$\r\n\r\n",
		"switching protocols":        "HTTP/1.1 101 $\r\nUpgrade: $\r\nConnection: upgrade\r\n\r\n$",
		"cookie":                     "HTTP/1.1 403 Forbidden\r\nSet-Cookie: k=$\r\nWWW-Authenticate: $\r\nX-Any: $\r\nLocation: /$\r\nContent-Length: 29\r\n\r\n$",
		"fields that the engine has": "HTTP/1.1 503 $\r\nRetry-After: $\r\nDate: $\r\nAge: $\r\nExpires: $\r\nCache-Control: max-age=$\r\nETag: $\r\nContent-Length: 0\r\n\r\n",
		"fields of a good answer":    ok + "Date: $\r\nAge: $\r\nExpires: $\r\nCache-Control: max-age=$, $=$\r\nETag: $\r\nLast-Modified: $\r\nSet-Cookie: $\r\nContent-Length: 2\r\n\r\n{}",
		"304":                        "HTTP/1.1 304 $\r\nETag: $\r\n\r\n",
		"304, not asked for":         "HTTP/1.1 304 $\r\nSet-Cookie: $\r\n\r\n",
		"204":                        "HTTP/1.1 204 $\r\nSet-Cookie: $\r\n\r\n",
		"206":                        "HTTP/1.1 206 $\r\nContent-Range: $\r\nContent-Length: 29\r\n\r\n$",
		"401":                        "HTTP/1.1 401 $\r\nWWW-Authenticate: $\r\nContent-Length: 29\r\n\r\n$",
	}
	cases := make([]canaryCase, 0, len(raw))
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		cases = append(cases, canaryCase{name: name, answers: []string{raw[name]}})
	}
	return cases
}

func canaryBodies() []canaryCase {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
	packed := string(everfreshtest.Gzip([]byte(canary + canary + canary)))
	return []canaryCase{
		{name: "chunk size", answers: []string{chunked + "\r\n$\r\n$\r\n"}},
		{name: "chunk extension", answers: []string{chunked + "\r\n1d;$=$\r\n$\r\n0\r\n\r\n"}},
		{name: "chunk without an end", answers: []string{chunked + "\r\n1\r\n$\r\n"}},
		{name: "trailer line", answers: []string{chunked + "Trailer: $\r\n\r\n0\r\n$\r\n\r\n"}},
		{name: "trailer field", answers: []string{chunked + "Trailer: X\r\n\r\n1d\r\n$\r\n0\r\nX: $\r\n\r\n"}},
		{name: "cut trailer", answers: []string{chunked + "\r\n1d\r\n$\r\n0\r\nX: $"}},
		{name: "long trailer", answers: []string{chunked + "\r\n1d\r\n$\r\n0\r\nX: " + strings.Repeat("$", 1000) + "\r\n\r\n"}},
		{name: "cut body", answers: []string{"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n$"}},
		{name: "body without an end", answers: []string{"HTTP/1.1 200 OK\r\n\r\n$"}},
		{name: "not gzip", answers: []string{everfreshtest.Framed(canary, "Content-Encoding: gzip")}},
		{name: "cut gzip", answers: []string{everfreshtest.Framed(packed[:len(packed)-3], "Content-Encoding: gzip")}},
		{name: "gzip with the name of a file", answers: []string{everfreshtest.Framed("\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x00"+canary+"\x00"+canary, "Content-Encoding: gzip")}},
		{name: "too large", answers: []string{everfreshtest.Framed(canary)}, opts: []everfresh.RegisterOption{everfresh.WithMaxBytes(3)}},
		{name: "bytes", answers: []string{everfreshtest.Framed(canary)}, decode: func(context.Context, *http.Response) (canaryDoc, error) { return canaryDoc{}, nil }},
	}
}

func canaryDocuments() []canaryCase {
	documents := []string{
		`$`, `"$`, `{"$"`, `{"$":$}`, `{"N":$}`, `{"N":1} $`, `{"N":1}{"S":"$"}`, `[$]`, `["$"]`, `"$"`, "{\"N\":\"$\n\"}", "{\"N\":\"$\\u00\"}", `{"N":tru$}`, `nul$`, "\xff$",
		`{"N":"$"}`, `{"N":{"$":"$"}}`, `{"N":["$"]}`, `{"N":12345678901234567890}`, `{"N":1.5e7}`, `{"I":300,"$":"$"}`, `{"F":1e400}`,
		`{"Q":"$"}`, `{"Q":1}`, `{"L":["$"]}`, `{"L":{"$":1}}`, `{"M":{"$":"$"}}`, `{"M":{"$":{"$":[]}}}`, `{"K":{"$":1}}`, `{"B":"$!"}`, `{"B":1}`, `{"T":"$"}`, `{"A":"$"}`, `{"P":"$"}`,
		`{"Big":"$"}`, `{"Num":"$"}`, `{"U":"$"}`, `{"J":"$"}`, `{"J":{"$":1}}`, `{"Z":"$"}`,
	}
	cases := make([]canaryCase, len(documents))
	for i, doc := range documents {
		cases[i] = canaryCase{name: "document " + doc, answers: []string{everfreshtest.Framed(strings.ReplaceAll(doc, "$", canary))}}
	}
	return cases
}

func canaryRedirects() []canaryCase {
	locations := map[string]string{
		"good":                "https://b.test/$?$=$",
		"relative":            "/$",
		"downgrade":           "http://b.test/$?token=$",
		"userinfo":            "https://user:$@b.test/",
		"scheme":              "ftp://b.test/$",
		"opaque":              "mailto:$",
		"port":                "https://b.test:$/",
		"host":                "https://[$/",
		"host with a space":   "https://$ $/",
		"escape":              "https://b.test/%zz$",
		"escape of the query": "https://b.test/?%zz$",
		"control":             "https://b.test/\x7f$",
		"colon":               "://$",
		"colon in a segment":  "1$:$",
		"denied":              "https://denied.test/$",
		"IDN":                 "https://\u2488$.test/",
		"itself":              "https://a.test/?token=$",
	}
	deny := everfresh.WithAllow(func(u *url.URL) error {
		if u.Host == "denied.test" {
			return errors.New("denied")
		}
		return nil
	})
	var cases []canaryCase
	for _, name := range slices.Sorted(maps.Keys(locations)) {
		answer := "HTTP/1.1 %d $\r\nLocation: " + strings.ReplaceAll(locations[name], "%", "%%") + "\r\nContent-Length: 29\r\n\r\n$"
		cases = append(cases,
			canaryCase{name: "redirect, " + name, answers: []string{fmt.Sprintf(answer, 302)}, opts: []everfresh.RegisterOption{deny}},
			canaryCase{name: "redirect of a POST, " + name, answers: []string{fmt.Sprintf(answer, 307)}, opts: []everfresh.RegisterOption{deny, canaryPost(nil)}},
		)
	}
	return append(cases, canaryCase{
		name:    "redirect to a failure",
		answers: []string{"HTTP/1.1 302 Found\r\nLocation: https://b.test/$\r\nContent-Length: 0\r\n\r\n", "$\r\n\r\n"},
	})
}

// canaryPost builds a POST with the canary in it; change spoils it.
func canaryPost(change func(*http.Request)) everfresh.RegisterOption {
	return everfresh.WithRequest(func(ctx context.Context, _ *everfresh.Snapshot[any]) (*http.Request, error) {
		u := "https://a.test/" + url.PathEscape(canary) + "?secret=" + url.QueryEscape(canary)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, u, strings.NewReader(`{"secret":"`+canary+`"}`))
		req.Header.Set("X-Built", canary)
		if change != nil {
			change(req)
		}
		return req, err
	})
}

// canaryFails is a transport that fails with an error.
type canaryFails struct{ err error }

func (f canaryFails) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

func canaryTransports() []canaryCase {
	quoting := &url.Error{Op: "Get", URL: "https://a.test/?k=" + canary, Err: errors.New(canary)}
	errs := []error{
		errors.New(canary), fmt.Errorf("%s: %w", canary, io.EOF), fmt.Errorf("%s: %w", canary, context.DeadlineExceeded),
		&net.OpError{Op: "dial", Net: canary, Addr: canaryAddr{}, Err: errors.New(canary)},
		&net.AddrError{Err: canary, Addr: canary}, &net.ParseError{Type: canary, Text: canary},
		url.InvalidHostError(canary), url.EscapeError(canary), quoting, fmt.Errorf("%s %w", canary, quoting),
		errors.Join(errors.New(canary), quoting),
		fmt.Errorf("malformed HTTP response %q", canary),
	}
	var cases []canaryCase
	for i, err := range errs {
		cases = append(cases, canaryCase{name: fmt.Sprintf("transport error %d", i), transport: canaryFails{err}})
	}
	for _, raw := range []string{"$\r\n\r\n", "HTTP/1.1 200 OK\r\n$\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: $\r\n\r\n"} {
		cases = append(cases, canaryCase{name: "fetcher that is a transport", answers: []string{raw}, opts: []everfresh.RegisterOption{
			everfresh.WithMiddleware(func(everfresh.Fetcher) everfresh.Fetcher { return canaryFetcher(raw) }),
		}})
	}
	return append(
		cases,
		canaryCase{name: "fetcher with a client of its own", transport: canaryFails{io.EOF}, opts: []everfresh.RegisterOption{
			everfresh.WithMiddleware(func(everfresh.Fetcher) everfresh.Fetcher {
				return everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
					resp, err := (&http.Client{Transport: canaryFails{errors.New(canary)}}).Do(req)
					return resp, fmt.Errorf("fetcher: %w", err)
				})
			}),
		}},
		canaryCase{name: "middleware that changes the URL", transport: canaryFails{io.EOF}, opts: []everfresh.RegisterOption{
			everfresh.WithMiddleware(everfreshtest.Moves("https://u:"+canary[:9]+"@a.test/"+canary, func(ctx context.Context) context.Context { return ctx })),
		}},
	)
}

type canaryAddr struct{}

func (canaryAddr) Network() string { return canary }
func (canaryAddr) String() string  { return canary }

// canaryFetcher gives http.Transport's own errors, which are no *url.Error.
func canaryFetcher(raw string) everfresh.FetcherFunc {
	dial := func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer server.Close()
			_, _ = server.Read(make([]byte, 4096))
			_, _ = io.WriteString(server, strings.ReplaceAll(raw, "$", canary))
		}()
		return client, nil
	}
	return (&http.Transport{DialContext: dial, DialTLSContext: dial, DisableKeepAlives: true}).RoundTrip
}

func canaryRequests() []canaryCase {
	refused := []string{"$\r\n\r\n"}
	cases := []canaryCase{
		{name: "POST", answers: refused, opts: []everfresh.RegisterOption{canaryPost(nil)}},
		{name: "method", answers: refused, opts: []everfresh.RegisterOption{canaryPost(func(r *http.Request) { r.Method = canary })}},
		{name: "header value", answers: refused, opts: []everfresh.RegisterOption{canaryPost(func(r *http.Request) { r.Header["X"] = []string{canary + "\n"} })}},
		{name: "header name", answers: refused, opts: []everfresh.RegisterOption{canaryPost(func(r *http.Request) { r.Header[canary] = []string{canary} })}},
		{name: "host", answers: refused, opts: []everfresh.RegisterOption{canaryPost(func(r *http.Request) { r.Host = canary + " " })}},
		{name: "scheme", answers: refused, opts: []everfresh.RegisterOption{canaryPost(func(r *http.Request) { r.URL.Scheme = canary })}},
		{name: "userinfo", answers: refused, opts: []everfresh.RegisterOption{canaryPost(func(r *http.Request) { r.URL.User = url.UserPassword(canary, canary) })}},
		{name: "opaque", answers: refused, opts: []everfresh.RegisterOption{canaryPost(func(r *http.Request) { r.URL.Opaque = canary })}},
		{name: "no host", answers: refused, opts: []everfresh.RegisterOption{canaryPost(func(r *http.Request) { r.URL.Host = "" })}},
		{name: "bad port", answers: refused, opts: []everfresh.RegisterOption{canaryPost(func(r *http.Request) { r.URL.Host = "a.test:" + canary })}},
		{name: "length", answers: refused, opts: []everfresh.RegisterOption{canaryPost(func(r *http.Request) { r.ContentLength = 7 })}},
		{name: "body that fails", answers: refused, opts: []everfresh.RegisterOption{canaryPost(func(r *http.Request) {
			r.Body = io.NopCloser(iotest.ErrReader(fmt.Errorf("read %s", canary)))
			r.ContentLength = -1
		})}},
		{name: "trailer", answers: refused, opts: []everfresh.RegisterOption{canaryPost(func(r *http.Request) {
			r.Trailer = http.Header{canary: {canary + "\n"}}
			r.ContentLength = -1
		})}},
		{
			name: "body that cannot be had again", answers: []string{"HTTP/1.1 307 $\r\nLocation: /$\r\nContent-Length: 0\r\n\r\n"},
			opts: []everfresh.RegisterOption{canaryPost(func(r *http.Request) {
				r.GetBody = func() (io.ReadCloser, error) { return nil, errors.New(canary) }
			})},
		},
	}
	return cases
}

// canaryURLErrors are errors of callbacks that hold a *url.Error: callers pass them on
// without knowing what they show.
func canaryURLErrors() []canaryCase {
	fails := canaryFails{errors.New("refused")}
	return []canaryCase{
		{name: "request that cannot be made", answers: []string{"$\r\n\r\n"}, opts: []everfresh.RegisterOption{everfresh.WithRequest(
			func(ctx context.Context, _ *everfresh.Snapshot[any]) (*http.Request, error) {
				return http.NewRequestWithContext(ctx, http.MethodGet, "https://a.test/%zz?secret="+canary, nil)
			})}},
		{name: "request that needs another", answers: []string{"$\r\n\r\n"}, opts: []everfresh.RegisterOption{everfresh.WithRequest(
			func(ctx context.Context, _ *everfresh.Snapshot[any]) (*http.Request, error) {
				err := canaryNested(ctx, fails)
				return nil, everfresh.RetryAfter(fmt.Errorf("token: %w", err), time.Minute)
			})}},
		{name: "decoder that needs another", answers: []string{everfreshtest.Framed("x")}, decode: func(ctx context.Context, _ *http.Response) (canaryDoc, error) {
			err := canaryNested(ctx, fails)
			return canaryDoc{}, everfresh.Permanent(fmt.Errorf("token: %w", err))
		}},
	}
}

// canaryNested is a call of another service.
func canaryNested(ctx context.Context, transport http.RoundTripper) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://b.test/?secret="+canary, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err == nil {
		err = resp.Body.Close()
	}
	return err
}

func canaryPanics() []canaryCase {
	values := []any{canary, errors.New(canary), &url.Error{Op: "Get", URL: canary, Err: io.EOF}, struct{ Secret []byte }{[]byte(canary)}}
	var cases []canaryCase
	for i, v := range values {
		cases = append(
			cases,
			canaryCase{name: fmt.Sprintf("panic %d in a decoder", i), answers: []string{everfreshtest.Framed("x")}, decode: func(context.Context, *http.Response) (canaryDoc, error) { panic(v) }},
			canaryCase{name: fmt.Sprintf("panic %d in middleware", i), answers: []string{everfreshtest.Framed("x")}, opts: []everfresh.RegisterOption{
				everfresh.WithMiddleware(func(everfresh.Fetcher) everfresh.Fetcher {
					return everfresh.FetcherFunc(func(*http.Request) (*http.Response, error) { panic(v) })
				}),
			}},
			canaryCase{name: fmt.Sprintf("panic %d in a request function", i), answers: []string{everfreshtest.Framed("x")}, opts: []everfresh.RegisterOption{
				everfresh.WithRequest(func(context.Context, *everfresh.Snapshot[any]) (*http.Request, error) { panic(v) }),
			}},
			canaryCase{name: fmt.Sprintf("panic %d in a transport", i), transport: canaryPanicking{v}},
			canaryCase{name: fmt.Sprintf("panic %d in a storage", i), answers: []string{everfreshtest.Framed(`{"N":2}`)}, storage: func(s store.Storage) store.Storage {
				return canaryBadStore(s, func() error { panic(v) })
			}},
		)
	}
	index := 7
	return append(cases, canaryCase{
		name: "panic of the runtime", answers: []string{everfreshtest.Framed("x")},
		decode: func(context.Context, *http.Response) (canaryDoc, error) {
			_ = canary[:index][index:][index]
			return canaryDoc{}, nil
		},
	}, canaryCase{
		name: "panic of a type assertion", answers: []string{everfreshtest.Framed("x")},
		decode: func(context.Context, *http.Response) (canaryDoc, error) {
			return any(canary).(canaryDoc), nil
		},
	})
}

type canaryPanicking struct{ v any }

func (p canaryPanicking) RoundTrip(*http.Request) (*http.Response, error) { panic(p.v) }

// canaryBadStore fails at everything.
func canaryBadStore(inner store.Storage, fail func() error) store.Storage {
	s := &everfreshtest.Hooked{Storage: inner}
	s.OnAll(func(context.Context, string) error { return fail() })
	s.ListFunc = func(context.Context, string) iter.Seq2[store.Meta, error] {
		return func(yield func(store.Meta, error) bool) { yield(store.Meta{}, fail()) }
	}
	return s
}

// canaryHolds holds one value under every key.
func canaryHolds(inner store.Storage, value []byte) store.Storage {
	return &everfreshtest.Hooked{Storage: inner, LoadFunc: func(_ context.Context, key string) (store.Item, error) {
		return store.Item{Key: key, Value: slices.Clone(value), Version: "1"}, nil
	}}
}

// canaryEnvelope is a record with a header of any form and a right checksum.
func canaryEnvelope(header string) []byte {
	const body = canary
	b := []byte("EVFR\x01")
	b = binary.BigEndian.AppendUint32(b, uint32(len(header)))
	b = append(b, header...)
	b = binary.BigEndian.AppendUint64(b, uint64(len(body)))
	b = append(b, body...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func canaryStorages() []canaryCase {
	record := everfresh.Record{Key: canary, Info: everfresh.Info{Version: 1}, Status: 200, Header: http.Header{"Etag": {canary}}, Body: []byte(canary)}
	other, err := record.MarshalBinary()
	if err != nil {
		panic(err)
	}
	record.Key = "the key"
	refused, err := record.MarshalBinary()
	if err != nil {
		panic(err)
	}
	damaged := slices.Clone(refused)
	damaged[len(damaged)-40] ^= 1
	values := map[string][]byte{
		"another's record":         other,
		"a record that is refused": refused,
		"a damaged record":         damaged,
		"a cut record":             refused[:len(refused)-1],
		"no record":                []byte(canary),
		"a header that is no JSON": canaryEnvelope(canary),
		"a header of another form": canaryEnvelope(`{"schema":1,"key":{"` + canary + `":"` + canary + `"}}`),
		"a time that is none":      canaryEnvelope(`{"schema":1,"key":"the key","fetched_at":"` + canary + `"}`),
		"a schema that is none":    canaryEnvelope(`{"schema":"` + canary + `"}`),
		"a later schema":           canaryEnvelope(`{"schema":9,"` + canary + `":"` + canary + `"}`),
	}
	var cases []canaryCase
	for _, name := range slices.Sorted(maps.Keys(values)) {
		cases = append(cases, canaryCase{
			name: "storage with " + name, answers: []string{everfreshtest.Framed(canary)},
			storage: func(s store.Storage) store.Storage { return canaryHolds(s, values[name]) },
		})
	}
	for _, err := range []error{store.ErrUnavailable, store.ErrTooLarge, store.ErrCorrupt, &store.ConflictError{Current: "1"}, context.DeadlineExceeded} {
		cases = append(cases, canaryCase{
			name: "storage that fails: " + err.Error(), answers: []string{everfreshtest.Framed(canary)},
			storage: func(s store.Storage) store.Storage {
				return canaryBadStore(s, func() error { return err })
			},
		})
	}
	return cases
}

// canaryAll runs cases, with and without a key, with and without a value.
func canaryAll(t *testing.T, cases []canaryCase, newBook func() *canaryBook) {
	t.Helper()
	old := log.Writer()
	defer log.SetOutput(old)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, way := range canaryWays {
				book := newBook()
				log.SetOutput(book) // net/http's own words
				synctest.Test(t, func(t *testing.T) { c.run(t, book, way) })
				if len(book.texts) < 50 {
					t.Errorf("only %d texts were seen", len(book.texts))
				}
				book.expectNone(t, fmt.Sprintf("%+v", way))
			}
		})
	}
}

// The canary is found in no text, whatever it came from.
func TestCanary(t *testing.T) { canaryAll(t, canaryCases(), newCanaryBook) }

func TestCanaryInErrorsOfCallbacks(t *testing.T) { canaryAll(t, canaryURLErrors(), newCanaryBook) }

// What json.Marshal makes of an error, an event or a status is a text, too: that of a
// page for operators.
func TestCanaryAsJSON(t *testing.T) {
	canaryAll(t, slices.Concat(canaryHeads(), canaryRedirects()[:8], canaryPanics()[:5], canaryStorages()), newCanaryJSONBook)
}

// Handles, caches and options are printed by accident, as part of something else.
func TestCanaryInHandles(t *testing.T) {
	book := newCanaryBook()
	secret := everfresh.WithHeader("Authorization", canary)
	request := canaryPost(nil)
	c := everfresh.NewCache(t.Context(), secret, everfresh.WithHTTPClient(everfreshtest.Client(everfreshtest.Text(canary))))
	r := everfreshtest.Register(t, c, canaryWay{keyed: true}.url(), everfresh.Bytes(), everfresh.WithKey("the key"), secret, request)
	if _, err := r.Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	snap := r.Snapshot()
	if err := c.Close(); err != nil { // printing reads without a lock
		t.Fatal(err)
	}
	book.value("option", secret)
	book.value("request option", request)
	book.value("bundle", everfresh.Options(secret, request))
	book.value("cache", c)
	book.value("handle", r)
	book.value("what holds both", struct {
		C *everfresh.Cache
		R *everfresh.Resource[[]byte]
	}{c, r})
	book.note("times of a snapshot", fmt.Sprint(snap.FetchedAt, snap.CheckedAt, snap.FreshUntil, snap.ServeUntil, snap.Err))
	book.expectNone(t, "formats")
}

// canaryField tells, as encoding/json/v2 does, which member of the document was wrong;
// that may be a key of a map.
type canaryField struct{}

func (*canaryField) UnmarshalJSON(b []byte) error {
	return &json.UnmarshalTypeError{Value: string(b), Type: reflect.TypeFor[int](), Offset: 1, Struct: string(b), Field: string(b)}
}

func TestCanaryInAFieldName(t *testing.T) {
	book := newCanaryBook()
	c := everfreshtest.NewCache(t, everfresh.WithErrSink(canarySink(book)), everfresh.WithHTTPClient(everfreshtest.Client(everfreshtest.Text(`"`+canary+`"`))))
	_, err := everfreshtest.Register(t, c, "https://a.test/", everfresh.JSON[canaryField]()).Get(t.Context())
	if err == nil {
		t.Fatal("no error")
	}
	book.err("Get", err)
	book.expectNone(t, "JSON")
}

// A record's texts show neither header values nor the body, whether it is formatted by
// its pointer or not.
func TestCanaryInRecord(t *testing.T) {
	rec := everfresh.Record{Key: "the key", Info: everfresh.Info{Version: 1}, Status: 200, Header: http.Header{"Etag": {canary}}, Body: []byte(canary)}
	t.Run("pointer", func(t *testing.T) {
		book := newCanaryBook()
		book.value("record", &rec)
		book.value("in a struct", struct{ R *everfresh.Record }{&rec})
		book.expectNone(t, "formats")
	})
	t.Run("value", func(t *testing.T) {
		book := newCanaryBook()
		book.value("record", rec)
		book.value("in a struct", struct{ R everfresh.Record }{rec})
		book.expectNone(t, "formats")
	})
}

// Errors that the package exports show their conditions, not what they hold.
func TestCanaryInErrorTypes(t *testing.T) {
	status := &everfresh.StatusError{Code: 500, Header: http.Header{"Set-Cookie": {canary}, canary: {canary}}}
	book := newCanaryBook()
	for _, err := range []error{
		status, &everfresh.RefreshError{Key: "the key", Op: "fetch", Err: status}, &everfresh.RateLimitError{},
		everfresh.Permanent(status), everfresh.RetryAfter(&everfresh.RefreshError{Err: status}, 1), errors.Join(status, status),
	} {
		book.err("error", err)
		book.value("in a struct", struct{ Err error }{err})
		book.value("in an event", everfresh.Event{Kind: "failed", Err: err})
		book.value("in a status", everfresh.Status{Err: err})
		book.value("in a snapshot", everfresh.Snapshot[int]{Err: err})
	}
	book.expectNone(t, "formats")
}

// A token that is the whole query has no name that could be shown, also when its
// base64 ends in padding.
func TestCanaryAsBareQuery(t *testing.T) {
	for _, token := range []string{
		canaryPieces[0], canaryPieces[0] + "=", canaryPieces[0] + "==", canaryPieces[0] + "%3D", "a=1&" + canaryPieces[0] + "=", canaryPieces[0] + "=&b=1",
	} {
		book := newCanaryBook()
		c := everfreshtest.NewCache(t, everfresh.WithErrSink(canarySink(book)), everfresh.WithObserver(canaryObserver(book)),
			everfresh.WithHTTPClient(everfreshtest.Client(everfreshtest.Status(500))))
		r := everfreshtest.Register(t, c, "https://a.test/?"+token, everfresh.Bytes())
		_, err := r.Get(t.Context())
		book.err("Get", err)
		book.value("Status", r.Status())
		book.expectNone(t, token)
	}
}

// A userinfo is refused, and not shown.
func TestCanaryInUserinfo(t *testing.T) {
	for _, raw := range []string{
		"https://" + canaryPieces[0] + "@a.test/", "https://user:" + canaryPieces[0] + "@a.test/", "https://user:" + url.QueryEscape(canary) + "@a.test/",
		"https://user:" + canary + "@a.test/", "http:user:" + canary + "@a.test", "//" + canary + "@a.test/", canary + ":" + canary + "@a.test/",
		"https:///" + canary + "@a.test/", "https://a.test:" + canary + "/", "https://user:%zz" + canary + "@a.test/", "https://user:" + canary + "\x00@a.test/",
	} {
		book := newCanaryBook()
		c := everfreshtest.NewCache(t)
		_, err := everfresh.Register(c, raw, everfresh.Bytes())
		if !errors.Is(err, everfresh.ErrNotAllowed) {
			t.Errorf("%s: error = %v, want ErrNotAllowed", raw, err)
		}
		book.err("Register", err)
		book.err("untyped Register", c.Register(raw))
		_, err = everfresh.Register(c, raw, everfresh.Bytes(), everfresh.WithKey("the key"))
		book.err("Register with a key", err)
		_, err = c.Get(t.Context(), raw)
		book.err("Get", err)
		book.err("Unregister", c.Unregister(raw))
		_, err = everfresh.Lookup[int](c, raw)
		book.err("Lookup", err)
		book.expectNone(t, raw)
	}
}

// An invalid option does not show its value.
func TestCanaryInOptions(t *testing.T) {
	book := newCanaryBook()
	for _, opt := range []everfresh.RegisterOption{
		everfresh.WithHeader(canary+" ", "x"), everfresh.WithHeader("X", canary+"\n"), everfresh.WithAllow(everfresh.AllowRegexp(canary + "(")),
		everfresh.WithAllow(everfresh.AllowHosts(canary)), everfresh.WithAllow(everfresh.AllowPrefix("ftp://" + canary)),
		everfresh.WithAllow(everfresh.AllowPrefix("https://" + canary + "@a.test/")),
	} {
		c := everfreshtest.NewCache(t)
		_, err := everfresh.Register(c, "https://a.test/", everfresh.Bytes(), opt)
		if err == nil {
			t.Error("an invalid option was taken")
		}
		book.err("Register", err)
	}
	book.expectNone(t, "invalid options")
}

// A proxy's URL holds its password, and its refusal is in its own words.
func TestCanaryInProxies(t *testing.T) {
	addr, _ := everfreshtest.Loopback(t, "127.0.0.1:0", everfreshtest.Once("HTTP/1.1 407 "+canary+"\r\nProxy-Authenticate: "+canary+"\r\nContent-Length: 29\r\n\r\n"+canary))
	closed, _ := everfreshtest.Loopback(t, "127.0.0.1:0", func(net.Conn) {})
	proxies := map[string]func(*http.Request) (*url.URL, error){
		"refuses": func(*http.Request) (*url.URL, error) { return url.Parse("http://user:" + canaryPieces[1] + "@" + addr) },
		"hangs up": func(*http.Request) (*url.URL, error) {
			return url.Parse("http://user:" + canaryPieces[1] + "@" + closed)
		},
		"socks": func(*http.Request) (*url.URL, error) {
			return url.Parse("socks5://user:" + canaryPieces[1] + "@" + addr)
		},
		"scheme": func(*http.Request) (*url.URL, error) { return url.Parse("x-" + canaryPieces[1] + "://" + addr) },
		"cannot parse": func(*http.Request) (*url.URL, error) {
			return nil, &url.Error{Op: "parse", URL: canary, Err: url.EscapeError(canary)}
		},
		"has no answer": func(*http.Request) (*url.URL, error) { return nil, fmt.Errorf("proxy of %s", canary) },
		"panics":        func(*http.Request) (*url.URL, error) { panic(canary) },
	}
	for name, proxy := range proxies {
		for _, scheme := range []string{"http", "https"} {
			book := newCanaryBook()
			c := everfreshtest.NewCache(t, everfresh.WithProxy(proxy), everfresh.WithErrSink(canarySink(book)), everfresh.WithObserver(canaryObserver(book)))
			r := everfreshtest.Register(t, c, scheme+"://a.test/?k="+canary, everfresh.Bytes(), everfresh.WithPrefetch(false))
			_, err := r.Get(t.Context())
			if err == nil {
				t.Errorf("%s, %s: no error", name, scheme)
			}
			book.err("Get", err)
			book.value("Status", r.Status())
			book.expectNone(t, name+", "+scheme)
		}
	}
}

// canaryStdLog passes on what is logged, but for the one line that net/http writes to the
// standard logger about bytes that come on an idle connection. It begins with those bytes,
// there is no option against it, and SECURITY.md says so.
type canaryStdLog struct {
	book *canaryBook
	seen atomic.Bool
}

func (w *canaryStdLog) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("Unsolicited response received on idle HTTP channel")) {
		w.seen.Store(true)
		return len(p), nil
	}
	return w.book.Write(p)
}

func TestCanaryInUnsolicitedAnswers(t *testing.T) {
	old := log.Writer()
	defer log.SetOutput(old)
	book := newCanaryBook()
	std := &canaryStdLog{book: book}
	log.SetOutput(std)
	synctest.Test(t, func(t *testing.T) {
		c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(canaryChatty(t)), everfresh.WithErrSink(canarySink(book)), everfresh.WithObserver(canaryObserver(book)))
		r := everfreshtest.Register(t, c, "http://a.test/", everfresh.Bytes())
		if v, err := r.Get(t.Context()); string(v) != "{}" || err != nil {
			t.Errorf("Get = %q, %v", v, err)
		}
		synctest.Wait()
	})
	book.expectNone(t, "standard log, sink and observer")
	if !std.seen.Load() {
		t.Error("net/http logs unsolicited answers no more: SECURITY.md can forget them")
	}
}

// canaryChatty returns a client whose origin sends more than it announced.
func canaryChatty(t *testing.T) *http.Client {
	var wg sync.WaitGroup
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		wg.Go(func() {
			defer server.Close()
			_, _ = server.Read(make([]byte, 4096))
			_, _ = io.WriteString(server, everfreshtest.Framed("{}")+canary)
		})
		return client, nil
	}}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		wg.Wait()
	})
	return &http.Client{Transport: tr}
}

const canaryPanicEnv = "EVERFRESH_TEST_CANARY_PANIC"

// A program that dies of one of our errors prints it, and every goroutine's stack.
func TestCanaryInAPanicsOutput(t *testing.T) {
	if how := os.Getenv(canaryPanicEnv); how != "" {
		canaryDie(t, how)
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	for _, how := range []string{"error", "status", "wrapped", "decoder"} {
		cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestCanaryInAPanicsOutput$")
		cmd.Env = append(os.Environ(), canaryPanicEnv+"="+how, "GOTRACEBACK=all")
		out, err := cmd.CombinedOutput()
		if !bytes.Contains(out, []byte("goroutine ")) || err == nil {
			t.Fatalf("%s: the program did not die: %v\n%s", how, err, out)
		}
		if found := canaryIn(string(out)); len(found) > 0 {
			t.Errorf("%s: %v in\n%s", how, found, out)
		}
	}
}

func canaryDie(t *testing.T, how string) {
	answer := everfreshtest.Status(500, "Set-Cookie", canary)
	if how == "decoder" {
		answer = everfreshtest.Text(canary)
	}
	c := everfresh.NewCache(t.Context(), everfresh.WithHTTPClient(everfreshtest.Client(answer)), everfresh.WithHeader("Authorization", canary))
	r := everfreshtest.Register(t, c, canaryWay{}.url(), everfresh.JSON[int]())
	_, err := r.Get(t.Context())
	go func() { // not in the test's own goroutine, where the testing package recovers
		switch how {
		case "status":
			panic(r.Status())
		case "wrapped":
			panic(fmt.Errorf("%w", err))
		default:
			panic(err)
		}
	}()
	select {}
}

// The tests above are worth what their search finds: each way in which a text can show
// the canary is found, and each place from which texts are collected is searched.
func TestCanarySearchFindsPlantedLeaks(t *testing.T) {
	for _, prefix := range []string{"", "x", "xy"} {
		for name, leak := range map[string]string{
			"raw":               canary,
			"lower case":        strings.ToLower(canary),
			"quoted":            fmt.Sprintf("%q", canary),
			"query":             url.QueryEscape(canary),
			"path":              url.PathEscape(canary),
			"escaped in full":   "%" + strings.Join(canaryBytes(canary, "%02x"), "%"),
			"base64":            base64.StdEncoding.EncodeToString([]byte(prefix + canary)),
			"base64 of a piece": base64.RawURLEncoding.EncodeToString([]byte(prefix + canaryPieces[1])),
			"basic auth":        base64.StdEncoding.EncodeToString([]byte(prefix + "user:" + canary)),
			"hex":               hex.EncodeToString([]byte(prefix + canary)),
			"upper hex":         strings.ToUpper(hex.EncodeToString([]byte(canary))),
			"bytes":             fmt.Sprintf("%v", []byte(prefix+canary)),
			"bytes, %#v":        fmt.Sprintf("%#v", []byte(canary)),
			"bytes, %x":         fmt.Sprintf("%x", canary),
			"bytes as JSON":     string(canaryOK(json.Marshal([]byte(prefix + canary)))),
			"cut":               canary[:12],
			"cut at both ends":  canary[7:21],
			"hex dump":          fmt.Sprintf("% x", []byte(canary)),
		} {
			if len(canaryIn("before "+leak+" after")) == 0 {
				t.Errorf("%s: not found in %s", name, leak)
			}
		}
	}
	if found := canaryIn("everfresh: fetch \"the key\": unexpected status 500"); len(found) > 0 {
		t.Errorf("found %v where there is none", found)
	}
	for name, leak := range map[string]error{
		"text":            errors.New(canary),
		"cause":           canaryHiddenError{cause: errors.New(canary)},
		"cause of many":   canaryHiddenError{cause: errors.Join(io.EOF, fmt.Errorf("%w", errors.New(canary)))},
		"Go syntax":       canaryHiddenError{Secret: canary},
		"bytes of fields": canaryHiddenError{Bytes: []byte(canary)},
	} {
		book := newCanaryBook()
		book.err("error", leak)
		if len(book.hits()) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
	asJSON := newCanaryJSONBook()
	asJSON.err("error", canaryExportsError{canary})
	if len(asJSON.hits()) == 0 {
		t.Error("JSON: not found")
	}
}

func canaryOK[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// canaryHiddenError has a harmless text.
type canaryHiddenError struct {
	Secret string
	Bytes  []byte
	cause  error
}

func (canaryHiddenError) Error() string   { return "nothing" }
func (e canaryHiddenError) Unwrap() error { return e.cause }

// canaryExportsError shows its field to JSON only.
type canaryExportsError struct{ Secret string }

func (canaryExportsError) Error() string    { return "nothing" }
func (canaryExportsError) GoString() string { return "nothing" }

// A decoder's own words are its own: they are passed on as they are, and with them a
// leak is planted in every place that a failure is told at.
func TestCanaryIsSearchedEverywhere(t *testing.T) {
	leaky := canaryCase{
		answers: []string{everfreshtest.Framed("x")},
		decode: func(context.Context, *http.Response) (canaryDoc, error) {
			return canaryDoc{}, errors.New(canary)
		},
	}
	found := make(map[string]bool)
	for _, way := range canaryWays {
		book := newCanaryBook()
		synctest.Test(t, func(t *testing.T) { leaky.run(t, book, way) })
		for _, hit := range book.hits() {
			place, _, _ := strings.Cut(hit, ":")
			found[place] = true
		}
	}
	for _, place := range []string{
		"log", "LogSink text", "LogSink JSON", "LogObserver text", "LogObserver JSON",
		"event %v", "event %+v", "event %#v", "event %q", "Status %s", "Status of All %s", // as %v and %+v, since a Status has a String
	} {
		if !found[place] {
			t.Errorf("the leak was not found in %s, but in %q", place, slices.Sorted(maps.Keys(found)))
		}
	}
	// One failure has one error, which counts where it was told first.
	for _, method := range []string{"Get", "Refresh", "Newer", "Cache.Get", "Cache.Refresh", "sink", "Snapshot.Err", "Status.Err"} {
		if !canaryReaches(t, leaky, method) {
			t.Errorf("the leak was not found in what %s returns", method)
		}
	}
}

// canaryReaches reports whether a method's errors are collected at all.
func canaryReaches(t *testing.T, c canaryCase, method string) bool {
	for _, way := range canaryWays {
		book := newCanaryBook()
		book.only = method
		synctest.Test(t, func(t *testing.T) { c.run(t, book, way) })
		if len(book.hits()) > 0 {
			return true
		}
	}
	return false
}
