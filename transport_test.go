package everfresh_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everfresh-go/everfresh"
	"github.com/everfresh-go/everfresh/internal/everfreshtest"
	"golang.org/x/net/dns/dnsmessage"
)

// guardDenied are the addresses that a usual guard (private, loopback, link local or
// unspecified) lets through, and those that it does not.
var guardDenied = []string{
	"0.1.2.3", "100.64.0.1", "100.100.100.200", "192.0.0.192", "198.18.0.1", "224.0.0.1", "255.255.255.255",
	"::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::", "2001::1", "fec0::1", "ff02::1",
	"100::1", "2001:db8::1", "3fff::1", "5f00::1",

	"127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "0.0.0.0", "240.0.0.1",
	"::1", "::", "::ffff:127.0.0.1", "fe80::1", "fc00::1", "fd00:ec2::254",
}

const (
	guardHome  = "127.0.0.2" // of the origin that may be dialled
	guardWorld = "93.184.216.34"
)

var guardExcept = netip.MustParsePrefix(guardHome + "/32")

// A guardWeb is an origin that may be dialled, and traps at the same port of addresses
// that may not.
type guardWeb struct {
	port    string
	visited *atomic.Int64
	trapped []*atomic.Int64
}

// traps returns how many connections there were that must not be.
func (w *guardWeb) traps() (n int64) {
	for _, t := range w.trapped {
		n += t.Load()
	}
	return n
}

func newGuardWeb(t *testing.T, h http.HandlerFunc) *guardWeb {
	t.Helper()
	addr, visited := everfreshtest.Loopback(t, guardHome+":0", fetchHTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close") // so that the name is asked for each time
		h(w, r)
	})))
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	web := &guardWeb{port: port, visited: visited}
	for _, host := range []string{"127.0.0.1", "::1"} {
		probe, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Logf("no trap at %s: %v", host, err)
			continue
		}
		_ = probe.Close()
		_, trapped := everfreshtest.Loopback(t, net.JoinHostPort(host, port), fetchHTTP(everfreshtest.Text("trapped")))
		web.trapped = append(web.trapped, trapped)
	}
	if len(web.trapped) == 0 {
		t.Skip("no port is free at both addresses")
	}
	return web
}

// A guardDNS answers queries of A and AAAA in memory. The n-th query for a name and a
// type is answered by the n-th step, and later ones by the last.
type guardDNS struct {
	steps map[string][]string // by name; a step is addresses with spaces between them

	mu    sync.Mutex
	asked map[dnsmessage.Question]int
	wg    sync.WaitGroup
}

func newGuardDNS(t *testing.T, steps map[string][]string) *guardDNS {
	d := &guardDNS{steps: steps, asked: make(map[dnsmessage.Question]int)}
	t.Cleanup(d.wg.Wait)
	return d
}

func (d *guardDNS) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		d.wg.Go(func() {
			defer server.Close()
			for d.answer(server) == nil {
			}
		})
		return client, nil
	}}
}

// answer answers one query as it is over TCP (RFC 1035, section 4.2.2).
func (d *guardDNS) answer(conn net.Conn) error {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	query := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, query); err != nil {
		return err
	}
	var p dnsmessage.Parser
	header, err := p.Start(query)
	if err != nil {
		return err
	}
	q, err := p.Question()
	if err != nil {
		return err
	}
	packed, err := d.message(header.ID, q).Pack()
	if err != nil {
		return err
	}
	_, err = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...))
	return err
}

func (d *guardDNS) message(id uint16, q dnsmessage.Question) *dnsmessage.Message {
	msg := &dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id, Response: true, Authoritative: true, RecursionAvailable: true},
		Questions: []dnsmessage.Question{q},
	}
	for _, addr := range d.next(q) {
		rh := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
		var body dnsmessage.ResourceBody = &dnsmessage.AAAAResource{AAAA: addr.As16()}
		if addr.Is4() {
			body = &dnsmessage.AResource{A: addr.As4()}
		}
		msg.Answers = append(msg.Answers, dnsmessage.Resource{Header: rh, Body: body})
	}
	return msg
}

// next returns the addresses of the type that is asked for.
func (d *guardDNS) next(q dnsmessage.Question) (found []netip.Addr) {
	d.mu.Lock()
	n := d.asked[q]
	d.asked[q]++
	d.mu.Unlock()
	steps := d.steps[strings.TrimSuffix(q.Name.String(), ".")]
	if len(steps) == 0 {
		return nil
	}
	for s := range strings.FieldsSeq(steps[min(n, len(steps)-1)]) {
		addr := netip.MustParseAddr(s)
		if addr.Is4() == (q.Type == dnsmessage.TypeA) {
			found = append(found, addr)
		}
	}
	return found
}

