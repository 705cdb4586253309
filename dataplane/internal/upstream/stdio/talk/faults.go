// SPDX-License-Identifier: Apache-2.0

package talk

import (
	"context"
	"errors"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

var (
	errTooLong  = errors.New("a line is longer than allowed")
	errNotSent  = errors.New("the process ended before it got the request")
	errGone     = errors.New("the process ended")
	errNoReader = errors.New("it does not read its input")
)

// ErrExited is in the error of [Talk.Introduce] when the process ended by itself after server/discover: a legacy server may
// not stand that (M-2), and another process that is introduced as one may do.
var ErrExited = errors.New("the process ended when it was asked for its version")

func unreachable(t *peer.Target, tail string) *fault.Fault {
	return t.Fault(fault.Unavailable, peer.ReasonUnreachable, tail)
}

// givenUp is the end of a request whose context ended.
func givenUp(ctx context.Context) *fault.Fault {
	return fault.From(ctx.Err()).Because(context.Cause(ctx))
}

// failed turns what ended a request into a fault. written says whether the process got it.
func failed(t *peer.Target, err error, written bool) *fault.Fault {
	switch {
	case errors.Is(err, errTooLong):
		return t.TooLarge().Because(err)
	case !written:
		return unreachable(t, "ended before it got the request").Because(err)
	default:
		return t.Fault(fault.Unavailable, peer.ReasonOutcomeUnknown, "ended after it got the request, which may have run").Because(err)
	}
}

// brokenError is an answer with our id that is no acceptable message.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return "broken answer: " + e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }
