package everfresh_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
)

func TestRefreshErrorConditions(t *testing.T) {
	boom := errors.New("boom")
	status := &everfresh.StatusError{Code: 503}
	tests := []struct {
		name             string
		err              *everfresh.RefreshError
		is, isNot        []error
		asStatus, asCool bool
	}{
		{"no value", &everfresh.RefreshError{Err: boom}, []error{everfresh.ErrNotReady, boom}, []error{everfresh.ErrStale, everfresh.ErrClosed}, false, false},
		{"stale value", &everfresh.RefreshError{Stale: true, Err: boom}, []error{boom}, []error{everfresh.ErrNotReady, everfresh.ErrStale}, false, false},
		{"expired value", &everfresh.RefreshError{Err: fmt.Errorf("%w: %w", everfresh.ErrStale, boom)}, []error{everfresh.ErrNotReady, everfresh.ErrStale, boom}, nil, false, false},
		{"status", &everfresh.RefreshError{Err: status}, []error{everfresh.ErrNotReady}, nil, true, false},
		{"status, wrapped", &everfresh.RefreshError{Stale: true, Err: fmt.Errorf("x: %w", everfresh.Permanent(status))}, nil, []error{everfresh.ErrNotReady}, true, false},
		{"too large", &everfresh.RefreshError{Stale: true, Err: everfresh.ErrTooLarge}, []error{everfresh.ErrTooLarge}, []error{everfresh.ErrNotReady}, false, false},
		{"end of a wait", &everfresh.RefreshError{Err: fmt.Errorf("%w: last fetch: %w", context.Canceled, boom)}, []error{context.Canceled, boom, everfresh.ErrNotReady}, []error{context.DeadlineExceeded}, false, false},
		{"another resource's", &everfresh.RefreshError{Stale: true, Err: &everfresh.RefreshError{Err: boom}}, []error{boom, everfresh.ErrNotReady}, nil, false, false},
		{"cooling", &everfresh.RefreshError{Err: &everfresh.RateLimitError{}}, nil, []error{boom}, false, true},
		{"without a cause", &everfresh.RefreshError{}, []error{everfresh.ErrNotReady}, []error{boom}, false, false},
	}
	for _, tt := range tests {
		for _, err := range []error{tt.err, fmt.Errorf("caller: %w", tt.err), errors.Join(io.EOF, tt.err)} {
			for _, target := range tt.is {
				if !errors.Is(err, target) {
					t.Errorf("%s: %v is not %v", tt.name, err, target)
				}
			}
			for _, target := range tt.isNot {
				if errors.Is(err, target) {
					t.Errorf("%s: %v is %v", tt.name, err, target)
				}
			}
			var re *everfresh.RefreshError
			var se *everfresh.StatusError
			var ce *everfresh.RateLimitError
			if !errors.As(err, &re) || re != tt.err || errors.As(err, &se) != tt.asStatus || errors.As(err, &ce) != tt.asCool {
				t.Errorf("%s: errors.As finds %v, %v, %v", tt.name, re, se, ce)
			}
		}
	}
}