// A guardWatch notes for which addresses the cache's dialer went on to connect.
type guardWatch struct {
	mu     sync.Mutex
	passed []string
}

var errGuardLeft = errors.New("the dialer would have left this machine")

// on makes c resolve by dns. Nothing is sent to any other machine.
func (w *guardWatch) on(c *everfresh.Cache, dns *guardDNS) {
	everfresh.DialThrough(c, func(d *net.Dialer) {
		judge := d.ControlContext
		d.Resolver = dns.resolver()
		d.ControlContext = func(ctx context.Context, network, address string, conn syscall.RawConn) error {
			if judge != nil {
				if err := judge(ctx, network, address, conn); err != nil {
					return err
				}
			}
			addr := netip.MustParseAddrPort(address).Addr()
			w.mu.Lock()
			defer w.mu.Unlock()
			w.passed = append(w.passed, addr.String())
			if !addr.Unmap().IsLoopback() {
				return errGuardLeft
			}
			return nil
		}
	})
}

// taken returns the addresses since the last call.
func (w *guardWatch) taken() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	passed := w.passed
	w.passed = nil
	return passed
}

// guardName is the name that stands for an address in the tests' DNS.
func guardName(addr string) string {
	return strings.NewReplacer(":", "-", ".", "-").Replace("x"+addr+"x") + ".test"
}

func guardHost(addr string) string {
	if strings.Contains(addr, ":") {
		return "[" + addr + "]"
	}
	return addr
}

// guardRoutes are the ways by which a refresh comes to an address.
var guardRoutes = map[string]func(web *guardWeb, addr string) string{
	"address": func(web *guardWeb, addr string) string { return "http://" + guardHost(addr) + ":" + web.port + "/" },
	"name":    func(web *guardWeb, addr string) string { return "http://" + guardName(addr) + ":" + web.port + "/" },
	"TLS":     func(web *guardWeb, addr string) string { return "https://" + guardName(addr) + ":" + web.port + "/" },
	"redirect to the address": func(web *guardWeb, addr string) string {
		return "http://home.test:" + web.port + "/to/http/" + guardHost(addr) + ":" + web.port
	},
	"redirect to the name": func(web *guardWeb, addr string) string {
		return "http://home.test:" + web.port + "/to/http/" + guardName(addr) + ":" + web.port
	},
	"redirect to TLS": func(web *guardWeb, addr string) string {
		return "http://home.test:" + web.port + "/to/https/" + guardName(addr) + ":" + web.port
	},
	"second redirect": func(web *guardWeb, addr string) string {
		return "http://home.test:" + web.port + "/to/http/home.test:" + web.port + "/to/http/" + guardName(addr) + ":" + web.port
	},
}

// guardRedirects sends /to/http/host/path to http://host/path.
func guardRedirects(w http.ResponseWriter, r *http.Request) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/to/")
	if !ok {
		_, _ = io.WriteString(w, "home")
		return
	}
	scheme, target, _ := strings.Cut(rest, "/")
	http.Redirect(w, r, scheme+"://"+target, http.StatusFound)
}

// guardClients are the options under which the cache dials itself.
var guardClients = map[string][]everfresh.CacheOption{
	"default":         nil,
	"client":          {everfresh.WithHTTPClient(&http.Client{})},
	"default client":  {everfresh.WithHTTPClient(http.DefaultClient)},
	"client, timeout": {everfresh.WithHTTPClient(&http.Client{Timeout: time.Minute})},
	"lost context":    {everfresh.WithMiddleware(guardForgets)},
}

// guardForgets is middleware that drops the context of the request.
func guardForgets(next everfresh.Fetcher) everfresh.Fetcher {
	return everfresh.FetcherFunc(func(req *http.Request) (*http.Response, error) {
		return next.Fetch(req.WithContext(context.Background()))
	})
}

// TestPublicOnly: no connection to any of these addresses, by whatever way a refresh
// comes to it.
func TestPublicOnly(t *testing.T) {
	web := newGuardWeb(t, guardRedirects)
	steps := map[string][]string{"home.test": {guardHome}}
	for _, addr := range guardDenied {
		steps[guardName(addr)] = []string{addr}
	}
	dns := newGuardDNS(t, steps)
	for client, opts := range guardClients {
		for route, to := range guardRoutes {
			t.Run(client+"/"+route, func(t *testing.T) {
				var watch guardWatch
				c := everfreshtest.NewCache(t, append(opts, everfresh.WithPublicOnly(guardExcept))...)
				watch.on(c, dns)
				for _, addr := range guardDenied {
					err := guardGet(t, c, to(web, addr))
					if !errors.Is(err, everfresh.ErrNotAllowed) {
						t.Errorf("%s: error = %v, want ErrNotAllowed", addr, err)
					}
					if err != nil && (strings.Contains(err.Error(), addr) || strings.Contains(err.Error(), guardName(addr))) {
						t.Errorf("the error names %s: %v", addr, err)
					}
					for _, passed := range watch.taken() {
						if passed != guardHome {
							t.Errorf("%s: connected to %s", addr, passed)
						}
					}
				}
			})
		}
	}
	if n := web.traps(); n != 0 {
		t.Errorf("%d connections to denied addresses", n)
	}
	if web.visited.Load() == 0 {
		t.Error("nothing came to the origin that is allowed")
	}
}

