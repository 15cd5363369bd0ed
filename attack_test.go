package everfresh_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
)

// attackMax is the limit of a body, and attackMemory what an attack may cost at most: all
// memory that is asked for from the request to the error, live or not.
const (
	attackMax    = 2 << 20
	attackMemory = 2*attackMax + 1<<20
)

// An attack is what an origin sends after it has read a request. It ends when the client
// hangs up.
type attack struct {
	name string
	send func(conn net.Conn)
	want string        // part of the error
	took time.Duration // until the error
	opts []everfresh.RegisterOption
}

func attacks() []attack {
	const (
		ok      = "HTTP/1.1 200 OK\r\n"
		chunked = ok + "Transfer-Encoding: chunked\r\n"
		packed  = "Content-Encoding: gzip\r\n"
		moved   = "HTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n"
	)
	bomb := string(limitsGzip(make([]byte, 64<<20)))
	chunk := limitsChunk(strings.Repeat("x", 32<<10))
	field := "X-Filler: " + strings.Repeat("f", 1000) + "\r\n"
	lenient := []everfresh.RegisterOption{everfresh.WithLenientBody(true)}
	return []attack{
		{"gzip bomb", attackOnce(limitsFramed(bomb, "Content-Encoding: gzip")), "too large", 0, nil},
		{"gzip bomb in chunks", attackOnce(chunked + packed + "\r\n" + limitsChunk(bomb)), "too large", 0, nil},
		{"gzip bomb without an end", attackOnce(ok + packed + "\r\n" + bomb), "too large", 0, lenient},
		{"gzip of nothing, without end", attackEndless(chunked+packed+"\r\n", strings.Repeat(limitsChunk(string(limitsGzip(nil))), 100)), "too large", 0, nil},
		{"endless body", attackEndless(chunked+"\r\n", chunk), "too large", 0, nil},
		{"endless body in bytes", attackEndless(chunked+"\r\n", strings.Repeat(limitsChunk("x"), 1000)), "", 0, nil},
		{"endless body, no framing", attackEndless(ok+"\r\n", chunk), "too large", 0, lenient},
		{"endless body of a known length", attackEndless(ok+"Content-Length: 9223372036854775807\r\n\r\n", chunk), "too large", 0, nil},
		{"endless body of a redirect", attackEndless("HTTP/1.1 302 Found\r\nLocation: /next\r\nTransfer-Encoding: chunked\r\n\r\n", chunk), "more than 3", 0, nil},
		{"endless body of a failure", attackEndless("HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n", chunk), "500", 0, nil},
		{"endless chunk extension", attackEndless(chunked+"\r\n1;x=", strings.Repeat("x", 1000)), "", 0, nil},
		{"endless trailer", attackEndless(chunked+"\r\n"+limitsChunk("x")+"0\r\n", field), "", 0, nil},
		{"endless fields", attackEndless(ok, field), "headers exceeded", 0, nil},
		{"endless field", attackEndless(ok+"X-Filler: ", strings.Repeat("f", 1000)), "headers exceeded", 0, nil},
		{"endless status", attackEndless("HTTP/1.1 200 ", strings.Repeat("O", 1000)), "headers exceeded", 0, nil},
		{"endless informational answers", attackEndless("", "HTTP/1.1 103 Early Hints\r\n\r\n"), "", 0, nil},
		{"endless informational fields", attackEndless("", "HTTP/1.1 103 Early Hints\r\n"+field+"\r\n"), "headers exceeded", 0, nil},
		{"two lengths", attackOnce(ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), "Content-Length", 0, nil},
		{"redirects without end", attackOnce(moved), "more than 3", 0, nil},

		{"no handshake", attackOnce(""), "TLS handshake timeout", 5 * time.Second, nil},
		{"no answer", attackOnce(""), "awaiting response headers", 10 * time.Second, nil},
		{"slow header", attackDrip(ok+"X-Filler: ", "f", time.Second), "awaiting response headers", 10 * time.Second, nil},
		{"slow informational answers", attackDrip("", "HTTP/1.1 103 Early Hints\r\n\r\n", time.Second), "awaiting response headers", 10 * time.Second, nil},
		{"slow redirects", attackAfter(9*time.Second, moved), "no answer within 30s", 30 * time.Second, nil},
		{"silent body", attackOnce(ok + "Content-Length: 9\r\n\r\n"), "too slow", 5 * time.Second, nil},
		{"slow body", attackDrip(chunked+"\r\n", limitsChunk("x"), 200*time.Millisecond), "too slow", 5 * time.Second, nil},
		{"slow gzip", attackDrip(chunked+packed+"\r\n", limitsChunk(string(limitsGzip(nil))), 200*time.Millisecond), "too slow", 5 * time.Second, nil},
		{"slow body of a failure", attackDrip("HTTP/1.1 500 Oops\r\nContent-Length: 9999\r\n\r\n", "x", 200*time.Millisecond), "500", time.Second, nil},
	}
}

