// SPDX-License-Identifier: Apache-2.0

package catalog

import "github.com/penstockhq/penstock/controlplane/internal/catalog/resource"

// The resources of the domain; their data and the rules each obeys by itself are in package resource.
type (
	// Kind is a kind of resource.
	Kind = resource.Kind
	// Object is any resource with its own service: not an assignment, which belongs to its gateway.
	Object = resource.Object
	// Meta is embedded in every resource.
	Meta = resource.Meta
	// Server is an MCP server approved for the organisation.
	Server = resource.Server
	// Connection is an installed server with a credential.
	Connection = resource.Connection
	// Tool is a tool discovered on a server.
	Tool = resource.Tool
	// Gateway is a named MCP endpoint.
	Gateway = resource.Gateway
	// ToolAssignment is one tool on one gateway.
	ToolAssignment = resource.ToolAssignment
	// Team is a group of users.
	Team = resource.Team
	// User is a person.
	User = resource.User
	// IdentityProvider is an OpenID Connect provider that people log in with.
	IdentityProvider = resource.IdentityProvider
	// OAuthClient is an OAuth client registered by an administrator.
	OAuthClient = resource.OAuthClient
	// Policy is a rule on tool calls.
	Policy = resource.Policy
	// ResultPolicy is a rule on the results of tools.
	ResultPolicy = resource.ResultPolicy
	// BearerToken is a static bearer token.
	BearerToken = resource.BearerToken
	// Role is what a user may administer.
	Role = resource.Role
)

// The kinds of resources.
const (
	KindServer      = resource.KindServer
	KindConnection  = resource.KindConnection
	KindTool        = resource.KindTool
	KindGateway     = resource.KindGateway
	KindAssignment  = resource.KindAssignment
	KindTeam        = resource.KindTeam
	KindUser        = resource.KindUser
	KindBearerToken = resource.KindBearerToken
	KindTeamMember  = resource.KindTeamMember

	KindIdentityProvider = resource.KindIdentityProvider
	KindOAuthClient      = resource.KindOAuthClient
	KindPolicy           = resource.KindPolicy
	KindResultPolicy     = resource.KindResultPolicy
)

// The roles.
const (
	RoleMember = resource.RoleMember
	RoleEditor = resource.RoleEditor
	RoleAdmin  = resource.RoleAdmin
)

// NewObject returns an empty resource of a kind; a kind without a service of its own is an error.
func NewObject(k Kind) (Object, error) { return resource.New(k) }
