// SPDX-License-Identifier: Apache-2.0

package standalone

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/penstockhq/penstock/deploy/standalone/demo"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/run"
)

// demonstration is the demo MCP server and its configuration, made through the admin API as a user would.
type demonstration struct {
	c   Config
	url string // of the demo server
}

// tokenLife of the demo token; a start makes a new one when the old one has less than tokenRenewal left.
const (
	tokenLife    = 365 * 24 * time.Hour
	tokenRenewal = 30 * 24 * time.Hour
)

// listen opens the demo server on a free loopback port: its address is nothing that anybody needs to know.
func (d *demonstration) listen() (run.Task, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return run.Task{}, fmt.Errorf("listen for the demo server: %w", err)
	}
	d.url = "http://" + l.Addr().String() + demo.Path
	server := &http.Server{Handler: demo.Handler(d.c.Version), ReadHeaderTimeout: 10 * time.Second}
	return run.HTTPServer("demo server", l, server, time.Second), nil
}

// configure brings the demo's resources into the wanted state and makes sure that demo.token works. It can run at every
// start: what is there already stays, and so does what somebody changed about the gateway.
func (d *demonstration) configure(ctx context.Context) error {
	client, err := admin.New(origin(d.c.Admin.Listen), read(d.c.path(adminTokenFile)), admin.WithHTTPClient(oneCall()))
	if err != nil {
		return err
	}
	_, err = client.Configuration.Apply(ctx, &adminv1.ApplyRequest{Resources: d.server()})
	if admin.IsUnauthenticated(err) {
		return fault.Newf(fault.Precondition, "ADMIN_TOKEN_REFUSED",
			"The control plane refuses the token in %s: put a good one there, or delete the file to have one made.", d.c.path(adminTokenFile)).Because(err)
	}
	if err != nil {
		return fmt.Errorf("apply the demo server: %w", err)
	}
	found, err := discover(ctx, client)
	if err != nil {
		return fmt.Errorf("discover the demo server: %w", err)
	}
	if _, err := client.Gateways.GetGateway(ctx, &adminv1.GetGatewayRequest{Name: demoGateway}); admin.IsNotFound(err) {
		request := &adminv1.CreateGatewayRequest{Gateway: gateway(found)}
		if _, err := client.Gateways.CreateGateway(ctx, request); err != nil {
			return fmt.Errorf("create the demo gateway: %w", err)
		}
	} else if err != nil {
		return err
	}
	if err := d.token(ctx, client); err != nil {
		return err
	}
	if err := d.user(ctx, client); err != nil {
		return err
	}
	_, err = client.Configuration.WaitEnforced(ctx, &adminv1.WaitEnforcedRequest{Timeout: durationpb.New(10 * time.Second)})
	return err
}

// discover asks for the tools, as soon as the node is connected.
func discover(ctx context.Context, client *admin.Client) ([]*resourcev1.Tool, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !connected(ctx, client) {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the node to connect: %w", ctx.Err())
		case <-tick.C:
		}
	}
	found, err := client.Servers.DiscoverServer(ctx, &adminv1.DiscoverServerRequest{Name: demoGateway})
	return found.GetTools(), err
}

// connected reports whether a node follows the control plane.
func connected(ctx context.Context, client *admin.Client) bool {
	for n, err := range client.Nodes.All(ctx, nil) {
		if err == nil && n.GetConnected() {
			return true
		}
	}
	return false
}

func (d *demonstration) server() []*adminv1.ManifestResource {
	everyone := &resourcev1.Visibility{Kind: &resourcev1.Visibility_Organization{Organization: &resourcev1.OrganizationVisibility{}}}
	owner := &resourcev1.Owner{Kind: &resourcev1.Owner_Organization{Organization: &resourcev1.OrganizationOwner{}}}
	return []*adminv1.ManifestResource{
		{Resource: &adminv1.ManifestResource_Server{Server: &resourcev1.Server{
			Name: demoGateway, DisplayName: "Demo", Description: "Small tools to try a gateway with.", Visibility: everyone,
			Transport: &resourcev1.Server_StreamableHttp{StreamableHttp: &resourcev1.StreamableHttp{Url: d.url}},
		}}},
		{Resource: &adminv1.ManifestResource_Connection{Connection: &resourcev1.Connection{
			Name: demoGateway, Server: demoGateway, Owner: owner,
		}}},
	}
}

func gateway(tools []*resourcev1.Tool) *resourcev1.Gateway {
	g := &resourcev1.Gateway{
		Name: demoGateway, DisplayName: "Demo", Description: "A gateway to try.",
		Instructions: "Small tools to try a gateway with.",
		Visibility:   &resourcev1.Visibility{Kind: &resourcev1.Visibility_Organization{Organization: &resourcev1.OrganizationVisibility{}}},
		Authentication: &resourcev1.Authentication{
			BearerToken: &resourcev1.BearerTokenAuthentication{}, Oauth: &resourcev1.OAuthAuthentication{},
		},
		ServerFeatures: []*resourcev1.ServerFeature{{
			Server: demoGateway, Resources: true, Prompts: true,
			Mode: &resourcev1.ServerFeature_Pinned{Pinned: &resourcev1.Pinned{Connection: demoGateway}},
		}},
	}
	for _, t := range tools {
		g.Tools = append(g.Tools, &resourcev1.ToolAssignment{
			Tool: t.GetName(), Mode: &resourcev1.ToolAssignment_Pinned{Pinned: &resourcev1.Pinned{Connection: demoGateway}},
		})
	}
	return g
}

// token makes a personal token for the demo gateway, unless the one in demo.token is still good.
func (d *demonstration) token(ctx context.Context, client *admin.Client) error {
	path := d.c.path(demoTokenFile)
	if read(path) != "" {
		kept, err := client.BearerTokens.GetBearerToken(ctx, &adminv1.GetBearerTokenRequest{Name: demoGateway})
		if err == nil && time.Until(kept.GetBearerToken().GetExpireTime().AsTime()) > tokenRenewal {
			return nil
		}
	}
	if _, err := client.BearerTokens.DeleteBearerToken(ctx, &adminv1.DeleteBearerTokenRequest{Name: demoGateway}); err != nil && !admin.IsNotFound(err) {
		return err
	}
	made, err := client.BearerTokens.CreateBearerToken(ctx, &adminv1.CreateBearerTokenRequest{BearerToken: &resourcev1.BearerToken{
		Name: demoGateway, DisplayName: "Demo", Gateways: []string{demoGateway}, Ttl: durationpb.New(tokenLife),
		Owner: &resourcev1.Owner{Kind: &resourcev1.Owner_User{User: adminEmail}},
	}})
	if err != nil {
		return fmt.Errorf("make the demo token: %w", err)
	}
	return write(path, []byte(made.GetToken()+"\n"), 0o600)
}
