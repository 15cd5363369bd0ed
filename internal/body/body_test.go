package body_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/everfresh-go/everfresh/internal/body"
)

// source is a body that counts what is done to it.
type source struct {
	io.Reader
	read   int64
	closed int
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.read += int64(n)
	return n, err
}

func (s *source) Close() error {
	s.closed++
	return nil
}

// response is one of HTTP/2 whose length the head does not tell.
func response(src io.Reader, change ...func(*http.Response)) *http.Response {
	resp := &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 2, ContentLength: -1,
		Header: http.Header{}, Body: &source{Reader: src},
	}
	for _, f := range change {
		f(resp)
	}
	return resp
}

func length(n int64) func(*http.Response) {
	return func(resp *http.Response) { resp.ContentLength = n }
}

func coded(values ...string) func(*http.Response) {
	return func(resp *http.Response) { resp.Header["Content-Encoding"] = values }
}

// closing is what net/http sets when only the end of the connection ends the body.
func closing(resp *http.Response) { resp.Close = true }

func proto(major int, transfer ...string) func(*http.Response) {
	return func(resp *http.Response) { resp.ProtoMajor, resp.TransferEncoding = major, transfer }
}

func uncompressed(resp *http.Response) { resp.Uncompressed = true }

func zip(tb testing.TB, plain string) string {
	tb.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Name = canary
	if _, err := io.WriteString(w, plain); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

// canary stands where the origin may put anything; no error may show it.
const canary = "canary"

// read calls body.Read and checks what holds for every call.
func read(tb testing.TB, resp *http.Response, l body.Limits) ([]byte, error) {
	tb.Helper()
	ctx, cancel := context.WithCancelCause(tb.Context())
	defer cancel(nil)
	data, err := body.Read(ctx, cancel, resp, l)
	if src, ok := resp.Body.(*source); ok && src.closed != 1 {
		tb.Errorf("body closed %d times, want once", src.closed)
	}
	check(tb, data, err, l)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, body.ErrTooSlow) {
		tb.Errorf("the exchange was ended with %v, though Read returned %v", cause, err)
	}
	return data, err
}

func check(tb testing.TB, data []byte, err error, l body.Limits) {
	tb.Helper()
	if (data == nil) != (err != nil) {
		tb.Errorf("Read returned nil=%t with error %v", data == nil, err)
	}
	if int64(len(data)) > max(l.Max, 0) {
		tb.Errorf("Read returned %d bytes, above Max %d", len(data), l.Max)
	}
	if most := len(data) + len(data)/4 + 512; cap(data) > most {
		tb.Errorf("%d bytes in memory of %d, want at most %d", len(data), cap(data), most)
	}
	if err != nil && strings.Contains(err.Error(), canary) {
		tb.Errorf("the error shows what the origin sent: %v", err)
	}
}

