package everfresh_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
	"github.com/everfresh-go/everfresh/store"
)

// panicSecret stands for what a panic's value may hold.
const panicSecret = "canary-4711"

// A bomb panics every second time that it is asked to, from the second on.
type bomb struct{ n atomic.Int64 }

func (b *bomb) tick() {
	if b.n.Add(1)%2 == 0 {
		panic("boom " + panicSecret)
	}
}

// panicExpiring is a value whose method panics.
type panicExpiring struct{ b *bomb }

func (m panicExpiring) ExpiresAt() time.Time {
	m.b.tick()
	return time.Time{}
}

// panicCallbacks register a resource with a callback that panics.
func panicCallbacks() map[string]struct {
	op       string // what is reported
	register func(c *everfresh.Cache, b *bomb, o *everfreshtest.Origin) error
} {
	const site = "https://a.test/"
	key := everfresh.WithKey("key")
	type register = func(c *everfresh.Cache, b *bomb, o *everfreshtest.Origin) error
	callbacks := map[string]struct {
		op       string
		register register
	}{
		"decoder": {"decode", func(c *everfresh.Cache, b *bomb, o *everfreshtest.Origin) error {
			_, err := everfresh.Register(c, site, func(ctx context.Context, resp *http.Response) (int, error) {
				b.tick()
				return everfreshtest.Number(ctx, resp)
			}, key, o.Option())
			return err
		}},
		"transformer": {"decode", func(c *everfresh.Cache, b *bomb, o *everfreshtest.Origin) error {
			return c.Register(site, key, o.Option(), everfresh.WithPrefetch(true), everfresh.WithTransformer(
				everfresh.TransformFunc(func(string, *http.Response) (any, error) {
					b.tick()
					return b.n.Load(), nil
				})))
		}},
		"method of the value": {"decode", func(c *everfresh.Cache, b *bomb, o *everfreshtest.Origin) error {
			_, err := everfresh.Register(c, site, func(context.Context, *http.Response) (panicExpiring, error) {
				return panicExpiring{b}, nil
			}, key, o.Option())
			return err
		}},
		"middleware": {"fetch", func(c *everfresh.Cache, b *bomb, o *everfreshtest.Origin) error {
			_, err := everfresh.Register(c, site, everfreshtest.Number, key, o.Option(), everfresh.WithMiddleware(
				func(next everfresh.Fetcher) everfresh.Fetcher {
					return everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
						b.tick()
						return next.Fetch(req)
					})
				}))
			return err
		}},
		"fetcher": {"fetch", func(c *everfresh.Cache, b *bomb, o *everfreshtest.Origin) error {
			_, err := everfresh.Register(c, site, everfreshtest.Number, key, everfresh.WithFetcher(
				everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
					b.tick()
					return everfreshtest.Client(o.ServeHTTP).Do(req)
				})))
			return err
		}},
		"transport": {"fetch", func(c *everfresh.Cache, b *bomb, o *everfreshtest.Origin) error {
			_, err := everfresh.Register(c, site, everfreshtest.Number, key, everfresh.WithHTTPClient(everfreshtest.Client(
				func(w http.ResponseWriter, req *http.Request) {
					b.tick()
					o.ServeHTTP(w, req)
				})))
			return err
		}},
		"body": {"read", func(c *everfresh.Cache, b *bomb, o *everfreshtest.Origin) error {
			_, err := everfresh.Register(c, site, everfreshtest.Number, key, everfresh.WithFetcher(
				everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
					resp, err := everfreshtest.Client(o.ServeHTTP).Do(req)
					if err == nil {
						resp.Body = &panicBody{b: b}
						resp.ContentLength = 1
					}
					return resp, err
				})))
			return err
		}},
		"request": {"request", func(c *everfresh.Cache, b *bomb, o *everfreshtest.Origin) error {
			_, err := everfresh.Register(c, site, everfreshtest.Number, key, o.Option(), everfresh.WithRequest(
				func(ctx context.Context, _ *everfresh.Snapshot[any]) (*http.Request, error) {
					b.tick()
					return http.NewRequestWithContext(ctx, http.MethodGet, site, http.NoBody)
				}))
			return err
		}},
	}
	return callbacks
}

