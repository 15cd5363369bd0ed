package body_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh/internal/body"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
)

// origin is a net/http server with the client that talks to it.
type origin struct {
	net    *everfreshtest.Net
	url    string
	client *http.Client
}

func serve(t *testing.T, h http.HandlerFunc) *origin {
	t.Helper()
	m := everfreshtest.NewNet()
	srv := httptest.NewUnstartedServer(h)
	srv.Listener.Close()
	srv.Listener = m
	srv.Start()
	tr := &http.Transport{DialContext: m.DialContext}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		srv.CloseClientConnections()
		srv.Close()
	})
	return &origin{net: m, url: srv.URL, client: &http.Client{Transport: tr}}
}

// raw answers every request with the bytes given and closes the connection.
func raw(t *testing.T, wire string) *origin {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, wire) // the client may have hung up
	})
}

// fetch gets and reads once. It returns how long the body took, too.
func (o *origin) fetch(ctx context.Context, tb testing.TB, l body.Limits) ([]byte, time.Duration, error) {
	tb.Helper()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := o.client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	began := time.Now()
	data, err := body.Read(ctx, cancel, resp, l)
	took := time.Since(began)
	check(tb, data, err, l)
	if slow := errors.Is(context.Cause(ctx), body.ErrTooSlow); slow != errors.Is(err, body.ErrTooSlow) {
		tb.Errorf("ErrTooSlow ended the exchange: %t, but Read returned %v", slow, err)
	}
	return data, took, err
}

const head = "HTTP/1.1 200 OK\r\n"

func TestReadWire(t *testing.T) {
	gz := zip(t, strings.Repeat("0123456789", 100))
	chunkedGzip := fmt.Sprintf("%x\r\n%s\r\n", len(gz), gz)
	tests := map[string]struct {
		wire   string
		limits body.Limits
		want   string
		err    error
	}{
		"length":                      {wire: head + "Content-Length: 4\r\n\r\nfour", want: "four"},
		"chunked":                     {wire: head + "Transfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n", want: "four"},
		"trailer":                     {wire: head + "Transfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\nA: b\r\n\r\n", want: "four"},
		"gzip":                        {wire: head + "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunkedGzip + "0\r\n\r\n", want: strings.Repeat("0123456789", 100)},
		"until close":                 {wire: head + "\r\nfour", err: body.ErrUnframed},
		"until close, HTTP/1.0":       {wire: "HTTP/1.0 200 OK\r\n\r\nfour", err: body.ErrUnframed},
		"until close, gzip":           {wire: head + "Content-Encoding: gzip\r\n\r\n" + gz, err: body.ErrUnframed},
		"until close, allowed":        {wire: head + "\r\nfour", limits: body.Limits{Max: 9, AllowUnframed: true}, want: "four"},
		"until close, empty":          {wire: head + "\r\n", limits: body.Limits{Max: 9, AllowUnframed: true}, err: body.ErrEmpty},
		"short of its length":         {wire: head + "Content-Length: 5\r\n\r\nfour", err: body.ErrTruncated},
		"short of its length, gzip":   {wire: head + "Content-Encoding: gzip\r\nContent-Length: 99\r\n\r\n" + gz[:30], err: body.ErrTruncated},
		"short by whole gzip members": {wire: head + "Content-Encoding: gzip\r\nContent-Length: 99\r\n\r\n" + gz, err: body.ErrTruncated},
		"no byte of its length, gzip": {wire: head + "Content-Encoding: gzip\r\nContent-Length: 99\r\n\r\n", err: body.ErrTruncated},
		"gzip cut in whole framing":   {wire: head + "Content-Encoding: gzip\r\nContent-Length: 30\r\n\r\n" + gz[:30], err: body.ErrTruncated},
		"cut in a chunk":              {wire: head + "Transfer-Encoding: chunked\r\n\r\n5\r\nfour", err: body.ErrTruncated},
		"cut after a chunk":           {wire: head + "Transfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n", err: body.ErrTruncated},
		"cut in the end of a chunk":   {wire: head + "Transfer-Encoding: chunked\r\n\r\n4\r\nfour\r", err: body.ErrTruncated},
		"cut in a chunk's head":       {wire: head + "Transfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n4", err: body.ErrTruncated},
		"cut in the last chunk":       {wire: head + "Transfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0", err: body.ErrTruncated},
		"cut before the trailer":      {wire: head + "Transfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n", err: body.ErrTruncated},
		"cut after the gzip stream":   {wire: head + "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunkedGzip, err: body.ErrTruncated},
		"cut in the trailer":          {wire: head + "Transfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\nA: " + canary, err: errAny},
		"malformed chunk":             {wire: head + "Transfer-Encoding: chunked\r\n\r\n" + canary, err: errAny},
		"malformed trailer":           {wire: head + "Transfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n" + canary + "\r\n\r\n", err: errAny},
		"empty":                       {wire: head + "Content-Length: 0\r\n\r\n", err: body.ErrEmpty},
		"empty, allowed":              {wire: head + "Content-Length: 0\r\n\r\n", limits: body.Limits{Max: 9, AllowEmpty: true}},
		"empty, chunked":              {wire: head + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", err: body.ErrEmpty},
		"no content":                  {wire: "HTTP/1.1 204 No Content\r\n\r\n", err: body.ErrEmpty},
		"length above Max":            {wire: head + "Content-Length: 10\r\n\r\n0123456789", limits: body.Limits{Max: 9}, err: body.ErrTooLarge},
		"chunked above Max":           {wire: head + "Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n", limits: body.Limits{Max: 9}, err: body.ErrTooLarge},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if tt.limits == (body.Limits{}) {
					tt.limits.Max = 1 << 20
				}
				data, _, err := raw(t, tt.wire).fetch(t.Context(), t, tt.limits)
				if err != nil && errors.Is(tt.err, errAny) {
					return
				}
				if !errors.Is(err, tt.err) || string(data) != tt.want {
					t.Errorf("%q, error %v; want %q, error %v", data, err, tt.want, tt.err)
				}
			})
		})
	}
}

