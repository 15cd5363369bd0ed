package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/everfresh-go/everfresh/jwks/jwkstest"
)

// issuerLatency is how long the issuer takes for an answer.
const issuerLatency = 5 * time.Millisecond

// A slowIssuer is an issuer on loopback.
type slowIssuer struct {
	*jwkstest.Issuer
	server *httptest.Server
}

func newSlowIssuer() *slowIssuer {
	issuer := jwkstest.New()
	return &slowIssuer{issuer, httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if pause(r.Context(), issuerLatency) == nil {
			issuer.ServeHTTP(w, r)
		}
	}))}
}

func (s *slowIssuer) url() string { return s.server.URL + "/jwks.json" }

func (s *slowIssuer) fetches() int { return len(s.KeySet().Requests()) }

func (s *slowIssuer) close() {
	s.KeySet().Recover() // Close waits for the requests that hang
	s.server.CloseClientConnections()
	s.server.Close()
}

// token returns one of the present key.
func (s *slowIssuer) token() string { return s.Sign(claims) }

// unknown returns a token of a key that is never published.
func (s *slowIssuer) unknown() string {
	return s.Sign(claims, jwkstest.WithHeader("kid", newKeyID()))
}

// A subject is a library with an issuer of its own.
type subject struct {
	*slowIssuer
	*verifier
	patience time.Duration // with what should take no time at all
}

// open returns a subject with an issuer that prepare has changed, if it is not nil.
func (t *trial) open(ctx context.Context, prepare func(*slowIssuer)) (*subject, error) {
	s := &subject{slowIssuer: newSlowIssuer(), patience: t.patience()}
	if prepare != nil {
		prepare(s.slowIssuer)
	}
	var err error
	if s.verifier, err = t.library(ctx, s.url()); err != nil {
		s.slowIssuer.close()
		return nil, err
	}
	return s, nil
}

// ready is open, and a token that is verified.
func (t *trial) ready(ctx context.Context) (*subject, error) {
	s, err := t.open(ctx, nil)
	if err != nil {
		return nil, err
	}
	const long = 10 * time.Second // on a busy machine
	for begin := time.Now(); ; {
		err := s.verifies(ctx, s.token())
		if err == nil {
			return s, nil
		}
		if time.Since(begin) > long {
			return nil, errors.Join(fmt.Errorf("the first token is not verified: %w", err), s.close())
		}
		if err := pause(ctx, issuerLatency); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
}

func (s *subject) close() error {
	err := s.verifier.close()
	s.slowIssuer.close()
	return err
}

// verifies returns nil if token is verified without a delay.
func (s *subject) verifies(ctx context.Context, token string) error {
	return within(ctx, s.patience, func(ctx context.Context) error { return s.verify(ctx, token) })
}

// refetch makes the library fetch its keys again. It ignores whether that succeeds.
func (s *subject) refetch(ctx context.Context) {
	_ = within(ctx, s.patience, func(ctx context.Context) error { // see above
		if s.refresh == nil {
			return s.verify(ctx, s.unknown())
		}
		return s.refresh(ctx)
	})
}

var errHangs = errors.New("does not return with its context")

// within runs f for at most d. If f hangs, which some libraries do, it is left behind until
// this process ends, which is soon.
func within(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	const grace = 500 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, d)
	done := make(chan error, 1)
	go func() {
		defer cancel()
		done <- f(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(d + grace):
		return errHangs
	}
}

// truth is 1 for yes and 0 for no.
func truth(yes bool) float64 { return map[bool]float64{true: 1}[yes] }
