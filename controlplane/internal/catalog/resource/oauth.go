// SPDX-License-Identifier: Apache-2.0

package resource

import "time"

// IdentityProvider is an OpenID Connect provider that people log in with. ClientSecret is input only and never stored
// here: SecretVersion refers to what the authserver keeps.
type IdentityProvider struct {
	Meta
	DisplayName     string            `json:"display_name,omitempty"`
	Issuer          string            `json:"issuer,omitempty"`
	ClientID        string            `json:"client_id,omitempty"`
	ClientSecret    string            `json:"client_secret,omitempty" field:"secret"`
	SecretVersion   string            `json:"secret_version,omitempty" field:"output"`
	Scopes          []string          `json:"scopes,omitempty"`
	JustInTimeUsers bool              `json:"just_in_time_users,omitempty"`
	LinkByEmail     bool              `json:"link_by_email,omitempty"`
	EmailDomains    []string          `json:"email_domains,omitempty"`
	GroupsClaim     string            `json:"groups_claim,omitempty"`
	GroupMappings   []GroupMapping    `json:"group_mappings,omitempty"`
	RequiredClaims  map[string]string `json:"required_claims,omitempty"`
	Disabled        bool              `json:"disabled,omitempty"`
	// TrustedEmailAddresses takes addresses as verified that the provider says nothing about.
	TrustedEmailAddresses bool `json:"trusted_email_addresses,omitempty"`
	// GatewayTokens lets gateways accept its tokens; the fields below are about those.
	GatewayTokens     bool        `json:"gateway_tokens,omitempty"`
	JWKSURI           string      `json:"jwks_uri,omitempty"`
	SigningAlgorithms []string    `json:"signing_algorithms,omitempty"`
	MaxTokenAge       *Duration   `json:"max_token_age,omitempty"`
	IDJAG             *IDJAGTrust `json:"id_jag,omitempty"`
	// ScimTokenSHA256 is the SHA-256 of each SCIM token in use, the newest first: it is stored and goes to the authserver, and
	// no caller of the catalog ever gets it.
	ScimTokenSHA256 [][]byte  `json:"scim_token_sha256,omitempty" field:"output"`
	ScimTokenTime   time.Time `json:"scim_token_time,omitzero" field:"output"`

	TokenExchange *KeptTokens    `json:"token_exchange,omitempty"`
	SharedSignals *SharedSignals `json:"shared_signals,omitempty"`
}

// KeptTokens says that the tokens of logins with a provider are kept for exchanges, and which scopes are asked for in addition.
type KeptTokens struct {
	Scopes []string `json:"scopes,omitempty"`
}

// SharedSignals says where the security events of a provider come from (SF-1). PollToken is input only and never stored here.
type SharedSignals struct {
	Issuer           string `json:"issuer,omitempty"`
	Audience         string `json:"audience,omitempty"`
	JWKSURI          string `json:"jwks_uri,omitempty"`
	PollEndpoint     string `json:"poll_endpoint,omitempty"`
	PollToken        string `json:"poll_token,omitempty"`
	PollTokenVersion string `json:"poll_token_version,omitempty"`
}

// IDJAGTrust says which identity assertions of a provider are accepted (JAG-1 to JAG-20).
type IDJAGTrust struct {
	MaxLifetime         *Duration `json:"max_lifetime,omitempty"`
	PublicClients       []string  `json:"public_clients,omitempty"`
	ResourceFromRequest bool      `json:"resource_from_request,omitempty"`
	TrustedAudSub       bool      `json:"trusted_aud_sub,omitempty"`
	Tenant              string    `json:"tenant,omitempty"`
	AcceptAct           bool      `json:"accept_act,omitempty"`
	SigningAlgorithms   []string  `json:"signing_algorithms,omitempty"`
}

// GroupMapping puts the people of a group at the provider into a team.
type GroupMapping struct {
	Group string `json:"group,omitempty"`
	Team  string `json:"team,omitempty"`
}

// OAuthClient is an OAuth client registered by an administrator. SecretSHA256 is the SHA-256 of each client secret in
// use, the newest first: it is stored and goes to the authserver, and no caller of the catalog ever gets it.
type OAuthClient struct {
	Meta
	DisplayName       string             `json:"display_name,omitempty"`
	RedirectURIs      []string           `json:"redirect_uris,omitempty"`
	Authentication    ClientAuth         `json:"authentication,omitempty"`
	JWKS              string             `json:"jwks,omitempty"`
	JWKSURI           string             `json:"jwks_uri,omitempty"`
	ClientCredentials *ClientCredentials `json:"client_credentials,omitempty"`
	Trusted           bool               `json:"trusted,omitempty"`
	Disabled          bool               `json:"disabled,omitempty"`
	SecretSHA256      [][]byte           `json:"secret_sha256,omitempty" field:"output"`
	SecretTime        time.Time          `json:"secret_time,omitzero" field:"output"`
}

// ClientAuth is the token_endpoint_auth_method of a client; empty means NONE.
type ClientAuth string

// The ways a client authenticates at the token endpoint.
const (
	ClientAuthNone          ClientAuth = "O_AUTH_CLIENT_AUTHENTICATION_NONE"
	ClientAuthSecret        ClientAuth = "O_AUTH_CLIENT_AUTHENTICATION_CLIENT_SECRET"
	ClientAuthPrivateKeyJWT ClientAuth = "O_AUTH_CLIENT_AUTHENTICATION_PRIVATE_KEY_JWT"
)

// ClientCredentials is what a client may do without a person (TK-19).
type ClientCredentials struct {
	Gateways []string `json:"gateways,omitempty"`
	Scopes   []string `json:"scopes,omitempty"`
}

// Identity is an account at an identity provider; issuer and subject are compared byte for byte (AZ-24).
type Identity struct {
	Issuer  string `json:"issuer,omitempty"`
	Subject string `json:"subject,omitempty"`
}

// ScopeMCP is the OAuth scope that every call needs.
const ScopeMCP = "mcp"

// Kind returns [KindIdentityProvider].
func (*IdentityProvider) Kind() Kind { return KindIdentityProvider }

// Kind returns [KindOAuthClient].
func (*OAuthClient) Kind() Kind { return KindOAuthClient }

// IsConfidential reports whether the client authenticates at the token endpoint.
func (c *OAuthClient) IsConfidential() bool {
	return c.Authentication == ClientAuthSecret || c.Authentication == ClientAuthPrivateKeyJWT
}

// DropSecrets takes the hashes out that no caller may see.
func (o *IdentityProvider) DropSecrets() { o.ScimTokenSHA256 = nil }

// DropSecrets takes the hashes out that no caller may see.
func (c *OAuthClient) DropSecrets() { c.SecretSHA256 = nil }
