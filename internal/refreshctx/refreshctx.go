// Package refreshctx lets other packages of this module talk to the refresh whose context
// they received, in ways that the public API does not offer.
package refreshctx

import (
	"context"
	"time"
)

// Key is the context key under which a refresh stores its [Refresh].
type Key struct{}

// A Refresh is a refresh that is in progress. Decoders, request functions and fetchers may
// call its methods.
type Refresh interface {
	// Remark reports err to the error sink without failing the refresh.
	Remark(err error)
	// Failures returns how many refreshes of the resource failed in a row before this one.
	Failures() int
	// Pace sets the delay until the next refresh if this one fails, unless its error itself
	// says when to retry.
	Pace(delay time.Duration)
}

// Remark calls the method of the refresh in ctx. Without a refresh it does nothing.
func Remark(ctx context.Context, err error) {
	if r, ok := ctx.Value(Key{}).(Refresh); ok {
		r.Remark(err)
	}
}

// Failures calls the method of the refresh in ctx. Without a refresh it returns 0.
func Failures(ctx context.Context) int {
	if r, ok := ctx.Value(Key{}).(Refresh); ok {
		return r.Failures()
	}
	return 0
}

// Pace calls the method of the refresh in ctx. Without a refresh it does nothing.
func Pace(ctx context.Context, delay time.Duration) {
	if r, ok := ctx.Value(Key{}).(Refresh); ok {
		r.Pace(delay)
	}
}
