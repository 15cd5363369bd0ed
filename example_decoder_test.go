package everfresh_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/everfresh-go/everfresh"
)

// An accessToken carries its own expiry, so that it is refreshed before that and never
// served after it.
type accessToken struct {
	Text string
	End  time.Time
}

func (t accessToken) ExpiresAt() time.Time { return t.End }

// decodeToken reads an answer whose status is 200 also when it is an error, as some
// APIs do.
func decodeToken(ctx context.Context, resp *http.Response) (accessToken, error) {
	var answer struct {
		Token string `json:"access_token"`
		Life  int    `json:"expires_in"`
		Code  int    `json:"errcode"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return accessToken{}, everfresh.Permanent(errors.New("not a token"))
	}
	if answer.Code != 0 {
		err := fmt.Errorf("refused with code %d", answer.Code)
		return accessToken{}, everfresh.RetryAfter(err, time.Minute)
	}
	// Not time.Now: a stored answer came before this program started.
	at, _ := everfresh.Received(ctx)
	return accessToken{answer.Token, at.Add(time.Duration(answer.Life) * time.Second)}, nil
}

// A decoder that refuses a 200, says when to ask again, and makes a value that knows its
// own expiry.
func ExampleDecoder() {
	var limited atomic.Bool
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if limited.Load() {
			fmt.Fprint(w, `{"errcode": 45009}`)
			return
		}
		fmt.Fprint(w, `{"access_token": "tok", "expires_in": 7200}`)
	}))
	defer origin.Close()

	ctx := context.Background()
	c := everfresh.NewCache(ctx)
	defer c.Close()

	token, err := everfresh.Register(c, origin.URL, decodeToken, everfresh.WithKey("token"))
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := token.Get(ctx)
	snap := token.Snapshot()
	fmt.Println(v.Text, err, snap.ServeUntil.Sub(snap.FetchedAt))

	limited.Store(true)
	err = token.Refresh(ctx)
	fmt.Println(err)
	var failure *everfresh.RefreshError
	if errors.As(err, &failure) {
		fmt.Println(failure.Stale, time.Until(failure.Next).Round(time.Minute))
	}
	// Output:
	// tok <nil> 2h0m0s
	// everfresh: decode "token": refused with code 45009
	// true 1m0s
}
