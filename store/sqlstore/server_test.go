//go:build unix

package sqlstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A server is a PostgreSQL of the tests' own, which listens on a socket in its
// directory and on no port.
type server struct {
	bin, dir string
	cred     *syscall.Credential // nil unless the tests run as root, as whom it refuses to run
	cmd      *exec.Cmd
	log      bytes.Buffer // written by cmd, so read only when that has ended
}

var errNotInstalled = errors.New("PostgreSQL is not installed; apt-get install postgresql")

// shared is the server of all tests but those that stop one. TestMain stops it.
var (
	sharedOnce   sync.Once
	shared       *server
	errOfShared  error
	startTimeout = time.Minute
)

func TestMain(m *testing.M) {
	code := m.Run()
	if shared != nil {
		shared.remove()
	}
	os.Exit(code)
}

func openPostgres(t *testing.T) *sql.DB {
	return openPostgresWith(t, "")
}

// openPostgresWith adds options to the data source name.
func openPostgresWith(t *testing.T, options string) *sql.DB {
	t.Helper()
	sharedOnce.Do(func() { shared, errOfShared = startServer() })
	if errors.Is(errOfShared, errNotInstalled) {
		t.Skip(errOfShared)
	}
	if errOfShared != nil {
		t.Fatal(errOfShared)
	}
	db := openDB(t, "pgx", shared.dsn()+options)
	db.SetMaxOpenConns(16)
	return db
}

func postgresDSN() string { return shared.dsn() }

func (s *server) dsn() string {
	return "host=" + s.dir + " user=everfresh dbname=postgres"
}

func startServer() (*server, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return nil, errors.Join(errNotInstalled, err)
	}
	s := &server{bin: filepath.Dir(found[len(found)-1])}
	if s.dir, err = os.MkdirTemp("", "sqlstore"); err != nil {
		return nil, err
	}
	if err := s.init(); err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

func (s *server) init() error {
	if os.Getuid() == 0 {
		if err := s.leaveRoot(); err != nil {
			return err
		}
	}
	initdb := s.command("initdb", "--auth=trust", "--username=everfresh", "--encoding=UTF8", "--no-sync", "-D", s.data())
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return s.start()
}

// leaveRoot gives the directory to an unprivileged user.
func (s *server) leaveRoot() error {
	u, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, errUID := strconv.Atoi(u.Uid)
	gid, errGID := strconv.Atoi(u.Gid)
	if err := errors.Join(errUID, errGID); err != nil {
		return err
	}
	s.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(s.dir, uid, gid)
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

func (s *server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.Background(), filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	return cmd
}

// start starts the server and waits until it answers.
func (s *server) start() error {
	s.cmd = s.command("postgres", "-D", s.data(), "-c", "listen_addresses=", "-c", "unix_socket_directories="+s.dir)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	db, err := sql.Open("pgx", s.dsn())
	if err != nil {
		return err
	}
	defer db.Close()
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(10 * time.Millisecond) {
		err := db.PingContext(context.Background())
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			s.stop(syscall.SIGQUIT)
			return fmt.Errorf("the server does not answer: %w\n%s", err, s.log.Bytes())
		}
	}
}

// stop ends the server: SIGINT lets it say goodbye, SIGQUIT does not.
func (s *server) stop(sig os.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	_ = s.cmd.Wait()
	s.cmd = nil
}

func (s *server) remove() {
	s.stop(syscall.SIGINT)
	os.RemoveAll(s.dir)
}
