// SPDX-License-Identifier: Apache-2.0

package ask_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/authserver/internal/consent/ask"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
)

func TestTargetOf(t *testing.T) {
	for uri, want := range map[string]ask.Target{
		"https://client.example/cb":      {Host: "https://client.example", Show: "client.example", Source: "https://client.example"},
		"https://client.example:8443/cb": {Host: "https://client.example:8443", Show: "client.example:8443", Source: "https://client.example:8443"},
		"https://cl\u0456ent.example/cb": {Host: "https://cl\u0456ent.example", Show: `cl\u0456ent.example`, Source: "https://cl\u0456ent.example"},
		"https://127.0.0.1/cb":           {Host: "https://127.0.0.1", Show: "127.0.0.1", Source: "https://127.0.0.1", Loopback: true},
		"https://app.localhost/cb":       {Host: "https://app.localhost", Show: "app.localhost", Source: "https://app.localhost", Loopback: true},
		"https://[2001:db8::1]/cb":       {Host: "https://[2001:db8::1]", Show: "[2001:db8::1]", Source: "https:"},
		"https://[::1]:9/cb":             {Host: "https://[::1]:9", Show: "[::1]:9", Source: "https:", Loopback: true},
		"http://127.0.0.1:51004/cb":      {Host: "http://127.0.0.1", Show: "127.0.0.1", Source: "http://127.0.0.1:51004", Loopback: true},
		"http://localhost/cb":            {Host: "http://localhost", Show: "localhost", Source: "http://localhost", Loopback: true},
		"http://[::1]:51004/cb":          {Host: "http://[::1]", Show: "::1", Source: "http:", Loopback: true},
		"cursor://anysphere.x/cb":        {Host: "cursor:anysphere.x", Show: "cursor:", Source: "cursor:", App: true},
		"com.example.app:/cb":            {Host: "com.example.app:", Show: "com.example.app:", Source: "com.example.app:", App: true},
		"http://%zz":                     {Show: "unknown"},
	} {
		if d := cmp.Diff(want, ask.TargetOf(uri)); d != "" {
			t.Errorf("%s (-want +got):\n%s", uri, d)
		}
	}
}

func TestScopes(t *testing.T) {
	g := &directory.Gateway{Scopes: []string{"mcp", "mcp:read", "mcp:write"}}
	refresh := []string{"authorization_code", "refresh_token"}
	for name, c := range map[string]struct {
		asked  []string
		client clients.Client
		want   []string
	}{
		"none asked":             {nil, clients.Client{}, []string{"mcp"}},
		"sorted and single":      {[]string{"mcp:write", "mcp", "mcp:write"}, clients.Client{}, []string{"mcp", "mcp:write"}},
		"unknown":                {[]string{"mcp", "nope"}, clients.Client{}, nil},
		"of OpenID":              {[]string{"openid"}, clients.Client{}, nil},
		"not the client's":       {[]string{"mcp", "mcp:write"}, clients.Client{Scopes: []string{"mcp", "mcp:read"}}, []string{"mcp"}},
		"none of them":           {[]string{"mcp:write"}, clients.Client{Scopes: []string{"mcp"}}, nil},
		"none asked, none to be": {nil, clients.Client{Scopes: []string{"mcp:read"}}, nil},
		"offline":                {[]string{"mcp:read", "offline_access"}, clients.Client{Grants: refresh}, []string{"mcp:read", "offline_access"}},
		"offline, not its grant": {[]string{"mcp:read", "offline_access"}, clients.Client{}, []string{"mcp:read"}},
		"offline alone":          {[]string{"offline_access"}, clients.Client{Grants: refresh, Scopes: []string{"mcp"}}, []string{"mcp", "offline_access"}},
		"offline is no scope":    {[]string{"offline_access"}, clients.Client{Grants: refresh, Scopes: []string{"mcp:read"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, e := ask.Scopes(c.asked, g, &c.client)
			if !slices.Equal(got, c.want) || (e != nil) != (c.want == nil) {
				t.Errorf("got %v, %v, want %v", got, e, c.want)
			}
			if e != nil && e.Code != oauthfault.InvalidScope {
				t.Errorf("the error is %s", e.Code)
			}
		})
	}
}
