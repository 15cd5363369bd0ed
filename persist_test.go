package everfresh_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
	"github.com/everfresh-go/everfresh/store"
)

// storedNames returns the names of all that is stored.
func storedNames(t testing.TB, s store.Storage) (names []string) {
	t.Helper()
	for item, err := range s.List(context.WithoutCancel(t.Context()), "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, item.Key)
	}
	return names
}

// slowFirst makes the first call slow.
func slowFirst(d time.Duration) func(context.Context, string) error {
	var others atomic.Bool
	return func(ctx context.Context, key string) error {
		if others.Swap(true) {
			return nil
		}
		return everfreshtest.After(d)(ctx, key)
	}
}

// TestStoredNamesTellNothing: names of records are of one length and show neither key
// nor URL, as they appear in file listings, slow logs and metrics.
func TestStoredNamesTellNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		keys := []string{
			"k", "named key", strings.Repeat("long", 1000), "../../etc/passwd", "a\x00b", "ключ",
			"https://origin.test/?secret=s3cr3t",
		}
		for _, key := range keys[:3] {
			putBytes(t, mem, recordName(key), []byte("damaged, to be quarantined"))
		}
		c := everfreshtest.NewCache(t, everfresh.WithStorage(mem), everfreshtest.NewBody("x").Option())
		for _, key := range keys {
			r := everfreshtest.Register(t, c, "https://user.test/path?secret=s3cr3t", everfresh.Bytes(), everfresh.WithKey(key))
			getValue(t, r)
		}
		synctest.Wait()
		names := storedNames(t, mem)
		if len(names) != len(keys)+3 {
			t.Errorf("%d records, want %d and 3 quarantined", len(names), len(keys))
		}
		form := regexp.MustCompile(`^(quarantine\.)?[0-9a-f]{64}$`)
		for _, name := range names {
			if !form.MatchString(name) {
				t.Errorf("name %q", name)
			}
		}
		for _, key := range keys {
			if rec := recordOf(t, mem, key); rec == nil || rec.Key != key {
				t.Errorf("no record of %q: %v", key, rec)
			}
		}
	})
}

// TestRecordOfAnyKeyIsFoundAgain: a key that is no text may be refused, but a resource
// that has one has a record.
func TestRecordOfAnyKeyIsFoundAgain(t *testing.T) {
	for _, key := range []string{"k\xff\xfe", "\"<>&\u2028\x00", strings.Repeat("k", 1<<16)} {
		synctest.Test(t, func(t *testing.T) {
			mem := new(store.Memory)
			o := everfreshtest.NewBody("x", "Cache-Control", "max-age=3600")
			for run := range 2 {
				var l everfreshtest.Recorder
				c := everfreshtest.NewCache(t, append(l.Options(), everfresh.WithStorage(mem), o.Option(), everfresh.WithJitter(0))...)
				r, err := everfresh.Register(c, originURL, everfresh.Bytes(), everfresh.WithKey(key))
				if err != nil && !utf8.ValidString(key) {
					return
				}
				getValue(t, r)
				if errs := storageErrors(t, &l); len(errs) != 0 {
					t.Errorf("run %d of key %.20q: reported %v", run, key, errs)
				}
				everfreshtest.Close(t, c)
			}
			if n := len(o.Requests()); n != 1 {
				t.Errorf("key %.20q: %d requests, want the record to be found", key, n)
			}
		})
	}
}

// TestValidatorThatIsNoText: a validator comes back from the store as it was, or not at
// all.
func TestValidatorThatIsNoText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		const etag = "\"caf\xe9\""
		o := everfreshtest.NewBody("x", "Etag", etag)
		for run := range 2 {
			var l everfreshtest.Recorder
			c := everfreshtest.NewCache(t, append(l.Options(), everfresh.WithStorage(mem), o.Option())...)
			r := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
			getValue(t, r)
			if run == 1 {
				everfreshtest.Refresh(t, r)
			}
			if errs := storageErrors(t, &l); len(errs) != 0 {
				t.Errorf("reported %v", errs)
			}
			everfreshtest.Close(t, c)
		}
		asked := o.Requests()
		if len(asked) != 2 {
			t.Fatalf("%d requests, want 2", len(asked))
		}
		if got := asked[1].Header.Get("If-None-Match"); got != "" && got != etag {
			t.Errorf("If-None-Match %q after a restart, want %q or none", got, etag)
		}
	})
}

