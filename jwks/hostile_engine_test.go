package jwks_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/jwks"
	"github.com/everfresh-go/everfresh/jwks/jwkstest"
	"github.com/everfresh-go/everfresh/store"
)

// A stored set is used for 24 h beyond its freshness, also if a clock that was ahead has
// dated it in the future.
func TestStoredSetFromTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := new(store.Memory)
		last := newSite(t, everfresh.WithStorage(disk))
		ready(t, last.source(t))
		if err := last.cache.Close(); err != nil {
			t.Fatal(err)
		}
		postdate(t, disk, 365*24*time.Hour)
		down(last.iss, jwkstest.Drop)
		s := siteOf(t, last.iss, everfresh.WithStorage(disk))
		src := s.source(t)
		wantKeyAtOnce(t, src, last.iss.Key())
		time.Sleep(26 * time.Hour)
		_, err := src.Key(t.Context(), last.iss.Key().ID, last.iss.Key().Algorithm)
		wantError(t, err, jwks.ErrUnavailable, everfresh.ErrStale)
	})
}

// postdate moves the times of all records ahead by d.
func postdate(t *testing.T, disk *store.Memory, d time.Duration) {
	t.Helper()
	for found, err := range disk.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		item, err := disk.Load(t.Context(), found.Key)
		if err != nil {
			t.Fatal(err)
		}
		var rec everfresh.Record
		if err := rec.UnmarshalBinary(item.Value); err != nil {
			t.Fatal(err)
		}
		for _, at := range []*time.Time{&rec.FetchedAt, &rec.CheckedAt, &rec.FreshUntil, &rec.ServeUntil} {
			*at = at.Add(d)
		}
		data, err := rec.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := disk.Store(t.Context(), found.Key, data, store.Any()); err != nil {
			t.Fatal(err)
		}
	}
}

// An ETag is not taken from one place to another by a redirect, either.
func TestValidatorsStayWithTheirURLThroughRedirects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := jwkstest.New(), jwkstest.New(jwkstest.WithURL("https://keys.test"))
		a.KeySet().SetHeader("ETag", `"1"`)
		b.KeySet().SetHeader("ETag", `"1"`)
		s := siteOf(t, a, withClientOf(a, b))
		src := ready(t, s.discovered(t, jwks.WithOrigins("https://keys.test")))
		next := b.Rotate("RS256")
		a.KeySet().Move("/new")
		a.KeySet().Break(jwkstest.Redirect(b.KeySet().URL()))
		time.Sleep(3 * time.Hour)
		wantKeyAtOnce(t, src, next)
	})
}
