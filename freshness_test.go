package everfresh

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/everfresh-go/everfresh/internal/rfc9111"
)

// freshConfig returns the default configuration of a resource after edit.
func freshConfig(edit func(*config)) *config {
	cfg := defaults().resource
	if edit != nil {
		edit(&cfg)
	}
	return &cfg
}

// freshFixed returns a source of random numbers that always returns v.
func freshFixed(v float64) func() float64 { return func() float64 { return v } }

// freshSaid returns what a response with max-age life and the given age says.
func freshSaid(life, age time.Duration) rfc9111.Freshness {
	return rfc9111.Freshness{Lifetime: life, Age: age, Source: rfc9111.MaxAge}
}

func TestPlanFor(t *testing.T) {
	const (
		sec, ms = time.Second, time.Millisecond
		minute  = time.Minute
		hour    = time.Hour
		day     = 24 * hour
	)
	exact := func(c *config) { c.jitter = 0 }
	ahead := func(d time.Duration) func(*config) {
		return func(c *config) { c.jitter, c.ahead = 0, d }
	}
	every := func(d time.Duration) func(*config) { return func(c *config) { c.every = d } }
	none := rfc9111.Freshness{}
	tests := map[string]struct {
		edit        func(*config)
		said        rfc9111.Freshness
		left        time.Duration
		first       bool
		rnd         float64
		fresh, next time.Duration
		why         string
	}{
		"max-age":                {exact, freshSaid(hour, 0), 0, false, 0.5, hour, hour, "max-age"},
		"less its age":           {exact, freshSaid(hour, 10*minute), 0, false, 0.5, 50 * minute, 50 * minute, "max-age"},
		"older than its life":    {exact, freshSaid(hour, 2*hour), 0, false, 0.5, 15 * minute, 15 * minute, "max-age, raised to the minimum"},
		"nothing said":           {exact, none, 0, false, 0.5, 15 * minute, 15 * minute, "none, raised to the minimum"},
		"just the minimum":       {exact, freshSaid(15*minute, 0), 0, false, 0.5, 15 * minute, 15 * minute, "max-age, raised to the minimum"},
		"just above the minimum": {exact, freshSaid(15*minute+1, 0), 0, false, 0.5, 15*minute + 1, 15*minute + 1, "max-age"},
		"just the maximum":       {exact, freshSaid(30*day, 0), 0, false, 0.5, 30 * day, 30 * day, "max-age"},
		"above the maximum":      {exact, freshSaid(30*day+sec, 0), 0, false, 0.5, 30 * day, 30 * day, "max-age, cut to the maximum"},
		"no-store":               {exact, rfc9111.Freshness{Source: rfc9111.NoStore}, 0, false, 0.5, 15 * minute, 15 * minute, "no-store, raised to the minimum"},
		"Expires":                {exact, rfc9111.Freshness{Lifetime: hour, Source: rfc9111.Expires}, 0, false, 0.5, hour, hour, "expires"},

		"interval over header":      {every(5 * minute), freshSaid(hour, 0), 0, false, 0, 5 * minute, 5 * minute, "refresh interval"},
		"interval below minimum":    {every(sec), freshSaid(hour, 0), 0, false, 0, sec, sec, "refresh interval"},
		"interval above maximum":    {every(60 * day), none, 0, false, 0, 60 * day, 60 * day, "refresh interval"},
		"interval with jitter":      {every(100 * sec), none, 0, false, 0.5, 100 * sec, 97500 * ms, "refresh interval"},
		"interval, first":           {every(100 * sec), none, 0, true, 0.5, 100 * sec, 75 * sec, "refresh interval"},
		"interval, no ahead":        {func(c *config) { c.every, c.jitter, c.ahead = hour, 0, minute }, none, 0, false, 0, hour, hour, "refresh interval"},
		"jitter early":              {nil, freshSaid(hour, 0), 0, false, 0.5, hour, hour - 90*sec, "max-age"},
		"jitter, least":             {nil, freshSaid(hour, 0), 0, false, 0, hour, hour, "max-age"},
		"first, spread":             {nil, freshSaid(hour, 0), 0, true, 0.5, hour, 45 * minute, "max-age"},
		"first, exact without":      {exact, freshSaid(hour, 0), 0, true, 0.5, hour, hour, "max-age"},
		"first, own jitter wider":   {func(c *config) { c.jitter = 1 }, freshSaid(2*hour, 0), 0, true, 0.75, 2 * hour, 30 * minute, "max-age"},
		"jitter stops at minimum":   {nil, freshSaid(16*minute, 0), 0, true, 0.5, 16 * minute, 15 * minute, "max-age"},
		"jitter above the minimum":  {nil, none, 0, false, 0.5, 15*minute + 22500*ms, 15*minute + 22500*ms, "none, raised to the minimum"},
		"first, above the minimum":  {nil, none, 0, true, 0.5, 1125 * sec, 1125 * sec, "none, raised to the minimum"},
		"jitter below the maximum":  {nil, freshSaid(60*day, 0), 0, false, 0.5, 30 * day, 30*day - 18*hour, "max-age, cut to the maximum"},
		"ahead":                     {ahead(10 * minute), freshSaid(hour, 0), 0, false, 0, hour, 50 * minute, "max-age"},
		"ahead, not below minimum":  {ahead(50 * minute), freshSaid(hour, 0), 0, false, 0, hour, 15 * minute, "max-age"},
		"ahead, longer than life":   {ahead(2 * hour), freshSaid(hour, 0), 0, false, 0, hour, 15 * minute, "max-age"},
		"ahead and earlier jitter":  {func(c *config) { c.ahead = minute }, freshSaid(hour, 0), 0, true, 0.5, hour, 45 * minute, "max-age"},
		"ahead before later jitter": {func(c *config) { c.ahead = 2 * minute }, freshSaid(hour, 0), 0, false, 0.1, hour, 58 * minute, "max-age"},
		"ahead at the minimum":      {func(c *config) { c.ahead = minute }, none, 0, false, 0.5, 15 * minute, 15 * minute, "none, raised to the minimum"},

		"own expiry":                     {exact, freshSaid(2*hour, 0), hour, false, 0, hour, 59 * minute, "the value's own expiry"},
		"own expiry at the header's":     {exact, freshSaid(hour, 0), hour, false, 0, hour, 59 * minute, "the value's own expiry"},
		"own expiry, a tenth ahead":      {exact, freshSaid(hour, 0), 5 * minute, false, 0, 5 * minute, 270 * sec, "the value's own expiry"},
		"own expiry, below minimum":      {exact, none, 20 * sec, false, 0, 20 * sec, 18 * sec, "the value's own expiry"},
		"own expiry, ahead":              {ahead(5 * minute), freshSaid(2*hour, 0), hour, false, 0, hour, 55 * minute, "the value's own expiry"},
		"own expiry, ahead has come":     {ahead(5 * minute), freshSaid(2*hour, 0), 4 * minute, false, 0, 4 * minute, 2 * minute, "the value's own expiry"},
		"own expiry, ahead comes now":    {ahead(5 * minute), freshSaid(2*hour, 0), 5 * minute, false, 0, 5 * minute, 150 * sec, "the value's own expiry"},
		"own expiry, nearly over":        {ahead(5 * minute), freshSaid(2*hour, 0), 300 * ms, false, 0, 300 * ms, 250 * ms, "the value's own expiry"},
		"own expiry, over before retry":  {ahead(5 * minute), freshSaid(2*hour, 0), 100 * ms, false, 0, 100 * ms, 250 * ms, "the value's own expiry"},
		"own expiry, jitter earlier":     {nil, freshSaid(2*hour, 0), 2 * hour, true, 0.5, 2 * hour, 90 * minute, "the value's own expiry"},
		"own expiry, short, and jitter":  {nil, none, 30 * sec, true, 0.9, 30 * sec, 27 * sec, "the value's own expiry"},
		"own expiry after the interval":  {func(c *config) { c.every, c.jitter = minute, 0 }, none, hour, false, 0, minute, minute, "refresh interval"},
		"own expiry, ahead comes soon":   {ahead(5 * minute), freshSaid(2*hour, 0), 5*minute + 250*ms, false, 0, 5*minute + 250*ms, 250 * ms, "the value's own expiry"},
		"own expiry, interval, maximum":  {func(c *config) { c.every, c.jitter = 60*day, 0 }, none, 40 * day, false, 0, 40 * day, 40*day - minute, "the value's own expiry"},
		"own expiry before the interval": {func(c *config) { c.every, c.jitter = 2*hour, 0 }, none, hour, false, 0, hour, 59 * minute, "the value's own expiry"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := planFor(freshConfig(tt.edit), tt.said, tt.left, tt.first, freshFixed(tt.rnd))
			if p.fresh != tt.fresh || p.next != tt.next || p.why.String() != tt.why {
				t.Errorf("fresh %v, next %v by %q;\nwant  %v, next %v by %q", p.fresh, p.next, p.why, tt.fresh, tt.next, tt.why)
			}
			if p.age != tt.said.Age {
				t.Errorf("age = %v, want %v", p.age, tt.said.Age)
			}
		})
	}
}

