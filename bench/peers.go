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
	total uint64   // sum of the documents' numbers

	bare   []*bareHandle
	plain  map[string]*document
	sync   sync.Map
	typed  []*everfresh.Resource[*document]
	cache  *everfresh.Cache // untyped door
	cacheT *everfresh.Cache // typed door
	v1     *httprc1.Cache
	v3     httprc3.Controller
	v3res  []*httprc3.ResourceBase[*document]

	stop context.CancelFunc
}

func docURL(i int) string { return fmt.Sprintf("https://origin.example/tenants/%06d/config.json", i) }

func openPeers(ctx context.Context, sc scale) (*peers, error) {
	ctx, stop := context.WithCancel(ctx)
	p := &peers{stop: stop, plain: make(map[string]*document)}
	for i := range sc.resources {
		p.docs = append(p.docs, &document{n: uint64(i) + 1})
		p.total += uint64(i) + 1
	}
	order := rand.Perm(sc.resources)
	for _, i := range order {
		p.urls = append(p.urls, strings.Clone(docURL(i)))
	}
	p.openBare(order)
	for _, open := range []func(context.Context, []int) error{p.openEverfresh, p.openV1, p.openV3} {
		if err := open(ctx, order); err != nil {
			return nil, errors.Join(err, p.close()) //nolint:contextcheck // What ctx ended is closed as well.
		}
	}
	return p, nil
}

func (p *peers) openBare(order []int) {
	handles := make([]*bareHandle, len(order))
	for i, doc := range p.docs {
		handles[i] = new(bareHandle)
		handles[i].cur.Store(doc)
		p.plain[docURL(i)] = doc
		p.sync.Store(docURL(i), doc)
	}
	for _, i := range order {
		p.bare = append(p.bare, handles[i])
	}
}

func (p *peers) openEverfresh(ctx context.Context, order []int) error {
	client := everfresh.WithHTTPClient(&http.Client{Transport: memory{}})
	p.cache = everfresh.NewCache(ctx, client, everfresh.WithPrefetch(true))
	p.cacheT = everfresh.NewCache(ctx, client)
	decode := func(_ context.Context, resp *http.Response) (*document, error) { return p.decode(resp) }
	transform := everfresh.TransformFunc(func(_ string, resp *http.Response) (any, error) { return p.decode(resp) })
	handles := make([]*everfresh.Resource[*document], len(order))
	for i := range handles {
		var err error
		if handles[i], err = everfresh.Register(p.cacheT, docURL(i), decode); err != nil {
			return err
		}
		if err = p.cache.Register(docURL(i), everfresh.WithTransformer(transform)); err != nil {
			return err
		}
	}
	for _, i := range order {
		p.typed = append(p.typed, handles[i])
	}
	return errors.Join(p.cache.Ready(ctx), p.cacheT.Ready(ctx))
}

func (p *peers) openV1(ctx context.Context, order []int) error {
	p.v1 = httprc1.NewCache(ctx)
	transform := httprc1.TransformFunc(func(_ string, resp *http.Response) (any, error) { return p.decode(resp) })
	client := &http.Client{Transport: memory{}}
	for i := range order {
		if err := p.v1.Register(docURL(i), httprc1.WithHTTPClient(client), httprc1.WithTransformer(transform)); err != nil {
			return err
		}
		if _, err := p.v1.Get(ctx, docURL(i)); err != nil {
			return err
		}
	}
	return nil
}

func (p *peers) openV3(ctx context.Context, order []int) error {
	var err error
	p.v3, err = httprc3.NewClient(httprc3.WithHTTPClient(&http.Client{Transport: memory{}})).Start(ctx)
	if err != nil {
		return err
	}
	transform := httprc3.TransformFunc[*document](func(_ context.Context, resp *http.Response) (*document, error) { return p.decode(resp) })
	handles := make([]*httprc3.ResourceBase[*document], len(order))
	for i := range handles {
		if handles[i], err = httprc3.NewResource(docURL(i), transform); err != nil {
			return err
		}
		if err = p.v3.Add(ctx, handles[i]); err != nil {
			return err
		}
	}
	for _, i := range order {
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
