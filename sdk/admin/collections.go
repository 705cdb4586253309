// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"iter"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	adminv1connect "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1/adminv1connect"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// Servers administers the approved MCP servers.
type Servers struct {
	adminv1connect.ServerServiceClient
}

// Connections administers installed servers and their credentials.
type Connections struct {
	adminv1connect.ConnectionServiceClient
}

// Tools shows the discovered tools and accepts changed definitions.
type Tools struct {
	adminv1connect.ToolServiceClient
}

// Gateways administers gateways.
type Gateways struct {
	adminv1connect.GatewayServiceClient
}

// Teams administers teams.
type Teams struct {
	adminv1connect.TeamServiceClient
}

// Users administers users and sets their passwords.
type Users struct {
	adminv1connect.UserServiceClient
}

// BearerTokens administers static tokens.
type BearerTokens struct {
	adminv1connect.BearerTokenServiceClient
}

// IdentityProviders administers the OpenID Connect providers that people log in with.
type IdentityProviders struct {
	adminv1connect.IdentityProviderServiceClient
}

// OAuthClients administers pre-registered OAuth clients and makes their secrets.
type OAuthClients struct {
	adminv1connect.OAuthClientServiceClient
}

// Approvals lists the tool calls that wait for a person, and decides about them.
type Approvals struct {
	adminv1connect.ApprovalServiceClient
}

// Policies administers the rules on tool calls.
type Policies struct {
	adminv1connect.PolicyServiceClient
}

// ResultPolicies administers the rules on the results of tools.
type ResultPolicies struct {
	adminv1connect.ResultPolicyServiceClient
}

// Explain says what would become of tool calls.
type Explain struct {
	adminv1connect.ExplainServiceClient
}

// Nodes shows the data-plane nodes.
type Nodes struct {
	adminv1connect.NodeServiceClient
}

// Audit shows tool calls and writes through the admin API.
type Audit struct {
	adminv1connect.AuditServiceClient
}

// Configuration applies and exports whole configurations and waits for their enforcement.
type Configuration struct {
	adminv1connect.ConfigurationServiceClient
}

// All yields every server that the request's filter admits, in name order, fetching page after page. The request may be nil;
// its page_token is where to begin. After an error nothing more is yielded.
func (c Servers) All(ctx context.Context, req *adminv1.ListServersRequest) iter.Seq2[*resourcev1.Server, error] {
	return pages(req, func(q *adminv1.ListServersRequest) ([]*resourcev1.Server, string, error) {
		res, err := c.ListServers(ctx, q)
		return res.GetServers(), res.GetNextPageToken(), err
	})
}

// All yields every connection that the request's filter admits; see [Servers.All].
func (c Connections) All(ctx context.Context, req *adminv1.ListConnectionsRequest) iter.Seq2[*resourcev1.Connection, error] {
	return pages(req, func(q *adminv1.ListConnectionsRequest) ([]*resourcev1.Connection, string, error) {
		res, err := c.ListConnections(ctx, q)
		return res.GetConnections(), res.GetNextPageToken(), err
	})
}

// All yields every tool that the request's filter admits, without definitions; see [Servers.All].
func (c Tools) All(ctx context.Context, req *adminv1.ListToolsRequest) iter.Seq2[*resourcev1.Tool, error] {
	return pages(req, func(q *adminv1.ListToolsRequest) ([]*resourcev1.Tool, string, error) {
		res, err := c.ListTools(ctx, q)
		return res.GetTools(), res.GetNextPageToken(), err
	})
}

// All yields every event that the request's filter admits, the newest first; see [Servers.All]. It is for requests without after_id.
func (c Audit) All(ctx context.Context, req *adminv1.ListAuditEventsRequest) iter.Seq2[*adminv1.AuditEvent, error] {
	return pages(req, func(q *adminv1.ListAuditEventsRequest) ([]*adminv1.AuditEvent, string, error) {
		res, err := c.ListAuditEvents(ctx, q)
		return res.GetEvents(), res.GetNextPageToken(), err
	})
}

// All yields every gateway that the request's filter admits; see [Servers.All].
func (c Gateways) All(ctx context.Context, req *adminv1.ListGatewaysRequest) iter.Seq2[*resourcev1.Gateway, error] {
	return pages(req, func(q *adminv1.ListGatewaysRequest) ([]*resourcev1.Gateway, string, error) {
		res, err := c.ListGateways(ctx, q)
		return res.GetGateways(), res.GetNextPageToken(), err
	})
}

