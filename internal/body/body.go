// Package body reads the body of an HTTP response into memory, with limits on its size,
// its time and its growth when decoded.
package body

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Errors that Read returns or wraps. No text contains bytes of the body or values of
// headers.
var (
	// ErrTooLarge says that the body exceeds Max, decoded or encoded, exceeds
	// Ratio, or is longer than its Content-Length.
	ErrTooLarge = errors.New("body too large")
	// ErrTooSlow says that the body stalled for Idle or fell below MinRate.
	ErrTooSlow = errors.New("body too slow")
	// ErrUnframed says that nothing marks the end of the body, so that a truncation
	// would not be noticed (RFC 9112, section 6.3, rule 8).
	ErrUnframed = errors.New("body without a marked end")
	// ErrEmpty says that the body has no bytes.
	ErrEmpty = errors.New("body empty")
	// ErrTruncated says that the body ended before its marked end (RFC 9112,
	// section 8). It wraps [io.ErrUnexpectedEOF].
	ErrTruncated = fmt.Errorf("body truncated: %w", io.ErrUnexpectedEOF)
	// ErrEncoding says that the content coding is not gzip or identity, or that
	// the gzip data is damaged.
	ErrEncoding = errors.New("bad body encoding")
)

var (
	errCoding  = fmt.Errorf("content coding other than gzip: %w", ErrEncoding)
	errCodings = fmt.Errorf("more than one content coding: %w", ErrEncoding)
	errRatio   = fmt.Errorf("decoded body out of proportion to the encoded: %w", ErrTooLarge)
	errEncoded = fmt.Errorf("encoded body out of proportion to the limit: %w", ErrTooLarge)
	errLonger  = fmt.Errorf("body longer than its Content-Length: %w", ErrTooLarge)
)

const (
	// believed is the largest Content-Length for which memory is allocated at once. The
	// memory for a longer body grows as its bytes arrive.
	believed = 16 << 20
	// emptyReads is how many reads in a row may return neither bytes nor an error.
	emptyReads = 100
)

// Limits are the limits of Read. A field that is zero or negative means no limit, except
// Max.
type Limits struct {
	// Max is the largest decoded body in bytes; zero admits only an empty body.
	// At most Max+1 decoded bytes are read. An encoded body is also limited to twice
	// Max plus 4 KiB before decoding, since gzip members may decode to nothing.
	Max int64
	// Ratio is the maximum number of decoded bytes per encoded byte. It is checked once
	// RatioAfter decoded bytes have been read, and only for bodies that Read decodes.
	Ratio      int
	RatioAfter int64
	// Idle is the longest wait for the next bytes.
	Idle time.Duration
	// MinRate is the minimum average of encoded bytes per second since Read began. It is
	// checked continuously after Idle, or after one second if Idle is zero.
	MinRate int64
	// AllowUnframed accepts an HTTP/1 body that ends where the connection ends.
	AllowUnframed bool
	// AllowEmpty accepts a body that has no bytes.
	AllowEmpty bool
}

// Read returns the decoded body of resp and closes resp.Body on every path.
// The caller owns the memory, which is never nil without an error, and at most a quarter
// and 512 bytes larger than the body.
//
// ctx is the context of the exchange and cancel ends it: when the body is too
// slow, cancel is called with [ErrTooSlow], before Read returns or just after,
// and must unblock resp.Body.Read. It is never called once Read has succeeded,
// and may be nil if Idle and MinRate are zero. A read that failed because ctx
// ended returns [context.Cause] of ctx.
//
// gzip is decoded here (RFC 9110, section 8.4), unless resp.Uncompressed says that the
// transport has done it. A response with ProtoMajor 0, which was not made by an HTTP
// transport, counts as framed. So do HTTP/2 and bodies that a transport has decoded,
// because the end of the gzip data marks the end of the body.
func Read(ctx context.Context, cancel context.CancelCauseFunc, resp *http.Response, l Limits) ([]byte, error) {
	if resp.Body == nil {
		return l.checkEmpty([]byte{})
	}
	defer resp.Body.Close()
	if resp.Body == http.NoBody {
		return l.checkEmpty([]byte{})
	}
	p, err := l.plan(resp)
	if err != nil {
		return nil, err
	}
	r := &reader{plan: p, limits: l, wire: wire{body: resp.Body, max: p.encodedMax}}
	r.wire.watch.start(cancel, l)
	defer r.wire.watch.stop() // if the body panics; otherwise it has been stopped below
	data, err := r.decode()
	if !r.wire.watch.stop() {
		return nil, ErrTooSlow
	}
	if err != nil {
		return nil, r.explain(ctx, err)
	}
	return l.checkEmpty(data)
}

