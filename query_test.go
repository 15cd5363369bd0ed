package everfresh_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
	"github.com/everfresh-go/everfresh/store"
)

func queryText(s string) *string { return &s }

// queryRecords are records of different keys, priorities and ends, seen from now.
func queryRecords(now time.Time) []*everfresh.Record {
	record := func(key string, p store.Priority, serve, end time.Time) *everfresh.Record {
		rec := agedRecord(key, "body", time.Hour, time.Minute)
		rec.Priority, rec.ServeUntil, rec.ExpiresAt = p, serve, end
		return rec
	}
	past, later := now.Add(-time.Second), now.Add(time.Second)
	return []*everfresh.Record{
		record("https://a.test/keys?tenant=1&lang=de", store.Low, past, time.Time{}),
		record("https://a.test/keys?tenant=1&tenant=2", 0, later, time.Time{}),
		record("https://a.test/list?empty=", store.Normal, time.Time{}, past),
		record("https://b.test/keys", store.High, past, time.Time{}),
		record("token", store.High, time.Time{}, later),
		record("at the moment", store.High, now, time.Time{}),
	}
}

func TestQueryMatch(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	recs := queryRecords(now)
	tests := map[string]struct {
		query everfresh.Query
		want  []int
	}{
		"all":                     {everfresh.Query{}, []int{0, 1, 2, 3, 4, 5}},
		"one key":                 {everfresh.Query{Key: "token"}, []int{4}},
		"unknown key":             {everfresh.Query{Key: "tok"}, nil},
		"path":                    {everfresh.Query{Pattern: regexp.MustCompile("/keys")}, []int{0, 1, 3}},
		"anchored":                {everfresh.Query{Pattern: regexp.MustCompile("/keys$")}, []int{3}},
		"no parameters asked":     {everfresh.Query{Params: map[string]*string{}}, []int{0, 1, 2, 3, 4, 5}},
		"parameter, any value":    {everfresh.Query{Params: map[string]*string{"tenant": nil}}, []int{0, 1}},
		"parameter, this value":   {everfresh.Query{Params: map[string]*string{"tenant": queryText("1")}}, []int{0}},
		"parameter, last value":   {everfresh.Query{Params: map[string]*string{"tenant": queryText("2")}}, []int{1}},
		"parameter, empty value":  {everfresh.Query{Params: map[string]*string{"empty": queryText("")}}, []int{2}},
		"two parameters":          {everfresh.Query{Params: map[string]*string{"tenant": queryText("1"), "lang": nil}}, []int{0}},
		"unknown parameter":       {everfresh.Query{Params: map[string]*string{"x": nil}}, nil},
		"low":                     {everfresh.Query{Priority: store.Low}, []int{0}},
		"normal or below":         {everfresh.Query{Priority: store.Normal}, []int{0, 1, 2}},
		"high or below":           {everfresh.Query{Priority: store.High}, []int{0, 1, 2, 3, 4, 5}},
		"stale":                   {everfresh.Query{Stale: true}, []int{0, 2, 3, 5}},
		"stale, normal or below":  {everfresh.Query{Stale: true, Priority: store.Normal}, []int{0, 2}},
		"stale, on one host":      {everfresh.Query{Stale: true, Pattern: regexp.MustCompile(`^https://b\.test/`)}, []int{3}},
		"pattern and parameter":   {everfresh.Query{Pattern: regexp.MustCompile("a.test"), Params: map[string]*string{"empty": nil}}, []int{2}},
		"parameter of no URL key": {everfresh.Query{Pattern: regexp.MustCompile("^token$"), Params: map[string]*string{"a": nil}}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got []int
			for i, rec := range recs {
				if tt.query.Match(rec, now) {
					got = append(got, i)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("matches %v, want %v", got, tt.want)
			}
		})
	}
}

