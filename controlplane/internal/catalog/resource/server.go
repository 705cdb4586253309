// SPDX-License-Identifier: Apache-2.0

package resource

import "time"

// Server is an MCP server approved for the organisation: the registry entry from which connections are installed.
// Exactly one of StreamableHTTP, SSE and Stdio is set.
type Server struct {
	Meta
	DisplayName      string            `json:"display_name,omitempty"`
	Description      string            `json:"description,omitempty"`
	StreamableHTTP   *StreamableHTTP   `json:"streamable_http,omitempty" oneof:"transport"`
	SSE              *SSE              `json:"sse,omitempty" oneof:"transport"`
	Stdio            *Stdio            `json:"stdio,omitempty" oneof:"transport"`
	Credential       *ServerCredential `json:"credential,omitempty"`
	Visibility       *Visibility       `json:"visibility,omitempty"`
	CallTimeout      *Duration         `json:"call_timeout,omitempty"`
	MaxConcurrency   uint32            `json:"max_concurrency,omitempty"`
	MaxResponseBytes uint32            `json:"max_response_bytes,omitempty"`
	Protocol         string            `json:"protocol,omitempty"`
	Stateless        bool              `json:"stateless,omitempty"`
	Affinity         Affinity          `json:"affinity,omitempty"`
	ToolChanges      ToolChanges       `json:"tool_changes,omitempty"`
	ExtraHeaders     map[string]string `json:"extra_headers,omitempty"`
	Status           *ServerStatus     `json:"status,omitempty" field:"output"`
	Questions        *Questions        `json:"questions,omitempty"`
	// OwnConnectionsOnly has calls that choose a connection for their caller use the caller's own only (G-12).
	OwnConnectionsOnly bool `json:"own_connections_only,omitempty"`
}

// Questions are the kinds of requests that a server may send to clients (M-59). Where a server has none set, all are
// allowed.
type Questions struct {
	Sampling    bool `json:"sampling,omitempty"`
	Elicitation bool `json:"elicitation,omitempty"`
	Roots       bool `json:"roots,omitempty"`
}

// StreamableHTTP is the transport of an HTTP MCP server.
type StreamableHTTP struct {
	URL string `json:"url,omitempty"`
}

// SSE is the transport of an HTTP+SSE server.
type SSE struct {
	URL string `json:"url,omitempty"`
}

