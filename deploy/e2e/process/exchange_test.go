// SPDX-License-Identifier: Apache-2.0

package process

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
)

// exchangeManifests are a server that takes what callers' tokens of the provider are exchanged for, with a connection of the
// organisation's and one of Ada's, and a gateway for logins and static tokens, and one for tokens of the provider.
func exchangeManifests(issuer, upstream, direct, tools string) string {
	return fmt.Sprintf(`
kind: User
name: ada@example.com
identities: [{issuer: %[1]q, subject: engineering}]
---
kind: User
name: bob@example.com
identities: [{issuer: %[1]q, subject: sales}]
---
kind: Team
name: eng
members: [{user: ada@example.com}]
---
kind: IdentityProvider
name: example
display_name: Example Login
issuer: %[1]q
client_id: penstock
client_secret: {from_env: PROVIDER_SECRET}
token_exchange: {}
gateway_tokens: true
signing_algorithms: [RS256]
max_token_age: 3600s
---
kind: Server
name: crm
streamable_http: {url: %[2]q}
visibility: {organization: {}}
credential: {token_exchange: {identity_provider: example, audience: crm, scopes: [openid, email]}}
---
kind: Connection
name: crm
server: crm
owner: {organization: {}}
---
kind: Connection
name: ada-crm
server: crm
owner: {user: ada@example.com}
---
kind: Gateway
name: tools
visibility: {organization: {}}
authentication: {oauth: {}, bearer_token: {}}
%[4]s
---
kind: Gateway
name: direct
visibility: {organization: {}}
authentication: {jwks: {issuers: [{identity_provider: example, audiences: [%[3]q]}]}}
%[4]s`, issuer, upstream, direct, tools)
}

