package faults_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
)

// faultMaxBytes is the limit that a huge answer exceeds.
const faultMaxBytes = 16 << 10

// A faultValue is what a faultOrigin says of one resource. The body is one line of JSON
// and a filler. The decoder checks the line and leaves the filler to the readers: a cut
// that the engine does not notice reaches them.
type faultValue struct {
	faultHead
	filler []byte
}

type faultHead struct {
	ID   int64  `json:"id"`
	Seq  int64  `json:"seq"`
	Made int64  `json:"made"` // wall-clock nanoseconds
	Size int    `json:"size"`
	Sum  uint32 `json:"sum"`
}

func decodeFault(ctx context.Context, resp *http.Response) (faultValue, error) {
	var v faultValue
	data, err := everfresh.Bytes()(ctx, resp)
	if err != nil {
		return v, err
	}
	head, filler, found := bytes.Cut(data, []byte("\n"))
	dec := json.NewDecoder(bytes.NewReader(head))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v.faultHead); err != nil || !found || v.Size == 0 {
		return v, errors.New("not a value of this origin")
	}
	v.filler = filler
	return v, nil
}

// sum covers all of a value but itself.
func (v *faultValue) sum() uint32 {
	var fields [32]byte
	binary.BigEndian.PutUint64(fields[:], uint64(v.ID))
	binary.BigEndian.PutUint64(fields[8:], uint64(v.Seq))
	binary.BigEndian.PutUint64(fields[16:], uint64(v.Made))
	binary.BigEndian.PutUint64(fields[24:], uint64(v.Size))
	return crc32.Update(crc32.ChecksumIEEE(fields[:]), crc32.IEEETable, v.filler)
}

// check reports a value that is torn, or of another resource than id.
func (v *faultValue) check(id int64) error {
	switch {
	case v.ID != id:
		return fmt.Errorf("value of resource %d", v.ID)
	case len(v.filler) != v.Size:
		return fmt.Errorf("torn: %d of %d bytes", len(v.filler), v.Size)
	case v.sum() != v.Sum:
		return errors.New("torn: wrong checksum")
	default:
		return nil
	}
}

// A faultOrigin serves the resources /0, /1 and so on, and answers three requests in ten
// with a fault. What it would say without is a function of the time alone: the value of
// a resource has a number, which grows by one in each period.
type faultOrigin struct {
	start   time.Time
	period  func(id int64) time.Duration
	maxAge  func(id int64) time.Duration // to say so in the header; less than a second: nothing
	timeout time.Duration                // of the client

	mu    sync.Mutex
	rnd   *rand.Rand     // guarded by mu
	drawn map[string]int // answers by their kind; guarded by mu
	gzip  *gzip.Writer   // made once, as it is large; guarded by mu
}

func newFaultOrigin(seed uint64, timeout time.Duration) *faultOrigin {
	zw, err := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	if err != nil {
		panic(err)
	}
	return &faultOrigin{
		start: time.Now(), timeout: timeout, rnd: rand.New(rand.NewPCG(seed, 0)),
		drawn: make(map[string]int), gzip: zw,
	}
}

// pack returns data compressed.
func (o *faultOrigin) pack(data []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	var b bytes.Buffer
	o.gzip.Reset(&b)
	_, _ = o.gzip.Write(data)
	_ = o.gzip.Close()
	return b.Bytes()
}

// valueAt returns the value of a resource at a time.
func (o *faultOrigin) valueAt(id int64, at time.Time) (v faultValue, body []byte) {
	period := o.period(id)
	v.ID, v.Seq = id, int64(at.Sub(o.start)/period)
	v.Made = o.start.Add(time.Duration(v.Seq) * period).UnixNano()
	rnd := rand.New(rand.NewPCG(uint64(id), uint64(v.Seq)))
	v.Size = 64 + rnd.IntN(1500)
	for len(v.filler) < v.Size {
		v.filler = binary.BigEndian.AppendUint64(v.filler, rnd.Uint64())
	}
	v.filler = v.filler[:v.Size]
	v.Sum = v.sum()
	head, err := json.Marshal(v.faultHead)
	if err != nil {
		panic(err)
	}
	return v, append(append(head, '\n'), v.filler...)
}

