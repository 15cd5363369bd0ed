package everfresh

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/everfresh-go/everfresh/internal/body"
	"github.com/everfresh-go/everfresh/internal/rfc9111"
	"github.com/everfresh-go/everfresh/internal/weburl"
)

// An attempt is what one stage of a flight works with: its entry as it was when the
// stage began.
type attempt struct {
	source
	exchange exchange
	req      *http.Request
	meta     *meta              // nil before the first value
	kept     any                // the value that is served, for holder.renew; nil if none
	ctx      context.Context    //nolint:containedctx // Lives as long as the stage, which is one function call.
	release  context.CancelFunc // must be called when the stage ends
	slow     atomic.Bool        // the body's watchdog called release
	out      outcome
}

// build calls the user's request function.
func (a *attempt) build() (req *http.Request, err error) {
	defer func() {
		if v := recover(); v != nil {
			req, err = nil, recovered(v)
		}
	}()
	req, err = a.cfg.request(a.ctx, a.exchange.prev())
	if err == nil && req == nil {
		return nil, errors.New("the request function returned no request")
	}
	if err != nil {
		return nil, redactForeign(err)
	}
	return req, a.exchange.permit(req.URL)
}

// distrust makes the host get new connections if the body broke off. One that came, but
// was refused, says nothing of the connection; nor does a refresh that was called off.
func (a *attempt) distrust(err error) {
	for _, refusal := range []error{body.ErrTooLarge, body.ErrEmpty, body.ErrUnframed, body.ErrEncoding} {
		if errors.Is(err, refusal) {
			return
		}
	}
	if errors.Is(a.ctx.Err(), context.Canceled) && !a.slow.Load() {
		return
	}
	f := a.exchange.flight
	f.e.cache.fetcher.distrust(f.lane())
}

// An outcome is what an attempt brought.
type outcome struct {
	op      string // what failed
	err     error
	failure *RefreshError // err as it is reported

	code         int
	header       http.Header
	sent         time.Time
	received     time.Time
	receivedMono int64 // the same on the cache's monotonic clock
	body         []byte
	hash         uint64
	size         int
	same         bool // the origin confirmed the present value, by a 304 or by its bytes
	unread       bool // by a 304
	replace      bool // value is to be published
	value        any
	hardEnd      time.Time // of value
	next         time.Time // when the resource is asked for again
}

// run does the attempt. It does not panic, whatever the callbacks do.
func (a *attempt) run(now func() (wall, mono int64)) {
	out := &a.out
	wall, _ := now()
	out.op, out.sent, out.err = "fetch", wallTime(wall), errCallbackEnded
	defer func() {
		if v := recover(); v != nil {
			out.err = recovered(v)
		}
		out.err = a.exchange.steer(out.err)
		if out.err != nil && out.received.IsZero() {
			out.receive(now())
		}
	}()
	req, err := a.request()
	if err != nil {
		out.err = err
		return
	}
	resp, err := a.fetcher.Fetch(req)
	if err != nil {
		out.err = a.cause(err)
		return
	}
	if resp == nil {
		out.err = errors.New("the fetcher returned neither response nor error")
		return
	}
	out.receive(now())
	out.code, out.header = resp.StatusCode, resp.Header
	switch {
	case out.code == http.StatusNotModified && a.conditional():
		a.drain(resp)
		out.same, out.unread, out.hardEnd = true, true, wallTime(a.meta.hardEnd)
		out.err = out.ended()
	case out.code == http.StatusOK, out.code == http.StatusNonAuthoritativeInfo:
		if resp.Request == nil {
			resp.Request = req
		}
		out.err = a.read(resp, out)
	default:
		a.drain(resp)
		out.err = &StatusError{Code: out.code, Header: resp.Header}
	}
}

// receive notes when the answer came.
func (out *outcome) receive(wall, mono int64) {
	out.received, out.receivedMono = wallTime(wall), mono
}

// cameAt returns when the answer came, on the monotonic clock. If the machine slept since,
// that clock stood still, and it was before.
func (out *outcome) cameAt(wall, mono int64) int64 {
	slept := (wall - wallNanos(out.received)) - (mono - out.receivedMono)
	if slept > int64(jumpSlack) {
		return out.receivedMono - slept
	}
	return out.receivedMono
}

