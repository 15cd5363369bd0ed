package everfresh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/everfresh-go/everfresh/internal/body"
	"github.com/everfresh-go/everfresh/internal/weburl"
)

// An attempt does the work of one stage of a flight: it builds the request, fetches, or
// decodes. It has a copy of what it needs of its entry, as the entry was when the stage
// began, and its result is out. It takes no lock and changes nothing of the entry.
//
// The context of the callbacks holds the attempt, so that packages of this module can speak
// with the refresh; see package refreshctx.
type attempt struct {
	hopPolicy
	key      string // as the entry has it
	host     string // the origin of the registered URL
	source   *source
	info     *valueInfo // nil before the first value
	current  any        // the value that is served, for holder.touch; nil if none
	maker    maker
	refetch  bool // unconditionally, and decode even the same bytes
	failures int  // in a row before this one
	now      clock
	// avoidReuse makes the next exchanges with an origin use new connections.
	avoidReuse func(origin string)

	ctx     context.Context    //nolint:containedctx // Lives as long as the stage, which is one function call.
	release context.CancelFunc // must be called when the stage ends
	slow    atomic.Bool        // the body's watchdog called release
	pace    time.Duration      // the delay after an error that does not say when to try again; 0: the back-off
	at      time.Time          // when the answer was received; set before the decoder runs

	req  *http.Request  // what build made; nil: GET of the registered URL
	resp *http.Response // what fetch brought for decode
	out  outcome
}

// start presets the outcome for a callback that never returns.
func (a *attempt) start(op string) {
	a.out.op, a.out.sent, a.out.err = op, a.now.wall(), errCallbackEnded
}

// guard runs one step of the attempt and turns a panic into its error. If a callback ends
// the goroutine, the outcome is what start preset.
func (a *attempt) guard(step func() error) {
	a.out.err = errCallbackEnded
	defer func() {
		if v := recover(); v != nil {
			a.out.err = recovered(v)
		}
	}()
	a.out.err = step()
}

// build has the user's function make the request.
func (a *attempt) build() {
	a.start("request")
	a.out.received = a.out.sent
	a.guard(func() error {
		req, err := a.source.cfg.request(a.ctx, a.maker.snapshotAny())
		if err == nil && req == nil {
			return errors.New("the request function returned no request")
		}
		if err != nil {
			return redactForeign(err)
		}
		a.req = req
		return a.permit(req.URL)
	})
}

// fetch sends the request and reads the answer, so that decode has only the value to make.
func (a *attempt) fetch() {
	a.start("fetch")
	a.guard(a.exchange)
}

func (a *attempt) exchange() error {
	// Send the request.
	req, err := a.request()
	if err != nil {
		return err
	}
	resp, err := a.source.fetcher.Fetch(req)
	if err != nil {
		return a.cause(err)
	}
	if resp == nil {
		return errors.New("the fetcher returned neither response nor error")
	}
	out := &a.out
	out.receive(a.now())
	out.code, out.header = resp.StatusCode, resp.Header
	// Find out what the answer says about the value.
	switch {
	case out.code == http.StatusNotModified && a.conditional():
		a.drain(resp)
		out.same, out.notModified, out.expiresAt = true, true, wallTime(a.info.expiresAt)
		return out.checkExpiry()
	case out.code == http.StatusOK, out.code == http.StatusNonAuthoritativeInfo:
		if resp.Request == nil {
			resp.Request = req
		}
		return a.read(resp)
	default:
		a.drain(resp)
		return &StatusError{Code: out.code, Header: resp.Header}
	}
}

// read reads the body of a good response and compares it with the last one.
func (a *attempt) read(resp *http.Response) error {
	a.out.op = "read"
	data, err := body.Read(a.ctx, a.tooSlow, resp, a.bodyLimits())
	if err != nil {
		a.distrustConn(err)
		return a.cause(err)
	}
	a.out.body, a.out.hash = data, bodyHash(data)
	equal := a.info != nil && a.info.hash == a.out.hash && a.info.size == sizeOf(data)
	a.out.same = equal && !a.refetch
	a.resp = resp
	return nil
}

// needsDecoding reports whether the answer has a body from which a value must be made. Equal
// bytes are the value that is served already, unless the value has an expiry of its own,
// which the decoder may know better now.
func (a *attempt) needsDecoding() bool {
	if a.out.err != nil || a.resp == nil {
		return false
	}
	return !a.out.same || a.current == nil || a.info.expiresAt != 0
}

// decode makes the value of the body.
func (a *attempt) decode() {
	a.out.op = "decode"
	a.at = a.out.received
	a.guard(func() error {
		v, err := a.maker.decodeAny(a.ctx, a.source, memoryResponse(a.resp, a.out.body))
		if err != nil {
			return redactForeign(err)
		}
		a.take(v)
		return a.out.checkExpiry()
	})
}

// take takes a decoded value and its expiry. Equal bytes do not extend the expiry, and
// leave the value in place that they were decoded to before.
func (a *attempt) take(v any) {
	out := &a.out
	out.value, out.replace = v, true
	if withExpiry, ok := v.(interface{ ExpiresAt() time.Time }); ok {
		out.expiresAt = withExpiry.ExpiresAt().Round(0)
	}
	if !out.same || a.info.expiresAt == 0 {
		return
	}
	out.replace = a.current == nil
	if old := wallTime(a.info.expiresAt); out.expiresAt.IsZero() || old.Before(out.expiresAt) {
		out.expiresAt = old
	}
}

