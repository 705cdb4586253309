// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"net/textproto"
	"strings"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// MaxPassedHeaders is how many headers of clients a gateway may hand to its servers (G-40).
const MaxPassedHeaders = 20

// NeverPassed says why a header of a client reaches no server, whatever its gateway lists (gateway.md G-41, auth.md RS-13): a
// phrase for people. It is empty for a header that may be listed. The name is in lower case.
func NeverPassed(name string) string {
	switch name {
	case "connection", "keep-alive", "proxy-authenticate", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade":
		return "it is about one connection (hop-by-hop, RFC 9110, section 7.6.1), which the server is not part of"
	case "host", "content-length":
		return "it routes or frames the request, which the node makes itself"
	case "authorization", "proxy-authorization", "cookie", "dpop", "x-api-key":
		return "it authenticates the client to Penstock and never reaches a server; what a server wants goes into a connection's secret_headers"
	case "forwarded", "x-real-ip":
		return reasonOrigin
	case "accept", "accept-encoding", "content-encoding", "content-type", "expect", "last-event-id", "traceparent", "tracestate":
		return "the node writes it itself for each server"
	}
	switch {
	case strings.HasPrefix(name, "x-forwarded-"):
		return reasonOrigin
	case strings.HasPrefix(name, "mcp-"):
		return "it is MCP's own, and the node makes it for each server"
	case strings.HasPrefix(name, "penstock-"):
		return "nodes use such names among themselves"
	default:
		return ""
	}
}

const reasonOrigin = "it tells where a request comes from, which a server would believe of the gateway"

// addPassedHeaders reads the headers of clients that servers get. One that this node never hands on is Invalid: it was listed
// for newer nodes.
func (g *Gateway) addPassedHeaders(names []string) error {
	for _, name := range names {
		if NeverPassed(strings.ToLower(name)) != "" {
			return fault.New(fault.Invalid, "UNKNOWN_PASSTHROUGH_HEADER", "a pass-through header of the gateway is one that this node never hands on; update the node")
		}
		g.PassedHeaders = append(g.PassedHeaders, textproto.CanonicalMIMEHeaderKey(name))
	}
	return nil
}
