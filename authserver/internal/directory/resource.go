// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"slices"
	"time"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/node"
)

// scopeMCP is the scope that every token may have (RS-19).
const scopeMCP = "mcp"

// put brings one resource into the view, or takes it out if r is nil. What cannot be read keeps the form it has in before.
func (v *View) put(k node.Key, r *distributionv1.Resource, before *View) error {
	switch k.Kind {
	case kindUser:
		v.dropUser(k.Name)
		if r != nil {
			v.putUser(r.GetUser())
		}
	case kindTeam:
		delete(v.teams, k.Name)
		if r != nil {
			v.teams[k.Name] = compile.MakeTeam(r.GetTeam())
		}
	case kindGateway:
		return v.putGateway(k.Name, r, before)
	case kindProvider:
		delete(v.providers, k.Name)
		if r != nil {
			v.providers[k.Name] = makeProvider(r.GetIdentityProvider())
		}
	case kindClient:
		delete(v.clients, k.Name)
		if r != nil {
			v.clients[k.Name] = makeClient(r.GetOauthClient())
		}
	case kindConnection:
		v.putConnection(k.Name, r)
	case kindAssignment:
		v.putPin(k.Name, r)
	case kindServer:
		delete(v.servers, k.Name)
		if r != nil {
			v.servers[k.Name] = makeServer(r.GetServer())
		}
	}
	return nil
}

func (v *View) putUser(r *resourcev1.User) {
	u := &User{User: *compile.MakeUser(r), DisplayName: r.GetDisplayName()}
	if r.GetEndTime() != nil {
		u.EndTime = r.GetEndTime().AsTime().Truncate(time.Microsecond) // as the store keeps it
	}
	v.users[u.UID], v.names[u.Name] = u, u
	for _, i := range u.Identities {
		v.identities[i] = u
	}
}

// putGateway keeps the old form of a gateway that was made for a newer authserver: what is unknown could be a restriction.
func (v *View) putGateway(name string, r *distributionv1.Resource, before *View) error {
	v.dropGateway(name)
	var pinned []string
	for _, f := range r.GetGateway().GetServerFeatures() {
		if c := f.GetPinned().GetConnection(); c != "" {
			pinned = append(pinned, c)
		}
		if f.GetResolveAtCallTime() != nil {
			pinned = append(pinned, allOf(f.GetServer()))
		}
	}
	v.putFeatures(name, pinned)
	if r == nil {
		return nil
	}
	g, err := makeGateway(r.GetGateway())
	if err != nil {
		if before == nil || before.slugs[name] == nil {
			return err
		}
		g = before.slugs[name]
	}
	v.gateways[g.UID], v.slugs[g.Name] = g, g
	return err
}

func makeGateway(r *resourcev1.Gateway) (*Gateway, error) {
	compiled, err := compile.MakeGateway(r)
	if err != nil {
		return nil, err
	}
	scopes := slices.Clone(r.GetScopesSupported())
	if !slices.Contains(scopes, scopeMCP) {
		scopes = append(scopes, scopeMCP)
	}
	slices.Sort(scopes)
	return &Gateway{
		UID: r.GetUid(), Name: r.GetName(), DisplayName: r.GetDisplayName(), Description: r.GetDescription(),
		Visibility: compiled.Visibility, OAuth: compiled.OAuth, IDJAG: compiled.IDJAG,
		AssertedBy: r.GetAuthentication().GetIdJag().GetIdentityProviders(), Disabled: compiled.Disabled, Scopes: scopes,
		Regions: r.GetRegions(),
	}, nil
}

