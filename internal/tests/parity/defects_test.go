package parity_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
)

// A defect is a fault of httprc, by the numbers under which docs/httprc.md lists it, and
// the tests that show what happens here.
type defect struct {
	ids   string
	tests []string
}

// defects maps every known defect to its tests. S is the summary, then the insides and
// the API of each version.
func defects() []defect {
	return []defect{
		// of v1
		{"S8 v1.1", []string{"TestDeadHostsDelayNoOther", "TestDefectHungHostStopsNothing"}},
		{"S8 v1.2 A1.3", []string{"TestReadyValueIsReadWhileItsRefreshHangs", "TestContract/v1/08", "TestContract/v1/14"}},
		{"S9 v1.3 A1.6", []string{"TestOneScheduleForEachResource", "TestContract/v1/07"}},
		{"v1.4", []string{"TestDefectCostOfManyResources"}},
		{"S10 v1.5 A1.1", []string{"TestDefectFailedFirstGetIsAnError", "TestContract/v1/17"}},
		{"S10 v1.6 A1.2", []string{"TestDefectErrorPageReplacesNothing", "TestContract/v1/12"}},
		{"v1.7", []string{"TestPanicIsAnErrorOfThatRefresh", "TestFirstGetGetsThePanicAsAnError"}},
		{"v1.8", []string{"TestDefectBodiesAreClosed", "TestBodiesThatAreRefused", "TestContract/v3/21"}},
		{"v1.9 A1.6", []string{"TestDefectStatusDuringRefreshes"}},
		{"v1.10 A1.6", []string{"TestDefectUnregisteredIsFreed", "TestGoroutines", "TestCloseIsIdempotentAndConcurrent"}},
		{"v1.11 A1.4", []string{"TestContract/v1/16", "TestRedirectAsksThePolicy"}},
		{"v1.12", []string{"TestDefectWindowDelaysNothing", "TestDeadlinesAreExact"}},
		{"A1.5", []string{"TestDefectInterfacesCanBeImplemented", "TestFetcherResults"}},
		// of v3
		{"S1 v3.1 A3.4", []string{"TestConcurrentRefreshesOfHealthyOriginReturn", "TestStormOfCallsReturns"}},
		{"S2 v3.2", []string{"TestRefreshDoesNotStarveOthers", "TestIntervalsDoNotDisturbEachOther", "TestDefectBatchNeverIdles"}},
		{"S3 v3.3", []string{"TestIntervalSurvivesOtherResources", "TestContract/v3/12"}},
		{"S4 v3.6 A3.1", []string{"TestContract/v3/16", "TestValueMayChangeItsType"}},
		{"S5 v3.5", []string{"TestDefectCostOfManyResources"}},
		{"S6 v3.7", []string{"TestErrorHeadersChangeNothing", "TestRefusedBodyIsRetriedByBackoff", "TestDayOfRetryAfter"}},
		{"v3.7 A3.6", []string{"TestContract/v3/07", "TestContract/v3/14", "TestFirstGetJoinsContextErrorAndCause"}},
		{"S7 v3.8 A3.10", []string{"TestLifeAfterTheEnd", "TestEndedContextOfTheCacheIsErrClosed"}},
		{"v3.4", []string{"TestNoHerd", "TestSpreadStaysSpread"}},
		{"v3.9", []string{"TestDefectHungHostStopsNothing", "TestFetchTimeoutEndsTheFlight"}},
		{"v3.10", []string{"TestCrowdOfRefreshesIsTwoFetches"}},
		{"v3.11 A3.9", []string{"TestContract/v3/21"}},
		{"v3.12", []string{"TestReadyEndsWithTheResource", "TestStatusTellsOfTheResource"}},
		{"v3.13 A3.8", []string{"TestDefectSlowSink", "TestOverflowIsCounted", "TestContract/v3/18"}},
		{"v3.14", []string{"TestRedirectAsksThePolicy"}},
		{"v3.15", []string{"TestCallersGoFirst"}},
		{"v3.16", []string{"TestContract/v3/22"}},
		{"A3.2", []string{"TestDefectPolicyDefaultIsWhatItsCommentSays"}},
		{"A3.3", []string{"TestDefectInterfacesAreNarrow"}},
		{"A3.5", []string{"TestDefectSentinelsAreVariables"}},
		{"A3.7", []string{"TestDefectNoDependencyTravelsInAContext"}},
		{"A3.9", []string{"TestDefectIntervalsHaveDefaultsOfTheCache", "TestDefectNoConstantIsExported"}},
		{"A3.10", []string{"TestDefectSlowNeighbours", "TestDayOfLifetimes"}},
		{"A3.11", []string{"TestDefectMessagesNameTheCall", "TestDefectOneWayToClose"}},
	}
}

