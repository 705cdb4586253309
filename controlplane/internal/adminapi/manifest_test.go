// SPDX-License-Identifier: Apache-2.0

package adminapi_test

import (
	"slices"
	"strings"
	"testing"


	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/admin/manifest"
)

// documented is the manifests of the documentation, as far as something enforces them.
const documented = `
kind: Team
name: eng
members: [{user: ada@example.com, role: ADMIN}, {user: bob@example.com}]
---
kind: User
name: ada@example.com
---
kind: User
name: bob@example.com
---
kind: Server
name: everything
display_name: Everything
streamable_http: {url: "http://127.0.0.1:3001/mcp"}
credential: {static_headers: {}}
visibility: {organization: {}}
call_timeout: 60s
protocol: AUTO
---
kind: Connection
name: everything-shared
server: everything
owner: {organization: {}}
secret_headers: {Authorization: {from_env: EVERYTHING_TOKEN}}
---
kind: IdentityProvider
name: okta
issuer: https://okta.example.com
client_id: penstock
id_jag: {max_lifetime: 300s, public_clients: ["https://client.example/oauth/c.json"]}
---
kind: Gateway
name: eng
display_name: Engineering tools
visibility: {team: {teams: [eng]}}
authentication: {oauth: {}, bearer_token: {}, id_jag: {identity_providers: [okta]}}
tools:
- {tool: everything/echo, pinned: {connection: everything-shared}}
- {tool: everything/get-sum, pinned: {connection: everything-shared}, exposed_name: add, required_scopes: ["mcp:write"]}
server_features:
- {server: everything, resources: true, prompts: true, instructions: false, pinned: {connection: everything-shared}}
naming: {prefix: ALWAYS}
untrusted_context: TRACK
default_action: ALLOW
---
kind: Policy
name: no-prod-writes
tools: ["everything__*"]
gateways: ["*"]
when: 'args.environment == "prod" && !("sre" in caller.teams)'
action: BLOCK
reason: Production changes go through the SRE team.
mode: ENFORCE
---
kind: ResultPolicy
name: no-keys
tools: ["everything__*"]
gateways: ["*"]
mark: REDACT
redact: ['sk-[A-Za-z0-9]{20,}']
mode: ENFORCE
`

// TestDocumentedManifests: the manifests of the documentation apply, with OAuth and scopes, are unchanged the second time
// and as their own export; and a line of them that nothing enforces yet is refused, saying so.
func TestDocumentedManifests(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, adminUser), t.Context()
	secrets := manifest.Secrets{LookupEnv: func(name string) (string, bool) { return "s3cret", name == "EVERYTHING_TOKEN" }}
	load := func(text string) *manifest.Set {
		t.Helper()
		set, err := manifest.Load([]manifest.Source{{Name: "m", Data: []byte(text)}}, secrets)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	w.upstream.set("everything", nil, echoTool, changedTool, `{"name":"get-sum","inputSchema":{"type":"object"}}`)
	if _, err := c.Servers.DiscoverServer(ctx, &adminv1.DiscoverServerRequest{Name: "everything"}); err != nil {
		t.Fatal(err)
	}
	for _, round := range []string{"first", "second"} {
		applied, err := c.Configuration.Apply(ctx, &adminv1.ApplyRequest{Resources: load(documented).Resources})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range applied.GetResources() {
			// A secret is write only, so a connection with one is written each time.
			if round == "second" && r.GetAction() != "unchanged" && r.GetKind() != "Connection" {
				t.Errorf("applied again: %s %s %s %v", r.GetKind(), r.GetName(), r.GetAction(), r.GetChangedFields())
			}
		}
	}
	got, err := c.Gateways.GetGateway(ctx, &adminv1.GetGatewayRequest{Name: "eng"})
	if err != nil {
		t.Fatal(err)
	}
	g := got.GetGateway()
	if a := g.GetAuthentication(); a.GetOauth() == nil || a.GetBearerToken() == nil || !slices.Equal(a.GetIdJag().GetIdentityProviders(), []string{"okta"}) || !slices.Equal(g.GetScopesSupported(), []string{"mcp", "mcp:write"}) {
		t.Errorf("got %v with scopes %v", a, g.GetScopesSupported())
	}
	text := "kind: Gateway\nname: x\nvisibility: {organization: {}}\nicon: x\n"
	_, err = manifest.Load([]manifest.Source{{Name: "m", Data: []byte(text)}}, secrets)
	if err == nil || !strings.Contains(err.Error(), "m:4:") || !strings.Contains(err.Error(), "is not enforced by this version yet") {
		t.Errorf("got %v", err)
	}
}
