// SPDX-License-Identifier: Apache-2.0

package compile

import "time"

// Gateway is a gateway without its tools.
type Gateway struct {
	Name, UID    string
	DisplayName  string
	Instructions string
	Visibility   Visibility
	BearerTokens bool // static bearer tokens are accepted (ST-12)
	Disabled     bool
	MaxStale     time.Duration // 0 means no limit (D-63)
	ListTTL      time.Duration // life of a list in a modern client's cache (M-27)
}

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
	Connection  string     // pinned connection
	Description string     // shown in place of the upstream's, or empty
	Body        Definition // accepted definition, byte for byte
	Held        bool       // refused until a changed definition is accepted (G-16)
	Retryable   bool       // read-only or idempotent (G-51)
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
	Name           string
	DisplayName    string
	URL            string   // Streamable HTTP endpoint; empty for stdio
	Command        string   // stdio program; empty for HTTP
	Args           []string // stdio arguments
	Env            map[string]string
	Headers        map[string]string // fixed extra headers
	NeedsSecret    bool              // connections carry a static credential
	Protocol       string            // version to speak: configured, else discovered, else empty
	Stateless      bool
	CallTimeout    time.Duration
	MaxConcurrency int
	MaxResponse    int64 // bytes
}

// Connection is an installed server, without its secret.
type Connection struct {
	Name, UID         string
	Server            string
	CredentialVersion string // reference for Resolve; empty if there is no secret
}

// Token is a static bearer token.
type Token struct {
	Name, UID string
	OwnerKind OwnerKind
	Owner     string // e-mail address, team or service account name; empty for the organisation
	Gateways  map[string]struct{}
	Scopes    []string
	Expires   time.Time // zero means never
}

// OwnerKind says who a bearer token acts as.
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
}

// Team is a group of people.
type Team struct {
	Name, UID string
	Members   map[string]struct{} // e-mail addresses
}
