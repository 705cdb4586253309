// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"errors"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

var (
	errHung     = errors.New("it does not answer")
	errTooLong  = errors.New("a line is longer than allowed")
	errNotSent  = errors.New("the process ended before it got the request")
	errGone     = errors.New("the process ended")
	errNoReader = errors.New("it does not read its input")
)

// fault names the server. The reasons are those of the other transport: what goes wrong with an upstream has one name.
func (t *Target) fault(k fault.Kind, reason, tail string) *fault.Fault {
	return fault.Newf(k, reason, "The server %q %s.", t.Server, tail)
}

func (t *Target) garbage(what string) *fault.Fault {
	return t.fault(fault.Unavailable, upstream.ReasonProtocol, "gave an answer that is not MCP: "+what)
}

func (t *Target) unreachable(tail string) *fault.Fault {
	return t.fault(fault.Unavailable, upstream.ReasonUnreachable, tail)
}

func (t *Target) settings(tail string) *fault.Fault {
	return t.fault(fault.Precondition, upstream.ReasonTarget, tail)
}

func (t *Target) busy(tail string) *fault.Fault {
	return t.fault(fault.Exhausted, upstream.ReasonBusy, tail).After(time.Second)
}

func (t *Target) paused(wait time.Duration, last error) *fault.Fault {
	wait = wait.Round(100 * time.Millisecond)
	return t.fault(fault.Unavailable, upstream.ReasonUnreachable, "keeps failing; it will not be started again for "+wait.String()).
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
		return t.fault(fault.Unavailable, upstream.ReasonTooLarge, "answered with more than is allowed").Because(err)
	case !written:
		return t.unreachable("ended before it got the request").Because(err)
	default:
		return t.fault(fault.Unavailable, upstream.ReasonOutcomeUnknown, "ended after it got the request, which may have run").Because(err)
	}
}