// Stdio is the transport of a server that a node starts itself.
type Stdio struct {
	Command string            `json:"command,omitempty"`
	Args    []string          `json:"args,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
}

// ServerCredential is the kind of credential a connection carries. Nothing set means none.
type ServerCredential struct {
	None          *struct{}        `json:"none,omitempty" oneof:"kind"`
	StaticHeaders *StaticHeaders   `json:"static_headers,omitempty" oneof:"kind"`
	StaticEnv     *struct{}        `json:"static_env,omitempty" oneof:"kind"`
	OAuth         *OAuthCredential `json:"oauth,omitempty" oneof:"kind"`

	OAuthClientCredentials *OAuthClientCredentials `json:"oauth_client_credentials,omitempty" oneof:"kind"`
	TokenExchange          *TokenExchange          `json:"token_exchange,omitempty" oneof:"kind"`
	CallerIDPToken         *CallerIDPToken         `json:"caller_idp_token,omitempty" oneof:"kind"`

	Version string `json:"version,omitempty" field:"output"` // set on the streams to nodes and authservers only
}

// ClientAuthentication says how Penstock authenticates as a client of an authorization server; empty means with its secret.
type ClientAuthentication string

// The ways to authenticate.
const (
	ClientAuthenticationSecret        ClientAuthentication = "CLIENT_AUTHENTICATION_CLIENT_SECRET"
	ClientAuthenticationPrivateKeyJWT ClientAuthentication = "CLIENT_AUTHENTICATION_PRIVATE_KEY_JWT"
)

// OAuthClientCredentials says that calls carry access tokens that Penstock gets as a client of its own. ClientSecret is input only,
// as that of an [OAuthCredential] is.
type OAuthClientCredentials struct {
	Issuer         string               `json:"issuer,omitempty"`
	ClientID       string               `json:"client_id,omitempty"`
	ClientSecret   string               `json:"client_secret,omitempty"`
	SecretVersion  string               `json:"secret_version,omitempty"`
	Scopes         []string             `json:"scopes,omitempty"`
	NoResource     bool                 `json:"no_resource,omitempty"`
	TokenEndpoint  string               `json:"token_endpoint,omitempty"`
	Authentication ClientAuthentication `json:"authentication,omitempty"`
}

// ExchangeGrant is a way to exchange tokens; empty means token exchange (RFC 8693).
type ExchangeGrant string

// The ways to exchange tokens.
const (
	ExchangeGrantTokenExchange     ExchangeGrant = "EXCHANGE_GRANT_TOKEN_EXCHANGE"
	ExchangeGrantEntraOnBehalfOf   ExchangeGrant = "EXCHANGE_GRANT_ENTRA_ON_BEHALF_OF"
	ExchangeGrantIdentityAssertion ExchangeGrant = "EXCHANGE_GRANT_ID_JAG"
)

// SubjectToken is a kind of token that says who the caller is; empty means the default of the grant.
type SubjectToken string

// The kinds of tokens.
const (
	SubjectTokenAccess  SubjectToken = "SUBJECT_TOKEN_ACCESS_TOKEN"
	SubjectTokenID      SubjectToken = "SUBJECT_TOKEN_ID_TOKEN"
	SubjectTokenRefresh SubjectToken = "SUBJECT_TOKEN_REFRESH_TOKEN"
)

// TokenExchange says that calls carry an access token that the caller's own token of an identity provider is exchanged for.
// ClientSecret is input only, as that of an [OAuthCredential] is.
type TokenExchange struct {
	IdentityProvider string               `json:"identity_provider,omitempty"`
	Grant            ExchangeGrant        `json:"grant,omitempty"`
	SubjectToken     SubjectToken         `json:"subject_token,omitempty"`
	Audience         string               `json:"audience,omitempty"`
	Scopes           []string             `json:"scopes,omitempty"`
	NoResource       bool                 `json:"no_resource,omitempty"`
	Issuer           string               `json:"issuer,omitempty"`
	TokenEndpoint    string               `json:"token_endpoint,omitempty"`
	ClientID         string               `json:"client_id,omitempty"`
	ClientSecret     string               `json:"client_secret,omitempty"`
	SecretVersion    string               `json:"secret_version,omitempty"`
	Authentication   ClientAuthentication `json:"authentication,omitempty"`
}

// CallerIDPToken says that calls carry an access token that an identity provider gives the caller for the server.
type CallerIDPToken struct {
	IdentityProvider string   `json:"identity_provider,omitempty"`
	Audience         string   `json:"audience,omitempty"`
	Scopes           []string `json:"scopes,omitempty"`
	NoResource       bool     `json:"no_resource,omitempty"`
}

// StaticHeaders says that connections hold secret request headers. People who connect the server themselves are asked for
// those of Names; none means Authorization.
type StaticHeaders struct {
	Names []string `json:"names,omitempty"`
}

// OAuthCredential says that people give grants at the server's authorization server. ClientSecret is input only and never
// stored here: SecretVersion, which only the control plane writes, refers to what the authserver keeps.
type OAuthCredential struct {
	Issuer                string   `json:"issuer,omitempty"`
	ClientID              string   `json:"client_id,omitempty"`
	ClientSecret          string   `json:"client_secret,omitempty"`
	SecretVersion         string   `json:"secret_version,omitempty"`
	Scopes                []string `json:"scopes,omitempty"`
	NoResource            bool     `json:"no_resource,omitempty"`
	AuthorizationEndpoint string   `json:"authorization_endpoint,omitempty"`
	TokenEndpoint         string   `json:"token_endpoint,omitempty"`
}

func (s *Server) address() string {
	switch {
	case s.StreamableHTTP != nil:
		return s.StreamableHTTP.URL
	case s.SSE != nil:
		return s.SSE.URL
	default:
		return ""
	}
}

// Affinity says where stateful upstream sessions or processes live; empty means the transport's default.
type Affinity string

// The affinities.
const (
	AffinityPrincipal Affinity = "AFFINITY_PRINCIPAL"
	AffinityNone      Affinity = "AFFINITY_NONE"
)

// ToolChanges says what happens to a tool whose definition changed upstream; empty means REVIEW (G-16).
type ToolChanges string

// The ways to treat changed definitions.
const (
	ToolChangesReview ToolChanges = "TOOL_CHANGES_REVIEW"
	ToolChangesHold   ToolChanges = "TOOL_CHANGES_HOLD"
	ToolChangesAccept ToolChanges = "TOOL_CHANGES_ACCEPT"
)

// ServerStatus is what the last discovery learned. It is stored with the server, because nodes need most of it, but for
// DiscoverTime and LastError, which are kept outside the revision log. Capabilities and definitions are raw JSON objects,
// byte for byte (M-73).
type ServerStatus struct {
	ProtocolVersion         string           `json:"protocol_version,omitempty"`
	ServerInfo              string           `json:"server_info,omitempty"`
	DiscoverTime            time.Time        `json:"discover_time,omitzero"`
	LastError               string           `json:"last_error,omitempty"`
	Tools                   uint32           `json:"tools,omitempty"`
	Capabilities            []byte           `json:"capabilities,omitempty"`
	Instructions            string           `json:"instructions,omitempty"` // as accepted
	PendingInstructions     string           `json:"pending_instructions,omitempty"`
	PendingInstructionsHash string           `json:"pending_instructions_hash,omitempty"` // empty: nothing waits
	Prompts                 []ListedPrompt   `json:"prompts,omitempty"`
	Templates               []ListedTemplate `json:"templates,omitempty"`
	ResourceAuthorities     []string         `json:"resource_authorities,omitempty"`
	SSE                     bool             `json:"sse,omitempty"` // the URL of a streamable_http server speaks HTTP+SSE only
}

// ListedPrompt is a prompt of a server.
type ListedPrompt struct {
	Name       string `json:"name,omitempty"`
	Definition []byte `json:"definition,omitempty"`
}

// ListedTemplate is a resource template of a server.
type ListedTemplate struct {
	URITemplate string `json:"uri_template,omitempty"`
	Definition  []byte `json:"definition,omitempty"`
}

// DropDefinitions takes the definitions out of the status, which can be large: lists of servers have none.
func (s *Server) DropDefinitions() {
	if s.Status == nil {
		return
	}
	for i := range s.Status.Prompts {
		s.Status.Prompts[i].Definition = nil
	}
	for i := range s.Status.Templates {
		s.Status.Templates[i].Definition = nil
	}
}

// Tool is a tool discovered on a server. Name is "<server>/<upstream name>". Definitions are filled by Get only.
type Tool struct {
	Meta
	Server            string    `json:"server,omitempty" field:"output"`
	UpstreamName      string    `json:"upstream_name,omitempty" field:"output"`
	State             ToolState `json:"state,omitempty" field:"output"`
	DefinitionHash    string    `json:"definition_hash,omitempty" field:"output"`
	BodyHash          string    `json:"body_hash,omitempty" field:"output"`
	PendingBodyHash   string    `json:"pending_body_hash,omitempty" field:"output"`
	Definition        []byte    `json:"definition,omitempty" field:"output"`
	PendingDefinition []byte    `json:"pending_definition,omitempty" field:"output"`
	Held              bool      `json:"held,omitempty" field:"output"`
	Retryable         bool      `json:"retryable,omitempty" field:"output"`
}

// ToolState is the state of a tool's definition.
type ToolState string

// The states of a definition.
const (
	ToolActive  ToolState = "TOOL_STATE_ACTIVE"
	ToolChanged ToolState = "TOOL_STATE_CHANGED"
	ToolRemoved ToolState = "TOOL_STATE_REMOVED"
)

// NeedsSecret reports whether calls need a credential that a connection holds.
func (s *Server) NeedsSecret() bool {
	c := s.Credential
	return c != nil && (c.StaticHeaders != nil || c.StaticEnv != nil || c.OAuth != nil)
}