// TestPlanOfATokenIsItsOwn: a value that says how long it lives is not asked for again
// because its headers say nothing, or less.
func TestPlanOfATokenIsItsOwn(t *testing.T) {
	const day = 24 * time.Hour
	tests := map[string]struct {
		said              rfc9111.Freshness
		left, ahead       time.Duration
		fresh, next, life time.Duration
		why               override
	}{
		"nothing said":        {rfc9111.Freshness{}, 2 * time.Hour, 0, 2 * time.Hour, 119 * time.Minute, 2 * time.Hour, byValue},
		"no-store":            {rfc9111.Freshness{Source: rfc9111.NoStore}, 2 * time.Hour, 0, 2 * time.Hour, 119 * time.Minute, 2 * time.Hour, byValue},
		"less said":           {freshSaid(time.Hour, 0), 2 * time.Hour, 0, 2 * time.Hour, 119 * time.Minute, 2 * time.Hour, byValue},
		"above the maximum":   {rfc9111.Freshness{}, 60 * day, 0, 30 * day, 30 * day, 60 * day, byMax},
		"ahead":               {rfc9111.Freshness{}, 2 * time.Hour, 5 * time.Minute, 2 * time.Hour, 115 * time.Minute, 2 * time.Hour, byValue},
		"longer ahead":        {freshSaid(2*time.Hour, 0), 2 * time.Hour, 3 * time.Hour, 2 * time.Hour, time.Hour, 2 * time.Hour, byValue},
		"hardly longer ahead": {freshSaid(2*time.Hour, 0), time.Minute + time.Microsecond, time.Minute, time.Minute + time.Microsecond, 30*time.Second + 500, time.Minute + time.Microsecond, byValue},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cfg := freshConfig(func(c *config) { c.jitter, c.ahead = 0, tt.ahead })
			p := planFor(cfg, tt.said, tt.left, false, freshFixed(0))
			if p.fresh != tt.fresh || p.next != tt.next || p.why.override != tt.why || p.life != tt.life {
				t.Errorf("fresh %v, next %v, life %v by %q; want %v, %v, %v", p.fresh, p.next, p.life, p.why, tt.fresh, tt.next, tt.life)
			}
		})
	}
}