// supersededAt returns when the origin began to say something newer.
func (o *faultOrigin) supersededAt(v faultValue) time.Time {
	return o.start.Add(time.Duration(v.Seq+1) * o.period(v.ID))
}

// ServeHTTP implements http.Handler.
func (o *faultOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(strings.TrimPrefix(r.URL.Path, "/"), 10, 64)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	v, body := o.valueAt(id, time.Now())
	if age := int64(o.maxAge(id) / time.Second); age > 0 {
		w.Header().Set("Cache-Control", "max-age="+strconv.FormatInt(age, 10))
	}
	f := fault{w: w, r: r, etag: `"` + strconv.FormatInt(v.Seq, 10) + `"`, body: body, timeout: o.timeout, pack: o.pack}
	o.draw(&f)(&f)
}

// draw returns how to answer.
func (o *faultOrigin) draw(f *fault) func(*fault) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f.rnd = rand.New(rand.NewPCG(o.rnd.Uint64(), 0))
	name, answer := "good", (*fault).good
	if o.rnd.IntN(10) < 3 {
		kind := faultKinds[o.rnd.IntN(len(faultKinds))]
		name, answer = kind.name, kind.answer
	}
	o.drawn[name]++
	return answer
}

// counts returns how many answers there were of each kind.
func (o *faultOrigin) counts() (all, faults int, byKind map[string]int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	byKind = make(map[string]int)
	for name, n := range o.drawn {
		byKind[name] = n
		all += n
	}
	return all, all - o.drawn["good"], byKind
}

// A fault answers one request.
type fault struct {
	w       http.ResponseWriter
	r       *http.Request
	rnd     *rand.Rand
	etag    string
	body    []byte // the good one
	timeout time.Duration
	pack    func([]byte) []byte
}

var faultKinds = []struct {
	name   string
	answer func(*fault)
}{
	{"500", func(f *fault) { f.status(http.StatusInternalServerError) }},
	{"502", func(f *fault) { f.status(http.StatusBadGateway) }},
	{"429", (*fault).tooMany},
	{"timeout", (*fault).hang},
	{"reset", (*fault).reset},
	{"truncated, length", func(f *fault) { f.length(len(f.body)); f.cut(f.body) }},
	{"truncated, chunked", func(f *fault) { f.cut(f.body) }},
	{"truncated, unframed", (*fault).unframed},
	{"truncated, gzip", (*fault).cutGzip},
	{"garbage", (*fault).garbage},
	{"empty", func(f *fault) { f.length(0) }},
	{"huge", (*fault).huge},
	{"slow", (*fault).slow},
}

func (f *fault) length(n int) { f.w.Header().Set("Content-Length", strconv.Itoa(n)) }

func (f *fault) write(p []byte) {
	_, _ = f.w.Write(p)
	_ = http.NewResponseController(f.w).Flush()
}

// good answers as an origin should.
func (f *fault) good() {
	f.w.Header().Set("ETag", f.etag)
	if f.r.Header.Get("If-None-Match") == f.etag {
		f.w.WriteHeader(http.StatusNotModified)
		return
	}
	switch f.rnd.IntN(3) {
	case 0:
		f.length(len(f.body))
		f.write(f.body)
	case 1:
		half := len(f.body) / 2
		f.write(f.body[:half])
		f.write(f.body[half:])
	default:
		f.w.Header().Set("Content-Encoding", "gzip")
		f.write(f.pack(f.body))
	}
}

// status answers with a failure that claims to be fresh for a day, and the newest there is.
func (f *fault) status(code int) {
	f.w.Header().Set("Cache-Control", "max-age=86400")
	f.w.Header().Set("ETag", `"failure"`)
	f.w.WriteHeader(code)
	f.write(f.body)
}

