// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource/oauthrule"
)

const (
	maxSecret     = 4096
	maxIdentities = 16
)

var (
	// gatewayScopeRE is a scope of a gateway, "mcp" or "mcp:<word>", within scope-token of RFC 6749, section 3.3.
	gatewayScopeRE = regexp.MustCompile(`^mcp(:[\x21\x23-\x5b\x5d-\x7e]{1,124})?$`)
	// domainRE is a host name of at least two labels.
	domainRE = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

// gatewayScopes checks scopes that a gateway knows.
func (p *Problems) gatewayScopes(at string, scopes []string) {
	p.count(at, len(scopes), 16)
	p.unique(at, scopes)
	for i, s := range scopes {
		if !gatewayScopeRE.MatchString(s) {
			p.field(fmt.Sprintf("%s[%d]", at, i), "%q is not mcp or mcp:<word> with the characters of a scope (RFC 6749, section 3.3)", clip(s))
		}
	}
}

// identities checks the accounts of a user (OpenID Connect Core 1.0, section 5.7).
func (p *Problems) identities(u *User) {
	p.count("identities", len(u.Identities), maxIdentities)
	seen := make(map[Identity]bool, len(u.Identities))
	for i, id := range u.Identities {
		at := fmt.Sprintf("identities[%d]", i)
		p.issuer(at+".issuer", id.Issuer)
		if id.Subject == "" || len(id.Subject) > 255 || !utf8.ValidString(id.Subject) {
			p.field(at+".subject", "it is not 1 to 255 bytes of valid UTF-8")
		}
		if seen[id] {
			p.field(at, "the account is listed twice")
		}
		seen[id] = true
	}
}

// issuer checks an issuer identifier (RFC 8414, section 2): https, or http on this machine, without query and fragment.
func (p *Problems) issuer(at, raw string) {
	if len(raw) > 512 {
		p.field(at, "it has more than 512 bytes")
		return
	}
	if u := p.secureURL(at, raw); u != nil && (u.RawQuery != "" || u.ForceQuery) {
		p.field(at, "an issuer has no query")
	}
}

// secureURL checks a URL that is fetched or that people are sent to, and returns it unless it is refused.
func (p *Problems) secureURL(at, raw string) *url.URL {
	before := len(*p)
	p.url(at, raw)
	if len(*p) > before {
		return nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "http" && !IsLoopback(u.Hostname()) {
		p.field(at, "it is not protected; use https (http is for this machine only)")
		return nil
	}
	return u
}

// IsLoopback reports whether a host is this machine: localhost or a loopback address.
func IsLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func (p *Problems) identityProvider(o *IdentityProvider) {
	p.text("display_name", o.DisplayName, 128)
	p.issuer("issuer", o.Issuer)
	if o.ClientID == "" || len(o.ClientID) > 512 || !printable(o.ClientID) {
		p.field("client_id", "it is not 1 to 512 printable characters: the client_id that the provider gave Penstock")
	}
	if len(o.ClientSecret) > maxSecret || !printable(o.ClientSecret) {
		p.field("client_secret", "it is not at most 4,096 printable characters")
	}
	p.scopes("scopes", o.Scopes, maxScope)
	p.count("email_domains", len(o.EmailDomains), 100)
	p.unique("email_domains", o.EmailDomains)
	for i, d := range o.EmailDomains {
		if len(d) > 253 || !domainRE.MatchString(d) {
			p.field(fmt.Sprintf("email_domains[%d]", i), "%q is not a domain such as example.com", clip(d))
		}
	}
	p.text("groups_claim", o.GroupsClaim, 128)
	p.count("group_mappings", len(o.GroupMappings), 1000)
	seen := make(map[GroupMapping]bool, len(o.GroupMappings))
	for i, m := range o.GroupMappings {
		at := fmt.Sprintf("group_mappings[%d]", i)
		if m.Group == "" {
			p.field(at+".group", "it is empty; name the group as the claim does")
		}
		p.text(at+".group", m.Group, 512)
		p.slug(at+".team", m.Team)
		if seen[m] {
			p.field(at, "the group %q is mapped to the team %q already", clip(m.Group), m.Team)
		}
		seen[m] = true
	}
	p.requiredClaims("required_claims", o.RequiredClaims)
	p.gatewayTokens(o)
	p.idJAG(o.IDJAG)
	p.keptTokens(o.TokenExchange)
	p.sharedSignals(o.SharedSignals)
}

// requiredClaims checks claims that a token must have with exactly these values.
func (p *Problems) requiredClaims(at string, claims map[string]string) {
	p.count(at, len(claims), 16)
	for name, value := range sorted(claims) {
		if name == "" || len(name) > 128 || !printable(name) {
			p.field(at, "the key %q is not 1 to 128 printable characters", clip(name))
		}
		p.text(at+"."+clip(name), value, 512)
	}
}

// idJAG checks which identity assertions of a provider are accepted (JAG-3, JAG-6, JAG-7, JAG-13).
func (p *Problems) idJAG(t *IDJAGTrust) {
	if t == nil {
		return
	}
	const at = "id_jag."
	p.between(at+"max_lifetime", t.MaxLifetime, time.Second, time.Hour)
	p.count(at+"public_clients", len(t.PublicClients), 100)
	p.unique(at+"public_clients", t.PublicClients)
	for i, id := range t.PublicClients {
		if id == "" || len(id) > 512 || !printable(id) {
			p.field(fmt.Sprintf("%spublic_clients[%d]", at, i), "it is not 1 to 512 printable characters: a client_id")
		}
	}
	p.text(at+"tenant", t.Tenant, 256)
	p.unique(at+"signing_algorithms", t.SigningAlgorithms)
	for i, name := range t.SigningAlgorithms {
		switch name {
		case "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA":
		default:
			p.field(fmt.Sprintf("%ssigning_algorithms[%d]", at, i), "%q is not one of ES256, ES384, ES512, RS256, RS384, RS512, PS256, PS384, PS512 and EdDSA", clip(name))
		}
	}
}

// gatewayIDJAG checks whose identity assertions count at a gateway (JAG-14).
func (p *Problems) gatewayIDJAG(a *Authentication) {
	if a == nil || a.IDJAG == nil {
		return
	}
	const at = "authentication.id_jag.identity_providers"
	p.count(at, len(a.IDJAG.IdentityProviders), 100)
	p.unique(at, a.IDJAG.IdentityProviders)
	for i, name := range a.IDJAG.IdentityProviders {
		p.slug(fmt.Sprintf("%s[%d]", at, i), name)
	}
}

func (p *Problems) oauthClient(c *OAuthClient) {
	p.text("display_name", c.DisplayName, 128)
	p.oneOf("authentication", string(c.Authentication), string(ClientAuthNone), string(ClientAuthSecret), string(ClientAuthPrivateKeyJWT))
	p.count("redirect_uris", len(c.RedirectURIs), 20)
	p.unique("redirect_uris", c.RedirectURIs)
	for i, uri := range c.RedirectURIs {
		if text := oauthrule.RedirectProblem(uri, c.Trusted); text != "" {
			p.field(fmt.Sprintf("redirect_uris[%d]", i), "%s", text)
		}
	}
	if len(c.RedirectURIs) == 0 && c.ClientCredentials == nil && !c.IsConfidential() { // which may bring identity assertions
		p.field("redirect_uris", "the client could do nothing; give it redirect_uris, client_credentials, or both")
	}
	p.clientKeys(c)
	if cc := c.ClientCredentials; cc != nil {
		p.count("client_credentials.gateways", len(cc.Gateways), 100)
		p.unique("client_credentials.gateways", cc.Gateways)
		if len(cc.Gateways) == 0 {
			p.field("client_credentials.gateways", "it is empty; name at least one gateway")
		}
		for i, g := range cc.Gateways {
			p.slug(fmt.Sprintf("client_credentials.gateways[%d]", i), g)
		}
		p.gatewayScopes("client_credentials.scopes", cc.Scopes)
		if !c.IsConfidential() {
			p.field("client_credentials", "a client without authentication cannot act as itself; set authentication to CLIENT_SECRET or PRIVATE_KEY_JWT")
		}
	}
}

// clientKeys checks where the public keys of a client come from.
func (p *Problems) clientKeys(c *OAuthClient) {
	switch keyed := c.Authentication == ClientAuthPrivateKeyJWT; {
	case keyed && c.JWKS == "" && c.JWKSURI == "":
		p.field("jwks", "a PRIVATE_KEY_JWT client needs jwks or jwks_uri")
	case c.JWKS != "" && c.JWKSURI != "":
		p.field("jwks_uri", "jwks and jwks_uri exclude each other")
	case !keyed && c.JWKS != "":
		p.field("jwks", "only a PRIVATE_KEY_JWT client has keys")
	case !keyed && c.JWKSURI != "":
		p.field("jwks_uri", "only a PRIVATE_KEY_JWT client has keys")
	case c.JWKSURI != "":
		p.secureURL("jwks_uri", c.JWKSURI)
	case c.JWKS != "":
		for _, text := range oauthrule.KeySetProblems(c.JWKS) {
			p.field("jwks", "%s", text)
		}
	}
}

// upstreamOAuth checks how people give grants for a server (UP-4).
func (p *Problems) upstreamOAuth(o *OAuthCredential) {
	const at = "credential.oauth."
	if o.Issuer != "" {
		p.issuer(at+"issuer", o.Issuer)
	}
	p.clientID(at+"client_id", o.ClientID)
	switch {
	case len(o.ClientSecret) > maxSecret || !printable(o.ClientSecret):
		p.field(at+"client_secret", "it is not at most 4,096 printable characters")
	case o.ClientSecret != "" && o.ClientID == "":
		p.field(at+"client_secret", "it belongs to a client_id, which is not set")
	}
	p.scopes(at+"scopes", o.Scopes, maxScope)
	if o.AuthorizationEndpoint == "" && o.TokenEndpoint == "" {
		return
	}
	if o.AuthorizationEndpoint == "" || o.TokenEndpoint == "" {
		p.field(at+"token_endpoint", "authorization_endpoint and token_endpoint go together; set both, or none to have them discovered")
		return
	}
	p.secureURL(at+"authorization_endpoint", o.AuthorizationEndpoint)
	p.secureURL(at+"token_endpoint", o.TokenEndpoint)
	if o.ClientID == "" {
		p.field(at+"client_id", "it is not set; an authorization server without metadata needs a client that is registered by hand")
	}
}
