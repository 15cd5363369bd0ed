package main

import (
	"fmt"
	"strings"

	"github.com/everfresh-go/everfresh/internal/weburl"
)

// urlProblem says what is wrong with the first URL that cannot be fetched.
func urlProblem(urls ...string) string {
	for _, u := range urls {
		_, err := weburl.Parse(u)
		switch {
		case err == nil:
		case isWeb(u):
			return fmt.Sprintf("%q: %s", shownURL(u), strings.TrimPrefix(err.Error(), "url: "))
		default:
			return fmt.Sprintf("%q is not an http or https URL; want one like https://host/path", shownURL(u))
		}
	}
	return ""
}

// isWeb reports whether rawURL begins like a URL of the web.
func isWeb(rawURL string) bool {
	scheme, _, ok := strings.Cut(rawURL, "://")
	return ok && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
}

// shownURL returns the user's URL without its secrets. A text without a scheme is treated as
// a URL whose scheme is missing.
func shownURL(rawURL string) string {
	if strings.Contains(rawURL, "://") {
		return weburl.Redact(rawURL)
	}
	const scheme = "http://"
	return strings.TrimPrefix(weburl.Redact(scheme+rawURL), scheme)
}
