// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"encoding/json"
	"slices"
)

// Gateway is a named MCP endpoint. Tools are stored apart from it, as assignments, and joined when it is read.
type Gateway struct {
	Meta
	DisplayName         string           `json:"display_name,omitempty"`
	Description         string           `json:"description,omitempty"`
	Instructions        string           `json:"instructions,omitempty"`
	Visibility          *Visibility      `json:"visibility,omitempty"`
	Authentication      *Authentication  `json:"authentication,omitempty"`
	Tools               []ToolAssignment `json:"tools,omitempty"`
	Naming              *Naming          `json:"naming,omitempty"`
	Disabled            bool             `json:"disabled,omitempty"`
	Regions             []string         `json:"regions,omitempty"`
	MaxStale            *Duration        `json:"max_stale,omitempty"`
	ListTTL             *Duration        `json:"list_ttl,omitempty"`
	Status              *GatewayStatus   `json:"status,omitempty" field:"output"`
	LoadToolsWhenNeeded bool             `json:"load_tools_when_needed,omitempty"`
	PassthroughHeaders  []string         `json:"passthrough_headers,omitempty"`
	ServerFeatures      []ServerFeature  `json:"server_features,omitempty"`
	ResourceURIs        ResourceURIs     `json:"resource_uris,omitempty"`
	Extensions          *Extensions      `json:"extensions,omitempty"`
	ScopesSupported     []string         `json:"scopes_supported,omitempty" field:"output"`
	RateLimits          []RateLimit      `json:"rate_limits,omitempty"`
	DefaultAction       DefaultAction    `json:"default_action,omitempty"`
	UntrustedContext    UntrustedContext `json:"untrusted_context,omitempty"`
}

// Scopes returns the OAuth scopes that tokens for the gateway may have: "mcp" and those that its tools require, sorted.
func (g *Gateway) Scopes() []string {
	scopes := []string{ScopeMCP}
	for _, a := range g.Tools {
		scopes = append(scopes, a.RequiredScopes...)
	}
	slices.Sort(scopes)
	return slices.Compact(scopes)
}

// ServerFeature turns prompts, resources and instructions of one server on (M-54).
type ServerFeature struct {
	Server            string    `json:"server,omitempty"`
	Pinned            *Pinned   `json:"pinned,omitempty" oneof:"mode"`
	ResolveAtCallTime *struct{} `json:"resolve_at_call_time,omitempty" oneof:"mode"`
	Prompts           bool      `json:"prompts,omitempty"`
	Resources         bool      `json:"resources,omitempty"`
	Instructions      bool      `json:"instructions,omitempty"`
}

// ResourceURIs says when the URI of a resource carries the name of its server; empty means ON_CONFLICT (M-66).
type ResourceURIs string

// The ways to write URIs.
const (
	ResourceURIsOnConflict ResourceURIs = "RESOURCE_URIS_ON_CONFLICT"
	ResourceURIsAlways     ResourceURIs = "RESOURCE_URIS_ALWAYS"
)

// Extensions says which extensions of MCP may be used over a gateway (M-60).
type Extensions struct {
	Allowed     []string `json:"allowed,omitempty"`
	Passthrough bool     `json:"passthrough,omitempty"`
}

// RateLimit is how often something may happen over all nodes together (G-50). Exactly one of Requests and ToolCalls is set.
type RateLimit struct {
	Per             RateLimitPer         `json:"per,omitempty"`
	Requests        uint32               `json:"requests,omitempty"`
	ToolCalls       uint32               `json:"tool_calls,omitempty"`
	Period          *Duration            `json:"period,omitempty"`
	Burst           uint32               `json:"burst,omitempty"`
	WhenUnavailable RateLimitUnavailable `json:"when_unavailable,omitempty"`
	Tools           []string             `json:"tools,omitempty"`
}

// RateLimitPer says what counts together.
type RateLimitPer string

// What counts together.
const (
	RateLimitPerGateway RateLimitPer = "RATE_LIMIT_PER_GATEWAY"
	RateLimitPerCaller  RateLimitPer = "RATE_LIMIT_PER_CALLER"
	RateLimitPerTeam    RateLimitPer = "RATE_LIMIT_PER_TEAM"
	RateLimitPerToken   RateLimitPer = "RATE_LIMIT_PER_TOKEN"
	RateLimitPerServer  RateLimitPer = "RATE_LIMIT_PER_SERVER"
	RateLimitPerTool    RateLimitPer = "RATE_LIMIT_PER_TOOL"
)

