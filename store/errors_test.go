package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/everfresh-go/everfresh/store"
)

func TestConflictError(t *testing.T) {
	for _, tt := range []struct {
		current store.Version
		text    string
	}{
		{"", "version conflict: item is absent"},
		{"0xSECRET", "version conflict: item has another version"},
	} {
		err := fmt.Errorf("storing: %w", &store.ConflictError{Current: tt.current})
		var conflict *store.ConflictError
		if !errors.As(err, &conflict) || conflict.Current != tt.current || !errors.Is(err, store.ErrConflict) {
			t.Errorf("%v: not found as a *ConflictError with version %q that is ErrConflict", err, tt.current)
			continue
		}
		if got := conflict.Error(); got != tt.text {
			t.Errorf("text = %q, want %q", got, tt.text)
		}
	}
}

func TestSentinelsAreDistinct(t *testing.T) {
	sentinels := []error{
		store.ErrNotFound, store.ErrConflict, store.ErrCorrupt, store.ErrKeyUnavailable,
		store.ErrTooLarge, store.ErrUnavailable, store.ErrClosed,
	}
	for i, err := range sentinels {
		for j, other := range sentinels {
			if is := errors.Is(err, other); is != (i == j) {
				t.Errorf("errors.Is(%v, %v) = %t", err, other, is)
			}
		}
		if text := err.Error(); text == "" || strings.ToLower(text) != text {
			t.Errorf("text %q is empty or not in lower case", text)
		}
	}
}
