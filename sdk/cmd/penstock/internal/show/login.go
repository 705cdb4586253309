// SPDX-License-Identifier: Apache-2.0

package show

import (
	"maps"
	"slices"
	"strings"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

func user(u *resourcev1.User) ([][2]string, []section) {
	fields := [][2]string{
		{"Display name", u.GetDisplayName()},
		{"Role", role(u.GetRole())},
		{"Active", yes(!u.GetDeactivated())},
		{"Labels", labels(u.GetLabels())},
		{"Created", moment(u.GetCreateTime())},
		{"Updated", moment(u.GetUpdateTime())},
	}
	if len(u.GetIdentities()) == 0 {
		return fields, nil
	}
	accounts := section{title: "Accounts at identity providers", header: []string{"ISSUER", "SUBJECT"}}
	for _, one := range u.GetIdentities() {
		accounts.rows = append(accounts.rows, []string{one.GetIssuer(), one.GetSubject()})
	}
	return fields, []section{accounts}
}

func identityProvider(p *resourcev1.IdentityProvider) ([][2]string, []section) {
	scopes, groups := "email profile", "groups"
	if len(p.GetScopes()) > 0 {
		scopes = strings.Join(p.GetScopes(), " ")
	}
	if p.GetGroupsClaim() != "" {
		groups = p.GetGroupsClaim()
	}
	mappings := section{title: "Teams by groups", header: []string{"GROUP", "TEAM"}, empty: "none"}
	for _, m := range p.GetGroupMappings() {
		mappings.rows = append(mappings.rows, []string{m.GetGroup(), m.GetTeam()})
	}
	return [][2]string{
		{"Display name", p.GetDisplayName()},
		{"Issuer", p.GetIssuer()},
		{"Client ID", p.GetClientId()},
		{"Secret kept", yes(p.GetSecretVersion() != "")},
		{"Scopes", "openid " + scopes},
		{"Makes new users", yes(p.GetJustInTimeUsers())},
		{"Joins by e-mail", yes(p.GetLinkByEmail())},
		{"Trusts addresses", yes(p.GetTrustedEmailAddresses())},
		{"E-mail domains", strings.Join(p.GetEmailDomains(), ", ")},
		{"Groups claim", groups},
		{"Required claims", required(p.GetRequiredClaims())},
		{"Gateway tokens", yes(p.GetGatewayTokens())},
		{"Key set", p.GetJwksUri()},
		{"Algorithms", strings.Join(p.GetSigningAlgorithms(), ", ")},
		{"Max token age", span(p.GetMaxTokenAge())},
		{"Asserts identity", yes(p.GetIdJag() != nil)},
		{"Tokens kept", kept(p.GetTokenExchange())},
		{"Signals", signals(p.GetSharedSignals())},
		{"Disabled", yes(p.GetDisabled())},
		{"Labels", labels(p.GetLabels())},
		{"Created", moment(p.GetCreateTime())},
		{"Updated", moment(p.GetUpdateTime())},
	}, []section{mappings}
}

// required lists claims with the values they must have.
func required(claims map[string]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		list = append(list, name+"="+claims[name])
	}
	return strings.Join(list, ", ")
}

// issuer is a row: which tokens of an identity provider count on a gateway.
func issuer(i *resourcev1.JwksIssuer) []string {
	subject, scopes := i.GetSubjectClaim(), i.GetScopeClaim()
	if subject == "" {
		subject = "sub"
	}
	if scopes == "" {
		scopes = "scope, scp"
	}
	var settings []string
	if len(i.GetRequiredClaims()) > 0 {
		settings = append(settings, required(i.GetRequiredClaims()))
	}
	for _, s := range []struct {
		name string
		on   bool
	}{
		{"accept_id_tokens", i.GetAcceptIdTokens()},
		{"require_at_jwt", i.GetRequireAtJwt()},
		{"shared_audience", i.GetSharedAudience()},
		{"accept_missing_scope", i.GetAcceptMissingScope()},
	} {
		if s.on {
			settings = append(settings, s.name)
		}
	}
	return []string{i.GetIdentityProvider(), strings.Join(i.GetAudiences(), ", "), subject, scopes, orDash(strings.Join(settings, ", "))}
}

// clientAuthentication is "CLIENT_SECRET", with what is missing behind it.
func clientAuthentication(c *resourcev1.OAuthClient) string {
	way := short(c.GetAuthentication().String(), "O_AUTH_CLIENT_AUTHENTICATION_", "NONE")
	if way == "CLIENT_SECRET" && c.GetSecretTime() == nil {
		return way + " (none made)"
	}
	return way
}

func oauthClient(c *resourcev1.OAuthClient) [][2]string {
	keys, newest, scopes := c.GetJwksUri(), "", ""
	if c.GetJwks() != "" {
		keys = "given"
	}
	if c.GetSecretTime() != nil {
		newest = moment(c.GetSecretTime())
	}
	if cc := c.GetClientCredentials(); cc != nil {
		if scopes = strings.Join(cc.GetScopes(), " "); scopes == "" {
			scopes = "mcp"
		}
	}
	return [][2]string{
		{"Display name", c.GetDisplayName()},
		{"Client ID", c.GetName()},
		{"Authentication", clientAuthentication(c)},
		{"Newest secret", newest},
		{"Keys", keys},
		{"Redirects to", orDash(strings.Join(c.GetRedirectUris(), ", "))},
		{"Acts as itself at", strings.Join(c.GetClientCredentials().GetGateways(), ", ")},
		{"With scopes", scopes},
		{"Trusted", yes(c.GetTrusted())},
		{"Disabled", yes(c.GetDisabled())},
		{"Labels", labels(c.GetLabels())},
		{"Created", moment(c.GetCreateTime())},
		{"Updated", moment(c.GetUpdateTime())},
	}
}
