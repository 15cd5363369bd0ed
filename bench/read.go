package main

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/everfresh-go/everfresh"
	httprc3 "github.com/lestrrat-go/httprc/v3"
)

// A reading reads every document passes times and returns the sum of their numbers: it
// needs every result, so none can be optimised away.
//
// Readings are written out one by one: a call through a function value would cost more
// than what is measured.
type reading func(passes int) uint64

// sink keeps the results of all readings.
var sink atomic.Uint64

// candidate returns the candidate that reads n documents with read.
func (read reading) candidate(name string, n int, total uint64) candidate {
	return candidate{name: name, ops: n, all: n, run: func(passes int) error {
		return keep(read(passes), total*uint64(passes)) //nolint:gosec // Not negative.
	}}
}

// parallel returns the candidate that runs read on every processor at once.
func (read reading) parallel(name string, n int, total uint64) candidate {
	procs := runtime.GOMAXPROCS(0)
	return candidate{name: name, ops: n, all: n * procs, run: func(passes int) error {
		sums := make([]uint64, procs)
		var wg sync.WaitGroup
		for i := range procs {
			wg.Go(func() { sums[i] = read(passes) })
		}
		wg.Wait()
		for _, sum := range sums {
			if err := keep(sum, total*uint64(passes)); err != nil { //nolint:gosec // Not negative.
				return err
			}
		}
		return nil
	}}
}

func keep(sum, want uint64) error {
	sink.Add(sum)
	if sum != want {
		return fmt.Errorf("read documents with the sum %d, want %d", sum, want)
	}
	return nil
}

func readBare(handles []*bareHandle) reading {
	return func(passes int) (sum uint64) {
		for range passes {
			for _, h := range handles {
				sum += h.cur.Load().n
			}
		}
		return sum
	}
}

func readPeek(handles []*everfresh.Resource[*document]) reading {
	return func(passes int) (sum uint64) {
		for range passes {
			for _, r := range handles {
				if doc, ok := r.Peek(); ok {
					sum += doc.n
				}
			}
		}
		return sum
	}
}

func readGet(ctx context.Context, handles []*everfresh.Resource[*document]) reading {
	return func(passes int) (sum uint64) {
		for range passes {
			for _, r := range handles {
				if doc, err := r.Get(ctx); err == nil {
					sum += doc.n
				}
			}
		}
		return sum
	}
}

func readV3Resource(handles []*httprc3.ResourceBase[*document]) reading {
	return func(passes int) (sum uint64) {
		for range passes {
			for _, r := range handles {
				sum += r.Resource().n
			}
		}
		return sum
	}
}

func readV3Get(handles []*httprc3.ResourceBase[*document]) reading {
	return func(passes int) (sum uint64) {
		for range passes {
			for _, r := range handles {
				var doc *document
				if err := r.Get(&doc); err == nil {
					sum += doc.n
				}
			}
		}
		return sum
	}
}

// openHeld opens the candidates that read handles in random order.
func openHeld(ctx context.Context, sc scale) (*stage, error) {
	p, err := openPeers(ctx, sc)
	if err != nil {
		return nil, err
	}
	n := len(p.docs)
	return &stage{close: p.close, candidates: []candidate{
		readBare(p.bare).candidate("bare", n, p.total),
		readPeek(p.typed).candidate("peek", n, p.total),
		readGet(ctx, p.typed).candidate("get", n, p.total),
		readV3Resource(p.v3res).candidate("v3-resource", n, p.total),
		readV3Get(p.v3res).candidate("v3-get", n, p.total),
	}}, nil
}

// openHot opens the candidates that read one handle again and again.
func openHot(ctx context.Context, sc scale) (*stage, error) {
	p, err := openPeers(ctx, sc)
	if err != nil {
		return nil, err
	}
	n := len(p.docs)
	total := p.bare[0].cur.Load().n * uint64(n) //nolint:gosec // Not negative.
	v3 := repeat(p.v3res[0], n)
	typed := repeat(p.typed[0], n)
	return &stage{close: p.close, candidates: []candidate{
		readBare(repeat(p.bare[0], n)).candidate("bare", n, total),
		readPeek(typed).candidate("peek", n, total),
		readGet(ctx, typed).candidate("get", n, total),
		readV3Resource(v3).candidate("v3-resource", n, total),
		readV3Get(v3).candidate("v3-get", n, total),
	}}, nil
}

// repeat returns a slice of n times v.
func repeat[T any](v T, n int) []T {
	s := make([]T, n)
	for i := range s {
		s[i] = v
	}
	return s
}

// openParallel opens the candidates that read handles on every processor at once.
func openParallel(ctx context.Context, sc scale) (*stage, error) {
	p, err := openPeers(ctx, sc)
	if err != nil {
		return nil, err
	}
	n := len(p.docs)
	return &stage{close: p.close, candidates: []candidate{
		readBare(p.bare).parallel("bare", n, p.total),
		readPeek(p.typed).parallel("peek", n, p.total),
		readGet(ctx, p.typed).parallel("get", n, p.total),
		readV3Resource(p.v3res).parallel("v3-resource", n, p.total),
		readV3Get(p.v3res).parallel("v3-get", n, p.total),
	}}, nil
}
