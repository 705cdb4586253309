// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/edge/gate"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func TestHostAllowed(t *testing.T) {
	public := gate.Config{PublicURLs: []string{"https://GW.example.com", "http://plain.example:80/", "https://odd.example:8443", "https://[2001:db8::1]"}}
	loopback := gate.Config{PublicURLs: []string{"http://127.0.0.1:8080"}, Loopback: true}
	for _, tt := range []struct {
		name string
		c    gate.Config
		host string
		want bool
	}{
		{"public", public, "gw.example.com", true},
		{"any case", public, "Gw.Example.Com", true},
		{"default port", public, "gw.example.com:443", true},
		{"other port", public, "gw.example.com:80", false},
		{"default port written out", public, "plain.example", true},
		{"and with it", public, "plain.example:80", true},
		{"odd port", public, "odd.example:8443", true},
		{"odd port left out", public, "odd.example", false},
		{"IPv6", public, "[2001:db8::1]", true},
		{"IPv6 with port", public, "[2001:db8::1]:443", true},
		{"suffix", public, "evil-gw.example.com", false},
		{"prefix", public, "gw.example.com.evil.example", false},
		{"trailing dot", public, "gw.example.com.", false},
		{"empty", public, "", false},
		{"loopback is not public", public, "localhost", false},
		{"loopback", loopback, "127.0.0.1:1", true},
		{"localhost in any case", loopback, "LocalHost:1", true},
		{"IPv6 loopback", loopback, "[::1]:1", true},
		{"IPv6 loopback without port", loopback, "[::1]", true},
		{"IPv6 loopback without brackets", loopback, "::1", false},
		{"another loopback address", loopback, "127.0.0.2", false},
		{"a decimal address", loopback, "2130706433", false},
		{"subdomain", loopback, "a.localhost", false},
		{"empty on loopback", loopback, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g, err := gate.New(tt.c)
			if err != nil {
				t.Fatal(err)
			}
			if got := g.HostAllowed(tt.host); got != tt.want {
				t.Errorf("HostAllowed(%q) = %v, want %v", tt.host, got, tt.want)
			}
		})
	}
}

func TestCrossOrigin(t *testing.T) {
	c := gate.Config{
		PublicURLs: []string{"https://gw.example.com:443", "http://10.0.0.1:8080"}, AllowedOrigins: []string{"https://app.example.com/"}, Loopback: true,
	}
	g, err := gate.New(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, host string
		tls        bool
		origin     []string
		want       bool
	}{
		{"none", "gw.example.com", false, nil, true},
		{"own", "gw.example.com", false, []string{"https://gw.example.com"}, true},
		{"own with the default port", "gw.example.com", false, []string{"https://gw.example.com:443"}, true},
		{"own, any case", "gw.example.com", false, []string{"HTTPS://GW.example.com"}, true},
		{"own address", "10.0.0.1:8080", false, []string{"http://10.0.0.1:8080"}, true},
		{"allowed", "gw.example.com", false, []string{"https://app.example.com"}, true},
		{"allowed with another scheme", "gw.example.com", false, []string{"http://app.example.com"}, false},
		{"allowed with a path", "gw.example.com", false, []string{"https://app.example.com/x"}, false},
		{"stranger", "gw.example.com", false, []string{"https://evil.example"}, false},
		{"null", "localhost:1", false, []string{"null"}, false},
		{"empty", "localhost:1", false, []string{""}, false},
		{"twice", "gw.example.com", false, []string{"https://gw.example.com", "https://gw.example.com"}, false},
		{"loopback", "localhost:8080", false, []string{"http://localhost:8080"}, true},
		{"loopback over TLS", "localhost:8080", true, []string{"https://localhost:8080"}, true},
		{"loopback, other scheme", "localhost:8080", true, []string{"http://localhost:8080"}, false},
		{"loopback, other port", "localhost:8080", false, []string{"http://localhost:9090"}, false},
		{"rebound name", "evil.example:8080", false, []string{"http://evil.example:8080"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", http.NoBody)
			r.Host, r.TLS = tt.host, nil
			if tt.tls {
				r.TLS = &tls.ConnectionState{}
			}
			if tt.origin != nil {
				r.Header["Origin"] = tt.origin
			}
			w := httptest.NewRecorder()
			if got := g.CrossOrigin(w, r); got != tt.want {
				t.Errorf("CrossOrigin = %v, want %v", got, tt.want)
			}
			want := ""
			if tt.want && tt.origin != nil {
				want = tt.origin[0]
			}
			if got := w.Header().Get("Access-Control-Allow-Origin"); got != want {
				t.Errorf("allowed origin is %q, want %q", got, want)
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	r := httptest.NewRequest(http.MethodOptions, "/", http.NoBody)
	w := httptest.NewRecorder()
	gate.Preflight(w, r, "GET")
	if len(w.Header()) != 0 {
		t.Errorf("no browser, but %v", w.Header())
	}
	w.Header().Set("Access-Control-Allow-Origin", "https://app.example.com")
	gate.Preflight(w, r, "GET")
	if w.Header().Get("Access-Control-Allow-Methods") != "GET" || w.Header().Get("Access-Control-Allow-Headers") != "" {
		t.Errorf("headers %v", w.Header())
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		c       gate.Config
		setting string
	}{
		{gate.Config{PublicURLs: []string{""}}, "public_urls"},
		{gate.Config{PublicURLs: []string{"gw.example.com"}}, "public_urls"},
		{gate.Config{PublicURLs: []string{"ftp://gw.example.com"}}, "public_urls"},
		{gate.Config{PublicURLs: []string{"https://gw.example.com/path"}}, "public_urls"},
		{gate.Config{PublicURLs: []string{"https://user@gw.example.com"}}, "public_urls"},
		{gate.Config{PublicURLs: []string{"https://gw.example.com?x"}}, "public_urls"},
		{gate.Config{AllowedOrigins: []string{"*"}}, "allowed_origins"},
		{gate.Config{AllowedOrigins: []string{"null"}}, "allowed_origins"},
		{gate.Config{AllowedOrigins: []string{"https://a\x7f"}}, "allowed_origins"},
	} {
		_, err := gate.New(tt.c)
		f := fault.From(err)
		if err == nil || f.Kind != fault.Invalid || f.Reason != gate.ReasonConfig || len(f.Fields) != 1 || f.Fields[0].Path != tt.setting {
			t.Errorf("New(%+v) = %v, want a fault about %s", tt.c, err, tt.setting)
		}
	}
}
