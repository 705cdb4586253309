// SPDX-License-Identifier: Apache-2.0

package distribute_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/node"
)

// able makes a simulated node announce capabilities.
func able(capabilities ...string) func(*sim, *node.Config) {
	return func(_ *sim, c *node.Config) { c.Capabilities = capabilities }
}

// TestLacking: connected nodes only, by what they announced last, and no authserver (D-37).
func TestLacking(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPlane(t, memstore.New(nil), nil)
		lacking := func(want ...string) {
			t.Helper()
			synctest.Wait()
			if got := p.server.Lacking("oauth"); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		}
		lacking()
		startNode(t, p, "new", "eu", able("bearer_token", "oauth"))
		startNode(t, p, "a1", "eu", func(s *sim, _ *node.Config) { s.who = authserver("a1") })
		lacking()
		old := startNode(t, p, "old", "eu", nil)
		startNode(t, p, "near", "us", able("bearer_token", "OAuth", "oauth2"))
		startNode(t, p, "near", "eu", able("bearer_token"))
		lacking("near", "old")
		old.stop()
		lacking("near")
		startNode(t, p, "old", "eu", able("oauth")) // updated
		lacking("near")
		if got := p.server.Lacking("unheard_of"); !slices.Equal(got, []string{"near", "new", "old"}) {
			t.Errorf("what nobody knows: %v", got)
		}
	})
}

// TestLackingAuthservers: connected authservers only, by what they announced last, and no node (D-37).
func TestLackingAuthservers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := startPlane(t, memstore.New(nil), nil)
		lacking := func(want ...string) {
			t.Helper()
			synctest.Wait()
			if got := p.server.LackingAuthservers("token_exchange"); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		}
		as := func(name string, capabilities ...string) func(*sim, *node.Config) {
			return func(s *sim, c *node.Config) { s.who, c.Capabilities = authserver(name), capabilities }
		}
		lacking()
		startNode(t, p, "old-node", "eu", nil)
		startNode(t, p, "a1", "eu", as("a1", "upstream_oauth", "token_exchange"))
		lacking()
		old := startNode(t, p, "a2", "eu", as("a2", "upstream_oauth"))
		startNode(t, p, "a3", "eu", as("a3"))
		lacking("a2", "a3")
		old.stop()
		lacking("a3")
		startNode(t, p, "a2", "eu", as("a2", "token_exchange")) // updated
		lacking("a3")
	})
}

// TestOldNodeStopsFeature is D-37 with the catalog: while a node is connected that knows nothing of OAuth or scopes, no
// gateway may begin to use them, and the refusal names the node.
func TestOldNodeStopsFeature(t *testing.T) {
	bubble(t, func(t *testing.T) {
		store := memstore.New(nil)
		p := startPlane(t, store, nil)
		c := catalog.New(catalog.Config{Store: store, Nodes: p.server})
		root := catalog.Caller{System: true}
		for _, o := range []catalog.Object{
			&catalog.Server{Meta: catalog.Meta{Name: "files"}, StreamableHTTP: &resource.StreamableHTTP{URL: "https://files.example.com/mcp"}},
			&catalog.Connection{Meta: catalog.Meta{Name: "shared"}, Server: "files", Owner: &resource.Owner{Organization: &struct{}{}}},
			&catalog.IdentityProvider{Meta: catalog.Meta{Name: "okta"}, Issuer: "https://idp.example.com", ClientID: "penstock", GatewayTokens: true},
		} {
			if _, err := c.Create(t.Context(), root, o, catalog.WriteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		found := catalog.Discovery{Tools: [][]byte{[]byte(`{"name":"read","inputSchema":{"type":"object"}}`)}}
		if _, err := c.RecordDiscovery(t.Context(), "files", found); err != nil {
			t.Fatal(err)
		}
		gateways := map[string]func() *catalog.Gateway{
			"authentication.oauth": func() *catalog.Gateway {
				return &catalog.Gateway{Meta: catalog.Meta{Name: "login"}, Authentication: &resource.Authentication{OAuth: &struct{}{}}}
			},
			"authentication.jwks": func() *catalog.Gateway {
				return &catalog.Gateway{Meta: catalog.Meta{Name: "foreign"}, Authentication: &resource.Authentication{JWKS: &resource.JWKS{
					Issuers: []resource.JWKSIssuer{{IdentityProvider: "okta", Audiences: []string{"api://foreign"}}},
				}}}
			},
			"rate_limits": func() *catalog.Gateway {
				minute := resource.Duration(time.Minute)
				return &catalog.Gateway{Meta: catalog.Meta{Name: "limited"}, RateLimits: []resource.RateLimit{
					{Per: resource.RateLimitPerGateway, Requests: 10, Period: &minute},
				}}
			},
			"passthrough_headers": func() *catalog.Gateway {
				return &catalog.Gateway{Meta: catalog.Meta{Name: "passing"}, PassthroughHeaders: []string{"x-tenant"}}
			},
			"load_tools_when_needed": func() *catalog.Gateway {
				return &catalog.Gateway{Meta: catalog.Meta{Name: "searched"}, LoadToolsWhenNeeded: true}
			},
			"tools[files/read].resolve_at_call_time": func() *catalog.Gateway {
				return &catalog.Gateway{Meta: catalog.Meta{Name: "resolved"}, Tools: []catalog.ToolAssignment{
					{Tool: "files/read", ResolveAtCallTime: &struct{}{}},
				}}
			},
			"server_features[files].resolve_at_call_time": func() *catalog.Gateway {
				return &catalog.Gateway{Meta: catalog.Meta{Name: "shown"}, ServerFeatures: []resource.ServerFeature{
					{Server: "files", Prompts: true, ResolveAtCallTime: &struct{}{}},
				}}
			},
			"tools[files/read].required_scopes": func() *catalog.Gateway {
				return &catalog.Gateway{Meta: catalog.Meta{Name: "scoped"}, Tools: []catalog.ToolAssignment{
					{Tool: "files/read", Pinned: &resource.Pinned{Connection: "shared"}, RequiredScopes: []string{"mcp:write"}},
				}}
			},
		}
		try := func(validateOnly bool) map[string]error {
			got := make(map[string]error)
			for field, make := range gateways {
				g := make()
				g.Visibility = &resource.Visibility{Organization: &struct{}{}}
				_, got[field] = c.Create(t.Context(), root, g, catalog.WriteOptions{ValidateOnly: validateOnly})
			}
			synctest.Wait()
			return got
		}
		startNode(t, p, "new", "eu", able("bearer_token", "jwks", "load_tools_when_needed", "oauth", "passthrough_headers", "rate_limits", "required_scopes", "resolve_at_call_time"))
		synctest.Wait()
		for field, err := range try(true) {
			if err != nil {
				t.Errorf("%s with a new node: %v", field, err)
			}
		}
		old := startNode(t, p, "old", "us", able("bearer_token"))
		synctest.Wait()
		for field, err := range try(false) {
			f := fault.From(err)
			if err == nil || f.Kind != fault.Precondition || f.Reason != "NODE_LACKS_CAPABILITY" || !strings.Contains(f.Public, "yet: old; update") ||
				len(f.Fields) != 1 || f.Fields[0].Path != field {
				t.Errorf("%s with an old node: %v %+v", field, err, f)
			}
		}
		old.stop()
		synctest.Wait()
		for field, err := range try(false) {
			if err != nil {
				t.Errorf("%s after the old node left: %v", field, err)
			}
		}
	})
}
