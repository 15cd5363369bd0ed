package everfresh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

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
