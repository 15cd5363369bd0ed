package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everfresh-go/everfresh"
	httprc1 "github.com/lestrrat-go/httprc"
	httprc3 "github.com/lestrrat-go/httprc/v3"
	"github.com/maypok86/otter/v2"
	"github.com/viccon/sturdyc"
)

// closeWait bounds how long a peer may take to stop.
const closeWait = 10 * time.Second

// A document is the value that every candidate serves: all of them the same ones.
type document struct{ n uint64 }

// A bareHandle is the least that serves a value which changes: an atomic pointer. It is
// as large as a handle of everfresh.
type bareHandle struct {
	cur atomic.Pointer[document]
	_   *document
}

// peers are the same documents behind every candidate of the read groups. The slices
// are in one random order.
type peers struct {
	docs  []*document
	urls  []string // copies: not the strings that the documents were registered with
	order []int    // the same order: indices of docs
	total uint64   // sum of the documents' numbers

	bare   []*bareHandle
	plain  map[string]*document
	sync   sync.Map
	otter  *otter.Cache[string, *document]
	otterR *otter.Cache[string, *document] // refreshes
	sturdy *sturdyc.Client[*document]
	typed  []*everfresh.Resource[*document]
	cache  *everfresh.Cache // untyped API
	cacheT *everfresh.Cache // typed API
	v1     *httprc1.Cache
	v3     httprc3.Controller
	v3res  []*httprc3.ResourceBase[*document]

	stop context.CancelFunc
}

func docURL(i int) string { return fmt.Sprintf("https://origin.example/tenants/%06d/config.json", i) }

func openPeers(ctx context.Context, sc scale) (*peers, error) {
	p := newPeers(sc.resources)
	return p, p.open(ctx, p.openBare, p.openOthers, p.openCache, p.openTyped, p.openV1, p.openV3)
}

// newPeers returns n documents without anything that holds them.
func newPeers(n int) *peers {
	p := &peers{plain: make(map[string]*document)}
	for i := range n {
		p.docs = append(p.docs, &document{n: uint64(i) + 1})
		p.total += uint64(i) + 1
	}
	p.order = rand.Perm(n)
	for _, i := range p.order {
		p.urls = append(p.urls, docURL(i))
	}
	return p
}

// open opens candidates.
func (p *peers) open(ctx context.Context, opens ...func(context.Context) error) error {
	ctx, p.stop = context.WithCancel(ctx)
	for _, open := range opens {
		if err := open(ctx); err != nil {
			return errors.Join(err, p.close()) //nolint:contextcheck // What ctx ended is closed as well.
		}
	}
	return nil
}

func (p *peers) openBare(context.Context) error {
	handles := make([]*bareHandle, len(p.docs))
	for i, doc := range p.docs {
		handles[i] = new(bareHandle)
		handles[i].cur.Store(doc)
		p.plain[docURL(i)] = doc
		p.sync.Store(docURL(i), doc)
	}
	for _, i := range p.order {
		p.bare = append(p.bare, handles[i])
	}
	return nil
}

const day = 24 * time.Hour

// openOthers opens the caches that know nothing of HTTP.
func (p *peers) openOthers(ctx context.Context) error {
	const shards, evicted = 16, 10 // and room enough that none is
	p.otter = otter.Must(&otter.Options[string, *document]{})
	p.sturdy = sturdyc.New[*document](4*len(p.docs)+100*shards, shards, 7*day, evicted,
		sturdyc.WithEarlyRefreshes(day, 2*day, 3*day, time.Second))
	for i, doc := range p.docs {
		p.otter.Set(docURL(i), doc)
		p.sturdy.Set(docURL(i), doc)
	}
	return p.openOtter(ctx)
}

// openOtter opens the otter that refreshes.
func (p *peers) openOtter(context.Context) error {
	p.otterR = otter.Must(&otter.Options[string, *document]{RefreshCalculator: otter.RefreshWriting[string, *document](day)})
	for i, doc := range p.docs {
		p.otterR.Set(docURL(i), doc)
	}
	return nil
}