// errAny stands for an error that has no name.
var errAny = errors.New("any")

// script is what an origin does with a body, step by step.
type script func(ctx context.Context, send func(string))

// play runs a script as a chunked body.
func play(t *testing.T, s script) *origin {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		s(r.Context(), func(data string) {
			io.WriteString(w, data) // the client may have hung up
			w.(http.Flusher).Flush()
		})
	})
}

// wait sleeps until the client has hung up, at the longest.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// trickle sends piece every d, for n times.
func trickle(piece string, every time.Duration, n int) script {
	return func(ctx context.Context, send func(string)) {
		for range n {
			wait(ctx, every)
			send(piece)
		}
	}
}

// then runs one script after the other.
func then(scripts ...script) script {
	return func(ctx context.Context, send func(string)) {
		for _, s := range scripts {
			s(ctx, send)
		}
	}
}

func TestReadInTime(t *testing.T) {
	const s = time.Second
	usual := body.Limits{Max: 1 << 20, Idle: 5 * s, MinRate: 1 << 10}
	idle := body.Limits{Max: 1 << 20, Idle: 5 * s}
	rate := body.Limits{Max: 1 << 20, MinRate: 1 << 10}
	kib := strings.Repeat("x", 1<<10)
	tests := map[string]struct {
		script script
		limits body.Limits
		err    error
		took   time.Duration
		size   int
	}{
		"all at once":                  {trickle(kib, 0, 1), usual, nil, 0, 1 << 10},
		"no byte":                      {trickle("x", time.Hour, 1), usual, body.ErrTooSlow, 5 * s, 0},
		"no byte, idle alone":          {trickle("x", time.Hour, 1), idle, body.ErrTooSlow, 5 * s, 0},
		"no byte, rate alone":          {trickle("x", time.Hour, 1), rate, body.ErrTooSlow, s, 0},
		"no byte, no limit":            {trickle("x", time.Hour, 1), body.Limits{Max: 1}, nil, time.Hour, 1},
		"no end":                       {then(trickle("x", 3*s, 1), trickle("", time.Hour, 1)), idle, body.ErrTooSlow, 8 * s, 0},
		"a byte each 200 ms":           {trickle("x", s/5, 1000), usual, body.ErrTooSlow, 5 * s, 0},
		"a byte each 200 ms, idle":     {trickle("x", s/5, 100), idle, nil, 20 * s, 100},
		"a byte just before idle":      {trickle("x", 5*s-1, 3), idle, nil, 15*s - 3, 3},
		"a byte just after idle":       {trickle("x", 5*s+1, 3), idle, body.ErrTooSlow, 5 * s, 0},
		"somewhat faster than rate":    {trickle(kib, s*4/5, 30), usual, nil, 24 * s, 30 << 10},
		"a little slower than rate":    {trickle(kib, s+s/100, 30), usual, body.ErrTooSlow, 5 * s, 0},
		"slow before the rate counts":  {trickle("x", 2*s, 2), usual, nil, 4 * s, 2},
		"late, but made up for":        {then(trickle(kib, 4*s, 1), trickle(kib, 0, 9), trickle("x", s, 3)), usual, nil, 7 * s, 10<<10 + 3},
		"fast, then a byte each s":     {then(trickle(kib, 0, 10), trickle("x", s, 99)), usual, body.ErrTooSlow, paid(10<<10 + 10), 0},
		"fast, then nothing":           {then(trickle(kib, 0, 10), trickle("x", time.Hour, 1)), usual, body.ErrTooSlow, 5 * s, 0},
		"fast, then nothing, rate":     {then(trickle(kib, 0, 10), trickle("x", time.Hour, 1)), rate, body.ErrTooSlow, 10 * s, 0},
		"a rate out of reach":          {trickle(kib, s, 9), body.Limits{Max: 1 << 20, MinRate: 1<<63 - 1}, body.ErrTooSlow, s, 0},
		"a rate that is long paid for": {then(trickle(strings.Repeat(kib, 9), 0, 1), trickle("x", 1<<31*s/1000, 1)), body.Limits{Max: 1 << 20, MinRate: 1}, body.ErrTooSlow, 9 << 10 * s, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				data, took, err := play(t, tt.script).fetch(t.Context(), t, tt.limits)
				if !errors.Is(err, tt.err) || took != tt.took || len(data) != tt.size {
					t.Errorf("%d bytes after %v, error %v; want %d after %v, error %v", len(data), took, err, tt.size, tt.took, tt.err)
				}
			})
		})
	}
}

