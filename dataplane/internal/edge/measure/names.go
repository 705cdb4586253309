// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"strconv"

	"github.com/penstockhq/penstock/dataplane/internal/edge/rpcerror"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// SpanName returns the name of a method's span, "mcp <method>". Methods that the edge does not serve are one name: one
// that a client chooses would have no bound. Each name is a constant, so that none is made anew for a call.
func SpanName(method string) string { //nolint:cyclop // a table
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
	case "prompts/list":
		return "mcp prompts/list"
	case "prompts/get":
		return "mcp prompts/get"
	case "resources/list":
		return "mcp resources/list"
	case "resources/templates/list":
		return "mcp resources/templates/list"
	case "resources/read":
		return "mcp resources/read"
	case "resources/subscribe":
		return "mcp resources/subscribe"
	case "resources/unsubscribe":
		return "mcp resources/unsubscribe"
	case "subscriptions/listen":
		return "mcp subscriptions/listen"
	case "completion/complete":
		return "mcp completion/complete"
	case "logging/setLevel":
		return "mcp logging/setLevel"
	case "tasks/get":
		return "mcp tasks/get"
	case "tasks/result":
		return "mcp tasks/result"
	case "tasks/update":
		return "mcp tasks/update"
	case "tasks/cancel":
		return "mcp tasks/cancel"
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
