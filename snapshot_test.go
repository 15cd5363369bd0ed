package everfresh_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh"
)

func TestStatusString(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	ready := everfresh.Status{Key: "keys", Ready: true, Freshness: "max-age", Bytes: 1532}
	ready.Version, ready.FreshUntil = 7, at
	bounded, broken := ready, ready
	bounded.ServeUntil, bounded.Next = at.Add(time.Hour), at.Add(-time.Minute)
	broken.Fetching, broken.Failures, broken.Err = true, 3, errors.New("connection refused")
	gone := broken
	gone.Ready = false
	for want, s := range map[string]everfresh.Status{
		`"": no value yet`:                       {},
		`"a\x1b": no value yet, being refreshed`: {Key: "a\x1b", Fetching: true},
		`"keys": version 7, 1532 bytes, fresh until 2026-01-02T02:04:05Z (max-age)`:                                                                       ready,
		`"keys": version 7, 1532 bytes, fresh until 2026-01-02T02:04:05Z (max-age), served until 2026-01-02T03:04:05Z, next refresh 2026-01-02T02:03:05Z`: bounded,
		`"keys": version 7, 1532 bytes, fresh until 2026-01-02T02:04:05Z (max-age), being refreshed, 3 failures in a row: connection refused`:             broken,
		`"keys": value withdrawn, being refreshed, 3 failures in a row: connection refused`:                                                               gone,
	} {
		if got := s.String(); got != want {
			t.Errorf("String() = %s\n      want %s", got, want)
		}
		if got := fmt.Sprintf("%v", s); got != want {
			t.Errorf("%%v is %s\n want %s", got, want)
		}
	}
}