func TestPlanTellsTheOriginsLifetime(t *testing.T) {
	p := planFor(freshConfig(nil), freshSaid(time.Minute, 10*time.Second), 0, false, freshFixed(0))
	if p.life != time.Minute || p.age != 10*time.Second {
		t.Errorf("life %v, age %v; want those of the header, 1m0s and 10s", p.life, p.age)
	}
	p = planFor(freshConfig(nil), freshSaid(time.Hour, 10*time.Second), time.Minute, false, freshFixed(0))
	if want := 70 * time.Second; p.life != want {
		t.Errorf("life of a value with its own expiry = %v, want what is left and the age, %v", p.life, want)
	}
}

// TestPlanHolds checks what every plan promises, whatever was said and configured.
func TestPlanHolds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	upTo := func(d time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(d))) }
	for range 50_000 {
		cfg := freshConfig(func(c *config) {
			c.min = 1 + upTo(2*time.Hour)
			c.max = c.min + upTo(48*time.Hour)
			c.jitter = rng.Float64()
			c.ahead = max(0, upTo(time.Hour)-30*time.Minute)
			c.every = max(0, upTo(4*time.Hour)-2*time.Hour)
		})
		said := freshSaid(upTo(72*time.Hour), upTo(24*time.Hour))
		left := max(0, upTo(8*time.Hour)-4*time.Hour)
		p := planFor(cfg, said, left, rng.IntN(2) == 0, rng.Float64)
		if problem := freshProblem(cfg, p, left); problem != "" {
			t.Fatalf("%s: plan %+v of %+v, left %v, min %v, max %v, every %v, ahead %v, jitter %v",
				problem, p, said, left, cfg.min, cfg.max, cfg.every, cfg.ahead, cfg.jitter)
		}
	}
}

