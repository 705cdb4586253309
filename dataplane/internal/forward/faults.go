// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults of [Client.Forward]. With all but PEER_LOST and PEER_BROKEN nothing was done for the request.
const (
	// ReasonUnknown (Unavailable): no node of the region has the name, or none any more.
	ReasonUnknown = "PEER_UNKNOWN"
	// ReasonDraining (Unavailable): the node shuts down and takes nothing new.
	ReasonDraining = "PEER_DRAINING"
	// ReasonUnreachable (Unavailable): the node does not answer, or is left alone because it did not.
	ReasonUnreachable = "PEER_UNREACHABLE"
	// ReasonBusy (Exhausted): too many requests are forwarded to the node.
	ReasonBusy = "PEER_BUSY"
	// ReasonRefused (Unavailable): the node does not take the request, or its answer is one that was not wanted.
	ReasonRefused = "PEER_REFUSED"
	// ReasonLost (Unavailable): the node was lost before it answered. The request may have been carried out.
	ReasonLost = "PEER_LOST"
	// ReasonBroken (Unavailable): the answer broke off. Its beginning has been sent to the client.
	ReasonBroken = "PEER_BROKEN"
	// ReasonSecondHop (Bug): the request has come from a node.
	ReasonSecondHop = "FORWARDED_TWICE"
	// ReasonBanned (Denied): what the hook says of a peer that was banned.
	ReasonBanned = "PEER_BANNED"
)

// retryAfter is what clients are asked to wait when a peer is busy or away.
const retryAfter = time.Second

func unknown() error {
	return fault.New(fault.Unavailable, ReasonUnknown, "The node that this is for has gone.")
}

func draining() error {
	return fault.New(fault.Unavailable, ReasonDraining, "The node that this is for is shutting down.").After(retryAfter)
}

func unreachable(cause error) error {
	return fault.New(fault.Unavailable, ReasonUnreachable, "The node that this is for does not answer.").After(retryAfter).Because(cause)
}

func busy() error {
	return fault.New(fault.Exhausted, ReasonBusy, "Too many requests are under way to the node that this is for.").After(retryAfter)
}

func refused(cause error) error {
	return fault.New(fault.Unavailable, ReasonRefused, "The node that this is for does not take it.").Because(cause)
}

func lost(cause error) error {
	return fault.New(fault.Unavailable, ReasonLost, "The node that this is for was lost before it answered: what was asked may have been done.").
		Because(cause)
}
