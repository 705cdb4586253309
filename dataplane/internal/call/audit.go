// SPDX-License-Identifier: Apache-2.0

package call

import (
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Outcomes of a tool call (G-60).
const (
	OutcomeOK            = "ok"
	OutcomeToolError     = "tool_error"     // the tool says that it failed, or the server answered with an error
	OutcomeInputRequired = "input_required" // the server, or a policy, asks for more before it goes on
	OutcomeTask          = "task"           // the tool runs on as a task
	OutcomeRefused       = "refused"        // the server was not asked
	OutcomeFault         = "fault"          // it was, and no answer came or was let through
)

// AuditEvent is what the audit keeps of one tool call (G-60): that it happened, never its arguments or its result. It is a value; its
// strings are shared with what they were taken from.
type AuditEvent struct {
	Time      time.Time // at which the request came
	Principal ident.Principal

	Gateway, GatewayUID string
	Server, Upstream    string // of the tool, however it was reached; Server is empty if the caller sees no such tool
	Tool                string // "<server>/<upstream name>"; empty: those two say it
	Requested           string // the name as the client wrote it, at most [MaxRequested] bytes
	RunTool             bool   // reached through run_tool
	Connection          string // empty if none was chosen
	OwnerKind           compile.OwnerKind
	Owner               string // of the connection: e-mail address or team; empty for the organisation and without a connection

	Outcome string // one of the constants
	Reason  string // of a refusal or fault, a stable word
	Policy  string // the one that decided
	Action  string // what policies decided, in the word of manifests; empty if the gateway has none

	InGateway, OnCredential, OnUpstream time.Duration
	RequestBytes, ResponseBytes         int64

	Revision                  uint64
	TraceID                   [16]byte // zero for none
	RequestID                 string
	ClientName, ClientVersion string // as the client calls itself; empty if not known
	Version                   wire.Version
}

// MaxRequested bounds [AuditEvent.Requested]: it is the client's text.
const MaxRequested = 256
