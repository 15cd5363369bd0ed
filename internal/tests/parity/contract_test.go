package parity_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
)

// A contractCase is one statement of what httprc promises, as it holds here.
// docs/httprc.md lists them all.
type contractCase struct {
	id   string
	test func(*testing.T)
}

// contractCases returns the statements of httprc v1 and v3.
func contractCases() []contractCase { return slices.Concat(contractV1(), contractV3()) }

// TestContract runs each statement on its own, in virtual time.
func TestContract(t *testing.T) {
	for _, tt := range contractCases() {
		t.Run(tt.id, func(t *testing.T) { synctest.Test(t, tt.test) })
	}
}

const contractURL = "https://a.test/"

// contractStatus answers with a status and nothing else.
func contractStatus(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// contractUntyped registers contractURL by the untyped API of a cache with the origin.
func contractUntyped(t *testing.T, o *everfreshtest.Origin, opts ...everfresh.CacheOption) *everfresh.Cache {
	t.Helper()
	c := everfreshtest.NewCache(t, append([]everfresh.CacheOption{everfresh.WithJitter(0), o.Option()}, opts...)...)
	if err := c.Register(contractURL); err != nil {
		t.Fatal(err)
	}
	return c
}

// contractGet checks whby the untyped API gives, and that no one waits for it.
func contractGet(t *testing.T, c *everfresh.Cache, want string) {
	t.Helper()
	start := time.Now()
	v, err := c.Get(t.Context(), contractURL)
	if got, ok := v.([]byte); !ok || string(got) != want || err != nil {
		t.Errorf("Get = %q, %v; want %q", v, err, want)
	}
	everfreshtest.WantElapsed(t, start, 0)
}

func contractV1() []contractCase {
	return []contractCase{
		{"v1/01", contractStart},
		{"v1/02", contractRegisterDoesNotFetch},
		{"v1/03", contractGetOfUnregistered},
		{"v1/04", contractFirstGetFetches},
		{"v1/05", contractCachedGetsAskNoOne},
		{"v1/06", contractNewBodyIsThere},
		{"v1/07", contractOneScheduleForAURL},
		{"v1/08", contractReadersSeeTheOldValue},
		{"v1/09", contractNext},
		{"v1/10", contractIntervalBelowWindow},
		{"v1/11", contractSinkIsToldOfFailures},
		{"v1/12", contractTransformerSeesGoodAnswers},
		{"v1/13", contractUnregister},
		{"v1/14", contractContextBoundsGet},
		{"v1/15", contractRefreshFetchesAgain},
		{"v1/16", contractBothPoliciesPass},
		{"v1/17", contractFailedFirstGet},
		{"v1/18", contractSmallWindow},
	}
}

func contractStart(t *testing.T) {
	o := everfreshtest.NewOrigin(everfreshtest.Text("x", "Cache-Control", "max-age=60"))
	ctx, cancel := context.WithCancel(t.Context())
	c := everfresh.NewCache(ctx, everfresh.WithErrSink(new(everfreshtest.Recorder)), everfresh.WithRefreshWindow(time.Second), everfresh.WithJitter(0), o.Option())
	if err := c.Register(contractURL, everfresh.WithMinRefreshInterval(time.Second)); err != nil {
		t.Fatal(err)
	}
	contractGet(t, c, "x")
	everfreshtest.WantElapsed(t, o.Start, 0)
	o.SleepUntil(10*time.Minute + time.Second)
	cancel()
	synctest.Wait()
	if n := o.Count(); n != 11 {
		t.Errorf("%d requests in ten minutes, want 11", n)
	}
	o.SleepUntil(24 * time.Hour)
	if n := o.Count(); n != 11 {
		t.Errorf("%d requests after the end of ctx", n-11)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func contractRegisterDoesNotFetch(t *testing.T) {
	o := everfreshtest.NewOrigin(everfreshtest.Text("x"))
	c := everfreshtest.NewCache(t)
	if err := c.Register(contractURL, o.Option(), everfresh.WithMinRefreshInterval(time.Second)); err != nil {
		t.Fatal(err)
	}
	if !c.IsRegistered(contractURL) {
		t.Error("not registered")
	}
	o.SleepUntil(time.Hour)
	if n := o.Count(); n != 0 {
		t.Errorf("%d requests, want none", n)
	}
}

func contractGetOfUnregistered(t *testing.T) {
	v, err := everfreshtest.NewCache(t).Get(t.Context(), contractURL)
	everfreshtest.WantIs(t, err, everfresh.ErrNotRegistered)
	if v != nil || err == nil || !strings.Contains(err.Error(), "did you make sure to call Register() first?") {
		t.Errorf("Get = %v, %v", v, err)
	}
}

func contractFirstGetFetches(t *testing.T) {
	o := everfreshtest.NewOrigin(everfreshtest.Slow(time.Second, "Hello World!"))
	c := contractUntyped(t, o)
	v, err := c.Get(t.Context(), contractURL)
	if b, ok := v.([]byte); !ok || string(b) != "Hello World!" || err != nil {
		t.Errorf("Get = %v (%T), %v", v, v, err)
	}
	everfreshtest.WantElapsed(t, o.Start, time.Second)
}

func contractCachedGetsAskNoOne(t *testing.T) {
	o := everfreshtest.NewOrigin(everfreshtest.Text("x", "Cache-Control", "max-age=3600"))
	c := contractUntyped(t, o)
	for range 1000 {
		contractGet(t, c, "x")
	}
	if n := o.Count(); n != 1 {
		t.Errorf("%d requests for 1000 Gets", n)
	}
}

func contractNewBodyIsThere(t *testing.T) {
	o := everfreshtest.NewOrigin(everfreshtest.Text("hello", "Cache-Control", "max-age=2"))
	c := everfreshtest.NewCache(t, everfresh.WithRefreshWindow(time.Second)) // with jitter, as in the SYNOPSIS
	if err := c.Register(contractURL, o.Option(), everfresh.WithMinRefreshInterval(time.Second)); err != nil {
		t.Fatal(err)
	}
	contractGet(t, c, "hello")
	o.Say(everfreshtest.Text("goodbye", "Cache-Control", "max-age=2"))
	time.Sleep(4 * time.Second)
	contractGet(t, c, "goodbye")
}

func contractOneScheduleForAURL(t *testing.T) {
	o := everfreshtest.NewOrigin(everfreshtest.Text("x"))
	c := contractUntyped(t, o, everfresh.WithMinRefreshInterval(time.Minute))
	for range 20 {
		if _, err := c.Refresh(t.Context(), contractURL); err != nil {
			t.Fatal(err)
		}
	}
	forced := o.Count()
	o.SleepUntil(time.Hour)
	if n := o.Count() - forced; n != 60 {
		t.Errorf("%d refreshes in the hour after 20 forced ones, want 60", n)
	}
}

func contractReadersSeeTheOldValue(t *testing.T) {
	o := everfreshtest.NewOrigin(everfreshtest.Text("old"))
	c := contractUntyped(t, o, everfresh.WithMinRefreshInterval(time.Minute))
	contractGet(t, c, "old")
	o.Say(everfreshtest.Slow(10*time.Second, "new"))
	o.SleepUntil(65 * time.Second)
	if n := o.Count(); n != 2 {
		t.Fatalf("%d requests, want a refresh under way", n)
	}
	contractGet(t, c, "old")
	o.SleepUntil(71 * time.Second)
	contractGet(t, c, "new")
}

func contractNext(t *testing.T) {
	expires := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	tests := []struct {
		header, value string
		opts          []everfresh.RegisterOption
		want          time.Duration
	}{
		{"Cache-Control", "max-age=3600", nil, time.Hour},
		{"Cache-Control", "max-age=60", nil, 15 * time.Minute},
		{"Expires", expires(2 * time.Hour), nil, 2 * time.Hour},
		{"Expires", expires(time.Minute), nil, 15 * time.Minute},
		{"X-Nothing", "", nil, 15 * time.Minute},
		{"Cache-Control", "max-age=60", []everfresh.RegisterOption{everfresh.WithMinRefreshInterval(2 * time.Minute)}, 2 * time.Minute},
		{"Cache-Control", "max-age=3600", []everfresh.RegisterOption{everfresh.WithRefreshInterval(time.Minute)}, time.Minute},
		{"Cache-Control", "max-age=31536000", nil, 30 * 24 * time.Hour},
	}
	c := everfreshtest.NewCache(t, everfresh.WithJitter(0))
	for i, tt := range tests {
		o := everfreshtest.NewOrigin(everfreshtest.Text("x", tt.header, tt.value))
		r := everfreshtest.Register(t, c, contractURL+strconv.Itoa(i), everfresh.Bytes(), append(tt.opts, o.Option())...)
		synctest.Wait()
		if got := time.Until(r.Status().Next); got != tt.want {
			t.Errorf("%s %s: next refresh in %v, want %v", tt.header, tt.value, got, tt.want)
		}
	}
}

func contractIntervalBelowWindow(t *testing.T) {
	c := everfreshtest.NewCache(t, everfresh.WithRefreshWindow(time.Minute))
	if err := c.Register(contractURL, everfresh.WithRefreshInterval(time.Second)); err == nil {
		t.Error("Register took an interval below the window")
	}
}

// contractFailures are the ways in which a refresh can fail.
func contractFailures() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"transport":   everfreshtest.Abort,
		"status":      contractStatus(http.StatusInternalServerError),
		"transformer": everfreshtest.Text("garbage"),
	}
}

// contractRefuse is a transformer that refuses garbage.
func contractRefuse(_ string, resp *http.Response) (any, error) {
	b, err := io.ReadAll(resp.Body)
	if string(b) == "garbage" {
		return nil, errors.New("dummy error")
	}
	return b, err
}

func contractSinkIsToldOfFailures(t *testing.T) {
	for name, failure := range contractFailures() {
		o, told := everfreshtest.NewOrigin(everfreshtest.Text("good")), new(everfreshtest.Recorder)
		c := everfreshtest.NewCache(t, everfresh.WithErrSink(told), everfresh.WithJitter(0), o.Option())
		if err := c.Register(contractURL, everfresh.WithTransformer(everfresh.TransformFunc(contractRefuse))); err != nil {
			t.Fatal(err)
		}
		contractGet(t, c, "good")
		o.Say(failure)
		time.Sleep(15*time.Minute + 100*time.Millisecond)
		errs := told.Errors()
		if len(errs) != 1 {
			t.Errorf("%s: the sink got %v", name, errs)
			continue
		}
		re := everfreshtest.RefreshError(t, errs[0])
		if re.Key != contractURL || errors.Unwrap(re) == nil || !re.Stale {
			t.Errorf("%s: the sink got %+v", name, re)
		}
		contractGet(t, c, "good")
	}
}

func contractTransformerSeesGoodAnswers(t *testing.T) {
	for _, code := range []int{200, 201, 203, 204, 206, 304, 404, 500} {
		called := false
		c := everfreshtest.NewCache(t, everfreshtest.NewOrigin(contractStatus(code)).Option())
		err := c.Register(contractURL, everfresh.WithTransformer(everfresh.TransformFunc(
			func(string, *http.Response) (any, error) {
				called = true
				return "made", nil
			})))
		if err != nil {
			t.Fatal(err)
		}
		v, err := c.Get(t.Context(), contractURL)
		good := code == http.StatusOK || code == http.StatusNonAuthoritativeInfo
		if called != good || (err == nil) != good {
			t.Errorf("status %d: Get = %v, %v; transformer called: %v", code, v, err, called)
		}
		var se *everfresh.StatusError
		if !good && (!errors.As(err, &se) || se.Code != code) {
			t.Errorf("status %d: %v does not tell", code, err)
		}
	}
}

func contractUnregister(t *testing.T) {
	o := everfreshtest.NewOrigin(everfreshtest.Text("x"))
	c := contractUntyped(t, o)
	contractGet(t, c, "x")
	if err := c.Unregister(contractURL); err != nil || c.IsRegistered(contractURL) {
		t.Errorf("Unregister = %v", err)
	}
	_, err := c.Get(t.Context(), contractURL)
	everfreshtest.WantIs(t, err, everfresh.ErrNotRegistered)
	everfreshtest.WantIs(t, c.Unregister(contractURL), everfresh.ErrNotRegistered)
	if err := c.Register(contractURL); err != nil {
		t.Fatal(err)
	}
	contractGet(t, c, "x")
}

func contractContextBoundsGet(t *testing.T) {
	o := everfreshtest.NewOrigin(everfreshtest.Slow(20*time.Second, "x"))
	c := contractUntyped(t, o)
	for range 2 { // the second one finds the first one's fetch under way
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := c.Get(ctx, contractURL)
		cancel()
		everfreshtest.WantIs(t, err, context.DeadlineExceeded)
		everfreshtest.WantElapsed(t, start, time.Second)
	}
	o.SleepUntil(21 * time.Second)
	contractGet(t, c, "x")
	if n := o.Count(); n != 1 {
		t.Errorf("%d requests, want the one of the first Get", n)
	}
}

func contractRefreshFetchesAgain(t *testing.T) {
	o := everfreshtest.NewOrigin(everfreshtest.Text("old", "Cache-Control", "max-age=3600"))
	c := contractUntyped(t, o)
	contractGet(t, c, "old")
	o.Say(everfreshtest.Text("new", "Cache-Control", "max-age=3600"))
	v, err := c.Refresh(t.Context(), contractURL)
	if b, ok := v.([]byte); !ok || string(b) != "new" || err != nil {
		t.Errorf("Refresh = %q, %v", v, err)
	}
	contractGet(t, c, "new")
}

func contractBothPoliciesPass(t *testing.T) {
	o := everfreshtest.NewOrigin(everfreshtest.Text("x"))
	c := everfreshtest.NewCache(t, o.Option(), everfresh.WithAllow(everfresh.AllowHosts("a.test", "b.test")))
	own := everfresh.WithAllow(everfresh.AllowHosts("b.test", "c.test"))
	for host, allowed := range map[string]bool{"a.test": false, "b.test": true, "c.test": false} {
		err := c.Register("https://"+host+"/", own)
		if errors.Is(err, everfresh.ErrNotAllowed) == allowed || (err == nil) != allowed {
			t.Errorf("%s: Register = %v", host, err)
		}
	}
}

func contractFailedFirstGet(t *testing.T) {
	o := everfreshtest.NewOrigin(contractStatus(http.StatusInternalServerError))
	c := contractUntyped(t, o)
	for range 3 { // one request: the others are told of it
		v, err := c.Get(t.Context(), contractURL)
		everfreshtest.WantIs(t, err, everfresh.ErrNotReady)
		if v != nil {
			t.Errorf("Get = %v", v)
		}
	}
	if n := o.Count(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	o.Say(everfreshtest.Text("x"))
	time.Sleep(300 * time.Millisecond) // the floor of the back-off is 250 ms
	contractGet(t, c, "x")
}

func contractSmallWindow(t *testing.T) {
	o := everfreshtest.NewOrigin(everfreshtest.Text("x"))
	c := contractUntyped(t, o, everfresh.WithRefreshWindow(20*time.Millisecond), everfresh.WithMinRefreshInterval(100*time.Millisecond))
	contractGet(t, c, "x")
	o.SleepUntil(time.Second)
	if n := o.Count(); n != 11 {
		t.Errorf("%d requests in a second, want 11", n)
	}
	if err := everfreshtest.NewCache(t, everfresh.WithRefreshWindow(0)).Register(contractURL); err == nil {
		t.Error("a window of 0 was taken")
	}
}
