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

	reasonCapability = "CLIENT_CAPABILITY_MISSING"
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

// Asked is what the table needs to know of a request.
type Asked struct {
	Era wire.Era
	URI []byte // raw params.uri where the request is about a resource, else nil
	// Metadata is the URL of the gateway's protected resource metadata; empty if it has none.
	Metadata string
}

// From is the table: what a fault is to a client.
func From(err error, asked Asked) Error {
	f := fault.From(err)
	e := Error{Status: http.StatusOK, Message: f.Public}
	modern := asked.Era == wire.Modern
	switch f.Kind {
	case fault.Invalid:
		e.Code, e.Status = invalid(f)
	case fault.NotFound:
		e.notFound(f, asked)
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
			e.Challenge = problem.Challenge{
				Metadata: asked.Metadata, Scope: scopeOf(f), Code: "insufficient_scope", Description: f.Public,
			}.String()
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

// notFound is -32602 for what a call names and the caller does not see, whatever it is (RS-21); of a resource the URI
// stands in the data, and before 2026-07-28 the code was another.
func (e *Error) notFound(f *fault.Fault, asked Asked) {
	modern := asked.Era == wire.Modern
	switch f.Reason {
	case session.ReasonNotFound:
		e.Code, e.Status = wire.CodeInvalidRequest, http.StatusNotFound
	case reasonMethod:
		e.Code = wire.CodeMethodNotFound
		if modern {
			e.Status = http.StatusNotFound
		}
	default:
		e.Code = wire.CodeInvalidParams
		if asked.URI == nil {
			return
		}
		if !modern {
			e.Code = wire.CodeResourceNotFound
		}
		e.Data = append(append([]byte(`{"uri":`), asked.URI...), '}')
	}
}

// Relayed returns the HTTP status of an error object of an upstream, by its code: where a version of MCP prescribes one
// for the code. Everything else that an upstream answers is an answer (UP-8).
func Relayed(code int64, era wire.Era) int {
	switch {
	case era != wire.Modern:
	case code == wire.CodeMethodNotFound:
		return http.StatusNotFound
	case code == wire.CodeMissingCapability:
		return http.StatusBadRequest
	}
	return http.StatusOK
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

// capabilityData names what the client would have to declare: the path of each field is a member of its capabilities,
// the problem the raw value of that member, or any other text for an empty object.
func capabilityData(f *fault.Fault) []byte {
	b := []byte(`{"requiredCapabilities":{`)
	for i, field := range f.Fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(wire.AppendString(b, field.Path), ':')
		if raw := []byte(field.Problem); wire.Valid(raw) && wire.IsObject(raw) {
			b = append(b, raw...)
		} else {
			b = append(b, `{}`...)
		}
	}
	return append(b, `}}`...)
}

// scopeField is the path of the field that holds the scopes which a request needs.
const scopeField = "scope"

// InsufficientScope is 403 with a challenge that names the scopes, those that the token has included (RS-5).
func InsufficientScope(scopes string) error {
	return fault.New(fault.Denied, reasonScope, "The token lacks a scope that this request needs: "+scopes).At(scopeField, scopes)
}

func scopeOf(f *fault.Fault) string {
	for _, field := range f.Fields {
		if field.Path == scopeField {
			return field.Problem
		}
	}
	return ""
}

// MissingExtension is -32021 for a method of an extension that the client did not declare.
func MissingExtension(name string) error {
	value := append(wire.AppendString([]byte{'{'}, name), `:{}}`...)
	return fault.Newf(fault.MissingCapability, reasonCapability, "The client did not declare the extension %s.", name).
		At("extensions", string(value))
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
