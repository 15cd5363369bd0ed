package jwkstest

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"time"
)

// A Fault is a middleware around an [Endpoint], which is next. It answers instead of the
// endpoint, or lets it answer. The context of a request ends when the client leaves or when
// the fault is ended by [Endpoint.Recover] or another [Endpoint.Break]; after that, next
// calls the replacement. A Fault may panic with [http.ErrAbortHandler] to close the
// connection: data that it has flushed arrives.
//
// In memory, a fault runs in the goroutine of the request, and its response arrives when it
// returns.
type Fault func(next http.Handler) http.Handler

// Answer answers every request with this status, header and body; a nil header counts as
// an empty one. The Content-Type is application/json if the header has none.
//
//	Answer(503, http.Header{"Retry-After": {"120"}}, "")
//	Answer(200, nil, `{"error":"oops"}`)
func Answer(status int, header http.Header, body string) Fault {
	header = header.Clone()
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			maps.Copy(w.Header(), header.Clone())
			send(w, status, body)
		})
	}
}

// Redirect redirects every request with 302.
func Redirect(url string) Fault {
	return Answer(http.StatusFound, http.Header{"Location": {url}}, "")
}

// Hang does not answer until the client leaves or the fault ends.
func Hang(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		next.ServeHTTP(w, r)
	})
}

// Delay delays every request by d, or until the fault ends.
func Delay(d time.Duration) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			timer := time.NewTimer(d)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-r.Context().Done():
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Drop closes the connection without an answer.
func Drop(http.Handler) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

// Truncate sends the header of the whole response and half of its body, and closes the
// connection. It treats conditional requests as unconditional, because a 304 has no body.
func Truncate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		plain := r.Clone(r.Context())
		plain.Header.Del("If-None-Match")
		whole := httptest.NewRecorder()
		next.ServeHTTP(whole, plain)
		maps.Copy(w.Header(), whole.Header())
		body := whole.Body.String()
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		send(w, whole.Code, body[:len(body)/2])
		if err := http.NewResponseController(w).Flush(); err != nil {
			panic("jwkstest: " + err.Error())
		}
		panic(http.ErrAbortHandler)
	})
}

// send sends a response. An error means that the client has left, which ends the request.
func send(w http.ResponseWriter, status int, body string) {
	w.WriteHeader(status)
	// Copy in pieces: io.WriteString would copy a large body as a whole.
	if _, err := io.CopyN(w, strings.NewReader(body), int64(len(body))); err != nil {
		panic(http.ErrAbortHandler)
	}
}
