// SPDX-License-Identifier: Apache-2.0

package adminapi_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
)

// ok is the code of a call that succeeds.
const ok connect.Code = 0

const (
	denied   = connect.CodePermissionDenied
	notFound = connect.CodeNotFound
)

// row is one call and what each role gets for it.
type row struct {
	name                  string
	member, editor, admin connect.Code
	call                  func(context.Context, *admin.Client) error
}

// TestRoles is G-5 and G-7: each method of the API by each role, and by nobody. Writes are validated only, so that rows do not
// change what others see.
func TestRoles(t *testing.T) {
	w := newWorld(t)
	for _, r := range slices.Concat(readRows(), registryRows(), peopleRows(), loginRows(), policyRows(), resultPolicyRows(), w.approvalRows(t), explainRows()) {
		for user, want := range map[string]connect.Code{
			memberUser: r.member, editorUser: r.editor, adminUser: r.admin, "": connect.CodeUnauthenticated,
		} {
			t.Run(r.name+"/"+user, func(t *testing.T) {
				err := r.call(t.Context(), w.client(t, user))
				got := ok
				if err != nil {
					got = connect.CodeOf(err)
				}
				if got != want {
					t.Errorf("got %v (%v), want %v", got, err, want)
				}
				if e, ours := admin.AsError(err); err != nil && (!ours || e.Reason == "" || e.RequestID == "") {
					t.Errorf("the error has no reason or no request id: %+v", e)
				}
			})
		}
	}
}

// TestRolesIsComplete: a method without a row fails. A row's name begins with its method.
func TestRolesIsComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range slices.Concat(readRows(), registryRows(), peopleRows(), loginRows(), policyRows(), resultPolicyRows(), approvalRows(), explainRows()) {
		method, _, _ := strings.Cut(r.name, " ")
		seen[strings.TrimSuffix(method, ",")] = true
	}
	protoregistry.GlobalFiles.RangeFilesByPackage("penstock.admin.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				if name := string(methods.Get(j).Name()); !seen[name] {
					t.Errorf("%s has no row in TestRoles", name)
				}
			}
		}
		return true
	})
}

func readRows() []row {
	return []row{
		{"GetServer", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Servers.GetServer(ctx, &adminv1.GetServerRequest{Name: "everything"})
			return err
		}},
		{"ListServers", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Servers.ListServers(ctx, &adminv1.ListServersRequest{})
			return err
		}},
		{"GetConnection", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Connections.GetConnection(ctx, &adminv1.GetConnectionRequest{Name: "shared"})
			return err
		}},
		{"ListConnections", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Connections.ListConnections(ctx, &adminv1.ListConnectionsRequest{})
			return err
		}},
		{"GetTool", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Tools.GetTool(ctx, &adminv1.GetToolRequest{Name: "everything/echo"})
			return err
		}},
		{"ListTools", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Tools.ListTools(ctx, &adminv1.ListToolsRequest{})
			return err
		}},
		{"GetGateway", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Gateways.GetGateway(ctx, &adminv1.GetGatewayRequest{Name: "eng"})
			return err
		}},
		{"ListGateways", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Gateways.ListGateways(ctx, &adminv1.ListGatewaysRequest{})
			return err
		}},
		{"GetConnectInstructions", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Gateways.GetConnectInstructions(ctx, &adminv1.GetConnectInstructionsRequest{Gateway: "eng"})
			return err
		}},
		{"ListTeams", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Teams.ListTeams(ctx, &adminv1.ListTeamsRequest{})
			return err
		}},
		{"GetTeam", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Teams.GetTeam(ctx, &adminv1.GetTeamRequest{Name: "crew"})
			return err
		}},
		{"ListUsers", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Users.ListUsers(ctx, &adminv1.ListUsersRequest{})
			return err
		}},
		{"GetUser", ok, notFound, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Users.GetUser(ctx, &adminv1.GetUserRequest{Name: memberUser})
			return err
		}},
		{"ListBearerTokens", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.BearerTokens.ListBearerTokens(ctx, &adminv1.ListBearerTokensRequest{})
			return err
		}},
		{"Export", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Configuration.Export(ctx, &adminv1.ExportRequest{})
			return err
		}},
		{"GetHead", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Configuration.GetHead(ctx, &adminv1.GetHeadRequest{})
			return err
		}},
		{"ListRevisions", denied, denied, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Configuration.ListRevisions(ctx, &adminv1.ListRevisionsRequest{})
			return err
		}},
		{"Rollback", denied, denied, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Configuration.Rollback(ctx, &adminv1.RollbackRequest{Revision: 1, ValidateOnly: true})
			return err
		}},
		{"GetRollout", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Configuration.GetRollout(ctx, &adminv1.GetRolloutRequest{})
			return err
		}},
		{"PromoteRollout", denied, denied, connect.CodeFailedPrecondition, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Configuration.PromoteRollout(ctx, &adminv1.PromoteRolloutRequest{Revision: 1})
			return err
		}},
		{"WaitEnforced", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Configuration.WaitEnforced(ctx, &adminv1.WaitEnforcedRequest{})
			return err
		}},
		{"ListAuditEvents", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Audit.ListAuditEvents(ctx, &adminv1.ListAuditEventsRequest{})
			return err
		}},
		{"ListNodes", denied, denied, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Nodes.ListNodes(ctx, &adminv1.ListNodesRequest{})
			return err
		}},
		{"CreateJoinToken", denied, denied, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Nodes.CreateJoinToken(ctx, &adminv1.CreateJoinTokenRequest{Name: "n1"})
			return err
		}},
		{"BanWorkload", denied, denied, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Nodes.BanWorkload(ctx, &adminv1.BanWorkloadRequest{Name: "n1"})
			return err
		}},
		{"GetNode", denied, denied, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Nodes.GetNode(ctx, &adminv1.GetNodeRequest{Name: "node-1"})
			return err
		}},
		{"GetBearerToken of an admin", notFound, notFound, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.BearerTokens.GetBearerToken(ctx, &adminv1.GetBearerTokenRequest{Name: "of-admin"})
			return err
		}},
	}
}

