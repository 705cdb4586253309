// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// jwtStorage is the provider's storage that issues JWTs as access tokens to one client, for an audience that an administrator of
// the provider has set, with a scope.
type jwtStorage struct {
	groupsOf

	client   string
	audience []string
}

// jwtClient gets JWTs.
type jwtClient struct{ op.Client }

// AccessTokenType implements op.Client.
func (jwtClient) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

// forGateway is an authorization whose tokens are for the audience.
type forGateway struct {
	op.AuthRequest

	audience []string
}

// GetAudience implements op.AuthRequest.
func (f forGateway) GetAudience() []string { return f.audience }

// GetClientByClientID implements op.Storage.
func (s *jwtStorage) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := s.groupsOf.GetClientByClientID(ctx, id)
	if err != nil || id != s.client {
		return c, err
	}
	return jwtClient{c}, nil
}

// AuthRequestByCode implements op.Storage.
func (s *jwtStorage) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	r, err := s.groupsOf.AuthRequestByCode(ctx, code)
	if err != nil || r.GetClientID() != s.client {
		return r, err
	}
	return forGateway{r, s.audience}, nil
}

// GetPrivateClaimsFromScopes implements op.Storage: the claims of JWTs.
func (s *jwtStorage) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return map[string]any{"scope": "openid mcp"}, nil
}

const jwksClient = "mcp-client"

// jwksManifests are a gateway that accepts tokens of the provider and nothing else, one for other tokens of it, and one that
// accepts none of it; ada has an account at the provider, sam has one that nobody here knows.
func jwksManifests(issuer, upstream, mcpURL, authentication string) string {
	return fmt.Sprintf(`
kind: User
name: ada@example.com
identities: [{issuer: %[1]q, subject: engineering}]
---
kind: Team
name: eng
members: [{user: ada@example.com}]
---
kind: IdentityProvider
name: example
issuer: %[1]q
client_id: penstock
client_secret: {from_env: PROVIDER_SECRET}
gateway_tokens: true
signing_algorithms: [RS256]
max_token_age: 3600s
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
visibility: {team: {teams: [eng]}}
authentication: %[4]s
tools:
- {tool: bench/echo, pinned: {connection: bench}}
---
kind: Gateway
name: other
visibility: {organization: {}}
authentication: {jwks: {issuers: [{identity_provider: example, audiences: [%[3]sother]}]}}
tools:
- {tool: bench/echo, pinned: {connection: bench}}
---
kind: Gateway
name: plain
visibility: {organization: {}}
authentication: {oauth: {}}
tools:
- {tool: bench/echo, pinned: {connection: bench}}
`, issuer, upstream, mcpURL, authentication)
}