// freshProblem returns what is wrong with p, or nothing.
func freshProblem(cfg *config, p plan, left time.Duration) string {
	own := left > 0
	switch {
	case p.next <= 0 && cfg.jitter < 1:
		return "refreshed at once"
	case !own && p.next > p.fresh:
		return "refreshed after its freshness ended"
	case own && p.fresh > left && p.next > left:
		return "refreshed after its own expiry"
	case own && p.next > p.fresh && p.next != cfg.backoffMin:
		return "refreshed after its freshness ended, but not by the floor of the back-off"
	case own && cfg.every == 0 && p.next < min(cfg.min, cfg.backoffMin):
		return "refreshed all the time"
	case own && p.fresh > left && p.why.override == byValue:
		return "fresh after its own expiry"
	case !own && cfg.every == 0 && p.next < cfg.min:
		return "refreshed before the minimum"
	case cfg.every == 0 && p.fresh > max(cfg.max, 2*cfg.min):
		return "fresh for longer than the maximum"
	case cfg.every > 0 && p.next > max(cfg.every, cfg.backoffMin):
		return "refreshed after the interval"
	default:
		return ""
	}
}

func TestRuleNames(t *testing.T) {
	tests := map[string]rule{
		"none":                            {},
		"max-age":                         {source: rfc9111.MaxAge},
		"refresh interval":                {source: rfc9111.MaxAge, override: byInterval},
		"no-cache, raised to the minimum": {source: rfc9111.NoCache, override: byMin},
		"expires, cut to the maximum":     {source: rfc9111.Expires, override: byMax},
		"the value's own expiry":          {source: rfc9111.NoStore, override: byValue},
	}
	for want, r := range tests {
		if got := r.String(); got != want {
			t.Errorf("%+v is %q, want %q", r, got, want)
		}
	}
}

func TestBackoff(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		n       int
		ceiling time.Duration // without jitter
	}{
		{1, 250 * ms},
		{2, 500 * ms},
		{3, time.Second},
		{4, 2 * time.Second},
		{10, 128 * time.Second},
		{11, 256 * time.Second},
		{12, 5 * time.Minute},
		{13, 5 * time.Minute},
		{1000, 5 * time.Minute},
		{1 << 30, 5 * time.Minute},
	}
	for _, tt := range tests {
		exact := freshConfig(func(c *config) { c.jitter = 0 })
		if got := backoff(exact, tt.n, freshFixed(0.1)); got != tt.ceiling {
			t.Errorf("failure %d: %v, want %v", tt.n, got, tt.ceiling)
		}
		full := freshConfig(nil)
		if got := backoff(full, tt.n, freshFixed(0)); got != 250*ms {
			t.Errorf("failure %d, least jitter: %v, want the floor", tt.n, got)
		}
		if got, want := backoff(full, tt.n, freshFixed(0.5)), (250*ms+tt.ceiling)/2; got != want {
			t.Errorf("failure %d, mean jitter: %v, want %v", tt.n, got, want)
		}
	}
}

func TestBackoffOfOneLength(t *testing.T) {
	cfg := freshConfig(func(c *config) { c.backoffMin, c.backoffMax = time.Minute, time.Minute })
	for n := range 20 {
		if got := backoff(cfg, n, rand.Float64); got != time.Minute {
			t.Errorf("failure %d: %v, want 1m0s", n, got)
		}
	}
}

// TestBackoffWithoutCap: callers can make any number of attempts fail in no time.
func TestBackoffWithoutCap(t *testing.T) {
	cfg := freshConfig(func(c *config) { c.jitter, c.backoffMax = 0, 1<<63-1 })
	last := time.Duration(0)
	for n := range 200 {
		got := backoff(cfg, n, freshFixed(0))
		if got < last {
			t.Fatalf("failure %d: %v after %v", n, got, last)
		}
		last = got
	}
}

