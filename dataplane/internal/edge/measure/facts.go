// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Facts are what is worth knowing of one request. Names and ids that a client chose stand on spans only. Empty ones are
// left out.
type Facts struct {
	Method, Version, ID, RequestID   string
	Gateway, Principal, Auth         string
	Session, Tool, ErrorType, Reason string
	Code                             int // of a JSON-RPC error of ours
}

// Describe sets the facts as attributes of the request's span.
func (f *Facts) Describe(span trace.Span) {
	kv := []attribute.KeyValue{attribute.String(obs.NetworkTransport, obs.TransportTCP)}
	add := func(key, value string) {
		if value != "" {
			kv = append(kv, attribute.String(key, value))
		}
	}
	add(obs.MCPMethodName, f.Method)
	add(obs.MCPProtocolVersion, f.Version)
	add(obs.JSONRPCRequestID, f.ID)
	add(obs.PenstockRequestID, f.RequestID)
	add(obs.PenstockGateway, f.Gateway)
	add(obs.PenstockPrincipal, f.Principal)
	add(obs.PenstockAuthMethod, f.Auth)
	add(obs.MCPSessionID, f.Session)
	add(obs.GenAIToolName, f.Tool)
	if f.Tool != "" {
		add(obs.GenAIOperationName, obs.OperationExecuteTool)
	}
	if f.ErrorType != "" {
		add(obs.ErrorType, f.ErrorType)
		span.SetStatus(codes.Error, "")
	}
	if f.Code != 0 {
		add(obs.RPCResponseStatusCode, strconv.Itoa(f.Code))
	}
	add(obs.PenstockFaultReason, f.Reason)
	span.SetAttributes(kv...)
}
