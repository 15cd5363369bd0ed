package parity_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
)

func contractV3() []contractCase {
	return []contractCase{
		{"v3/01", contractNoStart},
		{"v3/02", contractPolicy},
		{"v3/03", contractNewResource},
		{"v3/04", contractReadyThenRead},
		{"v3/05", contractRegisterNeverWaits},
		{"v3/06", contractDuplicate},
		{"v3/07", contractNotReadyInTime},
		{"v3/08", contractCancelledCaller},
		{"v3/09", contractUnknownKey},
		{"v3/10", contractRefreshIsSynchronous},
		{"v3/11", contractConcurrentRefreshes},
		{"v3/12", contractConstantInterval},
		{"v3/13", contractClamp},
		{"v3/14", contractBackoff},
		{"v3/15", contractValueSurvives},
		{"v3/16", contractPanics},
		{"v3/17", contractSinkAndObserver},
		{"v3/18", contractClose},
		{"v3/19", contractManyDue},
		{"v3/20", contractAnchored},
		{"v3/21", contractBodyLimit},
		{"v3/22", contractZeroIsNotReady},
	}
}

// contractTyped registers contractURL by the typed API of a cache with the origin.
func contractTyped(t *testing.T, o *everfreshtest.Origin, opts ...everfresh.RegisterOption) *everfresh.Resource[[]byte] {
	t.Helper()
	c := everfreshtest.NewCache(t, everfresh.WithJitter(0), o.Option())
	return everfreshtest.Register(t, c, contractURL, everfresh.Bytes(), opts...)
}

// contractPeek checks the value of a typed resource.
func contractPeek(t *testing.T, r *everfresh.Resource[[]byte], want string) {
	t.Helper()
	if v, ok := r.Peek(); !ok || string(v) != want {
		t.Errorf("Peek = %q, %v; want %q", v, ok, want)
	}
}

func contractNoStart(t *testing.T) {
	for range 2 { // as many as you like, each with its own resources
		o := everfreshtest.NewOrigin(everfreshtest.Text("x"))
		r := contractTyped(t, o, everfresh.WithMinRefreshInterval(time.Minute))
		o.SleepUntil(10 * time.Minute)
		contractPeek(t, r, "x")
		if n := o.Count(); n != 11 {
			t.Errorf("%d requests in ten minutes, want 11", n)
		}
	}
}

func contractPolicy(t *testing.T) {
	o := everfreshtest.NewOrigin(everfreshtest.Text("x"))
	open, strict := everfreshtest.NewCache(t, o.Option()), everfreshtest.NewCache(t, o.Option(), everfresh.WithAllow(everfresh.AllowHosts("b.test")))
	everfreshtest.Register(t, open, contractURL, everfresh.Bytes())
	_, err := everfresh.Register(strict, contractURL, everfresh.Bytes())
	everfreshtest.WantIs(t, err, everfresh.ErrNotAllowed)
	if errors.Is(err, everfresh.ErrNotReady) || strict.IsRegistered(contractURL) {
		t.Errorf("Register = %v, which tells of a registered resource", err)
	}
}

func contractNewResource(t *testing.T) {
	c := everfreshtest.NewCache(t)
	if _, err := everfresh.Register[string](c, contractURL, nil); err == nil {
		t.Error("a nil decoder was taken")
	}
	for _, bad := range []string{"", "a.test/x", "://", "https://", "ftp://a.test/", "https://a b/"} {
		_, err := everfresh.Register(c, bad, everfresh.Bytes())
		everfreshtest.WantIs(t, err, everfresh.ErrNotAllowed)
	}
	short := contractTyped(t, everfreshtest.NewOrigin(everfreshtest.Text("x")))
	long := contractTyped(t, everfreshtest.NewOrigin(everfreshtest.Text("x", "Cache-Control", "max-age=31536000")))
	synctest.Wait()
	if d := time.Until(short.Status().Next); d != 15*time.Minute {
		t.Errorf("shortest interval = %v", d)
	}
	if d := time.Until(long.Status().Next); d != 30*24*time.Hour {
		t.Errorf("longest interval = %v", d)
	}
}

func contractReadyThenRead(t *testing.T) {
	o := everfreshtest.NewOrigin(everfreshtest.Slow(time.Second, "x"))
	r := contractTyped(t, o)
	everfreshtest.Ready(t, r)
	everfreshtest.WantElapsed(t, o.Start, time.Second)
	contractPeek(t, r, "x")
	if v, err := r.Get(t.Context()); string(v) != "x" || err != nil {
		t.Errorf("Get = %q, %v", v, err)
	}
}

