package everfreshtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
)

// ErrRefused is the error of an origin or a network that cannot be reached.
var ErrRefused = errors.New("connection refused")

// Refuse is for [Origin.Down]: no connection is made.
func Refuse() error { return ErrRefused }

// An Origin answers requests in process and remembers what it was asked, and when. Its
// fields say how; they are changed with Set once there are requests. The zero value
// numbers its answers, which are fresh for an hour.
type Origin struct {
	Start  time.Time        // of Times and Now; NewOrigin sets it
	Answer http.HandlerFunc // nil: what the fields below say
	Delay  time.Duration    // of each answer
	Hang   bool             // give no answer
	Down   func() error     // if it returns an error, there is no connection
	Code   int              // of the answers, which then have no body; 0 stands for 200
	Header http.Header      // nil: fresh for an hour
	ETag   string           // with it, or with one in Header, conditional requests get 304
	Body   string           // empty: the number of the request

	mu    sync.Mutex
	asked []Request
	now   int // requests in flight
	most  int // highest now
}

// A Request is what an Origin remembers of a request.
type Request struct {
	*http.Request           // without body
	At            time.Time // when it came
	Sent          string    // its body
}

// NewOrigin returns an origin that began now. It gives each of answers once, and the last
// again and again; without any it answers as its fields say.
func NewOrigin(answers ...http.HandlerFunc) *Origin {
	o := &Origin{Start: time.Now()}
	if len(answers) > 0 {
		o.Answer = sequence(answers)
	}
	return o
}

// NewBody returns an origin that answers with body and the header fields kv, and with 304
// if the request has their ETag.
func NewBody(body string, kv ...string) *Origin {
	o := NewOrigin()
	o.Body, o.Header = body, http.Header{}
	setHeader(o.Header, kv)
	return o
}

func sequence(answers []http.HandlerFunc) http.HandlerFunc {
	if len(answers) == 1 {
		return answers[0]
	}
	var next atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		answers[min(int(next.Add(1)), len(answers))-1](w, r)
	}
}

// Set changes the origin.
func (o *Origin) Set(change func(*Origin)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(o)
}

// Say changes the answer.
func (o *Origin) Say(answer http.HandlerFunc) { o.Set(func(o *Origin) { o.Answer = answer }) }

// Option makes o the origin of a cache or a resource.
func (o *Origin) Option() everfresh.Option { return everfresh.WithHTTPClient(o.Client()) }

// Client returns a client whose requests o answers.
func (o *Origin) Client() *http.Client { return &http.Client{Transport: o} }

// RoundTrip implements [http.RoundTripper].
func (o *Origin) RoundTrip(req *http.Request) (*http.Response, error) {
	s := o.enter(req)
	defer o.leave()
	if !s.wait(req.Context()) {
		return nil, req.Context().Err()
	}
	if s.down != nil {
		if err := s.down(); err != nil {
			return nil, err
		}
	}
	return Transport{s.answer}.RoundTrip(req)
}

// ServeHTTP answers as a server does; an origin that is down breaks the connection off.
func (o *Origin) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	s := o.enter(req)
	defer o.leave()
	if !s.wait(req.Context()) {
		return
	}
	if s.down != nil && s.down() != nil {
		panic(http.ErrAbortHandler)
	}
	s.answer(w, req)
}

// settings are what one request finds.
type settings struct {
	hang   bool
	delay  time.Duration
	down   func() error
	answer http.HandlerFunc
}

func (o *Origin) enter(req *http.Request) settings {
	var data []byte
	if req.Body != nil {
		data, _ = io.ReadAll(req.Body)
		_ = req.Body.Close()
		req.Body = io.NopCloser(bytes.NewReader(data))
	}
	url := *req.URL
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked = append(o.asked, Request{At: time.Now(), Sent: string(data), Request: &http.Request{
		Method: req.Method, URL: &url, Host: req.Host, Header: req.Header.Clone(), ContentLength: req.ContentLength,
	}})
	o.now++
	o.most = max(o.most, o.now)
	s := settings{hang: o.Hang, delay: o.Delay, down: o.Down, answer: o.Answer}
	if n := len(o.asked); s.answer == nil {
		s.answer = func(w http.ResponseWriter, req *http.Request) { o.reply(w, req, n) }
	}
	return s
}

func (o *Origin) leave() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now--
}

// wait reports whether ctx let the answer come.
func (s *settings) wait(ctx context.Context) bool {
	if s.hang {
		<-ctx.Done()
		return false
	}
	return Sleep(ctx, s.delay)
}

// reply answers request n as the fields say by then.
func (o *Origin) reply(w http.ResponseWriter, req *http.Request, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.Header == nil {
		w.Header().Set("Cache-Control", "max-age=3600")
	}
	for k, v := range o.Header {
		w.Header()[k] = slices.Clone(v)
	}
	if o.ETag != "" {
		w.Header().Set("Etag", o.ETag)
	}
	if o.Code != 0 {
		w.WriteHeader(o.Code)
		return
	}
	if etag := w.Header().Get("Etag"); etag != "" && req.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := o.Body
	if body == "" {
		body = strconv.Itoa(n)
	}
	_, _ = io.WriteString(w, body)
}

// Requests returns all requests so far.
func (o *Origin) Requests() []Request {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.asked)
}

// Take returns the requests since the last call, and forgets them.
func (o *Origin) Take() (asked []Request) {
	o.Set(func(o *Origin) { asked, o.asked = o.asked, nil })
	return asked
}

// Count returns how many requests there were.
func (o *Origin) Count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.asked)
}

// Last returns the last request. There must be one.
func (o *Origin) Last() Request {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked[len(o.asked)-1]
}

// Busy returns how many requests are in flight, and how many were at most.
func (o *Origin) Busy() (now, most int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now, o.most
}

// Times returns when path was asked for, since Start; "" stands for all paths.
func (o *Origin) Times(path string) (times []time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.asked {
		if path == "" || r.URL.Path == path {
			times = append(times, r.At.Sub(o.Start))
		}
	}
	return times
}

// Now returns the time since Start.
func (o *Origin) Now() time.Duration { return time.Since(o.Start) }

// SleepUntil sleeps until at after Start, and until all that happens then has happened.
func (o *Origin) SleepUntil(at time.Duration) {
	time.Sleep(at - o.Now())
	synctest.Wait()
}

// Sleep reports whether ctx let it sleep for d.
func Sleep(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
