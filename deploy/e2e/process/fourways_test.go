// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
)

// way is one of the ways in which a client may call a gateway (auth.md §9, RS-20).
type way struct {
	name           string
	authentication string        // what the gateway's manifest says to have this way alone
	metadata       bool          // whether the challenge leads to metadata: without OAuth there are none (RS-1)
	enter          func() string // gets a token, while the way is on
}

// fourWaysManifests are a gateway with one way in, a provider for two of them, and ada, who can go all.
func fourWaysManifests(issuer, upstream, authentication string) string {
	return fmt.Sprintf(`
kind: User
name: ada@example.com
identities: [{issuer: %[1]q, subject: engineering}]
---
kind: IdentityProvider
name: example
issuer: %[1]q
client_id: penstock
client_secret: {from_env: PROVIDER_SECRET}
gateway_tokens: true
signing_algorithms: [RS256]
max_token_age: 3600s
id_jag: {max_lifetime: 300s}
---
kind: OAuthClient
name: agent
authentication: CLIENT_SECRET
---
kind: Server
name: bench
streamable_http: {url: %[2]q}
visibility: {organization: {}}
---
kind: Connection
name: bench
server: bench
owner: {organization: {}}
---
kind: Gateway
name: tools
visibility: {organization: {}}
authentication: %[3]s
tools:
- {tool: bench/echo, pinned: {connection: bench}}
`, issuer, upstream, authentication)
}

// TestFourWays has ada use one gateway in each of the four ways, of which one is on at a time: OAuth in a browser, an identity
// assertion (ID-JAG), a token of her identity provider, a static bearer token. With the one that is on a real client lists and calls
// a tool in both eras; the token of each other is refused, byte for byte, and so is the session that was opened with it (RS-20).
func TestFourWays(t *testing.T) {
	a := newAlone(t)
	ada := person{Username: "ada", Email: "ada@example.com", Password: rand.Text()}
	p := a.startEmpty("PENSTOCK_EGRESS_ALLOW_LOOPBACK=true")
	answers := make(chan url.Values, 1)
	callback := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { answers <- r.URL.Query() }))
	defer callback.Close()
	gateway := a.endpoints().MCP + "tools"
	provider := newJWTProvider(t, a.endpoints().Authserver+"/login/callback/example", map[string]person{"engineering": ada}, callback.URL+"/callback", gateway)
	provider.app.idAtPenstock = "agent"
	provider.up()
	upstream := newUpstream(t, "").URL
	turnOn := func(w way) {
		t.Helper()
		a.applyWith([]string{"PROVIDER_SECRET=" + provider.secret}, fourWaysManifests(provider.issuer(), upstream, w.authentication))
	}
	ways := []way{
		{"OAuth", "{oauth: {}}", true, func() string {
			c := registerClient(t, gateway)
			once := c.attempt()
			return c.redeem(once, walkAll(t, ada, "", once.url)[0]).Access
		}},
		{"ID-JAG", "{id_jag: {identity_providers: [example]}}", true, func() string {
			g := &agent{t: t, gateway: gateway, secret: strings.TrimSpace(a.cli("oauth-client", "create-secret", "agent").stdout)}
			g.discover()
			var got tokens
			g.redeem(provider.exchange(t, provider.signIn(t, ada), g.metadata.Issuer, gateway)).decode(t, &got)
			return got.Access
		}},
		{"identity provider's token", fmt.Sprintf("{jwks: {issuers: [{identity_provider: example, audiences: [%q]}]}}", gateway), true, func() string {
			return provider.logIn(ada, callback.URL+"/callback", answers).Access
		}},
		{"bearer token", "{bearer_token: {}}", false, func() string {
			token := strings.TrimSpace(a.cli("token", "create", "--user", ada.Email, "--gateway", "tools").stdout)
			a.revision() // when it is enforced
			return token
		}},
	}
	turnOn(ways[0])
	a.password(ada)
	held := make([]caller, len(ways)) // of each way a token, and the session that was opened with it
	for i, w := range ways {
		turnOn(w)
		c := caller{url: gateway, token: w.enter()}
		if c.token == "" {
			t.Fatalf("%s: no token", w.name)
		}
		var err error
		if held[i], err = c.initialize(t.Context()); err != nil {
			t.Fatalf("%s: %v", w.name, err)
		}
	}
	for i := range ways { // and each once more, so that each follows another one and is on again after it was off
		on := ways[i]
		t.Run(on.name, func(t *testing.T) {
			turnOn(on)
			for j, w := range ways {
				switch {
				case j != i:
					refusedBy(t, w.name+" where only "+on.name+" is on", held[j], on)
				default:
					listAndCall(t, gateway, held[j].token)
					if err := held[j].echo(t.Context(), "bench__echo"); err != nil {
						t.Errorf("in the session that was opened before: %v", err)
					}
				}
			}
		})
	}
	p.stop()
	secrets := []string{ada.Password, provider.secret}
	for _, c := range held {
		secrets = append(secrets, c.token)
	}
	noSecrets(t, []*program{p}, databases(t, a.data), secrets...)
}

