package everfresh_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
)

// limitsRaw runs an origin that answers the n-th request with the n-th raw answer, and
// the last one from then on, each on its own connection.
func limitsRaw(t *testing.T, answers ...string) *http.Client {
	t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	asked := 0
	next := func() string {
		mu.Lock()
		defer mu.Unlock()
		asked++
		return answers[min(asked, len(answers))-1]
	}
	dial := func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		wg.Go(func() {
			defer server.Close()
			if _, err := http.ReadRequest(bufio.NewReader(server)); err != nil {
				return
			}
			_, _ = io.WriteString(server, next())
		})
		return client, nil
	}
	t.Cleanup(wg.Wait)
	return &http.Client{Transport: &http.Transport{
		DialContext: dial, DialTLSContext: dial, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
	}}
}

func limitsGzip(data []byte) []byte {
	var packed bytes.Buffer
	zw, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	_, _ = zw.Write(data)
	_ = zw.Close()
	return packed.Bytes()
}

// limitsFramed is a whole HTTP/1.1 answer.
func limitsFramed(body string, fields ...string) string {
	return "HTTP/1.1 200 OK\r\n" + strings.Join(append(fields, fmt.Sprintf("Content-Length: %d", len(body))), "\r\n") + "\r\n\r\n" + body
}

// limitsChunk is one chunk of the chunked coding.
func limitsChunk(data string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(data), data) }

var limitsJSON = func(ctx context.Context, resp *http.Response) (json.RawMessage, error) {
	return everfresh.JSON[json.RawMessage]()(ctx, resp)
}

