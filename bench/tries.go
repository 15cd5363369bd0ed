package main

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/everfresh-go/everfresh/jwks/jwkstest"
)

// storm sends tokens with unknown keys, and returns whom.
func (t *trial) storm(ctx context.Context) (*subject, error) {
	s, err := t.ready(ctx)
	if err != nil {
		return nil, err
	}
	tokens := make([]string, t.tokens)
	for i := range tokens {
		tokens[i] = s.unknown()
	}
	fetched, begin := s.fetches(), time.Now()
	var wg sync.WaitGroup
	flooding, stop := context.WithCancel(ctx)
	known, served := s.token(), true
	wg.Go(func() {
		for pause(flooding, time.Millisecond) == nil {
			served = s.verifies(ctx, known) == nil && served
		}
	})
	answered, verified := s.flood(ctx, t.limit/2, tokens)
	took := time.Since(begin)
	stop()
	wg.Wait()
	if verified {
		return nil, errors.Join(errors.New("a token with an unknown key is verified"), s.close())
	}
	t.note("storm-fetches", float64(s.fetches()-fetched))
	t.note("storm-answered", float64(answered))
	if answered == len(tokens) {
		t.note("storm-s", took.Seconds())
	}
	t.note("storm-known", truth(s.verifies(ctx, known) == nil && served))
	return s, nil
}

// flood sends tokens from 64 goroutines. It returns how many were answered in time, and
// whether one of them was verified.
func (s *subject) flood(ctx context.Context, limit time.Duration, tokens []string) (answered int, verified bool) {
	const senders = 64
	var next, done atomic.Int64
	var wrong atomic.Bool
	send := func(ctx context.Context) {
		for i := next.Add(1) - 1; i < int64(len(tokens)) && ctx.Err() == nil; i = next.Add(1) - 1 {
			if s.verify(ctx, tokens[i]) == nil {
				wrong.Store(true)
			}
			if ctx.Err() == nil {
				done.Add(1)
			}
		}
	}
	_ = within(ctx, limit, func(ctx context.Context) error { // done tells what came of it
		together(senders, func() { send(ctx) })
		return nil
	})
	return int(done.Load()), wrong.Load()
}

// together runs f n times at once, and waits for all.
func together(n int, f func()) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(f)
	}
	wg.Wait()
}

// patience is how long something is waited for that takes no time at all.
func (t *trial) patience() time.Duration { return max(t.limit/5, 50*time.Millisecond) }

// wait is how long something is waited for that takes its time.
func (t *trial) wait() time.Duration { return t.limit * 155 / 100 }

// rotationInStorm publishes a key while tokens with unknown ones keep coming.
func (t *trial) rotationInStorm(ctx context.Context, s *subject) error {
	const senders = 4
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for pause(ctx, issuerLatency) == nil {
				_ = s.verifies(ctx, s.unknown()) // it is refused
			}
		})
	}
	s.Rotate("ES256")
	token := s.token()
	if took, ok := seconds(ctx, t.wait(), func() bool { return s.verifies(ctx, token) == nil }); ok {
		t.note("storm-rotation-s", took)
	}
	cancel()
	wg.Wait()
	return s.close()
}

func (t *trial) rotation(ctx context.Context) error {
	return t.with(ctx, func(s *subject) error {
		for _, name := range []string{"rotation", "rotation-again"} {
			s.Rotate("ES256")
			t.note(name, truth(s.verifies(ctx, s.token()) == nil))
		}
		return nil
	})
}

func (t *trial) withdrawal(ctx context.Context) error {
	return t.with(ctx, func(s *subject) error {
		old := s.Key()
		token := s.token()
		s.Rotate("ES256")
		s.Withdraw(old.ID)
		fetched := s.fetches()
		s.refetch(ctx)
		t.note("withdrawn", truth(s.verifies(ctx, token) != nil))
		conditional := false
		for _, r := range s.KeySet().Requests()[fetched:] {
			conditional = conditional || r.Conditional()
		}
		t.note("conditional", truth(conditional))
		return nil
	})
}