// TestDefectFailedFirstGetIsAnError: v1 answered (nil, nil) from the second Get on.
func TestDefectFailedFirstGetIsAnError(t *testing.T) {
	for name, answer := range contractFailures() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := everfreshtest.NewOrigin(answer)
				c := everfreshtest.NewCache(t, o.Option())
				if err := c.Register(contractURL, everfresh.WithTransformer(everfresh.TransformFunc(contractRefuse))); err != nil {
					t.Fatal(err)
				}
				for range 100 {
					if v, err := c.Get(t.Context(), contractURL); v != nil || err == nil {
						t.Fatalf("Get = %v, %v", v, err)
					}
					time.Sleep(time.Second)
				}
			})
		})
	}
}

// TestDefectErrorPageReplacesNothing: v1 cached the page of a 500 as the value, and its
// sink was told nothing.
func TestDefectErrorPageReplacesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, told := everfreshtest.NewOrigin(everfreshtest.Text("good")), new(everfreshtest.Recorder)
		c := contractUntyped(t, o, everfresh.WithErrSink(told))
		contractGet(t, c, "good")
		o.Say(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte("<html>sorry"))
		})
		_, err := c.Refresh(t.Context(), contractURL)
		var se *everfresh.StatusError
		if !errors.As(err, &se) || se.Code != http.StatusInternalServerError {
			t.Errorf("Refresh = %v", err)
		}
		contractGet(t, c, "good")
		synctest.Wait()
		if errs := told.Errors(); len(errs) != 1 || !errors.As(errs[0], &se) {
			t.Errorf("the sink got %v", errs)
		}
	})
}

// TestDefectHungHostStopsNothing: one hung URL stopped all refreshes of v1, and five
// those of v3. Here the defaults leave the others alone, and the hung ones are given up.
func TestDefectHungHostStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, hung := everfreshtest.NewOrigin(everfreshtest.Text("x")), everfreshtest.NewOrigin(everfreshtest.Slow(1000*time.Hour, ""))
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0))
		for i := range 5 {
			everfreshtest.Register(t, c, fmt.Sprintf("https://hung%d.test/", i), everfresh.Bytes(), hung.Option())
		}
		everfreshtest.Register(t, c, contractURL, everfresh.Bytes(), o.Option(), everfresh.WithRefreshInterval(time.Second))
		o.SleepUntil(8 * time.Second)
		if n := o.Count(); n != 9 {
			t.Errorf("%d refreshes in 8 s, want 9", n)
		}
		if n := hung.Count(); n != 5 {
			t.Errorf("%d requests of the hung hosts, want 5", n)
		}
		o.SleepUntil(31 * time.Second) // past their timeout of 30 s
		if n := hung.Count(); n != 10 {
			t.Errorf("%d requests of the hung hosts, want 10", n)
		}
	})
}

// A defectBody counts how often it is closed.
type defectBody struct {
	io.Reader
	closed *atomic.Int64
}

func (b defectBody) Close() error {
	b.closed.Add(1)
	return nil
}

// endlessBody yields a byte a second until the request is called off.
type endlessBody struct{ ended <-chan struct{} }

