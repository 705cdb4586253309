// SPDX-License-Identifier: Apache-2.0

package egress_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// resolver answers from a table and counts how often it is asked.
type resolver struct {
	answers map[string][]string

	mu    sync.Mutex
	asked []string
}

func (r *resolver) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, network+" "+host)
	list, ok := r.answers[host]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	var addrs []netip.Addr
	for _, a := range list {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return addrs, nil
}

// classes of addresses, by what opens them.
const (
	global   = "global"
	loopback = "loopback"
	private  = "private"
	never    = "never"
)

// Auth design CIMD-5, RFC 6890: one row for each special-use range, and for
// its first and last address where a neighbour is global.
func TestSpecialUseAddresses(t *testing.T) {
	for _, tc := range []struct{ name, addr, class string }{
		{"this network", "0.0.0.0", never},
		{"this network, last", "0.255.255.255", never},
		{"private 10/8", "10.1.2.3", private},
		{"private 10/8, last", "10.255.255.255", private},
		{"shared 100.64/10", "100.64.0.1", private},
		{"shared 100.64/10, last", "100.127.255.255", private},
		{"before 100.64/10", "100.63.255.255", global},
		{"after 100.64/10", "100.128.0.0", global},
		{"loopback", "127.0.0.1", loopback},
		{"loopback, last", "127.255.255.254", loopback},
		{"link-local", "169.254.1.1", never},
		{"metadata service", "169.254.169.254", never},
		{"container metadata", "169.254.170.2", never},
		{"private 172.16/12", "172.16.0.1", private},
		{"private 172.16/12, last", "172.31.255.255", private},
		{"after 172.16/12", "172.32.0.1", global},
		{"IETF protocol assignments", "192.0.0.8", never},
		{"documentation 1", "192.0.2.1", never},
		{"6to4 relay", "192.88.99.1", never},
		{"private 192.168/16", "192.168.1.1", private},
		{"benchmarking", "198.18.0.1", never},
		{"benchmarking, last", "198.19.255.255", never},
		{"documentation 2", "198.51.100.7", never},
		{"documentation 3", "203.0.113.7", never},
		{"multicast", "224.0.0.1", never},
		{"multicast, last", "239.255.255.255", never},
		{"reserved", "240.0.0.1", never},
		{"broadcast", "255.255.255.255", never},
		{"cloud metadata in shared space", "100.100.100.200", never},
		{"cloud metadata on a public address", "168.63.129.16", never},
		{"global IPv4", "8.8.8.8", global},

		{"unspecified", "::", never},
		{"loopback IPv6", "::1", loopback},
		{"IPv4-compatible", "::7f00:1", never},
		{"IPv4-mapped loopback", "::ffff:127.0.0.1", loopback},
		{"IPv4-mapped private", "::ffff:10.0.0.1", private},
		{"IPv4-mapped link-local", "::ffff:169.254.169.254", never},
		{"IPv4-mapped global", "::ffff:8.8.8.8", global},
		{"IPv4-translated", "::ffff:0:127.0.0.1", never},
		{"NAT64", "64:ff9b::7f00:1", never},
		{"NAT64 of a global address", "64:ff9b::808:808", never},
		{"local NAT64", "64:ff9b:1::1", never},
		{"discard", "100::1", never},
		{"Teredo", "2001::1", never},
		{"benchmarking IPv6", "2001:2::1", never},
		{"ORCHIDv2", "2001:20::1", never},
		{"documentation IPv6", "2001:db8::1", never},
		{"6to4", "2002:7f00:1::1", never},
		{"documentation IPv6, new", "3fff::1", never},
		{"segment routing", "5f00::1", never},
		{"unique local fc", "fc00::1", private},
		{"unique local fd", "fd12:3456::1", private},
		{"metadata in unique local", "fd00:ec2::254", never},
		{"other metadata in unique local", "fd20:ce::254", never},
		{"link-local IPv6", "fe80::1", never},
		{"link-local with a zone", "fe80::1%lo", never},
		{"loopback with a zone", "::1%lo", never},
		{"site-local", "fec0::1", never},
		{"multicast IPv6", "ff02::1", never},
		{"unassigned block", "4000::1", never},
		{"global IPv6", "2606:4700::1111", global},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, policy := range []struct {
				name  string
				p     egress.Policy
				opens []string
			}{
				{"default", egress.Policy{}, []string{global}},
				{"loopback", egress.Policy{AllowLoopback: true}, []string{global, loopback}},
				{"private", egress.Policy{AllowPrivate: true}, []string{global, private}},
				{"both", egress.Policy{AllowLoopback: true, AllowPrivate: true}, []string{global, loopback, private}},
				{"excepted", permit(t, tc.addr), []string{global, loopback, private}},
			} {
				want := false
				for _, c := range policy.opens {
					want = want || c == tc.class
				}
				if got := judged(t, policy.p, net.JoinHostPort(tc.addr, "9")); got != want {
					t.Errorf("%s policy: opens %t, want %t", policy.name, got, want)
				}
			}
		})
	}
}