// TestIdentityProviderTokens: an MCP client that knows a gateway's URL alone finds the organisation's provider, logs in there,
// and uses the gateway with the provider's own token (auth.md §7), which counts nowhere else.
func TestIdentityProviderTokens(t *testing.T) {
	a := newAlone(t)
	people := map[string]person{
		"engineering": {Username: "ada", Email: "ada@example.com", Password: rand.Text()},
		"sales":       {Username: "sam", Email: "sam@example.com", Password: rand.Text()},
	}
	p := a.startEmpty("PENSTOCK_EGRESS_ALLOW_LOOPBACK=true")
	answers := make(chan url.Values, 1)
	callback := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { answers <- r.URL.Query() }))
	defer callback.Close()
	gateway := a.endpoints().MCP + "tools"
	provider := newJWTProvider(t, a.endpoints().Authserver+"/login/callback/example", people, callback.URL+"/callback", gateway)
	provider.up()
	upstream := newUpstream(t, "").URL
	const own = "{oauth: {}}"
	accepting := fmt.Sprintf("{jwks: {issuers: [{identity_provider: example, audiences: [%q]}]}}", gateway)
	apply := func(authentication string) {
		t.Helper()
		a.applyWith([]string{"PROVIDER_SECRET=" + provider.secret}, jwksManifests(provider.issuer(), upstream, a.endpoints().MCP, authentication))
	}
	apply(accepting)
	if out := a.cli("describe", "gateway", "tools"); !strings.Contains(out.stdout, "Tokens of identity providers") || !strings.Contains(out.stdout, "tokens of example") {
		t.Errorf("describe says\n%s", out.stdout)
	}
	if out := a.cli("export"); !strings.Contains(out.stdout, "gateway_tokens: true") || !strings.Contains(out.stdout, "identity_provider: example") {
		t.Errorf("export says\n%s", out.stdout)
	}

	ada := mcpGoAtProvider(t, a, provider, people["engineering"], callback.URL, answers)
	got := provider.logIn(people["engineering"], callback.URL+"/callback", answers)
	metadata := strings.Replace(gateway, "/v1/mcp/", "/.well-known/oauth-protected-resource/v1/mcp/", 1)
	challenge := func(name, description string) string {
		return `Bearer resource_metadata="` + strings.Replace(metadata, "/tools", "/"+name, 1) + `", scope="mcp", error="invalid_token", error_description="` + description + `"`
	}
	const missing, invalid = "Authentication required", "The access token is invalid or expired"
	sam := provider.logIn(people["sales"], callback.URL+"/callback", answers)
	for _, tt := range []struct {
		name, gateway, token string
		status               int
		challenge            string
	}{
		{"no token", "tools", "", 401, challenge("tools", missing)},
		{"the token of the MCP client", "tools", ada, 400, ""}, // no message in the body, which is read last
		{"an ID token (JW-4)", "tools", got.ID, 401, challenge("tools", invalid)},
		{"at another gateway of the provider (JW-2)", "other", ada, 401, challenge("other", invalid)},
		{"at a gateway without the provider", "plain", ada, 401, challenge("plain", invalid)},
		{"somebody whom nobody knows (JW-11)", "tools", sam.Access, 403, "Bearer"},
		{"with another signature", "tools", ada[:strings.LastIndex(ada, ".")+1] + strings.Split(sam.Access, ".")[2], 401, challenge("tools", invalid)},
	} {
		if status, header := bare(t, a.endpoints().MCP+tt.gateway, tt.token); status != tt.status || header != tt.challenge {
			t.Errorf("%s: %d %s, want %d %s", tt.name, status, header, tt.status, tt.challenge)
		}
	}
	if status, text := get(t, metadata); status != 200 || !strings.Contains(text, `"authorization_servers":["`+provider.issuer()+`"]`) {
		t.Errorf("metadata: %d %s", status, text)
	}
	provider.down() // what is known goes on (JW-7)
	if err := (caller{url: gateway, token: ada}).echo(t.Context(), "bench__echo"); err != nil {
		t.Errorf("without the provider: %v", err)
	}
	p.stop()
	first := p
	p = a.startEmpty("PENSTOCK_EGRESS_ALLOW_LOOPBACK=true") // the keys are on the node's disk
	eventually(t, 5*time.Second, func() error {
		if err := (caller{url: gateway, token: ada}).echo(t.Context(), "bench__echo"); err != nil {
			return fmt.Errorf("after a restart without the provider: %w", err)
		}
		return nil
	})
	apply(own)
	if status, header := bare(t, gateway, ada); status != 401 || header != challenge("tools", invalid) {
		t.Errorf("with jwks off: %d %s", status, header)
	}
	if status, text := get(t, metadata); status != 200 || strings.Contains(text, provider.issuer()) {
		t.Errorf("metadata with jwks off: %d %s", status, text)
	}
	apply(accepting)
	if err := (caller{url: gateway, token: ada}).echo(t.Context(), "bench__echo"); err != nil {
		t.Errorf("with jwks on again: %v", err)
	}
	a.apply("{kind: User, name: ada@example.com, deactivated: true}\n")
	eventually(t, 5*time.Second, func() error {
		if status, header := bare(t, gateway, ada); status != 401 || header != challenge("tools", invalid) {
			return fmt.Errorf("somebody deactivated: %d %s", status, header)
		}
		return nil
	})
	p.stop()
	noSecrets(t, []*program{first, p}, databases(t, a.data), provider.secret, ada, got.ID, sam.Access)
}

// newJWTProvider prepares a provider that issues access tokens for an audience to the MCP client.
func newJWTProvider(t *testing.T, redirect string, people map[string]person, callback, audience string) *identityProvider {
	t.Helper()
	storage.RegisterClients(storage.NativeClient(jwksClient, callback))
	return newProviderWith(t, redirect, people, func(s groupsOf) exampleop.Storage {
		return &jwtStorage{groupsOf: s, client: jwksClient, audience: []string{audience}}
	})
}

