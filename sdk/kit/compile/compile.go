// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"crypto/sha256"
	"slices"
	"strings"
	"time"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Defaults of settings that a server or gateway leaves out (gateway.md G-51, mcp.md M-27).
const (
	defaultCallTimeout    = 60 * time.Second
	defaultMaxConcurrency = 64
	defaultMaxResponse    = 10 << 20
	defaultListTTL        = 60 * time.Second
)

// MakeServer reads what a node needs of a server. A transport this node does not know is Invalid with reason
// UNKNOWN_TRANSPORT: it was made for newer nodes.
func MakeServer(r *resourcev1.Server) (*Server, error) {
	s := &Server{
		Name:           r.GetName(),
		DisplayName:    r.GetDisplayName(),
		Headers:        r.GetExtraHeaders(),
		Labels:         r.GetLabels(),
		Protocol:       r.GetProtocol(),
		Stateless:      r.GetStateless(),
		OwnOnly:        r.GetOwnConnectionsOnly(),
		CallTimeout:    defaultCallTimeout,
		MaxConcurrency: defaultMaxConcurrency,
		MaxResponse:    defaultMaxResponse,
	}
	switch t := r.GetTransport().(type) {
	case *resourcev1.Server_StreamableHttp:
		s.URL = t.StreamableHttp.GetUrl()
	case *resourcev1.Server_Sse:
		s.URL, s.SSE = t.Sse.GetUrl(), true
	case *resourcev1.Server_Stdio:
		s.Command, s.Args, s.Env = t.Stdio.GetCommand(), t.Stdio.GetArgs(), t.Stdio.GetEnv()
	default:
		return nil, fault.New(fault.Invalid, "UNKNOWN_TRANSPORT", "the server's transport is not known to this node; update the node")
	}
	switch r.GetAffinity() {
	case resourcev1.Affinity_AFFINITY_PRINCIPAL:
		s.Homed = true
	case resourcev1.Affinity_AFFINITY_NONE:
	default: // of the transport
		s.Homed = s.Command != ""
	}
	switch k := r.GetCredential().GetKind().(type) {
	case nil, *resourcev1.ServerCredential_None:
	case *resourcev1.ServerCredential_StaticHeaders, *resourcev1.ServerCredential_StaticEnv,
		*resourcev1.ServerCredential_Oauth: // to a node, an access token is a header that the authserver gives it
		s.NeedsSecret = true
	case *resourcev1.ServerCredential_OauthClientCredentials:
		s.NeedsSecret, s.Made = true, r.GetCredential().GetVersion()
	case *resourcev1.ServerCredential_TokenExchange:
		s.NeedsSecret, s.Made, s.CallerOnly = true, r.GetCredential().GetVersion(), true
		s.Provider = k.TokenExchange.GetIdentityProvider()
		if k.TokenExchange.GetSubjectToken() == resourcev1.SubjectToken_SUBJECT_TOKEN_ACCESS_TOKEN {
			s.SubjectProvider = s.Provider
		}
	case *resourcev1.ServerCredential_CallerIdpToken:
		s.NeedsSecret, s.Made, s.CallerOnly = true, r.GetCredential().GetVersion(), true
		s.Provider = k.CallerIdpToken.GetIdentityProvider()
	default:
		return nil, fault.New(fault.Invalid, "UNKNOWN_CREDENTIAL", "the server's credential kind is not known to this node; update the node")
	}
	if s.Protocol == "" || s.Protocol == "AUTO" {
		s.Protocol = r.GetStatus().GetProtocolVersion()
	}
	if d := r.GetCallTimeout(); d != nil {
		s.CallTimeout = d.AsDuration()
	}
	if n := r.GetMaxConcurrency(); n > 0 {
		s.MaxConcurrency = int(n)
	}
	if n := r.GetMaxResponseBytes(); n > 0 {
		s.MaxResponse = int64(n)
	}
	s.Questions = Questions{Sampling: true, Elicitation: true, Roots: true}
	if q := r.GetQuestions(); q != nil {
		s.Questions = Questions{Sampling: q.GetSampling(), Elicitation: q.GetElicitation(), Roots: q.GetRoots()}
	}
	s.discovered(r.GetStatus())
	return s, nil
}

// discovered reads what the last discovery learned.
func (s *Server) discovered(r *resourcev1.ServerStatus) {
	s.Capabilities = MakeCapabilities(r.GetCapabilities())
	s.Instructions = r.GetInstructions()
	s.Authorities = r.GetResourceAuthorities()
	s.SSE = s.SSE || r.GetSse() && s.URL != ""
	for _, p := range r.GetPrompts() {
		s.Prompts = append(s.Prompts, Listed{Name: p.GetName(), Body: p.GetDefinition()})
	}
	for _, t := range r.GetTemplates() {
		s.Templates = append(s.Templates, Listed{Name: t.GetUriTemplate(), Body: t.GetDefinition()})
	}
}