// permit makes the policy of a URL that an admin registered.
func permit(t *testing.T, addr string) egress.Policy {
	t.Helper()
	p, err := egress.Policy{}.Permit(&url.URL{Scheme: "http", Host: net.JoinHostPort(addr, "9")})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// judged reports whether p lets a dial of addr, host:port, through to the network. The
// context has ended, so that no packet leaves: the policy's answer comes
// first, the network's never.
func judged(t *testing.T, p egress.Policy, addr string) bool {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c, err := p.DialContext(ctx, "tcp", addr)
	if err == nil {
		_ = c.Close()
		t.Fatal("connected with an ended context")
	}
	f := fault.From(err)
	switch {
	case f.Reason == egress.ReasonRefused && f.Kind == fault.Precondition:
		return false
	case errors.Is(err, context.Canceled):
		return true
	default:
		t.Fatalf("got %v", err)
		return false
	}
}

func TestDialReachesTheCheckedAddress(t *testing.T) {
	hosts := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { hosts <- r.Host }))
	defer server.Close()
	port := strconv.Itoa(server.Listener.Addr().(*net.TCPAddr).Port)
	r := &resolver{answers: map[string][]string{"mcp.example": {"127.0.0.1"}, "mapped.example": {"::ffff:127.0.0.1"}}}
	p := egress.Policy{AllowLoopback: true, Resolver: r}
	transport := &http.Transport{DialContext: p.DialContext}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for _, host := range []string{"mcp.example", "mapped.example", "localhost", "LOCALHOST.", "127.0.0.1", "[::ffff:127.0.0.1]"} {
		t.Run(host, func(t *testing.T) {
			got, err := client.Get("http://" + host + ":" + port + "/")
			if err != nil {
				t.Fatal(err)
			}
			_ = got.Body.Close()
			if saw := <-hosts; saw != host+":"+port {
				t.Errorf("the server saw the host %q", saw)
			}
		})
	}
	if len(r.asked) != 2 {
		t.Errorf("resolved %v: a name is resolved once, localhost and literals never", r.asked)
	}
}