// guardGet registers a URL and gets its value once.
func guardGet(t *testing.T, c *everfresh.Cache, u string) error {
	t.Helper()
	r, err := everfresh.Register(c, u, everfresh.Bytes(), everfresh.WithPrefetch(false), everfresh.WithKey("k"))
	if err != nil {
		return err
	}
	defer c.Unregister("k")
	_, err = r.Get(t.Context())
	return err
}

// The traps work: without the option all of this machine is reached, and what is to be
// dialled elsewhere is noticed.
func TestPublicOnlyIsOff(t *testing.T) {
	web := newGuardWeb(t, guardRedirects)
	steps := map[string][]string{"home.test": {guardHome}}
	for _, addr := range guardDenied {
		steps[guardName(addr)] = []string{addr}
	}
	dns := newGuardDNS(t, steps)
	for route, to := range guardRoutes {
		if strings.Contains(route, "TLS") {
			continue
		}
		var watch guardWatch
		c := everfreshtest.NewCache(t)
		watch.on(c, dns)
		trapped := web.traps()
		reached := 0
		for _, addr := range guardDenied {
			_ = guardGet(t, c, to(web, addr))
			if slices.ContainsFunc(watch.taken(), func(s string) bool { return s != guardHome }) {
				reached++
			}
		}
		if reached < 15 || web.traps() == trapped { // a machine may have no IPv6
			t.Errorf("%s: %d addresses reached, %d connections to this machine", route, reached, web.traps()-trapped)
		}
	}
}

// A name that is public when it is registered may be something else when it is dialled.
func TestPublicOnlyAgainstRebinding(t *testing.T) {
	web := newGuardWeb(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/again" {
			http.Redirect(w, r, "/", http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, "home")
	})
	tests := []struct {
		name, path string
		steps      []string // of the name
		good       []bool   // refreshes
		passed     string   // addresses
	}{
		{"rebound", "/", []string{guardHome, "127.0.0.1"}, []bool{true, false}, guardHome},
		{"rebound to IPv6", "/", []string{guardHome, "::1"}, []bool{true, false}, guardHome},
		{"rebound, mapped", "/", []string{guardHome, "::ffff:127.0.0.1"}, []bool{true, false}, guardHome},
		{"and back", "/", []string{guardHome, "127.0.0.1", guardHome}, []bool{true, false, true}, guardHome + " " + guardHome},
		{"between two hops", "/again", []string{guardHome, "127.0.0.1"}, []bool{false}, guardHome},
		{"two answers", "/", []string{"127.0.0.1 " + guardHome}, []bool{true}, guardHome},
		{"an answer of each kind", "/", []string{"::1 " + guardHome}, []bool{true}, guardHome},
		{"only denied answers", "/", []string{"::1 127.0.0.1 10.0.0.1"}, []bool{false}, ""},
		{"public, then metadata", "/", []string{guardWorld, "169.254.169.254"}, []bool{false, false}, guardWorld},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var watch guardWatch
			c := everfreshtest.NewCache(t, everfresh.WithPublicOnly(guardExcept))
			watch.on(c, newGuardDNS(t, map[string][]string{"rebind.test": tt.steps}))
			r := everfreshtest.Register(t, c, "http://rebind.test:"+web.port+tt.path, everfresh.Bytes(), everfresh.WithPrefetch(false))
			var err error
			for i, good := range tt.good {
				if err = r.Refresh(t.Context()); (err == nil) != good {
					t.Errorf("refresh %d: %v", i, err)
				}
			}
			if err != nil && !errors.Is(err, everfresh.ErrNotAllowed) {
				t.Errorf("error = %v, want ErrNotAllowed", err)
			}
			if v, ok := r.Peek(); tt.good[0] && (!ok || string(v) != "home") {
				t.Errorf("serves %q, %v: the value from before is lost", v, ok)
			}
			if passed := strings.Join(watch.taken(), " "); passed != tt.passed {
				t.Errorf("connected to %s, want %s", passed, tt.passed)
			}
		})
	}
	if n := web.traps(); n != 0 {
		t.Errorf("%d connections to denied addresses", n)
	}
}

