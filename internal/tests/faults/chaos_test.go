package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
)

// A chaos is readers of a cache whose origin answers with faults, and what they must
// never see: an error once there was a value, a value that is torn or another
// resource's, one that is older than the one before, and one that is too old.
//
// The age of a value counts from the last answer that brought or confirmed it. It may
// reach the refresh interval, and for each failed refresh since the back-off that was
// drawn and the time that the failure took, which is at most one timeout, and one
// timeout more for the refresh under way.
type chaos struct {
	chaosScale
	t      testing.TB
	origin *faultOrigin
	all    []*chaosResource
	wrong  atomic.Int64 // errors reported
	reads  atomic.Int64
	oldest atomic.Int64 // age of the oldest value served, in nanoseconds
}

// A chaosScale says how fast time goes.
type chaosScale struct {
	resources      int
	unit           time.Duration // the shortest refresh interval
	timeout        time.Duration
	floor, ceiling time.Duration // of the back-off
	rest           time.Duration // of a reader between two reads, at most
	slack          time.Duration // the refresher's minimum wake interval, and what the machine takes
}

const chaosReaders = 64

// A chaosResource knows how old its value may be.
type chaosResource struct {
	*everfresh.Resource[faultValue]

	id     int64
	every  time.Duration // the longest refresh interval
	served atomic.Bool   // a caller got a value

	mu    sync.Mutex
	asked time.Time // when the request was sent whose answer is served at least; guarded by mu
	came  time.Time // when that answer came; guarded by mu
	until time.Time // when something newer must be there; zero before the first answer; guarded by mu
}

func newChaos(t testing.TB, seed uint64, scale chaosScale) *chaos {
	c := &chaos{chaosScale: scale, t: t}
	c.origin = newFaultOrigin(seed, scale.timeout)
	c.origin.period = func(id int64) time.Duration { return c.interval(id) * time.Duration(1+id%4) / 2 }
	c.origin.maxAge = c.interval
	for id := range int64(scale.resources) {
		// The minimum interval is exceeded by half where it decides, the first time.
		every := max(c.interval(id), scale.unit*3/2)
		c.all = append(c.all, &chaosResource{id: id, every: every})
	}
	return c
}

// interval returns how often a resource is refreshed.
func (c *chaos) interval(id int64) time.Duration { return c.unit * time.Duration(1+id%7) }

// options are those of the cache.
func (c *chaos) options() []everfresh.CacheOption {
	return []everfresh.CacheOption{
		everfresh.WithObserver(c.observe), everfresh.WithTimeout(c.timeout), everfresh.WithMaxBytes(faultMaxBytes),
		everfresh.WithBackoff(c.floor, c.ceiling), everfresh.WithMinRefreshInterval(c.unit),
	}
}

// register registers all resources. Every other one is fetched with client.
func (c *chaos) register(cache *everfresh.Cache, client *http.Client, url func(id int64) string) {
	c.t.Helper()
	for id, r := range c.all {
		opts := []everfresh.RegisterOption{everfresh.WithKey(strconv.Itoa(id))}
		if id%2 == 1 {
			opts = append(opts, everfresh.WithHTTPClient(client))
		}
		if id%3 > 0 { // else the header decides, or the minimum
			opts = append(opts, everfresh.WithRefreshInterval(c.interval(r.id)))
		}
		r.Resource = everfreshtest.Register(c.t, cache, url(r.id), decodeFault, opts...)
	}
}

// errorf reports what must not be. Of many such things the first are enough.
func (c *chaos) errorf(format string, args ...any) {
	if c.wrong.Add(1) <= 10 {
		c.t.Errorf(format, args...)
	}
}