func TestDialRefuses(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closedPort := strconv.Itoa(closed.Addr().(*net.TCPAddr).Port)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	r := &resolver{answers: map[string][]string{
		"inside.example": {"10.0.0.7"},
		"mixed.example":  {"8.8.8.8", "127.0.0.1"},
		"empty.example":  {},
		"down.example":   {"127.0.0.1", "127.0.0.2"},
	}}
	open := egress.Policy{AllowLoopback: true, Resolver: r}
	strict := egress.Policy{Resolver: r}
	for _, tc := range []struct {
		name          string
		policy        egress.Policy
		network, addr string
		kind          fault.Kind
		reason        string
	}{
		{"name of an inside address", strict, "tcp", "inside.example:443", fault.Precondition, egress.ReasonRefused},
		{"one inside address among public ones", strict, "tcp", "mixed.example:443", fault.Precondition, egress.ReasonRefused},
		{"localhost", strict, "tcp", "localhost:80", fault.Precondition, egress.ReasonRefused},
		{"localhost over IPv4", strict, "tcp4", "localhost:80", fault.Precondition, egress.ReasonRefused},
		{"localhost over IPv6", strict, "tcp6", "localhost:80", fault.Precondition, egress.ReasonRefused},
		{"localhost with a dot", strict, "tcp", "LocalHost.:80", fault.Precondition, egress.ReasonRefused},
		{"name below localhost", strict, "tcp", "x.localhost:80", fault.Precondition, egress.ReasonRefused},
		{"localhost.localdomain", strict, "tcp", "localhost.localdomain:80", fault.Precondition, egress.ReasonRefused},
		{"ip6-localhost", strict, "tcp", "ip6-localhost:80", fault.Precondition, egress.ReasonRefused},
		{"unknown name", open, "tcp", "nowhere.example:80", fault.Unavailable, egress.ReasonUnresolved},
		{"name without addresses", open, "tcp", "empty.example:80", fault.Unavailable, egress.ReasonUnresolved},
		{"nothing listens", open, "tcp", "down.example:" + closedPort, fault.Unavailable, egress.ReasonUnreachable},
		{"UDP", open, "udp", "127.0.0.1:53", fault.Invalid, egress.ReasonURL},
		{"Unix socket", open, "unix", "/var/run/docker.sock", fault.Invalid, egress.ReasonURL},
		{"no port", open, "tcp", "127.0.0.1", fault.Invalid, egress.ReasonURL},
		{"port 0", open, "tcp", "127.0.0.1:0", fault.Invalid, egress.ReasonURL},
		{"named port", open, "tcp", "127.0.0.1:http", fault.Invalid, egress.ReasonURL},
	} {
		t.Run(tc.name, func(t *testing.T) {
			begin := time.Now()
			c, err := tc.policy.DialContext(t.Context(), tc.network, tc.addr)
			if err == nil {
				_ = c.Close()
				t.Fatal("connected")
			}
			f := fault.From(err)
			if f.Kind != tc.kind || f.Reason != tc.reason {
				t.Errorf("got %v, want %s %s", err, tc.kind, tc.reason)
			}
			for _, inside := range []string{"10.0.0.7", "127.0.0.2"} {
				if strings.Contains(f.Public, inside) {
					t.Errorf("%q tells what a name resolves to inside", f.Public)
				}
			}
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestDialKeepsTheContextsError(t *testing.T) {
	r := &resolver{answers: map[string][]string{}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := egress.Policy{Resolver: r}.DialContext(ctx, "tcp", "a.example:443")
	if fault.KindOf(err) != fault.Canceled {
		t.Errorf("got %v, want canceled", err)
	}
}

// Auth design CIMD-5: what an admin registered opens its own host and port,
// and nothing beside it.
func TestPermitOpensOneHostAndPort(t *testing.T) {
	u, err := egress.ParseURL("http://mcp.internal:3001/mcp")
	if err != nil {
		t.Fatal(err)
	}
	r := &resolver{answers: map[string][]string{
		"mcp.internal": {"10.0.0.7"}, "MCP.Internal.": {"10.0.0.7"}, "other.internal": {"10.0.0.7"}, "meta.internal": {"169.254.169.254"},
	}}
	base := egress.Policy{Resolver: r}
	p, err := base.Permit(u)
	if err != nil {
		t.Fatal(err)
	}
	local, err := p.Permit(&url.URL{Scheme: "http", Host: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	meta, err := base.Permit(&url.URL{Scheme: "http", Host: "meta.internal:80"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		policy egress.Policy
		addr   string
		open   bool
	}{
		{"host and port", p, "mcp.internal:3001", true},
		{"host in other letters", p, "MCP.Internal.:3001", true},
		{"another port", p, "mcp.internal:22", false},
		{"another name of the address", p, "other.internal:3001", false},
		{"the address itself", p, "10.0.0.7:3001", false},
		{"base policy", base, "mcp.internal:3001", false},
		{"second permit keeps the first", local, "mcp.internal:3001", true},
		{"default port of the scheme", local, "localhost:80", true},
		{"localhost on another port", local, "localhost:81", false},
		{"never link-local", meta, "meta.internal:80", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := judged(t, tc.policy, tc.addr); got != tc.open {
				t.Errorf("opens %t, want %t", got, tc.open)
			}
		})
	}
}

func TestExceptionOpensItsPrefixOnly(t *testing.T) {
	r := &resolver{answers: map[string][]string{"idp.internal": {"10.1.0.5"}, "far.internal": {"10.2.0.5"}}}
	p := egress.Policy{Resolver: r, Exceptions: []egress.Exception{
		{Host: "idp.internal", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("169.254.0.0/16")}},
		{Host: "far.internal", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}},
		{Host: "169.254.169.254", Prefixes: []netip.Prefix{netip.MustParsePrefix("169.254.0.0/16")}},
	}}
	for addr, open := range map[string]bool{"idp.internal:443": true, "idp.internal:8443": true, "far.internal:443": false, "169.254.169.254:80": false} {
		if got := judged(t, p, addr); got != open {
			t.Errorf("%s: opens %t, want %t", addr, got, open)
		}
	}
}