// faultPause is the longest that a 429 asks for, in seconds.
const faultPause = 3

func (f *fault) tooMany() {
	if n := f.rnd.IntN(faultPause + 1); n > 0 {
		f.w.Header().Set("Retry-After", strconv.Itoa(n))
	}
	f.status(http.StatusTooManyRequests)
}

// hang lets the client's timeout pass.
func (f *fault) hang() {
	everfreshtest.Sleep(f.r.Context(), 2*f.timeout)
	panic(http.ErrAbortHandler)
}

// reset breaks the connection before the answer, or in its head.
func (f *fault) reset() {
	head := ""
	if f.rnd.IntN(2) == 0 {
		head = "HTTP/1.1 200 OK\r\nContent-Le"
	}
	f.raw(head)
}

// unframed cuts a body whose end only the end of the connection marks.
func (f *fault) unframed() {
	f.raw("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + string(f.body[:f.middle(f.body)]))
}

// raw writes to the connection itself, and breaks it.
func (f *fault) raw(text string) {
	conn, _, err := http.NewResponseController(f.w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	if text != "" {
		_, _ = conn.Write([]byte(text))
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}

// middle returns where to cut a body: after its head, which would decode.
func (f *fault) middle(body []byte) int {
	head := bytes.IndexByte(f.body, '\n') + 1
	if head >= len(body) {
		head = 0
	}
	return head + f.rnd.IntN(len(body)-head)
}

// cut writes a part of body and breaks the connection.
func (f *fault) cut(body []byte) {
	f.w.Header().Set("ETag", f.etag)
	f.write(body[:f.middle(body)])
	panic(http.ErrAbortHandler)
}

func (f *fault) cutGzip() {
	f.w.Header().Set("Content-Encoding", "gzip")
	if packed := f.pack(f.body); f.rnd.IntN(2) == 0 {
		f.cut(packed)
	} else { // whole for HTTP, but not for gzip
		f.write(packed[:f.middle(packed)])
	}
}

func (f *fault) garbage() {
	f.w.Header().Set("ETag", f.etag)
	var body []byte
	switch f.rnd.IntN(4) {
	case 0:
		for range 1 + f.rnd.IntN(100) {
			body = binary.BigEndian.AppendUint64(body, f.rnd.Uint64())
		}
	case 1:
		body = []byte("<!DOCTYPE html>\n<title>Sign in to the network</title>\n")
	case 2:
		body = []byte(`{"error":"down for maintenance"}` + "\n")
	default:
		body = f.body[bytes.IndexByte(f.body, ','):]
	}
	f.length(len(body))
	f.write(body)
}

// huge answers with more than the limit. Its beginning would decode.
func (f *fault) huge() {
	f.w.Header().Set("ETag", f.etag)
	body := append(bytes.Clone(f.body), make([]byte, 3*faultMaxBytes)...)
	switch f.rnd.IntN(3) {
	case 0:
		f.length(len(body))
	case 1: // chunked
	default:
		f.w.Header().Set("Content-Encoding", "gzip")
		body = f.pack(body)
	}
	f.write(body)
}

// slow answers well but late, or in small pieces, or stops half way.
func (f *fault) slow() {
	ctx := f.r.Context()
	switch f.rnd.IntN(3) {
	case 0:
		everfreshtest.Sleep(ctx, f.timeout/2)
		f.good()
	case 1:
		f.length(len(f.body))
		f.w.Header().Set("ETag", f.etag)
		for n := len(f.body)/8 + 1; len(f.body) > 0 && everfreshtest.Sleep(ctx, f.timeout/16); {
			n = min(n, len(f.body))
			f.write(f.body[:n])
			f.body = f.body[n:]
		}
	default:
		f.length(len(f.body))
		f.write(f.body[:f.middle(f.body)])
		f.hang()
	}
}