// A panicBody is a body of one byte that differs from reading to reading.
type panicBody struct {
	b    *bomb
	done bool
}

func (p *panicBody) Read(buf []byte) (int, error) {
	if p.done {
		return 0, io.EOF
	}
	p.done = true
	p.b.tick()
	buf[0] = '0' + byte(p.b.n.Load()%10)
	return 1, nil
}

func (*panicBody) Close() error { return nil }

func TestPanicIsAnErrorOfThatRefresh(t *testing.T) {
	for name, tt := range panicCallbacks() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l everfreshtest.Recorder
				var b bomb
				o := &everfreshtest.Origin{}
				c := everfreshtest.NewCache(t, append(l.Options(), everfresh.WithJitter(0),
					everfresh.WithRefreshInterval(time.Minute), everfresh.WithBackoff(time.Second, time.Second))...)
				if err := tt.register(c, &b, o); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if _, err := c.Get(t.Context(), "key"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute) // the first panic
				synctest.Wait()
				if _, err := c.Get(t.Context(), "key"); err != nil {
					t.Errorf("Get after the panic = %v", err)
				}
				wantPanics(t, &l, tt.op, 1)
				time.Sleep(9*time.Minute + 30*time.Second) // every second try fails, and is tried again after 1 s
				wantPanics(t, &l, tt.op, 10)
				if n := len(l.Events("fetched")); n != 11 {
					t.Errorf("%d good refreshes in ten minutes, want 11", n)
				}
			})
		})
	}
}

// wantPanics checks what sink and observer were told of n panics.
func wantPanics(t *testing.T, l *everfreshtest.Recorder, op string, n int) {
	t.Helper()
	errs, failed, stale := l.Errors(), l.Events("failed"), l.Events("stale")
	if len(errs) != n || len(failed) != n {
		t.Errorf("%d errors and %d events of %d panics", len(errs), len(failed), n)
	}
	if all := l.Events(""); len(all) != len(failed)+len(stale)+len(l.Events("fetched")) {
		t.Errorf("other events: %v", all)
	}
	for i, err := range errs {
		re := everfreshtest.RefreshError(t, err)
		if re.Op != op || re.Key != "key" || !re.Stale || re.Attempt != 1 {
			t.Errorf("reported %+v", *re)
		}
		text := fmt.Sprintf("%v %+v %#v %v", err, err, err, failed[min(i, len(failed)-1)])
		if !strings.Contains(text, "panic") || strings.Contains(text, panicSecret) {
			t.Errorf("reported %q", text)
		}
	}
}

func TestFirstGetGetsThePanicAsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := everfreshtest.NewCache(t)
		r := everfreshtest.Register(t, c, "https://a.test/", func(_ context.Context, resp *http.Response) (int, error) {
			return []int{1}[resp.StatusCode], nil
		}, (&everfreshtest.Origin{}).Option())
		_, err := r.Get(t.Context())
		everfreshtest.WantIs(t, err, everfresh.ErrNotReady)
		if !strings.Contains(err.Error(), "index out of range") || !strings.Contains(err.Error(), "TestFirstGetGetsThePanicAsAnError") {
			t.Errorf("Get = %v: should say what happened, and where", err)
		}
	})
}

