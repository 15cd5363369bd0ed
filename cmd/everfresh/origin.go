package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The times of the origin's script, from the start of each round.
const (
	round      = 20 * time.Second
	flagsFail  = 3 * time.Second
	flagsWell  = 7 * time.Second
	reportHang = 10 * time.Second
	reportWell = 14 * time.Second
	keysRotate = 16 * time.Second

	retryAfter = 2 * time.Second
	tokenLife  = 6 * time.Second
)

// A step is a change of the origin's behaviour at a time of each round.
type step struct {
	at         time.Duration
	what, text string
}

var script = []step{
	{0, "well", "every resource answers"},
	{flagsFail, "fails", fmt.Sprintf("flags: 503 with Retry-After: %d", retryAfter/time.Second)},
	{flagsWell, "well", "flags answers again"},
	{reportHang, "hangs", "report: no answer"},
	{reportWell, "well", "report answers again"},
	{keysRotate, "changes", "keys: rotated, another ETag"},
}

// An origin is a small HTTP server. The behaviour of its resources, some of which fail,
// depends on the time since its start.
type origin struct {
	url     string
	start   time.Time
	server  *http.Server
	serving sync.WaitGroup
	answers atomic.Int64 // makes every price and every token different
}

// startOrigin starts an origin on l, which it owns.
func startOrigin(l net.Listener) *origin {
	o := &origin{url: "http://" + l.Addr().String(), start: time.Now()}
	o.server = &http.Server{
		Handler:           o.routes(),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0), // ignore connections that a hung refresh left
	}
	o.serving.Go(func() { _ = o.server.Serve(l) }) // ends with stop
	return o
}

// stop ends the origin and waits for it.
func (o *origin) stop() {
	_ = o.server.Close()
	o.serving.Wait()
}

func (o *origin) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /keys", slowly(150*time.Millisecond, o.keys))
	mux.HandleFunc("GET /settings", slowly(100*time.Millisecond, o.settings))
	mux.HandleFunc("GET /prices", slowly(250*time.Millisecond, o.prices))
	mux.HandleFunc("GET /token", slowly(200*time.Millisecond, o.token))
	mux.HandleFunc("GET /flags", slowly(150*time.Millisecond, o.flags))
	mux.HandleFunc("GET /report", slowly(400*time.Millisecond, o.report))
	return mux
}

// slowly gives next the latency of a network.
func slowly(latency time.Duration, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if pause(r.Context(), latency) {
			next(w, r)
		}
	}
}

// pause waits for d; false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// now returns the round and the time since it began.
func (o *origin) now() (n int, at time.Duration) {
	since := time.Since(o.start)
	return int(since / round), since % round
}

// keys serves keys that change once per round. A request with their ETag gets a 304.
func (o *origin) keys(w http.ResponseWriter, r *http.Request) {
	n, at := o.now()
	if at >= keysRotate {
		n++
	}
	w.Header().Set("Cache-Control", "max-age=4")
	w.Header().Set("ETag", fmt.Sprintf(`"keys-%d"`, n))
	kid := fmt.Sprintf("signing-%d", n)
	serveJSON(w, r, time.Time{}, keySet{Keys: []key{{ID: kid, Type: "EC"}, {ID: kid + "-next", Type: "EC"}}})
}

// settings serves a value that never changes. A request with If-Modified-Since gets a 304.
func (o *origin) settings(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Expires", time.Now().Add(5*time.Second).UTC().Format(http.TimeFormat))
	settings := map[string]string{"theme": "calm", "language": "en", "region": "eu-1"}
	serveJSON(w, r, o.start.Add(-time.Hour), settings)
}

// prices serves a different value every time.
func (o *origin) prices(w http.ResponseWriter, r *http.Request) {
	n := o.answers.Add(1)
	price := func(base, spread int64) float64 { return float64(base+n*7%spread*10+1) / 10000 }
	w.Header().Set("Cache-Control", "max-age=2")
	serveJSON(w, r, time.Time{}, map[string]float64{
		"EUR": price(10800, 37), "GBP": price(12600, 41), "CHF": price(11200, 43),
	})
}

// token serves a value that contains its own expiry.
func (o *origin) token(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	serveJSON(w, r, time.Time{}, token{
		Access: fmt.Sprintf("token-%08d", o.answers.Add(1)), Ends: time.Now().Add(tokenLife).UTC(),
	})
}

// flags fails for a part of each round.
func (o *origin) flags(w http.ResponseWriter, r *http.Request) {
	n, at := o.now()
	if flagsFail <= at && at < flagsWell {
		w.Header().Set("Retry-After", fmt.Sprint(int(retryAfter/time.Second)))
		http.Error(w, "out of order", http.StatusServiceUnavailable)
		return
	}
	if at >= flagsWell {
		n++
	}
	w.Header().Set("Cache-Control", "max-age=2")
	serveJSON(w, r, time.Time{}, map[string]bool{"new-checkout": n%2 == 1, "dark-mode": true})
}

// report does not answer for a part of each round.
func (o *origin) report(w http.ResponseWriter, r *http.Request) {
	_, at := o.now()
	if reportHang <= at && at < reportWell && !pause(r.Context(), reportWell-at) {
		return
	}
	w.Header().Set("Cache-Control", "max-age=3")
	w.Header().Set("ETag", `"report"`)
	content := strings.NewReader(strings.Repeat("All quiet today.\n", 120))
	http.ServeContent(w, r, "report.txt", time.Time{}, content)
}

// serveJSON answers with v, or with 304 where the request's validators allow it.
func serveJSON(w http.ResponseWriter, r *http.Request, modified time.Time, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "cannot encode the answer", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	http.ServeContent(w, r, "", modified, bytes.NewReader(body))
}
