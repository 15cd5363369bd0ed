package main

import (
	"context"

	"github.com/everfresh-go/everfresh"
)

func (p *peers) readMap() reading {
	return func(passes int) (sum uint64) {
		for range passes {
			for _, u := range p.urls {
				sum += p.plain[u].n
			}
		}
		return sum
	}
}

func (p *peers) readSyncMap() reading {
	return func(passes int) (sum uint64) {
		for range passes {
			for _, u := range p.urls {
				if v, ok := p.sync.Load(u); ok {
					sum += number(v)
				}
			}
		}
		return sum
	}
}

// number returns the number of the document that v holds.
func number(v any) uint64 {
	if doc, ok := v.(*document); ok {
		return doc.n
	}
	return 0
}

// readCache reads through Cache.Get; c may be of either door.
func (p *peers) readCache(ctx context.Context, c *everfresh.Cache) reading {
	return func(passes int) (sum uint64) {
		for range passes {
			for _, u := range p.urls {
				if v, err := c.Get(ctx, u); err == nil {
					sum += number(v)
				}
			}
		}
		return sum
	}
}

func (p *peers) readLookup() reading {
	return func(passes int) (sum uint64) {
		for range passes {
			for _, u := range p.urls {
				r, err := everfresh.Lookup[*document](p.cacheT, u)
				if err != nil {
					continue
				}
				if doc, ok := r.Peek(); ok {
					sum += doc.n
				}
			}
		}
		return sum
	}
}

func (p *peers) readV1(ctx context.Context) reading {
	return func(passes int) (sum uint64) {
		for range passes {
			for _, u := range p.urls {
				if v, err := p.v1.Get(ctx, u); err == nil {
					sum += number(v)
				}
			}
		}
		return sum
	}
}

func (p *peers) readV3(ctx context.Context) reading {
	return func(passes int) (sum uint64) {
		for range passes {
			for _, u := range p.urls {
				r, err := p.v3.Lookup(ctx, u)
				if err != nil {
					continue
				}
				var doc *document
				if err := r.Get(&doc); err == nil {
					sum += doc.n
				}
			}
		}
		return sum
	}
}

// openByURL opens the candidates that find a document by its URL.
func openByURL(ctx context.Context, sc scale) (*stage, error) {
	p, err := openPeers(ctx, sc)
	if err != nil {
		return nil, err
	}
	n := len(p.docs)
	return &stage{close: p.close, candidates: []candidate{
		p.readMap().candidate("map", n, p.total),
		p.readSyncMap().candidate("sync-map", n, p.total),
		p.readCache(ctx, p.cache).candidate("everfresh", n, p.total),
		p.readCache(ctx, p.cacheT).candidate("everfresh-typed", n, p.total),
		p.readLookup().candidate("everfresh-lookup", n, p.total),
		p.readV1(ctx).candidate("v1", n, p.total),
		p.readV3(ctx).candidate("v3", n, p.total),
	}}, nil
}