func TestErrorTexts(t *testing.T) {
	until := time.Date(2030, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	status := &everfresh.StatusError{Code: 503, Header: http.Header{"Set-Cookie": {"s3cr3t"}}}
	tests := []struct {
		err  error
		want string
	}{
		{&everfresh.RefreshError{Key: "jwks", Op: "fetch", Attempt: 3, Err: status}, `everfresh: fetch "jwks": unexpected status 503 Service Unavailable`},
		{&everfresh.RefreshError{Key: "a\nb", Op: "decode", Err: io.EOF}, `everfresh: decode "a\nb": EOF`},
		{&everfresh.RefreshError{Key: "k", Op: "wait", Err: context.Canceled}, `everfresh: wait "k": context canceled`},
		{status, "unexpected status 503 Service Unavailable"},
		{&everfresh.StatusError{Code: 799}, "unexpected status 799 "},
		{&everfresh.RateLimitError{Until: until}, "everfresh: limit of Newer reached, next fetch at 2030-01-02T02:04:05Z"},
		{everfresh.Permanent(io.EOF), "EOF"},
		{everfresh.RetryAfter(io.EOF, time.Hour), "EOF"},
		{everfresh.ErrNotRegistered, "not registered: did you make sure to call Register() first?"},
	}
	for _, tt := range tests {
		if got := tt.err.Error(); strings.TrimSpace(got) != strings.TrimSpace(tt.want) {
			t.Errorf("text %q, want %q", got, tt.want)
		}
		if got := tt.err.Error(); got != strings.TrimSpace(got) {
			t.Errorf("text %q ends in a space", got)
		}
		for _, format := range []string{"%v", "%+v", "%s"} {
			if got := fmt.Sprintf(format, tt.err); got != tt.err.Error() {
				t.Errorf("%s shows %q, want the text", format, got)
			}
		}
	}
	if got := fmt.Sprintf("%#v", &everfresh.RefreshError{Key: "k", Op: "fetch", Err: status}); got != `everfresh: fetch "k": unexpected status 503 Service Unavailable` {
		t.Errorf("%%#v shows %s", got)
	}
	if got := fmt.Sprintf("%#v", status); strings.Contains(got, "s3cr3t") {
		t.Errorf("%%#v shows %s", got)
	}
}

func TestSteeringOfNothing(t *testing.T) {
	if everfresh.Permanent(nil) != nil || everfresh.RetryAfter(nil, time.Hour) != nil {
		t.Error("no error was turned into one")
	}
	for _, err := range []error{everfresh.Permanent(io.EOF), everfresh.RetryAfter(io.EOF, 1)} {
		if !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%#v is not the error it marks", err)
		}
	}
}

// What a decoder, a transformer or a request function says of the schedule is obeyed.
func TestSteering(t *testing.T) {
	boom := errors.New("boom")
	tests := []struct {
		name string
		err  error
		next time.Duration
	}{
		{"plain", boom, 250 * time.Millisecond},
		{"permanent", everfresh.Permanent(boom), 15 * time.Minute},
		{"permanent, wrapped", fmt.Errorf("x: %w", everfresh.Permanent(boom)), 15 * time.Minute},
		{"after an hour", everfresh.RetryAfter(boom, time.Hour), time.Hour},
		{"after two hours", everfresh.RetryAfter(boom, 2*time.Hour), 2 * time.Hour},
		{"at once: the floor", everfresh.RetryAfter(boom, 0), 250 * time.Millisecond},
		{"in the past: the floor", everfresh.RetryAfter(boom, -time.Hour), 250 * time.Millisecond},
	}
	for _, tt := range tests {
		for _, where := range []string{"decode", "request", "fetch"} {
			t.Run(tt.name+"/"+where, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					opts := []everfresh.RegisterOption{everfresh.WithPrefetch(false)}
					switch where {
					case "request":
						opts = append(opts, everfresh.WithRequest(func(context.Context, *everfresh.Snapshot[any]) (*http.Request, error) {
							return nil, tt.err
						}))
					case "fetch":
						opts = append(opts, everfresh.WithMiddleware(func(everfresh.Fetcher) everfresh.Fetcher {
							return everfresh.FetcherFunc(func(*http.Request) (*http.Response, error) { return nil, tt.err })
						}))
					}
					c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(everfreshtest.Client(everfreshtest.Text("x"))), everfresh.WithJitter(0))
					r := everfreshtest.Register(t, c, "https://a.test/", func(context.Context, *http.Response) (int, error) { return 0, tt.err }, opts...)
					_, err := r.Get(t.Context())
					var re *everfresh.RefreshError
					if !errors.As(err, &re) || re.Op != where || re.Attempt != 1 || !errors.Is(err, boom) {
						t.Fatalf("error = %#v", err)
					}
					if got := time.Until(re.Next); got != tt.next || !r.Status().Next.Equal(re.Next) {
						t.Errorf("next in %v, status says %v; want %v", got, time.Until(r.Status().Next), tt.next)
					}
				})
			})
		}
	}
}

// A middleware steers also what came of a time-out.
func TestSteeringOfATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, everfresh.RetryAfter(req.Context().Err(), time.Hour)
		})
		c := everfreshtest.NewCache(t, everfresh.WithFetcher(hang), everfresh.WithTimeout(time.Second))
		_, err := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes()).Get(t.Context())
		var re *everfresh.RefreshError
		if !errors.As(err, &re) || !errors.Is(err, context.DeadlineExceeded) || time.Until(re.Next) != time.Hour {
			t.Errorf("error = %v, next in %v", err, time.Until(re.Next))
		}
	})
}

