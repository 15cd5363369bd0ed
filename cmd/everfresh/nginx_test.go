package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// nginxConfig lets nginx run without rights, outside its usual folders and as one
// process. %[1]s is its folder, %[2]d its port.
const nginxConfig = `
daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr warn;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path %[1]s/tmp;
	proxy_temp_path %[1]s/tmp;
	fastcgi_temp_path %[1]s/tmp;
	uwsgi_temp_path %[1]s/tmp;
	scgi_temp_path %[1]s/tmp;
	types { application/json json; text/plain txt; }
	server {
		listen 127.0.0.1:%[2]d;
		root %[1]s/www;
		location = /ready { return 200 "%[1]s"; }
		location = /plain.txt { }
		location = /maxage.json { add_header Cache-Control "public, max-age=7200"; }
		location = /expires.json { expires 1h; }
		location = /date.json { etag off; add_header Expires "Thu, 31 Dec 2099 23:59:59 GMT"; }
		location = /nocache.json { add_header Cache-Control "no-cache"; }
		location = /packed.json { gzip on; gzip_min_length 0; gzip_types application/json; expires 2h; }
		location = /bare.json { etag off; if_modified_since off; add_header Last-Modified ""; }
		location = /moved { return 301 /plain.txt; }
		location = /busy { add_header Retry-After 3 always; return 503; }
	}
}
`

// startNginx starts an nginx that serves the files of a new folder and returns both. The
// test ends without one, unless it runs in CI.
func startNginx(t *testing.T) (base, www string) {
	t.Helper()
	program := findNginx(t)
	dir := t.TempDir()
	www = filepath.Join(dir, "www")
	for _, d := range []string{www, filepath.Join(dir, "tmp")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	for range 3 { // another process may take the port before nginx does
		if base, err = tryNginx(t, program, dir); err == nil {
			return base, www
		}
	}
	t.Fatal(err)
	return "", ""
}

func findNginx(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx"} {
		if program, err := exec.LookPath(name); err == nil {
			return program
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("nginx is not installed")
	}
	t.Skip("nginx is not installed")
	return ""
}

// tryNginx starts nginx on a free port, waits until it serves, and stops it with the test.
func tryNginx(t *testing.T, program, dir string) (string, error) {
	t.Helper()
	port := freePort(t)
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, port), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, program, "-p", dir, "-c", config, "-e", "stderr")
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // it is killed
	}()
	stop := sync.OnceFunc(func() {
		cancel()
		<-exited
	})
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	if err := awaitNginx(base, dir, exited); err != nil {
		stop()
		return "", fmt.Errorf("%w\n%s", err, log.String())
	}
	t.Cleanup(stop)
	return base, nil
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// awaitNginx waits until the server at base is the one that serves dir.
func awaitNginx(base, dir string, exited <-chan struct{}) error {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	deadline := time.After(10 * time.Second)
	for {
		if ready(base, dir) {
			return nil
		}
		select {
		case <-poll.C:
		case <-exited:
			return errors.New("nginx ended")
		case <-deadline:
			return errors.New("nginx does not answer")
		}
	}
}

func ready(base, dir string) bool {
	client := http.Client{Timeout: time.Second}
	resp, err := client.Get(base + "/ready")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	_, err = body.ReadFrom(resp.Body)
	return err == nil && body.String() == dir
}

// TestNginx compares what get prints and explains with what a real server sends.
func TestNginx(t *testing.T) {
	base, www := startNginx(t)
	payload := `{"hello": "` + strings.Repeat("everfresh ", 500) + `"}`
	for _, name := range []string{
		"plain.txt", "maxage.json", "expires.json", "date.json", "nocache.json", "packed.json", "bare.json",
	} {
		if err := os.WriteFile(filepath.Join(www, name), []byte(payload), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const (
		quarter = `in (15m0|14m59)s, at .*` // the minimum interval
		both    = "ETag, Last-Modified"
		ok      = "200 OK, 5013 bytes"
	)
	for _, tt := range []struct {
		path                                                 string
		status, validators, decided, lifetime, next, revalid string
	}{
		{"/plain.txt", ok, both, "no header of the origin; the minimum of 15m0s applies", "0s", quarter, "304"},
		{"/maxage.json", ok, both, "max-age", "2h0m0s", `in (2h0m0s|1h59m5\ds), at .*`, "304"},
		{"/expires.json", ok, both, "max-age", "1h0m0s", `in (1h0m0s|59m5\ds), at .*`, "304"},
		{"/date.json", ok, "Last-Modified", "expires, cut to the maximum", `\d{5}d(\d+h)?`, `in 30d, at .*`, "304"},
		{"/nocache.json", ok, both, "no-cache, raised to the minimum", "0s", quarter, "304"},
		{"/packed.json", ok + ` \(sent as gzip\)`, both, "max-age", "2h0m0s", `in (2h0m0s|1h59m5\ds), at .*`, "304"},
		{"/bare.json", ok, "none", "no header of the origin; the minimum of 15m0s applies", "0s", quarter, "200, same bytes"},
		{"/moved", ok, both, "no header of the origin; the minimum of 15m0s applies", "0s", quarter, "304"},
	} {
		t.Run(tt.path, func(t *testing.T) {
			expect(t, explained(t, payload, base+tt.path), map[string]string{
				"": base + tt.path, "status": tt.status, "validators": tt.validators, "decided by": tt.decided,
				"lifetime": tt.lifetime, "age": "[01]s", "next": tt.next, "revalidated": tt.revalid,
			})
		})
	}
	for path, want := range map[string]string{
		"/busy":    "unexpected status 503 Service Unavailable",
		"/missing": "unexpected status 404 Not Found",
	} {
		got := command(t.Context(), "get", base+path)
		if want := fmt.Sprintf("everfresh: fetch %q: %s\n", base+path, want); got != (result{exitFailure, "", want}) {
			t.Errorf("%s: %+v", path, got)
		}
	}
}