// A callback that ends its goroutine, as t.FailNow does, must not leave its refresh under
// way for ever.
func TestGoexitIsAnErrorOfThatRefresh(t *testing.T) {
	eachNestedWay(t, func(t *testing.T, add func(*everfresh.Cache, string, nestedGet) *everfresh.Resource[[]byte]) {
		var l everfreshtest.Recorder
		var calls atomic.Int64
		c := everfreshtest.NewCache(t, append(l.Options(), (&everfreshtest.Origin{}).Option(), everfresh.WithJitter(0),
			everfresh.WithBackoff(time.Second, time.Second))...)
		r := add(c, "https://a.test/", func(context.Context) error {
			if calls.Add(1) == 1 {
				runtime.Goexit()
			}
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		if err := r.Ready(ctx); err != nil {
			t.Errorf("Ready = %v", err)
		}
		everfreshtest.WantElapsed(t, start, time.Second)
		synctest.Wait()
		if errs, failed := l.Errors(), l.Events("failed"); len(errs) != 1 || len(failed) != 1 {
			t.Errorf("reported %v and %v, want one of each", errs, failed)
		}
	})
}

func TestPanicOfSinkIsOneEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l everfreshtest.Recorder
		calls := 0
		o := &everfreshtest.Origin{Code: http.StatusBadGateway}
		c := everfreshtest.NewCache(t, o.Option(), everfresh.WithJitter(0), everfresh.WithBackoff(time.Minute, time.Minute),
			everfresh.WithObserver(l.Observe),
			everfresh.WithErrSink(everfresh.ErrSinkFunc(func(error) {
				calls++
				panic(panicSecret)
			})))
		everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, everfresh.WithKey("key"))
		time.Sleep(4*time.Minute + time.Second)
		synctest.Wait()
		if calls != 5 {
			t.Errorf("the sink was called %d times for 5 failures", calls)
		}
		wantPanicEvents(t, l.Events("failed"), "fetch", "sink", 5)
	})
}

// wantPanicEvents checks that the events tell n times of op and of a panic.
func wantPanicEvents(t *testing.T, events []everfresh.Event, op, panicked string, n int) {
	t.Helper()
	ops := map[string]int{}
	for _, ev := range events {
		re := everfreshtest.RefreshError(t, ev.Err)
		ops[re.Op]++
		if ev.Key != "key" || re.Key != "key" || strings.Contains(ev.Err.Error(), panicSecret) {
			t.Errorf("event %v", ev)
		}
	}
	if ops[op] != n || ops[panicked] != n || len(ops) != 2 {
		t.Errorf("events by op: %v, want %d of %q and of %q", ops, n, op, panicked)
	}
}

func TestPanicOfObserverIsOneReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l everfreshtest.Recorder
		calls := 0
		o := &everfreshtest.Origin{}
		c := everfreshtest.NewCache(t, o.Option(), everfresh.WithJitter(0), everfresh.WithRefreshInterval(time.Minute), everfresh.WithErrSink(&l),
			everfresh.WithObserver(func(everfresh.Event) {
				calls++
				panic(panicSecret)
			}))
		everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, everfresh.WithKey("key"))
		time.Sleep(4*time.Minute + time.Second)
		synctest.Wait()
		everfreshtest.WantRequests(t, o, 5)
		errs := l.Errors()
		if calls != 5 || len(errs) != 5 {
			t.Errorf("the observer was called %d times, and %d panics reported; want 5", calls, len(errs))
		}
		for _, err := range errs {
			if re := everfreshtest.RefreshError(t, err); re.Op != "observer" || re.Key != "key" || strings.Contains(err.Error(), panicSecret) {
				t.Errorf("reported %v", err)
			}
		}
	})
}

func TestPanicsOfSinkAndObserverDoNotLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sunk, observed := 0, 0
		o := &everfreshtest.Origin{Code: http.StatusBadGateway}
		c := everfreshtest.NewCache(t, o.Option(), everfresh.WithJitter(0), everfresh.WithBackoff(time.Minute, time.Minute),
			everfresh.WithErrSink(everfresh.ErrSinkFunc(func(error) {
				sunk++
				panic("sink")
			})),
			everfresh.WithObserver(func(everfresh.Event) {
				observed++
				panic("observer")
			}))
		everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number)
		time.Sleep(4*time.Minute + time.Second)
		synctest.Wait()
		everfreshtest.WantRequests(t, o, 5)
		if sunk != 10 || observed != 10 { // the failure, and the other's panic about it
			t.Errorf("sink called %d times, observer %d times; want 10 each for 5 failures", sunk, observed)
		}
	})
}