// guardSpellings are ways to write a host that is this machine, to one resolver or
// another, or to a parser of URLs.
var guardSpellings = []string{
	"127.0.0.1", "127.1", "127.0.1", "127.000.000.001", "2130706433", "0x7f000001", "0x7f.1", "0x7F.0x0.0x0.0x1", "0177.0.0.1",
	"017700000001", "127.0.0.1.", "127.127.127.127", "0", "0.0.0.0", "localhost", "LOCALHOST", "localhost.", "ip6-localhost",
	"①②⑦.⓪.⓪.①", "１２７.0.0.1", "127。0。0。1", "%31%32%37.0.0.1", "ⓛocalhost",
	"[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::ffff:127.0.0.1]", "[::FFFF:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::1%25lo]", "[::ffff:127.0.0.1%25lo]",
}

const guardChildEnv = "EVERFRESH_TEST_PUBLIC_ONLY"

// Which resolver is used is decided once in the life of a process, so that each has one
// of its own.
func TestPublicOnlyHostSpellings(t *testing.T) {
	if os.Getenv(guardChildEnv) == "spellings" {
		guardSpell(t)
		return
	}
	for _, resolver := range []string{"go", "cgo"} {
		out := guardChild(t, "TestPublicOnlyHostSpellings", "spellings", "GODEBUG=netdns="+resolver)
		t.Logf("%s: %s", resolver, out)
	}
}

// guardChild runs a test in a process of its own.
func guardChild(t *testing.T, test, mode string, env ...string) []byte {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^"+test+"$", "-test.v")
	cmd.Env = append(slices.DeleteFunc(os.Environ(), fetchIsProxyVar), guardChildEnv+"="+mode)
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+test)) && !bytes.Contains(out, []byte("--- SKIP: "+test)) {
		t.Errorf("%v\n%s", err, out)
	}
	return out
}

func guardSpell(t *testing.T) {
	web := newGuardWeb(t, guardRedirects)
	reached := 0
	open, closed := everfreshtest.NewCache(t), everfreshtest.NewCache(t, everfresh.WithPublicOnly(guardExcept))
	for _, host := range guardSpellings {
		before := web.traps()
		to := []string{
			"http://" + host + ":" + web.port + "/",
			"http://" + guardHome + ":" + web.port + "/to/http/" + host + ":" + web.port,
		}
		for _, u := range to {
			if err := guardGet(t, closed, u); err == nil {
				t.Errorf("%s: no error", u)
			}
		}
		if n := web.traps() - before; n != 0 {
			t.Errorf("%s: %d connections", host, n)
		}
		before = web.traps()
		for _, u := range to {
			_ = guardGet(t, open, u)
		}
		if web.traps() != before {
			reached++
		}
	}
	t.Logf("%d of %d spellings reach this machine without the guard", reached, len(guardSpellings))
	if reached < 8 {
		t.Errorf("only %d spellings reach this machine", reached)
	}
}

// What the environment says of proxies does not make the guard judge the proxy instead.
func TestPublicOnlyUnderProxyEnvironment(t *testing.T) {
	if proxied := os.Getenv(guardChildEnv); proxied != "" {
		guardUnderProxy(t, proxied)
		return
	}
	addr, accepted := everfreshtest.Loopback(t, guardHome+":0", fetchHTTP(everfreshtest.Text("proxied")))
	p := "http://" + addr
	guardChild(t, "TestPublicOnlyUnderProxyEnvironment", p, "HTTP_PROXY="+p, "HTTPS_PROXY="+p, "ALL_PROXY="+p, "http_proxy="+p)
	if n := accepted.Load(); n != 1 {
		t.Errorf("%d connections to the proxy, want that of the cache that uses it", n)
	}
}

func guardUnderProxy(t *testing.T, proxy string) {
	dns := newGuardDNS(t, map[string][]string{"meta.test": {"169.254.169.254"}})
	var watch guardWatch
	open := everfreshtest.NewCache(t, everfresh.WithProxy(http.ProxyFromEnvironment))
	watch.on(open, dns)
	if err := guardGet(t, open, "http://meta.test/"); err != nil {
		t.Errorf("through the proxy %s: %v", proxy, err)
	}
	watch.taken()
	for _, opts := range guardClients {
		c := everfreshtest.NewCache(t, append(opts, everfresh.WithPublicOnly(guardExcept))...)
		watch.on(c, dns)
		for _, u := range []string{"http://meta.test/", "https://meta.test/", "http://169.254.169.254/"} {
			if err := guardGet(t, c, u); !errors.Is(err, everfresh.ErrNotAllowed) {
				t.Errorf("%s: error = %v, want ErrNotAllowed", u, err)
			}
		}
		if passed := watch.taken(); len(passed) != 0 {
			t.Errorf("connected to %v", passed)
		}
	}
}