// observe is the cache's observer.
func (c *chaos) observe(ev everfresh.Event) {
	id, err := strconv.Atoi(ev.Key)
	if err != nil {
		c.errorf("event of %q: %+v", ev.Key, ev)
		return
	}
	r := c.all[id]
	r.mu.Lock()
	defer r.mu.Unlock()
	sent := ev.Time.Add(-ev.Duration)
	switch ev.Kind {
	case "fetched", "unchanged":
		if d := ev.Next.Sub(ev.Time); d > r.every+c.slack {
			c.errorf("resource %d: next refresh after %v, want at most %v", id, d, r.every)
		}
		next := ev.Next
		if now := time.Now(); now.After(next) { // its body took longer than the interval
			next = now
		}
		r.asked, r.came, r.until = sent, ev.Time, next.Add(c.timeout)
	case "failed":
		if d := ev.Next.Sub(sent); d > c.timeout+c.longestDelay(ev.Attempt)+c.slack {
			c.errorf("resource %d: failure %d and back-off took %v", id, ev.Attempt, d)
		}
		if !r.until.IsZero() {
			r.until = ev.Next.Add(c.timeout)
		}
	case "expired":
		c.errorf("resource %d: withdrawn: %v", id, ev.Err)
	}
}

// longestDelay returns the most that may be drawn after the n-th failure in a row, or
// asked for by a 429.
func (c *chaos) longestDelay(n int) time.Duration {
	return max(min(c.floor<<min(n-1, 20), c.ceiling), faultPause*time.Second)
}

// read reads random resources until ctx ends.
func (c *chaos) read(ctx context.Context, rnd *rand.Rand) {
	last := make([]int64, len(c.all))
	for everfreshtest.Sleep(ctx, time.Duration(rnd.Int64N(int64(c.rest)))) {
		r := c.all[rnd.IntN(len(c.all))]
		if v, ok := c.readOne(ctx, r, rnd); ok {
			if v.Seq < last[r.id] {
				c.errorf("resource %d: value %d after %d", r.id, v.Seq, last[r.id])
			}
			last[r.id] = v.Seq
		}
	}
}

// readOne reads r and checks what it gets.
func (c *chaos) readOne(ctx context.Context, r *chaosResource, rnd *rand.Rand) (faultValue, bool) {
	now, served := time.Now(), r.served.Load()
	r.mu.Lock()
	asked, came, until := r.asked, r.came, r.until
	r.mu.Unlock()
	v, err := c.take(ctx, r, came, rnd)
	c.reads.Add(1)
	if err != nil {
		if served {
			c.errorf("resource %d: error after the first value: %v", r.id, err)
		}
		return v, false
	}
	r.served.Store(true)
	if err := v.check(r.id); err != nil {
		c.errorf("resource %d: %v", r.id, err)
	}
	if end := c.origin.supersededAt(v); end.Before(asked) {
		c.errorf("resource %d: value %d was replaced at %v, but a request of %v was answered", r.id, v.Seq, end, asked)
	}
	if !until.IsZero() {
		c.aged(now.Sub(came))
		if late := now.Sub(until); late > c.slack {
			c.errorf("resource %d: value of %v ago, %v past its bound", r.id, now.Sub(came), late)
		}
	}
	return v, true
}

// aged notes the age of a value.
func (c *chaos) aged(age time.Duration) {
	for {
		oldest := c.oldest.Load()
		if int64(age) <= oldest || c.oldest.CompareAndSwap(oldest, int64(age)) {
			return
		}
	}
}

var errNoValue = errors.New("no value")

// take gets the value of r in one of the ways there are. An answer came at that time.
func (c *chaos) take(ctx context.Context, r *chaosResource, came time.Time, rnd *rand.Rand) (faultValue, error) {
	switch way := rnd.IntN(20); {
	case way < 8:
		return r.Get(ctx)
	case way < 13:
		v, ok := r.Peek()
		if !ok {
			return v, errNoValue
		}
		return v, nil
	case way < 18:
		snap := r.Snapshot()
		if snap == nil {
			return faultValue{}, errNoValue
		}
		return snap.Value, c.checkTimes(snap, came)
	default:
		return c.newer(ctx, r)
	}
}

func (c *chaos) checkTimes(snap *everfresh.Snapshot[faultValue], came time.Time) error {
	now := time.Now().Add(c.slack)
	if snap.CheckedAt.Before(came) || snap.CheckedAt.After(now) || snap.FetchedAt.After(snap.CheckedAt) || !snap.ServeUntil.IsZero() {
		return fmt.Errorf("fetched at %v, checked at %v, served until %v; there was an answer at %v",
			snap.FetchedAt, snap.CheckedAt, snap.ServeUntil, came)
	}
	return nil
}