// paid is how long n bytes last at 1 KiB a second.
func paid(n int) time.Duration { return time.Duration(n) * time.Second / (1 << 10) }

// TestReadStallsInGzip stalls in the middle of the gzip stream, and after it,
// where the end of the message is missing.
func TestReadStallsInGzip(t *testing.T) {
	gz := zip(t, strings.Repeat("0123456789", 100))
	for _, n := range []int{0, 1, 15, len(gz) - 1, len(gz)} {
		synctest.Test(t, func(t *testing.T) {
			o := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Encoding", "gzip")
				io.WriteString(w, gz[:n])
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			})
			_, took, err := o.fetch(t.Context(), t, body.Limits{Max: 1 << 20, Idle: 5 * time.Second})
			if !errors.Is(err, body.ErrTooSlow) || took != 5*time.Second {
				t.Errorf("stalled at %d: %v after %v", n, err, took)
			}
		})
	}
}

// TestReadEndsWithContext ends the exchange from outside.
func TestReadEndsWithContext(t *testing.T) {
	stop := errors.New("stop")
	const s = time.Second
	tests := map[string]struct {
		script script
		end    func(context.Context) (context.Context, context.CancelFunc)
		limits body.Limits
		err    error
		took   time.Duration
	}{
		"deadline": {
			trickle("x", 3*s, 99),
			func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, 30*s) },
			body.Limits{Max: 99, Idle: 5 * s},
			context.DeadlineExceeded, 30 * s,
		},
		"deadline, with a cause": {
			trickle("x", time.Hour, 1),
			func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeoutCause(ctx, 4*s, stop)
			},
			body.Limits{Max: 99, Idle: 5 * s},
			stop, 4 * s,
		},
		"cancel, with a cause": {
			trickle("x", 3*s, 99),
			func(ctx context.Context) (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancelCause(ctx)
				timer := time.AfterFunc(10*s, func() { cancel(stop) })
				return ctx, func() { timer.Stop(); cancel(nil) }
			},
			body.Limits{Max: 99},
			stop, 10 * s,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := tt.end(t.Context())
				defer cancel()
				_, took, err := play(t, tt.script).fetch(ctx, t, tt.limits)
				if !errors.Is(err, tt.err) || took != tt.took {
					t.Errorf("%v after %v, want %v after %v", err, took, tt.err, tt.took)
				}
			})
		})
	}
}

// TestReadLeavesContextAlone waits long after a good body: whatever uses ctx
// next must not be ended by a watchdog that was not stopped.
func TestReadLeavesContextAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		resp := response(strings.NewReader("a"))
		if _, err := body.Read(ctx, cancel, resp, body.Limits{Max: 1, Idle: time.Second, MinRate: 1}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if err := context.Cause(ctx); err != nil {
			t.Errorf("ended with %v", err)
		}
	})
}

// TestReadPanics has a body that panics: it is closed, and the watchdog sleeps.
func TestReadPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		resp := response(&once{})
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			body.Read(ctx, cancel, resp, body.Limits{Max: 1, Idle: time.Second})
		}()
		time.Sleep(time.Hour)
		if src := resp.Body.(*source); src.closed != 1 || ctx.Err() != nil {
			t.Errorf("closed %d times, context ended with %v", src.closed, context.Cause(ctx))
		}
	})
}

