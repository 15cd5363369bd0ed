// Package refreshctx lets the packages of this module speak with the refresh whose context
// they were given, beyond what the cache offers to everybody.
package refreshctx

import (
	"context"
	"time"
)

// Key is under which the context of a refresh holds its [Refresh].
type Key struct{}

// A Refresh is one under way. Its methods may be called from decoders, request functions
// and fetchers.
type Refresh interface {
	// Remark tells the error sink of something that fails no refresh.
	Remark(err error)
	// Failures counts the refreshes of the resource that failed in a row before this one.
	Failures() int
	// Pace sets the delay after this refresh if it fails with an error that does not steer.
	Pace(delay time.Duration)
}

// Remark tells the error sink of the refresh of ctx, if that is the context of one.
func Remark(ctx context.Context, err error) {
	if r, ok := ctx.Value(Key{}).(Refresh); ok {
		r.Remark(err)
	}
}

// Failures counts the refreshes that failed in a row before that of ctx.
func Failures(ctx context.Context) int {
	if r, ok := ctx.Value(Key{}).(Refresh); ok {
		return r.Failures()
	}
	return 0
}

// Pace sets the delay after the refresh of ctx, if it fails with an error that does not
// steer.
func Pace(ctx context.Context, delay time.Duration) {
	if r, ok := ctx.Value(Key{}).(Refresh); ok {
		r.Pace(delay)
	}
}
