package refreshctx_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/refreshctx"
)

// TestCallbacksReachTheRefresh: a decoder's remark reaches the sink and fails nothing, and
// a fetcher learns how often the resource failed before.
func TestCallbacksReachTheRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failures []int
		fetch := everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
			failures = append(failures, refreshctx.Failures(req.Context()))
			if len(failures) < 3 {
				return nil, io.ErrUnexpectedEOF
			}
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		})
		odd := errors.New("odd")
		decode := func(ctx context.Context, _ *http.Response) (int, error) {
			refreshctx.Remark(ctx, odd)
			return 7, nil
		}
		var reported []*everfresh.RefreshError
		sink := everfresh.ErrSinkFunc(func(err error) {
			var re *everfresh.RefreshError
			if errors.As(err, &re) && errors.Is(err, odd) {
				reported = append(reported, re)
			}
		})
		c := everfresh.NewCache(t.Context(), everfresh.WithErrSink(sink), everfresh.WithFetcher(fetch), everfresh.WithLenientBody(true))
		r, err := everfresh.Register(c, "https://a.test/", decode, everfresh.WithKey("a"))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(failures) != 3 || failures[0] != 0 || failures[2] != 2 {
			t.Errorf("failures before each fetch: %v", failures)
		}
		if len(reported) != 1 || reported[0].Key != "a" || reported[0].Op != "decode" || reported[0].Attempt != 0 {
			t.Errorf("the sink received %v", reported)
		}
		if st := r.Status(); st.Failures != 0 || st.Err != nil {
			t.Errorf("status: %+v", st)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestPaceOfAFailure: after a failure of any kind, the next refresh comes when the fetcher
// said, unless the error itself says when.
func TestPaceOfAFailure(t *testing.T) {
	answer := func(body io.Reader) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, ContentLength: -1, Body: io.NopCloser(body)}, nil
	}
	odd := errors.New("odd")
	for name, tt := range map[string]struct {
		fetch  func() (*http.Response, error)
		decode error
		next   time.Duration
	}{
		"fetch": {func() (*http.Response, error) { return nil, odd }, nil, time.Hour},
		"status": {func() (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusServiceUnavailable, Body: http.NoBody}, nil
		}, nil, time.Hour},
		"read":    {func() (*http.Response, error) { return answer(iotest.ErrReader(odd)) }, nil, time.Hour},
		"decode":  {func() (*http.Response, error) { return answer(strings.NewReader("x")) }, odd, time.Hour},
		"steered": {func() (*http.Response, error) { return nil, everfresh.RetryAfter(odd, time.Minute) }, nil, time.Minute},
	} {
		synctest.Test(t, func(t *testing.T) {
			fetch := everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
				refreshctx.Pace(req.Context(), time.Hour)
				return tt.fetch()
			})
			c := everfresh.NewCache(t.Context(), everfresh.WithFetcher(fetch), everfresh.WithLenientBody(true))
			defer c.Close()
			r, err := everfresh.Register(c, "https://a.test/", func(context.Context, *http.Response) (int, error) { return 0, tt.decode })
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.Get(t.Context()); err == nil || time.Until(r.Status().Next) != tt.next {
				t.Errorf("%s: error %v, next in %v, want %v", name, err, time.Until(r.Status().Next), tt.next)
			}
		})
	}
}

// TestOutsideARefresh: without a refresh in the context, the functions do nothing.
func TestOutsideARefresh(t *testing.T) {
	refreshctx.Remark(t.Context(), io.EOF)
	refreshctx.Pace(t.Context(), time.Hour)
	if n := refreshctx.Failures(t.Context()); n != 0 {
		t.Errorf("Failures = %d", n)
	}
}