func TestReadAccepts(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 1000)
	type change = func(*http.Response)
	tests := map[string]struct {
		wire, want string
		head       []change
		limits     body.Limits
	}{
		"known length":              {wire: long, want: long, head: []change{length(16000), proto(1)}},
		"known length, all of Max":  {wire: "12345", want: "12345", head: []change{length(5)}, limits: body.Limits{Max: 5}},
		"known length, huge Max":    {wire: "12345", want: "12345", head: []change{length(5)}, limits: body.Limits{Max: 1<<63 - 1}},
		"unknown length":            {wire: long, want: long},
		"all of Max":                {wire: long, want: long, limits: body.Limits{Max: 16000}},
		"chunked":                   {wire: long, want: long, head: []change{proto(1, "Chunked")}},
		"unframed, in memory":       {wire: long, want: long, head: []change{proto(1)}, limits: body.Limits{Max: 1 << 20}},
		"unframed, allowed":         {wire: long, want: long, head: []change{proto(1), closing}, limits: body.Limits{Max: 1 << 20, AllowUnframed: true}},
		"made by hand":              {wire: long, want: long, head: []change{proto(0)}},
		"made by hand, no length":   {wire: long, want: long, head: []change{proto(0), length(0)}},
		"identity":                  {wire: "a", want: "a", head: []change{coded("identity")}},
		"no coding":                 {wire: "a", want: "a", head: []change{coded("")}},
		"gzip":                      {wire: zip(t, long), want: long, head: []change{coded("gzip")}},
		"gzip, all of Max":          {wire: zip(t, long), want: long, head: []change{coded("gzip")}, limits: body.Limits{Max: 16000}},
		"gzip, huge Max":            {wire: strings.Repeat(zip(t, "a"), 200), want: strings.Repeat("a", 200), head: []change{coded("gzip")}, limits: body.Limits{Max: 1<<63 - 1}},
		"gzip, spelled differently": {wire: zip(t, long), want: long, head: []change{coded(" X-GZip\t,")}},
		"gzip, members":             {wire: zip(t, "a") + zip(t, "") + zip(t, "b"), want: "ab", head: []change{coded("gzip")}},
		"gzip, length of encoded":   {wire: zip(t, long), want: long, head: []change{coded("gzip"), length(int64(len(zip(t, long))))}},
		"gzip, ratio not yet due":   {wire: zip(t, long), want: long, head: []change{coded("gzip")}, limits: body.Limits{Max: 1 << 20, Ratio: 1, RatioAfter: 16001}},
		"decoded by the transport":  {wire: long, want: long, head: []change{proto(1), coded("gzip"), uncompressed}},
		"ratio of what is as it is": {wire: long, want: long, limits: body.Limits{Max: 1 << 20, Ratio: 1}},
		"empty":                     {limits: body.Limits{AllowEmpty: true}},
		"empty, length 0":           {head: []change{length(0)}, limits: body.Limits{AllowEmpty: true}},
		"empty, gzip":               {wire: zip(t, ""), head: []change{coded("gzip")}, limits: body.Limits{AllowEmpty: true}},
		"empty, gzip, no member":    {head: []change{coded("gzip")}, limits: body.Limits{AllowEmpty: true}},
		"empty, no body": {
			head:   []change{func(resp *http.Response) { resp.Body = nil }, proto(1)},
			limits: body.Limits{AllowEmpty: true},
		},
		"empty, http.NoBody": {
			head:   []change{func(resp *http.Response) { resp.Body = http.NoBody }, length(99)},
			limits: body.Limits{AllowEmpty: true},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.limits == (body.Limits{}) {
				tt.limits.Max = 1 << 20
			}
			for way, wrap := range pieces {
				data, err := read(t, response(wrap(strings.NewReader(tt.wire)), tt.head...), tt.limits)
				if err != nil || string(data) != tt.want {
					t.Errorf("%s: %d bytes, error %v; want %d bytes", way, len(data), err, len(tt.want))
				}
			}
		})
	}
}

// pieces are the ways in which the same bytes may come.
var pieces = map[string]func(io.Reader) io.Reader{
	"at once":      func(r io.Reader) io.Reader { return r },
	"byte by byte": iotest.OneByteReader,
	"with EOF":     iotest.DataErrReader,
	"in halves":    iotest.HalfReader,
}

