package jwkstest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/everfresh-go/everfresh/jwks/jwkstest"
)

// kids returns the names in a key set, as the code under test would fetch it.
func kids(client *http.Client, url string) (names []string) {
	resp, err := client.Get(url)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	var set struct {
		Keys []struct {
			ID string `json:"kid"`
		} `json:"keys"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&set); err != nil {
		log.Fatal(err)
	}
	for _, k := range set.Keys {
		names = append(names, k.ID)
	}
	return names
}

func Example() {
	iss := jwkstest.New()

	token := iss.Sign(map[string]any{
		"iss": iss.URL(), "sub": "alice", "exp": time.Now().Add(time.Hour).Unix(),
	})
	fmt.Println("parts of the token:", len(strings.Split(token, ".")))

	fmt.Println(iss.KeySet().URL(), kids(iss.Client(), iss.KeySet().URL()))
	iss.Rotate("EdDSA")
	fmt.Println("rotated:", kids(iss.Client(), iss.KeySet().URL()))
	iss.Withdraw("key-1")
	fmt.Println("withdrawn:", kids(iss.Client(), iss.KeySet().URL()))
	fmt.Println("requests:", len(iss.KeySet().Requests()))
	// Output:
	// parts of the token: 3
	// https://issuer.test/jwks.json [key-1]
	// rotated: [key-1 key-2]
	// withdrawn: [key-2]
	// requests: 3
}

// A token can be signed before its key is known, and a key known before it signs.
func ExampleIssuer_NewKey() {
	iss := jwkstest.New()
	old, next := iss.Key(), iss.NewKey("ES384")

	_ = iss.Sign(nil, jwkstest.SignedBy(next)) // too early
	fmt.Println("before:", kids(iss.Client(), iss.KeySet().URL()))

	iss.Publish(next)
	_ = iss.Sign(nil, jwkstest.SignedBy(old)) // as a careful issuer does for a while
	fmt.Println("after:", kids(iss.Client(), iss.KeySet().URL()), "signs:", iss.Key().ID)
	// Output:
	// before: [key-1]
	// after: [key-1 key-2] signs: key-2
}

func ExampleEndpoint_Break() {
	iss := jwkstest.New()
	fetch := func() {
		resp, err := iss.Client().Get(iss.KeySet().URL())
		if err != nil {
			fmt.Println("dropped:", strings.Contains(err.Error(), "EOF"))
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		fmt.Println(resp.StatusCode, len(body) > 0, err)
	}

	fetch()
	iss.KeySet().Break(jwkstest.Answer(503, http.Header{"Retry-After": {"120"}}, ""))
	fetch()
	iss.KeySet().Break(jwkstest.Truncate)
	fetch()
	iss.KeySet().Break(jwkstest.Drop)
	fetch()
	iss.KeySet().Recover()
	fetch()
	// Output:
	// 200 true <nil>
	// 503 false <nil>
	// 200 true unexpected EOF
	// dropped: true
	// 200 true <nil>
}

// A fault of one's own: every second request fails.
func ExampleFault() {
	iss := jwkstest.New()
	iss.KeySet().Break(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if len(iss.KeySet().Requests())%2 == 0 {
				http.Error(w, "no", http.StatusBadGateway)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	for range 4 {
		resp, err := iss.Client().Get(iss.KeySet().URL())
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
	}
	for _, r := range iss.KeySet().Requests() {
		fmt.Print(r.Status, " ")
	}
	// Output: 200 502 200 502
}
