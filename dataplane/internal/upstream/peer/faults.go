// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"fmt"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults that calls return. Their Public text names the server.
const (
	// ReasonUnreachable (Unavailable): no connection, or a refusal before the
	// request ran. It can be tried again.
	ReasonUnreachable = "UPSTREAM_UNREACHABLE"
	// ReasonCircuitOpen (Unavailable): the server failed several times in a
	// row and is not called until its next trial. The request did not run.
	ReasonCircuitOpen = "UPSTREAM_CIRCUIT_OPEN"
	// ReasonTimeout (Timeout): no answer in time; the request was cancelled and
	// may have run.
	ReasonTimeout = "UPSTREAM_TIMEOUT"
	// ReasonProtocol (Unavailable): the answer is not MCP.
	ReasonProtocol = "UPSTREAM_PROTOCOL"
	// ReasonTooLarge (Unavailable): a message is larger than allowed.
	ReasonTooLarge = "RESPONSE_TOO_LARGE"
	// ReasonOutcomeUnknown (Unavailable): the connection broke after the
	// request was sent; it may have run (G-53).
	ReasonOutcomeUnknown = "OUTCOME_UNKNOWN"
	// ReasonUnauthorized (Precondition): the upstream answered 401 or 403.
	ReasonUnauthorized = "UPSTREAM_UNAUTHORIZED"
	// ReasonScope (Precondition): the upstream answered 403 and that the
	// credential's scope is not enough.
	ReasonScope = "UPSTREAM_INSUFFICIENT_SCOPE"
	// ReasonBusy (Exhausted): the connection's limit of calls is reached.
	ReasonBusy = "UPSTREAM_BUSY"
	// ReasonTarget (Precondition): the URL or a header of the server's
	// settings cannot be used.
	ReasonTarget = "UPSTREAM_SETTINGS"
	// ReasonNoStream (Precondition): the server has no messages outside of
	// calls, or none of the wanted kinds.
	ReasonNoStream = "UPSTREAM_NO_STREAM"
)

// Fault makes a fault whose Public text names the server, with tail behind it.
func (t *Target) Fault(k fault.Kind, reason, tail string) *fault.Fault {
	return fault.Newf(k, reason, "The server %q %s.", t.Server, tail)
}

// Settings is Precondition with [ReasonTarget].
func (t *Target) Settings(tail string) *fault.Fault {
	return t.Fault(fault.Precondition, ReasonTarget, tail)
}

// Garbage is Unavailable with [ReasonProtocol].
func (t *Target) Garbage(what string) *fault.Fault {
	return t.Fault(fault.Unavailable, ReasonProtocol, "gave an answer that is not MCP: "+what)
}

// TooLarge is Unavailable with [ReasonTooLarge].
func (t *Target) TooLarge() *fault.Fault {
	return t.Fault(fault.Unavailable, ReasonTooLarge, "answered with more than is allowed")
}

// Unreachable is Unavailable with [ReasonUnreachable].
func (t *Target) Unreachable() *fault.Fault {
	return t.Fault(fault.Unavailable, ReasonUnreachable, "cannot be reached")
}

// Down is Unavailable with [ReasonCircuitOpen]: the next trial is after wait.
func (t *Target) Down(wait time.Duration, last error) *fault.Fault {
	wait = max(wait.Round(100*time.Millisecond), 100*time.Millisecond)
	return t.Fault(fault.Unavailable, ReasonCircuitOpen, "keeps failing; it will not be called again for "+wait.String()).
		After(wait).Because(last)
}

// Late is Timeout with [ReasonTimeout].
func (t *Target) Late() *fault.Fault {
	return t.Fault(fault.Timeout, ReasonTimeout, "did not answer in time")
}

// Busy is Exhausted with [ReasonBusy].
func (t *Target) Busy() *fault.Fault {
	return t.Fault(fault.Exhausted, ReasonBusy, "has as many calls under way as its connection allows").After(time.Second)
}

// RefusedCredential classifies the status 401 or 403. scope says that the challenge asks for more scope, wanted which, if it says so.
func (t *Target) RefusedCredential(status int, scope bool, wanted string) *fault.Fault {
	if scope {
		return t.Fault(fault.Precondition, ReasonScope, "wants more rights than the credential of its connection has").
			Because(&ScopeError{StatusError(status), wanted})
	}
	return t.Refused(status, true)
}

// Refused classifies an HTTP status that brought no JSON-RPC answer.
func (t *Target) Refused(status int, idempotent bool) *fault.Fault {
	switch {
	case status == 401 || status == 403:
		return t.Fault(fault.Precondition, ReasonUnauthorized, "refused the credential of its connection")
	case status == 429 || status == 503:
		return t.Fault(fault.Unavailable, ReasonUnreachable, "takes no requests at the moment").After(time.Second).
			Because(StatusError(status))
	case status >= 500 && !idempotent:
		return t.Fault(fault.Unavailable, ReasonOutcomeUnknown, "failed while it had the request, which may have run").
			Because(StatusError(status))
	case status >= 500:
		return t.Unreachable().Because(StatusError(status))
	}
	return t.Garbage("an HTTP status without an answer").Because(StatusError(status))
}

// ScopeError is the cause of a fault with [ReasonScope].
type ScopeError struct {
	status StatusError
	wanted string
}

// Error names the status.
func (e *ScopeError) Error() string { return e.status.Error() }

// Unwrap returns the [StatusError].
func (e *ScopeError) Unwrap() error { return e.status }

// WantedScope returns the scopes that the upstream asks for, with a space between, empty if it names none.
func (e *ScopeError) WantedScope() string { return e.wanted }

// StatusError is an HTTP status that no JSON-RPC answer came with.
type StatusError int

// Error returns the status.
func (s StatusError) Error() string { return fmt.Sprintf("HTTP status %d", int(s)) }
