// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/compile/inputschema"
)

// Gateway is a gateway without its tools.
type Gateway struct {
	Name, UID    string
	DisplayName  string
	Instructions string
	Visibility   Visibility
	BearerTokens bool         // static bearer tokens are accepted (ST-12)
	OAuth        bool         // access tokens of the authserver are accepted (RS-20)
	IDJAG        bool         // ... those that a client got for an identity assertion (RS-20)
	JWKS         []JWKSIssuer // identity providers whose tokens are accepted (RS-20)
	Disabled     bool
	MaxStale     time.Duration // 0 means no limit (D-63)
	ListTTL      time.Duration // life of a list in a modern client's cache (M-27)

	Naming      Prefix    // of prompts; the names of tools come with them (M-62)
	Features    []Feature // servers of which the gateway shows more than tools, sorted by server name (M-54)
	AlwaysURIs  bool      // resource URIs carry the server's name even where they are unambiguous (M-66)
	Extensions  []string  // extensions that may be declared to clients (M-60)
	Passthrough bool      // methods of unknown extensions are relayed; the gateway has one server (M-60)

	LoadToolsWhenNeeded bool // what is listed is SearchTools and RunTool; tools are found and run with these (G-20)

	PassedHeaders []string // headers of clients that HTTP servers get, in canonical form (G-40)

	RequestLimits []RateLimit // on requests of every method (G-50)
	CallLimits    []RateLimit // on tool calls

	Labels         map[string]string
	BlockUnmatched bool     // calls of tools that no policy matches are refused (G-30)
	Contexts       Contexts // when the context of a call is untrusted (G-33)
}

// Contexts is when the context of calls is untrusted (G-33).
type Contexts uint8

// The modes of G-33.
const (
	ContextsTracked   Contexts = iota // after an untrusted result, and where nobody can tell
	ContextsUntrusted                 // always
	ContextsTrusted                   // never
)

// Feature is what a gateway shows of a server besides tools.
type Feature struct {
	Server       string
	Connection   string // pinned connection that reads prompts and resources
	AtCall       bool   // the connection is chosen per caller at the call (G-12)
	Prompts      bool
	Resources    bool
	Instructions bool
}

// Prompt is a prompt of a gateway.
type Prompt struct {
	Exposed    string // name clients see
	Upstream   string // name the server knows
	Server     string
	Connection string
	AtCall     bool
	Body       []byte // definition, byte for byte
}

// Template is a resource template of a gateway.
type Template struct {
	URI        string // uriTemplate clients see
	Upstream   string // uriTemplate the server knows
	Server     string
	Connection string
	AtCall     bool
	Body       []byte // definition, byte for byte
}

// Capabilities are what servers declare, of one server or joined over a gateway (M-57).
type Capabilities struct {
	Prompts, PromptsChanged                       bool
	Resources, ResourcesChanged, ResourcesWatched bool // watched: resources/subscribe, or listen
	Tools, ToolsChanged                           bool
	Completions, Logging                          bool
	Tasks                                         bool              // tasks of 2025-11-25: requests.tools.call
	Extensions                                    map[string][]byte // settings, raw, by name
}

// Questions are what a server may ask of clients (M-59).
type Questions struct{ Sampling, Elicitation, Roots bool }

// Visibility says who may use a gateway. Exactly one of its fields is set.
type Visibility struct {
	Owner        string   // personal: e-mail address
	Teams        []string // team
	Organization bool
}

// Tool is one tool assignment with the tool it shows.
type Tool struct {
	Exposed     string // name clients see
	Upstream    string // name the server knows
	Name        string // "<server>/<upstream name>"
	Server      string
	Connection  string     // pinned connection; empty if it is chosen at the call
	AtCall      bool       // the connection is chosen per caller at the call (G-12)
	Description string     // shown in place of the upstream's, or empty
	Body        Definition // accepted definition as clients see it: byte for byte, but for fixed arguments
	Accepted    Definition // the whole of it, where it is not Body; nil otherwise
	Held        bool       // refused until a changed definition is accepted (G-16)
	Retryable   bool       // read-only or idempotent (G-51)

	RequiredScopes []string // that a caller needs beside ScopeMCP, sorted (RS-19)

	Fixed []FixedArgument // that every call gets, whatever the caller sends, sorted by name

	schema atomic.Pointer[*inputschema.Schema] // of Schema; nil before its first use
}