// refusedBy checks that a token is refused in both eras and in the session that was opened with it, in the words of a gateway that
// has one way in.
func refusedBy(t *testing.T, what string, c caller, on way) {
	t.Helper()
	want := `Bearer error="invalid_token", error_description="The access token is invalid or expired"`
	if on.metadata {
		metadata := strings.Replace(c.url, "/v1/mcp/", "/.well-known/oauth-protected-resource/v1/mcp/", 1)
		want = `Bearer resource_metadata="` + metadata + `", scope="mcp", ` + strings.TrimPrefix(want, "Bearer ")
	}
	const body = `{"error":"invalid_token","error_description":"The access token is invalid or expired"}`
	for era, session := range map[string]string{"modern": "", "legacy": c.session} {
		got, err := caller{url: c.url, token: c.token, session: session}.tool(t.Context(), "bench__echo", map[string]any{"message": "hello"})
		if err != nil {
			t.Fatal(err)
		}
		if got.status != http.StatusUnauthorized || got.challenge != want || got.body != body {
			t.Errorf("%s, %s:\n%d %s\n%s\nwant 401 %s\n%s", what, era, got.status, got.challenge, got.body, want, body)
		}
	}
	if _, err := (caller{url: c.url, token: c.token}).initialize(t.Context()); err == nil {
		t.Errorf("%s: a session is opened", what)
	}
}

// listAndCall has mcp-go list the tools of a gateway whose only tool is bench's echo, and call it, in both eras.
func listAndCall(t *testing.T, gateway, token string) {
	t.Helper()
	for version, options := range map[string][]client.ClientOption{
		modern: nil,
		legacy: {client.WithLegacyProtocolOnly()}, //nolint:staticcheck // what the newest version took away is what this tests
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		if err := listAndCallIn(ctx, version, gateway, token, options...); err != nil {
			t.Errorf("mcp-go, %s: %v", version, err)
		}
		cancel()
	}
}

func listAndCallIn(ctx context.Context, version, gateway, token string, options ...client.ClientOption) (err error) {
	s, err := transport.NewStreamableHTTP(gateway, transport.WithHTTPHeaders(map[string]string{"Authorization": "Bearer " + token}))
	if err != nil {
		return err
	}
	c := client.NewClient(s, options...)
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.Start(ctx); err != nil {
		return err
	}
	if _, err := c.Initialize(ctx, mcp.InitializeRequest{Params: mcp.InitializeParams{
		ProtocolVersion: version, ClientInfo: mcp.Implementation{Name: "e2e-mcp-go", Version: "1"},
	}}); err != nil {
		return fmt.Errorf("initialize: %w", err)
	}
	if got := c.ProtocolVersion(); got != version {
		return fmt.Errorf("the version is %s", got)
	}
	tools, err := c.ListTools(ctx, mcp.ListToolsRequest{})
	if err != nil || len(tools.Tools) != 1 || tools.Tools[0].Name != "bench__echo" {
		return fmt.Errorf("list tools: %+v, %w", tools, err)
	}
	result, err := c.CallTool(ctx, mcp.CallToolRequest{Params: mcp.CallToolParams{Name: "bench__echo", Arguments: map[string]any{"message": "hello"}}})
	if err != nil || result.IsError {
		return fmt.Errorf("call a tool: %+v, %w", result, err)
	}
	if text, ok := result.Content[0].(mcp.TextContent); !ok || text.Text != "hello" {
		return fmt.Errorf("the tool answers %+v", result.Content)
	}
	return nil
}
