package main

import (
	"context"
	"errors"

	"github.com/everfresh-go/everfresh"
	"github.com/maypok86/otter/v2"
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

// readCache reads through Cache.Get; c may use either API.
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

func (p *peers) readOtter() reading {
	return func(passes int) (sum uint64) {
		for range passes {
			for _, u := range p.urls {
				if doc, ok := p.otter.GetIfPresent(u); ok {
					sum += doc.n
				}
			}
		}
		return sum
	}
}

// readOtterRefresh reads as one does who has values refreshed: with a loader. There is
// nothing for it to load.
func (p *peers) readOtterRefresh(ctx context.Context) reading {
	loader := otter.LoaderFunc[string, *document](func(context.Context, string) (*document, error) {
		return nil, errors.New("not there")
	})
	return func(passes int) (sum uint64) {
		for range passes {
			for _, u := range p.urls {
				if doc, err := p.otterR.Get(ctx, u, loader); err == nil {
					sum += doc.n
				}
			}
		}
		return sum
	}
}

func (p *peers) readSturdyc() reading {
	return func(passes int) (sum uint64) {
		for range passes {
			for _, u := range p.urls {
				if doc, ok := p.sturdy.Get(u); ok {
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
		p.readOtter().candidate("otter", n, p.total),
		p.readOtterRefresh(ctx).candidate("otter-refresh", n, p.total),
		p.readSturdyc().candidate("sturdyc", n, p.total),
		p.readV1(ctx).candidate("v1", n, p.total),
		p.readV3(ctx).candidate("v3", n, p.total),
	}}, nil
}

// openByURLOfMany opens those of them that can hold a million, and are worth it.
func openByURLOfMany(ctx context.Context, sc scale) (*stage, error) {
	n := 1_000_000
	if sc.tiny() {
		n = sc.most
	}
	p := newPeers(n)
	if err := p.open(ctx, p.openBare, p.openOtter, p.openCache); err != nil {
		return nil, err
	}
	return &stage{close: p.close, candidates: []candidate{
		p.readMap().candidate("map", n, p.total),
		p.readSyncMap().candidate("sync-map", n, p.total),
		p.readCache(ctx, p.cache).candidate("everfresh", n, p.total),
		p.readOtterRefresh(ctx).candidate("otter-refresh", n, p.total),
	}}, nil
}
