package jwks_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/jwks"
	"github.com/everfresh-go/everfresh/jwks/jwkstest"
)

// docsBounds are the rows of the table under "Limits", and what proves them: a
// test of this package, or a check.
var docsBounds = map[string]struct {
	bound string
	test  string
	check func(t *testing.T)
}{
	"fetches for unknown key IDs": {bound: "2 at once, then one every 15 s, however many ask", test: "TestStormOfUnknownKeys"},
	"a fetch":                     {bound: "5 s, and at most 1 MiB", check: checkFetch},
	"keys in a set":               {bound: "1000", check: checkKeys},
	"time between refreshes":      {bound: "as Cache-Control says, from 5 min to 1 h; 15 min without it", test: "TestRefreshIntervals"},
	"time between retries":        {bound: "250 ms, doubling to 30 s, while the issuer fails; Retry-After, up to 5 min", test: "TestBackoff"},
	"use of keys after an outage": {bound: "24 h beyond their freshness", test: "TestDayWithoutTheIssuer"},
	"redirects":                   {bound: "3, on the same origin", test: "TestRedirectsEnd"},
	"length of a key ID":          {bound: "256 bytes", test: "TestRefusedWithoutAFetch"},
	"length of a token":           {bound: "1 MiB", check: checkToken},
}

var docsRow = regexp.MustCompile(`(?m)^//\t(\S.*?)   *(\S.*)$`)

// Every row of the package comment's table of bounds is true.
func TestDocumentedBounds(t *testing.T) {
	page, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "# Limits")
	table, _, _ = strings.Cut(table, "\n// # ")
	rows := docsRow.FindAllStringSubmatch(table, -1)
	if len(rows) != len(docsBounds) {
		t.Errorf("the table has %d rows, want %d", len(rows), len(docsBounds))
	}
	tests := docsTests(t)
	for _, row := range rows {
		name, bound := row[1], row[2]
		b, ok := docsBounds[name]
		switch {
		case !ok || b.bound != bound:
			t.Errorf("nothing proves %q: %q", name, bound)
		case b.check != nil:
			t.Run(name, b.check)
		case !tests[b.test]:
			t.Errorf("there is no %s", b.test)
		}
	}
}

// docsTests returns the names of the tests of this package.
func docsTests(t *testing.T) map[string]bool {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		text, err := os.ReadFile(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w*)\(`).FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
	}
	return names
}

// checkFetch: a fetch ends after 5 s, and takes 1 MiB and no byte more.
func checkFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		s.iss.KeySet().Break(jwkstest.Hang)
		start := time.Now()
		src := s.source(t)
		wantError(t, ask(src, "key-1"), jwks.ErrUnavailable)
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("a fetch ended after %v", d)
		}
		s.iss.KeySet().Recover()
	})
	for size, good := range map[int]bool{1 << 20: true, 1<<20 + 1: false} {
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t)
			document := `{"keys":[` + string(s.iss.Key().JWK()) + `]}`
			document += strings.Repeat(" ", size-len(document))
			s.iss.KeySet().Break(jwkstest.Answer(200, nil, document))
			err := ask(s.source(t), "key-1")
			if good != (err == nil) || !good && !errors.Is(err, everfresh.ErrTooLarge) {
				t.Errorf("a set of %d bytes: %v", size, err)
			}
		})
	}
}

// checkKeys: a set has 1000 keys and no more, those that are left out included.
func checkKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		for i := range 999 {
			s.iss.PublishJWK(fmt.Sprintf(`{"kty":"X","kid":"x%d"}`, i))
		}
		src := ready(t, s.source(t))
		s.iss.PublishJWK(`{}`)
		wantError(t, src.Refresh(t.Context()), jwks.ErrInvalidSet, jwks.ErrUnavailable)
		wantKeyAtOnce(t, src, s.iss.Key())
	})
}

// checkToken: a token may have 1 MiB and no more.
func checkToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		src := ready(t, s.source(t))
		const most = 1 << 20
		body := most * 3 / 4
		for len(s.iss.Sign(make([]byte, body))) > most {
			body--
		}
		if _, err := src.VerifySignature(t.Context(), s.iss.Sign(make([]byte, body))); err != nil {
			t.Errorf("a token of at most 1 MiB: %v", err)
		}
		_, err := src.VerifySignature(t.Context(), s.iss.Sign(make([]byte, body+1)))
		wantError(t, err, jwks.ErrToken)
	})
}

// What the package comment says of the keys that are asked for by a token: nothing that a
// token says is ever fetched.
func TestTokensNameNoURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		iss, evil := jwkstest.New(), jwkstest.New(jwkstest.WithURL("https://evil.test"))
		s := siteOf(t, iss, withClientOf(iss, evil))
		src := ready(t, s.source(t))
		next := evil.Rotate("ES256")
		var jwk any = next.JWK()
		for name, opts := range map[string][]jwkstest.SignOption{
			"jku": {jwkstest.WithHeader("jku", evil.KeySet().URL())},
			"x5u": {jwkstest.WithHeader("x5u", evil.KeySet().URL())},
			"jwk": {jwkstest.WithHeader("jwk", jwk)},
		} {
			for _, kid := range []string{next.ID, "key-1"} {
				token := evil.Sign(nil, append(opts, jwkstest.WithHeader("kid", kid))...)
				if _, err := src.VerifySignature(t.Context(), token); err == nil {
					t.Errorf("%s: a stranger's token is good", name)
				}
			}
		}
		if n := len(evil.KeySet().Requests()); n != 0 {
			t.Errorf("the stranger was asked %d times", n)
		}
	})
}

// Tokens that attack a verifier are refused: unsigned ones, and those signed with HMAC by
// means of a public key.
func TestAttacksByToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		src := ready(t, s.source(t))
		for name, opt := range map[string]jwkstest.SignOption{
			"unsigned": jwkstest.Unsigned(), "HMAC": jwkstest.HMAC(s.iss.Key().JWK()), "tampered": jwkstest.Tampered(),
			"stranger": jwkstest.SignedBy(jwkstest.Key{ID: "key-1", Algorithm: "ES256", Private: jwkstest.New().Key().Private}),
		} {
			if _, err := src.VerifySignature(t.Context(), s.iss.Sign(nil, opt)); err == nil || errors.Is(err, jwks.ErrUnavailable) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := s.fetches(); n != 1 {
			t.Errorf("%d fetches", n-1)
		}
	})
}
