// SPDX-License-Identifier: Apache-2.0

package egress_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func TestCheckURL(t *testing.T) {
	strict := egress.Policy{}
	inside := egress.Policy{AllowLoopback: true, AllowPrivate: true}
	excepted := egress.Policy{Exceptions: []egress.Exception{{
		Host: "10.0.0.7", Port: 443, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
	}}}
	const (
		invalid = egress.ReasonURL
		refused = egress.ReasonRefused
	)
	for _, tc := range []struct {
		name   string
		policy egress.Policy
		raw    string
		reason string // empty: accepted
	}{
		{"https", strict, "https://mcp.example.com/mcp?tenant=1", ""},
		{"http", strict, "http://mcp.example.com:3001/mcp", ""},
		{"scheme in capitals", strict, "HTTPS://mcp.example.com/", ""},
		{"trailing dot", strict, "https://mcp.example.com./", ""},
		{"underscore", strict, "https://my_service.example.com/", ""},
		{"punycode", strict, "https://xn--mnchen-3ya.example/", ""},
		{"global IPv4", strict, "https://8.8.8.8/", ""},
		{"global IPv6", strict, "https://[2606:4700::1111]:8443/", ""},
		{"name that starts like a number", strict, "https://0x7f.example/", ""},
		{"name inside, judged when dialed", strict, "https://mcp.internal/", ""},
		{"loopback when allowed", inside, "http://127.0.0.1:3001/mcp", ""},
		{"localhost when allowed", inside, "http://localhost:3001/mcp", ""},
		{"private when allowed", inside, "http://[fd12::1]:3001/mcp", ""},
		{"excepted literal", excepted, "https://10.0.0.7/", ""},

		{"loopback", strict, "http://127.0.0.1:3001/mcp", refused},
		{"loopback IPv6", strict, "http://[::1]/", refused},
		{"mapped loopback", strict, "http://[::ffff:127.0.0.1]/", refused},
		{"mapped loopback in hexadecimal", strict, "http://[::ffff:7f00:1]/", refused},
		{"localhost", strict, "http://localhost/", refused},
		{"localhost in capitals with a dot", strict, "http://LOCALHOST./", refused},
		{"below localhost", strict, "http://a.localhost/", refused},
		{"private", strict, "https://192.168.0.1/", refused},
		{"metadata, even when inside is open", inside, "http://169.254.169.254/latest", refused},
		{"excepted literal, other port", excepted, "http://10.0.0.7/", refused},

		{"empty", strict, "", invalid},
		{"too long", strict, "https://a.example/" + strings.Repeat("a", 2048), invalid},
		{"relative", strict, "/mcp", invalid},
		{"no scheme", strict, "mcp.example.com/mcp", invalid},
		{"opaque", strict, "https:mcp.example.com", invalid},
		{"file", strict, "file:///etc/passwd", invalid},
		{"ftp", strict, "ftp://mcp.example.com/", invalid},
		{"javascript", strict, "javascript:alert(1)", invalid},
		{"unix", strict, "unix:///var/run/docker.sock", invalid},
		{"no host", strict, "https:///mcp", invalid},
		{"only a port", strict, "https://:443/", invalid},
		{"user", strict, "https://u@mcp.example.com/", invalid},
		{"user and password", strict, "https://u:hunter2@mcp.example.com/", invalid},
		{"fragment", strict, "https://mcp.example.com/#a", invalid},
		{"empty fragment", strict, "https://mcp.example.com/#", invalid},
		{"port 0", strict, "https://mcp.example.com:0/", invalid},
		{"port too large", strict, "https://mcp.example.com:65536/", invalid},
		{"port as a word", strict, "https://mcp.example.com:http/", invalid},
		{"empty port", strict, "https://mcp.example.com:/", invalid},
		{"space", strict, "https://mcp.example.com/a b", invalid},
		{"tab", strict, "https://mcp.example.com/\t", invalid},
		{"line break", strict, "https://mcp.example.com/\r\nHost: x", invalid},
		{"backslash", strict, `https://mcp.example.com\@evil.example/`, invalid},
		{"outside ASCII", strict, "https://münchen.example/", invalid},
		{"percent in the host", strict, "https://mcp%2eexample.com/", invalid},
		{"empty label", strict, "https://mcp..example.com/", invalid},
		{"label ends in a hyphen", strict, "https://mcp-.example.com/", invalid},
		{"long label", strict, "https://" + strings.Repeat("a", 64) + ".example/", invalid},
		{"long host", strict, "https://" + strings.Repeat("a.", 127) + "example/", invalid},
		{"decimal IPv4", inside, "http://2130706433/", invalid},
		{"octal IPv4", inside, "http://0177.0.0.1/", invalid},
		{"short IPv4", inside, "http://127.1/", invalid},
		{"hexadecimal IPv4", inside, "http://0x7f000001/", invalid},
		{"hexadecimal last part", inside, "http://127.0.0.0x1/", invalid},
		{"IPv6 with a zone", inside, "http://[fe80::1%25lo]/", refused},
		{"password that does not parse", strict, "https://u:hunter2@%zz/", invalid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u, err := tc.policy.CheckURL(tc.raw)
			if tc.reason == "" {
				if err != nil || u == nil || u.Hostname() == "" {
					t.Errorf("got %v, %v", u, err)
				}
				return
			}
			f := fault.From(err)
			if f == nil || u != nil {
				t.Fatalf("accepted as %v", u)
			}
			want := fault.Invalid
			if tc.reason == refused {
				want = fault.Precondition
			}
			if f.Kind != want || f.Reason != tc.reason {
				t.Errorf("got %v, want %s %s", err, want, tc.reason)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v repeats the password", err)
			}
		})
	}
}

func TestParseURLOpensTheInsideButNotMetadata(t *testing.T) {
	for raw, open := range map[string]bool{
		"http://127.0.0.1:3001/mcp": true, "http://localhost/": true, "http://10.0.0.1/": true,
		"http://169.254.169.254/": false, "http://100.100.100.200/": false, "http://u:p@10.0.0.1/": false,
	} {
		if _, err := egress.ParseURL(raw); (err == nil) != open {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
