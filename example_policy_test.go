package everfresh_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"github.com/everfresh-go/everfresh"
)

// Where strangers name URLs, only public addresses are dialled, and those that you except.
func ExampleWithPublicOnly() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/moved" {
			http.Redirect(w, req, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
			return
		}
		fmt.Fprint(w, "value")
	}))
	defer origin.Close()

	ctx := context.Background()
	c := everfresh.NewCache(ctx, everfresh.WithPublicOnly(netip.MustParsePrefix("127.0.0.1/32")))
	defer c.Close()

	// An address is refused at once, a name when it is dialled, and so is each redirect.
	err := c.Register("http://10.0.0.1/admin")
	fmt.Println(errors.Is(err, everfresh.ErrNotAllowed))

	for _, path := range []string{"/value", "/moved"} {
		if err := c.Register(origin.URL+path, everfresh.WithKey(path)); err != nil {
			fmt.Println(err)
			return
		}
		v, err := c.Get(ctx, path)
		if errors.Is(err, everfresh.ErrNotAllowed) {
			fmt.Println(path, "leads to an address that is not public")
			continue
		}
		fmt.Printf("%s %v\n", v, err)
	}
	// Output:
	// true
	// value <nil>
	// /moved leads to an address that is not public
}

// The policies are asked for the registered URL, and for every redirect.
func ExampleWithAllow() {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/keys/moved" {
			http.Redirect(w, req, "/admin/keys", http.StatusFound)
			return
		}
		fmt.Fprint(w, req.URL.Path)
	}))
	defer origin.Close()

	ctx := context.Background()
	c := everfresh.NewCache(ctx, everfresh.WithAllow(
		everfresh.AllowPrefix(origin.URL+"/keys/"),
		everfresh.AllowHosts("issuer.example", "*.issuer.example"), // either will do
	))
	defer c.Close()

	for _, url := range []string{
		"https://eu.issuer.example/jwks",
		"https://issuer.example.evil.test/jwks",
		origin.URL + "/keys/../admin/keys",
		"file:///etc/passwd",
	} {
		err := c.Register(url)
		fmt.Println(errors.Is(err, everfresh.ErrNotAllowed))
	}

	for _, path := range []string{"/keys/one", "/keys/moved"} {
		if err := c.Register(origin.URL+path, everfresh.WithKey(path)); err != nil {
			fmt.Println(err)
			return
		}
		v, err := c.Get(ctx, path)
		if errors.Is(err, everfresh.ErrNotAllowed) {
			fmt.Println(path, "ends where it must not")
			continue
		}
		fmt.Printf("%s %v\n", v, err)
	}
	// Output:
	// false
	// true
	// true
	// true
	// /keys/one <nil>
	// /keys/moved ends where it must not
}
