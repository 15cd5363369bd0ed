package jwkstest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"sync"
	"time"
)

// An Endpoint is one URL of an [Issuer]. It answers GET and HEAD with 200, the current
// JSON document and a strong ETag, and answers a matching If-None-Match with 304 (RFC
// 9110, section 13). All methods are safe for concurrent use.
type Endpoint struct {
	issuer   *Issuer
	document func() []byte

	mu       sync.Mutex
	path     string
	header   http.Header // "" means that the field is not sent
	fault    *fault      // nil: none
	requests []*Request
}

// A Request is a request that an endpoint has received, whatever its response was.
type Request struct {
	At     time.Time   // of its arrival
	Header http.Header // owned by the caller
	Status int         // of the response; 0 if it has not begun
}

// Conditional reports whether the request came with If-None-Match.
func (r Request) Conditional() bool { return r.Header.Get("If-None-Match") != "" }

// A fault is the fault of an endpoint. Its map is guarded by Endpoint.mu.
type fault struct {
	faults []Fault
	held   map[*http.Request]context.CancelFunc // the requests that it has not passed on
}

// URL returns the address of the endpoint.
func (e *Endpoint) URL() string {
	base := e.issuer.base()
	e.mu.Lock()
	defer e.mu.Unlock()
	return base + e.path
}

// Move changes the path of the endpoint, which begins with a slash. The old path answers
// 404. The metadata contains the new URL of a key set that has moved.
func (e *Endpoint) Move(path string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.path = path
}

// SetHeader sets a header field of responses without a fault, such as Cache-Control, Age
// or Retry-After. A field with an empty value is not sent, including ETag, Content-Type and
// Date. A fixed ETag becomes wrong when the document changes.
func (e *Endpoint) SetHeader(name, value string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.header == nil {
		e.header = make(http.Header)
	}
	e.header.Set(name, value)
}

// Break replaces the faults of the endpoint; the first one is outermost. Requests that the
// old faults held are passed to the new ones.
func (e *Endpoint) Break(faults ...Fault) {
	e.replace(&fault{faults: faults, held: make(map[*http.Request]context.CancelFunc)})
}

// Recover ends all faults. Requests that they held are answered.
func (e *Endpoint) Recover() { e.replace(nil) }

// Requests returns all requests so far, in the order of their arrival, as a copy.
func (e *Endpoint) Requests() []Request {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]Request, 0, len(e.requests))
	for _, r := range e.requests {
		all = append(all, Request{At: r.At, Header: r.Header.Clone(), Status: r.Status})
	}
	return all
}

func (e *Endpoint) replace(f *fault) {
	e.mu.Lock()
	old := e.fault
	e.fault = f
	var release []context.CancelFunc
	if old != nil {
		for _, cancel := range old.held {
			release = append(release, cancel)
		}
	}
	e.mu.Unlock()
	for _, cancel := range release {
		cancel()
	}
}

func (e *Endpoint) at(path string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.path == path
}

func (e *Endpoint) serve(w http.ResponseWriter, r *http.Request) {
	entry := &Request{At: time.Now(), Header: r.Header.Clone()}
	e.mu.Lock()
	e.requests = append(e.requests, entry)
	e.mu.Unlock()
	e.pass(&statusWriter{ResponseWriter: w, note: func(status int) {
		e.mu.Lock()
		defer e.mu.Unlock()
		entry.Status = status
	}}, r)
}

// pass passes the request to the current fault, or answers it. Requests that a fault lets
// through after it was replaced go to its successor.
func (e *Endpoint) pass(w http.ResponseWriter, r *http.Request) {
	f, held, leave := e.hold(r)
	if f == nil {
		e.answer(w, r)
		return
	}
	defer leave()
	var h http.Handler = http.HandlerFunc(e.answer)
	for _, wrap := range slices.Backward(f.faults) {
		h = wrap(e.guard(f, r, h))
	}
	h.ServeHTTP(w, held)
}

// guard returns the next handler of a fault: h, as long as f is in effect.
func (e *Endpoint) guard(f *fault, r *http.Request, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, inner *http.Request) {
		switch {
		case r.Context().Err() != nil:
			panic(http.ErrAbortHandler) // the client is gone
		case e.current() != f:
			e.pass(w, r)
		default:
			h.ServeHTTP(w, inner)
		}
	})
}

// hold returns the current fault, and the request with a context that ends when the fault
// does.
func (e *Endpoint) hold(r *http.Request) (f *fault, held *http.Request, leave func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f = e.fault
	if f == nil {
		return nil, nil, nil
	}
	ctx, cancel := context.WithCancel(r.Context())
	held = r.WithContext(ctx)
	f.held[held] = cancel
	return f, held, func() {
		cancel()
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(f.held, held)
	}
}

func (e *Endpoint) current() *fault {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.fault
}

func (e *Endpoint) answer(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body := e.document()
	sum := sha256.Sum256(body)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Etag", `"`+hex.EncodeToString(sum[:8])+`"`)
	e.mu.Lock()
	for name, value := range e.header {
		w.Header()[name] = value
		if value[0] == "" {
			w.Header()[name] = nil // net/http then sends no default of its own
		}
	}
	e.mu.Unlock()
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// A statusWriter records the status before the client can see it.
type statusWriter struct {
	http.ResponseWriter
	note  func(status int)
	noted bool
}

// WriteHeader implements [http.ResponseWriter].
func (w *statusWriter) WriteHeader(status int) {
	if !w.noted && status >= http.StatusOK {
		w.noted = true
		w.note(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *statusWriter) Write(p []byte) (int, error) {
	if !w.noted {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