// panicHook makes a storage panic.
func panicHook(context.Context, string) error { panic("storage " + panicSecret) }

// wantStoragePanics checks that n panics of op were told to sink and observer.
func wantStoragePanics(t *testing.T, l *everfreshtest.Recorder, op string, n int) {
	t.Helper()
	synctest.Wait()
	errs, events := l.Errors(), l.Events("storage")
	if len(errs) != n || len(events) != n {
		t.Errorf("%d errors and %d events of %d panics", len(errs), len(events), n)
	}
	for _, err := range errs {
		re := everfreshtest.RefreshError(t, err)
		if re.Op != op || re.Key != "key" || !strings.Contains(err.Error(), "panic") || strings.Contains(err.Error(), panicSecret) {
			t.Errorf("reported %+v", *re)
		}
	}
	if failed := l.Events("failed"); len(failed) != 0 {
		t.Errorf("refreshes failed: %v", failed)
	}
}

// panicStorage returns a resource on a storage that panics as set says.
func panicStorage(t *testing.T, l *everfreshtest.Recorder, o *everfreshtest.Origin, set func(*everfreshtest.Hooked)) (*everfreshtest.Hooked, *everfresh.Resource[int]) {
	t.Helper()
	s := everfreshtest.NewHooked()
	set(s)
	c := everfreshtest.NewCache(t, append(l.Options(), o.Option(), everfresh.WithStorage(s), everfresh.WithJitter(0),
		everfresh.WithRefreshInterval(time.Minute))...)
	return s, everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, everfresh.WithKey("key"))
}

func TestPanicOfStorageLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l everfreshtest.Recorder
		o := &everfreshtest.Origin{}
		start := time.Now()
		_, r := panicStorage(t, &l, o, func(s *everfreshtest.Hooked) { s.OnLoad(panicHook) })
		if v, err := r.Get(t.Context()); v != 1 || err != nil {
			t.Errorf("Get = %v, %v", v, err)
		}
		everfreshtest.WantElapsed(t, start, 0)
		wantStoragePanics(t, &l, "load", 1)
		time.Sleep(3*time.Minute + time.Second)
		wantStoragePanics(t, &l, "load", 1)
		everfreshtest.WantRequests(t, o, 4)
	})
}

func TestPanicOfStorageStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l everfreshtest.Recorder
		o := &everfreshtest.Origin{}
		s, r := panicStorage(t, &l, o, func(s *everfreshtest.Hooked) { s.OnStore(panicHook) })
		if v, err := r.Get(t.Context()); v != 1 || err != nil {
			t.Errorf("Get = %v, %v", v, err)
		}
		wantStoragePanics(t, &l, "store", 1)
		time.Sleep(3*time.Minute + time.Second)
		wantStoragePanics(t, &l, "store", 4) // one for each record
		everfreshtest.WantRequests(t, o, 4)
		s.OnStore(nil)
		time.Sleep(time.Minute)
		wantStoragePanics(t, &l, "store", 4)
		if n := newerStored(t, s); n != 1 {
			t.Errorf("records = %d, want 1", n)
		}
	})
}

func TestPanicOfStorageDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l everfreshtest.Recorder
		o := &everfreshtest.Origin{}
		_, r := panicStorage(t, &l, o, func(s *everfreshtest.Hooked) { s.OnDelete(panicHook) })
		if v, err := r.Get(t.Context()); v != 1 || err != nil {
			t.Errorf("Get = %v, %v", v, err)
		}
		synctest.Wait() // its record is written
		err := r.Invalidate(t.Context(), r.Snapshot().Version)
		if re := everfreshtest.RefreshError(t, err); re.Op != "store" || strings.Contains(err.Error(), panicSecret) {
			t.Errorf("Invalidate = %v", err)
		}
		wantStoragePanics(t, &l, "store", 1)
		if v, err := r.Get(t.Context()); v != 2 || err != nil {
			t.Errorf("Get = %v, %v", v, err)
		}
		time.Sleep(2*time.Minute + time.Second)
		everfreshtest.WantRequests(t, o, 4)
	})
}

