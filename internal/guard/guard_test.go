package guard_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/everfresh-go/everfresh/internal/guard"
)

// refused are addresses that must not be dialled, by the reason.
var refused = map[string][]string{
	"this network":          {"0.0.0.0", "0.1.2.3", "0.255.255.255"},
	"private use":           {"10.0.0.0", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255"},
	"shared address space":  {"100.64.0.0", "100.64.0.1", "100.100.100.200", "100.127.255.255"},
	"loopback":              {"127.0.0.0", "127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1"},
	"link local":            {"169.254.0.1", "169.254.169.254", "169.254.255.255", "fe80::1", "febf:ffff::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"},
	"protocol assignments":  {"192.0.0.0", "192.0.0.8", "192.0.0.10", "192.0.0.192", "192.0.0.255", "2001:1::1", "2001:20::1", "2001:1ff:ffff::1"},
	"documentation":         {"192.0.2.1", "198.51.100.1", "203.0.113.255", "2001:db8::1", "2001:db8:ffff::1", "3fff::1", "3fff:fff:ffff::1"},
	"6to4 relay":            {"192.88.99.1"},
	"benchmarking":          {"198.18.0.1", "198.19.255.255"},
	"multicast":             {"224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"},
	"reserved":              {"240.0.0.1", "255.255.255.254", "255.255.255.255"},
	"cloud platform":        {"168.63.129.16"},
	"unspecified":           {"::"},
	"IPv4-compatible":       {"::127.0.0.1", "::8.8.8.8", "::2"},
	"local-use translation": {"64:ff9b:1::", "64:ff9b:1::7f00:1", "64:ff9b:1:ffff::8.8.8.8"},
	"unique local":          {"fc00::1", "fd00:ec2::254", "fd20:ce::254", "fdff:ffff::1"},
	"site local":            {"fec0::1", "feff::1"},
	"Teredo":                {"2001::", "2001::1", "2001:0:ffff::1"},
	"6to4":                  {"2002::", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1"},
	"not given out":         {"::ffff:0:127.0.0.1", "100::1", "100:0:0:1::1", "5f00::1", "64:ff9b:2::1", "64:ff9b:0:1::1", "1fff::1", "4000::1", "8000::1", "fe00::1"},
	"has a zone":            {"fe80::1%eth0", "2606:4700::1%1", "::ffff:8.8.8.8%lo"},
}

// allowed are public addresses, most of them next to a range that is not.
var allowed = []string{
	"1.0.0.0", "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
	"126.255.255.255", "128.0.0.0", "168.63.129.15", "168.63.129.17", "169.253.255.255", "169.255.0.0",
	"172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.3.0", "192.31.196.1", "192.52.193.1",
	"192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0", "192.175.48.1", "198.17.255.255",
	"198.20.0.0", "198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0", "223.255.255.255",
	"2000::1", "2001:200::1", "2001:4860:4860::8888", "2001:db7::1", "2001:db9::1", "2003::1", "2606:4700:4700::1111",
	"2620:4f:8000::1", "3ffe:ffff::1", "3fff:1000::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "64:ff9b::808:808",
}

func TestAddr(t *testing.T) {
	var g guard.Guard
	for reason, addrs := range refused {
		for _, s := range addrs {
			err := g.Addr(netip.MustParseAddr(s))
			var ge *guard.Error
			if !errors.As(err, &ge) || ge.Reason != reason {
				t.Errorf("%s: %v, want %s", s, err, reason)
			}
		}
	}
	for _, s := range allowed {
		if err := g.Addr(netip.MustParseAddr(s)); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	if err := g.Addr(netip.Addr{}); err == nil {
		t.Error("no address at all is allowed")
	}
}

func TestExcept(t *testing.T) {
	tests := []struct {
		except, addr string
		want         bool
	}{
		{"10.1.0.0/16", "10.1.2.3", true},
		{"10.1.0.0/16", "10.2.2.3", false},
		{"10.1.0.0/16", "::ffff:10.1.2.3", true}, // dialled as the same address
		{"10.1.0.0/16", "64:ff9b::10.1.2.3", false},
		{"10.1.2.3/16", "10.1.9.9", true}, // host bits do not matter
		{"127.0.0.1/32", "127.0.0.2", false},
		{"fd00:1::/32", "fd00:1::5", true},
		{"fd00:1::/32", "fd00:2::5", false},
		{"fe80::/10", "fe80::1%eth0", false},
		{"10.0.0.0/8", "::ffff:10.0.0.1%eth0", false},
		{"10.0.0.0/8", "8.8.8.8", true},
	}
	for _, tt := range tests {
		var g guard.Guard
		if err := g.Except(netip.MustParsePrefix(tt.except)); err != nil {
			t.Fatal(err)
		}
		if err := g.Addr(netip.MustParseAddr(tt.addr)); (err == nil) != tt.want {
			t.Errorf("%s with %s excepted: %v", tt.addr, tt.except, err)
		}
	}
	for _, p := range []netip.Prefix{
		{},
		netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0"), netip.MustParsePrefix("::ffff:10.0.0.0/104"),
		netip.PrefixFrom(netip.MustParseAddr("10.0.0.0"), 33),
	} {
		var g guard.Guard
		if err := g.Except(p); err == nil || g.Addr(netip.MustParseAddr("10.0.0.1")) == nil {
			t.Errorf("%v was taken for an exception: %v", p, err)
		}
	}
}

func TestDial(t *testing.T) {
	var g guard.Guard
	for _, tt := range []struct {
		network, address string
		want             bool
	}{
		{"tcp4", "8.8.8.8:443", true},
		{"tcp6", "[2606:4700::1]:443", true},
		{"tcp4", "127.0.0.1:443", false},
		{"tcp6", "[::ffff:127.0.0.1]:443", false},
		{"tcp6", "[fe80::1%eth0]:443", false},
		{"tcp", "8.8.8.8:443", false},
		{"udp4", "8.8.8.8:443", false},
		{"unix", "/run/docker.sock", false},
		{"tcp4", "8.8.8.8", false},
		{"tcp4", "localhost:80", false},
		{"tcp4", "", false},
	} {
		err := g.Dial(tt.network, tt.address)
		if (err == nil) != tt.want {
			t.Errorf("%s %s: %v", tt.network, tt.address, err)
		}
		if err != nil && tt.address != "" && strings.Contains(err.Error(), tt.address) {
			t.Errorf("%s is named: %v", tt.address, err)
		}
	}
}

// What a net.Dialer passes to Control must be what Dial understands: one network and one
// address without a name.
func TestDialOfADialer(t *testing.T) {
	var g guard.Guard
	stop := errors.New("stop")
	for host, want := range map[string]bool{
		"127.0.0.1": false, "::1": false, "::ffff:127.0.0.1": false, "localhost": false, "8.8.8.8": true, "::ffff:8.8.8.8": true,
	} {
		var errs []error
		d := net.Dialer{ControlContext: func(_ context.Context, network, address string, _ syscall.RawConn) error {
			errs = append(errs, g.Dial(network, address))
			return stop
		}}
		conn, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort(host, "9"))
		if err == nil {
			conn.Close()
		}
		if len(errs) == 0 {
			t.Logf("%s was not tried: %v", host, err) // no such socket here
		}
		for _, err := range errs {
			var ge *guard.Error
			if (err == nil) != want || err != nil && (!errors.As(err, &ge) || strings.HasPrefix(ge.Reason, "not ")) {
				t.Errorf("%s: %v", host, err)
			}
		}
	}
}

func TestURL(t *testing.T) {
	var g guard.Guard
	for raw, want := range map[string]bool{
		"http://8.8.8.8/":              true,
		"http://[2606:4700::1]:8443/":  true,
		"http://127.0.0.1:80/":         false,
		"http://[::1]/":                false,
		"http://[::ffff:10.0.0.1]:80/": false,
		"http://2130706433/":           true, // a name, whatever a resolver makes of it
		"http://localhost/":            true,
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.URL(u); (err == nil) != want {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// FuzzAddr compares with a reference that looks at bytes, not at prefixes.
func FuzzAddr(f *testing.F) {
	for _, addrs := range refused {
		for _, s := range addrs {
			b := netip.MustParseAddr(s).As16()
			f.Add(b[:])
		}
	}
	for _, s := range allowed {
		b := netip.MustParseAddr(s).As16()
		f.Add(b[:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		addr, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		var g guard.Guard
		if err := g.Addr(addr); (err == nil) != public(addr.As16()) {
			t.Errorf("%v: %v", addr, err)
		}
	})
}

// public is the reference.
func public(b [16]byte) bool {
	high, low := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	switch {
	case high == 0 && low>>32 == 0xffff, high == 0x64ff9b<<32 && low>>32 == 0:
		return public4(b[12], b[13], b[14], b[15])
	case b[0]>>5 != 1:
		return false
	}
	switch first, second := high>>48, high>>32&0xffff; first {
	case 0x2001:
		return second >= 0x200 && second != 0xdb8
	case 0x3fff:
		return second >= 0x1000
	default:
		return first != 0x2002
	}
}

func public4(a, b, c, d byte) bool {
	switch a {
	case 0, 10, 127:
		return false
	case 100:
		return b < 64 || b > 127
	case 168:
		return b != 63 || c != 129 || d != 16
	case 169:
		return b != 254
	case 172:
		return b < 16 || b > 31
	case 192:
		return b != 168 && (b != 0 || c != 0 && c != 2) && (b != 88 || c != 99)
	case 198:
		return b != 18 && b != 19 && (b != 51 || c != 100)
	case 203:
		return b != 0 || c != 113
	default:
		return a < 224
	}
}
