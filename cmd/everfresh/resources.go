package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everfresh-go/everfresh"
)

type key struct {
	ID   string `json:"kid"`
	Type string `json:"kty"`
}

type keySet struct {
	Keys []key `json:"keys"`
}

// A token contains its own expiry.
type token struct {
	Access string    `json:"access_token"`
	Ends   time.Time `json:"expires_at"`
}

// ExpiresAt sets the end of the resource's value.
func (t token) ExpiresAt() time.Time { return t.Ends }

// A watched resource is the part of a handle that the demonstration needs, without its type.
type watched struct {
	about  string // what its origin does
	get    func(context.Context) error
	status func() everfresh.Status
}

// registrations makes handles and keeps the first error.
type registrations struct {
	cache *everfresh.Cache
	base  string
	list  []watched
	err   error
}

// watch registers the resource name and adds it to the list.
func watch[T any](r *registrations, name, about string, decode everfresh.Decoder[T], opts ...everfresh.RegisterOption) {
	res, err := everfresh.Register(r.cache, r.base+"/"+name, decode, append(opts, everfresh.WithKey(name))...)
	if err != nil {
		r.err = errors.Join(r.err, err)
		return
	}
	get := func(ctx context.Context) error {
		_, err := res.Get(ctx)
		return err
	}
	r.list = append(r.list, watched{about: about, get: get, status: res.Status})
}

// registerAll registers the resources of the demonstration.
func registerAll(c *everfresh.Cache, base string) ([]watched, error) {
	r := &registrations{cache: c, base: base}
	watch(r, "keys", "max-age=4, ETag", everfresh.JSON[keySet]())
	watch(r, "settings", "Expires, Last-Modified", everfresh.JSON[map[string]string]())
	watch(r, "prices", "max-age=2, always new", everfresh.JSON[map[string]float64]())
	// A minimum interval never delays the refresh of a value past its own expiry.
	watch(r, "token", "ends by itself after 6 s", everfresh.JSON[token](),
		everfresh.WithMinRefreshInterval(time.Minute), everfresh.WithRefreshAhead(2*time.Second))
	watch(r, "flags", "max-age=2, or a 503", everfresh.JSON[map[string]bool]())
	watch(r, "report", "max-age=3, or it hangs", everfresh.Bytes(),
		everfresh.WithTimeout(1500*time.Millisecond))
	return r.list, r.err
}

// readPause is the pause of a reader after it has read every value.
const readPause = 2 * time.Millisecond

// A reader reads every value all the time.
type reader struct {
	reads, missing atomic.Int64
	cancel         context.CancelFunc
	reading        sync.WaitGroup
}

// startReader starts a reader, which continues after the end of ctx.
func startReader(ctx context.Context, list []watched) *reader {
	r := new(reader)
	ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	r.reading.Go(func() { r.run(ctx, list) })
	return r
}

// stop ends the reader and waits for it.
func (r *reader) stop() {
	r.cancel()
	r.reading.Wait()
}

func (r *reader) run(ctx context.Context, list []watched) {
	// With a context that has ended, a Get that would have to wait fails; a value that is
	// there is returned.
	ended, end := context.WithCancel(ctx)
	end()
	tick := time.NewTicker(readPause)
	defer tick.Stop()
	had := make([]bool, len(list))
	for {
		select {
		case <-tick.C:
			r.readAll(ended, list, had)
		case <-ctx.Done():
			return
		}
	}
}

// readAll gets every value once. had says which ones have been there; before its first
// value, a resource misses none.
func (r *reader) readAll(ctx context.Context, list []watched, had []bool) {
	for i, w := range list {
		err := w.get(ctx)
		if err != nil && !had[i] {
			continue
		}
		had[i] = true
		r.reads.Add(1)
		if err != nil {
			r.missing.Add(1)
		}
	}
}
