package store_test

import (
	"context"
	"io"
	"testing"

	"github.com/everfresh-go/everfresh/store"
)

// A committer is a power with a second way to write.
type committer interface {
	Commit(value string)
}

// A base store has the powers Commit, Ping and Close.
type base struct {
	store.Memory
	committed string
}

func (b *base) Commit(value string) { b.committed = value }

// plain wraps a store and has no As: it refuses every power.
type plain struct{ store.Storage }

// sealer wraps a store as one that encrypts would: it forwards Ping, wraps
// Commit, and refuses all else, Close included.
type sealer struct{ store.Storage }

func (s sealer) As(target any) bool {
	switch p := target.(type) {
	case *store.Pinger:
		inner, ok := store.As[store.Pinger](s.Storage)
		*p = inner
		return ok
	case *committer:
		inner, ok := store.As[committer](s.Storage)
		*p = sealedCommitter{inner}
		return ok
	}
	return false
}

type sealedCommitter struct{ inner committer }

func (c sealedCommitter) Commit(value string) { c.inner.Commit("sealed " + value) }

// own has a power itself, and an As that would answer otherwise.
type own struct{ sealer }

func (own) Ping(context.Context) error { return store.ErrUnavailable }

func TestAs(t *testing.T) {
	for _, tt := range []struct {
		name                string
		store               store.Storage
		ping, commit, close bool
	}{
		{"nil", nil, false, false, false},
		{"the store itself", new(base), true, true, true},
		{"a store with fewer powers", new(store.Memory), true, false, true},
		{"a wrapper without As refuses", plain{new(base)}, false, false, false},
		{"a wrapper forwards, wraps and refuses", sealer{new(base)}, true, true, false},
		{"a wrapper has no power its store lacks", sealer{new(store.Memory)}, true, false, false},
		{"a wrapper of a wrapper asks it", sealer{sealer{new(base)}}, true, true, false},
		{"a wrapper of a wrapper that refuses", sealer{plain{new(base)}}, false, false, false},
		{"a wrapper that refuses a wrapper", plain{sealer{new(base)}}, false, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for power, got := range map[string][2]bool{
				"Ping":   {hasPower[store.Pinger](t, tt.store), tt.ping},
				"Commit": {hasPower[committer](t, tt.store), tt.commit},
				"Close":  {hasPower[io.Closer](t, tt.store), tt.close},
			} {
				if got[0] != got[1] {
					t.Errorf("%s: As reports %t, want %t", power, got[0], got[1])
				}
			}
		})
	}
}

// hasPower also checks that a refused power is nil, whatever the wrapper set.
func hasPower[P any](t *testing.T, s store.Storage) bool {
	t.Helper()
	p, ok := store.As[P](s)
	if (any(p) != nil) != ok {
		t.Errorf("As[%T] = %v, %t", &p, p, ok)
	}
	return ok
}

func TestAsWrapsAPower(t *testing.T) {
	inner := new(base)
	c, ok := store.As[committer](sealer{sealer{inner}})
	if !ok {
		t.Fatal("the wrapper refuses Commit")
	}
	c.Commit("token")
	if want := "sealed sealed token"; inner.committed != want {
		t.Errorf("the inner store got %q, want %q", inner.committed, want)
	}
}

func TestAsForwardsAPower(t *testing.T) {
	inner := new(base)
	p, ok := store.As[store.Pinger](sealer{inner})
	if !ok {
		t.Fatal("the wrapper refuses Ping")
	}
	if err := inner.Close(); err != nil {
		t.Fatal(err)
	}
	if err := wantErr(p.Ping(t.Context()), store.ErrClosed); err != nil {
		t.Error(err)
	}
}

func TestAsPrefersTheStoreItself(t *testing.T) {
	p, ok := store.As[store.Pinger](own{sealer{new(base)}})
	if !ok {
		t.Fatal("the store is no Pinger")
	}
	if err := wantErr(p.Ping(t.Context()), store.ErrUnavailable); err != nil {
		t.Error(err)
	}
}

func TestAsConcreteStore(t *testing.T) {
	m := new(store.Memory)
	if got, ok := store.As[*store.Memory](m); !ok || got != m {
		t.Errorf("As[*Memory] of a Memory = %p, %t, want %p", got, ok, m)
	}
	if _, ok := store.As[*store.Memory](sealer{m}); ok {
		t.Error("As[*Memory] reached through a wrapper")
	}
}