func TestReadRefuses(t *testing.T) {
	bomb := zip(t, strings.Repeat("\x00", 4<<20))
	damaged := []byte(zip(t, canary))
	damaged[len(damaged)-8] ^= 1
	corrupt := []byte(zip(t, canary))
	corrupt[10+len(canary)+1] = 0xff
	broken := errors.New("broken")
	type change = func(*http.Response)
	tests := map[string]struct {
		wire   io.Reader
		head   []change
		limits body.Limits
		want   error
		read   int64 // most bytes that may be taken from the body; 0 is none
	}{
		"unframed":                {wire: strings.NewReader("a"), head: []change{proto(1), closing}, want: body.ErrUnframed},
		"unframed, gzip":          {wire: strings.NewReader("a"), head: []change{proto(1), coded("gzip"), closing}, want: body.ErrUnframed},
		"length above Max":        {wire: strings.NewReader("123456"), head: []change{length(6)}, want: body.ErrTooLarge},
		"absurd length":           {wire: strings.NewReader("1"), head: []change{length(1<<63 - 1)}, want: body.ErrTooLarge},
		"absurd length believed":  {wire: strings.NewReader("1"), head: []change{length(1 << 62)}, limits: body.Limits{Max: 1<<63 - 1}, want: body.ErrTruncated, read: 1},
		"encoded length above":    {wire: strings.NewReader("1"), head: []change{coded("gzip"), length(2*5 + 4097)}, want: body.ErrTooLarge},
		"one above Max":           {wire: strings.NewReader("123456789"), want: body.ErrTooLarge, read: 6},
		"one above a Max of zero": {wire: strings.NewReader("123"), limits: body.Limits{AllowEmpty: true}, want: body.ErrTooLarge, read: 1},
		"negative Max":            {wire: strings.NewReader("123"), limits: body.Limits{Max: -7, AllowEmpty: true}, want: body.ErrTooLarge, read: 1},
		"endless":                 {wire: endless{}, limits: body.Limits{Max: 100_000}, want: body.ErrTooLarge, read: 100_001},
		"longer than its length":  {wire: strings.NewReader("1234"), head: []change{length(3)}, want: body.ErrTooLarge, read: 4},
		"shorter than its length": {wire: strings.NewReader("12"), head: []change{length(3)}, want: body.ErrTruncated, read: 2},
		"cut":                     {wire: cut("123", io.ErrUnexpectedEOF), want: body.ErrTruncated, read: 3},
		"broken":                  {wire: cut("123", broken), want: broken, read: 3},
		"quoting the origin":      {wire: cut("123", textproto.ProtocolError(canary)), read: 3},
		"nothing comes":           {wire: stuck{}, want: io.ErrNoProgress},
		"foreign context":         {wire: cut("123", context.Canceled), want: context.Canceled, read: 3},
		"empty":                   {wire: strings.NewReader(""), want: body.ErrEmpty},
		"empty, no body":          {head: []change{func(resp *http.Response) { resp.Body = nil }}, want: body.ErrEmpty},
		"empty, http.NoBody":      {head: []change{func(resp *http.Response) { resp.Body = http.NoBody }}, want: body.ErrEmpty},
		"empty, gzip":             {wire: strings.NewReader(zip(t, "")), head: []change{coded("gzip")}, want: body.ErrEmpty, read: 99},
		"empty, gzip, no member":  {wire: strings.NewReader(""), head: []change{coded("gzip")}, want: body.ErrEmpty},
		"other coding":            {wire: strings.NewReader("a"), head: []change{coded(canary)}, want: body.ErrEncoding},
		"deflate":                 {wire: strings.NewReader("a"), head: []change{coded("deflate")}, want: body.ErrEncoding},
		"two codings":             {wire: strings.NewReader("a"), head: []change{coded("gzip, gzip")}, want: body.ErrEncoding},
		"two codings, two fields": {wire: strings.NewReader("a"), head: []change{coded("gzip", "identity")}, want: body.ErrEncoding},
		"not gzip":                {wire: strings.NewReader(canary), head: []change{coded("gzip")}, want: body.ErrEncoding, read: 99},
		"gzip, wrong checksum":    {wire: bytes.NewReader(damaged), head: []change{coded("gzip")}, limits: body.Limits{Max: 99}, want: body.ErrEncoding, read: 99},
		"gzip, corrupt":           {wire: bytes.NewReader(corrupt), head: []change{coded("gzip")}, want: body.ErrEncoding, read: 99},
		"gzip, then a byte":       {wire: strings.NewReader(zip(t, "a") + "\n"), head: []change{coded("gzip")}, want: body.ErrEncoding, read: 99},
		"gzip, then text":         {wire: strings.NewReader(zip(t, "a") + strings.Repeat(canary, 9)), head: []change{coded("gzip")}, want: body.ErrEncoding, read: 999},
		"gzip, then zeros":        {wire: strings.NewReader(zip(t, "a") + "\x00\x00"), head: []change{coded("gzip")}, want: body.ErrEncoding, read: 99},
		"gzip, then a cut member": {wire: strings.NewReader(zip(t, "a") + zip(t, "b")[:1]), head: []change{coded("gzip")}, want: body.ErrTruncated, read: 99},
		"gzip, broken":            {wire: cut(zip(t, "1234")[:20], broken), head: []change{coded("gzip")}, want: broken, read: 99},
		"gzip, broken after":      {wire: cut(zip(t, "1234"), broken), head: []change{coded("gzip")}, want: broken, read: 99},
		"gzip, broken, 1 byte":    {wire: cut("\x1f", broken), head: []change{coded("gzip")}, want: broken, read: 1},
		"gzip, one above Max":     {wire: strings.NewReader(zip(t, "123456")), head: []change{coded("gzip")}, want: body.ErrTooLarge, read: 99},
		"gzip bomb, Max":          {wire: strings.NewReader(bomb), head: []change{coded("gzip")}, limits: body.Limits{Max: 1 << 20}, want: body.ErrTooLarge, read: 4096},
		"gzip bomb, ratio":        {wire: strings.NewReader(bomb), head: []change{coded("gzip")}, limits: body.Limits{Max: 8 << 20, Ratio: 200, RatioAfter: 1 << 20}, want: body.ErrTooLarge, read: 3 * 4096},
		"gzip, empty members":     {wire: &forever{part: zip(t, "")}, head: []change{coded("gzip")}, limits: body.Limits{Max: 100_000}, want: body.ErrTooLarge, read: 200_000 + 8192},
		"damaged, by transport":   {wire: cut("123", gzip.ErrChecksum), head: []change{uncompressed}, want: body.ErrEncoding, read: 3},
		"too large, by transport": {wire: endless{}, head: []change{uncompressed}, want: body.ErrTooLarge, read: 6},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.limits == (body.Limits{}) {
				tt.limits.Max = 5
			}
			resp := response(tt.wire, tt.head...)
			_, err := read(t, resp, tt.limits)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if src, ok := resp.Body.(*source); ok && src.read > tt.read {
				t.Errorf("%d bytes taken from the body, want at most %d", src.read, tt.read)
			}
		})
	}
}