// All yields every team that the request's filter admits; see [Servers.All].
func (c Teams) All(ctx context.Context, req *adminv1.ListTeamsRequest) iter.Seq2[*resourcev1.Team, error] {
	return pages(req, func(q *adminv1.ListTeamsRequest) ([]*resourcev1.Team, string, error) {
		res, err := c.ListTeams(ctx, q)
		return res.GetTeams(), res.GetNextPageToken(), err
	})
}

// All yields every user that the request's filter admits; see [Servers.All].
func (c Users) All(ctx context.Context, req *adminv1.ListUsersRequest) iter.Seq2[*resourcev1.User, error] {
	return pages(req, func(q *adminv1.ListUsersRequest) ([]*resourcev1.User, string, error) {
		res, err := c.ListUsers(ctx, q)
		return res.GetUsers(), res.GetNextPageToken(), err
	})
}

// All yields every bearer token that the request's filter admits, without the tokens themselves; see [Servers.All].
func (c BearerTokens) All(ctx context.Context, req *adminv1.ListBearerTokensRequest) iter.Seq2[*resourcev1.BearerToken, error] {
	return pages(req, func(q *adminv1.ListBearerTokensRequest) ([]*resourcev1.BearerToken, string, error) {
		res, err := c.ListBearerTokens(ctx, q)
		return res.GetBearerTokens(), res.GetNextPageToken(), err
	})
}

// All yields every identity provider that the request's filter admits, without secrets; see [Servers.All].
func (c IdentityProviders) All(ctx context.Context, req *adminv1.ListIdentityProvidersRequest) iter.Seq2[*resourcev1.IdentityProvider, error] {
	return pages(req, func(q *adminv1.ListIdentityProvidersRequest) ([]*resourcev1.IdentityProvider, string, error) {
		res, err := c.ListIdentityProviders(ctx, q)
		return res.GetIdentityProviders(), res.GetNextPageToken(), err
	})
}

// All yields every OAuth client that the request's filter admits, without secrets; see [Servers.All].
func (c OAuthClients) All(ctx context.Context, req *adminv1.ListOAuthClientsRequest) iter.Seq2[*resourcev1.OAuthClient, error] {
	return pages(req, func(q *adminv1.ListOAuthClientsRequest) ([]*resourcev1.OAuthClient, string, error) {
		res, err := c.ListOAuthClients(ctx, q)
		return res.GetOauthClients(), res.GetNextPageToken(), err
	})
}

// All yields every policy that the request's filter admits; see [Servers.All].
func (c Policies) All(ctx context.Context, req *adminv1.ListPoliciesRequest) iter.Seq2[*resourcev1.Policy, error] {
	return pages(req, func(q *adminv1.ListPoliciesRequest) ([]*resourcev1.Policy, string, error) {
		res, err := c.ListPolicies(ctx, q)
		return res.GetPolicies(), res.GetNextPageToken(), err
	})
}

// All yields every result policy that the request's filter admits; see [Servers.All].
func (c ResultPolicies) All(ctx context.Context, req *adminv1.ListResultPoliciesRequest) iter.Seq2[*resourcev1.ResultPolicy, error] {
	return pages(req, func(q *adminv1.ListResultPoliciesRequest) ([]*resourcev1.ResultPolicy, string, error) {
		res, err := c.ListResultPolicies(ctx, q)
		return res.GetResultPolicies(), res.GetNextPageToken(), err
	})
}

// All yields every node known, connected or not; see [Servers.All].
func (c Nodes) All(ctx context.Context, req *adminv1.ListNodesRequest) iter.Seq2[*adminv1.Node, error] {
	return pages(req, func(q *adminv1.ListNodesRequest) ([]*adminv1.Node, string, error) {
		res, err := c.ListNodes(ctx, q)
		return res.GetNodes(), res.GetNextPageToken(), err
	})
}

// All yields every approval in the request's state that the caller can decide, the newest first; see [Servers.All].
func (c Approvals) All(ctx context.Context, req *adminv1.ListApprovalsRequest) iter.Seq2[*adminv1.Approval, error] {
	return pages(req, func(q *adminv1.ListApprovalsRequest) ([]*adminv1.Approval, string, error) {
		res, err := c.ListApprovals(ctx, q)
		return res.GetApprovals(), res.GetNextPageToken(), err
	})
}
