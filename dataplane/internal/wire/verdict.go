// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"github.com/penstockhq/penstock/dataplane/internal/wire/grammar"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults that this room makes; each belongs to one JSON-RPC
// code.
const (
	// ReasonParse: not JSON, not UTF-8, or a byte order mark (-32700).
	ReasonParse = "JSONRPC_PARSE_ERROR"
	// ReasonRequest: JSON, but no acceptable JSON-RPC message (-32600).
	ReasonRequest = "JSONRPC_INVALID_REQUEST"
	// ReasonParams: params or _meta of the wrong form (-32602).
	ReasonParams = "JSONRPC_INVALID_PARAMS"
)

// JSON-RPC and MCP error codes (mcp.md M-46).
const (
	CodeParse             = -32700
	CodeInvalidRequest    = -32600
	CodeMethodNotFound    = -32601
	CodeInvalidParams     = -32602
	CodeInternal          = -32603
	CodeResourceNotFound  = -32002 // ≤ 2025-11-25; -32602 after that
	CodeURLElicitation    = -32042 // ≤ 2025-11-25
	CodeHeaderMismatch    = -32020 // 2026-07-28
	CodeMissingCapability = -32021 // 2026-07-28
	CodeVersion           = -32022 // 2026-07-28
	// CodeUnavailable and CodeTimeout are ours, outside the range reserved by
	// JSON-RPC (M-48).
	CodeUnavailable = 50301
	CodeTimeout     = 50401
)

// CodeOf returns the JSON-RPC code of an error made by this room:
// -32700, -32600 or -32602; -32603 for any other error and 0 for nil.
func CodeOf(err error) int {
	if err == nil {
		return 0
	}
	switch fault.From(err).Reason {
	case ReasonParse:
		return CodeParse
	case ReasonRequest:
		return CodeInvalidRequest
	case ReasonParams:
		return CodeInvalidParams
	}
	return CodeInternal
}

// complaint is what is wrong with a message that is good JSON. The higher one
// wins: the envelope is judged before params.
type complaint uint8

const (
	nothing complaint = iota
	metaNotObject
	paramsNotObject
	errorNotObject
	notObject
	noVersion
	badID
	badMethod
	badShape
)

func (w *walk) note(c complaint) { w.noted = max(w.noted, c) }

// classify judges the envelope (M-11) and sets the Kind.
func (w *walk) classify() {
	m := w.m
	if string(m.jsonrpc.Of(w.Text)) != `"2.0"` {
		w.note(noVersion)
	}
	null := string(m.ID.Of(w.Text)) == "null"
	if m.ID.Present() && !null && !validID(m.ID.Of(w.Text)) {
		m.ID = Member{}
		w.note(badID)
	}
	if m.Method.Present() && w.Text[m.Method.Start] != '"' {
		w.note(badMethod)
	}
	hasResult, hasError := m.Result.Present(), m.Error.Present()
	switch {
	case m.Method.Present():
		if null {
			w.note(badID)
		}
		if hasResult || hasError {
			w.note(badShape)
		}
		m.Kind = Notification
		if m.ID.Present() {
			m.Kind = Request
		}
	case m.Params.Present() || hasResult == hasError:
		w.note(badShape)
	case hasResult:
		m.Kind = Response
		if !m.ID.Present() || null {
			w.note(badID)
		}
	default:
		m.Kind = ErrorResponse
	}
	if null {
		m.ID = Member{}
	}
}

// validID reports whether raw is a string or an integer literal.
func validID(raw []byte) bool {
	if raw[0] == '"' {
		return true
	}
	i := 0
	if raw[0] == '-' {
		i = 1
	}
	return i < len(raw) && grammar.Digits(raw, i) == len(raw)
}

// verdict turns what was found into the error of the scan.
func (w *walk) verdict() error {
	if err := w.broken(); err != nil {
		w.m.Kind = Invalid
		return err
	}
	if w.dup {
		w.m.Kind = Invalid
		return fault.New(fault.Invalid, ReasonRequest, "a key stands twice in one object")
	}
	if w.noted == nothing {
		return nil
	}
	w.m.Kind = Invalid
	return w.noted.err()
}

// broken returns the fault for what broke the grammar, nil if nothing did.
func (w *walk) broken() error {
	switch w.Bad {
	case grammar.BadSyntax:
		return fault.Newf(fault.Invalid, ReasonParse, "not valid JSON at byte %d", w.At)
	case grammar.BadUTF8:
		return fault.Newf(fault.Invalid, ReasonParse, "not valid UTF-8 at byte %d", w.At)
	case grammar.ByteOrderMark:
		return fault.New(fault.Invalid, ReasonParse, "starts with a byte order mark")
	case grammar.TooDeep:
		return fault.Newf(fault.Invalid, ReasonRequest, "nested deeper than %d levels", grammar.MaxDepth)
	case grammar.DuplicateKey:
		return fault.New(fault.Invalid, ReasonRequest, "a key stands twice in one object")
	case grammar.Fine:
	}
	return nil
}

func (c complaint) err() error {
	switch c {
	case metaNotObject:
		return fault.New(fault.Invalid, ReasonParams, "_meta must be an object")
	case paramsNotObject:
		return fault.New(fault.Invalid, ReasonParams, "params must be an object")
	case errorNotObject:
		return fault.New(fault.Invalid, ReasonRequest, "error must be an object")
	case notObject:
		return fault.New(fault.Invalid, ReasonRequest, "the message must be an object")
	case noVersion:
		return fault.New(fault.Invalid, ReasonRequest, `jsonrpc must be "2.0"`)
	case badID:
		return fault.New(fault.Invalid, ReasonRequest, "id must be a string or an integer")
	case badMethod:
		return fault.New(fault.Invalid, ReasonRequest, "method must be a string")
	case badShape:
		return fault.New(fault.Invalid, ReasonRequest, "neither a request nor a response")
	case nothing:
	}
	return nil
}
