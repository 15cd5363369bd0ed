package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// bodySize is that of a small JSON document, such as a key set.
	bodySize = 1600
	sameETag = `"same"`
)

// serve is the origin, which runs in a process of its own, so that the client's
// processor time is the client's alone. Below /same/ the document never changes, below
// /new/ it does at every request. serve prints its address to out and ends with in.
func serve(in io.Reader, out io.Writer) error {
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, ln.Addr()); err != nil {
		return err
	}
	srv := &http.Server{Handler: origin(), ReadHeaderTimeout: time.Minute}
	go func() {
		_, _ = io.Copy(io.Discard, in) // the end is what counts
		_ = srv.Close()
	}()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func origin() http.Handler {
	var count atomic.Uint64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /same/{n}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, sameETag, 0)
	})
	mux.HandleFunc("GET /new/{n}", func(w http.ResponseWriter, r *http.Request) {
		n := count.Add(1)
		answer(w, r, `"`+strconv.FormatUint(n, 10)+`"`, n)
	})
	return mux
}

// answer sends the n-th document, or 304 to who has it.
func answer(w http.ResponseWriter, r *http.Request, etag string, n uint64) {
	h := w.Header()
	h.Set("Etag", etag)
	h.Set("Cache-Control", "max-age=86400")
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(bodySize))
	_, _ = io.WriteString(w, documentText(n)) // the client notices
}

// documentText returns a JSON document of bodySize bytes.
func documentText(n uint64) string {
	head := fmt.Sprintf(`{"revision":"%020d","padding":"`, n)
	return head + strings.Repeat("x", bodySize-len(head)-2) + `"}`
}

// startOrigin starts the origin as a child process and returns its base URL. stop ends it.
func startOrigin(ctx context.Context) (base string, stop func() error, err error) {
	exe, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, exe, "-serve")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() error { return errors.Join(in.Close(), cmd.Wait()) }
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("the origin did not start: %w", err), stop())
	}
	return "http://" + strings.TrimSpace(addr), stop, nil
}