func TestRetryDelay(t *testing.T) {
	now := time.Date(2000, 1, 1, 12, 0, 0, 0, time.UTC)
	status := func(code int, retryAfter string) error {
		h := http.Header{}
		if retryAfter != "" {
			h.Set("Retry-After", retryAfter)
		}
		return fmt.Errorf("wrapped: %w", &StatusError{Code: code, Header: h})
	}
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	plain := errors.New("refused")
	tests := map[string]struct {
		err  error
		n    int
		want time.Duration
	}{
		"back-off":                    {plain, 3, time.Second},
		"status without Retry-After":  {status(500, ""), 3, time.Second},
		"seconds":                     {status(429, "120"), 1, 2 * time.Minute},
		"date":                        {status(503, at(10*time.Minute)), 1, 10 * time.Minute},
		"any status":                  {status(404, "120"), 1, 2 * time.Minute},
		"below the back-off":          {status(503, "60"), 12, 5 * time.Minute},
		"zero":                        {status(503, "0"), 2, 500 * time.Millisecond},
		"date in the past":            {status(503, at(-time.Hour)), 2, 500 * time.Millisecond},
		"garbage":                     {status(503, "soon"), 2, 500 * time.Millisecond},
		"negative":                    {status(503, "-5"), 2, 500 * time.Millisecond},
		"an hour":                     {status(503, "3600"), 1, time.Hour},
		"capped":                      {status(503, "3601"), 1, time.Hour},
		"date capped":                 {status(503, at(48*time.Hour)), 1, time.Hour},
		"far too many":                {status(503, "99999999999999999999"), 1, time.Hour},
		"permanent":                   {Permanent(plain), 1, 15 * time.Minute},
		"permanent, wrapped":          {fmt.Errorf("decode: %w", Permanent(plain)), 5, 15 * time.Minute},
		"steered":                     {RetryAfter(plain, 7*time.Second), 20, 7 * time.Second},
		"steered for long":            {RetryAfter(plain, 20*time.Hour), 1, 20 * time.Hour},
		"steered below the floor":     {RetryAfter(plain, time.Millisecond), 9, 250 * time.Millisecond},
		"steered to the past":         {RetryAfter(plain, -time.Hour), 9, 250 * time.Millisecond},
		"decoder before the header":   {RetryAfter(status(503, "120"), 7*time.Second), 1, 7 * time.Second},
		"permanent before the header": {Permanent(status(503, "120")), 1, 15 * time.Minute},
	}
	cfg := freshConfig(func(c *config) { c.jitter = 0 })
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := retryDelay(cfg, tt.err, tt.n, now, freshFixed(0.9)); got != tt.want {
				t.Errorf("delay = %v, want %v", got, tt.want)
			}
		})
	}
}

// TestPermanentIsNotSoonerThanBackoff: the minimum may be shorter than the back-off.
func TestPermanentIsNotSoonerThanBackoff(t *testing.T) {
	cfg := freshConfig(func(c *config) { c.jitter, c.min = 0, time.Second })
	if got := retryDelay(cfg, Permanent(errors.New("x")), 12, time.Now(), random); got != 5*time.Minute {
		t.Errorf("delay = %v, want 5m0s", got)
	}
}

func TestRandomStaysInRange(t *testing.T) {
	seen := map[float64]bool{}
	for range 1000 {
		r := random()
		if r < 0 || r >= 1 {
			t.Fatalf("random() = %v", r)
		}
		seen[r] = true
	}
	if len(seen) < 900 {
		t.Errorf("%d different numbers of 1000", len(seen))
	}
}

// TestDefaultsOnThePage: the numbers that docs/httprc.md gives are those of the code.
func TestDefaultsOnThePage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "httprc.md"))
	if err != nil {
		t.Fatal(err)
	}
	d := defaults()
	for text, right := range map[string]bool{
		"`WithWorkers(n)`, 64 by default":        d.workers == 64,
		"`WithMaxPerHost(n)`, 4 by default":      d.perHost == 4,
		"64, 4 of them for one origin":           d.workers == 64 && d.perHost == 4,
		"the same 15 min and 30 days":            d.resource.min == 15*time.Minute && d.resource.max == 30*24*time.Hour,
		"30 s, `WithTimeout`":                    d.resource.timeout == 30*time.Second,
		"10 MiB, then `ErrTooLarge`":             d.resource.maxBytes == 10<<20,
		"10 ms, `WithRefreshWindow`":             d.window == 10*time.Millisecond,
		"up to 5 % early, or late where":         d.resource.jitter == 0.05,
		"the first is spread over half":          firstSpread == 0.5,
		"250 ms, doubling to 5 min":              d.resource.backoffMin == 250*time.Millisecond && d.resource.backoffMax == 5*time.Minute,
		"Retry-After up to an hour":              retryAfterMax == time.Hour,
		"3, never from https to http":            maxRedirects == 3,
		"a queue of 1024 whose overflow":         callbackQueue == 1024,
		"it waits at most 5 s for a stuck":       closeWait == 5*time.Second,
		"none, `WithProxy`":                      d.proxy == nil,
		"it waits for everything, at most 5 s":   closeWait == 5*time.Second,
		"Deadlines are exact to 10 ms":           d.window == 10*time.Millisecond,
		"holds 4 of 64 places, each for 30 s":    d.resource.timeout == 30*time.Second && d.perHost == 4 && d.workers == 64,
		"a back-off from 250 ms to 5 min":        d.resource.backoffMin == 250*time.Millisecond,
		"same, and at most the maximum":          d.resource.max > 0,
		"all http and https URLs without userin": len(d.resource.allow) == 0,
	} {
		if !right {
			t.Errorf("not so: %s", text)
		}
		if !strings.Contains(string(page), text) {
			t.Errorf("the page does not say: %s", text)
		}
	}
}
