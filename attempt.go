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
// The context of the callbacks holds it, as a part of its stageRun, so that packages of this
// module can speak with the refresh; see package refreshctx.
type attempt struct {
	// hopPolicy says which URLs the request may go to, and what may go with it.
	hopPolicy

	// What the attempt is for. It is not changed.
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

	// How long it may take.
	ctx     context.Context    //nolint:containedctx // Lives as long as the stage, which is one function call.
	release context.CancelFunc // must be called when the stage ends
	slow    atomic.Bool        // the body's watchdog called release
	// What callbacks told it, and what it tells them.
	pace time.Duration // the delay after an error that does not say when to try again; 0: the back-off
	at   time.Time     // when the answer was received; set before the decoder runs

	// What the stages hand on to each other.
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

// build has the user's function make the request. Its URL must pass the policies, as the
// registered one did.
func (a *attempt) build() {
	a.start("request")
	a.out.received = a.out.sent // no answer comes, so an event of a failure has no duration
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

// fetch sends the request and reads the whole answer into memory, so that decode has only
// the value to make, and an answer that breaks off replaces nothing.
func (a *attempt) fetch() {
	a.start("fetch")
	a.guard(a.exchange)
}

// exchange is fetch without the guard.
func (a *attempt) exchange() error {
	// Send the request. Its context ends the exchange and the reading of the body.
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
	// Find out what the answer says about the value. From here on the answer has a time, so
	// that its freshness counts from when it came, not from when it is published.
	switch {
	// A 304 confirms the value, if we have asked for that. Its expiry does not change.
	case out.code == http.StatusNotModified && a.conditional():
		a.drain(resp)
		out.same, out.notModified, out.expiresAt = true, true, wallTime(a.info.expiresAt)
		return out.checkExpiry()
	// A 200, or a 203 from a proxy that changed it, has a body.
	case out.code == http.StatusOK, out.code == http.StatusNonAuthoritativeInfo:
		if resp.Request == nil {
			resp.Request = req
		}
		return a.read(resp)
	// Everything else is a failure, whatever its headers say.
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
	// The same bytes are the same value, unless it is to be decoded again.
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
		v, err := a.maker.decodeAny(a.ctx, a.source, memoryResponse(a.resp, a.out.body)) //nolint:bodyclose // It is in memory.
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
	// A new value comes with its own expiry.
	out := &a.out
	out.value, out.replace = v, true
	if withExpiry, ok := v.(interface{ ExpiresAt() time.Time }); ok {
		out.expiresAt = withExpiry.ExpiresAt().Round(0)
	}
	if !out.same || a.info.expiresAt == 0 {
		return
	}
	// The same bytes are an old token with an old expiry, even if the decoder counts from
	// now: the earlier of the two is right.
	out.replace = a.current == nil
	if old := wallTime(a.info.expiresAt); out.expiresAt.IsZero() || old.Before(out.expiresAt) {
		out.expiresAt = old
	}
}

// decodeRecord makes the value of a stored record. The decoder gets the response that the
// record was made of, with the request as it would be today.
func (a *attempt) decodeRecord(rec *Record) (v any, err error) {
	a.at = rec.FetchedAt
	a.guard(func() error {
		req, err := a.request()
		if err != nil {
			return err
		}
		resp := memoryResponse(&http.Response{ //nolint:bodyclose // It is in memory.
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
	// What the error itself says about the next try counts more.
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
	// The fields of WithHeader come after the builder's own.
	for name, values := range a.source.cfg.header {
		req.Header[name] = slices.Concat(req.Header[name], values)
	}
	if len(req.Header["Accept-Encoding"]) == 0 {
		req.Header["Accept-Encoding"] = acceptGzip
	}
	// The request is conditional if there is a value that a 304 could confirm.
	if a.info != nil && a.current != nil && !a.refetch && safeMethod(req.Method) {
		a.setValidators(req.Header, a.info)
	}
	return req, nil
}

// setValidators makes the request conditional on what is known about the value.
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
	// The URL is parsed for each request, which is quick. A url.URL for each resource would
	// take twice the memory.
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
	// The next exchanges must not use the connection again, nor one like it.
	host := a.host
	if a.req != nil {
		host = weburl.Origin(a.req.URL)
	}
	a.avoidReuse(host)
}

// drainTime bounds how long an answer whose body is not needed may keep its worker.
const drainTime = time.Second

// drain reads the little that a response whose body is not needed may hold, so that its
// connection can be used again. If that takes too long, the exchange ends.
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

// Failures implements refreshctx.Refresh. It is the count of when the stage began.
func (a *attempt) Failures() int { return a.failures }

// Pace implements refreshctx.Refresh. A fetcher calls it on the goroutine of the stage.
func (a *attempt) Pace(delay time.Duration) { a.pace = delay }
