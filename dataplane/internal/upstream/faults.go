// SPDX-License-Identifier: Apache-2.0

package upstream

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
	// ReasonBusy (Exhausted): the connection's limit of calls is reached.
	ReasonBusy = "UPSTREAM_BUSY"
	// ReasonTarget (Precondition): the URL or a header of the server's
	// settings cannot be used.
	ReasonTarget = "UPSTREAM_SETTINGS"
)

func (t *Target) fault(k fault.Kind, reason, tail string) *fault.Fault {
	return fault.Newf(k, reason, "The server %q %s.", t.Server, tail)
}

func (t *Target) garbage(what string) *fault.Fault {
	return t.fault(fault.Unavailable, ReasonProtocol, "gave an answer that is not MCP: "+what)
}

func (t *Target) tooLarge() *fault.Fault {
	return t.fault(fault.Unavailable, ReasonTooLarge, "answered with more than is allowed")
}

func (t *Target) unreachable() *fault.Fault {
	return t.fault(fault.Unavailable, ReasonUnreachable, "cannot be reached")
}

func (t *Target) late() *fault.Fault {
	return t.fault(fault.Timeout, ReasonTimeout, "did not answer in time")
}

func (t *Target) busy() *fault.Fault {
	return t.fault(fault.Exhausted, ReasonBusy, "has as many calls under way as its connection allows").After(time.Second)
}

// refused classifies an HTTP status that brought no JSON-RPC answer.
func (t *Target) refused(status int, idempotent bool) *fault.Fault {
	switch {
	case status == 401 || status == 403:
		return t.fault(fault.Precondition, ReasonUnauthorized, "refused the credential of its connection")
	case status == 429 || status == 503:
		return t.fault(fault.Unavailable, ReasonUnreachable, "takes no requests at the moment").After(time.Second)
	case status >= 500 && !idempotent:
		return t.fault(fault.Unavailable, ReasonOutcomeUnknown, "failed while it had the request, which may have run").
			Because(statusError(status))
	case status >= 500:
		return t.unreachable().Because(statusError(status))
	}
	return t.garbage("an HTTP status without an answer").Because(statusError(status))
}

type statusError int

func (s statusError) Error() string { return fmt.Sprintf("HTTP status %d", int(s)) }
