// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"context"
	"fmt"
	"net/http/httptest"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/internal/adminfake"
)

// The address and the token are those of your control plane; here a small stand-in serves.
func Example() {
	server := httptest.NewServer(adminfake.New().Handler())
	defer server.Close()
	ctx := context.Background()

	client, err := admin.New(server.URL, adminfake.Token)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = client.Gateways.CreateGateway(ctx, &adminv1.CreateGatewayRequest{Gateway: &resourcev1.Gateway{
		Name:           "eng",
		Visibility:     &resourcev1.Visibility{Kind: &resourcev1.Visibility_Team{Team: &resourcev1.TeamVisibility{Teams: []string{"eng"}}}},
		Authentication: &resourcev1.Authentication{BearerToken: &resourcev1.BearerTokenAuthentication{}},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for gateway, err := range client.Gateways.All(ctx, nil) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(gateway.GetName(), gateway.GetVisibility().GetTeam().GetTeams())
	}
	// Output: eng [eng]
}

func ExampleIsNotFound() {
	server := httptest.NewServer(adminfake.New().Handler())
	defer server.Close()
	client, err := admin.New(server.URL, adminfake.Token)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = client.Gateways.GetGateway(context.Background(), &adminv1.GetGatewayRequest{Name: "eng"})
	if admin.IsNotFound(err) {
		fmt.Println("no such gateway")
	}
	if e, ok := admin.AsError(err); ok {
		fmt.Println(e.Reason)
	}
	// Output:
	// no such gateway
	// GATEWAY_NOT_FOUND
}

// A write made by one program is obeyed everywhere once WaitEnforced says so.
func ExampleConfiguration() {
	api := adminfake.New()
	api.Nodes = []*adminv1.Node{{Name: "node-1", Connected: true, EnforcedRevision: 1}}
	server := httptest.NewServer(api.Handler())
	defer server.Close()
	ctx := context.Background()
	client, err := admin.New(server.URL, adminfake.Token)
	if err != nil {
		fmt.Println(err)
		return
	}
	applied, err := client.Configuration.Apply(ctx, &adminv1.ApplyRequest{Resources: []*adminv1.ManifestResource{
		{Resource: &adminv1.ManifestResource_Team{Team: &resourcev1.Team{Name: "eng"}}},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range applied.GetResources() {
		fmt.Println(r.GetKind(), r.GetName(), r.GetAction())
	}
	enforced, err := client.Configuration.WaitEnforced(ctx, &adminv1.WaitEnforcedRequest{Revision: applied.GetRevision()})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("enforced:", enforced.GetEnforced(), enforced.GetEnforcingNodes())
	// Output:
	// Team eng created
	// enforced: true [node-1]
}