// What cannot be guarded is an error, not a hole.
func TestPublicOnlyExcludes(t *testing.T) {
	proxy := everfresh.WithProxy(func(*http.Request) (*url.URL, error) { return nil, nil })
	fetcher := everfresh.WithFetcher(everfresh.FetcherFunc(func(*http.Request) (*http.Response, error) { return nil, errors.New("fetched") }))
	client := everfresh.WithHTTPClient(everfreshtest.Client(everfreshtest.Text("x")))
	bare := everfresh.WithHTTPClient(&http.Client{})
	public := everfresh.WithPublicOnly()
	tests := []struct {
		name  string
		cache []everfresh.CacheOption
		own   []everfresh.RegisterOption
		want  string
	}{
		{"alone", []everfresh.CacheOption{public}, nil, ""},
		{"proxy", []everfresh.CacheOption{public, proxy}, nil, "WithProxy"},
		{"proxy first", []everfresh.CacheOption{proxy, public}, nil, "WithProxy"},
		{"no proxy", []everfresh.CacheOption{public, everfresh.WithProxy(nil)}, nil, ""},
		{"fetcher", []everfresh.CacheOption{fetcher, public}, nil, "WithFetcher"},
		{"client", []everfresh.CacheOption{client, public}, nil, "transport of its own"},
		{"bare client", []everfresh.CacheOption{bare, public}, nil, ""},
		{"fetcher of a resource", []everfresh.CacheOption{public}, []everfresh.RegisterOption{fetcher}, "WithFetcher"},
		{"client of a resource", []everfresh.CacheOption{public}, []everfresh.RegisterOption{client}, "transport of its own"},
		{"client of a group", []everfresh.CacheOption{public}, []everfresh.RegisterOption{everfresh.Options(client)}, "transport of its own"},
		{"bare client of a resource", []everfresh.CacheOption{public}, []everfresh.RegisterOption{bare}, ""},
		{"replaced client", []everfresh.CacheOption{public, client}, []everfresh.RegisterOption{bare}, ""},
		{"no exception", []everfresh.CacheOption{everfresh.WithPublicOnly(netip.Prefix{})}, nil, "not a valid prefix"},
		{"all excepted", []everfresh.CacheOption{everfresh.WithPublicOnly(netip.MustParsePrefix("0.0.0.0/0"))}, nil, "all addresses"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := everfreshtest.NewCache(t, tt.cache...)
			own := append(tt.own, everfresh.WithPrefetch(false))
			_, typed := everfresh.Register(c, "http://a.test/typed", everfresh.Bytes(), own...)
			errs := []error{typed, c.Register("http://a.test/untyped", own...)}
			if len(tt.own) == 0 {
				errs = append(errs, c.Register("http://a.test/plain"))
			}
			for _, err := range errs {
				if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("error = %v, want %q", err, tt.want)
				}
			}
		})
	}
}

// Register refuses an address at once, and a policy of the caller's cannot allow it.
func TestPublicOnlyAtRegister(t *testing.T) {
	c := everfreshtest.NewCache(t, everfresh.WithPublicOnly(netip.MustParsePrefix("10.1.0.0/16")), everfresh.WithPublicOnly(netip.MustParsePrefix("fd00:1::/32")))
	for u, want := range map[string]bool{
		"http://8.8.8.8/":              true,
		"http://10.1.2.3/":             true,
		"http://[fd00:1::2]/":          true,
		"http://10.2.2.3/":             false,
		"http://127.0.0.1:8080/":       false,
		"http://127.0.0.1.:8080/":      false,
		"http://１２７.0.0.1/":            false,
		"http://[::ffff:a00:1]/":       false,
		"https://169.254.169.254/meta": false,
		"https://localhost/":           true, // until it is dialled
	} {
		err := c.Register(u, everfresh.WithAllow(everfreshtest.AllowAny))
		if want && err != nil || !want && !errors.Is(err, everfresh.ErrNotAllowed) {
			t.Errorf("%s: %v", u, err)
		}
	}
	built := everfreshtest.Register(t, c, "https://a.test/", everfresh.Bytes(), everfresh.WithPrefetch(false), everfresh.WithRequest(
		func(ctx context.Context, _ *everfresh.Snapshot[any]) (*http.Request, error) {
			return http.NewRequestWithContext(ctx, http.MethodGet, "http://[::1]/", nil)
		}))
	if _, err := built.Get(t.Context()); !errors.Is(err, everfresh.ErrNotAllowed) {
		t.Errorf("built: error = %v, want ErrNotAllowed", err)
	}
}

