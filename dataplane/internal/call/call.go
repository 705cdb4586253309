// SPDX-License-Identifier: Apache-2.0

package call

import (
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Caller is an authenticated principal at a gateway, seen through one snapshot. It is a value; nobody writes to what
// it points at.
type Caller struct {
	Principal ident.Principal
	Snapshot  *view.Snapshot // everything about the request is decided from this one
	Gateway   *view.Gateway  // of Snapshot
	Version   wire.Version   // protocol version of the client side: of the session, or of a modern request

	// Traceparent and Tracestate are the W3C trace context of the client, from the header or from _meta (M-56); empty
	// if there is none or it is malformed. The context of the request already carries the node's own span as its child.
	Traceparent, Tracestate string
	RequestID               string // made by edge; stands in errors, logs and audit
}

// Call is one tools/call. All bytes belong to edge and live until CallTool returns.
type Call struct {
	Name    string        // tool name as the client wrote it, decoded
	Params  []byte        // raw params object as the client sent it
	Message *wire.Message // scan of Body; its spans index Body
	Body    []byte        // raw JSON-RPC request, one message (of a batch: that member)

	// ProgressToken is the raw params._meta.progressToken, nil if the client sent none. Messages given to the sink must
	// carry it in place of the node's own.
	ProgressToken []byte
}

// Reply is the outcome of a call that an upstream, or dispatch in its place, answered. Exactly one of Result and Error
// is set.
type Reply struct {
	Result []byte // raw result object, already in the form of Caller.Version
	Error  []byte // raw JSON-RPC error object relayed from upstream

	// IsError says that Result has isError true. edge sets error.type of span and metric by it; nothing else reads it.
	IsError bool
}
