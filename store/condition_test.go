package store_test

import (
	"testing"

	"github.com/everfresh-go/everfresh/store"
)

func TestCondition(t *testing.T) {
	for _, tt := range []struct {
		name               string
		cond               store.Condition
		absent, v1, v2     bool // whether it holds for an absent key, version 1, version 2
		want               store.Version
		conditional, isAny bool
	}{
		{name: "zero", cond: store.Condition{}, absent: true, v1: true, v2: true, isAny: true},
		{name: "Any", cond: store.Any(), absent: true, v1: true, v2: true, isAny: true},
		{name: "IfAbsent", cond: store.IfAbsent(), absent: true, conditional: true},
		{name: "IfVersion", cond: store.IfVersion("1"), v1: true, want: "1", conditional: true},
		{name: "IfVersion of absent", cond: store.IfVersion(store.Item{}.Version), absent: true, conditional: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for current, want := range map[store.Version]bool{"": tt.absent, "1": tt.v1, "2": tt.v2} {
				if got := tt.cond.Holds(current); got != want {
					t.Errorf("Holds(%q) = %t, want %t", current, got, want)
				}
			}
			if v, ok := tt.cond.Want(); v != tt.want || ok != tt.conditional {
				t.Errorf("Want() = %q, %t, want %q, %t", v, ok, tt.want, tt.conditional)
			}
			if got := tt.cond == store.Any(); got != tt.isAny {
				t.Errorf("== Any() is %t, want %t", got, tt.isAny)
			}
		})
	}
	if store.IfAbsent() != store.IfVersion("") {
		t.Error("IfAbsent() and IfVersion(\"\") differ")
	}
}