func (b endlessBody) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		p[0] = 'x'
		return 1, nil
	case <-b.ended:
		return 0, context.Canceled
	}
}

// TestDefectBodiesAreClosed: with v1 a body leaked when the transformer did not close
// it, and when the caller's context ended at the wrong moment.
func TestDefectBodiesAreClosed(t *testing.T) {
	answers := map[string]struct {
		code int
		body func(context.Context) io.Reader
	}{
		"good":      {200, func(context.Context) io.Reader { return strings.NewReader("x") }},
		"refused":   {200, func(context.Context) io.Reader { return strings.NewReader("garbage") }},
		"error":     {500, func(context.Context) io.Reader { return strings.NewReader("sorry") }},
		"too large": {200, func(context.Context) io.Reader { return strings.NewReader(strings.Repeat("x", 2000)) }},
		"endless":   {200, func(ctx context.Context) io.Reader { return endlessBody{ctx.Done()} }},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var opened, closed atomic.Int64
				fetch := everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
					opened.Add(1)
					body := defectBody{answer.body(req.Context()), &closed}
					return &http.Response{StatusCode: answer.code, ContentLength: -1, Body: body, Close: true}, nil
				})
				c := everfreshtest.NewCache(t, everfresh.WithFetcher(fetch), everfresh.WithMaxBytes(1000), everfresh.WithLenientBody(true))
				if err := c.Register(contractURL, everfresh.WithTransformer(everfresh.TransformFunc(contractRefuse))); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				_, _ = c.Get(ctx, contractURL)
				if err := c.Close(); err != nil {
					t.Error(err)
				}
				if opened.Load() == 0 || opened.Load() != closed.Load() {
					t.Errorf("%d bodies opened, %d closed", opened.Load(), closed.Load())
				}
			})
		})
	}
}

// TestDefectStatusDuringRefreshes: v1's Snapshot raced with refreshes. It proves
// something under the race detector.
func TestDefectStatusDuringRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		o := everfreshtest.NewOrigin(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(strconv.FormatInt(n.Add(1), 10)))
		})
		c := contractUntyped(t, o)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 100 {
					if _, err := c.Refresh(t.Context(), contractURL); err != nil {
						t.Error(err)
					}
				}
			})
			wg.Go(func() {
				for range 100 {
					for st := range c.All() {
						if st.Ready != (st.Version > 0) {
							t.Errorf("half a status: %+v", st)
						}
					}
				}
			})
		}
		wg.Wait()
	})
}

// TestDefectUnregisteredIsFreed: v1 kept what was unregistered in its queue.
func TestDefectUnregisteredIsFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(everfreshtest.Client(everfreshtest.Text(strings.Repeat("x", 1000)))))
		var handles []weak.Pointer[everfresh.Resource[[]byte]]
		for i := range 100 {
			url := contractURL + strconv.Itoa(i)
			r := everfreshtest.Register(t, c, url, everfresh.Bytes(), everfresh.WithRefreshInterval(24*time.Hour))
			everfreshtest.Ready(t, r)
			handles = append(handles, weak.Make(r))
		}
		for i := range 100 {
			if err := c.Unregister(contractURL + strconv.Itoa(i)); err != nil {
				t.Fatal(err)
			}
		}
		// The runtime may keep a stopped timer, and what its function holds, until the time
		// it was set to: here the timeout of a refresh, long before the next one.
		time.Sleep(time.Minute)
		runtime.GC()
		var left int
		for _, h := range handles {
			if h.Value() != nil {
				left++
			}
		}
		if left > 0 {
			t.Errorf("%d of 100 unregistered resources are still in memory", left)
		}
	})
}