// What is hidden of an error for the URL in it is not what it says of the schedule.
func TestSteeringOfErrorsWithAURL(t *testing.T) {
	quoting := &url.Error{Op: "Get", URL: "https://b.test/?secret=s", Err: io.EOF}
	for _, tt := range []struct {
		err  error
		next time.Duration
	}{
		{quoting, 250 * time.Millisecond},
		{everfresh.Permanent(quoting), 15 * time.Minute},
		{fmt.Errorf("token: %w", everfresh.RetryAfter(fmt.Errorf("call: %w", quoting), time.Hour)), time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := everfreshtest.NewCache(t, everfresh.WithHTTPClient(everfreshtest.Client(everfreshtest.Text("x"))), everfresh.WithJitter(0))
			r := everfreshtest.Register(t, c, "https://a.test/", func(context.Context, *http.Response) (int, error) { return 0, tt.err }, everfresh.WithPrefetch(false))
			_, err := r.Get(t.Context())
			if !errors.Is(err, io.EOF) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error = %v, want EOF without the URL", err)
			}
			if got := time.Until(r.Status().Next); got != tt.next {
				t.Errorf("%v: next in %v, want %v", tt.err, got, tt.next)
			}
		})
	}
}

// errsinkLog returns a logger and what it wrote, with a fixed time.
func errsinkLog(format string, level slog.Level) (*slog.Logger, *bytes.Buffer) {
	var out bytes.Buffer
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(&out, opts)), &out
	}
	return slog.New(slog.NewTextHandler(&out, opts)), &out
}

func TestLogSinkOutput(t *testing.T) {
	next := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	fresh := &everfresh.RefreshError{Key: "jwks", Op: "fetch", Attempt: 2, Next: next, Err: &everfresh.StatusError{Code: 503}}
	stale := *fresh
	stale.Stale = true
	tests := []struct {
		name       string
		err        error
		text, json string
	}{
		{
			"no value", fresh,
			`level=ERROR msg="refresh failed" key=jwks op=fetch attempt=2 next=2030-01-02T03:04:05.000Z stale=false err="unexpected status 503 Service Unavailable"`,
			`{"level":"ERROR","msg":"refresh failed","key":"jwks","op":"fetch","attempt":2,"next":"2030-01-02T03:04:05Z","stale":false,"err":"unexpected status 503 Service Unavailable"}`,
		},
		{
			"value", &stale,
			`level=WARN msg="refresh failed" key=jwks op=fetch attempt=2 next=2030-01-02T03:04:05.000Z stale=true err="unexpected status 503 Service Unavailable"`,
			`{"level":"WARN","msg":"refresh failed","key":"jwks","op":"fetch","attempt":2,"next":"2030-01-02T03:04:05Z","stale":true,"err":"unexpected status 503 Service Unavailable"}`,
		},
		{
			"wrapped", fmt.Errorf("mine: %w", &stale),
			`level=WARN msg="refresh failed" key=jwks op=fetch attempt=2 next=2030-01-02T03:04:05.000Z stale=true err="unexpected status 503 Service Unavailable"`,
			`{"level":"WARN","msg":"refresh failed","key":"jwks","op":"fetch","attempt":2,"next":"2030-01-02T03:04:05Z","stale":true,"err":"unexpected status 503 Service Unavailable"}`,
		},
		{"another", io.EOF, `level=ERROR msg=everfresh err=EOF`, `{"level":"ERROR","msg":"everfresh","err":"EOF"}`},
	}
	for _, tt := range tests {
		for format, want := range map[string]string{"text": tt.text, "json": tt.json} {
			l, out := errsinkLog(format, slog.LevelDebug)
			everfresh.LogSink(l).Error(tt.err)
			if got := strings.TrimSpace(out.String()); got != want {
				t.Errorf("%s:\n%s, want\n%s", tt.name, got, want)
			}
		}
	}
}

// A sink must not fail for an error that a caller made by hand.
func TestLogSinkTakesAnErrorWithoutACause(t *testing.T) {
	l, out := errsinkLog("text", slog.LevelDebug)
	everfresh.LogSink(l).Error(&everfresh.RefreshError{Key: "k", Op: "fetch"})
	if !strings.Contains(out.String(), "key=k") {
		t.Errorf("logged %q", out)
	}
}

