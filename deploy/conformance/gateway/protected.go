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
	// Person owns the token of the gateway.
	Person Person
}

// Protect registers a server and makes a gateway of its own for it, on which nothing is yet but whatever resources the server has:
// what else it has is known only to whoever has a credential for it. It returns when the node serves the gateway.
func (p *Penstock) Protect(ctx context.Context, s Protected) (Gateway, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	connection := ""
	if s.Shared {
		connection = fmt.Sprintf("---\nkind: Connection\nname: %[1]s\nserver: %[1]s\nowner: {organization: {}}\n", s.Name)
	}
	err := p.applyWith(ctx, fmt.Sprintf(`
kind: Server
name: %[1]s
streamable_http: {url: %[2]q}
protocol: %[3]q
credential: %[4]s
tool_changes: ACCEPT
visibility: {organization: {}}
%[5]s%[6]s`, s.Name, s.URL, s.Protocol, s.Credential, connection, protectedGateway(s.Name, nil)), s.Secrets)
	if err != nil {
		return Gateway{}, fmt.Errorf("register %s: %w", s.Name, err)
	}
	made, err := p.admin.BearerTokens.CreateBearerToken(ctx, &adminv1.CreateBearerTokenRequest{BearerToken: &resourcev1.BearerToken{
		Name: s.Name, Gateways: []string{s.Name}, Owner: &resourcev1.Owner{Kind: &resourcev1.Owner_User{User: s.Person.Email}},
	}})
	if err != nil {
		return Gateway{}, fmt.Errorf("make a token for %s: %w", s.Name, err)
	}
	return Gateway{URL: p.mcp + "/v1/mcp/" + s.Name, Token: made.GetToken()}, p.enforced(ctx, s.Name, made.GetRevision())
}

// Fill discovers a protected server with a connection that there is by now, and puts its tools on its gateway.
func (p *Penstock) Fill(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := p.admin.Servers.DiscoverServer(ctx, &adminv1.DiscoverServerRequest{Name: name})
	if err != nil {
		return fmt.Errorf("discover %s: %w", name, err)
	}
	var tools []string
	for _, tool := range found.GetTools() {
		tools = append(tools, tool.GetName())
	}
	if err := p.apply(ctx, protectedGateway(name, tools)); err != nil {
		return fmt.Errorf("put the tools on %s: %w", name, err)
	}
	return p.enforced(ctx, name, 0)
}

// protectedGateway is a gateway whose calls choose the caller's own connection, or the shared one.
func protectedGateway(name string, tools []string) string {
	var yaml strings.Builder
	fmt.Fprintf(&yaml, `---
kind: Gateway
name: %[1]s
visibility: {organization: {}}
authentication: {bearer_token: {}}
naming: {prefix: NEVER}
server_features:
- {server: %[1]s, resolve_at_call_time: {}, resources: true}
`, name)
	if len(tools) > 0 {
		yaml.WriteString("tools:\n")
	}
	for _, tool := range tools {
		fmt.Fprintf(&yaml, "- {tool: %q, resolve_at_call_time: {}}\n", tool)
	}
	return yaml.String()
}

// enforced waits until the node obeys a revision, or the newest for 0.
func (p *Penstock) enforced(ctx context.Context, name string, revision uint64) error {
	waited, err := p.admin.Configuration.WaitEnforced(ctx, &adminv1.WaitEnforcedRequest{Revision: revision, Timeout: durationpb.New(patience)})
	if err == nil && !waited.GetEnforced() {
		err = errors.New("the node does not serve it yet")
	}
	if err != nil {
		return fmt.Errorf("wait for gateway %s: %w", name, err)
	}
	return nil
}
