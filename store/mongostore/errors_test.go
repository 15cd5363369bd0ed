package mongostore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/everfresh-go/everfresh/store"
)

// canary is a text that no error may contain.
const canary = "canary-in-the-coal-mine"

func writeError(code int) error {
	return mongo.WriteException{WriteErrors: mongo.WriteErrors{{Code: code, Message: "E" + fmt.Sprint(code) + " dup key: { _id: \"" + canary + "\" }"}}}
}

func commandError(code int32, labels ...string) error {
	return mongo.CommandError{Code: code, Message: canary, Name: canary, Labels: labels, Wrapped: errors.New(canary)}
}

func unconfirmedError(code int, writes ...mongo.WriteError) error {
	return mongo.WriteException{WriteErrors: writes, WriteConcernError: &mongo.WriteConcernError{Code: code, Message: canary}}
}

func TestClassify(t *testing.T) {
	timeout := &net.OpError{Op: "read", Err: context.DeadlineExceeded}
	for name, tt := range map[string]struct {
		err  error
		want error // nil for an *Error that is permanent
		code int   // of the *Error
		text string
	}{
		"absent":                  {err: mongo.ErrNoDocuments, want: store.ErrNotFound, text: "item not found"},
		"disconnected":            {err: fmt.Errorf("%s: %w", canary, mongo.ErrClientDisconnected), want: store.ErrClosed, text: "storage is closed"},
		"missed":                  {err: errMissed, want: errMissed, text: "the write found another version"},
		"foreign":                 {err: errForeign, want: store.ErrCorrupt, text: "mongostore: op: item is corrupt: not a document of this package"},
		"too large":               {err: writeError(10334), want: store.ErrTooLarge, text: "key or value is too large"},
		"duplicate key":           {err: writeError(11000), code: 11000, text: "mongostore: op: code 11000, another unique index of the collection rejected the document"},
		"not primary":             {err: commandError(10107), want: store.ErrUnavailable, code: 10107, text: "mongostore: op: storage is unavailable: code 10107, the server is not the primary"},
		"stepped down":            {err: writeError(189), want: store.ErrUnavailable, code: 189, text: "mongostore: op: storage is unavailable: code 189"},
		"no majority":             {err: unconfirmedError(64), want: store.ErrUnavailable, code: 64, text: "mongostore: op: storage is unavailable: code 64, the majority did not answer"},
		"no majority, other code": {err: unconfirmedError(79), want: store.ErrUnavailable, code: 79, text: "mongostore: op: storage is unavailable: code 79"},
		"no rights":               {err: commandError(13), code: 13, text: "mongostore: op: code 13, permission denied"},
		"unknown code":            {err: commandError(4711), code: 4711, text: "mongostore: op: code 4711"},
		"label of the server":     {err: commandError(4711, "RetryableWriteError"), want: store.ErrUnavailable, code: 4711, text: "mongostore: op: storage is unavailable: code 4711"},
		"network":                 {err: commandError(0, "NetworkError"), want: store.ErrUnavailable, text: "mongostore: op: storage is unavailable: no connection"},
		"end of file":             {err: fmt.Errorf("%s: %w", canary, io.ErrUnexpectedEOF), want: store.ErrUnavailable, text: "mongostore: op: storage is unavailable: no connection"},
		"timeout":                 {err: timeout, want: store.ErrUnavailable, text: "mongostore: op: storage is unavailable: no answer in time"},
		"pool":                    {err: poolError{}, want: store.ErrUnavailable, text: "mongostore: op: storage is unavailable: no connection"},
		"anything else":           {err: errors.New(canary), text: "mongostore: op: the driver failed with a *errors.errorString"},
	} {
		t.Run(name, func(t *testing.T) {
			got := classify(t.Context(), "op", tt.err)
			if got == nil || got.Error() != tt.text {
				t.Fatalf("the error is %q, want %q", got, tt.text)
			}
			var e *Error
			isError := errors.As(got, &e)
			switch {
			case tt.want != nil && !errors.Is(got, tt.want):
				t.Errorf("it is not %v", tt.want)
			case tt.want == nil && (!isError || e.Unwrap() != nil):
				t.Errorf("it is %#v, want an *Error that is permanent", got)
			case isError && (e.Code != tt.code || e.Op != "op"):
				t.Errorf("its code is %d and its operation %s, want %d and op", e.Code, e.Op, tt.code)
			}
			for ; got != nil; got = errors.Unwrap(got) {
				if text := fmt.Sprintf("%v %+v %#v", got, got, got); strings.Contains(text, canary) {
					t.Errorf("it quotes a document: %s", text)
				}
			}
		})
	}
}

// poolError is like the driver's own, which it does not export.
type poolError struct{}

func (poolError) Error() string   { return canary }
func (poolError) Retryable() bool { return true }

// TestDuplicateIsMissed proves that a write counts as refused only if it surely was.
func TestDuplicateIsMissed(t *testing.T) {
	duplicate := mongo.WriteError{Code: 11000}
	for name, tt := range map[string]struct {
		err    error
		missed bool
	}{
		"success":                    {nil, false},
		"a duplicate key":            {writeError(11000), true},
		"in a command":               {commandError(11000), true},
		"another error":              {writeError(121), false},
		"a duplicate, not confirmed": {unconfirmedError(64, duplicate), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := duplicateIsMissed(tt.err); errors.Is(got, errMissed) != tt.missed || (got == nil) != (tt.err == nil) {
				t.Errorf("the error is %v, want missed: %t", got, tt.missed)
			}
		})
	}
}

// TestEnded has a driver that gives up before the deadline of the caller, or for
// another reason.
func TestEnded(t *testing.T) {
	gaveUp := fmt.Errorf("it would pass: %w", context.DeadlineExceeded)
	for name, tt := range map[string]struct {
		left time.Duration // until the deadline; 0 for none
		err  error
		want error
	}{
		"no deadline":                 {0, gaveUp, store.ErrUnavailable},
		"too near for a round trip":   {time.Millisecond, gaveUp, context.DeadlineExceeded},
		"far off":                     {time.Minute, gaveUp, store.ErrUnavailable},
		"near, for another reason":    {time.Millisecond, io.EOF, store.ErrUnavailable},
		"passed, whatever the driver": {-time.Nanosecond, io.EOF, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if tt.left != 0 {
					ctx = deadlined{ctx, time.Now().Add(tt.left)}
				}
				if err := classify(ctx, "op", tt.err); !errors.Is(err, tt.want) {
					t.Errorf("the error is %v, want %v", err, tt.want)
				}
			})
		})
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := classify(canceled, "op", io.EOF); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v, want %v", err, context.Canceled)
	}
}

// A deadlined context has a deadline whose timer does not fire.
type deadlined struct {
	context.Context //nolint:containedctx // It is one.
	deadline        time.Time
}

func (d deadlined) Deadline() (time.Time, bool) { return d.deadline, true }