// TestReadCutAnywhere cuts a gzip stream of two members at every byte. Between
// the members lies the one place where nothing can tell.
func TestReadCutAnywhere(t *testing.T) {
	first := zip(t, "first")
	whole := first + zip(t, "second")
	for n := range len(whole) {
		data, err := read(t, response(strings.NewReader(whole[:n]), coded("gzip")), body.Limits{Max: 99})
		switch n {
		case 0:
			if !errors.Is(err, body.ErrEmpty) {
				t.Errorf("cut at 0: %v, want ErrEmpty", err)
			}
		case len(first):
			if err != nil || string(data) != "first" {
				t.Errorf("cut at %d: %q, %v", n, data, err)
			}
		default:
			if !errors.Is(err, body.ErrTruncated) || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("cut at %d: %v, want ErrTruncated", n, err)
			}
		}
	}
}

// TestReadCapacity reads bodies of many sizes; read checks their capacity.
func TestReadCapacity(t *testing.T) {
	for size := 1; size < 100_000; size += 1 + size/7 {
		want := strings.Repeat("x", size)
		data, err := read(t, response(strings.NewReader(want)), body.Limits{Max: 1 << 20})
		if err != nil || string(data) != want {
			t.Fatalf("size %d: %d bytes, %v", size, len(data), err)
		}
		data, err = read(t, response(strings.NewReader(want), length(int64(size))), body.Limits{Max: 1 << 20})
		if err != nil || string(data) != want || cap(data) != size {
			t.Fatalf("known size %d: %d bytes in %d, %v", size, len(data), cap(data), err)
		}
	}
}

// TestReadLongKnownLength exceeds the length up to which memory is allocated at
// once.
func TestReadLongKnownLength(t *testing.T) {
	const size = 17 << 20
	resp := response(io.LimitReader(endless{}, size), length(size))
	data, err := read(t, resp, body.Limits{Max: size})
	if err != nil || len(data) != size {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	resp = response(endless{}, length(size))
	if _, err = read(t, resp, body.Limits{Max: 2 * size}); !errors.Is(err, body.ErrTooLarge) {
		t.Errorf("longer than its length: %v", err)
	}
}

// TestReadMemory measures all memory that one Read asks for, live or not.
func TestReadMemory(t *testing.T) {
	const most = 2 << 20
	bomb := zip(t, strings.Repeat("\x00", 16*most))
	whole := zip(t, strings.Repeat("\x00", most))
	tests := map[string]struct {
		resp *http.Response
		want error
	}{
		"bomb":             {response(strings.NewReader(bomb), coded("gzip")), body.ErrTooLarge},
		"gzip, all of Max": {response(strings.NewReader(whole), coded("gzip")), nil},
		"endless":          {response(endless{}), body.ErrTooLarge},
		"all of Max":       {response(io.LimitReader(endless{}, most)), nil},
		"known length":     {response(io.LimitReader(endless{}, most), length(most)), nil},
		"claimed length":   {response(strings.NewReader("a"), length(most)), body.ErrTruncated},
		"empty members":    {response(&forever{part: zip(t, "")}, coded("gzip")), body.ErrTooLarge},
		"extra fields":     {response(&forever{part: extra(t)}, coded("gzip")), body.ErrTooLarge},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := allocated(t, tt.resp, body.Limits{Max: most, Idle: time.Hour, MinRate: 1})
			if !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if got > 2*most+1<<20 {
				t.Errorf("%d bytes allocated, want at most twice Max and 1 MiB", got)
			}
		})
	}
}

