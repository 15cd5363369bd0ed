package everfresh_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/everfresh-go/everfresh"
)

// A token is signed with a key that is not in the set. The issuer may have rotated its
// keys a moment ago, so the set is fetched again, but never more often than the budget
// allows: who sends unknown key IDs cannot make this program storm the issuer.
func ExampleResource_Newer() {
	var rotated atomic.Bool
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if rotated.Load() {
			fmt.Fprint(w, `{"new": "key"}`)
			return
		}
		fmt.Fprint(w, `{"old": "key"}`)
	}))
	defer origin.Close()

	ctx := context.Background()
	c := everfresh.NewCache(ctx)
	defer c.Close()

	keys, err := everfresh.Register(c, origin.URL, everfresh.JSON[map[string]string](),
		everfresh.WithNewerLimit(1, time.Minute))
	if err != nil {
		fmt.Println(err)
		return
	}
	find := func(id string) (string, error) {
		if _, err := keys.Get(ctx); err != nil {
			return "", err
		}
		snap := keys.Snapshot()
		if key, ok := snap.Value[id]; ok {
			return key, nil
		}
		newer, err := keys.Newer(ctx, snap)
		if err != nil {
			return "", err
		}
		if key, ok := newer.Value[id]; ok {
			return key, nil
		}
		return "", errors.New("unknown key")
	}

	fmt.Println(find("old"))
	rotated.Store(true)
	fmt.Println(find("new"))
	fmt.Println(find("made up"))

	_, err = find("made up, too")
	var cooling *everfresh.RateLimitError
	fmt.Println(errors.As(err, &cooling))
	// Output:
	// key <nil>
	// key <nil>
	//  unknown key
	// true
}