// What is refused never replaces what was there, at either door.
func TestBodiesThatAreRefused(t *testing.T) {
	const (
		ok      = "HTTP/1.1 200 OK\r\n"
		chunked = ok + "Transfer-Encoding: chunked\r\n\r\n"
		good    = `{"good":true}`
	)
	bomb := limitsGzip(make([]byte, 3<<20)) // about 3 KB
	packed := string(limitsGzip([]byte(`{"packed":true}`)))
	flipped := []byte(packed)
	flipped[len(flipped)-6] ^= 1 // within the checksum
	tests := []struct {
		name, answer, want string
		is                 error
		opts               []everfresh.RegisterOption
	}{
		{"too large by its length", limitsFramed(strings.Repeat(" ", 101)), "body too large", everfresh.ErrTooLarge, []everfresh.RegisterOption{everfresh.WithMaxBytes(100)}},
		{"too large", chunked + limitsChunk(strings.Repeat(" ", 101)) + "0\r\n\r\n", "body too large", everfresh.ErrTooLarge, []everfresh.RegisterOption{everfresh.WithMaxBytes(100)}},
		{"too large once decoded", limitsFramed(string(limitsGzip(bytes.Repeat([]byte("ab"), 51))), "Content-Encoding: gzip"), "body too large", everfresh.ErrTooLarge, []everfresh.RegisterOption{everfresh.WithMaxBytes(100)}},
		{"default limit", chunked + limitsChunk(strings.Repeat(" ", 10<<20)) + limitsChunk(" ") + "0\r\n\r\n", "body too large", everfresh.ErrTooLarge, nil},
		{"a length that is a threat", ok + "Content-Length: 9223372036854775807\r\n\r\nx", "body too large", everfresh.ErrTooLarge, nil},
		{"gzip bomb", limitsFramed(string(bomb), "Content-Encoding: gzip"), "out of proportion", everfresh.ErrTooLarge, nil},
		{"gzip bomb without a length", chunked[:len(chunked)-2] + "Content-Encoding: gzip\r\n\r\n" + limitsChunk(string(bomb)) + "0\r\n\r\n", "out of proportion", everfresh.ErrTooLarge, nil},
		{"cut", ok + "Content-Length: 100\r\n\r\n" + good, "truncated", io.ErrUnexpectedEOF, nil},
		{"cut chunks", chunked + limitsChunk(good), "truncated", io.ErrUnexpectedEOF, nil},
		{"cut in a chunk", chunked + "ff\r\n" + good, "truncated", io.ErrUnexpectedEOF, nil},
		{"cut gzip in whole chunks", chunked[:len(chunked)-2] + "Content-Encoding: gzip\r\n\r\n" + limitsChunk(packed[:len(packed)-1]) + "0\r\n\r\n", "truncated", io.ErrUnexpectedEOF, nil},
		{"damaged gzip", limitsFramed(string(flipped), "Content-Encoding: gzip"), "bad body encoding", nil, nil},
		{"not gzip", limitsFramed(good, "Content-Encoding: gzip"), "bad body encoding", nil, nil},
		{"another coding", limitsFramed(good, "Content-Encoding: br"), "coding other than gzip", nil, nil},
		{"two codings", limitsFramed(good, "Content-Encoding: gzip, gzip"), "more than one", nil, nil},
		{"no end", ok + "\r\n" + good, "without a marked end", nil, nil},
		{"no end in HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n" + good, "without a marked end", nil, nil},
		{"empty, typed", limitsFramed(""), "body empty", nil, nil},
		{"empty chunks, typed", chunked + "0\r\n\r\n", "body empty", nil, nil},
		{"no end, and lenient: cut JSON is the decoder's to notice", ok + "\r\n" + good[:8], "invalid JSON", nil, []everfresh.RegisterOption{everfresh.WithLenientBody(true)}},
		{"empty, and lenient: the decoder's, too", limitsFramed(""), "invalid JSON", nil, []everfresh.RegisterOption{everfresh.WithLenientBody(true)}},
		{"lenient does not mean cut", ok + "Content-Length: 100\r\n\r\n" + good, "truncated", io.ErrUnexpectedEOF, []everfresh.RegisterOption{everfresh.WithLenientBody(true)}},
		{"lenient does not mean large", ok + "\r\n" + strings.Repeat(" ", 101), "body too large", everfresh.ErrTooLarge, []everfresh.RegisterOption{everfresh.WithLenientBody(true), everfresh.WithMaxBytes(100)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l listener
				c := newCache(t, append(l.options(), everfresh.WithHTTPClient(limitsRaw(t, limitsFramed(good), tt.answer)))...)
				r := register(t, c, "http://a.test/", limitsJSON, append(tt.opts, everfresh.WithPrefetch(false))...)
				if _, err := r.Get(t.Context()); err != nil {
					t.Fatal(err)
				}
				before := r.Snapshot()
				err := r.Refresh(t.Context())
				if err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("error = %v, want %q that is %v", err, tt.want, tt.is)
				}
				if errors.Is(err, everfresh.ErrNotReady) || errors.Is(err, everfresh.ErrTooLarge) != errors.Is(tt.is, everfresh.ErrTooLarge) {
					t.Errorf("error = %v Is ErrNotReady: %v, ErrTooLarge: %v", err, errors.Is(err, everfresh.ErrNotReady), errors.Is(err, everfresh.ErrTooLarge))
				}
				after := r.Snapshot()
				if string(after.Value) != good || after.Version != before.Version || !after.FreshUntil.Equal(before.FreshUntil) || after.Err == nil {
					t.Errorf("serves %s of version %d with error %v, want what was there", after.Value, after.Version, after.Err)
				}
				synctest.Wait()
				if got := l.Events("failed"); len(got) != 1 || len(l.Errors()) != 1 {
					t.Errorf("%d events of failure, %d errors; want 1 each", len(got), len(l.Errors()))
				}
			})
		})
	}
}

