// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"net"
	"os"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/controlplane"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
)

// freeAddress returns an address on which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// TestOldAuthserverStopsOAuth: the admin API refuses a server with a credential that a connected authserver would not know how to get,
// naming the authserver, and takes it when that was updated (D-37).
func TestOldAuthserverStopsOAuth(t *testing.T) {
	p, api := startAdministered(t)
	create := func() error {
		_, err := api.Servers.CreateServer(t.Context(), &adminv1.CreateServerRequest{Server: &resourcev1.Server{
			Name: "crm", Transport: &resourcev1.Server_StreamableHttp{StreamableHttp: &resourcev1.StreamableHttp{Url: "https://crm.example.com/mcp"}},
			Credential: &resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_Oauth{Oauth: &resourcev1.OAuthCredential{}}},
		}})
		return err
	}
	_, atOld := follow(t, p.LocalAuthserver())
	receive(t, "the old authserver's state", atOld.kinds)
	refused, ok := admin.AsError(create())
	if !ok || refused.Code != "failed_precondition" || refused.Reason != "AUTHSERVER_LACKS_CAPABILITY" || !strings.Contains(refused.Message, "yet: local; update") {
		t.Fatalf("with an old authserver: %+v", refused)
	}
	atOld.stop()
	_, atNew := follow(t, p.LocalAuthserver(), "upstream_oauth")
	receive(t, "the new authserver's state", atNew.kinds)
	if err := create(); err != nil {
		t.Errorf("with a new authserver: %v", err)
	}
}

// startAdministered starts a control plane in memory, with a client of its admin API.
func startAdministered(t *testing.T) (*controlplane.ControlPlane, *admin.Client) {
	t.Helper()
	var settings controlplane.Settings
	p := startLocal(t, func(s *controlplane.Settings) {
		s.Admin.Listen = freeAddress(t)
		settings = *s
	})
	token, err := os.ReadFile(settings.Bootstrap.TokenFile)
	if err != nil {
		t.Fatal(err)
	}
	api, err := admin.New("http://"+settings.Admin.Listen, strings.TrimSpace(string(token)))
	if err != nil {
		t.Fatal(err)
	}
	return p, api
}

// TestOldNodeStopsOAuth: the admin API refuses a gateway with OAuth while a node is connected that cannot enforce it, naming
// the node, and takes it when the node was updated (D-37).
func TestOldNodeStopsOAuth(t *testing.T) {
	p, api := startAdministered(t)
	create := func() error {
		_, err := api.Gateways.CreateGateway(t.Context(), &adminv1.CreateGatewayRequest{Gateway: &resourcev1.Gateway{
			Name: "eng", Visibility: &resourcev1.Visibility{Kind: &resourcev1.Visibility_Organization{Organization: &resourcev1.OrganizationVisibility{}}},
			Authentication: &resourcev1.Authentication{Oauth: &resourcev1.OAuthAuthentication{}, BearerToken: &resourcev1.BearerTokenAuthentication{}},
		}})
		return err
	}
	_, atAuthserver := follow(t, p.LocalAuthserver()) // announces nothing, and decides no calls
	receive(t, "the authserver's state", atAuthserver.kinds)
	_, atOld := follow(t, p.Local(), "bearer_token")
	receive(t, "the old node's state", atOld.kinds)
	refused, ok := admin.AsError(create())
	if !ok || refused.Code != "failed_precondition" || refused.Reason != "NODE_LACKS_CAPABILITY" || !strings.Contains(refused.Message, "yet: local; update") {
		t.Fatalf("with an old node: %+v", refused)
	}
	atOld.stop() // it would come back, and then the newest would be the old one again
	_, atNew := follow(t, p.Local(), "bearer_token", "oauth")
	receive(t, "the new node's state", atNew.kinds)
	if err := create(); err != nil {
		t.Errorf("with a new node: %v", err)
	}
}
