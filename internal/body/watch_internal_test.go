package body

import (
	"math"
	"testing"
	"time"
)

func TestWatchPaid(t *testing.T) {
	tests := map[string]struct {
		count, rate int64
		want        time.Duration
	}{
		"nothing":      {0, 1, 0},
		"a second":     {1000, 1000, time.Second},
		"a part of it": {1, 1024, time.Second / 1024},
		"a long body":  {math.MaxInt64, 1, 1 << 30 * time.Second},
		"a high rate":  {1, math.MaxInt64, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := (&watch{rate: tt.rate}).paid(tt.count); got != tt.want {
				t.Errorf("paid(%d) at %d a second is %v, want %v", tt.count, tt.rate, got, tt.want)
			}
		})
	}
}
