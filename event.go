package everfresh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// An Event is what an observer is told. Fields that do not apply are zero.
type Event struct {
	// Kind is one of
	//
	//	fetched    a new value was published
	//	unchanged  the origin confirmed the value, by a 304 or by the same bytes
	//	failed     a refresh failed; Err says why
	//	stale      the value outlived its freshness, and the refresh failed
	//	expired    the value must no longer be served
	//	storage    the storage failed, or held a damaged record; Err says which
	//	overflow   reports were lost, as sink or observer did not keep up
	Kind string
	// Key names the resource as [RefreshError] does; empty for overflow.
	Key      string
	Time     time.Time
	Version  uint64        // of the value that is served
	Status   int           // of the answer
	Bytes    int           // of the decoded body
	Duration time.Duration // of the refresh
	Attempt  int           // failures in a row
	Next     time.Time     // when the resource is asked for again
	Dropped  int           // how many reports an overflow lost
	Err      error
}

// LogSink returns an [ErrSink] that logs every failure to l, as a warning while an
// older value is served and as an error otherwise.
func LogSink(l *slog.Logger) ErrSink {
	return ErrSinkFunc(func(err error) {
		var re *RefreshError
		if !errors.As(err, &re) {
			l.Error("everfresh", slog.Any("err", err))
			return
		}
		level := slog.LevelError
		if re.Stale {
			level = slog.LevelWarn
		}
		l.LogAttrs(context.Background(), level, "refresh failed",
			slog.String("key", re.Key), slog.String("op", re.Op), slog.Int("attempt", re.Attempt),
			slog.Time("next", re.Next), slog.Bool("stale", re.Stale), slog.String("err", fmt.Sprint(re.Err)))
	})
}

// LogObserver returns an observer that logs every event to l: fetched as info,
// unchanged as debug, everything else as a warning.
func LogObserver(l *slog.Logger) func(Event) {
	return func(ev Event) {
		attrs := []slog.Attr{
			slog.String("key", ev.Key), slog.Uint64("version", ev.Version), slog.Int("status", ev.Status),
			slog.Int("bytes", ev.Bytes), slog.Duration("duration", ev.Duration), slog.Time("next", ev.Next),
		}
		if ev.Err != nil {
			attrs = append(attrs, slog.Int("attempt", ev.Attempt), slog.String("err", ev.Err.Error()))
		}
		if ev.Dropped > 0 {
			attrs = append(attrs, slog.Int("dropped", ev.Dropped))
		}
		l.LogAttrs(context.Background(), levelOf(ev.Kind), ev.Kind, attrs...)
	}
}

func levelOf(kind string) slog.Level {
	switch kind {
	case "fetched":
		return slog.LevelInfo
	case "unchanged":
		return slog.LevelDebug
	default:
		return slog.LevelWarn
	}
}
