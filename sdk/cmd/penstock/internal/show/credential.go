// SPDX-License-Identifier: Apache-2.0

package show

import (
	"strings"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// credential names the kind of a credential.
func credential(c *resourcev1.ServerCredential) string {
	switch c.GetKind().(type) {
	case *resourcev1.ServerCredential_StaticHeaders:
		return "static_headers"
	case *resourcev1.ServerCredential_StaticEnv:
		return "static_env"
	case *resourcev1.ServerCredential_Oauth:
		return "oauth"
	case *resourcev1.ServerCredential_OauthClientCredentials:
		return "oauth_client_credentials"
	case *resourcev1.ServerCredential_TokenExchange:
		return "token_exchange"
	case *resourcev1.ServerCredential_CallerIdpToken:
		return "caller_idp_token"
	default:
		return "none"
	}
}

// authorization says where and as what Penstock gets the tokens of a server; fields that are not set are left empty.
func authorization(c *resourcev1.ServerCredential) [][2]string {
	switch k := c.GetKind().(type) {
	case *resourcev1.ServerCredential_OauthClientCredentials:
		o := k.OauthClientCredentials
		return [][2]string{
			{"Tokens for", "all callers alike"},
			{"Token issuer", o.GetIssuer()},
			{"Token endpoint", o.GetTokenEndpoint()},
			{"Client ID", o.GetClientId()},
			{"Client authentication", authentication(o.GetAuthentication(), o.GetSecretVersion())},
			{"Scopes", strings.Join(o.GetScopes(), " ")},
		}
	case *resourcev1.ServerCredential_TokenExchange:
		x := k.TokenExchange
		client := ""
		if x.GetClientId() != "" {
			client = authentication(x.GetAuthentication(), x.GetSecretVersion())
		}
		return [][2]string{
			{"Tokens for", "each caller"},
			{"Identity provider", x.GetIdentityProvider()},
			{"Grant", short(x.GetGrant().String(), "EXCHANGE_GRANT_", "TOKEN_EXCHANGE")},
			{"Subject token", subject(x)},
			{"Audience", x.GetAudience()},
			{"Token issuer", x.GetIssuer()},
			{"Token endpoint", x.GetTokenEndpoint()},
			{"Client ID", x.GetClientId()},
			{"Client authentication", client},
			{"Scopes", strings.Join(x.GetScopes(), " ")},
		}
	case *resourcev1.ServerCredential_CallerIdpToken:
		g := k.CallerIdpToken
		return [][2]string{
			{"Tokens for", "each caller"},
			{"Identity provider", g.GetIdentityProvider()},
			{"Audience", g.GetAudience()},
			{"Scopes", strings.Join(g.GetScopes(), " ")},
		}
	default:
		return nil
	}
}

// authentication is "CLIENT_SECRET" or "PRIVATE_KEY_JWT", with what is missing behind it; "none" for a public client.
func authentication(a resourcev1.ClientAuthentication, version string) string {
	way := short(a.String(), "CLIENT_AUTHENTICATION_", "")
	switch {
	case way == "" && version == "":
		return "none"
	case way == "":
		return "CLIENT_SECRET"
	case version == "":
		return way + " (none kept)"
	default:
		return way
	}
}

// subject is the kind of token that is exchanged.
func subject(x *resourcev1.TokenExchange) string {
	fallback := "ACCESS_TOKEN"
	if x.GetGrant() == resourcev1.ExchangeGrant_EXCHANGE_GRANT_ID_JAG {
		fallback = "ID_TOKEN"
	}
	return short(x.GetSubjectToken().String(), "SUBJECT_TOKEN_", fallback)
}

// kept says which tokens of logins are kept; empty if none are.
func kept(k *resourcev1.KeptTokens) string {
	if k == nil {
		return ""
	}
	return strings.TrimSpace("for exchanges " + strings.Join(k.GetScopes(), " "))
}

// signals says how the security events of a provider come; empty if they do not.
func signals(s *resourcev1.SharedSignals) string {
	switch {
	case s == nil:
		return ""
	case s.GetPollEndpoint() == "":
		return "pushed"
	case s.GetPollTokenVersion() == "":
		return "polled from " + s.GetPollEndpoint() + " without a token"
	default:
		return "polled from " + s.GetPollEndpoint()
	}
}