func registryRows() []row {
	return []row{
		{"CreateConnectLink", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Connections.CreateConnectLink(ctx, &adminv1.CreateConnectLinkRequest{Server: "everything"})
			return err
		}},
		{"CreateServer over HTTP", denied, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Servers.CreateServer(ctx, &adminv1.CreateServerRequest{Server: httpServer("new"), ValidateOnly: true})
			return err
		}},
		{"CreateServer over stdio", denied, denied, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Servers.CreateServer(ctx, &adminv1.CreateServerRequest{Server: stdioServer("new"), ValidateOnly: true})
			return err
		}},
		{"UpdateServer", denied, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Servers.UpdateServer(ctx, &adminv1.UpdateServerRequest{Server: &resourcev1.Server{Name: "everything", DisplayName: "x"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name"}}, ValidateOnly: true})
			return err
		}},
		{"UpdateServer to stdio", denied, denied, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Servers.UpdateServer(ctx, &adminv1.UpdateServerRequest{Server: turnedStdio("unused"), ValidateOnly: true})
			return err
		}},
		{"DeleteServer", denied, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Servers.DeleteServer(ctx, &adminv1.DeleteServerRequest{Name: "unused", ValidateOnly: true})
			return err
		}},
		{"UndeleteServer", denied, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Servers.UndeleteServer(ctx, &adminv1.UndeleteServerRequest{Name: "gone", ValidateOnly: true})
			return err
		}},
		{"DiscoverServer", denied, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Servers.DiscoverServer(ctx, &adminv1.DiscoverServerRequest{Name: "everything"})
			return err
		}},
		{"AcceptTool", denied, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Tools.AcceptTool(ctx, &adminv1.AcceptToolRequest{Name: "everything/changed", PendingBodyHash: hashOf(changedLater), ValidateOnly: true})
			return err
		}},
		{"AcceptServerInstructions", denied, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Servers.AcceptServerInstructions(ctx, &adminv1.AcceptServerInstructionsRequest{Name: "everything", PendingInstructionsHash: hashOf(instructionsLater), ValidateOnly: true})
			return err
		}},
		{"CreateConnection of the organisation", denied, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Connections.CreateConnection(ctx, &adminv1.CreateConnectionRequest{Connection: orgConnection("new", "everything"), ValidateOnly: true})
			return err
		}},
		{"CreateConnection of a member", ok, denied, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Connections.CreateConnection(ctx, &adminv1.CreateConnectionRequest{Connection: userConnection("new", memberUser), ValidateOnly: true})
			return err
		}},
		{"CreateConnection of an editor", denied, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Connections.CreateConnection(ctx, &adminv1.CreateConnectionRequest{Connection: userConnection("new", editorUser), ValidateOnly: true})
			return err
		}},
		{"UpdateConnection", denied, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Connections.UpdateConnection(ctx, &adminv1.UpdateConnectionRequest{Connection: &resourcev1.Connection{Name: "shared", Labels: map[string]string{"a": "b"}}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"labels"}}, ValidateOnly: true})
			return err
		}},
		{"DeleteConnection", denied, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Connections.DeleteConnection(ctx, &adminv1.DeleteConnectionRequest{Name: "shared", ValidateOnly: true})
			return err
		}},
		{"CreateGateway of the organisation", denied, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Gateways.CreateGateway(ctx, &adminv1.CreateGatewayRequest{Gateway: orgGateway("new"), ValidateOnly: true})
			return err
		}},
		{"CreateGateway of a member", ok, denied, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Gateways.CreateGateway(ctx, &adminv1.CreateGatewayRequest{Gateway: personalGateway("new", memberUser), ValidateOnly: true})
			return err
		}},
		{"UpdateGateway", denied, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Gateways.UpdateGateway(ctx, &adminv1.UpdateGatewayRequest{Gateway: &resourcev1.Gateway{Name: "eng", DisplayName: "x"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name"}}, ValidateOnly: true})
			return err
		}},
		{"DeleteGateway", denied, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Gateways.DeleteGateway(ctx, &adminv1.DeleteGatewayRequest{Name: "eng", ValidateOnly: true})
			return err
		}},
		{"UndeleteGateway", denied, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Gateways.UndeleteGateway(ctx, &adminv1.UndeleteGatewayRequest{Name: "gone", ValidateOnly: true})
			return err
		}},
		{"Apply", denied, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Configuration.Apply(ctx, &adminv1.ApplyRequest{Resources: []*adminv1.ManifestResource{{Resource: &adminv1.ManifestResource_Server{Server: httpServer("new")}}}, ValidateOnly: true})
			return err
		}},
	}
}