func TestBodiesThatAreAccepted(t *testing.T) {
	const good = `{"good":true}`
	tests := []struct {
		name, answer, want string
		opts               []everfresh.RegisterOption
	}{
		{"as large as may be", limitsFramed(good), good, []everfresh.RegisterOption{everfresh.WithMaxBytes(int64(len(good)))}},
		{"gzip", limitsFramed(string(limitsGzip([]byte(good))), "Content-Encoding: gzip"), good, nil},
		{"gzip, as large as may be", limitsFramed(string(limitsGzip([]byte(good))), "Content-Encoding: x-gzip"), good, []everfresh.RegisterOption{everfresh.WithMaxBytes(int64(len(good)))}},
		{"no end, lenient", "HTTP/1.1 200 OK\r\n\r\n" + good, good, []everfresh.RegisterOption{everfresh.WithLenientBody(true)}},
		{"no end in HTTP/1.0, lenient", "HTTP/1.0 200 OK\r\n\r\n" + good, good, []everfresh.RegisterOption{everfresh.WithLenientBody(true)}},
		{"gzip without an end, lenient", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + string(limitsGzip([]byte(good))), good, []everfresh.RegisterOption{everfresh.WithLenientBody(true)}},
		{"strict again after lenient", limitsFramed(good), good, []everfresh.RegisterOption{everfresh.WithLenientBody(true), everfresh.WithLenientBody(false)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCache(t, everfresh.WithHTTPClient(limitsRaw(t, tt.answer)))
				r := register(t, c, "http://a.test/", limitsJSON, tt.opts...)
				if v, err := r.Get(t.Context()); string(v) != tt.want || err != nil {
					t.Errorf("Get = %s, %v, want %s", v, err, tt.want)
				}
			})
		})
	}
}

// Who takes an empty 200: the untyped door, Bytes, and whoever says so.
func TestEmptyBodies(t *testing.T) {
	for _, answer := range []string{limitsFramed(""), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", limitsFramed(string(limitsGzip(nil)), "Content-Encoding: gzip")} {
		synctest.Test(t, func(t *testing.T) {
			c := newCache(t, everfresh.WithHTTPClient(limitsRaw(t, answer)))
			length := func(_ context.Context, resp *http.Response) (int64, error) { return resp.ContentLength, nil }
			if err := c.Register("http://a.test/untyped"); err != nil {
				t.Fatal(err)
			}
			if v, err := c.Get(t.Context(), "http://a.test/untyped"); err != nil || len(v.([]byte)) != 0 {
				t.Errorf("untyped: Get = %v, %v", v, err)
			}
			if v, err := register(t, c, "http://a.test/bytes", everfresh.Bytes()).Get(t.Context()); v == nil || len(v) != 0 || err != nil {
				t.Errorf("Bytes: Get = %#v, %v", v, err)
			}
			if v, err := register(t, c, "http://a.test/lenient", length, everfresh.WithLenientBody(true)).Get(t.Context()); v != 0 || err != nil {
				t.Errorf("lenient: Get = %v, %v", v, err)
			}
			if v, err := register(t, c, "http://a.test/typed", length).Get(t.Context()); err == nil || !strings.Contains(err.Error(), "body empty") {
				t.Errorf("typed: Get = %v, %v, want an empty body refused", v, err)
			}
		})
	}
}

// limitsDrip writes piece, then sleeps, n times. It stops when the client is gone.
func limitsDrip(w http.ResponseWriter, r *http.Request, piece string, every time.Duration, n int) {
	for range n {
		_, _ = io.WriteString(w, piece)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(every):
		case <-r.Context().Done():
			return
		}
	}
}