// TestReadDeafBody has a body that no cancel reaches and that goes on after the
// watchdog has ended the exchange.
func TestReadDeafBody(t *testing.T) {
	for _, plain := range []string{"", "late", strings.Repeat("x", 99)} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			resp := response(&sleeper{rest: iotest.OneByteReader(strings.NewReader(plain)), nap: 2 * time.Second})
			began := time.Now()
			_, err := body.Read(ctx, cancel, resp, body.Limits{Max: 99, Idle: time.Second, AllowEmpty: true})
			if !errors.Is(err, body.ErrTooSlow) || !errors.Is(context.Cause(ctx), body.ErrTooSlow) {
				t.Errorf("%v, cause %v; want ErrTooSlow twice", err, context.Cause(ctx))
			}
			if took := time.Since(began); took != 2*time.Second {
				t.Errorf("read on until %v", took)
			}
		})
	}
}

// TestReadAfterContext has a body in memory, which is worth what it is worth
// whether or not the context has ended.
func TestReadAfterContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(nil)
	resp := response(strings.NewReader(zip(t, "a")), coded("gzip"))
	if data, err := body.Read(ctx, cancel, resp, body.Limits{Max: 1}); err != nil || string(data) != "a" {
		t.Errorf("good: %q, %v", data, err)
	}
	resp = response(strings.NewReader(zip(t, "a")+"!"), coded("gzip"))
	if _, err := body.Read(ctx, cancel, resp, body.Limits{Max: 1}); !errors.Is(err, body.ErrEncoding) {
		t.Errorf("damaged: %v, want ErrEncoding", err)
	}
}

// sleeper naps before each read.
type sleeper struct {
	rest io.Reader
	nap  time.Duration
}

func (s *sleeper) Read(p []byte) (int, error) {
	time.Sleep(s.nap)
	return s.rest.Read(p)
}

// TestReadKeepsOrDropsConnection counts dials: a body read to its end leaves
// the connection to the next exchange, a refused one does not.
func TestReadKeepsOrDropsConnection(t *testing.T) {
	gz := zip(t, "payload")
	tests := map[string]struct {
		handler http.HandlerFunc
		limits  body.Limits
		err     error
		dials   int64
	}{
		"length": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "payload")
		}, body.Limits{Max: 7}, nil, 1},
		"chunked": {func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			io.WriteString(w, "payload")
		}, body.Limits{Max: 7}, nil, 1},
		"gzip": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.(http.Flusher).Flush()
			io.WriteString(w, gz)
		}, body.Limits{Max: 7}, nil, 1},
		"empty": {func(http.ResponseWriter, *http.Request) {}, body.Limits{}, body.ErrEmpty, 1},
		"too large": {func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			io.Copy(w, endless{}) // until the client hangs up
		}, body.Limits{Max: 1 << 20}, body.ErrTooLarge, 3},
		"too large by its length": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000000")
			io.CopyN(w, endless{}, 1000000)
		}, body.Limits{Max: 7}, body.ErrTooLarge, 3},
		"other coding": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "br")
			io.CopyN(w, endless{}, 1000000)
		}, body.Limits{Max: 7}, body.ErrEncoding, 3},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := serve(t, tt.handler)
				for range 3 {
					if _, _, err := o.fetch(t.Context(), t, tt.limits); !errors.Is(err, tt.err) {
						t.Errorf("error %v, want %v", err, tt.err)
					}
					synctest.Wait() // the transport puts the connection back on its own time
				}
				if got := o.net.Dials(); got != tt.dials {
					t.Errorf("%d dials, want %d", got, tt.dials)
				}
			})
		})
	}
}

// TestReadTransportDecodes leaves decoding to the transport, whose errors must
// read like those of this package.
func TestReadTransportDecodes(t *testing.T) {
	gz := zip(t, "payload")
	tests := map[string]struct {
		wire string
		err  error
	}{
		"whole":   {gz, nil},
		"cut":     {gz[:len(gz)-3], body.ErrTruncated},
		"damaged": {gz[:len(gz)-5] + "\xff" + gz[len(gz)-4:], body.ErrEncoding},
		"none":    {canary + canary, body.ErrEncoding},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := raw(t, head+"Content-Encoding: gzip\r\n\r\n"+tt.wire)
				resp, err := o.client.Get(o.url)
				if err != nil || !resp.Uncompressed {
					t.Fatalf("no transparent decoding, error %v", err)
				}
				data, err := read(t, resp, body.Limits{Max: 99})
				if !errors.Is(err, tt.err) || err == nil && string(data) != "payload" {
					t.Errorf("%q, error %v; want error %v", data, err, tt.err)
				}
			})
		})
	}
}

// TestReadConcurrently has many bodies watched at once, for the race detector.
func TestReadConcurrently(t *testing.T) {
	o := play(t, trickle(strings.Repeat("x", 5000), 0, 20))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			data, _, err := o.fetch(t.Context(), t, body.Limits{Max: 1 << 20, Idle: time.Minute, MinRate: 1})
			if err != nil || len(data) != 100_000 {
				t.Errorf("%d bytes, %v", len(data), err)
			}
		})
	}
	wg.Wait()
}