func peopleRows() []row {
	return []row{
		{"CreateTeam", denied, denied, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Teams.CreateTeam(ctx, &adminv1.CreateTeamRequest{Team: &resourcev1.Team{Name: "new"}, ValidateOnly: true})
			return err
		}},
		{"UpdateTeam", denied, denied, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Teams.UpdateTeam(ctx, &adminv1.UpdateTeamRequest{Team: &resourcev1.Team{Name: "crew", DisplayName: "x"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name"}}, ValidateOnly: true})
			return err
		}},
		{"DeleteTeam", denied, denied, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Teams.DeleteTeam(ctx, &adminv1.DeleteTeamRequest{Name: "crew", ValidateOnly: true})
			return err
		}},
		{"CreateUser", denied, denied, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Users.CreateUser(ctx, &adminv1.CreateUserRequest{User: &resourcev1.User{Name: "new@example.com"}, ValidateOnly: true})
			return err
		}},
		{"UpdateUser, role", denied, notFound, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Users.UpdateUser(ctx, &adminv1.UpdateUserRequest{User: &resourcev1.User{Name: memberUser, Role: resourcev1.Role_ROLE_ADMIN}, ValidateOnly: true})
			return err
		}},
		{"DeleteUser", notFound, notFound, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Users.DeleteUser(ctx, &adminv1.DeleteUserRequest{Name: "leaver@example.com", ValidateOnly: true})
			return err
		}},
		{"CreateBearerToken of the organisation", denied, denied, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.BearerTokens.CreateBearerToken(ctx, &adminv1.CreateBearerTokenRequest{BearerToken: &resourcev1.BearerToken{Gateways: []string{"eng"}, Owner: &resourcev1.Owner{Kind: &resourcev1.Owner_Organization{Organization: &resourcev1.OrganizationOwner{}}}}, ValidateOnly: true})
			return err
		}},
		{"CreateBearerToken of a service account", denied, denied, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.BearerTokens.CreateBearerToken(ctx, &adminv1.CreateBearerTokenRequest{BearerToken: &resourcev1.BearerToken{Gateways: []string{"eng"}, Owner: &resourcev1.Owner{Kind: &resourcev1.Owner_ServiceAccount{ServiceAccount: "ci"}}}, ValidateOnly: true})
			return err
		}},
		{"CreateBearerToken of a member", ok, denied, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.BearerTokens.CreateBearerToken(ctx, &adminv1.CreateBearerTokenRequest{BearerToken: &resourcev1.BearerToken{Gateways: []string{"eng"}, Owner: userOwner(memberUser)}, ValidateOnly: true})
			return err
		}},
		{"RotateBearerToken of a member", ok, notFound, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.BearerTokens.RotateBearerToken(ctx, &adminv1.RotateBearerTokenRequest{Name: "of-member", ValidateOnly: true})
			return err
		}},
		{"DeleteBearerToken of a member", ok, notFound, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.BearerTokens.DeleteBearerToken(ctx, &adminv1.DeleteBearerTokenRequest{Name: "of-member", ValidateOnly: true})
			return err
		}},
	}
}
