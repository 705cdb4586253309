// SPDX-License-Identifier: Apache-2.0

// Package rpcerror is the table of mcp.md M-46: what each kind of fault is to an MCP client of either era, as HTTP status
// and JSON-RPC error. It also makes the faults of requests that edge itself refuses.
//
// edge uses it. It must never write an answer or know a request.
package rpcerror

import (
	"net/http"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/edge/problem"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults made here, and the one of dispatch that has a challenge.
const (
	reasonMethod   = "METHOD_NOT_FOUND"
	reasonMeta     = "META_REQUIRED"
	reasonHeader   = "HEADER_MISMATCH"
	reasonVersion  = "VERSION_NOT_SUPPORTED"
	reasonFlood    = "TOO_MANY_REQUESTS"
	reasonEnvelope = "ENVELOPE"
	reasonScope    = "INSUFFICIENT_SCOPE"
)

// Codes of our own, besides those of wire: outside the range that JSON-RPC reserves (M-48), made of the HTTP status that
// goes with them.
const (
	CodeDenied  = 40301
	CodeFlooded = 42901
)

// Error is an error as an MCP client sees it.
type Error struct {
	Status    int // of HTTP, if no stream is open yet
	Code      int // of JSON-RPC
	Message   string
	Data      []byte        // raw JSON, nil if there is none
	Retry     time.Duration // for Retry-After; zero for none
	Challenge string        // for WWW-Authenticate; empty for none
	Silent    bool          // nobody waits for an answer: nothing is sent
	Bug       bool          // to be logged, with the data of [Error.Number]
}

// Append appends the JSON-RPC error response. The id is raw JSON and left out when nil.
func (e *Error) Append(dst, id []byte) []byte {
	return wire.AppendError(dst, id, e.Code, e.Message, e.Data)
}

// Number puts the id of the request into the data, by which the log tells what an internal error was.
func (e *Error) Number(requestID string) {
	e.Data = append(wire.AppendString([]byte(`{"request_id":`), requestID), '}')
}

// From is the table: what a fault is to a client of an era.
func From(err error, era wire.Era) Error {
	f := fault.From(err)
	e := Error{Status: http.StatusOK, Message: f.Public}
	modern := era == wire.Modern
	switch f.Kind {
	case fault.Invalid:
		e.Code, e.Status = invalid(f)
	case fault.NotFound:
		e.Code, e.Status = notFound(f, modern)
	case fault.HeaderMismatch:
		e.Code, e.Status = wire.CodeHeaderMismatch, http.StatusBadRequest
	case fault.Version:
		e.Code, e.Status, e.Data = wire.CodeVersion, http.StatusBadRequest, versionData(f)
	case fault.MissingCapability:
		e.Code = wire.CodeInternal
		if modern {
			e.Code, e.Status, e.Data = wire.CodeMissingCapability, http.StatusBadRequest, capabilityData(f)
		}
	case fault.Denied:
		e.Code, e.Status = CodeDenied, http.StatusForbidden
		if f.Reason == reasonScope { // RS-5
			e.Challenge = problem.Challenge("insufficient_scope", f.Public)
		}
	case fault.Exhausted:
		e.Code, e.Status, e.Retry = CodeFlooded, http.StatusTooManyRequests, max(f.Retry, time.Second)
	case fault.Unavailable:
		e.Code = wire.CodeUnavailable
	case fault.Timeout:
		e.Code = wire.CodeTimeout
	case fault.Canceled:
		e.Silent = true
	default:
		// The other kinds answer an admin, or belong into a result of dispatch: here they are bugs.
		e.Code, e.Message, e.Bug = wire.CodeInternal, "An internal error occurred.", true
	}
	return e
}

// notFound is -32602 for what a call names and the caller does not see, whatever it is (RS-21).
func notFound(f *fault.Fault, modern bool) (code, status int) {
	switch {
	case f.Reason == session.ReasonNotFound:
		return wire.CodeInvalidRequest, http.StatusNotFound
	case f.Reason == reasonMethod && modern:
		return wire.CodeMethodNotFound, http.StatusNotFound
	case f.Reason == reasonMethod:
		return wire.CodeMethodNotFound, http.StatusOK
	}
	return wire.CodeInvalidParams, http.StatusOK
}

// invalid tells what cannot be read or understood, which is 400, from what was understood and is wrong.
func invalid(f *fault.Fault) (code, status int) {
	switch f.Reason {
	case wire.ReasonParse, wire.ReasonRequest:
		return wire.CodeOf(f), http.StatusBadRequest
	case reasonMeta, reasonEnvelope:
		return wire.CodeInvalidParams, http.StatusBadRequest
	}
	return wire.CodeInvalidParams, http.StatusOK
}

// AtEnvelope makes params that are no object a fault of the envelope (400), for where nothing tells the era or it is
// modern.
func AtEnvelope(err error) error {
	if f := fault.From(err); f.Reason == wire.ReasonParams {
		return fault.New(fault.Invalid, reasonEnvelope, f.Public).Because(err)
	}
	return err
}

// BadVersion is -32022 for the version that was asked for.
func BadVersion(requested string) error {
	return fault.New(fault.Version, reasonVersion, "This protocol version is not supported.").At("requested", requested)
}

func versionData(f *fault.Fault) []byte {
	requested := ""
	if len(f.Fields) > 0 {
		requested = f.Fields[0].Problem
	}
	b := []byte(`{"supported":[`)
	for i, v := range wire.SupportedFor(requested) {
		if i > 0 {
			b = append(b, ',')
		}
		b = wire.AppendString(b, string(v))
	}
	return append(wire.AppendString(append(b, `],"requested":`...), requested), '}')
}

// capabilityData names the capabilities that are the paths of the fault's fields.
func capabilityData(f *fault.Fault) []byte {
	b := []byte(`{"requiredCapabilities":{`)
	for i, field := range f.Fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(wire.AppendString(b, field.Path), `:{}`...)
	}
	return append(b, `}}`...)
}

// MethodNotFound is -32601.
func MethodNotFound() error {
	return fault.New(fault.NotFound, reasonMethod, "Method not found")
}

// HeaderMismatch is -32020.
func HeaderMismatch(text string) error { return fault.New(fault.HeaderMismatch, reasonHeader, text) }

// MetaRequired is -32602 with status 400, for what every modern request must carry.
func MetaRequired(text string) error { return fault.New(fault.Invalid, reasonMeta, text) }

// InvalidRequest is -32600.
func InvalidRequest(text string) error { return fault.New(fault.Invalid, wire.ReasonRequest, text) }

// InvalidParams is -32602.
func InvalidParams(text string) error { return fault.New(fault.Invalid, wire.ReasonParams, text) }

// Flood is 429: the caller has too much open at once.
func Flood(text string) error { return fault.New(fault.Exhausted, reasonFlood, text) }
