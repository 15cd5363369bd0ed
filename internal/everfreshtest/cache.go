package everfreshtest

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"testing"

	"github.com/everfresh-go/everfresh"
)

// NewCache returns a cache that the test closes.
func NewCache(t testing.TB, opts ...everfresh.CacheOption) *everfresh.Cache {
	t.Helper()
	c := everfresh.NewCache(context.WithoutCancel(t.Context()), opts...)
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

// Close closes c, which must have no error, before the test does.
func Close(t testing.TB, c *everfresh.Cache) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// Register registers url by the typed API and fails the test if it cannot.
func Register[T any](t testing.TB, c *everfresh.Cache, url string, d everfresh.Decoder[T], opts ...everfresh.RegisterOption) *everfresh.Resource[T] {
	t.Helper()
	r, err := everfresh.Register(c, url, d, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Refresh refreshes r, which must succeed.
func Refresh(t testing.TB, r interface{ Refresh(context.Context) error }) {
	t.Helper()
	if err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Ready waits for the first value of a resource, or of all resources of a cache.
func Ready(t testing.TB, r interface{ Ready(context.Context) error }) {
	t.Helper()
	if err := r.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Number is a decoder of the answers of an [Origin] that numbers them.
func Number(ctx context.Context, resp *http.Response) (int, error) {
	text, err := everfresh.Bytes()(ctx, resp)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(text))
}

// AllowAny is a URL policy that accepts every URL.
func AllowAny(*url.URL) error { return nil }
