package backstage_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/backstage"
)

// TestRefreshHearsItsCallbacks: a decoder's remark reaches the sink and fails nothing, and
// a fetcher learns how often the resource failed before.
func TestRefreshHearsItsCallbacks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var failures []int
		fetch := everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
			failures = append(failures, backstage.Failures(req.Context()))
			if len(failures) < 3 {
				return nil, io.ErrUnexpectedEOF
			}
			return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
		})
		odd := errors.New("odd")
		decode := func(ctx context.Context, _ *http.Response) (int, error) {
			backstage.Remark(ctx, odd)
			return 7, nil
		}
		var heard []*everfresh.RefreshError
		sink := everfresh.ErrSinkFunc(func(err error) {
			var re *everfresh.RefreshError
			if errors.As(err, &re) && errors.Is(err, odd) {
				heard = append(heard, re)
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
		time.Sleep(time.Second)
		if len(failures) != 3 || failures[0] != 0 || failures[2] != 2 {
			t.Errorf("failures before each fetch: %v", failures)
		}
		if len(heard) != 1 || heard[0].Key != "a" || heard[0].Op != "decode" || heard[0].Attempt != 0 {
			t.Errorf("the sink heard %v", heard)
		}
		if st := r.Status(); st.Failures != 0 || st.Err != nil {
			t.Errorf("status: %+v", st)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Outside a refresh nobody listens.
func TestOutsideARefresh(t *testing.T) {
	backstage.Remark(t.Context(), io.EOF)
	if n := backstage.Failures(t.Context()); n != 0 {
		t.Errorf("Failures = %d", n)
	}
}
