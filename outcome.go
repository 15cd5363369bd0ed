package everfresh

import (
	"errors"
	"net/http"
	"time"
)

// An outcome is the result of an attempt.
type outcome struct {
	// op is the step that runs or failed, as RefreshError has it. err is why.
	op  string
	err error

	code         int
	header       http.Header
	sent         time.Time
	received     time.Time
	receivedMono int64 // the same on the cache's monotonic clock
	// Of a body.
	body []byte
	hash uint64
	// What it says about the value. notModified implies same.
	same        bool      // the origin confirmed the present value, by a 304 or by its bytes
	notModified bool      // it was a 304, which has no body
	replace     bool      // value is to be published
	value       any       // what decode made
	expiresAt   time.Time // of value; zero: it has no expiry of its own
}

// receive notes when the answer came. Everything that the answer says about time counts
// from then.
func (out *outcome) receive(wall, mono int64) {
	out.received, out.receivedMono = wallTime(wall), mono
}

// receivedAt returns when the answer came, on the monotonic clock. If the machine slept
// since, that clock stood still, and the answer is older than it says.
func (out *outcome) receivedAt(wall, mono int64) int64 {
	slept := (wall - wallNanos(out.received)) - (mono - out.receivedMono)
	if slept > int64(jumpSlack) {
		return out.receivedMono - slept
	}
	return out.receivedMono
}

// checkExpiry returns an error if the value had expired when it arrived. It would be
// withdrawn at once, and fetched again without end.
func (out *outcome) checkExpiry() error {
	if !out.expiresAt.IsZero() && !out.expiresAt.After(out.received) {
		return errors.New("the value had expired when it arrived")
	}
	return nil
}