// TestReadMemoryBelowMax has bodies of unknown length that are far below Max.
func TestReadMemoryBelowMax(t *testing.T) {
	for size := uint64(1 << 20); size < 4<<20; size += 300_000 {
		resp := response(io.LimitReader(endless{}, int64(size)))
		got, err := allocated(t, resp, body.Limits{Max: 1 << 30})
		if most := size*5/2 + 64<<10; err != nil || got > most {
			t.Errorf("%d bytes allocated for %d, want at most %d; error %v", got, size, most, err)
		}
	}
}

// allocated returns how many bytes of memory one Read has asked for.
func allocated(tb testing.TB, resp *http.Response, l body.Limits) (uint64, error) {
	tb.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := read(tb, resp, l)
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, err
}

// TestReadAgain decodes good and bad streams in turn, in many goroutines, since
// decoders pass from one body to the next.
func TestReadAgain(t *testing.T) {
	var wg sync.WaitGroup
	for id := range 8 {
		wg.Go(func() {
			for n := range 50 {
				want := strings.Repeat(strconv.Itoa(id), 100*n+1)
				gz := zip(t, want)
				data, err := read(t, response(strings.NewReader(gz), coded("gzip")), body.Limits{Max: 1 << 20})
				if err != nil || string(data) != want {
					t.Errorf("%d bytes, %v; want %d bytes", len(data), err, len(want))
				}
				bad := gz[:len(gz)*n/50]
				if _, err = read(t, response(strings.NewReader(bad), coded("gzip")), body.Limits{Max: 1 << 20}); err == nil {
					t.Error("no error of a stream that was cut")
				}
			}
		})
	}
	wg.Wait()
}

// extra is an empty gzip member with the largest extra field, which
// gzip.Reader keeps.
func extra(tb testing.TB) string {
	tb.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Extra = make([]byte, 65535)
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

func TestReadAllocs(t *testing.T) {
	payload := strings.Repeat("x", 1600)
	plain, watched := body.Limits{Max: 1 << 20}, body.Limits{Max: 1 << 20, Idle: time.Minute, MinRate: 1}
	tests := map[string]struct {
		wire, coding string
		length       int64
		limits       body.Limits
		most         float64
	}{
		"known":            {payload, "", 1600, plain, 2},
		"unknown":          {payload, "", -1, plain, 2},
		"known, watched":   {payload, "", 1600, watched, 4},
		"unknown, watched": {payload, "", -1, watched, 4},
		"gzip, watched":    {zip(t, payload), "gzip", -1, watched, 9}, // 5, and more where the race detector empties the pool
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			src := strings.NewReader(tt.wire)
			resp := response(src, length(tt.length), coded(tt.coding))
			got := testing.AllocsPerRun(100, func() {
				src.Reset(tt.wire)
				if _, err := body.Read(ctx, cancel, resp, tt.limits); err != nil {
					t.Fatal(err)
				}
			})
			if got > tt.most {
				t.Errorf("%v allocations, want at most %v", got, tt.most)
			}
		})
	}
}

// endless never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// stuck yields neither bytes nor an error.
type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// forever repeats part.
type forever struct {
	part string
	at   int
}

func (f *forever) Read(p []byte) (int, error) {
	n := copy(p, f.part[f.at:])
	f.at = (f.at + n) % len(f.part)
	return n, nil
}

// cut yields s, then err once, and panics if it is read again.
func cut(s string, err error) io.Reader {
	return io.MultiReader(strings.NewReader(s), &once{err})
}

type once struct{ err error }

func (o *once) Read([]byte) (int, error) {
	err := o.err
	if err == nil {
		panic("read after an error")
	}
	o.err = nil
	return 0, err
}
