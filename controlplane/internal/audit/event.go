// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"time"
)

// Source says who noticed an event.
type Source string

// The sources.
const (
	ToolCall Source = "tool_call" // a node
	Admin    Source = "admin"     // the admin API
)

// Outcomes of a write; those of tool calls are the node's words (penstock.node.v1).
const (
	OutcomeOK      = "ok"
	OutcomeRefused = "refused"
	OutcomeFault   = "fault"
)

// Principal is who did something.
type Principal struct {
	Kind       string `json:"kind,omitempty"`
	UID        string `json:"uid,omitempty"`
	Name       string `json:"name,omitempty"`
	AuthMethod string `json:"auth_method,omitempty"`
	TokenID    string `json:"token_id,omitempty"`
	ClientID   string `json:"client_id,omitempty"`
}

// String is the principal as people write it: an e-mail address, or "team:<name>", "service_account:<name>", "organization".
func (p Principal) String() string {
	switch p.Kind {
	case "user", "":
		return p.Name
	case "organization":
		return p.Kind
	}
	return p.Kind + ":" + p.Name
}

// Key tells principals apart, whatever their names.
func (p Principal) Key() string { return p.Kind + ":" + p.UID }

// Event is one thing that was done or refused. The tags are those of the stored form.
type Event struct {
	ID        uint64    `json:"-"` // given out by the store, in the order of commits
	Time      time.Time `json:"time"`
	Source    Source    `json:"source"`
	Principal Principal `json:"principal"`
	Outcome   string    `json:"outcome"`
	Reason    string    `json:"reason,omitempty"`
	Revision  uint64    `json:"revision,omitempty"`
	RequestID string    `json:"request_id,omitempty"`
	TraceID   string    `json:"trace_id,omitempty"`
	Call      *Call     `json:"call,omitempty"`  // of a tool call
	Write     *Write    `json:"write,omitempty"` // of a write
}

// Call is a tool call; penstock.node.v1 ToolCallEvent says what the fields mean.
type Call struct {
	Node            string `json:"node"`
	Gateway         string `json:"gateway"`
	GatewayUID      string `json:"gateway_uid,omitempty"`
	Tool            string `json:"tool,omitempty"`
	RequestedName   string `json:"requested_name,omitempty"`
	Door            string `json:"door"`
	Server          string `json:"server,omitempty"`
	Connection      string `json:"connection,omitempty"`
	ConnectionOwner string `json:"connection_owner,omitempty"`
	Policy          string `json:"policy,omitempty"`
	PolicyAction    string `json:"policy_action,omitempty"`
	GatewayUS       int64  `json:"gateway_us"`
	CredentialUS    int64  `json:"credential_us,omitempty"`
	UpstreamUS      int64  `json:"upstream_us,omitempty"`
	RequestBytes    int64  `json:"request_bytes"`
	ResponseBytes   int64  `json:"response_bytes"`
	ClientName      string `json:"client_name,omitempty"`
	ClientVersion   string `json:"client_version,omitempty"`
	ProtocolVersion string `json:"protocol_version,omitempty"`
	DroppedBefore   uint64 `json:"dropped_before,omitempty"`
}

// Write is a write through the admin API.
type Write struct {
	Method string   `json:"method"`
	Kind   string   `json:"kind,omitempty"`
	Name   string   `json:"name,omitempty"`
	Fields []string `json:"fields,omitempty"`
}

// Filter says which events to list. Empty fields admit all.
type Filter struct {
	Start, End           time.Time // from Start, before End
	Source               Source
	Gateway, Policy      string
	Tool                 string // "<server>/<upstream name>", or "<server>/*"
	Principal, Outcome   string
	PrincipalKey         string // set by [Log.List] for who sees only their own
	BeforeTime, BeforeID int64  // continue a list after this event: microseconds since 1970, and id; 0 for its beginning
	After                *uint64
	Limit                int
}

// Page is a part of a list.
type Page struct {
	Events []Event
	LastID uint64 // of all events
}

// Upload is a run of events of one queue of a node.
type Upload struct {
	Node   string // SPIFFE id
	Queue  string
	First  uint64 // number of the first event in the queue
	Events []Event
}

// Store keeps events. Its faults are Unavailable.
type Store interface {
	// UploadAudit stores what of an upload is not stored yet, wholly or not at all, and returns the number of the newest event of the
	// queue that is stored.
	UploadAudit(ctx context.Context, u Upload) (stored uint64, err error)
	// AddAudit stores events that come once.
	AddAudit(ctx context.Context, events []Event) error
	// ListAudit lists events, the newest first; with Filter.After the lowest id first.
	ListAudit(ctx context.Context, f Filter) (Page, error)
	// DropAudit forgets what is older, a little at a time.
	DropAudit(ctx context.Context, before time.Time) error
}