// Two caches in one program do not share what they except.
func TestPublicOnlyOfTwoCaches(t *testing.T) {
	opt := everfresh.WithPublicOnly()
	first := everfreshtest.NewCache(t, opt, everfresh.WithPublicOnly(netip.MustParsePrefix("10.0.0.0/8")))
	second := everfreshtest.NewCache(t, opt)
	if err := first.Register("http://10.0.0.1/"); err != nil {
		t.Error(err)
	}
	if err := second.Register("http://10.0.0.1/"); !errors.Is(err, everfresh.ErrNotAllowed) {
		t.Errorf("error = %v: an exception of another cache", err)
	}
}

func TestGuardAddressesAreThirtyOne(t *testing.T) {
	seen := make(map[string]bool)
	for _, addr := range guardDenied {
		seen[fmt.Sprint(netip.MustParseAddr(addr))] = true
	}
	if len(seen) != 31 {
		t.Errorf("%d addresses, want 31", len(seen))
	}
}

// A movingHost is a name that stands for one of two addresses. It must be made inside the
// bubble.
type movingHost struct {
	addrs [2]*everfreshtest.Net
	now   atomic.Int32 // the index of the present address
}

// newMovingHost runs a server at each address. All ends with the test.
func newMovingHost(t *testing.T, old, young http.Handler) *movingHost {
	h := &movingHost{addrs: [2]*everfreshtest.Net{everfreshtest.NewNet(), everfreshtest.NewNet()}}
	for i, handler := range []http.Handler{old, young} {
		srv := &http.Server{Handler: handler, ReadHeaderTimeout: time.Hour}
		var serving sync.WaitGroup
		serving.Go(func() { _ = srv.Serve(h.addrs[i]) })
		t.Cleanup(func() {
			_ = srv.Close()
			_ = h.addrs[i].Close()
			serving.Wait()
		})
	}
	return h
}

// DialContext asks for the address of the name, as a net.Dialer does.
func (h *movingHost) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return h.addrs[h.now.Load()].DialContext(ctx, network, addr)
}

// addressDeaths are the ways in which a host is left behind.
var addressDeaths = map[string]func(w http.ResponseWriter, r *http.Request){
	"reset": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	"hang":  func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	"hang in the body": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("old"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	},
	"truncated": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("old"))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	},
}

// TestHostThatMoves: a host gets another address, and the old one dies while there are
// idle connections to it. One failure is enough: the next refresh asks for the address and
// reaches the new one.
func TestHostThatMoves(t *testing.T) {
	for name, death := range addressDeaths {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var dead atomic.Bool
				old := func(w http.ResponseWriter, r *http.Request) {
					if dead.Load() {
						death(w, r)
						return
					}
					time.Sleep(time.Second) // so that all connections are in use at once
					everfreshtest.Text("old")(w, r)
				}
				host := newMovingHost(t, http.HandlerFunc(old), everfreshtest.Text("new"))
				told := new(everfreshtest.Recorder)
				c := everfreshtest.NewCache(t, append(told.Options(), everfresh.WithJitter(0))...)
				everfresh.DialWith(c, host.DialContext)
				r := everfreshtest.Register(t, c, "http://a.test/", everfresh.Bytes(), everfresh.WithRefreshInterval(time.Minute))
				for i := range 3 { // as many connections as the host may have at once
					everfreshtest.Register(t, c, fmt.Sprintf("http://a.test/%d", i), everfresh.Bytes())
				}
				time.Sleep(30 * time.Second)
				if v, ok := r.Peek(); !ok || string(v) != "old" {
					t.Fatalf("%q before the move", v)
				}
				host.now.Store(1)
				dead.Store(true)
				time.Sleep(time.Minute + 15*time.Second)
				if v, ok := r.Peek(); !ok || string(v) != "new" {
					t.Errorf("%q after the move", v)
				}
				// A connection that broke while it was idle is no failure.
				if failures := told.Events("failed"); len(failures) > 1 {
					t.Errorf("%d failures, want one: %v", len(failures), told.Errors())
				}
			})
		})
	}
}

// fetchHTTP returns a serve function for everfreshtest.Loopback that runs h until the
// connection ends, or h says so.
func fetchHTTP(h http.Handler) func(net.Conn) {
	return func(conn net.Conn) {
		one := &fetchOneConn{conn: conn, done: make(chan struct{})}
		srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateClosed || s == http.StateHijacked {
				one.finish()
			}
		}}
		_ = srv.Serve(one)
	}
}