func (t *trial) badAnswers(ctx context.Context) error {
	answers := map[string]jwkstest.Fault{
		"oops":    jwkstest.Answer(http.StatusOK, nil, `{"error":"oops"}`),
		"no-keys": jwkstest.Answer(http.StatusOK, nil, `{"keys":[]}`),
		"503":     jwkstest.Answer(http.StatusServiceUnavailable, nil, ""),
	}
	for name, answer := range answers {
		err := t.with(ctx, func(s *subject) error {
			s.KeySet().Break(answer)
			s.refetch(ctx)
			t.note(name, truth(s.verifies(ctx, s.token()) == nil))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *trial) newType(ctx context.Context) error {
	s, err := t.open(ctx, func(i *slowIssuer) {
		i.PublishJWK(`{"kty":"AKP","kid":"post-quantum","alg":"ML-DSA-44","use":"sig","pub":"` + strings.Repeat("A", 1312*4/3+1) + `"}`)
	})
	if err != nil {
		return err
	}
	_, ok := seconds(ctx, t.patience(), func() bool { return s.verifies(ctx, s.token()) == nil })
	t.note("akp", truth(ok))
	return s.close()
}

// hugeSet answers a refresh with a good key set in which a member fills the rest.
func (t *trial) hugeSet(ctx context.Context) error {
	size := 64 << 20
	if t.tokens < stormTokens {
		size = 1 << 20
	}
	return t.with(ctx, func(s *subject) error {
		key := s.NewKey("ES256")
		token := s.Sign(claims, jwkstest.SignedBy(key))
		head := `{"keys":[` + string(key.JWK()) + `],"padding":"`
		s.KeySet().Break(jwkstest.Answer(http.StatusOK, nil, head+strings.Repeat("x", size-len(head)-2)+`"}`))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s.refetch(ctx)
		runtime.ReadMemStats(&after)
		t.note("huge-MiB", float64(after.TotalAlloc-before.TotalAlloc)/(1<<20))
		t.note("huge", truth(s.verifies(ctx, token) == nil))
		return nil
	})
}

func (t *trial) redirect(ctx context.Context) error {
	elsewhere := newSlowIssuer()
	defer elsewhere.close()
	return t.with(ctx, func(s *subject) error {
		s.KeySet().Break(jwkstest.Redirect(elsewhere.url()))
		s.refetch(ctx)
		t.note("redirect", truth(elsewhere.fetches() > 0))
		return nil
	})
}

// start begins while the issuer is out of order.
func (t *trial) start(ctx context.Context) error {
	outage := min(500*time.Millisecond, t.limit)
	var recovered time.Time
	ended := make(chan struct{})
	s, err := t.open(ctx, func(i *slowIssuer) {
		i.KeySet().Break(jwkstest.Answer(http.StatusServiceUnavailable, nil, ""))
		time.AfterFunc(outage, func() {
			i.KeySet().Recover()
			recovered = time.Now()
			close(ended)
		})
	})
	if err != nil {
		<-ended
		return err
	}
	token := s.token()
	_, ok := seconds(ctx, outage+t.limit, func() bool {
		const attempt = 250 * time.Millisecond
		return within(ctx, attempt, func(ctx context.Context) error { return s.verify(ctx, token) }) == nil
	})
	<-ended
	if ok {
		t.note("start-s", max(time.Since(recovered).Seconds(), 0))
	}
	return s.close()
}

// refreshStorm asks for many refreshes at once, and for one more afterwards.
func (t *trial) refreshStorm(ctx context.Context) error {
	return t.with(ctx, func(s *subject) error {
		refresh := s.refresh
		if refresh == nil {
			refresh = func(ctx context.Context) error { return s.verify(ctx, s.unknown()) }
		}
		var returned atomic.Int64
		fetched := s.fetches()
		_ = within(ctx, t.limit*3/10, func(ctx context.Context) error { // returned tells what came of it
			together(refreshers64, func() {
				_ = refresh(ctx) // it may be refused
				if ctx.Err() == nil {
					returned.Add(1)
				}
			})
			return nil
		})
		t.note("refreshes", float64(returned.Load()))
		t.note("refresh-fetches", float64(s.fetches()-fetched))
		s.Rotate("ES256")
		_, alive := seconds(ctx, t.wait(), func() bool {
			if s.verifies(ctx, s.token()) == nil {
				return true
			}
			s.refetch(ctx)
			return false
		})
		t.note("refresh-alive", truth(alive))
		return nil
	})
}

// hangs has a refresh that the issuer never answers.
func (t *trial) hangs(ctx context.Context) error {
	return t.with(ctx, func(s *subject) error {
		s.KeySet().Break(jwkstest.Hang)
		hanging, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer stop()
		wg.Go(func() { s.refetch(hanging) })
		if err := pause(ctx, 10*issuerLatency); err != nil { // it is in progress
			return err
		}
		begin := time.Now()
		err := s.verifies(ctx, s.token())
		t.note("hung-known", truth(err == nil && time.Since(begin) < s.patience/4))
		const short = 200 * time.Millisecond
		token := s.unknown()
		err = within(ctx, short, func(ctx context.Context) error { return s.verify(ctx, token) })
		t.note("hung-unknown", truth(!errors.Is(err, errHangs)))
		return nil
	})
}