// TestDefectCostOfManyResources: v1 needed 25 s to schedule 100,000 resources; v3 116 s
// to register 10,000, and 3 µs of each of them whenever one was refreshed, which would
// be 100 s here. The bounds are far above what it takes.
func TestDefectCostOfManyResources(t *testing.T) {
	const many = 10_000
	started := time.Now()
	synctest.Test(t, func(t *testing.T) {
		o := everfreshtest.NewOrigin(everfreshtest.Text("x"))
		c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(everfreshtest.Client(everfreshtest.Text("x"))))
		for i := range many {
			everfreshtest.Register(t, c, fmt.Sprintf("https://host%d.test/%d", i%100, i), everfresh.Bytes())
		}
		everfreshtest.Ready(t, c)
		everfreshtest.Register(t, c, contractURL, everfresh.Bytes(), everfresh.WithRefreshInterval(time.Second), o.Option())
		o.SleepUntil(10 * time.Minute)
		if n := o.Count(); n < 500 {
			t.Errorf("%d refreshes in 10 min", n)
		}
	})
	if d := time.Since(started); d > 20*time.Second {
		t.Errorf("took %v", d)
	}
}

// TestDefectWindowDelaysNothing: with v1's default window of 15 min, a URL with a
// max-age of 20 min was refreshed after 30.
func TestDefectWindowDelaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := everfreshtest.NewOrigin(everfreshtest.Text("x", "Cache-Control", "max-age=1200"))
		contractGet(t, contractUntyped(t, o), "x")
		o.SleepUntil(time.Hour)
		for i, at := range o.Times("") {
			if want := time.Duration(i) * 20 * time.Minute; at < want || at > want+10*time.Millisecond {
				t.Errorf("refresh %d at %v, want %v", i, at, want)
			}
		}
	})
}

// TestDefectBatchNeverIdles: after each batch v3 idled for a whole second, so that five
// workers did 307 refreshes of 10 ms a second, not 500.
func TestDefectBatchNeverIdles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := everfreshtest.NewOrigin(everfreshtest.Slow(10*time.Millisecond, "x"))
		c := everfreshtest.NewCache(t, everfresh.WithWorkers(5), everfresh.WithMaxPerHost(5), everfresh.WithJitter(0), o.Option())
		for i := range 1000 {
			everfreshtest.Register(t, c, contractURL+strconv.Itoa(i), everfresh.Bytes(), everfresh.WithRefreshInterval(time.Second))
		}
		o.SleepUntil(20 * time.Second)
		if n := o.Count(); n < 9_900 {
			t.Errorf("%d refreshes in 20 s, want 10,000", n)
		}
	})
}

// TestDefectSlowSink: v3's Shutdown returned at once with most errors undelivered, and
// went on calling the sink. Here Close says what it could not deliver.
func TestDefectSlowSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		c := everfresh.NewCache(t.Context(), everfresh.WithHTTPClient(everfreshtest.Client(contractStatus(500))),
			everfresh.WithErrSink(everfresh.ErrSinkFunc(func(error) {
				time.Sleep(time.Second)
				n.Add(1)
			})))
		for i := range 300 {
			everfreshtest.Register(t, c, contractURL+strconv.Itoa(i), everfresh.Bytes())
		}
		synctest.Wait()
		start := time.Now()
		err := c.Close()
		everfreshtest.WantElapsed(t, start, 5*time.Second)
		if err == nil || !strings.Contains(err.Error(), "more wait") {
			t.Errorf("Close = %v after %d of 300 errors were delivered", err, n.Load())
		}
		time.Sleep(300 * time.Second)
		if got := n.Load(); got != 300 {
			t.Errorf("the sink got %d errors of 300", got)
		}
	})
}