func TestLogObserverOutput(t *testing.T) {
	next := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	err := &everfresh.RefreshError{Key: "jwks", Op: "fetch", Attempt: 2, Next: next, Err: io.EOF}
	good := ` key=jwks version=7 status=200 bytes=12 duration=1.5s next=2030-01-02T03:04:05.000Z`
	bad := good + ` attempt=2 err="everfresh: fetch \"jwks\": EOF"`
	tests := []struct {
		kind string
		err  error
		lost int
		want string
	}{
		{"fetched", nil, 0, "level=INFO msg=fetched" + good},
		{"unchanged", nil, 0, "level=DEBUG msg=unchanged" + good},
		{"failed", err, 0, "level=WARN msg=failed" + bad},
		{"stale", err, 0, "level=WARN msg=stale" + bad},
		{"expired", err, 0, "level=WARN msg=expired" + bad},
		{"storage", err, 0, "level=WARN msg=storage" + bad},
		{"overflow", err, 9, "level=WARN msg=overflow" + bad + " dropped=9"},
		{"of a later version", nil, 0, `level=WARN msg="of a later version"` + good},
	}
	for _, tt := range tests {
		l, out := errsinkLog("text", slog.LevelDebug)
		everfresh.LogObserver(l)(everfresh.Event{
			Kind: tt.kind, Key: "jwks", Version: 7, Status: 200, Bytes: 12, Duration: 1500 * time.Millisecond,
			Attempt: 2, Next: next, Err: tt.err, Dropped: tt.lost,
		})
		if got := strings.TrimSpace(out.String()); got != tt.want {
			t.Errorf("%s:\n%s, want\n%s", tt.kind, got, tt.want)
		}
	}
	l, out := errsinkLog("text", slog.LevelInfo)
	everfresh.LogObserver(l)(everfresh.Event{Kind: "unchanged"})
	if out.Len() != 0 {
		t.Errorf("logged at info: %s", out)
	}
}

// What sink and observer are told of one failure, a recovery and a confirmation.
func TestSinkAndObserverOfARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l everfreshtest.Recorder
		origin := everfreshtest.NewOrigin(everfreshtest.Status(503, "Retry-After", "60"), everfreshtest.Text("abc", "ETag", `"1"`), everfreshtest.Status(304), everfreshtest.Status(500))
		c := everfreshtest.NewCache(t, append(l.Options(), origin.Option(), everfresh.WithJitter(0))...)
		r := everfreshtest.Register(t, c, "https://a.test/x?secret=s", everfresh.Bytes(), everfresh.WithPrefetch(false))
		for range 4 {
			_ = r.Refresh(t.Context())
			time.Sleep(time.Second)
		}
		synctest.Wait()
		const name = "https://a.test/x?secret=…"
		version := r.Snapshot().Version
		want := []struct {
			kind            string
			status, bytes   int
			version         uint64
			attempt         int
			next            time.Duration
			err             bool
			stale, notReady bool
		}{
			{"failed", 503, 0, 0, 1, time.Minute, true, false, true},
			{"fetched", 200, 3, version, 0, 15 * time.Minute, false, false, false},
			{"unchanged", 304, 0, version, 0, 15 * time.Minute, false, false, false},
			{"failed", 500, 0, version, 1, 250 * time.Millisecond, true, true, false},
		}
		events := l.Events("")
		if len(events) < len(want) {
			t.Fatalf("%d events, want at least %d: %+v", len(events), len(want), events)
		}
		var errs []error
		for i, w := range want {
			ev := events[i]
			if ev.Kind != w.kind || ev.Key != name || ev.Status != w.status || ev.Bytes != w.bytes || ev.Version != w.version || ev.Attempt != w.attempt {
				t.Errorf("event %d = %+v, want %+v", i, ev, w)
			}
			if got := ev.Next.Sub(ev.Time); got != w.next {
				t.Errorf("event %d: next after %v, want %v", i, got, w.next)
			}
			if (ev.Err != nil) != w.err {
				t.Errorf("event %d: error %v", i, ev.Err)
			}
			if ev.Err == nil {
				continue
			}
			errs = append(errs, ev.Err)
			var re *everfresh.RefreshError
			if !errors.As(ev.Err, &re) || re.Key != name || re.Op != "fetch" || re.Stale != w.stale || errors.Is(re, everfresh.ErrNotReady) != w.notReady {
				t.Errorf("event %d: error %+v", i, re)
			}
		}
		told := l.Errors()
		for i, err := range errs {
			if i >= len(told) || told[i] != err { //nolint:errorlint // The very same.
				t.Errorf("the sink got %v, want the observer's errors %v", told, errs)
				break
			}
		}
	})
}

