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

// An API rejects a token that should still be good. Who notices first withdraws it;
// the others, who saw the same version, withdraw nothing more.
func ExampleResource_Invalidate() {
	var issued atomic.Int64
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "token %d", issued.Add(1))
	}))
	defer origin.Close()

	ctx := context.Background()
	c := everfresh.NewCache(ctx)
	defer c.Close()

	token, err := everfresh.Register(c, origin.URL, everfresh.Bytes())
	if err != nil {
		fmt.Println(err)
		return
	}
	v, err := token.Get(ctx)
	fmt.Printf("%s %v\n", v, err)

	rejected := token.Snapshot().Version
	fmt.Println(token.Invalidate(ctx, rejected))
	v, err = token.Get(ctx) // waits for the next token
	fmt.Printf("%s %v\n", v, err)

	fmt.Println(token.Invalidate(ctx, rejected)) // too late: another version is current
	v, err = token.Get(ctx)
	fmt.Printf("%s %v\n", v, err)
	// Output:
	// token 1 <nil>
	// <nil>
	// token 2 <nil>
	// <nil>
	// token 2 <nil>
}

// Watch yields the current value, and then each newer one.
func ExampleResource_Watch() {
	var revision atomic.Int64
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"revision": %d}`, revision.Load())
	}))
	defer origin.Close()

	ctx := context.Background()
	c := everfresh.NewCache(ctx)
	defer c.Close()

	type config struct{ Revision int }
	res, err := everfresh.Register(c, origin.URL, everfresh.JSON[config]())
	if err != nil {
		fmt.Println(err)
		return
	}
	for v := range res.Watch(ctx) {
		fmt.Println("revision", v.Revision)
		if v.Revision == 2 {
			break
		}
		// The origin says the same, which yields nothing, and then something new.
		fmt.Println(res.Refresh(ctx))
		revision.Add(1)
		fmt.Println(res.Refresh(ctx))
	}
	// Output:
	// revision 0
	// <nil>
	// <nil>
	// revision 1
	// <nil>
	// <nil>
	// revision 2
}