// TestSecretsStayOutOfRecords: a record keeps the fields it needs and no other.
func TestSecretsStayOutOfRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		o := everfreshtest.NewBody("x", "Set-Cookie", "s3cr3t", "Authorization", "s3cr3t", "X-Other", "s3cr3t", "Etag", `"e"`, "Content-Type", "text/plain")
		c := everfreshtest.NewCache(t, everfresh.WithStorage(mem), o.Option())
		r := everfreshtest.Register(t, c, "https://origin.test/?secret=s3cr3t", everfresh.Bytes(),
			everfresh.WithKey("named"), everfresh.WithHeader("Authorization", "s3cr3t"))
		getValue(t, r)
		synctest.Wait()
		item, err := mem.Load(t.Context(), recordName("named"))
		if err != nil || strings.Contains(string(item.Value), "s3cr3t") {
			t.Errorf("stored: %q, %v", item.Value, err)
		}
		if h := recordOf(t, mem, "named").Header; h.Get("Etag") != `"e"` || h.Get("Content-Type") != "text/plain" || len(h) != 2 {
			t.Errorf("stored header: %v", h)
		}
	})
}

// TestStoreIsDown: refreshes go on, each failure is reported, and once the store is back
// memory repairs it, with the answer that comes next.
func TestStoreIsDown(t *testing.T) {
	type fault = func(context.Context, string) error
	for name, tt := range map[string]struct {
		fault  fault
		answer string // the body of the answer after the store came back
	}{
		"fails, repaired by a 304":       {everfreshtest.Unavailable, "one"},
		"fails, repaired by a 200":       {everfreshtest.Unavailable, "two"},
		"panics, repaired by a 304":      {everfreshtest.Panic, "one"},
		"hangs, repaired by a 304":       {everfreshtest.Stuck, "one"},
		"hangs, repaired by a 200":       {everfreshtest.Stuck, "two"},
		"is closed, repaired by a 304":   {func(context.Context, string) error { return store.ErrClosed }, "one"},
		"has no key, repaired by a 200":  {func(context.Context, string) error { return store.ErrKeyUnavailable }, "two"},
		"is damaged, repaired by a 304":  {func(context.Context, string) error { return store.ErrCorrupt }, "one"},
		"conflicts, repaired by a 304":   {func(context.Context, string) error { return &store.ConflictError{} }, "one"},
		"cancels on its own, then a 304": {func(context.Context, string) error { return context.Canceled }, "one"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := everfreshtest.NewHooked()
				s.OnAll(tt.fault)
				o := everfreshtest.NewBody("one", "Cache-Control", "max-age=3600", "Etag", `"one"`)
				var l everfreshtest.Recorder
				c := everfreshtest.NewCache(t, append(l.Options(), everfresh.WithStorage(s), o.Option(), everfresh.WithJitter(0))...)
				r := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
				getValue(t, r)
				version := r.Snapshot().Version
				time.Sleep(3*time.Hour + 10*time.Minute)
				if n := len(o.Requests()); n != 4 {
					t.Errorf("%d requests in 3 h, want 4", n)
				}
				errs := storageErrors(t, &l)
				if len(errs) != 5 { // one load, four saves
					t.Fatalf("%d storage errors, want one of the load and one of each save: %v", len(errs), errs)
				}
				for i, err := range errs {
					if want := map[bool]string{true: "load", false: "store"}[i == 0]; err.Op != want || err.Key != originURL {
						t.Errorf("error %d: %v, want one of %s", i, err, want)
					}
				}
				if st := r.Status(); st.Failures != 0 || st.Err != nil {
					t.Errorf("the store's failures count as refreshes': %+v", st)
				}
				s.OnAll(nil)
				o.Set(func(o *everfreshtest.Origin) { o.Body = tt.answer; o.Header.Set("Etag", `"`+tt.answer+`"`) })
				time.Sleep(time.Hour)
				rec := recordOf(t, s.Storage, originURL)
				if rec == nil || string(rec.Body) != tt.answer || rec.Version != r.Snapshot().Version || rec.Header.Get("Etag") != `"`+tt.answer+`"` {
					t.Fatalf("stored once the store was back: %v", rec)
				}
				if (rec.Version == version) != (tt.answer == "one") {
					t.Errorf("version %d, was %d", rec.Version, version)
				}
				if n := len(storageErrors(t, &l)); n != 5 {
					t.Errorf("%d more errors once the store was back", n-5)
				}
			})
		})
	}
}