func contractRegisterNeverWaits(t *testing.T) {
	o := everfreshtest.NewOrigin(contractStatus(http.StatusInternalServerError))
	r := contractTyped(t, o) // fails the test if Register returns an error
	everfreshtest.WantElapsed(t, o.Start, 0)
	time.AfterFunc(time.Hour, func() { o.Say(everfreshtest.Text("x")) })
	if err := r.Ready(t.Context()); err != nil { // through all failures
		t.Error(err)
	}
	contractPeek(t, r, "x")
}

func contractDuplicate(t *testing.T) {
	c := everfreshtest.NewCache(t, everfreshtest.NewOrigin(everfreshtest.Text("x")).Option())
	everfreshtest.Register(t, c, contractURL, everfresh.Bytes())
	_, err := everfresh.Register(c, contractURL, everfresh.Bytes())
	everfreshtest.WantIs(t, err, everfresh.ErrRegistered)
	if errors.Is(err, everfresh.ErrNotReady) {
		t.Errorf("Register = %v", err)
	}
}

func contractNotReadyInTime(t *testing.T) {
	o := everfreshtest.NewOrigin(contractStatus(http.StatusNotFound))
	r := contractTyped(t, o)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err := r.Ready(ctx)
	everfreshtest.WantIs(t, err, everfresh.ErrNotReady, context.DeadlineExceeded)
	var se *everfresh.StatusError
	if !errors.As(err, &se) || se.Code != http.StatusNotFound {
		t.Errorf("Ready = %v, which does not tell of the 404", err)
	}
	o.Say(everfreshtest.Text("x"))
	if err := r.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	contractPeek(t, r, "x")
	again := time.Now()
	if err := r.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	everfreshtest.WantElapsed(t, again, 0)
}

