package weburl_test

import (
	"fmt"
	"net/url"

	"github.com/everfresh-go/everfresh/internal/weburl"
)

// ask prints what a policy says of each URL, as the engine asks it.
func ask(allow func(*url.URL) bool, urls ...string) {
	for _, raw := range urls {
		u, err := weburl.Parse(raw)
		if err == nil {
			u, err = weburl.Canonical(u)
		}
		fmt.Println(err == nil && allow(u), raw)
	}
}

func ExampleHosts() {
	allow, err := weburl.Hosts("a.test", "*.keys.test", "b.test:8443")
	if err != nil {
		fmt.Println(err)
		return
	}
	ask(allow, "https://A.test.:443/x", "https://eu.keys.test/", "https://b.test:8443/",
		"https://keys.test/", "https://evilkeys.test/", "https://b.test/", "https://a.test.evil.test/")
	// Output:
	// true https://A.test.:443/x
	// true https://eu.keys.test/
	// true https://b.test:8443/
	// false https://keys.test/
	// false https://evilkeys.test/
	// false https://b.test/
	// false https://a.test.evil.test/
}

func ExamplePrefix() {
	allow, err := weburl.Prefix("https://a.test/keys")
	if err != nil {
		fmt.Println(err)
		return
	}
	ask(allow, "https://a.test/keys/eu.json?v=2", "https://a.test/keysx",
		"https://a.test/keys/%2e%2e/admin", "https://a.test/keys/%252e%252e/admin")
	// Output:
	// true https://a.test/keys/eu.json?v=2
	// false https://a.test/keysx
	// false https://a.test/keys/%2e%2e/admin
	// false https://a.test/keys/%252e%252e/admin
}

func ExampleRegexp() {
	allow, err := weburl.Regexp(`https://(eu|us)\.a\.test/.*\.json`)
	if err != nil {
		fmt.Println(err)
		return
	}
	ask(allow, "https://eu.a.test/keys.json", "https://us.a.test/keys.json?x",
		"https://evil.test/?redirect=https://eu.a.test/keys.json")
	// Output:
	// true https://eu.a.test/keys.json
	// false https://us.a.test/keys.json?x
	// false https://evil.test/?redirect=https://eu.a.test/keys.json
}

func ExampleRedact() {
	fmt.Println(weburl.Redact("https://api.a.test/token?appid=wx1&secret=hunter2"))
	fmt.Println(weburl.Redact("https://user:hunter2@a.test/x#hunter2"))
	fmt.Println(weburl.Redact("https://a.test/%zz?hunter2"))
	// Output:
	// https://api.a.test/token?appid=…&secret=…
	// https://a.test/x
	// (unparsable URL)
}