// RateLimitUnavailable says what happens while the store that nodes share cannot be reached; empty means OPEN.
type RateLimitUnavailable string

// What happens without the store.
const (
	RateLimitOpen   RateLimitUnavailable = "RATE_LIMIT_UNAVAILABLE_OPEN"
	RateLimitClosed RateLimitUnavailable = "RATE_LIMIT_UNAVAILABLE_CLOSED"
)

// Authentication lists the ways clients may authenticate.
type Authentication struct {
	BearerToken *struct{} `json:"bearer_token,omitempty"`
	OAuth       *struct{} `json:"oauth,omitempty"`
	IDJAG       *IDJAG    `json:"id_jag,omitempty"`
	JWKS        *JWKS     `json:"jwks,omitempty"`
}

// JWKS lists the identity providers whose tokens count on a gateway (auth.md §7).
type JWKS struct {
	Issuers []JWKSIssuer `json:"issuers,omitempty"`
}

// JWKSIssuer says which tokens of one identity provider count (JW-1).
type JWKSIssuer struct {
	IdentityProvider   string            `json:"identity_provider,omitempty"`
	Audiences          []string          `json:"audiences,omitempty"`
	SubjectClaim       string            `json:"subject_claim,omitempty"`
	ScopeClaim         string            `json:"scope_claim,omitempty"`
	RequiredClaims     map[string]string `json:"required_claims,omitempty"`
	AcceptIDTokens     bool              `json:"accept_id_tokens,omitempty"`
	RequireATJWT       bool              `json:"require_at_jwt,omitempty"`
	SharedAudience     bool              `json:"shared_audience,omitempty"`
	AcceptMissingScope bool              `json:"accept_missing_scope,omitempty"`
}

// Issuers returns the identity providers whose tokens count on the gateway.
func (g *Gateway) Issuers() []JWKSIssuer {
	if g.Authentication == nil || g.Authentication.JWKS == nil {
		return nil
	}
	return g.Authentication.JWKS.Issuers
}

// IDJAG switches access by identity assertions on. No provider listed means every one that has it set.
type IDJAG struct {
	IdentityProviders []string `json:"identity_providers,omitempty"`
}

// Naming says how tools are named on a gateway.
type Naming struct {
	Prefix NamingPrefix `json:"prefix,omitempty"`
}

// NamingPrefix says when the server's name is put in front of a tool's name; empty means ALWAYS.
type NamingPrefix string

// The ways to name.
const (
	NamingAlways     NamingPrefix = "NAMING_PREFIX_ALWAYS"
	NamingOnConflict NamingPrefix = "NAMING_PREFIX_ON_CONFLICT"
	NamingNever      NamingPrefix = "NAMING_PREFIX_NEVER"
)

// ToolAssignment is one tool on one gateway. Gateway is set in the stored form only.
type ToolAssignment struct {
	Tool              string          `json:"tool,omitempty"`
	Pinned            *Pinned         `json:"pinned,omitempty" oneof:"mode"`
	ResolveAtCallTime *struct{}       `json:"resolve_at_call_time,omitempty" oneof:"mode"`
	ExposedName       string          `json:"exposed_name,omitempty"`
	Description       string          `json:"description,omitempty"`
	FixedArguments    json.RawMessage `json:"fixed_arguments,omitempty"`
	RequiredScopes    []string        `json:"required_scopes,omitempty"`
	Gateway           string          `json:"gateway,omitempty" field:"output"`
	ResolvedName      string          `json:"resolved_name,omitempty" field:"output"`
}

// Pinned runs every call with one connection's credential.
type Pinned struct {
	Connection string `json:"connection,omitempty"`
}

// GatewayStatus says whether a gateway is usable, and if not why (G-3). It is computed at each read.
type GatewayStatus struct {
	Conditions []Condition `json:"conditions,omitempty"`
	URL        string      `json:"url,omitempty"`
}

// Condition is one statement about a resource: Type holds or not, and why.
type Condition struct {
	Type    string `json:"type,omitempty"`
	Status  bool   `json:"status,omitempty"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}