// Whole returns the accepted definition with all arguments, byte for byte, which must not be changed.
func (t *Tool) Whole() []byte {
	if t.Accepted != nil {
		return t.Accepted.Bytes()
	}
	return t.Body.Bytes()
}

// FixedArgument is one argument that an assignment gives to every call.
type FixedArgument struct {
	Name  string
	Value []byte // raw JSON, on one line
}

// Definition is a tool's definition, the raw JSON object of tools/list, wherever its bytes are kept.
type Definition interface {
	// Bytes returns the definition, which must not be changed.
	Bytes() []byte
	// Len returns the number of bytes.
	Len() int
}

// Server is what a node needs to reach a server.
type Server struct {
	Name            string
	DisplayName     string
	URL             string   // Streamable HTTP endpoint; empty for stdio
	Command         string   // stdio program; empty for HTTP
	Args            []string // stdio arguments
	Env             map[string]string
	Headers         map[string]string // fixed extra headers
	NeedsSecret     bool              // connections carry a credential
	Made            string            // version of the credential that the authserver makes, whatever the connection holds; empty: none
	CallerOnly      bool              // what is made is the caller's own identity: callers are people (G-12)
	Provider        string            // identity provider that what is made is made of; empty: none
	SubjectProvider string            // identity provider whose tokens are exchanged where callers presented them; empty: none are
	OwnOnly         bool              // calls that choose a connection use the caller's own only (G-12)
	Protocol        string            // version to speak: configured, else discovered, else empty
	Stateless       bool
	Homed           bool // its processes or sessions of a principal live on one node (M-94)
	CallTimeout     time.Duration
	MaxConcurrency  int
	MaxResponse     int64 // bytes

	Labels       map[string]string
	SSE          bool         // URL is of the HTTP+SSE transport
	Questions    Questions    // what it may ask of clients
	Capabilities Capabilities // declared at discovery
	Instructions string       // as accepted at discovery
	Prompts      []Listed     // as discovered, in the server's order
	Templates    []Listed     // resource templates, as discovered
	Authorities  []string     // "scheme://authority" of its resources, templates and apps, sorted (M-66)
}

// Listed is a prompt or a resource template that a server told of.
type Listed struct {
	Name string // of the prompt; uriTemplate of the template
	Body []byte // definition, byte for byte
}

// Connection is an installed server, without its secret.
type Connection struct {
	Name, UID         string
	Server            string
	OwnerKind         OwnerKind
	Owner             string // e-mail address or team name; empty for the organisation
	CredentialVersion string // reference for Resolve; empty if there is no secret
}

// Version returns the reference by which the credential of a call over a connection of the server is resolved, empty if there is none:
// that of the connection, or of what the authserver makes, which is the server's whatever the connection holds.
func (s *Server) Version(c *Connection) string {
	if s.Made != "" {
		return s.Made
	}
	return c.CredentialVersion
}

// ServiceAccount reports whether calls of the server run as one client of the authserver, the same for all callers.
func (s *Server) ServiceAccount() bool { return s.Made != "" && !s.CallerOnly }

// Token is a static bearer token.
type Token struct {
	Name, UID string
	OwnerKind OwnerKind
	Owner     string // e-mail address, team or service account name; empty for the organisation
	Gateways  map[string]struct{}
	Scopes    []string
	Expires   time.Time // zero means never
}

// OwnerKind says who a bearer token acts as, or whose a connection is.
type OwnerKind uint8

// The kinds of owners.
const (
	OwnerUser OwnerKind = iota + 1
	OwnerTeam
	OwnerOrganization
	OwnerServiceAccount
)

// User is a person.
type User struct {
	Name, UID   string
	Deactivated bool
	Role        string     // MEMBER, EDITOR or ADMIN
	Identities  []Identity // accounts at identity providers
}

// Identity is an account at an identity provider.
type Identity struct{ Issuer, Subject string }

// Team is a group of people.
type Team struct {
	Name, UID string
	Members   map[string]struct{} // e-mail addresses
}