// queryStore returns a store with the records and one that is damaged.
func queryStore(t *testing.T, recs []*everfresh.Record) *store.Memory {
	t.Helper()
	mem := new(store.Memory)
	for _, rec := range recs {
		putRecord(t, mem, rec)
	}
	for _, name := range []string{recordName("damaged"), "quarantine." + recordName("old")} {
		if _, err := mem.Store(t.Context(), name, []byte("EVFR?"), store.Any()); err != nil {
			t.Fatal(err)
		}
	}
	return mem
}

// queryKeys returns the keys of the records and the errors.
func queryKeys(t *testing.T, s store.Storage, q everfresh.Query) (keys []string, errs []error) {
	t.Helper()
	for rec, err := range q.Records(t.Context(), s) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		keys = append(keys, rec.Key)
	}
	slices.Sort(keys)
	return keys, errs
}

func TestQueryRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recs := queryRecords(time.Now())
		mem := queryStore(t, recs)
		keys, errs := queryKeys(t, mem, everfresh.Query{Pattern: regexp.MustCompile("/keys")})
		if want := []string{recs[0].Key, recs[1].Key, recs[3].Key}; !slices.Equal(keys, want) {
			t.Errorf("records %q, want %q", keys, want)
		}
		if len(errs) != 1 || !errors.Is(errs[0], store.ErrCorrupt) {
			t.Errorf("errors %v, want one of the damaged record", errs)
		}
		if keys, errs := queryKeys(t, mem, everfresh.Query{Key: "token"}); !slices.Equal(keys, []string{"token"}) || errs != nil {
			t.Errorf("one key: %q, %v", keys, errs)
		}
		if keys, errs := queryKeys(t, mem, everfresh.Query{Key: "none"}); keys != nil || errs != nil {
			t.Errorf("absent key: %q, %v", keys, errs)
		}
		for range (everfresh.Query{}).Records(t.Context(), mem) {
			break // a loop may be left
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for rec, err := range (everfresh.Query{}).Records(ctx, mem) {
			if rec != nil || !errors.Is(err, context.Canceled) {
				t.Errorf("after the end of ctx: %v, %v", rec, err)
			}
		}
	})
}

func TestQueryPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := queryStore(t, queryRecords(time.Now()))
		n, err := everfresh.Query{Stale: true, Priority: store.Normal}.Purge(t.Context(), mem)
		if n != 2 || !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("Purge = %d, %v, want 2 and the damaged record", n, err)
		}
		keys, _ := queryKeys(t, mem, everfresh.Query{})
		if len(keys) != 4 {
			t.Errorf("left: %q, want 4", keys)
		}
		if n, err := (everfresh.Query{Key: "token"}).Purge(t.Context(), mem); n != 1 || err != nil {
			t.Errorf("Purge of one = %d, %v", n, err)
		}
		if n, err := (everfresh.Query{Key: "token"}).Purge(t.Context(), mem); n != 0 || err != nil {
			t.Errorf("Purge of none = %d, %v", n, err)
		}
	})
}

// TestQueryPurgeJudgesAgain: who is replaced meanwhile is purged only if the new record is
// selected, too.
func TestQueryPurgeJudgesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spent := func() *everfresh.Record {
			rec := agedRecord("a", "old", time.Hour, time.Minute)
			rec.ServeUntil = time.Now().Add(-time.Minute)
			return rec
		}
		fresh := agedRecord("a", "new", 0, time.Hour)
		for name, tt := range map[string]struct {
			rewrite []*everfresh.Record
			removed int
		}{
			"by a fresh one":   {[]*everfresh.Record{fresh}, 0},
			"by a stale one":   {[]*everfresh.Record{spent()}, 1},
			"by one and other": {[]*everfresh.Record{spent(), fresh}, 0},
		} {
			w := everfreshtest.NewHooked()
			w.OnDelete(func(context.Context, string) error { // the record is replaced right before
				if len(tt.rewrite) > 0 {
					putRecord(t, w.Storage, tt.rewrite[0]) //nolint:contextcheck // It takes the context of the test.
					tt.rewrite = tt.rewrite[1:]
				}
				return nil
			})
			putRecord(t, w.Storage, spent())
			n, err := everfresh.Query{Stale: true}.Purge(t.Context(), w)
			if n != tt.removed || err != nil {
				t.Errorf("%s: Purge = %d, %v, want %d", name, n, err, tt.removed)
			}
			if rec := recordOf(t, w.Storage, "a"); (rec == nil) != (tt.removed == 1) {
				t.Errorf("%s: left %v", name, rec)
			}
		}
	})
}