// TestDefectIntervalsHaveDefaultsOfTheCache: v3 could set them for each resource only.
func TestDefectIntervalsHaveDefaultsOfTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		minute, day := everfreshtest.NewOrigin(everfreshtest.Text("x")), everfreshtest.NewOrigin(everfreshtest.Text("x", "Cache-Control", "max-age=31536000"))
		c := everfreshtest.NewCache(t, everfresh.WithJitter(0),
			everfresh.WithMinRefreshInterval(time.Minute), everfresh.WithMaxRefreshInterval(24*time.Hour))
		short := everfreshtest.Register(t, c, contractURL, everfresh.Bytes(), minute.Option())
		long := everfreshtest.Register(t, c, "https://b.test/", everfresh.Bytes(), day.Option())
		own := everfreshtest.Register(t, c, "https://c.test/", everfresh.Bytes(), minute.Option(), everfresh.WithMinRefreshInterval(time.Hour))
		synctest.Wait()
		for r, want := range map[*everfresh.Resource[[]byte]]time.Duration{short: time.Minute, long: 24 * time.Hour, own: time.Hour} {
			if got := time.Until(r.Status().Next); got != want {
				t.Errorf("%s: next refresh in %v, want %v", r.Key(), got, want)
			}
		}
	})
}

// TestDefectSlowNeighbours: twelve resources that take 1.5 s delayed a Refresh of a fast
// one by 1.3 s.
func TestDefectSlowNeighbours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fast := everfreshtest.NewOrigin(everfreshtest.Slow(10*time.Millisecond, "x"))
		c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(everfreshtest.Client(everfreshtest.Slow(1500*time.Millisecond, "x"))))
		other := everfreshtest.Register(t, c, "https://b.test/", everfresh.Bytes(), fast.Option())
		same := everfreshtest.Register(t, c, "https://a.test/fast", everfresh.Bytes(), fast.Option())
		everfreshtest.Ready(t, c)
		for i := range 12 {
			everfreshtest.Register(t, c, contractURL+strconv.Itoa(i), everfresh.Bytes())
		}
		synctest.Wait()
		start := time.Now()
		if err := other.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		everfreshtest.WantElapsed(t, start, 10*time.Millisecond)
		if err := same.Refresh(t.Context()); err != nil { // next in its host's queue, ahead of eight
			t.Error(err)
		}
		everfreshtest.WantElapsed(t, start, 1510*time.Millisecond)
	})
}

// TestRefreshesThatCloseEndedAreNotReported: the end of the cache is no failure of a
// resource.
func TestRefreshesThatCloseEndedAreNotReported(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			told := new(everfreshtest.Recorder)
			c := everfresh.NewCache(t.Context(), append(told.Options(), everfresh.WithHTTPClient(everfreshtest.Client(everfreshtest.Slow(time.Hour, "x"))))...)
			for i := range 10 {
				r := everfreshtest.Register(t, c, fmt.Sprintf("https://host%d.test/", i), everfresh.Bytes())
				go func() {
					_, err := r.Get(context.Background())
					everfreshtest.WantIs(t, err, everfresh.ErrClosed)
				}()
			}
			synctest.Wait()
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if errs, events := told.Errors(), told.Events(""); len(errs)+len(events) > 0 {
				t.Errorf("the sink got %v, the observer %v", errs, events)
			}
		})
	}
}

// TestDateOfTheSameSecondIsNoAge: a Date is cut to whole seconds, so that it seems up to
// a second old when it arrives, and more if the next second began on the way. Taken for
// the answer's age, that would cost a short max-age most of its life; httprc v1's own test
// counts the refreshes.
func TestDateOfTheSameSecondIsNoAge(t *testing.T) {
	for name, delay := range map[string]time.Duration{"at once": 0, "into the next second": 200 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(900 * time.Millisecond)
				o := everfreshtest.NewOrigin(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
					w.Header().Set("Cache-Control", "max-age=3")
					time.Sleep(delay)
					_, _ = w.Write([]byte("x"))
				})
				r := contractTyped(t, o, everfresh.WithMinRefreshInterval(time.Second))
				o.SleepUntil(10 * time.Second)
				for i, at := range o.Times("") {
					if want := time.Duration(i) * 3 * time.Second; at != want {
						t.Errorf("refresh %d at %v, want %v", i, at, want)
					}
				}
				if age := r.Status().Age; age != delay {
					t.Errorf("age = %v, want %v", age, delay)
				}
			})
		})
	}
}
