package main

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh/jwks"
)

func TestWithinLeavesBehindWhatHangs(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	err := within(t.Context(), time.Millisecond, func(context.Context) error { <-release; return nil })
	if !errors.Is(err, errHangs) {
		t.Errorf("error %v of a function that ignores its context, want %v", err, errHangs)
	}
	err = within(t.Context(), time.Millisecond, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v of a function that ends with its context, want that of the context", err)
	}
	if err := within(t.Context(), time.Minute, func(context.Context) error { return nil }); err != nil {
		t.Error(err)
	}
}

func TestRatiosAreToTheSameSize(t *testing.T) {
	for candidate, want := range map[string]string{"everfresh/99": "bare/99", "everfresh": "bare"} {
		if got := (group{per: "bare"}).base(candidate); got != want {
			t.Errorf("%s is compared with %s, want %s", candidate, got, want)
		}
	}
}

// TestTableAcross: a column for each library, with words and with gaps.
func TestTableAcross(t *testing.T) {
	runs := runsWith(func(m *measurement) {
		good(m)
		if m.group == "storms" && m.candidate == "oidc" {
			m.sample = repeat(math.NaN(), len(m.sample))
		}
	})
	var b strings.Builder
	runs["storms"].table(&b)
	for _, want := range []string{
		"| | everfresh | jwx, refreshing | jwx | keyfunc | go-oidc | verdict |\n",
		"unknown keys, 64 at a time: fetches | 2 | 2 | 2 | 2 |  | bar: at most 2: met |\n",
		"its first token is verified | yes | yes | yes | yes |  | bar: yes: met |\n",
		"another origin: followed | no | no | no | no |  | bar: no: met |\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

// TestKeySet: what is measured are sets whose keys are all used.
func TestKeySet(t *testing.T) {
	for _, n := range keySizes {
		set, err := newKeySet(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := jwks.Parse(set.data)
		if err != nil {
			t.Fatal(err)
		}
		if parsed.Len() != n || len(parsed.Skipped()) > 0 {
			t.Errorf("%d keys, and %d are left out, want %d", parsed.Len(), len(parsed.Skipped()), n)
		}
		for alg, token := range set.tokens {
			if _, err := jwks.Static(parsed).VerifySignature(t.Context(), token); err != nil {
				t.Errorf("token of %s: %v", alg, err)
			}
		}
	}
}