// TestCachePurge: registered values are withdrawn and fetched again, other records go.
func TestCachePurge(t *testing.T) {
	for _, stored := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			o := everfreshtest.NewBody("v", "Etag", `"1"`)
			opts := []everfresh.CacheOption{o.Option(), everfresh.WithJitter(0)}
			mem := new(store.Memory)
			if stored {
				putRecord(t, mem, agedRecord("https://gone.test/old", "v", 0, time.Hour))
				opts = append(opts, everfresh.WithStorage(mem))
			}
			c := everfreshtest.NewCache(t, opts...)
			r := everfreshtest.Register(t, c, originURL, everfresh.Bytes(), everfresh.WithPriority(store.Low))
			important := everfreshtest.Register(t, c, originURL+"2", everfresh.Bytes(), everfresh.WithPriority(store.High))
			everfreshtest.Ready(t, c)
			synctest.Wait() // stored
			before, importantBefore := r.Snapshot(), important.Snapshot()
			time.Sleep(time.Second)
			want := 1
			if stored {
				want = 2 // and the record of a resource that is not registered
			}
			n, err := c.Purge(t.Context(), everfresh.Query{Priority: store.Normal})
			if n != want || err != nil {
				t.Errorf("stored %t: Purge = %d, %v; want %d", stored, n, err, want)
			}
			if _, err := r.Get(t.Context()); err != nil {
				t.Fatal(err)
			}
			if r.Snapshot().CheckedAt.Equal(before.CheckedAt) || !important.Snapshot().CheckedAt.Equal(importantBefore.CheckedAt) {
				t.Errorf("stored %t: the wrong values were withdrawn", stored)
			}
			synctest.Wait()
			var keys []string
			for rec, err := range c.Records(t.Context(), everfresh.Query{}) {
				if err != nil {
					t.Fatal(err)
				}
				keys = append(keys, fmt.Sprint(rec.Key, " ", rec.Priority))
			}
			slices.Sort(keys)
			if got := strings.Join(keys, ", "); stored && got != originURL+" low, "+originURL+"2 high" || !stored && got != "" {
				t.Errorf("stored %t: records %s", stored, got)
			}
		})
	}
}