// MakeConnection reads what a node needs of a connection. One with an owner that this node does not know is nobody's: calls
// that are pinned to it run, and no call chooses it.
func MakeConnection(r *resourcev1.Connection) *Connection {
	c := &Connection{
		Name: r.GetName(), UID: r.GetUid(), Server: r.GetServer(), CredentialVersion: r.GetCredentialVersion(),
	}
	switch o := r.GetOwner().GetKind().(type) {
	case *resourcev1.Owner_User:
		c.OwnerKind, c.Owner = OwnerUser, o.User
	case *resourcev1.Owner_Team:
		c.OwnerKind, c.Owner = OwnerTeam, o.Team
	case *resourcev1.Owner_Organization:
		c.OwnerKind = OwnerOrganization
	}
	return c
}

// MakeToken reads a bearer token. A hash of another length than SHA-256's is Invalid with reason BAD_TOKEN_HASH.
func MakeToken(r *resourcev1.BearerToken) (hash [sha256.Size]byte, t *Token, err error) {
	if len(r.GetSha256()) != sha256.Size {
		return hash, nil, fault.New(fault.Invalid, "BAD_TOKEN_HASH", "the token's hash is not a SHA-256")
	}
	copy(hash[:], r.GetSha256())
	t = &Token{
		Name: r.GetName(), UID: r.GetUid(), Scopes: r.GetScopes(),
		Gateways: make(map[string]struct{}, len(r.GetGateways())),
	}
	if len(t.Scopes) == 0 {
		t.Scopes = []string{ScopeMCP}
	}
	for _, g := range r.GetGateways() {
		t.Gateways[g] = struct{}{}
	}
	if r.GetExpireTime() != nil {
		t.Expires = r.GetExpireTime().AsTime()
	}
	switch o := r.GetOwner().GetKind().(type) {
	case *resourcev1.Owner_User:
		t.OwnerKind, t.Owner = OwnerUser, o.User
	case *resourcev1.Owner_Team:
		t.OwnerKind, t.Owner = OwnerTeam, o.Team
	case *resourcev1.Owner_Organization:
		t.OwnerKind = OwnerOrganization
	case *resourcev1.Owner_ServiceAccount:
		t.OwnerKind, t.Owner = OwnerServiceAccount, o.ServiceAccount
	default:
		return hash, nil, fault.New(fault.Invalid, "UNKNOWN_OWNER", "the token's owner is not known to this node; update the node")
	}
	return hash, t, nil
}

// MakePreviousToken reads a bearer token as it was before its rotation (ST-6): token, as [MakeToken] returned it, under the old
// hash and with an earlier end. It is nil for one that was not rotated, or whose old secret ended then. A hash of another length
// than SHA-256's is Invalid with reason BAD_TOKEN_HASH.
func MakePreviousToken(r *resourcev1.BearerToken, token *Token) (hash [sha256.Size]byte, previous *Token, err error) {
	end := r.GetPreviousExpireTime()
	if len(r.GetPreviousSha256()) == 0 || !end.IsValid() {
		return hash, nil, nil
	}
	if len(r.GetPreviousSha256()) != sha256.Size {
		return hash, nil, fault.New(fault.Invalid, "BAD_TOKEN_HASH", "the token's previous hash is not a SHA-256")
	}
	copy(hash[:], r.GetPreviousSha256())
	old := *token
	if old.Expires.IsZero() || end.AsTime().Before(old.Expires) {
		old.Expires = end.AsTime()
	}
	return hash, &old, nil
}

// MakeTeam reads a team with its members.
func MakeTeam(r *resourcev1.Team) *Team {
	t := &Team{Name: r.GetName(), UID: r.GetUid(), Members: make(map[string]struct{}, len(r.GetMembers()))}
	for _, m := range r.GetMembers() {
		t.Members[m.GetUser()] = struct{}{}
	}
	return t
}

// MakeUser reads a user.
func MakeUser(r *resourcev1.User) *User {
	u := &User{Name: r.GetName(), UID: r.GetUid(), Deactivated: r.GetDeactivated(), Role: makeRole(r.GetRole())}
	for _, one := range r.GetIdentities() {
		u.Identities = append(u.Identities, Identity{Issuer: one.GetIssuer(), Subject: one.GetSubject()})
	}
	return u
}

