package everfresh

import (
	"testing"
	"time"
)

// The guard stands in both transports' dialers, whose limits stay the same with it.
func TestDialerOfPublicOnly(t *testing.T) {
	cfg := defaults()
	for _, public := range []bool{false, true} {
		if public {
			WithPublicOnly().applyCache(&cfg)
		}
		d := newDialer(&cfg)
		if d.Timeout != 5*time.Second || d.KeepAlive <= 0 || d.Control != nil || (d.ControlContext != nil) != public {
			t.Errorf("public only: %v; dialer %+v", public, d)
		}
	}
}
