// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// assertingStorage is the provider's storage with a policy: Penstock may exchange ID tokens.
type assertingStorage struct{ groupsOf }

// ValidateTokenExchangeRequest implements op.TokenExchangeStorage.
func (assertingStorage) ValidateTokenExchangeRequest(_ context.Context, r op.TokenExchangeRequest) error {
	if r.GetClientID() != "penstock" || r.GetExchangeSubjectTokenType() != oidc.IDTokenType {
		return errors.New("this client may not exchange this token")
	}
	return nil
}

// partnerManifests are a server that is a gateway of another Penstock, and takes what that one gives for identity assertions.
func partnerManifests(issuer, gateway, partner, tools string) string {
	return fmt.Sprintf(`
kind: User
name: ada@example.com
identities: [{issuer: %[1]q, subject: engineering}]
---
kind: IdentityProvider
name: example
display_name: Example Login
issuer: %[1]q
client_id: penstock
client_secret: {from_env: PROVIDER_SECRET}
token_exchange: {}
---
kind: Server
name: partner
streamable_http: {url: %[2]q}
visibility: {organization: {}}
credential:
  token_exchange:
    identity_provider: example
    grant: ID_JAG
    issuer: %[3]q
    client_id: agent
    client_secret: {from_env: AGENT_SECRET}
    scopes: [mcp]
---
kind: Connection
name: ada-partner
server: partner
owner: {user: ada@example.com}
---
kind: Gateway
name: tools
visibility: {organization: {}}
authentication: {oauth: {}}
%[4]s`, issuer, gateway, partner, tools)
}

// TestIdentityAssertionToUpstream is Enterprise-Managed Authorization between two Penstocks (auth.md §6a, §6b): one has the
// organisation's provider assert to the other who calls, so that nobody is asked for anything, and a gateway there is a server here.
func TestIdentityAssertionToUpstream(t *testing.T) {
	here, there := newAlone(t), newAlone(t)
	ada := person{Username: "ada", Email: "ada@example.com", Password: rand.Text()}
	p := here.startEmpty("PENSTOCK_EGRESS_ALLOW_LOOPBACK=true")
	q := there.startEmpty("PENSTOCK_EGRESS_ALLOW_LOOPBACK=true")
	provider := newProviderWith(t, here.endpoints().Authserver+"/login/callback/example", map[string]person{"engineering": ada},
		func(s groupsOf) exampleop.Storage { return assertingStorage{s} })
	provider.app.idAtPenstock = "agent"
	provider.up()
	secret := "PROVIDER_SECRET=" + provider.secret
	there.applyWith([]string{secret}, assertingManifests(provider.issuer(), newUpstream(t, "").URL))
	agentSecret := strings.TrimSpace(there.cli("oauth-client", "create-secret", "agent").stdout)
	gateway := there.endpoints().MCP + "tools"
	apply := func(tools string, args ...string) {
		t.Helper()
		here.applyArgs([]string{secret, "AGENT_SECRET=" + agentSecret}, partnerManifests(provider.issuer(), gateway, there.endpoints().Authserver, tools), args...)
	}
	apply("", "--wait")

	client := registerClient(t, here.endpoints().MCP+"tools")
	first := client.attempt()
	b := newSurfer(t)
	ended := b.logIn(b.open(first.url), provider, ada)
	ended = b.submit(ended, "/consent", "decision", "allow")
	c := client.caller(client.redeem(first, walked{Ended: ended.at, Seen: []string{ended.text}}))
	apply("tools:\n- {tool: partner/bench__echo, resolve_at_call_time: {}}\n", "--discover", "--wait")
	if err := c.echo(t.Context(), "partner__bench__echo"); err != nil {
		t.Errorf("call: %v", err)
	}
	if !there.hasUser(ada) {
		t.Error("the other Penstock does not know who called")
	}

	// It does not take her any more: she gets a link, and no 401 (§16 155).
	there.apply("{kind: Gateway, name: tools, visibility: {organization: {}}, authentication: {oauth: {}}}\n")
	eventually(t, 10*time.Second, func() error {
		got, err := c.tool(t.Context(), "partner__bench__echo", map[string]any{"message": "x"})
		if err != nil || got.status != http.StatusOK || !got.failed || connectLink(here.endpoints().Authserver, got.body) == "" {
			return unlike("a call that the other does not take", got, err)
		}
		return nil
	})
	there.apply("{kind: Gateway, name: tools, visibility: {organization: {}}, authentication: {id_jag: {identity_providers: [example]}}}\n")
	p.stop()
	q.stop()
	secrets := []string{ada.Password, provider.secret, agentSecret, c.token}
	noSecrets(t, []*program{p}, databases(t, here.data), secrets...)
	noSecrets(t, []*program{q}, databases(t, there.data), secrets...)
}
