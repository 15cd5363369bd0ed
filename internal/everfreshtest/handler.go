package everfreshtest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"time"
)

// A Transport calls a handler directly: no connection, no goroutine, so that it scales
// and works in a synctest bubble.
type Transport struct{ http.Handler }

// RoundTrip implements [http.RoundTripper]. Like a connection, it fails when the context
// of the request has ended, and when the handler aborts.
func (t Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	rec := httptest.NewRecorder()
	if !serve(t, rec, req) {
		return nil, ErrRefused
	}
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	resp := rec.Result()
	resp.ContentLength = int64(rec.Body.Len())
	resp.Request = req
	return resp, nil
}

// serve reports whether h answers.
func serve(h http.Handler, w http.ResponseWriter, req *http.Request) (answers bool) {
	defer func() {
		if v := recover(); v != nil && v != http.ErrAbortHandler { //nolint:errorlint // As net/http compares it.
			panic(v)
		}
	}()
	h.ServeHTTP(w, req)
	return true
}

// Abort is a handler that breaks the connection off.
func Abort(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// Client returns a client whose requests h answers in process.
func Client(h http.HandlerFunc) *http.Client { return &http.Client{Transport: Transport{h}} }

// Text answers every request with body and header fields kv.
func Text(body string, kv ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		setHeader(w.Header(), kv)
		_, _ = w.Write([]byte(body))
	}
}

// Status answers with a code, header fields kv and a short body.
func Status(code int, kv ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		setHeader(w.Header(), kv)
		w.WriteHeader(code)
		if code != http.StatusNoContent && code != http.StatusNotModified {
			_, _ = io.WriteString(w, "body of the answer")
		}
	}
}

// Slow answers with body after d, unless the request is called off.
func Slow(d time.Duration, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if Sleep(req.Context(), d) {
			_, _ = w.Write([]byte(body))
		}
	}
}

func setHeader(h http.Header, kv []string) {
	for i := 0; i < len(kv); i += 2 {
		h.Set(kv[i], kv[i+1])
	}
}