// newer asks for more than the value. That there is none now is no error of the value.
func (c *chaos) newer(ctx context.Context, r *chaosResource) (faultValue, error) {
	seen := r.Snapshot()
	if seen == nil {
		return faultValue{}, errNoValue
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout/2)
	defer cancel()
	snap, err := r.Newer(ctx, seen)
	var cooling *everfresh.RateLimitError
	var failed *everfresh.RefreshError
	switch {
	case errors.As(err, &cooling), errors.As(err, &failed) && failed.Stale, err != nil && ctx.Err() != nil:
		return r.Get(ctx)
	case err != nil:
		return faultValue{}, err
	case snap.Version < seen.Version:
		return snap.Value, fmt.Errorf("version %d after %d", snap.Version, seen.Version)
	default:
		return snap.Value, nil
	}
}

// run reads for as long as during returns.
func (c *chaos) run(seed uint64, during func()) {
	ctx, cancel := context.WithCancel(c.t.Context())
	var readers sync.WaitGroup
	for i := range uint64(chaosReaders) {
		readers.Go(func() { c.read(ctx, rand.New(rand.NewPCG(seed, i+1))) })
	}
	during()
	cancel()
	readers.Wait()
}

// report logs what happened, and checks that enough did.
func (c *chaos) report() {
	c.t.Helper()
	all, faults, byKind := c.origin.counts()
	c.t.Logf("%d answers with %d faults, %d reads, oldest value %v", all, faults, c.reads.Load(), time.Duration(c.oldest.Load()))
	for _, r := range c.all {
		if !r.served.Load() && all > 100*len(c.all) {
			c.t.Errorf("resource %d has never had a value", r.id)
		}
	}
	if all < 1000 {
		return
	}
	if part := float64(faults) / float64(all); part < 0.25 || part > 0.35 {
		c.t.Errorf("%.2f of the answers were faults, want 0.30", part)
	}
	for _, kind := range faultKinds {
		if byKind[kind.name] == 0 {
			c.t.Errorf("no fault of kind %q", kind.name)
		}
	}
}

// chaosSeeds returns n random seeds, or that of EVERFRESH_SEED.
func chaosSeeds(t *testing.T, n int) []uint64 {
	t.Helper()
	if s := os.Getenv("EVERFRESH_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			t.Fatalf("EVERFRESH_SEED: %v", err)
		}
		return []uint64{seed}
	}
	var seeds []uint64
	for range n {
		seeds = append(seeds, uint64(rand.Uint32()))
	}
	return seeds
}

// TestChaos: ten minutes in which three answers of ten are faults. The seed of a failure
// is in its name; EVERFRESH_SEED repeats it, but for the engine's own jitter.
func TestChaos(t *testing.T) {
	for _, seed := range chaosSeeds(t, 20) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { chaosVirtually(t, seed) })
		})
	}
}

// chaosVirtually runs in a bubble, which also finds goroutines that do not end.
func chaosVirtually(t *testing.T, seed uint64) {
	c := newChaos(t, seed, chaosScale{
		resources: 12, unit: 4 * time.Second, timeout: 6 * time.Second,
		floor: 250 * time.Millisecond, ceiling: 10 * time.Second,
		rest: 4 * time.Second, slack: 20 * time.Millisecond,
	})
	network := everfreshtest.NewNet()
	srv := &http.Server{Handler: c.origin, ReadHeaderTimeout: time.Hour, ErrorLog: log.New(io.Discard, "", 0)}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(network) })
	// TestSoak has the cache's own transports, which dial no network in memory.
	tr := &http.Transport{DialContext: network.DialContext, DisableCompression: true}
	own := &http.Transport{DialContext: network.DialContext, DisableCompression: true, ResponseHeaderTimeout: 10 * time.Second}
	cache := everfreshtest.NewCache(t, append(c.options(), everfresh.WithHTTPClient(&http.Client{Transport: own}))...)
	c.register(cache, &http.Client{Transport: tr}, func(id int64) string {
		return fmt.Sprintf("http://h%d.test/%d", id/4, id) // four a host: no one waits for a turn
	})
	c.run(seed, func() { time.Sleep(10 * time.Minute) })
	if err := cache.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	tr.CloseIdleConnections()
	own.CloseIdleConnections()
	_ = srv.Close()
	_ = network.Close()
	serving.Wait()
	c.report()
}