// TestStoreDelaysNoReader: a Get of a ready value, a Refresh and a refresh that is due
// do not wait for a save.
func TestStoreDelaysNoReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := everfreshtest.NewHooked()
		o := everfreshtest.NewBody("x", "Cache-Control", "max-age=10")
		c := everfreshtest.NewCache(t, everfresh.WithStorage(s), o.Option(), everfresh.WithJitter(0), everfresh.WithMinRefreshInterval(time.Second))
		rs := make([]*everfresh.Resource[[]byte], 100)
		for i := range rs {
			rs[i] = everfreshtest.Register(t, c, originURL, everfresh.Bytes(), everfresh.WithKey(strconv.Itoa(i)))
		}
		everfreshtest.Ready(t, c)
		synctest.Wait()
		s.OnStore(everfreshtest.Stuck)
		start := time.Now()
		for _, r := range rs {
			getValue(t, r)
			everfreshtest.Refresh(t, r)
			if _, err := c.Get(t.Context(), r.Key()); err != nil {
				t.Error(err)
			}
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("readers waited %v", d)
		}
		before := len(o.Requests())
		time.Sleep(61 * time.Second)
		if got := len(o.Requests()) - before; got != 6*len(rs) {
			t.Errorf("%d refreshes in a minute, want %d", got, 6*len(rs))
		}
		s.OnStore(nil)
	})
}

// TestSlowStoreGetsNewestRecord: saves of one resource never run side by side, and what a
// newer value made needless is left out.
func TestSlowStoreGetsNewestRecord(t *testing.T) {
	for name, delays := range map[string][]time.Duration{
		"always slow":       {3500 * time.Millisecond},
		"first one slow":    {3500 * time.Millisecond, 0},
		"slow now and then": {2500 * time.Millisecond, 0, 3 * time.Second, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := everfreshtest.NewHooked()
				var mu sync.Mutex
				running, n := 0, 0
				s.OnStore(func(ctx context.Context, key string) error {
					mu.Lock()
					running++
					if running > 1 {
						t.Error("two saves of one resource at once")
					}
					delay := delays[n%len(delays)]
					n++
					mu.Unlock()
					err := everfreshtest.After(delay)(ctx, key)
					mu.Lock()
					running--
					mu.Unlock()
					return err
				})
				o := everfreshtest.NewBody("0")
				r := everfreshtest.Register(t, everfreshtest.NewCache(t, everfresh.WithStorage(s), o.Option()), originURL, everfresh.Bytes())
				getValue(t, r)
				const last = 20
				for i := range last {
					o.Set(func(o *everfreshtest.Origin) { o.Body = strconv.Itoa(i + 1) })
					everfreshtest.Refresh(t, r)
					time.Sleep(time.Second)
				}
				time.Sleep(20 * time.Second)
				if rec := recordOf(t, s.Storage, originURL); string(rec.Body) != strconv.Itoa(last) || rec.Version != r.Snapshot().Version {
					t.Errorf("stored %q, version %d; want %d, version %d", rec.Body, rec.Version, last, r.Snapshot().Version)
				}
				if _, saves, _ := s.Count(); name == "always slow" && saves > 8 {
					t.Errorf("%d saves of 3.5 s in 25 s", saves)
				}
			})
		})
	}
}