// openCache uses the untyped API. The transformer is the cache's, so that a million
// resources share their options.
func (p *peers) openCache(ctx context.Context) error {
	transform := everfresh.TransformFunc(func(_ string, resp *http.Response) (any, error) { return p.decode(resp) })
	p.cache = everfresh.NewCache(ctx, everfresh.WithHTTPClient(&http.Client{Transport: memory{}}), everfresh.WithMaxPerHost(64),
		everfresh.Options(everfresh.WithTransformer(transform)))
	for i := range p.docs {
		if err := p.cache.Register(docURL(i)); err != nil {
			return err
		}
	}
	return p.cache.Ready(ctx)
}

func (p *peers) openTyped(ctx context.Context) error {
	p.cacheT = everfresh.NewCache(ctx, everfresh.WithHTTPClient(&http.Client{Transport: memory{}}))
	decode := func(_ context.Context, resp *http.Response) (*document, error) { return p.decode(resp) }
	handles := make([]*everfresh.Resource[*document], len(p.docs))
	for i := range handles {
		var err error
		if handles[i], err = everfresh.Register(p.cacheT, docURL(i), decode); err != nil {
			return err
		}
	}
	for _, i := range p.order {
		p.typed = append(p.typed, handles[i])
	}
	return p.cacheT.Ready(ctx)
}

func (p *peers) openV1(ctx context.Context) error {
	p.v1 = httprc1.NewCache(ctx)
	transform := httprc1.TransformFunc(func(_ string, resp *http.Response) (any, error) { return p.decode(resp) })
	client := &http.Client{Transport: memory{}}
	for i := range p.docs {
		if err := p.v1.Register(docURL(i), httprc1.WithHTTPClient(client), httprc1.WithTransformer(transform)); err != nil {
			return err
		}
		if _, err := p.v1.Get(ctx, docURL(i)); err != nil {
			return err
		}
	}
	return nil
}

func (p *peers) openV3(ctx context.Context) error {
	var err error
	p.v3, err = httprc3.NewClient(httprc3.WithHTTPClient(&http.Client{Transport: memory{}})).Start(ctx)
	if err != nil {
		return err
	}
	transform := httprc3.TransformFunc[*document](func(_ context.Context, resp *http.Response) (*document, error) { return p.decode(resp) })
	handles := make([]*httprc3.ResourceBase[*document], len(p.docs))
	for i := range handles {
		if handles[i], err = httprc3.NewResource(docURL(i), transform); err != nil {
			return err
		}
		if err = p.v3.Add(ctx, handles[i]); err != nil {
			return err
		}
	}
	for _, i := range p.order {
		p.v3res = append(p.v3res, handles[i])
	}
	return nil
}

// decode returns the document that a body names.
func (p *peers) decode(resp *http.Response) (*document, error) {
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	i, err := strconv.Atoi(string(body))
	if err != nil {
		return nil, err
	}
	return p.docs[i], nil
}

// close stops everything that was opened.
func (p *peers) close() error {
	var errs []error
	for _, c := range []*everfresh.Cache{p.cache, p.cacheT} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	if p.v3 != nil {
		errs = append(errs, p.v3.Shutdown(closeWait))
	}
	p.stop() // ends v1, which offers nothing to wait for
	return errors.Join(errs...)
}

// memory is an origin without a network: the body is the number in the URL.
type memory struct{}

// RoundTrip implements http.RoundTripper.
func (memory) RoundTrip(req *http.Request) (*http.Response, error) {
	i, err := strconv.Atoi(strings.Split(req.URL.Path, "/")[2])
	if err != nil {
		return nil, err
	}
	body := strconv.Itoa(i)
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header:        http.Header{"Cache-Control": {"max-age=86400"}},
		Body:          io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)),
	}, nil
}