func TestPanicOfStorageWhileQuarantining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l everfreshtest.Recorder
		o := &everfreshtest.Origin{}
		s, r := panicStorage(t, &l, o, func(*everfreshtest.Hooked) {})
		everfreshtest.Ready(t, r)
		synctest.Wait()
		for m, err := range s.List(t.Context(), "") { // the only record is damaged
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Storage.Store(t.Context(), m.Key, []byte("damaged"), store.Any()); err != nil {
				t.Fatal(err)
			}
		}
		s.OnStore(panicHook)
		var second everfreshtest.Recorder
		c := everfreshtest.NewCache(t, append(second.Options(), o.Option(), everfresh.WithStorage(s))...)
		again := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, everfresh.WithKey("key"))
		if v, err := again.Get(t.Context()); v != 2 || err != nil {
			t.Errorf("Get = %v, %v", v, err)
		}
		synctest.Wait()
		if errs := second.Errors(); len(errs) != 2 { // of the quarantine, and of the new record
			t.Errorf("reported %v", errs)
		}
	})
}

// panicPolicy allows a.test, and panics at anything else.
func panicPolicy(u *url.URL) error {
	if u.Host != "a.test" {
		panic(panicSecret)
	}
	return nil
}

func TestPanicOfPolicyDuringRedirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l everfreshtest.Recorder
		c := everfreshtest.NewCache(t, append(l.Options(), everfresh.WithHTTPClient(everfreshtest.Client(
			func(w http.ResponseWriter, req *http.Request) {
				http.Redirect(w, req, "https://b.test/", http.StatusFound)
			})), everfresh.WithBackoff(time.Minute, time.Minute))...)
		r := everfreshtest.Register(t, c, "https://a.test/", everfreshtest.Number, everfresh.WithKey("key"), everfresh.WithAllow(panicPolicy))
		_, err := r.Get(t.Context())
		everfreshtest.WantIs(t, err, everfresh.ErrNotReady)
		synctest.Wait()
		if errs := l.Errors(); len(errs) != 1 || !strings.Contains(errs[0].Error(), "panic") {
			t.Errorf("reported %v", errs)
		}
	})
}

// A panic in sink or observer is told to the other one, once, and both go on.
func TestPanicsInSinkAndObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l everfreshtest.Recorder
		panics := true
		c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(everfreshtest.Client(everfreshtest.Status(500))), everfresh.WithBackoff(time.Hour, time.Hour),
			everfresh.WithErrSink(everfresh.ErrSinkFunc(func(err error) {
				l.Error(err)
				if panics {
					panic("s3cr3t")
				}
			})), everfresh.WithObserver(l.Observe))
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithPrefetch(false))
		_ = r.Refresh(t.Context())
		synctest.Wait()
		events := l.Events("failed")
		if len(events) != 2 || len(l.Errors()) != 1 {
			t.Fatalf("%d events, %d errors; want the failure, the panic, and one error", len(events), len(l.Errors()))
		}
		var re *everfresh.RefreshError
		if !errors.As(events[1].Err, &re) || re.Op != "sink" || !strings.Contains(re.Error(), "panic: value of type string at ") || strings.Contains(re.Error(), "s3cr3t") {
			t.Errorf("the observer was told %v", events[1].Err)
		}
		panics = false
		_ = r.Refresh(t.Context())
		synctest.Wait()
		if len(l.Events("failed")) != 3 || len(l.Errors()) != 2 {
			t.Errorf("after the panic: %d events, %d errors", len(l.Events("failed")), len(l.Errors()))
		}
	})
}
