// SPDX-License-Identifier: Apache-2.0

package directory

import (
	"slices"
	"strings"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// View is one immutable state of the directory.
type View struct {
	Origin string // of the gateways, for example "https://gw.example.com"

	users      map[string]*User // by uid
	names      map[string]*User // by e-mail address
	identities map[compile.Identity]*User
	teams      map[string]*compile.Team
	gateways   map[string]*Gateway // by uid
	slugs      map[string]*Gateway // by name
	providers  map[string]*Provider
	clients    map[string]*Client
	servers    map[string]*Server // by name

	connections map[string]*Connection    // by uid
	installed   map[string]*Connection    // by name
	pins        map[string]use            // by name of the assignment
	features    map[string][]string       // gateway → connections that its server features pin
	uses        map[string]map[string]int // connection → gateway → how often it pins it
}

// User is a person.
type User struct {
	compile.User
	DisplayName string
	EndTime     time.Time // when the user was last deactivated; zero: never
}

// Gateway is a gateway as far as tokens for it are concerned.
type Gateway struct {
	UID, Name, DisplayName, Description string
	Visibility                          compile.Visibility
	OAuth                               bool     // clients may log in with OAuth
	IDJAG                               bool     // clients may bring identity assertions, of AssertedBy
	AssertedBy                          []string // names of identity providers; empty means all that assert
	Disabled                            bool
	Scopes                              []string // that tokens for it may have, sorted; "mcp" is always one
	Regions                             []string // whose nodes serve it; empty means all (D-11)
}

// Title returns the display name, or the name where there is none.
func (g *Gateway) Title() string {
	if g.DisplayName != "" {
		return g.DisplayName
	}
	return g.Name
}

// Provider is an OpenID Connect identity provider.
type Provider struct {
	UID, Name, DisplayName string
	Issuer, ClientID       string
	SecretVersion          string // of the vault; empty: no client secret
	Scopes                 []string
	GroupsClaim            string
	MapsGroups             bool // groups put people into teams
	RequiredClaims         map[string]string
	ScimTokens             [][32]byte // SHA-256 of each SCIM token in use
	Disabled               bool
	IDJAG                  *Trust   // nil: its identity assertions are not accepted
	Kept                   *Kept    // nil: tokens of its logins are not kept
	Signals                *Signals // nil: no security events of it are taken
	TrustsEmail            bool     // its e-mail addresses are believed without email_verified
	EmailDomains           []string // of the people who may join; empty: any
}

// Signals is where the security events of a provider come from.
type Signals struct {
	Issuer           string // of the security event tokens
	Audience         string // that they must have; empty: the authserver's issuer
	JWKSURI          string // of the keys; empty: those of the issuer's discovery document
	PollEndpoint     string // empty: they are pushed
	PollTokenVersion string // of the token for it in the vault, see [Provider.SignalsKey]; empty: none
}

// SignalsKey is what the vault keeps the token for the poll endpoint under.
func (p *Provider) SignalsKey() string { return p.UID + "/signals" }

// OwnsEmail reports whether an address that the provider names is enough to know a user by.
func (p *Provider) OwnsEmail(email string) bool {
	_, domain, _ := strings.Cut(strings.ToLower(email), "@")
	return p.TrustsEmail && (len(p.EmailDomains) == 0 || slices.Contains(p.EmailDomains, domain))
}

// Kept is what logins ask a provider for, whose tokens are kept for exchanges.
type Kept struct {
	Scopes []string // beside those of the provider, offline_access among them
}

// Trust is which identity assertions (ID-JAG) of a provider are accepted.
type Trust struct {
	MaxLifetime         time.Duration // from iat to exp (JAG-7)
	PublicClients       []string      // client_ids that may come without client authentication (JAG-6)
	ResourceFromRequest bool          // an assertion without resource is for the one of the request (JAG-10)
	TrustedAudSub       bool          // aud_sub is the uid of a user (JAG-12)
	Tenant              string        // that assertions must have; empty: none (JAG-13)
	AcceptAct           bool          // the claim act is ignored (JAG-18)
	Algorithms          []string      // of signatures (JAG-3)
}

// Title returns the display name, or the name where there is none.
func (p *Provider) Title() string {
	if p.DisplayName != "" {
		return p.DisplayName
	}
	return p.Name
}

// ClientMethod is how a registered client authenticates.
type ClientMethod string

// The methods, as token_endpoint_auth_method calls them; "client_secret" stands for both basic and post.
const (
	MethodNone          ClientMethod = "none"
	MethodClientSecret  ClientMethod = "client_secret"
	MethodPrivateKeyJWT ClientMethod = "private_key_jwt"
)

// Client is an OAuth client that an administrator registered.
type Client struct {
	UID, Name, DisplayName string // Name is the client_id
	RedirectURIs           []string
	Method                 ClientMethod
	JWKS                   []byte
	JWKSURI                string
	SecretSHA256           [][32]byte
	Credentials            *Credentials // nil: no client credentials grant
	Trusted, Disabled      bool
}

// Credentials is what a client may do without a person.
type Credentials struct {
	Gateways []string // names
	Scopes   []string
}

// User returns a user by uid, nil if there is none or it is deactivated.
func (v *View) User(uid string) *User { return active(v.users[uid]) }

// Exists reports whether there is a user (uid), deactivated or not.
func (v *View) Exists(uid string) bool { return v.users[uid] != nil }

// UserByName returns a user by e-mail address in any case, nil if there is none or it is deactivated.
func (v *View) UserByName(email string) *User { return active(v.names[strings.ToLower(email)]) }

// UserByIdentity returns the user of an account at an identity provider, nil if there is none or it is deactivated
// (AZ-24).
func (v *View) UserByIdentity(issuer, subject string) *User {
	return active(v.identities[compile.Identity{Issuer: issuer, Subject: subject}])
}

// Identified reports whether an account at an identity provider is some user's, deactivated or not.
func (v *View) Identified(issuer, subject string) bool {
	return v.identities[compile.Identity{Issuer: issuer, Subject: subject}] != nil
}

func active(u *User) *User {
	if u == nil || u.Deactivated {
		return nil
	}
	return u
}

// Gateway returns a gateway by uid, nil if there is none.
func (v *View) Gateway(uid string) *Gateway { return v.gateways[uid] }

// GatewayByName returns a gateway by name, nil if there is none.
func (v *View) GatewayByName(name string) *Gateway { return v.slugs[name] }

// Provider returns an identity provider by name, nil if there is none or it is disabled.
func (v *View) Provider(name string) *Provider {
	if p := v.providers[name]; p != nil && !p.Disabled {
		return p
	}
	return nil
}

// ProviderByUID returns an identity provider by uid, nil if there is none. A disabled one is returned.
func (v *View) ProviderByUID(uid string) *Provider {
	for _, p := range v.providers {
		if p.UID == uid {
			return p
		}
	}
	return nil
}

// Providers returns the identity providers that are not disabled, by name.
func (v *View) Providers() []*Provider {
	var list []*Provider
	for _, p := range v.providers {
		if !p.Disabled {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b *Provider) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Asserter returns the identity provider of an issuer, byte for byte, whose identity assertions are accepted (JAG-2); nil if
// there is none, or it is disabled.
func (v *View) Asserter(issuer string) *Provider {
	for _, p := range v.providers {
		if p.Issuer == issuer && !p.Disabled && p.IDJAG != nil {
			return p
		}
	}
	return nil
}

// TakesAssertions reports whether a gateway accepts identity assertions of a provider, by name (JAG-14).
func (v *View) TakesAssertions(g *Gateway, provider string) bool {
	if g == nil || g.Disabled || !g.IDJAG || len(g.AssertedBy) > 0 && !slices.Contains(g.AssertedBy, provider) {
		return false
	}
	p := v.Provider(provider)
	return p != nil && p.IDJAG != nil
}

// Assertions reports whether some gateway accepts identity assertions of some provider (AS-8).
func (v *View) Assertions() bool {
	for _, p := range v.providers {
		if p.Disabled || p.IDJAG == nil {
			continue
		}
		for _, g := range v.gateways {
			if v.TakesAssertions(g, p.Name) {
				return true
			}
		}
	}
	return false
}

// Client returns a registered client by client_id, nil if there is none. A disabled one is returned.
func (v *View) Client(id string) *Client { return v.clients[id] }

// MayUse reports whether a user may use a gateway now, and the gateway takes OAuth (AZ-7).
func (v *View) MayUse(g *Gateway, u *User) bool { return g != nil && g.OAuth && v.Admits(g, u) }

// Admits reports whether a user may use a gateway now (G-2), whichever way a client comes. It is what nodes decide too, by the
// same records.
func (v *View) Admits(g *Gateway, u *User) bool {
	if g == nil || u == nil || u.Deactivated || g.Disabled {
		return false
	}
	switch vis := g.Visibility; {
	case vis.Organization:
		return true
	case vis.Owner != "":
		return vis.Owner == u.Name
	default:
		return slices.ContainsFunc(vis.Teams, func(name string) bool {
			t := v.teams[name]
			if t == nil {
				return false
			}
			_, member := t.Members[u.Name]
			return member
		})
	}
}

// GatewaysOf returns the gateways that a user may use, by name.
func (v *View) GatewaysOf(u *User) []*Gateway {
	var list []*Gateway
	for _, g := range v.gateways {
		if v.MayUse(g, u) {
			list = append(list, g)
		}
	}
	slices.SortFunc(list, func(a, b *Gateway) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// InRegion reports whether the nodes of a region serve a gateway; a node without a region serves all (D-11).
func (g *Gateway) InRegion(region string) bool {
	return region == "" || len(g.Regions) == 0 || slices.Contains(g.Regions, region)
}

// Scopes returns every scope that some gateway has, sorted.
func (v *View) Scopes() []string {
	all := []string{scopeMCP}
	for _, g := range v.gateways {
		all = append(all, g.Scopes...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Resource returns the canonical resource of a gateway, which is the `aud` of its tokens (AZ-6).
func (v *View) Resource(g *Gateway) string { return v.Origin + prefix + g.Name }

// prefix is the path of all gateways.
const prefix = "/v1/mcp/"
