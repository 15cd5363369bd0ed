package body_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh/internal/body"
)

// BenchmarkRead reads bodies that have come completely, with the limits of the
// engine, without any watch, and with io.ReadAll, which has no limits.
func BenchmarkRead(b *testing.B) {
	watched := body.Limits{Max: 10 << 20, Ratio: 200, RatioAfter: 1 << 20, Idle: 5 * time.Second, MinRate: 1 << 10}
	unwatched := body.Limits{Max: 10 << 20}
	for _, size := range []int{1600, 64 << 10} {
		plain := strings.Repeat("0123456789abcdef", size/16)
		gz := zip(b, plain)
		name := func(s string) string { return fmt.Sprintf("%s/%d", s, size) }
		b.Run(name("known"), func(b *testing.B) { benchmark(b, plain, "", int64(size), watched) })
		b.Run(name("known, unwatched"), func(b *testing.B) { benchmark(b, plain, "", int64(size), unwatched) })
		b.Run(name("unknown"), func(b *testing.B) { benchmark(b, plain, "", -1, watched) })
		b.Run(name("unknown, unwatched"), func(b *testing.B) { benchmark(b, plain, "", -1, unwatched) })
		b.Run(name("gzip"), func(b *testing.B) { benchmark(b, gz, "gzip", -1, watched) })
		b.Run(name("io.ReadAll"), func(b *testing.B) { benchmarkReadAll(b, plain) })
	}
}

func benchmark(b *testing.B, wire, coding string, n int64, l body.Limits) {
	ctx, cancel := context.WithCancelCause(b.Context())
	defer cancel(nil)
	src := strings.NewReader(wire)
	resp := response(src, length(n), coded(coding))
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(wire)
		if _, err := body.Read(ctx, cancel, resp, l); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkReadAll(b *testing.B, wire string) {
	src := strings.NewReader(wire)
	resp := response(src)
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(wire)
		if _, err := io.ReadAll(resp.Body); err != nil {
			b.Fatal(err)
		}
	}
}
