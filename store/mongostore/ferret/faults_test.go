package ferret_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/mongostore"
)

// calls has every method of a store.
func calls(s *mongostore.Store) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"Load":  func(ctx context.Context) error { _, err := s.Load(ctx, "k"); return err },
		"Store": func(ctx context.Context) error { _, err := s.Store(ctx, "k", []byte("lost"), store.Any()); return err },
		"Store with IfAbsent": func(ctx context.Context) error {
			_, err := s.Store(ctx, "other", []byte("lost"), store.IfAbsent())
			return err
		},
		"Delete":               func(ctx context.Context) error { return s.Delete(ctx, "absent", store.Any()) },
		"Delete with IfAbsent": func(ctx context.Context) error { return s.Delete(ctx, "absent", store.IfAbsent()) },
		"List": func(ctx context.Context) error {
			for _, err := range s.List(ctx, "") {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"Ping": s.Ping,
	}
}

// TestConnectionIsCut loses a request, or its answer: then the write took effect.
func TestConnectionIsCut(t *testing.T) {
	for name, tt := range map[string]struct {
		fault fault
		done  bool
	}{
		"before the server has it": {dropRequest, false},
		"after it has answered":    {dropResponse, true},
	} {
		t.Run(name, func(t *testing.T) {
			server := startServer(t)
			s := newStore(t, server.collection(t, "cut"))
			cut := func(cmd string, call func() error) {
				t.Helper()
				server.fail(func(c string) fault {
					if c == cmd {
						return tt.fault
					}
					return none
				})
				err := call()
				server.fail(nil)
				wantTemporary(t, err)
			}
			want := func(done, otherwise string) {
				t.Helper()
				if !tt.done {
					done = otherwise
				}
				item, err := s.Load(t.Context(), "k")
				if err != nil && !errors.Is(err, store.ErrNotFound) || string(item.Value) != done {
					t.Errorf("there is %q, %v, want %q", item.Value, err, done)
				}
			}
			cut("insert", func() error { _, err := s.Store(t.Context(), "k", []byte("new"), store.IfAbsent()); return err })
			want("new", "")
			version := put(t, s, "old")
			cut("update", func() error {
				_, err := s.Store(t.Context(), "k", []byte("newer"), store.IfVersion(version))
				return err
			})
			want("newer", "old")
			put(t, s, "old")
			cut("update", func() error { _, err := s.Store(t.Context(), "k", []byte("newest"), store.Any()); return err })
			want("newest", "old")
			put(t, s, "old")
			cut("delete", func() error { return s.Delete(t.Context(), "k", store.Any()) })
			want("", "old")
		})
	}
}

func TestServerIsDown(t *testing.T) {
	server := startServer(t)
	s := newStore(t, server.collection(t, "down", options.Client().SetServerSelectionTimeout(100*time.Millisecond)))
	older := put(t, s, "old")
	server.down()
	start := time.Now()
	for name, call := range calls(s) {
		if err := call(t.Context()); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s = %v, want %v", name, err, store.ErrUnavailable)
		}
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("the calls took %v", took)
	}
	server.up(t)
	for deadline := time.Now().Add(30 * time.Second); s.Ping(t.Context()) != nil; { // each tries for 100 ms
		if time.Now().After(deadline) {
			t.Fatal("the server is up, and the store does not find it")
		}
	}
	wantValue(t, s, "old")
	if newer := put(t, s, "new"); newer == older {
		t.Errorf("version %q came twice", newer)
	}
}

// TestContextEndsFirst has a server that is down, or does not answer, for longer than
// the caller waits.
func TestContextEndsFirst(t *testing.T) {
	for name, breakIt := range map[string]func(server, *mongostore.Store){
		"down": func(server server, s *mongostore.Store) {
			server.down()
			short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			_ = s.Ping(short) // the first call may find its connection cut
		},
		"hangs": func(server server, _ *mongostore.Store) {
			server.fail(func(cmd string) fault {
				switch cmd {
				case "find", "insert", "update", "delete":
					return hang
				}
				return none
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := startServer(t)
			s := newStore(t, server.collection(t, "late", options.Client().SetServerSelectionTimeout(time.Minute)))
			put(t, s, "old")
			breakIt(server, s)
			start := time.Now()
			for name, call := range calls(s) {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				err := call(ctx)
				cancel()
				if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, store.ErrUnavailable) {
					t.Errorf("%s = %v, want the error of ctx alone", name, err)
				}
			}
			canceled, cancel := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			if _, err := s.Load(canceled, "k"); !errors.Is(err, context.Canceled) {
				t.Errorf("Load = %v, want %v", err, context.Canceled)
			}
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("the calls took %v", took)
			}
		})
	}
}

// TestClientTimeout bounds a call whose context has no deadline.
func TestClientTimeout(t *testing.T) {
	server := startServer(t)
	s := newStore(t, server.collection(t, "slow", options.Client().SetTimeout(200*time.Millisecond)))
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.fail(func(cmd string) fault {
		if cmd == "update" {
			return hang
		}
		return none
	})
	_, err := s.Store(t.Context(), "k", nil, store.Any())
	wantTemporary(t, err)
}

// TestServerRestarts has another server on the same files.
func TestServerRestarts(t *testing.T) {
	dir := t.TempDir()
	open := func() (s *mongostore.Store, client *mongo.Client, stop func()) {
		addr, stop := startFerret(t, dir)
		srv := server{startProxy(t, addr)}
		client = srv.client(t)
		return newStore(t, client.Database("everfresh").Collection("kept")), client, stop
	}
	s, client, stop := open()
	version := put(t, s, "old")
	if err := errors.Join(s.Close(), client.Disconnect(t.Context())); err != nil {
		t.Fatal(err)
	}
	stop()

	s, _, _ = open()
	item, err := s.Load(t.Context(), "k")
	if err != nil || string(item.Value) != "old" || item.Version != version {
		t.Fatalf("Load = %+v, %v, want the value and version %q of before", item, err, version)
	}
	if newer, err := s.Store(t.Context(), "k", []byte("new"), store.IfVersion(version)); err != nil || newer == version {
		t.Errorf("Store = %q, %v, want another version", newer, err)
	}
}

func TestClientIsDisconnected(t *testing.T) {
	client := startServer(t).client(t)
	s := newStore(t, client.Database("everfresh").Collection("gone"))
	put(t, s, "v")
	if err := client.Disconnect(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, call := range calls(s) {
		if err := call(t.Context()); !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s = %v, want %v", name, err, store.ErrClosed)
		}
	}
}