// TestSlowSaveOfFormerRegistration: Unregister does not wait for the save that is under
// way. What the next registration saves must not be overwritten by it.
func TestSlowSaveOfFormerRegistration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := everfreshtest.NewHooked()
		o := everfreshtest.NewBody("one")
		c := everfreshtest.NewCache(t, everfresh.WithStorage(s), o.Option())
		s.OnStore(slowFirst(3 * time.Second))
		getValue(t, everfreshtest.Register(t, c, originURL, everfresh.Bytes()))
		if err := c.Unregister(originURL); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		o.Set(func(o *everfreshtest.Origin) { o.Body = "two" })
		getValue(t, everfreshtest.Register(t, c, originURL, everfresh.Bytes()))
		time.Sleep(10 * time.Second)
		if rec := recordOf(t, s.Storage, originURL); rec == nil || string(rec.Body) != "two" {
			t.Errorf("stored %v, want the record of the second registration", rec)
		}
	})
}

// TestCloseFlushes: what was fetched before Close is stored when it returns, also what
// waited for its turn.
func TestCloseFlushes(t *testing.T) {
	const n = 20
	for name, end := range map[string]func(t *testing.T, c *everfresh.Cache, cancel func()){
		"Close":          func(*testing.T, *everfresh.Cache, func()) {},
		"end of context": func(_ *testing.T, _ *everfresh.Cache, cancel func()) { cancel() },
		// That a resource was unregistered is no reason to lose its record, which may be the fleet's.
		"unregistered": func(t *testing.T, c *everfresh.Cache, _ func()) {
			for i := range n {
				if err := c.Unregister(strconv.Itoa(i)); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				s := everfreshtest.NewHooked()
				s.OnStore(everfreshtest.After(100 * time.Millisecond))
				c := everfresh.NewCache(ctx, everfresh.WithStorage(s), everfreshtest.NewBody("x").Option())
				for i := range n {
					getValue(t, everfreshtest.Register(t, c, originURL, everfresh.Bytes(), everfresh.WithKey(strconv.Itoa(i))))
				}
				end(t, c, cancel)
				everfreshtest.Close(t, c)
				for i := range n {
					if rec := recordOf(t, s.Storage, strconv.Itoa(i)); rec == nil || string(rec.Body) != "x" {
						t.Errorf("record %d: %v", i, rec)
					}
				}
				if _, saves, _ := s.Count(); saves != n || len(storedNames(t, s.Storage)) != n {
					t.Errorf("%d saves, %d records, want %d", saves, len(storedNames(t, s.Storage)), n)
				}
			})
		})
	}
}

// TestCloseStoresNewestRecord: the save that Close finds under way is of an older record
// than the one that waits, and must not win.
func TestCloseStoresNewestRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := everfreshtest.NewHooked()
		s.OnStore(slowFirst(3 * time.Second))
		o := everfreshtest.NewBody("one")
		c := everfreshtest.NewCache(t, everfresh.WithStorage(s), o.Option())
		r := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
		getValue(t, r)
		synctest.Wait()
		o.Set(func(o *everfreshtest.Origin) { o.Body = "two" })
		everfreshtest.Refresh(t, r)
		everfreshtest.Close(t, c)
		if rec := recordOf(t, s.Storage, originURL); rec == nil || string(rec.Body) != "two" {
			t.Errorf("stored %v, want the newest record", rec)
		}
	})
}

// TestCloseWithStoreThatHangs returns, and the losses are reported.
func TestCloseWithStoreThatHangs(t *testing.T) {
	for name, fault := range map[string]func(context.Context, string) error{
		"hangs": everfreshtest.Stuck, "fails": everfreshtest.Unavailable, "panics": everfreshtest.Panic,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 20
				s := everfreshtest.NewHooked()
				s.OnStore(fault)
				var l everfreshtest.Recorder
				c := everfresh.NewCache(t.Context(), append(l.Options(), everfresh.WithStorage(s), everfreshtest.NewBody("x").Option())...)
				for i := range n {
					getValue(t, everfreshtest.Register(t, c, originURL, everfresh.Bytes(), everfresh.WithKey(strconv.Itoa(i))))
				}
				start := time.Now()
				_ = c.Close() // may say that it gave up waiting
				if d := time.Since(start); d > 10*time.Second {
					t.Errorf("Close took %v", d)
				}
				time.Sleep(time.Minute)
				if errs := storageErrors(t, &l); len(errs) != n {
					t.Errorf("%d failures reported, want %d", len(errs), n)
				}
			})
		})
	}
}

func TestInvalidateDeletesRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		o := everfreshtest.NewBody("bad", "Cache-Control", "max-age=3600", "Etag", `"bad"`)
		opts := []everfresh.CacheOption{everfresh.WithStorage(mem), o.Option(), everfresh.WithJitter(0)}
		c := everfreshtest.NewCache(t, opts...)
		r := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
		other := everfreshtest.Register(t, c, originURL, everfresh.Bytes(), everfresh.WithKey("other"))
		getValue(t, r)
		getValue(t, other)
		synctest.Wait()
		o.Set(func(o *everfreshtest.Origin) { o.Down = everfreshtest.Refuse })
		if err := r.Invalidate(t.Context(), r.Snapshot().Version); err != nil {
			t.Fatal(err)
		}
		if rec := recordOf(t, mem, originURL); rec != nil {
			t.Errorf("still stored: %v", rec)
		}
		if recordOf(t, mem, "other") == nil {
			t.Error("another resource's record was deleted")
		}
		time.Sleep(time.Hour) // of failures, which store nothing
		if rec := recordOf(t, mem, originURL); rec != nil {
			t.Errorf("stored again: %v", rec)
		}
		everfreshtest.Close(t, c)

		// A restart brings the bad value back neither.
		r = everfreshtest.Register(t, everfreshtest.NewCache(t, opts...), originURL, everfresh.Bytes())
		if v, err := r.Get(t.Context()); err == nil {
			t.Errorf("Get = %q after a restart", v)
		}
		o.Set(func(o *everfreshtest.Origin) { o.Down, o.Body = nil, "good" })
		time.Sleep(10 * time.Minute)
		if v, _ := getValue(t, r); v != "good" || string(recordOf(t, mem, originURL).Body) != "good" {
			t.Errorf("Get = %q", v)
		}
	})
}

// TestInvalidateOfOldVersionDeletesNothing: another caller was faster.
func TestInvalidateOfOldVersionDeletesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := everfreshtest.NewHooked()
		o := everfreshtest.NewBody("one")
		r := everfreshtest.Register(t, everfreshtest.NewCache(t, everfresh.WithStorage(s), o.Option()), originURL, everfresh.Bytes())
		getValue(t, r)
		old := r.Snapshot().Version
		o.Set(func(o *everfreshtest.Origin) { o.Body = "two" })
		everfreshtest.Refresh(t, r)
		synctest.Wait()
		if err := r.Invalidate(t.Context(), old); err != nil {
			t.Error(err)
		}
		if _, _, drops := s.Count(); drops != 0 || recordOf(t, s.Storage, originURL) == nil {
			t.Errorf("%d deletes", drops)
		}
	})
}

// TestInvalidateDuringSave: the save that is under way, or that waits for its turn, does
// not bring the record back, nor does Close.
func TestInvalidateDuringSave(t *testing.T) {
	for name, tt := range map[string]struct {
		others int
		late   bool // the store stores, and then says that it could not
		close  bool
	}{
		"under way": {}, "waits for its turn": {others: 10}, "fails late": {late: true}, "then Close": {close: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := everfreshtest.NewHooked()
				s.OnStore(everfreshtest.After(2 * time.Second))
				if tt.late { // a write that failed may have taken effect
					s.StoreFunc = func(ctx context.Context, key string, value []byte, cond store.Condition) (store.Version, error) {
						_, err := s.Storage.Store(ctx, key, value, cond)
						return "", cmp.Or(err, store.ErrUnavailable)
					}
				}
				o := everfreshtest.NewBody("bad")
				c := everfreshtest.NewCache(t, everfresh.WithStorage(s), o.Option())
				for i := range tt.others {
					getValue(t, everfreshtest.Register(t, c, originURL, everfresh.Bytes(), everfresh.WithKey(strconv.Itoa(i))))
				}
				r := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
				getValue(t, r)
				time.Sleep(time.Second)
				o.Set(func(o *everfreshtest.Origin) { o.Down = everfreshtest.Refuse })
				if err := r.Invalidate(t.Context(), r.Snapshot().Version); err != nil {
					t.Fatal(err)
				}
				if tt.close {
					everfreshtest.Close(t, c)
				} else {
					time.Sleep(time.Minute)
				}
				if rec := recordOf(t, s.Storage, originURL); rec != nil {
					t.Errorf("the save brought it back: %v", rec)
				}
			})
		})
	}
}

