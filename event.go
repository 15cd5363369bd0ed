package everfresh

import (
	"context"
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
	//	stale      a refresh failed after the freshness had ended; once until one succeeds
	//	expired    the value reached its limit and was withdrawn
	//	storage    the storage failed, or held a damaged record; Err says which
	//	overflow   reports were lost, as sink or observer did not keep up
	Kind string
	// Key names the resource as [RefreshError] does; empty for overflow.
	Key      string
	Time     time.Time     // when it happened; for a refresh, when the answer came
	Version  uint64        // of the value that is served
	Status   int           // of the answer
	Bytes    int           // of the body after decompression
	Duration time.Duration // from sending the request to the header of the answer
	Attempt  int           // failures in a row
	Next     time.Time     // when the resource is asked for again
	Dropped  int           // how many reports an overflow lost
	Err      error
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
