// SPDX-License-Identifier: Apache-2.0

package resource

import "encoding/json"

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
}

// Authentication lists the ways clients may authenticate.
type Authentication struct {
	BearerToken *struct{} `json:"bearer_token,omitempty"`
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