// TestInvalidateOfStoreThatConflicts: a store that never lets the record go must not keep
// Invalidate busy for ever.
func TestInvalidateOfStoreThatConflicts(t *testing.T) {
	s := everfreshtest.NewHooked()
	c := everfreshtest.NewCache(t, everfresh.WithStorage(s), everfreshtest.NewBody("bad").Option())
	r := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
	getValue(t, r)
	s.OnDelete(func(context.Context, string) error { return &store.ConflictError{Current: "other"} })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_ = r.Invalidate(ctx, r.Snapshot().Version)
	if _, _, drops := s.Count(); drops > 100 {
		t.Errorf("%d attempts to delete the record", drops)
	}
}

// TestInvalidateKeepsNextRecord: a slow delete must not remove the record of the value
// that came meanwhile, not even if the origin gave the same bytes again.
func TestInvalidateKeepsNextRecord(t *testing.T) {
	for _, next := range []string{"good", "bad"} {
		synctest.Test(t, func(t *testing.T) {
			s := everfreshtest.NewHooked()
			s.OnDelete(everfreshtest.After(2 * time.Second))
			o := everfreshtest.NewBody("bad")
			r := everfreshtest.Register(t, everfreshtest.NewCache(t, everfresh.WithStorage(s), o.Option()), originURL, everfresh.Bytes())
			getValue(t, r)
			synctest.Wait()
			time.Sleep(time.Second)
			o.Set(func(o *everfreshtest.Origin) { o.Body = next })
			if err := r.Invalidate(t.Context(), r.Snapshot().Version); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if rec := recordOf(t, s.Storage, originURL); rec == nil || string(rec.Body) != next {
				t.Errorf("after %q: stored %v, want the record of the next value", next, rec)
			}
		})
	}
}

// TestInvalidateReturnsDeleteError, and the value is withdrawn all the same.
func TestInvalidateReturnsDeleteError(t *testing.T) {
	for name, tt := range map[string]struct {
		fault func(context.Context, string) error
		is    error
	}{
		"fails":  {everfreshtest.Unavailable, store.ErrUnavailable},
		"panics": {everfreshtest.Panic, nil},
		"hangs":  {everfreshtest.Stuck, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := everfreshtest.NewHooked()
				s.OnDelete(tt.fault)
				o := everfreshtest.NewBody("bad")
				var l everfreshtest.Recorder
				c := everfreshtest.NewCache(t, append(l.Options(), everfresh.WithStorage(s), o.Option())...)
				r := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
				getValue(t, r)
				synctest.Wait() // stored
				o.Set(func(o *everfreshtest.Origin) { o.Body, o.Delay = "good", 5*time.Second })
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				err := r.Invalidate(ctx, r.Snapshot().Version)
				var re *everfresh.RefreshError
				if !errors.As(err, &re) || re.Op != "store" || re.Key != originURL || tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("Invalidate: %v, want a *RefreshError of store that wraps %v", err, tt.is)
				}
				if v, ok := r.Peek(); ok {
					t.Errorf("Peek = %q", v)
				}
				if errs := storageErrors(t, &l); len(errs) != 1 {
					t.Errorf("reported %v", errs)
				}
				if v, _ := getValue(t, r); v != "good" {
					t.Errorf("Get = %q", v)
				}
				synctest.Wait()
				if rec := recordOf(t, s.Storage, originURL); string(rec.Body) != "good" {
					t.Errorf("stored %q", rec.Body)
				}
			})
		})
	}
}

func TestUnregisterKeepsRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		o := everfreshtest.NewBody("x", "Cache-Control", "max-age=3600")
		c := everfreshtest.NewCache(t, everfresh.WithStorage(mem), o.Option(), everfresh.WithJitter(0))
		first := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
		getValue(t, first)
		version := first.Snapshot().Version
		synctest.Wait()
		if err := c.Unregister(originURL); err != nil {
			t.Fatal(err)
		}
		if recordOf(t, mem, originURL) == nil {
			t.Fatal("the record is gone")
		}
		if err := first.Invalidate(t.Context(), version); !errors.Is(err, everfresh.ErrNotRegistered) {
			t.Errorf("Invalidate of what was unregistered: %v", err)
		}
		// Registered again, by either API, it is loaded.
		if v, took := getValue(t, everfreshtest.Register(t, c, originURL, everfresh.Bytes())); v != "x" || took != 0 {
			t.Errorf("Get = %q after %v", v, took)
		}
		if err := c.Unregister(originURL); err != nil {
			t.Fatal(err)
		}
		if err := c.Register(originURL); err != nil {
			t.Fatal(err)
		}
		v, err := c.Get(t.Context(), originURL)
		if b, ok := v.([]byte); err != nil || !ok || string(b) != "x" || len(o.Requests()) != 1 {
			t.Errorf("Get = %v, %v after %d requests", v, err, len(o.Requests()))
		}
	})
}

// TestTwoCachesOnOneStore: each keeps what it has, and the store what was written last.
func TestTwoCachesOnOneStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		o := everfreshtest.NewBody("one", "Cache-Control", "max-age=3600")
		opts := []everfresh.CacheOption{everfresh.WithStorage(mem), o.Option(), everfresh.WithJitter(0)}
		a, b := everfreshtest.NewCache(t, opts...), everfreshtest.NewCache(t, opts...)
		ra := everfreshtest.Register(t, a, originURL, everfresh.Bytes())
		getValue(t, ra)
		synctest.Wait()
		rb := everfreshtest.Register(t, b, originURL, everfresh.Bytes())
		if v, took := getValue(t, rb); v != "one" || took != 0 || len(o.Requests()) != 1 {
			t.Errorf("the second cache: Get = %q after %v and %d requests", v, took, len(o.Requests()))
		}
		if va, vb := ra.Snapshot().Version, rb.Snapshot().Version; va != vb {
			t.Errorf("versions %d and %d of one value", va, vb)
		}
		o.Set(func(o *everfreshtest.Origin) { o.Body = "two" })
		time.Sleep(time.Minute)
		everfreshtest.Refresh(t, rb)
		synctest.Wait()
		if v, _ := ra.Peek(); string(v) != "one" {
			t.Errorf("the first cache: Peek = %q, without a refresh", v)
		}
		if rec := recordOf(t, mem, originURL); string(rec.Body) != "two" || rec.Version != rb.Snapshot().Version {
			t.Errorf("stored %v", rec)
		}
		rc := everfreshtest.Register(t, everfreshtest.NewCache(t, opts...), originURL, everfresh.Bytes())
		if v, _ := getValue(t, rc); v != "two" || rc.Snapshot().Version != rb.Snapshot().Version {
			t.Errorf("a third cache: Get = %q", v)
		}
	})
}