// cause tells a refresh that its own timeout ended from other failures, and hides what
// an error of net/http would show.
func (a *attempt) cause(err error) error {
	if a.slow.Load() {
		return body.ErrTooSlow
	}
	if errors.Is(a.ctx.Err(), context.DeadlineExceeded) {
		return steerLike(err, fmt.Errorf("no answer within %v: %w", a.cfg.timeout, context.DeadlineExceeded))
	}
	return redactForeign(err)
}

// conditional reports whether the request asks for a change only.
func (a *attempt) conditional() bool { return a.exchange.etag != "" || a.exchange.since != "" }

// request returns the request to send.
func (a *attempt) request() (*http.Request, error) {
	req, err := a.bareRequest()
	if err != nil {
		return nil, err
	}
	for name, values := range a.cfg.header {
		req.Header[name] = slices.Concat(req.Header[name], values)
	}
	if len(req.Header["Accept-Encoding"]) == 0 {
		req.Header["Accept-Encoding"] = acceptGzip
	}
	if a.meta != nil && a.kept != nil && !a.anew && safeMethod(req.Method) {
		a.exchange.setValidators(req.Header, a.meta)
	}
	return req, nil
}

// bareRequest returns the request without what the options and the stored value add.
func (a *attempt) bareRequest() (*http.Request, error) {
	if a.req != nil {
		req := a.req.WithContext(a.ctx)
		req.Header = maps.Clone(req.Header) // the builder may use its request again
		if req.Header == nil {
			req.Header = http.Header{}
		}
		return req, nil
	}
	u, err := weburl.Parse(a.url)
	if err != nil {
		return nil, err // Register would have refused it
	}
	a.exchange.url, a.exchange.origin = *u, a.lane
	req := http.Request{
		Method: http.MethodGet, URL: u, Host: u.Host, Header: make(http.Header, len(a.cfg.header)+3),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	return req.WithContext(a.ctx), nil
}

// tooSlow ends the exchange for the body's watchdog.
func (a *attempt) tooSlow(error) {
	a.slow.Store(true)
	a.release()
}

// acceptGzip is shared by all requests, so nobody may write to it; net/http does not.
var acceptGzip = []string{"gzip"}

// safeMethod reports whether a 304 can answer the method (RFC 9110, section 15.4.5).
func safeMethod(method string) bool {
	return method == "" || method == http.MethodGet || method == http.MethodHead
}

// read reads the body of a good response and makes the value.
func (a *attempt) read(resp *http.Response, out *outcome) error {
	out.op = "read"
	data, err := body.Read(a.ctx, a.tooSlow, resp, a.cfg.limits(a.emptyOK))
	if err != nil {
		a.distrust(err)
		return a.cause(err)
	}
	out.body, out.size, out.hash = data, len(data), bodyHash(data)
	equal := a.meta != nil && a.meta.hash == out.hash && a.meta.size == out.size
	out.same = equal && !a.anew
	if out.same && a.kept != nil && a.meta.hardEnd == 0 {
		return nil // nothing to decode
	}
	out.op = "decode"
	a.exchange.at = out.received
	v, err := a.decode(a.ctx, memoryResponse(resp, data)) //nolint:bodyclose // It is in memory.
	if err != nil {
		return redactForeign(err)
	}
	out.take(v, a)
	return out.ended()
}

// take takes a decoded value and its own end. Equal bytes do not renew that, and the
// value they were decoded to before stays.
func (out *outcome) take(v any, a *attempt) {
	out.value, out.replace = v, true
	if mortal, ok := v.(interface{ ExpiresAt() time.Time }); ok {
		out.hardEnd = mortal.ExpiresAt().Round(0)
	}
	if !out.same || a.meta.hardEnd == 0 {
		return
	}
	out.replace = a.kept == nil
	if old := wallTime(a.meta.hardEnd); out.hardEnd.IsZero() || old.Before(out.hardEnd) {
		out.hardEnd = old
	}
}

// ended reports a value that is past its own end.
func (out *outcome) ended() error {
	if !out.hardEnd.IsZero() && !out.hardEnd.After(out.received) {
		return errors.New("the value had expired when it arrived")
	}
	return nil
}

// meta is what is known of a value besides the value. It is immutable. Times are
// wall-clock nanoseconds, 0 for none.
type meta struct {
	version                                      uint64
	fetchedAt, checkedAt, freshUntil, serveUntil int64
	hardEnd                                      int64 // the value's own end
	etag, lastModified                           string
	hash                                         uint64 // of the body
	size                                         int
	code                                         int
	plan                                         plan
	err                                          *RefreshError // why the last refresh failed
	overdue                                      bool          // a refresh failed after freshUntil
}

// meta returns what is known of the value after a good answer; old is what was known.
func (out *outcome) meta(cfg *config, old *meta) *meta {
	m := &meta{
		etag: out.header.Get("Etag"), lastModified: out.header.Get("Last-Modified"),
		hash: out.hash, size: out.size, code: out.code, hardEnd: wallNanos(out.hardEnd),
		fetchedAt: wallNanos(out.received), checkedAt: wallNanos(out.received),
	}
	fresh := rfc9111.Of(out.header, out.sent, out.received, false)
	if out.same {
		m.inherit(old, out.unread)
		fresh = out.lifetimeAfter(old, fresh)
	} else {
		m.version = nextVersion(old, out.received)
	}
	var left time.Duration
	if m.hardEnd != 0 {
		left = out.hardEnd.Sub(out.received)
	}
	m.plan = planFor(cfg, fresh, left, old == nil, random)
	m.schedule(cfg, out.received)
	return m
}

// inherit takes over what a confirmation of old does not change.
func (m *meta) inherit(old *meta, unread bool) { //nolint:revive // The flag tells a 304 from equal bytes.
	m.version, m.fetchedAt = old.version, old.fetchedAt
	if !unread {
		return
	}
	m.hash, m.size, m.code = old.hash, old.size, old.code
	if m.etag == "" {
		m.etag = old.etag
	}
	if m.lastModified == "" {
		m.lastModified = old.lastModified
	}
}

// lifetimeAfter returns the freshness after a confirmation: a 304 that says nothing of
// it leaves the stored fields in force (RFC 9111, section 3.2).
func (out *outcome) lifetimeAfter(old *meta, fresh rfc9111.Freshness) rfc9111.Freshness {
	if out.unread && fresh.Source == rfc9111.None {
		fresh.Lifetime, fresh.Source = old.plan.life, old.plan.why.source
	}
	return fresh
}

// schedule works out the times that the plan leads to.
func (m *meta) schedule(cfg *config, received time.Time) {
	m.freshUntil = later(received.UnixNano(), m.plan.fresh)
	if cfg.maxStale > 0 {
		m.serveUntil = later(m.freshUntil, cfg.maxStale)
	}
	if m.hardEnd != 0 && (m.serveUntil == 0 || m.hardEnd < m.serveUntil) {
		m.serveUntil = m.hardEnd
	}
}

// nextVersion returns a version for a new value: the time it came, as that tells values
// of different processes apart, but always above the last one's.
func nextVersion(old *meta, received time.Time) uint64 {
	v := uint64(max(received.UnixNano(), 1)) //nolint:gosec // Not negative.
	if old != nil {
		v = max(v, old.version+1)
	}
	return v
}

// headers returns the fields to keep in the record; a 304 updates those of the last one
// (RFC 9111, section 3.2).
func (out *outcome) headers(last *Record) http.Header {
	kept := keepHeaders(out.header)
	if !out.unread {
		return kept
	}
	for name, values := range last.Header {
		if _, ok := kept[name]; !ok && name != "Date" && name != "Age" { // these two are of one message
			kept[name] = values
		}
	}
	return kept
}

// observeOutcome tells the observer of an outcome. It only queues the event, so that it
// may be called under mu.
func (c *Cache) observeOutcome(kind string, e *entry, out *outcome) {
	if c.cfg.observer == nil {
		return
	}
	ev := Event{
		Kind: kind, Key: e.name, Time: out.received, Status: out.code, Bytes: out.size,
		Duration: out.received.Sub(out.sent), Attempt: e.failures, Next: out.next,
	}
	if e.meta != nil {
		ev.Version = e.meta.version
	}
	if out.failure != nil {
		ev.Err = out.failure
	}
	c.observe(ev)
}

var hashSeed = maphash.MakeSeed()

// bodyHash returns a hash that an origin cannot aim at, as its seed is this process's.
func bodyHash(data []byte) uint64 { return maphash.Bytes(hashSeed, data) }

// drainTime bounds how long an answer without use may hold its place.
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