// fetchOneConn is a listener of one connection.
type fetchOneConn struct {
	conn net.Conn
	once sync.Once
	end  sync.Once
	done chan struct{}
}

func (l *fetchOneConn) Accept() (conn net.Conn, err error) {
	err = net.ErrClosed
	l.once.Do(func() { conn, err = l.conn, nil })
	if err != nil {
		<-l.done
	}
	return conn, err
}

func (l *fetchOneConn) finish() { l.end.Do(func() { close(l.done) }) }

func (l *fetchOneConn) Close() error { return nil }

func (l *fetchOneConn) Addr() net.Addr { return l.conn.LocalAddr() }

// After a failed exchange each one has its own connection for 90 s, so that the host's
// address is looked up again; then they share one again.
func TestColdConnectionsAfterAFailure(t *testing.T) {
	var fail, moved atomic.Int64
	start := time.Now()
	clock := func() (wall, mono int64) {
		past := time.Since(start) + time.Duration(moved.Load())
		return start.Add(past).UnixNano(), int64(past)
	}
	addr, accepted := everfreshtest.Loopback(t, "127.0.0.1:0", fetchHTTP(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if fail.Load() != 0 {
			panic(http.ErrAbortHandler) // closes the connection without an answer
		}
		_, _ = io.WriteString(w, "a")
	})))
	for _, own := range []bool{false, true} {
		name := "the cache's client"
		opts := []everfresh.RegisterOption{everfresh.WithPrefetch(false)}
		if own {
			name = "a client without a transport"
			opts = append(opts, everfresh.WithHTTPClient(&http.Client{}))
		}
		t.Run(name, func(t *testing.T) {
			accepted.Store(0)
			c := everfreshtest.NewCache(t, everfresh.WithClock(clock))
			r := everfreshtest.Register(t, c, "http://"+addr+"/", everfresh.Bytes(), opts...)
			exchange := func(n int, wantErr bool) {
				t.Helper()
				for range n {
					if err := r.Refresh(t.Context()); (err != nil) != wantErr {
						t.Fatalf("Refresh: %v", err)
					}
				}
			}
			expect := func(want int64, when string) {
				t.Helper()
				if got := accepted.Swap(0); got != want {
					t.Errorf("%s: %d connections, want %d", when, got, want)
				}
			}
			exchange(3, false)
			expect(1, "3 exchanges")
			fail.Store(1)
			exchange(1, true)
			fail.Store(0)
			accepted.Store(0) // a reused connection that breaks is tried again on a new one
			exchange(3, false)
			expect(3, "3 exchanges after a failure")
			moved.Add(int64(89 * time.Second))
			exchange(2, false)
			expect(2, "2 exchanges 89 s later")
			moved.Add(int64(2 * time.Second))
			exchange(3, false)
			expect(1, "3 exchanges 91 s later")
		})
	}
}

// A refresh that was called off says nothing about its host.
func TestCalledOffExchangeKeepsConnections(t *testing.T) {
	hang := make(chan struct{})
	var hanging atomic.Bool
	addr, accepted := everfreshtest.Loopback(t, "127.0.0.1:0", fetchHTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hanging.CompareAndSwap(true, false) {
			close(hang)
			<-r.Context().Done()
			return
		}
		_, _ = io.WriteString(w, "a")
	})))
	c := everfreshtest.NewCache(t)
	first := everfreshtest.Register(t, c, "http://"+addr+"/1", everfresh.Bytes(), everfresh.WithPrefetch(false))
	hanging.Store(true)
	ended := make(chan error, 1)
	go func() { _, err := first.Get(t.Context()); ended <- err }()
	<-hang
	if err := c.Unregister(first.Key()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, everfresh.ErrNotRegistered) {
		t.Errorf("Get = %v", err)
	}
	accepted.Store(0)
	second := everfreshtest.Register(t, c, "http://"+addr+"/2", everfresh.Bytes(), everfresh.WithPrefetch(false))
	for range 3 {
		everfreshtest.Refresh(t, second)
	}
	if got := accepted.Load(); got > 1 {
		t.Errorf("3 exchanges used %d connections, want 1", got)
	}
}