func (l Limits) checkEmpty(data []byte) ([]byte, error) {
	if len(data) == 0 && !l.AllowEmpty {
		return nil, ErrEmpty
	}
	return data, nil
}

// plan is what the header of a response says about its body.
type plan struct {
	gzip       bool
	length     int64 // of the decoded body; 0 if unknown
	max        int64 // of the decoded body
	encodedMax int64
}

// plan returns the plan for a response, or an error if its header alone shows that the
// body is unacceptable.
//
// A Content-Length of 0 means nothing: a transport gives such a response http.NoBody, and
// a response made by hand often leaves the field out.
func (l Limits) plan(resp *http.Response) (plan, error) {
	p := plan{max: max(l.Max, 0), encodedMax: math.MaxInt64}
	// The transport has decoded the body; the end of the gzip data marks its end.
	if resp.Uncompressed {
		return p, nil
	}
	// Reject a body whose truncation would not be noticed.
	if unframed(resp) && !l.AllowUnframed {
		return p, ErrUnframed
	}
	var err error
	if p.gzip, err = gzipped(resp.Header); err != nil {
		return p, err
	}

	// Without a content coding, the announced length is that of the result.
	length := max(resp.ContentLength, 0)
	if !p.gzip {
		p.length = length
		if length > p.max {
			return p, ErrTooLarge
		}
		return p, nil
	}

	// With one, it can only be checked against the limit for encoded bodies.
	if p.max < math.MaxInt64/4 {
		p.encodedMax = 2*p.max + 4<<10
	}
	if length > p.encodedMax {
		return p, errEncoded
	}
	return p, nil
}

// unframed reports whether only the end of the connection marks the end of the body.
// net/http sets Close on every such response; one that was made in memory, as
// httptest's recorder does, has neither a length nor a connection that can be cut.
func unframed(resp *http.Response) bool {
	return resp.ProtoMajor == 1 && resp.Close && resp.ContentLength < 0 && !slices.ContainsFunc(resp.TransferEncoding,
		func(coding string) bool { return strings.EqualFold(coding, "chunked") })
}

// gzipped reports whether the only content coding of a response is gzip.
func gzipped(h http.Header) (bool, error) {
	codings := h["Content-Encoding"]
	if len(codings) == 0 {
		return false, nil
	}
	var only string
	for coding := range strings.SplitSeq(strings.Join(codings, ","), ",") {
		coding = strings.ToLower(strings.Trim(coding, " \t"))
		if only != "" && coding != "" {
			return false, errCodings
		}
		only += coding
	}
	switch only {
	case "gzip", "x-gzip":
		return true, nil
	case "", "identity":
		return false, nil
	}
	return false, errCoding
}

// reader is one call of Read. Its parts share one allocation.
type reader struct {
	plan   plan
	limits Limits
	wire   wire
	buf    buffer
}

func (r *reader) decode() ([]byte, error) {
	r.buf.init(r.plan.length, r.plan.max)
	if r.plan.gzip {
		m := openMembers(&r.wire)
		defer m.release()
		return r.collect(m)
	}
	return r.collect(&r.wire)
}

// collect reads src to its end into r.buf.
func (r *reader) collect(src io.Reader) ([]byte, error) {
	for empty := 0; empty < emptyReads; empty++ {
		n, err := src.Read(r.buf.room())
		if n > 0 {
			empty = -1
			if full := r.add(n); full != nil {
				return nil, full
			}
		}
		if err == io.EOF {
			return r.finish()
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, io.ErrNoProgress
}

// add adds the n bytes that src has put into r.buf.room.
func (r *reader) add(n int) error {
	if !r.buf.add(n) {
		return r.over()
	}
	if r.plan.gzip && r.swollen() {
		return errRatio
	}
	return nil
}

// over returns the error for the limit that the next byte exceeds.
func (r *reader) over() error {
	if r.plan.length > 0 {
		return errLonger
	}
	return ErrTooLarge
}

func (r *reader) swollen() bool {
	ratio := int64(r.limits.Ratio)
	return ratio > 0 && r.buf.total >= r.limits.RatioAfter && r.buf.total/ratio > r.wire.count
}

func (r *reader) finish() ([]byte, error) {
	if r.buf.total < r.plan.length {
		return nil, ErrTruncated
	}
	return r.buf.bytes(), nil
}