// mcpGoAtProvider has mcp-go's OAuth client find the provider, log somebody in and call a tool, and returns its access token.
func mcpGoAtProvider(t *testing.T, a *alone, p *identityProvider, who person, callback string, answers <-chan url.Values) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), oauthWithin)
	defer cancel()
	config := transport.OAuthConfig{
		ClientID: jwksClient, RedirectURI: callback + "/callback", PKCEEnabled: true, Scopes: []string{"openid"}, TokenStore: transport.NewMemoryTokenStore(),
	}
	connect := func() (*client.Client, error) {
		c, err := client.NewOAuthStreamableHttpClient(a.endpoints().MCP+"tools", config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := c.Start(ctx); err != nil {
			return c, err
		}
		_, err = c.Initialize(ctx, mcp.InitializeRequest{Params: mcp.InitializeParams{
			ProtocolVersion: "2025-11-25", ClientInfo: mcp.Implementation{Name: "e2e-jwks-mcp-go", Version: "1"},
		}})
		return c, err
	}
	_, err := connect()
	if !client.IsOAuthAuthorizationRequiredError(err) {
		t.Fatalf("without a login: %v, want that authorization is required", err)
	}
	handler := client.GetOAuthHandler(err)
	if found := issuerOf(ctx, t, handler); found != p.issuer() {
		t.Fatalf("the client found the issuer %q", found)
	}
	verifier, err := client.GenerateCodeVerifier()
	if err != nil {
		t.Fatal(err)
	}
	state, err := client.GenerateState()
	if err != nil {
		t.Fatal(err)
	}
	at, err := handler.GetAuthorizationURL(ctx, state, client.GenerateCodeChallenge(verifier))
	if err != nil {
		t.Fatalf("make the authorization URL: %v", err)
	}
	answer := p.enter(who, at, answers)
	if err := handler.ProcessAuthorizationResponse(ctx, answer.Get("code"), state, verifier); err != nil {
		t.Fatalf("exchange the code: %v", err)
	}
	c, err := connect()
	if err != nil {
		t.Fatalf("connect after the login: %v", err)
	}
	tools, err := c.ListTools(ctx, mcp.ListToolsRequest{})
	if err != nil || !slices.ContainsFunc(tools.Tools, func(tool mcp.Tool) bool { return tool.Name == "bench__echo" }) {
		t.Fatalf("list tools: %v, %v", tools, err)
	}
	result, err := c.CallTool(ctx, mcp.CallToolRequest{Params: mcp.CallToolParams{Name: "bench__echo", Arguments: map[string]any{"message": "hello"}}})
	if err != nil || result.IsError {
		t.Fatalf("call: %v, %v", result, err)
	}
	token, err := config.TokenStore.GetToken(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return token.AccessToken
}

// providerTokens is what the provider's token endpoint answers.
type providerTokens struct {
	Access string `json:"access_token"`
	ID     string `json:"id_token"`
}

// logIn logs somebody in for the MCP client, by hand.
func (p *identityProvider) logIn(who person, callback string, answers <-chan url.Values) (t providerTokens) {
	p.t.Helper()
	verifier, err := client.GenerateCodeVerifier()
	if err != nil {
		p.t.Fatal(err)
	}
	answer := p.enter(who, p.issuer()+"/auth?"+url.Values{
		"client_id": {jwksClient}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid"}, "state": {rand.Text()}, "nonce": {rand.Text()},
		"code_challenge": {client.GenerateCodeChallenge(verifier)}, "code_challenge_method": {"S256"},
	}.Encode(), answers)
	r, err := http.PostForm(p.issuer()+"/oauth/token", url.Values{
		"grant_type": {"authorization_code"}, "client_id": {jwksClient}, "redirect_uri": {callback}, "code": answer["code"], "code_verifier": {verifier},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(&t); err != nil || t.Access == "" || t.ID == "" {
		p.t.Fatalf("the provider answered %s (%v)", r.Status, err)
	}
	return t
}

// enter fills in the provider's login page at an authorization URL and returns what came to the callback.
func (p *identityProvider) enter(who person, at string, answers <-chan url.Values) url.Values {
	p.t.Helper()
	page, err := http.Get(at)
	if err != nil {
		p.t.Fatal(err)
	}
	text, err := io.ReadAll(page.Body)
	if err := errors.Join(err, page.Body.Close()); err != nil {
		p.t.Fatal(err)
	}
	id := page.Request.URL.Query().Get("authRequestID")
	if id == "" {
		p.t.Fatalf("no login page at the provider: %s at %s: %s", page.Status, page.Request.URL.Path, text)
	}
	done, err := http.PostForm(p.issuer()+"/login/username", url.Values{"id": {id}, "username": {who.Username}, "password": {who.Password}})
	if err != nil {
		p.t.Fatal(err)
	}
	text, err = io.ReadAll(done.Body)
	if err := errors.Join(err, done.Body.Close()); err != nil {
		p.t.Fatal(err)
	}
	select {
	case answer := <-answers:
		return answer
	default:
		p.t.Fatalf("nothing came to the callback; the provider answered %s at %s: %s", done.Status, done.Request.URL.Path, text)
		return nil
	}
}

// bare sends a request without a message and returns its status and challenge.
func bare(t *testing.T, gateway, token string) (status int, challenge string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, gateway, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return got.StatusCode, errorless(t, got)
}

func errorless(t *testing.T, r *http.Response) string {
	t.Helper()
	if err := r.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return r.Header.Get("WWW-Authenticate")
}