func TestHeaderFlood(t *testing.T) {
	flood := func(line string, n int) func(net.Conn) {
		return func(conn net.Conn) {
			buf := make([]byte, 4096)
			_, _ = conn.Read(buf)
			for range n {
				if _, err := io.WriteString(conn, line); err != nil {
					return
				}
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
		}
	}
	head := "HTTP/1.1 200 OK\r\n"
	field := "X-Filler: " + strings.Repeat("f", 1000) + "\r\n"
	tests := []struct {
		name  string
		serve func(net.Conn)
		want  string // part of the error
	}{
		{"63 KiB", everfreshtest.Once(head + strings.Repeat(field, 62) + "Content-Length: 1\r\n\r\nx"), ""},
		{"more than 64 KiB", everfreshtest.Once(head + strings.Repeat(field, 70)), "headers exceeded"},
		{"one endless line", everfreshtest.Once(head + "X-Filler: " + strings.Repeat("f", 1<<20)), "headers exceeded"},
		{"informational answers without end", flood("HTTP/1.1 103 Early Hints\r\n"+field+"\r\n", 1000), "headers exceeded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			addr, _ := everfreshtest.Loopback(t, "127.0.0.1:0", tt.serve)
			c := everfreshtest.NewCache(t)
			r := everfreshtest.Register(t, c, "http://"+addr+"/", everfresh.Bytes())
			v, err := r.Get(t.Context())
			switch {
			case tt.want == "" && (err != nil || string(v) != "x"):
				t.Errorf("Get = %q, %v", v, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("error = %v, want %q", err, tt.want)
			}
		})
	}
}

// The environment is read once in the life of a process, so that this runs in one of
// its own.
func TestEnvironmentProxyIsNotUsed(t *testing.T) {
	if origin := os.Getenv(fetchProxyEnv); origin != "" {
		fetchUnderProxyEnv(t, origin)
		return
	}
	// Not 127.0.0.1, which is never proxied; 0.0.0.0 reaches this machine, too.
	addr, _ := everfreshtest.Loopback(t, "0.0.0.0:0", fetchHTTP(everfreshtest.Text("direct")))
	_, port, _ := net.SplitHostPort(addr)
	proxy := httptest.NewServer(everfreshtest.Text("proxied"))
	defer proxy.Close()
	exe, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestEnvironmentProxyIsNotUsed$", "-test.v")
	cmd.Env = append(slices.DeleteFunc(os.Environ(), fetchIsProxyVar),
		fetchProxyEnv+"=http://0.0.0.0:"+port+"/", "HTTP_PROXY="+proxy.URL, "http_proxy="+proxy.URL,
		"HTTPS_PROXY="+proxy.URL, "ALL_PROXY="+proxy.URL)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestEnvironmentProxyIsNotUsed")) {
		t.Errorf("%v\n%s", err, out)
	}
}

func fetchIsProxyVar(kv string) bool {
	name, _, _ := strings.Cut(strings.ToUpper(kv), "=")
	return strings.HasSuffix(name, "_PROXY") || name == "REQUEST_METHOD"
}

func fetchUnderProxyEnv(t *testing.T, origin string) {
	tests := []struct {
		name string
		opts []everfresh.CacheOption
		want string
	}{
		{"default", nil, "direct"},
		{"client without a transport", []everfresh.CacheOption{everfresh.WithHTTPClient(&http.Client{})}, "direct"},
		{"proxy from the environment", []everfresh.CacheOption{everfresh.WithProxy(http.ProxyFromEnvironment)}, "proxied"},
		{"both", []everfresh.CacheOption{
			everfresh.WithProxy(http.ProxyFromEnvironment), everfresh.WithHTTPClient(&http.Client{}),
		}, "proxied"},
		{"the program's default transport", []everfresh.CacheOption{everfresh.WithHTTPClient(http.DefaultClient)}, "direct"},
		{"no proxy by a function", []everfresh.CacheOption{
			everfresh.WithProxy(func(*http.Request) (*url.URL, error) { return nil, nil }),
		}, "direct"},
	}
	for _, tt := range tests {
		c := everfreshtest.NewCache(t, tt.opts...)
		r := everfreshtest.Register(t, c, origin, everfresh.Bytes())
		if v, err := r.Get(t.Context()); string(v) != tt.want || err != nil {
			t.Errorf("%s: Get = %q, %v, want %q", tt.name, v, err, tt.want)
		}
	}
}

// The proxy's function is asked with the request, so that it may choose.
func TestWithProxy(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "proxied "+r.URL.String())
	}))
	defer proxy.Close()
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := everfreshtest.NewCache(t, everfresh.WithProxy(func(req *http.Request) (*url.URL, error) {
		if req.URL.Path == "/refused" {
			return nil, errors.New("no proxy for this")
		}
		return u, nil
	}))
	r := everfreshtest.Register(t, c, "http://origin.test/x", everfresh.Bytes())
	if v, err := r.Get(t.Context()); string(v) != "proxied http://origin.test/x" || err != nil {
		t.Errorf("Get = %q, %v", v, err)
	}
	refused := everfreshtest.Register(t, c, "http://origin.test/refused", everfresh.Bytes())
	if v, err := refused.Get(t.Context()); err == nil {
		t.Errorf("Get = %q, want the proxy function's refusal", v)
	}
}
