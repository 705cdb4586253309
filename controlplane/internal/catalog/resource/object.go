// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"fmt"
	"strings"
	"time"
)

// Kind is a kind of resource, as it stands in the revision log and on the node stream.
type Kind string

// The kinds. An assignment is one tool on one gateway: it is stored by itself under "<gateway>/<tool>" and belongs to
// its gateway everywhere else.
const (
	KindServer      Kind = "server"
	KindConnection  Kind = "connection"
	KindTool        Kind = "tool"
	KindGateway     Kind = "gateway"
	KindAssignment  Kind = "assignment"
	KindTeam        Kind = "team"
	KindUser        Kind = "user"
	KindBearerToken Kind = "bearer_token"
	// KindIdentityProvider and KindOAuthClient go to authservers and to every node (D-12), never with a secret.
	KindIdentityProvider Kind = "identity_provider"
	KindOAuthClient      Kind = "oauth_client"
	// KindPolicy and KindResultPolicy go to every node.
	KindPolicy       Kind = "policy"
	KindResultPolicy Kind = "result_policy"
	// KindTeamMember names one user's place in one team, "<team>/<user>". It is not stored: denials use it.
	KindTeamMember Kind = "team_member"
)

// Title returns the kind as people and manifests write it, for example "BearerToken".
func (k Kind) Title() string {
	switch k {
	case KindServer:
		return "Server"
	case KindConnection:
		return "Connection"
	case KindTool:
		return "Tool"
	case KindGateway:
		return "Gateway"
	case KindAssignment:
		return "ToolAssignment"
	case KindTeam:
		return "Team"
	case KindUser:
		return "User"
	case KindBearerToken:
		return "BearerToken"
	case KindIdentityProvider:
		return "IdentityProvider"
	case KindOAuthClient:
		return "OAuthClient"
	case KindPolicy:
		return "Policy"
	case KindResultPolicy:
		return "ResultPolicy"
	case KindTeamMember:
		return "TeamMember"
	default:
		return string(k)
	}
}

// Object is a resource: *[Server], *[Connection], *[Tool], *[Gateway], *[Team], *[User], *[BearerToken],
// *[IdentityProvider], *[OAuthClient], *[Policy] or *[ResultPolicy]. Its JSON form equals protojson with proto names of the
// penstock.resource.v1 message of the same name.
type Object interface {
	Kind() Kind
	// Metadata returns the embedded Meta. (It is not called Meta because Go does not let a field and a method share a
	// name.)
	Metadata() *Meta
}

// Meta is what every resource has. Name and Labels are input, the rest is output only, but for Etag, which a caller
// sends back to be compared.
type Meta struct {
	Name       string            `json:"name,omitempty"`
	UID        string            `json:"uid,omitempty"`
	Etag       string            `json:"etag,omitempty"`
	CreateTime time.Time         `json:"create_time,omitzero"`
	UpdateTime time.Time         `json:"update_time,omitzero"`
	Labels     map[string]string `json:"labels,omitempty"`
}

// Metadata returns m; embedding Meta makes it a method of each resource.
func (m *Meta) Metadata() *Meta { return m }

// Label returns the kind as it stands in a sentence, for example "bearer token".
func (k Kind) Label() string {
	if k == KindOAuthClient {
		return "OAuth client"
	}
	return strings.ReplaceAll(string(k), "_", " ")
}

// One returns the kind with its article, for example "a bearer token" or "an OAuth client".
func (k Kind) One() string {
	switch k {
	case KindAssignment, KindIdentityProvider, KindOAuthClient:
		return "an " + k.Label()
	default:
		return "a " + k.Label()
	}
}

// New returns an empty resource of a kind that is an [Object]; other kinds are an error.
func New(k Kind) (Object, error) {
	switch k {
	case KindServer:
		return new(Server), nil
	case KindConnection:
		return new(Connection), nil
	case KindTool:
		return new(Tool), nil
	case KindGateway:
		return new(Gateway), nil
	case KindTeam:
		return new(Team), nil
	case KindUser:
		return new(User), nil
	case KindBearerToken:
		return new(BearerToken), nil
	case KindIdentityProvider:
		return new(IdentityProvider), nil
	case KindOAuthClient:
		return new(OAuthClient), nil
	case KindPolicy:
		return new(Policy), nil
	case KindResultPolicy:
		return new(ResultPolicy), nil
	default:
		return nil, fmt.Errorf("%q is not a kind of resource", k)
	}
}

// Kind returns [KindServer].
func (*Server) Kind() Kind { return KindServer }

// Kind returns [KindConnection].
func (*Connection) Kind() Kind { return KindConnection }

// Kind returns [KindTool].
func (*Tool) Kind() Kind { return KindTool }

// Kind returns [KindGateway].
func (*Gateway) Kind() Kind { return KindGateway }

// Kind returns [KindTeam].
func (*Team) Kind() Kind { return KindTeam }

// Kind returns [KindUser].
func (*User) Kind() Kind { return KindUser }

// Kind returns [KindBearerToken].
func (*BearerToken) Kind() Kind { return KindBearerToken }