func contractCancelledCaller(t *testing.T) {
	o := everfreshtest.NewOrigin(everfreshtest.Slow(time.Second, "x"))
	r := contractTyped(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	everfreshtest.WantIs(t, r.Ready(ctx), context.Canceled)
	_, err := r.Get(ctx)
	everfreshtest.WantIs(t, err, context.Canceled)
	everfreshtest.WantIs(t, r.Refresh(ctx), context.Canceled)
	everfreshtest.WantElapsed(t, o.Start, 0)
	o.SleepUntil(2 * time.Second)
	contractPeek(t, r, "x")
}

func contractUnknownKey(t *testing.T) {
	c := everfreshtest.NewCache(t)
	_, err := everfresh.Lookup[[]byte](c, contractURL)
	everfreshtest.WantIs(t, err, everfresh.ErrNotRegistered)
	_, err = c.Refresh(t.Context(), contractURL)
	everfreshtest.WantIs(t, err, everfresh.ErrNotRegistered)
	everfreshtest.WantIs(t, c.Unregister(contractURL), everfresh.ErrNotRegistered)
}

func contractRefreshIsSynchronous(t *testing.T) {
	o := everfreshtest.NewOrigin(contractStatus(http.StatusInternalServerError))
	r := contractTyped(t, o, everfresh.WithPrefetch(false))
	for range 20 { // also before the first value, and time and again
		var se *everfresh.StatusError
		if err := r.Refresh(t.Context()); !errors.As(err, &se) || se.Code != http.StatusInternalServerError {
			t.Fatalf("Refresh = %v", err)
		}
	}
	if n := o.Count(); n != 20 {
		t.Errorf("%d requests for 20 calls", n)
	}
	o.Say(everfreshtest.Slow(3*time.Second, "x"))
	start := time.Now()
	if err := r.Refresh(t.Context()); err != nil {
		t.Error(err)
	}
	everfreshtest.WantElapsed(t, start, 3*time.Second)
	contractPeek(t, r, "x")
}

func contractConcurrentRefreshes(t *testing.T) {
	var n atomic.Int64
	o := everfreshtest.NewOrigin(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(10 * time.Millisecond)
		_, _ = w.Write([]byte(strconv.FormatInt(n.Add(1), 10)))
	})
	c := everfreshtest.NewCache(t, everfresh.WithWorkers(1), everfresh.WithMaxPerHost(1), o.Option())
	var wg sync.WaitGroup
	for i := range 20 {
		r := everfreshtest.Register(t, c, contractURL+strconv.Itoa(i), everfresh.Bytes())
		for range 50 {
			wg.Go(func() {
				if err := r.Refresh(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if n := o.Count(); n > 40 {
		t.Errorf("%d requests for 50 concurrent calls on each of 20 resources, want at most 2 each", n)
	}
}

func contractConstantInterval(t *testing.T) {
	o, other := everfreshtest.NewOrigin(everfreshtest.Text("x", "Cache-Control", "max-age=7200")), everfreshtest.NewOrigin(everfreshtest.Text("y"))
	c := everfreshtest.NewCache(t, everfresh.WithJitter(0))
	everfreshtest.Register(t, c, contractURL, everfresh.Bytes(), o.Option(), everfresh.WithRefreshInterval(15*time.Minute))
	r := everfreshtest.Register(t, c, "https://b.test/", everfresh.Bytes(), other.Option())
	for range 6 * 3600 {
		time.Sleep(time.Second)
		everfreshtest.Refresh(t, r)
	}
	synctest.Wait()
	for i, at := range o.Times("") {
		if want := time.Duration(i) * 15 * time.Minute; at != want {
			t.Errorf("refresh %d at %v, want %v", i, at, want)
		}
	}
	if n := o.Count(); n != 25 {
		t.Errorf("%d requests in six hours, want 25", n)
	}
}

func contractClamp(t *testing.T) {
	bounds := []everfresh.RegisterOption{
		everfresh.WithMinRefreshInterval(10 * time.Minute), everfresh.WithMaxRefreshInterval(time.Hour),
	}
	for header, every := range map[string]time.Duration{
		"max-age=60":   10 * time.Minute,
		"max-age=1800": 30 * time.Minute,
		"max-age=9999": time.Hour,
		"public":       10 * time.Minute,
	} {
		o := everfreshtest.NewOrigin(everfreshtest.Text("x", "Cache-Control", header))
		contractTyped(t, o, bounds...)
		o.SleepUntil(6 * time.Hour)
		for i, at := range o.Times("") {
			if want := time.Duration(i) * every; at != want {
				t.Errorf("%s: refresh %d at %v, want %v", header, i, at, want)
			}
		}
		if n, want := o.Count(), int(6*time.Hour/every)+1; n != want {
			t.Errorf("%s: %d requests, want %d", header, n, want)
		}
	}
}

func contractBackoff(t *testing.T) {
	o := everfreshtest.NewOrigin(everfreshtest.Abort)
	contractTyped(t, o)
	o.SleepUntil(time.Hour)
	times, gap := o.Times(""), 250*time.Millisecond
	for i := range len(times) - 1 {
		if got := times[i+1] - times[i]; got < gap || got > gap+10*time.Millisecond { // the refresh window
			t.Errorf("attempt %d after %v, want %v", i+1, got, gap)
		}
		gap = min(2*gap, 5*time.Minute)
	}
	if n := len(times); n < 20 || n > 25 {
		t.Errorf("%d attempts in an hour", n)
	}
	o.Say(everfreshtest.Text("x"))
	o.SleepUntil(time.Hour + 5*time.Minute + time.Second)
	if n := o.Count(); n != len(times)+1 {
		t.Errorf("%d attempts within 5 min of the recovery, want 1", n-len(times))
	}
}

func contractValueSurvives(t *testing.T) {
	for name, failure := range contractFailures() {
		o := everfreshtest.NewOrigin(everfreshtest.Text("good"))
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0), o.Option())
		r := everfreshtest.Register(t, c, contractURL, func(_ context.Context, resp *http.Response) (any, error) {
			return contractRefuse("", resp)
		})
		synctest.Wait()
		o.Say(failure)
		time.Sleep(24 * time.Hour)
		v, ok := r.Peek()
		if b, _ := v.([]byte); !ok || string(b) != "good" {
			t.Errorf("%s: Peek = %q, %v", name, v, ok)
		}
		if st := r.Status(); st.Err == nil || st.Failures == 0 {
			t.Errorf("%s: status tells of no failure", name)
		}
	}
}

func contractPanics(t *testing.T) {
	o := everfreshtest.NewOrigin(everfreshtest.Text(`{}`))
	c := everfreshtest.NewCache(t, everfresh.WithJitter(0), o.Option())
	panics := everfreshtest.Register(t, c, contractURL, func(context.Context, *http.Response) (any, error) { panic("oh") })
	_, err := panics.Get(t.Context())
	if re := everfreshtest.RefreshError(t, err); re.Op != "decode" || !strings.Contains(re.Error(), "panic") {
		t.Errorf("Get = %v", err)
	}
	r := everfreshtest.Register(t, c, "https://b.test/", everfresh.JSON[any](), everfresh.WithMinRefreshInterval(time.Minute))
	for _, body := range []string{`{}`, `[1]`, `null`, `"x"`, `1`, `null`} {
		o.Say(everfreshtest.Text(body))
		if err := r.Refresh(t.Context()); err != nil {
			t.Errorf("body %s: %v", body, err)
		}
		if v, ok := r.Peek(); !ok || (v == nil) != (body == "null") {
			t.Errorf("body %s: Peek = %v, %v", body, v, ok)
		}
	}
}

// A contractSink notices calls at the same time.
type contractSink struct {
	busy  atomic.Bool
	calls atomic.Int64
	twice atomic.Bool
}

func (s *contractSink) told() {
	if !s.busy.CompareAndSwap(false, true) {
		s.twice.Store(true)
	}
	time.Sleep(time.Millisecond)
	s.busy.Store(false)
	s.calls.Add(1)
}

func contractSinkAndObserver(t *testing.T) {
	o := everfreshtest.NewOrigin(contractStatus(http.StatusInternalServerError))
	var s contractSink
	c := everfreshtest.NewCache(t, o.Option(),
		everfresh.WithErrSink(everfresh.ErrSinkFunc(func(error) { s.told() })),
		everfresh.WithObserver(func(everfresh.Event) { s.told() }))
	for i := range 100 {
		everfreshtest.Register(t, c, contractURL+strconv.Itoa(i), everfresh.Bytes())
	}
	time.Sleep(240 * time.Millisecond)
	if n := s.calls.Load(); n != 200 || s.twice.Load() {
		t.Errorf("%d calls of sink and observer, want 200; several at once: %v", n, s.twice.Load())
	}
}

func contractClose(t *testing.T) {
	o := everfreshtest.NewOrigin(contractStatus(http.StatusInternalServerError))
	var s contractSink
	c := everfresh.NewCache(t.Context(), o.Option(), everfresh.WithErrSink(everfresh.ErrSinkFunc(func(error) { s.told() })))
	for i := range 300 {
		everfreshtest.Register(t, c, contractURL+strconv.Itoa(i), everfresh.Bytes())
	}
	synctest.Wait()
	o.Say(everfreshtest.Slow(time.Hour, "x"))
	everfreshtest.Register(t, c, contractURL, everfresh.Bytes())
	synctest.Wait()
	start := time.Now()
	if err := c.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("Close took %v", d)
	}
	if n := s.calls.Load(); n != 300 {
		t.Errorf("the sink got %d errors of 300 before Close returned", n)
	}
	time.Sleep(time.Hour)
	if n := s.calls.Load(); n != 300 {
		t.Errorf("the sink was called %d times after Close", n-300)
	}
}

func contractManyDue(t *testing.T) {
	o := everfreshtest.NewOrigin(everfreshtest.Slow(10*time.Millisecond, "x"))
	c := everfreshtest.NewCache(t, everfresh.WithWorkers(1), everfresh.WithJitter(0), o.Option())
	for i := range 1000 {
		everfreshtest.Register(t, c, contractURL+strconv.Itoa(i), everfresh.Bytes(), everfresh.WithRefreshInterval(time.Second))
	}
	o.SleepUntil(time.Minute)
	start := time.Now()
	everfreshtest.Register(t, c, contractURL, everfresh.Bytes())
	if _, err := everfresh.Lookup[[]byte](c, contractURL); err != nil {
		t.Error(err)
	}
	if err := c.Unregister(contractURL + "1"); err != nil {
		t.Error(err)
	}
	everfreshtest.WantElapsed(t, start, 0)
}

func contractAnchored(t *testing.T) {
	c := everfreshtest.NewCache(t, everfresh.WithAllow(everfresh.AllowRegexp(`http://example.com(/.*)?`)))
	for url, allowed := range map[string]bool{
		"http://example.com":                                  true,
		"http://example.com/keys":                             true,
		"http://example.com.attacker.com/evil":                false,
		"http://attacker.com/?redirect=http://example.com":    false,
		"http://attacker.com/http://example.com/":             false,
		"http://example.com@attacker.com/":                    false,
		"http://example.com:8080/":                            false,
		"https://attacker.com/x?http://example.com/something": false,
	} {
		if err := c.Register(url); errors.Is(err, everfresh.ErrNotAllowed) == allowed {
			t.Errorf("%s: Register = %v", url, err)
		}
	}
}

func contractBodyLimit(t *testing.T) {
	const limit = 10 << 20 // the default
	o := everfreshtest.NewOrigin(everfreshtest.Text("good"))
	r := contractTyped(t, o)
	everfreshtest.Ready(t, r)
	o.Say(everfreshtest.Text(strings.Repeat("x", limit+1)))
	everfreshtest.WantIs(t, r.Refresh(t.Context()), everfresh.ErrTooLarge)
	contractPeek(t, r, "good")
	o.Say(everfreshtest.Text(strings.Repeat("x", limit)))
	if err := r.Refresh(t.Context()); err != nil {
		t.Error(err)
	}
}

func contractZeroIsNotReady(t *testing.T) {
	o := everfreshtest.NewOrigin(everfreshtest.Abort)
	r := contractTyped(t, o)
	if v, ok := r.Peek(); v != nil || ok || r.Snapshot() != nil {
		t.Errorf("Peek = %v, %v; Snapshot = %v", v, ok, r.Snapshot())
	}
	o.Say(everfreshtest.Text("")) // the zero value, and ready
	everfreshtest.Refresh(t, r)
	if v, ok := r.Peek(); len(v) != 0 || !ok || r.Snapshot() == nil {
		t.Errorf("Peek = %v, %v; Snapshot = %v", v, ok, r.Snapshot())
	}
}