// TestInvalidateDeletesRecordOfAnotherCache: the record that holds the invalidated value
// goes, also if another process wrote it last, and one that holds another value stays.
func TestInvalidateDeletesRecordOfAnotherCache(t *testing.T) {
	for name, other := range map[string]string{"same value": "bad", "next value": "good"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := new(store.Memory)
				o := everfreshtest.NewBody("bad", "Cache-Control", "max-age=3600", "Etag", `"bad"`)
				opts := []everfresh.CacheOption{everfresh.WithStorage(mem), o.Option(), everfresh.WithJitter(0)}
				a, b := everfreshtest.NewCache(t, opts...), everfreshtest.NewCache(t, opts...)
				ra := everfreshtest.Register(t, a, originURL, everfresh.Bytes())
				getValue(t, ra)
				synctest.Wait()
				rb := everfreshtest.Register(t, b, originURL, everfresh.Bytes())
				getValue(t, rb)
				o.Set(func(o *everfreshtest.Origin) { o.Body = other; o.Header.Set("Etag", `"`+other+`"`) })
				everfreshtest.Refresh(t, rb)
				synctest.Wait()
				o.Set(func(o *everfreshtest.Origin) { o.Down = everfreshtest.Refuse })
				time.Sleep(time.Second)
				if err := ra.Invalidate(t.Context(), ra.Snapshot().Version); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				rec := recordOf(t, mem, originURL)
				if other == "bad" && rec != nil {
					t.Errorf("the invalidated value is still stored: %v", rec)
				}
				if other == "good" && (rec == nil || string(rec.Body) != "good") {
					t.Errorf("stored %v, want the other cache's value", rec)
				}
			})
		})
	}
}

// TestStoreNotAskedAgain: the record is loaded once, also if there was none.
func TestStoreNotAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := everfreshtest.NewHooked()
		o := everfreshtest.NewBody("x")
		c := everfreshtest.NewCache(t, everfresh.WithStorage(s), o.Option())
		r := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
		getValue(t, r)
		everfreshtest.Refresh(t, r)
		if err := r.Invalidate(t.Context(), r.Snapshot().Version); err != nil {
			t.Error(err)
		}
		getValue(t, r)
		if loads, _, _ := s.Count(); loads != 1 {
			t.Errorf("%d loads, want one", loads)
		}
	})
}

// TestStoredRecordHoldsWhatIsServed compares the record with the snapshot, field by field.
func TestStoredRecordHoldsWhatIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Memory)
		o := everfreshtest.NewBody("tok 7200", "Cache-Control", "max-age=3600", "Content-Type", "text/plain", "Etag", `"e"`, "Date", "Sat, 01 Jan 2000 00:00:00 GMT")
		c := everfreshtest.NewCache(t, everfresh.WithStorage(mem), o.Option(), everfresh.WithJitter(0), everfresh.WithMaxStale(30*time.Minute))
		r := everfreshtest.Register(t, c, originURL, loadTokens)
		if _, err := r.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		check := func(when string, checked time.Time) {
			synctest.Wait()
			snap, rec := r.Snapshot(), recordOf(t, mem, originURL)
			want := &everfresh.Record{
				Key: originURL,
				Info: everfresh.Info{
					Version: snap.Version, FetchedAt: snap.FetchedAt,
					CheckedAt: snap.CheckedAt, FreshUntil: snap.FreshUntil,
					ServeUntil: snap.ServeUntil, ExpiresAt: time.Date(2000, 1, 1, 2, 0, 0, 0, time.UTC),
				},
				Status: 200, Header: o.Header, Body: []byte("tok 7200"),
			}
			if d := recordDiff(rec, want); d != nil || !rec.CheckedAt.Equal(checked) {
				t.Errorf("%s: %v differ:\n%v\n%v", when, d, fmt.Sprint(rec.Key, rec.Header, rec.FreshUntil, rec.ServeUntil, rec.ExpiresAt), fmt.Sprint(want.Key, want.Header, want.FreshUntil, want.ServeUntil, want.ExpiresAt))
			}
		}
		start := time.Now()
		check("after a 200", start)
		time.Sleep(40 * time.Minute)
		o.Set(func(o *everfreshtest.Origin) {
			o.Header = http.Header{"Etag": {`"e"`}, "Cache-Control": {"max-age=60"}, "Date": {"Sat, 01 Jan 2000 00:40:00 GMT"}}
		})
		everfreshtest.Refresh(t, r)
		o.Set(func(o *everfreshtest.Origin) { o.Header.Set("Content-Type", "text/plain") }) // stays from the 200
		check("after a 304", start.Add(40*time.Minute))
	})
}
