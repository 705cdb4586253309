// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"strconv"

	"github.com/penstockhq/penstock/dataplane/internal/edge/rpcerror"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// SpanName returns the name of a method's span, "mcp <method>". Methods that the edge does not serve are one name: one
// that a client chooses would have no bound.
func SpanName(method string) string {
	switch method {
	case "tools/call":
		return "mcp tools/call"
	case "tools/list":
		return "mcp tools/list"
	case "initialize":
		return "mcp initialize"
	case "ping":
		return "mcp ping"
	case "server/discover":
		return "mcp server/discover"
	}
	return otherSpan
}

const otherSpan = "mcp other"

// Method returns a method as a label, with the same bound.
func Method(method string) string {
	if SpanName(method) == otherSpan {
		return obs.ErrorTypeOther
	}
	return method
}

// CodeText returns a JSON-RPC error code as error.type. Codes that upstreams made up are one type.
func CodeText(code int64) string {
	switch code {
	case wire.CodeParse, wire.CodeInvalidRequest, wire.CodeMethodNotFound, wire.CodeInvalidParams, wire.CodeInternal,
		wire.CodeResourceNotFound, wire.CodeURLElicitation, wire.CodeHeaderMismatch, wire.CodeMissingCapability,
		wire.CodeVersion, wire.CodeUnavailable, wire.CodeTimeout, rpcerror.CodeDenied, rpcerror.CodeFlooded:
		return strconv.FormatInt(code, 10)
	}
	return obs.ErrorTypeOther
}