// Reports that do not fit are counted, exactly, and the count is reported once there is
// room, in their place.
func TestOverflowIsCounted(t *testing.T) {
	const queued, lost = 1024, 77
	for _, both := range []bool{false, true} {
		t.Run(strconv.FormatBool(both), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l everfreshtest.Recorder
				release := make(chan struct{})
				opts := []everfresh.CacheOption{
					everfresh.WithErrSink(everfresh.ErrSinkFunc(func(err error) {
						<-release
						l.Error(err)
					})),
					everfresh.WithHTTPClient(everfreshtest.Client(everfreshtest.Status(500))), everfresh.WithJitter(0),
					everfresh.WithBackoff(time.Hour, time.Hour),
				}
				perFailure := 1
				if both {
					opts = append(opts, everfresh.WithObserver(func(ev everfresh.Event) {
						<-release
						l.Observe(ev)
					}))
					perFailure = 2
				}
				c := everfreshtest.NewCache(t, opts...)
				r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithPrefetch(false))
				failures := 0
				for posts := 0; posts < 1+queued+lost; posts += perFailure {
					if err := r.Refresh(t.Context()); err == nil {
						t.Fatal("no failure")
					}
					failures++
					synctest.Wait() // the first report is with the sink now, the others behind it
				}
				close(release)
				synctest.Wait()
				posted := failures * perFailure
				dropped := posted - 1 - queued
				errs := l.Errors()
				last := errs[len(errs)-1]
				if want := fmt.Sprintf("%d reports lost", dropped); !strings.Contains(last.Error(), want) {
					t.Errorf("last report %q, want %q", last, want)
				}
				if got := len(errs) - 1 + len(l.Events("failed")); got != 1+queued {
					t.Errorf("%d reports arrived, want %d", got, 1+queued)
				}
				if both {
					ev := l.Events("overflow")
					if len(ev) != 1 || ev[0].Dropped != dropped || ev[0].Err == nil || ev[0].Time.IsZero() {
						t.Errorf("overflow events: %+v, want one of %d", ev, dropped)
					}
				}
				if err := r.Refresh(t.Context()); err == nil {
					t.Fatal("no failure")
				}
				synctest.Wait()
				if got := l.Errors(); len(got) != len(errs)+1 || strings.Contains(got[len(got)-1].Error(), "lost") {
					t.Errorf("after the overflow the sink got %v", got[len(errs):])
				}
			})
		})
	}
}

// Reports about the callbacks themselves say nothing about the value.
func TestReportsOfCallbacksAreNotAboutTheValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l everfreshtest.Recorder
		c := everfreshtest.NewCache(t, everfresh.WithErrSink(&l), everfresh.WithHTTPClient(everfreshtest.Client(everfreshtest.Text("x"))),
			everfresh.WithObserver(func(everfresh.Event) { panic("observer") }))
		r := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes())
		if _, err := r.Get(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		errs := l.Errors()
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), "observer") {
			t.Fatalf("the sink got %v", errs)
		}
		if errors.Is(errs[0], everfresh.ErrNotReady) {
			t.Errorf("%v is ErrNotReady, and there is a value", errs[0])
		}
	})
}

// Every exported sentinel is its own.
func TestSentinelsDiffer(t *testing.T) {
	sentinels := []error{
		everfresh.ErrNotRegistered, everfresh.ErrRegistered, everfresh.ErrNotAllowed, everfresh.ErrNotReady,
		everfresh.ErrStale, everfresh.ErrTooLarge, everfresh.ErrClosed,
	}
	for i, a := range sentinels {
		for j, b := range sentinels {
			if errors.Is(a, b) != (i == j) {
				t.Errorf("errors.Is(%v, %v) = %v", a, b, i != j)
			}
		}
	}
}
