// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// Person is somebody who uses gateways and connects servers, at the pages of the issuer.
type Person struct {
	Issuer, Email, Password string
}

// Person makes a person with a password.
func (p *Penstock) Person(ctx context.Context) (Person, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	who := Person{Issuer: p.issuer, Email: rand.Text() + "@penstock.test", Password: rand.Text()}
	who.Email = strings.ToLower(who.Email)
	if err := p.apply(ctx, "kind: User\nname: "+who.Email+"\n"); err != nil {
		return who, fmt.Errorf("make a person: %w", err)
	}
	if _, err := p.admin.Users.SetUserPassword(ctx, &adminv1.SetUserPasswordRequest{Name: who.Email, Password: who.Password}); err != nil {
		return who, fmt.Errorf("set the password: %w", err)
	}
	return who, nil
}

// Protected is an MCP server that takes access tokens of an authorization server.
type Protected struct {
	Server

	// Credential is how Penstock gets them, as in a manifest; secrets in it are {from_env: NAME}.
	Credential string
	Secrets    map[string]string
	// Shared says that one connection is for everybody, which the organisation has.
	Shared bool
	// StandIn is the URL of a server with the same tools that takes everybody; for what is not shared.
	StandIn string
	// Person owns the token of the gateway.
	Person Person
	// Provider is what Credential refers to by the name of the server; nil if it refers to none.
	Provider *Provider
}

// ProviderSecret is the name in Secrets of Penstock's secret at a [Provider].
const ProviderSecret = "PROVIDER_SECRET"

// Provider is an identity provider whose logins leave what Penstock exchanges.
type Provider struct {
	// Issuer is its identifier.
	Issuer string
	// ClientID is Penstock's there.
	ClientID string
	// Subject is the person of the gateway's token there.
	Subject string
}

func (p *Provider) yaml(name, email string) string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf(providerYAML, name, p.Issuer, p.ClientID, ProviderSecret, email, p.Subject)
}

// Protect registers a server and puts its tools on a gateway of its own, whose calls choose the caller's own connection, or the shared
// one. It returns when the node serves the gateway.
func (p *Penstock) Protect(ctx context.Context, s Protected) (Gateway, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	real := fmt.Sprintf(serverYAML, s.Name, s.URL, s.Protocol, s.Credential)
	connection := fmt.Sprintf("---\nkind: Connection\nname: %[1]s\nserver: %[1]s\nowner: {organization: {}}\n", s.Name)
	first := real
	if !s.Shared {
		first = fmt.Sprintf(serverYAML, s.Name, s.StandIn, s.Protocol, "{none: {}}")
	}
	if _, err := p.applyWith(ctx, s.Provider.yaml(s.Name, s.Person.Email)+first+connection, s.Secrets); err != nil {
		return Gateway{}, fmt.Errorf("register %s: %w", s.Name, err)
	}
	found, err := p.admin.Servers.DiscoverServer(ctx, &adminv1.DiscoverServerRequest{Name: s.Name})
	if err != nil {
		return Gateway{}, fmt.Errorf("discover %s: %w", s.Name, err)
	}
	second := "---\n"
	if !s.Shared {
		if _, err := p.admin.Connections.DeleteConnection(ctx, &adminv1.DeleteConnectionRequest{Name: s.Name}); err != nil {
			return Gateway{}, fmt.Errorf("take the stand-in of %s away: %w", s.Name, err)
		}
		second = real
	}
	var tools strings.Builder
	for _, tool := range found.GetTools() {
		fmt.Fprintf(&tools, "- {tool: %q, resolve_at_call_time: {}}\n", tool.GetName())
	}
	if _, err := p.applyWith(ctx, second+fmt.Sprintf(protectedYAML, s.Name, tools.String()), s.Secrets); err != nil {
		return Gateway{}, fmt.Errorf("make gateway %s: %w", s.Name, err)
	}
	made, err := p.admin.BearerTokens.CreateBearerToken(ctx, &adminv1.CreateBearerTokenRequest{BearerToken: &resourcev1.BearerToken{
		Name: s.Name, Gateways: []string{s.Name}, Owner: &resourcev1.Owner{Kind: &resourcev1.Owner_User{User: s.Person.Email}},
	}})
	if err != nil {
		return Gateway{}, fmt.Errorf("make a token for %s: %w", s.Name, err)
	}
	return Gateway{URL: p.mcp + "/v1/mcp/" + s.Name, Token: made.GetToken()}, p.enforced(ctx, s.Name, made.GetRevision())
}

// Settle returns when the node obeys everything that was changed before, such as a connection that somebody made on a page.
func (p *Penstock) Settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// A change of its own: the head may be a deletion for somebody else, and nodes obey those before all else.
	const name = "settled"
	revision, err := p.applyWith(ctx, fmt.Sprintf("kind: Team\nname: %s\nlabels: {at: %q}\n", name, rand.Text()), nil)
	if err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	return p.enforced(ctx, name, revision)
}

const (
	providerYAML = `
kind: IdentityProvider
name: %[1]s
issuer: %[2]q
client_id: %[3]q
client_secret: {from_env: %[4]s}
token_exchange: {}
---
kind: User
name: %[5]s
identities: [{issuer: %[2]q, subject: %[6]q}]
---`
	serverYAML = `
kind: Server
name: %[1]s
streamable_http: {url: %[2]q}
protocol: %[3]q
credential: %[4]s
tool_changes: ACCEPT
visibility: {organization: {}}
`
	protectedYAML = `---
kind: Gateway
name: %[1]s
visibility: {organization: {}}
authentication: {bearer_token: {}}
naming: {prefix: NEVER}
tools:
%[2]s`
)

// enforced waits until the node obeys a revision.
func (p *Penstock) enforced(ctx context.Context, name string, revision uint64) error {
	waited, err := p.admin.Configuration.WaitEnforced(ctx, &adminv1.WaitEnforcedRequest{Revision: revision, Timeout: durationpb.New(patience)})
	if err == nil && !waited.GetEnforced() {
		err = errors.New("the node does not serve it yet")
	}
	if err != nil {
		return fmt.Errorf("wait for %s: %w", name, err)
	}
	return nil
}
