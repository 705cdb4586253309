// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin/manifest"
)

// secretsFolder is where manifests say that their secrets are: {from_file: "secret/the value itself"}.
const secretsFolder = "secret/"

// Manifest reads the YAML documents of a test. A secret is written {from_file: secret/VALUE}.
func Manifest(t testing.TB, yaml string) []*adminv1.ManifestResource {
	t.Helper()
	secrets := manifest.Secrets{ReadFile: func(path string) ([]byte, error) {
		_, value, _ := strings.Cut(path, secretsFolder)
		return []byte(value), nil
	}}
	set, err := manifest.Load([]manifest.Source{{Name: t.Name(), Data: []byte(yaml)}}, secrets)
	if err != nil {
		t.Fatalf("manifest of the test: %v", err)
	}
	return set.Resources
}

// Apply applies YAML documents as the administrator, without waiting for the nodes.
func (e *Env) Apply(t testing.TB, yaml string) {
	t.Helper()
	if _, err := e.Admin.Configuration.Apply(t.Context(), &adminv1.ApplyRequest{Resources: Manifest(t, yaml)}); err != nil {
		t.Fatalf("apply: %v", err)
	}
}

// Discover asks a server for its tools, once a node follows the control plane. connection is empty for a server that needs
// no credential.
func (e *Env) Discover(t testing.TB, server, connection string) *adminv1.DiscoverServerResponse {
	t.Helper()
	found, err := e.Admin.Servers.DiscoverServer(t.Context(), &adminv1.DiscoverServerRequest{Name: server, Connection: connection})
	if err != nil {
		t.Fatalf("discover %s: %v", server, err)
	}
	return found
}

// WaitEnforced waits until every node that is connected enforces the head, and fails if one does not or is missing.
func (e *Env) WaitEnforced(t testing.TB) {
	t.Helper()
	running := 0
	for _, n := range e.Nodes {
		if n.cancel != nil {
			running++
		}
	}
	var last *adminv1.WaitEnforcedResponse
	Until(t, "all nodes to enforce the head", func() bool { // a node that is about to connect is not waited for by the server
		r, err := e.Admin.Configuration.WaitEnforced(t.Context(), &adminv1.WaitEnforcedRequest{Timeout: durationpb.New(patience)})
		if err != nil {
			t.Fatalf("wait for enforcement: %v", err)
		}
		last = r
		return r.GetEnforced() && len(r.GetEnforcingNodes()) >= running
	})
	if len(last.GetLaggingNodes()) > 0 {
		t.Fatalf("enforced, but these nodes lag: %v", last.GetLaggingNodes())
	}
}

// OfUser is a person as the owner of a token.
func OfUser(email string) *resourcev1.Owner {
	return &resourcev1.Owner{Kind: &resourcev1.Owner_User{User: email}}
}

// OfTeam is a team as the owner of a token.
func OfTeam(name string) *resourcev1.Owner {
	return &resourcev1.Owner{Kind: &resourcev1.Owner_Team{Team: name}}
}

// OfOrganization is the organisation as the owner of a token.
func OfOrganization() *resourcev1.Owner {
	return &resourcev1.Owner{Kind: &resourcev1.Owner_Organization{Organization: &resourcev1.OrganizationOwner{}}}
}

// Token is a bearer token that a test made.
type Token struct {
	Name, Text string
}

// Token makes a token for gateways; without gateways it is for the admin API.
func (e *Env) Token(t testing.TB, owner *resourcev1.Owner, gateways ...string) Token {
	t.Helper()
	made, err := e.Admin.BearerTokens.CreateBearerToken(t.Context(), &adminv1.CreateBearerTokenRequest{BearerToken: &resourcev1.BearerToken{
		Owner: owner, Gateways: gateways, AdminApi: len(gateways) == 0, Ttl: durationpb.New(time.Hour),
	}})
	if err != nil {
		t.Fatalf("make a token: %v", err)
	}
	return Token{Name: made.GetBearerToken().GetName(), Text: made.GetToken()}
}

// Revoke deletes a token.
func (e *Env) Revoke(t testing.TB, token Token) {
	t.Helper()
	if _, err := e.Admin.BearerTokens.DeleteBearerToken(t.Context(), &adminv1.DeleteBearerTokenRequest{Name: token.Name}); err != nil {
		t.Fatalf("revoke a token: %v", err)
	}
}