// decodeRecord makes the value of a stored record.
func (a *attempt) decodeRecord(rec *Record) (v any, err error) {
	a.at = rec.FetchedAt
	a.guard(func() error {
		req, err := a.request()
		if err != nil {
			return err
		}
		resp := memoryResponse(&http.Response{
			Status: fmt.Sprintf("%d %s", rec.Status, http.StatusText(rec.Status)), StatusCode: rec.Status,
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: rec.Header.Clone(), Request: req,
		}, rec.Body)
		v, err = a.maker.decodeAny(a.ctx, a.source, resp)
		return redactForeign(err)
	})
	return v, a.out.err
}

// finish completes the outcome of a stage after its callbacks: an error says when to try
// again if a fetcher has asked for that, and when it happened.
func (a *attempt) finish() {
	out := &a.out
	if out.err == nil {
		return
	}
	if _, steered := steeringOf(out.err); !steered && a.pace != 0 {
		out.err = RetryAfter(out.err, a.pace)
	}
	if out.received.IsZero() {
		out.receive(a.now())
	}
}

// request returns the request to send: the user's or a plain one, with the fields that the
// options and the stored value add.
func (a *attempt) request() (*http.Request, error) {
	req, err := a.bareRequest()
	if err != nil {
		return nil, err
	}
	for name, values := range a.source.cfg.header {
		req.Header[name] = slices.Concat(req.Header[name], values)
	}
	if len(req.Header["Accept-Encoding"]) == 0 {
		req.Header["Accept-Encoding"] = acceptGzip
	}
	if a.info != nil && a.current != nil && !a.refetch && safeMethod(req.Method) {
		a.setValidators(req.Header, a.info)
	}
	return req, nil
}

func (a *attempt) setValidators(h http.Header, info *valueInfo) {
	etag, lastModified := info.validators.split()
	a.hopPolicy.setValidators(h, etag, lastModified)
}

// bareRequest returns the request without the fields that options and stored value add.
func (a *attempt) bareRequest() (*http.Request, error) {
	if a.req != nil {
		req := a.req.WithContext(a.ctx)
		req.Header = maps.Clone(req.Header) // the builder may use its request again
		if req.Header == nil {
			req.Header = http.Header{}
		}
		return req, nil
	}
	u, err := weburl.Parse(a.source.urlOf(a.key))
	if err != nil {
		return nil, err // Register would have refused it
	}
	a.url, a.origin = *u, a.host
	req := http.Request{
		Method: http.MethodGet, URL: u, Host: u.Host, Header: make(http.Header, len(a.source.cfg.header)+3),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	return req.WithContext(a.ctx), nil
}

// acceptGzip is shared by all requests, so it must not be written to; net/http does not.
var acceptGzip = []string{"gzip"}

// safeMethod reports whether a 304 can answer the method (RFC 9110, section 15.4.5).
func safeMethod(method string) bool {
	return method == "" || method == http.MethodGet || method == http.MethodHead
}

// bodyLimits returns the bounds of an answer's body.
func (a *attempt) bodyLimits() body.Limits {
	cfg := a.source.cfg
	return body.Limits{
		Max: cfg.maxBytes, Ratio: 200, RatioAfter: 1 << 20,
		Idle: 5 * time.Second, MinRate: 1 << 10,
		AllowUnframed: cfg.lenient, AllowEmpty: cfg.lenient || a.maker.acceptsEmpty(),
	}
}

// tooSlow ends the exchange for the body's watchdog.
func (a *attempt) tooSlow(error) {
	a.slow.Store(true)
	a.release()
}

// cause tells a timeout of the refresh itself from other failures, and hides what an error
// of net/http would show.
func (a *attempt) cause(err error) error {
	if a.slow.Load() {
		return body.ErrTooSlow
	}
	if errors.Is(a.ctx.Err(), context.DeadlineExceeded) {
		return steerLike(err, fmt.Errorf("no answer within %v: %w", a.source.cfg.timeout, context.DeadlineExceeded))
	}
	return redactForeign(err)
}

// distrustConn makes the host get new connections if the body broke off. A body that
// arrived but was rejected says nothing about the connection, and neither does a cancelled
// refresh.
func (a *attempt) distrustConn(err error) {
	for _, refusal := range []error{body.ErrTooLarge, body.ErrEmpty, body.ErrUnframed, body.ErrEncoding} {
		if errors.Is(err, refusal) {
			return
		}
	}
	if errors.Is(a.ctx.Err(), context.Canceled) && !a.slow.Load() {
		return
	}
	host := a.host
	if a.req != nil {
		host = weburl.Origin(a.req.URL)
	}
	a.avoidReuse(host)
}

// drainTime bounds how long an answer whose body is not needed may keep its worker.
const drainTime = time.Second

// drain reads what little a response without use may hold, so that its connection can
// be used again. If that takes too long, the exchange ends.
func (a *attempt) drain(resp *http.Response) {
	if resp.Body == nil || resp.Body == http.NoBody {
		return
	}
	timer := time.AfterFunc(drainTime, a.release)
	defer timer.Stop()
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // an error only costs the connection
	_ = resp.Body.Close()
}

// receipt implements receipt for [Received].
func (a *attempt) receipt() (at time.Time, prev *Snapshot[any]) { return a.at, a.maker.snapshotAny() }

// Failures implements refreshctx.Refresh.
func (a *attempt) Failures() int { return a.failures }

// Pace implements refreshctx.Refresh.
func (a *attempt) Pace(delay time.Duration) { a.pace = delay }