// MakeGateway reads a gateway without its tools. A visibility or a credential mode this node does not know is Invalid:
// it was made for newer nodes.
func MakeGateway(r *resourcev1.Gateway) (*Gateway, error) {
	g := &Gateway{
		Name: r.GetName(), UID: r.GetUid(), DisplayName: r.GetDisplayName(), Instructions: r.GetInstructions(),
		BearerTokens: r.GetAuthentication().GetBearerToken() != nil, OAuth: r.GetAuthentication().GetOauth() != nil,
		IDJAG:    r.GetAuthentication().GetIdJag() != nil,
		JWKS:     makeJWKSIssuers(r.GetAuthentication().GetJwks().GetIssuers()),
		Disabled: r.GetDisabled(),
		ListTTL:  defaultListTTL,
	}
	switch v := r.GetVisibility().GetKind().(type) {
	case *resourcev1.Visibility_Personal:
		g.Visibility.Owner = v.Personal.GetOwner()
	case *resourcev1.Visibility_Team:
		g.Visibility.Teams = v.Team.GetTeams()
	case *resourcev1.Visibility_Organization:
		g.Visibility.Organization = true
	default:
		return nil, fault.New(fault.Invalid, "UNKNOWN_VISIBILITY", "the gateway's visibility is not known to this node; update the node")
	}
	if r.GetMaxStale() != nil {
		g.MaxStale = r.GetMaxStale().AsDuration()
	}
	if r.GetListTtl() != nil {
		g.ListTTL = r.GetListTtl().AsDuration()
	}
	g.Naming = makePrefix(r.GetNaming().GetPrefix())
	g.LoadToolsWhenNeeded = r.GetLoadToolsWhenNeeded()
	g.AlwaysURIs = r.GetResourceUris() == resourcev1.ResourceUris_RESOURCE_URIS_ALWAYS
	g.Extensions = []string{ExtensionUI, ExtensionTasks}
	if e := r.GetExtensions(); e != nil {
		g.Extensions, g.Passthrough = e.GetAllowed(), e.GetPassthrough()
	}
	if err := g.addDefaults(r); err != nil {
		return nil, err
	}
	if err := g.addFeatures(r.GetServerFeatures()); err != nil {
		return nil, err
	}
	if err := g.addRateLimits(r.GetRateLimits()); err != nil {
		return nil, err
	}
	if err := g.addPassedHeaders(r.GetPassthroughHeaders()); err != nil {
		return nil, err
	}
	return g, nil
}

func makePrefix(p resourcev1.NamingPrefix) Prefix {
	switch p {
	case resourcev1.NamingPrefix_NAMING_PREFIX_ON_CONFLICT:
		return PrefixOnConflict
	case resourcev1.NamingPrefix_NAMING_PREFIX_NEVER:
		return PrefixNever
	default:
		return PrefixAlways
	}
}

// addFeatures reads what the gateway shows of servers besides tools.
func (g *Gateway) addFeatures(features []*resourcev1.ServerFeature) error {
	for _, f := range features {
		if f.GetMode() == nil && (f.GetPrompts() || f.GetResources()) { // it has one, which is unknown here
			return fault.New(fault.Invalid, "UNKNOWN_MODE", "the credential mode of a server feature is not known to this node; update the node")
		}
		g.Features = append(g.Features, Feature{
			Server: f.GetServer(), Connection: f.GetPinned().GetConnection(), AtCall: f.GetResolveAtCallTime() != nil,
			Prompts: f.GetPrompts(), Resources: f.GetResources(), Instructions: f.GetInstructions(),
		})
	}
	slices.SortFunc(g.Features, func(a, b Feature) int { return strings.Compare(a.Server, b.Server) })
	return nil
}

// MakeTool joins an assignment with its tool and the tool's body. It returns nil without an error if the tool or its
// body is not in the state: the assignment then shows nothing.
func MakeTool(a *resourcev1.ToolAssignment, tool *distributionv1.Resource, body Definition) (*Tool, error) {
	if tool == nil || body == nil {
		return nil, nil
	}
	atCall := a.GetResolveAtCallTime() != nil
	if a.GetPinned() == nil && !atCall {
		return nil, fault.New(fault.Invalid, "UNKNOWN_MODE", "the assignment's credential mode is not known to this node; update the node")
	}
	if a.GetResolvedName() == "" {
		return nil, fault.New(fault.Invalid, "NO_NAME", "the assignment has no exposed name")
	}
	fixed, err := makeFixed(a.GetFixedArguments())
	if err != nil {
		return nil, err
	}
	t := tool.GetTool()
	return &Tool{
		Exposed: a.GetResolvedName(), Upstream: t.GetUpstreamName(), Name: t.GetName(), Server: t.GetServer(),
		Connection: a.GetPinned().GetConnection(), AtCall: atCall, Description: a.GetDescription(), Body: body,
		Held: t.GetHeld(), Retryable: t.GetRetryable(), RequiredScopes: slices.Sorted(slices.Values(a.GetRequiredScopes())),
		Fixed: fixed,
	}, nil
}