func attackOnce(answer string) func(net.Conn) { return attackAfter(0, answer) }

// attackAfter answers each request after a while.
func attackAfter(d time.Duration, text string) func(net.Conn) {
	answer := []byte(text)
	return func(conn net.Conn) {
		if !attackWait(d, conn) {
			return
		}
		r := bufio.NewReader(conn)
		for attackWrite(conn, answer) {
			if _, err := http.ReadRequest(r); err != nil || !attackWait(d, conn) {
				return
			}
		}
	}
}

// attackWait waits for d, or less if the client has hung up.
func attackWait(d time.Duration, conn net.Conn) bool {
	if d == 0 {
		return true
	}
	_ = conn.SetReadDeadline(time.Now().Add(d))
	defer conn.SetReadDeadline(time.Time{})
	_, err := conn.Read(make([]byte, 1))
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

// attackWrite takes bytes, since strings would be copied: the origin's memory counts, too.
func attackWrite(conn net.Conn, p []byte) bool {
	_, err := conn.Write(p)
	return err == nil
}

func attackEndless(head, part string) func(net.Conn) {
	piece := []byte(part)
	return func(conn net.Conn) {
		for more := attackWrite(conn, []byte(head)); more; {
			more = attackWrite(conn, piece)
		}
	}
}

func attackDrip(head, piece string, every time.Duration) func(net.Conn) {
	return func(conn net.Conn) {
		for more := attackWrite(conn, []byte(head)); more; {
			more = attackWait(every, conn) && attackWrite(conn, []byte(piece))
		}
	}
}

// serve answers the first connection well and attacks all others.
func (a *attack) serve() func(net.Conn) {
	var mu sync.Mutex
	asked := 0
	return func(conn net.Conn) {
		if a.name == "no handshake" {
			_, _ = io.Copy(io.Discard, conn)
			return
		}
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
			return
		}
		mu.Lock()
		asked++
		n := asked
		mu.Unlock()
		if n == 1 {
			attackWrite(conn, []byte(limitsFramed("old", "Connection: close")))
			return
		}
		a.send(conn)
	}
}

// expect refreshes once, and has to fail in time and without much memory.
func (a *attack) expect(t *testing.T, c *everfresh.Cache, origin string) (took time.Duration) {
	t.Helper()
	handshake := a.name == "no handshake"
	if handshake {
		origin = strings.Replace(origin, "http:", "https:", 1)
	}
	r := register(t, c, origin, everfresh.Bytes(), append(a.opts, everfresh.WithMaxBytes(attackMax), everfresh.WithPrefetch(false))...)
	if _, err := r.Get(t.Context()); err != nil && !handshake {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	err := r.Refresh(t.Context())
	took = time.Since(start)
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), a.want) {
		t.Errorf("error = %v, want %q", err, a.want)
	}
	if v, ok := r.Peek(); !handshake && (!ok || string(v) != "old") {
		t.Errorf("serves %.10q, %v", v, ok)
	}
	grown := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d KiB, %v, %v", grown>>10, took, err)
	if grown >= attackMemory {
		t.Errorf("%d bytes of memory, want less than %d", grown, attackMemory)
	}
	return took
}

// TestAttacks: each attack ends within the limits of its phase, to the nanosecond of a
// clock that only the limits move, costs less than twice the body's limit and 1 MiB, and
// replaces nothing.
func TestAttacks(t *testing.T) {
	for _, a := range attacks() {
		t.Run(a.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var wg sync.WaitGroup
				serve := a.serve()
				c := newCache(t, everfresh.WithJitter(0))
				everfresh.DialWith(c, func(context.Context, string, string) (net.Conn, error) {
					client, server := net.Pipe()
					wg.Go(func() {
						defer server.Close()
						serve(server)
					})
					return client, nil
				})
				if took := a.expect(t, c, "http://a.test/"); took != a.took {
					t.Errorf("took %v, want %v", took, a.took)
				}
				_ = c.Close()
				wg.Wait()
			})
		})
	}
}

// TestAttacksOverLoopback: the same through the kernel's sockets, for those that no clock
// ends.
func TestAttacksOverLoopback(t *testing.T) {
	for _, a := range attacks() {
		if a.took > 0 {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			addr, _ := fetchLoopback(t, "127.0.0.1:0", a.serve())
			c := newCache(t, everfresh.WithJitter(0))
			if took := a.expect(t, c, "http://"+addr+"/"); took >= 10*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}
