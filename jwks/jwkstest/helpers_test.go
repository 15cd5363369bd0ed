package jwkstest_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh/jwks/jwkstest"
)

// everywhere runs a test in memory and on a server.
func everywhere(t *testing.T, test func(t *testing.T, iss *jwkstest.Issuer)) {
	t.Helper()
	t.Run("in memory", func(t *testing.T) { test(t, jwkstest.New()) })
	t.Run("started", func(t *testing.T) {
		iss := jwkstest.New()
		iss.Start(t)
		test(t, iss)
	})
}

// ask sends a request with these header fields, name and value in turn.
func ask(t *testing.T, iss *jwkstest.Issuer, url string, header ...string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := iss.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client.Do(req)
}

// fetch returns a whole answer.
func fetch(t *testing.T, iss *jwkstest.Issuer, url string, header ...string) (*http.Response, string) {
	t.Helper()
	resp, err := ask(t, iss, url, header...)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// object returns a JSON document that an endpoint serves.
func object(t *testing.T, iss *jwkstest.Issuer, url string) map[string]any {
	t.Helper()
	resp, body := fetch(t, iss, url)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the status is %d", resp.StatusCode)
	}
	var v map[string]any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// set returns the keys of the published set.
func set(t *testing.T, iss *jwkstest.Issuer) []any {
	t.Helper()
	keys, ok := object(t, iss, iss.KeySet().URL())["keys"].([]any)
	if !ok {
		t.Fatal("the set has no list of keys")
	}
	return keys
}

// names returns the kids of the published set.
func names(t *testing.T, iss *jwkstest.Issuer) string {
	t.Helper()
	var all []string
	for _, k := range set(t, iss) {
		all = append(all, k.(map[string]any)["kid"].(string))
	}
	return strings.Join(all, " ")
}

// split returns header, payload, signature and signing input of a token.
func split(t *testing.T, token string) (header map[string]any, payload string, sig []byte, input string) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("the token has %d parts", len(parts))
	}
	if err := json.Unmarshal(decode(t, parts[0]), &header); err != nil {
		t.Fatal(err)
	}
	return header, string(decode(t, parts[1])), decode(t, parts[2]), parts[0] + "." + parts[1]
}

func decode(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// arrived waits until n requests have reached an endpoint.
func arrived(t *testing.T, e *jwkstest.Endpoint, n int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for len(e.Requests()) < n {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%d requests arrived, want %d", len(e.Requests()), n)
		}
	}
}

// panics fails the test unless f panics with a text of this package.
func panics(t *testing.T, f func()) {
	t.Helper()
	defer func() {
		if p, ok := recover().(string); !ok || !strings.HasPrefix(p, "jwkstest: ") {
			t.Errorf("the panic is %v", p)
		}
	}()
	f()
}