// TestRestartGoesOnBackingOff: a process that starts while the origin fails waits as long
// as the last one would have, and serves the value meanwhile.
func TestRestartGoesOnBackingOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := everfreshtest.NewBody("v")
		mem := new(store.Memory)
		opts := []everfresh.CacheOption{
			o.Option(), everfresh.WithStorage(mem), everfresh.WithJitter(0),
			everfresh.WithRefreshInterval(time.Hour), everfresh.WithBackoff(time.Minute, time.Minute),
		}
		c := everfreshtest.NewCache(t, opts...)
		r := everfreshtest.Register(t, c, originURL, everfresh.Bytes())
		if _, err := r.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		o.Set(func(o *everfreshtest.Origin) { o.Down = everfreshtest.Refuse })
		time.Sleep(time.Hour + 70*time.Second) // fails twice
		synctest.Wait()
		failed := r.Status()
		if failed.Failures != 2 {
			t.Fatalf("%d failures, want 2", failed.Failures)
		}
		everfreshtest.Close(t, c)
		requests := len(o.Requests())

		r = everfreshtest.Register(t, everfreshtest.NewCache(t, opts...), originURL, everfresh.Bytes())
		if v, err := r.Get(t.Context()); string(v) != "v" || err != nil {
			t.Fatalf("Get = %q, %v", v, err)
		}
		st := r.Status()
		if st.Failures != 2 || !st.Next.Equal(failed.Next) || r.Snapshot().Err == nil {
			t.Errorf("after the restart: %+v, want failures and next refresh of %+v", st, failed)
		}
		time.Sleep(time.Until(failed.Next) - time.Second)
		if n := len(o.Requests()); n != requests {
			t.Errorf("%d requests during back-off", n-requests)
		}
		o.Set(func(o *everfreshtest.Origin) { o.Down = nil })
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if st := r.Status(); st.Failures != 0 || len(o.Requests()) != requests+1 {
			t.Errorf("after the back-off: %+v, %d requests", st, len(o.Requests())-requests)
		}
		if rec := recordOf(t, mem, originURL); rec.Failures != 0 || !rec.NotBefore.IsZero() {
			t.Errorf("stored: %d failures, not before %v", rec.Failures, rec.NotBefore)
		}
	})
}

// TestRestartDoubtsBackOff: a clock that lied does not stop refreshes for ever.
func TestRestartDoubtsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := everfreshtest.NewBody("new")
		mem := new(store.Memory)
		rec := agedRecord(originURL, "old", time.Hour, time.Minute)
		rec.Failures, rec.NotBefore = 3, time.Now().AddDate(100, 0, 0)
		putRecord(t, mem, rec)
		r := everfreshtest.Register(t, everfreshtest.NewCache(t, everfresh.WithStorage(mem), o.Option()), originURL, everfresh.Bytes())
		if v, err := r.Get(t.Context()); string(v) != "old" || err != nil {
			t.Fatalf("Get = %q, %v", v, err)
		}
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		if v, ok := r.Peek(); string(v) != "new" || !ok {
			t.Errorf("Peek = %q, %t an hour later", v, ok)
		}
	})
}

// A lateLister is a store whose first listing ends late.
type lateLister struct {
	store.Memory
	listings atomic.Int64
}

func (s *lateLister) List(ctx context.Context, prefix string) iter.Seq2[store.Meta, error] {
	return func(yield func(store.Meta, error) bool) {
		var found []store.Meta
		for m, err := range s.Memory.List(ctx, prefix) {
			if err != nil {
				yield(m, err)
				return
			}
			found = append(found, m)
		}
		if s.listings.Add(1) == 1 {
			time.Sleep(100 * time.Millisecond)
		}
		for _, m := range found {
			if !yield(m, nil) {
				return
			}
		}
	}
}

// TestQuarantineIsBounded damages more records than are in quarantine, and lets the first
// look at what is in quarantine end after all others.
func TestQuarantineIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(lateLister)
		o := everfreshtest.NewBody("v")
		c := everfreshtest.NewCache(t, everfresh.WithStorage(mem), o.Option())
		for i := range 130 {
			key := fmt.Sprintf("https://a.test/%d", i)
			if _, err := mem.Store(t.Context(), recordName(key), []byte("damaged"), store.Any()); err != nil {
				t.Fatal(err)
			}
			everfreshtest.Register(t, c, key, everfresh.Bytes())
		}
		everfreshtest.Ready(t, c)
		quarantined := 0
		for _, err := range mem.List(t.Context(), "quarantine.") {
			if err != nil {
				t.Fatal(err)
			}
			quarantined++
		}
		if quarantined != 100 {
			t.Errorf("%d damaged records are kept, want 100", quarantined)
		}
	})
}

func TestInvalidPriority(t *testing.T) {
	c := everfreshtest.NewCache(t)
	if err := c.Register("https://a.test/", everfresh.WithPriority(7)); err == nil {
		t.Error("priority 7 was accepted")
	}
}