func TestSlowBodies(t *testing.T) {
	tests := []struct {
		name    string
		handler http.HandlerFunc
		opts    []everfresh.RegisterOption
		want    string // part of the error; "" for a good answer
		took    time.Duration
	}{
		{"nothing after the header", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			limitsDrip(w, r, "", time.Hour, 1)
		}, nil, "too slow", 5 * time.Second},
		{"stops in the middle", func(w http.ResponseWriter, r *http.Request) {
			limitsDrip(w, r, strings.Repeat("x", 64<<10), time.Second, 3)
			limitsDrip(w, r, "", time.Hour, 1)
		}, nil, "too slow", 7 * time.Second},
		{"a byte at a time", func(w http.ResponseWriter, r *http.Request) {
			limitsDrip(w, r, "x", 200*time.Millisecond, 1000)
		}, nil, "too slow", 5 * time.Second},
		{"half of the rate", func(w http.ResponseWriter, r *http.Request) {
			limitsDrip(w, r, strings.Repeat("x", 512), time.Second, 1000)
		}, nil, "too slow", 5 * time.Second},
		{"twice the rate", func(w http.ResponseWriter, r *http.Request) {
			limitsDrip(w, r, strings.Repeat("x", 2048), time.Second, 20)
		}, nil, "", 20 * time.Second},
		{"pauses just short of the limit", func(w http.ResponseWriter, r *http.Request) {
			limitsDrip(w, r, strings.Repeat("x", 8<<10), 4900*time.Millisecond, 4)
		}, nil, "", 4 * 4900 * time.Millisecond},
		{"fast enough, but too long", func(w http.ResponseWriter, r *http.Request) {
			limitsDrip(w, r, strings.Repeat("x", 4096), time.Second, 1000)
		}, nil, "no answer within 30s", 30 * time.Second},
		{"no header", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, nil, "no answer within 30s", 30 * time.Second},
		{
			"own timeout", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			[]everfresh.RegisterOption{everfresh.WithTimeout(time.Second)},
			"no answer within 1s", time.Second,
		},
		{"own timeout before the idle one", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			limitsDrip(w, r, "", time.Hour, 1)
		}, []everfresh.RegisterOption{everfresh.WithTimeout(3 * time.Second)}, "no answer within 3s", 3 * time.Second},
		{"at once", text("new"), nil, "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first := true
				client := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if first {
						first = false
						text("old")(w, r)
						return
					}
					tt.handler(w, r)
				}))
				c := newCache(t, everfresh.WithHTTPClient(client), everfresh.WithJitter(0))
				r := register(t, c, "http://a.test/", everfresh.Bytes(), append(tt.opts, everfresh.WithPrefetch(false))...)
				if _, err := r.Get(t.Context()); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				err := r.Refresh(t.Context())
				if took := time.Since(start); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				v, _ := r.Peek()
				if tt.want == "" {
					if err != nil || string(v) == "old" {
						t.Errorf("Refresh: %v, serves %.10q", err, v)
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error = %v, want %q", err, tt.want)
				}
				timedOut := strings.HasPrefix(tt.want, "no answer")
				if errors.Is(err, context.DeadlineExceeded) != timedOut {
					t.Errorf("error = %v, Is DeadlineExceeded: %v", err, !timedOut)
				}
				if string(v) != "old" {
					t.Errorf("serves %.10q, want the old value", v)
				}
			})
		})
	}
}

// The timeout ends with the decoded value, so that a decoder is told to stop.
func TestTimeoutReachesTheDecoder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, everfresh.WithHTTPClient(clientOf(text("x"))), everfresh.WithTimeout(2*time.Second))
		start := time.Now()
		r := register(t, c, "https://a.test/", func(ctx context.Context, _ *http.Response) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
		_, err := r.Get(t.Context())
		if took := time.Since(start); took != 2*time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// The ratio of a gzip body counts past the first MiB only: small ones may be dense.
func TestDenseGzipBelowAMebibyte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dense := limitsGzip(make([]byte, 1<<20-1))
		c := newCache(t, everfresh.WithHTTPClient(limitsRaw(t, limitsFramed(string(dense), "Content-Encoding: gzip"))))
		r := register(t, c, "http://a.test/", everfresh.Bytes())
		if v, err := r.Get(t.Context()); len(v) != 1<<20-1 || err != nil {
			t.Errorf("Get: %d bytes, %v", len(v), err)
		}
	})
}

// After a refusal the next good answer is taken, in the same connection's life or not.
func TestRecoveryAfterARefusedBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, everfresh.WithHTTPClient(limitsRaw(t,
			limitsFramed("old"), "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnew", limitsFramed("new"))), everfresh.WithJitter(0))
		r := register(t, c, "http://a.test/", everfresh.Bytes(), everfresh.WithPrefetch(false))
		if _, err := r.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.Refresh(t.Context()); err == nil {
			t.Fatal("the cut body was taken")
		}
		time.Sleep(251 * time.Millisecond) // the floor of the back-off
		synctest.Wait()
		if v, _ := r.Peek(); string(v) != "new" {
			t.Errorf("serves %q after the back-off, want new", v)
		}
		if st := r.Status(); st.Failures != 0 || st.Err != nil {
			t.Errorf("%d failures, %v", st.Failures, st.Err)
		}
	})
}
