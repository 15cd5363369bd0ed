package main

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/store"
)

var (
	restartColumns    = []string{"registered-s", "first-get-ms", "all-s"}
	restartRegistered = metric{name: "registered", unit: " s", column: "all registered, s", of: field(0)}
	restartFirstGet   = metric{name: "a Get", unit: " ms", column: "a Get then, ms", of: field(1)}
	restartAll        = metric{name: "all", unit: " s", column: "all have a value, s", of: field(2)}
)

var restartProbes = map[string]probe{
	"cold-100k": {run: restartEmpty, n: 100_000},
	"warm-100k": {run: restartStored, n: 100_000},
}

// restartEmpty starts with an empty storage.
func restartEmpty(ctx context.Context, n int, _ time.Duration) (sample, error) {
	base, stop, err := startOrigin(ctx)
	if err != nil {
		return nil, err
	}
	s, err := restart(ctx, base, n, new(store.Memory))
	return s, errors.Join(err, stop())
}

// restartStored starts with the storage that a former cache left, and with the origin down.
func restartStored(ctx context.Context, n int, _ time.Duration) (sample, error) {
	base, stop, err := startOrigin(ctx)
	if err != nil {
		return nil, err
	}
	records := new(store.Memory)
	_, err = restart(ctx, base, n, records)
	if err := errors.Join(err, stop()); err != nil {
		return nil, err
	}
	return restart(ctx, base, n, records)
}

// restart returns what it takes a new cache to register n resources, then to get the
// value of one, and until all have one.
func restart(ctx context.Context, base string, n int, records everfresh.Storage) (sample, error) {
	c := everfresh.NewCache(ctx, everfresh.WithStorage(records), everfresh.WithWorkers(firstWorkers), everfresh.WithMaxPerHost(firstWorkers))
	start := time.Now()
	handles := make([]*everfresh.Resource[[]byte], n)
	for i := range handles {
		var err error
		if handles[i], err = everfresh.Register(c, base+"/same/"+strconv.Itoa(i), everfresh.Bytes()); err != nil {
			return nil, errors.Join(err, c.Close()) //nolint:contextcheck // Closing has its own time limit.
		}
	}
	registered := time.Since(start)
	asked := time.Now()
	_, err := handles[n-1].Get(ctx) // the last of the line
	got := time.Since(asked)
	err = errors.Join(err, c.Ready(ctx))
	all := time.Since(start)
	s := sample{registered.Seconds(), got.Seconds() * 1000, all.Seconds()}
	return s, errors.Join(err, c.Close()) //nolint:contextcheck // Closing has its own time limit.
}