func makeProvider(r *resourcev1.IdentityProvider) *Provider {
	p := &Provider{
		UID: r.GetUid(), Name: r.GetName(), DisplayName: r.GetDisplayName(), Issuer: r.GetIssuer(), ClientID: r.GetClientId(),
		SecretVersion: r.GetSecretVersion(), Scopes: r.GetScopes(), GroupsClaim: r.GetGroupsClaim(), MapsGroups: len(r.GetGroupMappings()) > 0,
		RequiredClaims: r.GetRequiredClaims(), Disabled: r.GetDisabled(), IDJAG: makeTrust(r.GetIdJag()),
		TrustsEmail: r.GetTrustedEmailAddresses(), EmailDomains: r.GetEmailDomains(),
	}
	if s := r.GetSharedSignals(); s != nil {
		p.Signals = &Signals{
			Issuer: s.GetIssuer(), Audience: s.GetAudience(), JWKSURI: s.GetJwksUri(), PollEndpoint: s.GetPollEndpoint(),
			PollTokenVersion: s.GetPollTokenVersion(),
		}
		if p.Signals.Issuer == "" {
			p.Signals.Issuer = p.Issuer
		}
	}
	for _, hash := range r.GetScimTokenSha256() {
		if len(hash) == len([32]byte{}) {
			p.ScimTokens = append(p.ScimTokens, [32]byte(hash))
		}
	}
	if len(p.Scopes) == 0 {
		p.Scopes = []string{"email", "profile"}
	}
	if p.GroupsClaim == "" {
		p.GroupsClaim = "groups"
	}
	if k := r.GetTokenExchange(); k != nil {
		p.Kept = &Kept{Scopes: k.GetScopes()}
		if !slices.Contains(p.Kept.Scopes, scopeOffline) {
			p.Kept.Scopes = append(slices.Clone(p.Kept.Scopes), scopeOffline)
		}
	}
	return p
}

// scopeOffline asks for a refresh token (OpenID Connect Core 1.0 §11).
const scopeOffline = "offline_access"

// defaultLifetime is that of identity assertions (JAG-7).
const defaultLifetime = 10 * time.Minute

func makeTrust(r *resourcev1.IdJagTrust) *Trust {
	if r == nil {
		return nil
	}
	t := &Trust{
		MaxLifetime: defaultLifetime, PublicClients: r.GetPublicClients(), ResourceFromRequest: r.GetResourceFromRequest(),
		TrustedAudSub: r.GetTrustedAudSub(), Tenant: r.GetTenant(), AcceptAct: r.GetAcceptAct(), Algorithms: r.GetSigningAlgorithms(),
	}
	if r.GetMaxLifetime() != nil {
		t.MaxLifetime = r.GetMaxLifetime().AsDuration()
	}
	if len(t.Algorithms) == 0 {
		t.Algorithms = []string{"ES256", "RS256", "PS256", "EdDSA"}
	}
	return t
}

func makeClient(r *resourcev1.OAuthClient) *Client {
	c := &Client{
		UID: r.GetUid(), Name: r.GetName(), DisplayName: r.GetDisplayName(), RedirectURIs: r.GetRedirectUris(),
		Method: MethodNone, JWKS: []byte(r.GetJwks()), JWKSURI: r.GetJwksUri(), Trusted: r.GetTrusted(), Disabled: r.GetDisabled(),
	}
	switch r.GetAuthentication() {
	case resourcev1.OAuthClientAuthentication_O_AUTH_CLIENT_AUTHENTICATION_CLIENT_SECRET:
		c.Method = MethodClientSecret
	case resourcev1.OAuthClientAuthentication_O_AUTH_CLIENT_AUTHENTICATION_PRIVATE_KEY_JWT:
		c.Method = MethodPrivateKeyJWT
	case resourcev1.OAuthClientAuthentication_O_AUTH_CLIENT_AUTHENTICATION_UNSPECIFIED,
		resourcev1.OAuthClientAuthentication_O_AUTH_CLIENT_AUTHENTICATION_NONE:
	default:
		c.Disabled = true // made for a newer authserver: how it authenticates is unknown, so it does not
	}
	for _, hash := range r.GetSecretSha256() {
		if len(hash) == len([32]byte{}) {
			c.SecretSHA256 = append(c.SecretSHA256, [32]byte(hash))
		}
	}
	if cc := r.GetClientCredentials(); cc != nil {
		c.Credentials = &Credentials{Gateways: cc.GetGateways(), Scopes: cc.GetScopes()}
		if len(c.Credentials.Scopes) == 0 {
			c.Credentials.Scopes = []string{scopeMCP}
		}
	}
	return c
}
