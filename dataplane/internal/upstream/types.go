// SPDX-License-Identifier: Apache-2.0

package upstream

import "github.com/penstockhq/penstock/dataplane/internal/upstream/peer"

// The words of requests and answers; see package peer.
type (
	// Target is one upstream, resolved for one call.
	Target = peer.Target
	// Request is one request to send.
	Request = peer.Request
	// Event is one message that is not the response to a call.
	Event = peer.Event
	// EventKind tells what an Event is.
	EventKind = peer.EventKind
	// Result is the answer of an upstream.
	Result = peer.Result
	// Subscription is what [Pool.Watch] is to hear of.
	Subscription = peer.Subscription
	// Description is all that discovery asks a server for.
	Description = peer.Description
	// ServerInfo is what an upstream says about itself.
	ServerInfo = peer.ServerInfo
)

// Kinds of events.
const (
	Notification  = peer.Notification
	ServerRequest = peer.ServerRequest
)

// Reasons of the faults that the pool returns; see package peer.
const (
	ReasonUnreachable    = peer.ReasonUnreachable
	ReasonCircuitOpen    = peer.ReasonCircuitOpen
	ReasonTimeout        = peer.ReasonTimeout
	ReasonProtocol       = peer.ReasonProtocol
	ReasonTooLarge       = peer.ReasonTooLarge
	ReasonOutcomeUnknown = peer.ReasonOutcomeUnknown
	ReasonUnauthorized   = peer.ReasonUnauthorized
	ReasonScope          = peer.ReasonScope
	ReasonBusy           = peer.ReasonBusy
	ReasonTarget         = peer.ReasonTarget
	ReasonNoStream       = peer.ReasonNoStream
)
