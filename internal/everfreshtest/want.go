package everfreshtest

import (
	"errors"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh"
)

// WantElapsed checks how much time has passed since start.
func WantElapsed(t testing.TB, start time.Time, want time.Duration) {
	t.Helper()
	if got := time.Since(start); got != want {
		t.Errorf("took %v, want %v", got, want)
	}
}

// WantRequests checks how many requests o got.
func WantRequests(t testing.TB, o *Origin, want int) {
	t.Helper()
	if got := o.Count(); got != want {
		t.Errorf("requests = %d, want %d", got, want)
	}
}

// WantTimes reports the first difference of two lists of times.
func WantTimes(t testing.TB, what string, got, want []time.Duration) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d fetches, want %d", what, len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Errorf("%s: fetch %d at %v, want %v", what, i, got[i], want[i])
			return
		}
	}
}

// Every returns the times from 0 to until that are step apart.
func Every(step, until time.Duration) []time.Duration {
	var at []time.Duration
	for d := time.Duration(0); d <= until; d += step {
		at = append(at, d)
	}
	return at
}

// WantIs checks that err is all of the targets.
func WantIs(t testing.TB, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("error %v is not %q", err, target)
		}
	}
}

// RefreshError returns the *RefreshError in err and fails the test if there is none.
func RefreshError(t testing.TB, err error) *everfresh.RefreshError {
	t.Helper()
	var re *everfresh.RefreshError
	if !errors.As(err, &re) {
		t.Fatalf("error %v (%T) holds no *RefreshError", err, err)
	}
	return re
}
