// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"errors"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// The reasons are those of the other transport: what goes wrong with an upstream has one name.
const (
	reasonUnreachable = upstream.ReasonUnreachable
	reasonTimeout     = upstream.ReasonTimeout
	reasonProtocol    = upstream.ReasonProtocol
	reasonTooLarge    = upstream.ReasonTooLarge
	reasonUnknown     = upstream.ReasonOutcomeUnknown
	reasonBusy        = upstream.ReasonBusy
	reasonTarget      = upstream.ReasonTarget
)

var (
	errHung     = errors.New("it does not answer")
	errTooLong  = errors.New("a line is longer than allowed")
	errNotSent  = errors.New("the process ended before it got the request")
	errGone     = errors.New("the process ended")
	errNoReader = errors.New("it does not read its input")
)

func (t *Target) fault(k fault.Kind, reason, tail string) *fault.Fault {
	return fault.Newf(k, reason, "The server %q %s.", t.Server, tail)
}

func (t *Target) garbage(what string) *fault.Fault {
	return t.fault(fault.Unavailable, reasonProtocol, "gave an answer that is not MCP: "+what)
}

func (t *Target) unreachable(tail string) *fault.Fault {
	return t.fault(fault.Unavailable, reasonUnreachable, tail)
}

func (t *Target) settings(tail string) *fault.Fault {
	return t.fault(fault.Precondition, reasonTarget, tail)
}

func (t *Target) busy(tail string) *fault.Fault {
	return t.fault(fault.Exhausted, reasonBusy, tail).After(time.Second)
}

func (t *Target) paused(wait time.Duration, last error) *fault.Fault {
	wait = wait.Round(100 * time.Millisecond)
	return t.fault(fault.Unavailable, reasonUnreachable, "keeps failing; it will not be started again for "+wait.String()).
		After(wait).Because(last)
}

// givenUp is the end of a call whose context ended.
func (t *Target) givenUp(ctx context.Context) *fault.Fault {
	return fault.From(ctx.Err()).Because(context.Cause(ctx))
}

// failed turns what ended a call on a process into a fault. written says whether the process got the request.
func (t *Target) failed(err error, written bool) *fault.Fault {
	switch {
	case errors.Is(err, errTooLong):
		return t.fault(fault.Unavailable, reasonTooLarge, "answered with more than is allowed").Because(err)
	case !written:
		return t.unreachable("ended before it got the request").Because(err)
	default:
		return t.fault(fault.Unavailable, reasonUnknown, "ended after it got the request, which may have run").Because(err)
	}
}

// rpcError is a JSON-RPC error object as the cause of a fault.
type rpcError []byte

// Error returns code and message, cut: a server wrote them.
func (e rpcError) Error() string {
	var m wire.Message
	if err := wire.ScanError(e, &m); err != nil {
		return "unreadable JSON-RPC error"
	}
	text, _ := wire.DecodeString(m.E.Message.Of(e))
	const most = 200
	if len(text) > most {
		text = text[:most]
	}
	return "JSON-RPC error " + string(m.E.Code.Of(e)) + ": " + text
}
