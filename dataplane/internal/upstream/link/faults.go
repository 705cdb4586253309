// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/era"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/exchange"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/httpclient"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/sseclient"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Failed classifies why an exchange with t ended without an answer.
func Failed(ctx context.Context, t *peer.Target, err error) *fault.Fault {
	switch ctxErr := ctx.Err(); {
	case errors.Is(ctxErr, context.DeadlineExceeded):
		return t.Late().Because(err)
	case ctxErr != nil:
		return fault.From(ctxErr).Because(context.Cause(ctx))
	}
	var garbage *exchange.Garbage
	var e *httpclient.Error
	switch {
	case errors.As(err, &garbage):
		return t.Garbage(garbage.What).Because(garbage.Cause)
	case errors.Is(err, exchange.ErrTooLarge) || errors.Is(err, httpclient.ErrTooLarge):
		return t.TooLarge().Because(err)
	case !errors.As(err, &e):
		return fault.From(err) // made by this room
	case errors.Is(err, httpclient.ErrProtocol):
		return t.Garbage("it is no HTTP").Because(err)
	case e.Op == "request" && !errors.Is(err, httpclient.ErrClosed):
		return t.Settings("has a header or address that cannot be sent").Because(err)
	case e.Op == "wait":
		return t.Busy().Because(err)
	case !e.Sent:
		return t.Unreachable().Because(err)
	case e.Timeout():
		return t.Late().Because(err)
	}
	return t.Fault(fault.Unavailable, peer.ReasonOutcomeUnknown,
		"broke the connection after it got the request, which may have run").Because(err)
}

// NotSent turns an unknown outcome of something that does not matter, such as
// initialize, into the fault of a server that cannot be reached.
func NotSent(t *peer.Target, f *fault.Fault) *fault.Fault {
	if f.Reason == peer.ReasonOutcomeUnknown {
		return t.Unreachable().Because(f)
	}
	return f
}

// notInitialized is the fault for an initialize that was answered without a
// result.
func notInitialized(t *peer.Target, a exchange.Answer) *fault.Fault {
	switch {
	case a.Credential():
		return t.RefusedCredential(a.Status, a.Scope, a.Wanted)
	case a.Error == nil:
		return t.Refused(a.Status, true)
	}
	cause := error(era.Error(a.Error))
	if era.NotLegacy(a.Answer) {
		cause = fmt.Errorf("%w: %w", ErrEra, cause)
	}
	if era.OfRefusedInitialize(a.Answer).Conclusion == era.Speaks {
		cause = fmt.Errorf("%w: %w", ErrModern, cause)
	}
	return t.Fault(fault.Unavailable, peer.ReasonUnreachable, "refused to initialize").Because(cause)
}

// noServer is the fault for a URL at which neither transport is spoken.
func noServer(t *peer.Target, a exchange.Answer, get error) *fault.Fault {
	post := error(peer.StatusError(a.Status))
	if a.Error != nil {
		post = fmt.Errorf("%w: %w", post, era.Error(a.Error))
	}
	if fault.From(get).Reason == peer.ReasonUnauthorized {
		return fault.From(get)
	}
	return t.Fault(fault.Unavailable, peer.ReasonUnreachable, "is not an MCP server at its URL").
		Because(fmt.Errorf("%w: initialize: %w; GET: %w", ErrEra, post, get))
}

// noStream classifies why an HTTP+SSE stream was not opened.
func noStream(ctx context.Context, t *peer.Target, err error) *fault.Fault {
	var status *sseclient.StatusError
	switch {
	case ctx.Err() != nil:
		return Failed(ctx, t, err)
	case !errors.As(err, &status):
		if errors.Is(err, sseclient.ErrEndpoint) || errors.Is(err, sseclient.ErrOrigin) {
			return t.Unreachable().Because(fmt.Errorf("%w: %w", ErrEra, err))
		}
		return NotSent(t, Failed(ctx, t, err))
	case status.Status == 401 || status.Status == 403 || status.Status == 429 || status.Status >= 500:
		return t.Refused(status.Status, true).Because(err)
	}
	return t.Unreachable().Because(fmt.Errorf("%w: %w", ErrEra, err))
}