// TestTokenExchange: whoever calls a tool is the same person at its server, by a token that the organisation's identity provider gives
// for the server alone (auth.md UP-6, G-12), however the caller comes: by a login, by a static token after a connect link, with a
// token of the provider itself (JW-13). Nobody without a person gets in (§16 154), and nobody who was deactivated.
func TestTokenExchange(t *testing.T) {
	a := newAlone(t)
	ada := person{Username: "ada", Email: "ada@example.com", Password: rand.Text()}
	bob := person{Username: "bob", Email: "bob@example.com", Password: rand.Text()}
	p := a.startEmpty("PENSTOCK_EGRESS_ALLOW_LOOPBACK=true")
	answers := make(chan url.Values, 1)
	callback := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { answers <- r.URL.Query() }))
	defer callback.Close()
	gateway, direct := a.endpoints().MCP+"tools", a.endpoints().MCP+"direct"
	exchanged := &exchanges{given: map[string]bool{}}
	storage.RegisterClients(storage.NativeClient(jwksClient, callback.URL+"/callback"))
	provider := newProviderWith(t, a.endpoints().Authserver+"/login/callback/example", map[string]person{"engineering": ada, "sales": bob},
		func(s groupsOf) exampleop.Storage {
			return exchangingStorage{&jwtStorage{groupsOf: s, client: jwksClient, audience: []string{direct}}, exchanged}
		})
	provider.up()
	upstream := newIdentityUpstream(t, provider)
	apply := func(tools string, args ...string) {
		t.Helper()
		a.applyArgs([]string{"PROVIDER_SECRET=" + provider.secret}, exchangeManifests(provider.issuer(), upstream.url, direct, tools), args...)
	}
	apply("", "--wait")

	// Ada logs in by way of an MCP client; with what that left her own connection is discovered.
	client := registerClient(t, gateway)
	first := client.attempt()
	b := newSurfer(t)
	ended := b.open(first.url)
	ended = b.logIn(ended, provider, ada)
	ended = b.submit(ended, "/consent", "decision", "allow")
	byOAuth := client.caller(client.redeem(first, walked{Ended: ended.at, Seen: []string{ended.text}}))
	apply("tools:\n- {tool: crm/whoami, pinned: {connection: crm}}\n", "--discover", "--wait")
	isAda := func(what string, c caller) {
		t.Helper()
		if got, err := c.tool(t.Context(), "crm__whoami", map[string]any{}); err != nil || got.text != "engineering" || got.failed {
			t.Errorf("%s: %v %s", what, err, got.body)
		}
	}

	// Another client of hers brings a token of the provider: it is exchanged, and the server never sees it.
	presented := provider.logIn(ada, callback.URL+"/callback", answers)
	isAda("Ada with a token of the provider", caller{url: direct, token: presented.Access})
	if ids := exchanged.of(); !slices.Contains(ids, jwtID(t, presented.Access)) {
		t.Errorf("the presented token was not exchanged: %q", ids)
	}
	if slices.Contains(upstream.seen(), presented.Access) {
		t.Error("the server saw the presented token")
	}

	isAda("Ada by OAuth", byOAuth)

	// Bob has a static token, and has never logged in with the provider: he gets a link that leads there.
	static := func(owner ...string) caller {
		t.Helper()
		made := a.cli(append([]string{"token", "create", "--gateway", "tools"}, owner...)...)
		if made.code != 0 {
			t.Fatalf("token create: exit code %d: %s", made.code, made.stderr)
		}
		return caller{url: gateway, token: strings.TrimSpace(made.stdout)}
	}
	bobs := static("--user", bob.Email)
	link := ""
	eventually(t, 5*time.Second, func() error { // until the node knows the token
		refused, err := bobs.tool(t.Context(), "crm__whoami", map[string]any{})
		if link = connectLink(a.endpoints().Authserver, refused.body); err != nil || !refused.failed || link == "" {
			return unlike("Bob without a login", refused, err)
		}
		return nil
	})
	b = newSurfer(t)
	ended = b.open(link)
	ended = b.logIn(ended, provider, bob)
	ended = b.connect(ended, provider, bob)
	if !strings.Contains(ended.text, "Connected") {
		t.Errorf("Bob ended at %s: %s", ended.at, ended.text)
	}
	eventually(t, 10*time.Second, func() error {
		got, err := bobs.tool(t.Context(), "crm__whoami", map[string]any{})
		if err != nil || got.text != "sales" || got.failed {
			return unlike("Bob after the link", got, err)
		}
		return nil
	})
	isAda("Ada after Bob", byOAuth)

	// Nobody without a person.
	for name, c := range map[string]caller{"a team": static("--team", "eng"), "the organisation": static("--organization")} {
		eventually(t, 5*time.Second, func() error { // until the node knows the token
			got, err := c.tool(t.Context(), "crm__whoami", map[string]any{})
			if err != nil || !got.failed || !strings.Contains(got.body, `"type":"CREDENTIAL_REQUIRES_USER"`) {
				return unlike(name, got, err)
			}
			return nil
		})
	}
	a.apply("{kind: User, name: bob@example.com, identities: [{issuer: " + provider.issuer() + ", subject: sales}], deactivated: true}\n")
	eventually(t, 5*time.Second, func() error {
		if got, err := bobs.tool(t.Context(), "crm__whoami", map[string]any{}); err != nil || got.status != http.StatusUnauthorized {
			return unlike("Bob, deactivated", got, err)
		}
		return nil
	})
	isAda("Ada after Bob's end", byOAuth)
	p.stop()
	secrets := append(upstream.seen(), ada.Password, bob.Password, provider.secret, presented.Access, byOAuth.token)
	noSecrets(t, []*program{p}, databases(t, a.data), secrets...)
}

// jwtID is the jti of a JWT.
func jwtID(t *testing.T, token string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		ID string `json:"jti"`
	}
	if err := json.Unmarshal(text, &c); err != nil || c.ID == "" {
		t.Fatalf("claims %s: %v", text, err)
	}
	return c.ID
}
