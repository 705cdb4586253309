// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"strconv"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/dataplane/internal/wire/convert"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of refusals that dispatch itself makes.
const (
	ReasonUnknownTool       = "UNKNOWN_TOOL"
	ReasonToolHeld          = "TOOL_CHANGE_PENDING"
	ReasonServerMissing     = "SERVER_MISSING"
	ReasonConnectionMissing = "CONNECTION_MISSING"
	ReasonBadCursor         = "BAD_CURSOR"
	// ReasonCredentialMissing is the authserver's word, too, for a secret that was deleted.
	ReasonCredentialMissing = "CREDENTIAL_MISSING"
)

func held(t *view.Tool) error {
	return fault.Newf(fault.Precondition, ReasonToolHeld,
		"The definition of this tool changed on the server %q and waits for an administrator to accept it.", t.Server)
}

// noCredential is a connection that was never given the secret that its server asks for (G-3, G-13).
func noCredential(c *view.Connection) error {
	return fault.Newf(fault.Precondition, ReasonCredentialMissing,
		"The connection %q that this tool runs with has no credential. Ask an administrator to set its secret.", c.Name)
}

// answer turns a fault that happened after the tool was found into a result with isError, or keeps it a fault where the
// table of style.md §5 has a protocol error.
func (d *Dispatcher) answer(c call.Caller, tool *view.Tool, f *fault.Fault) (call.Reply, error) {
	switch f.Kind {
	case fault.Precondition, fault.Unavailable, fault.Timeout, fault.Exhausted:
		return call.Reply{Result: toolError(c.Version, tool.Server, f), IsError: true}, nil
	default:
		return call.Reply{}, f
	}
}

// toolError is a result with isError: the text for the model, and for clients that know structuredContent the typed
// penstock_error of G-13.
func toolError(v wire.Version, server string, f *fault.Fault) []byte {
	b := append([]byte(nil), `{"content":[{"type":"text","text":`...)
	b = wire.AppendString(b, f.Public)
	b = append(b, `}],"isError":true`...)
	if v.AtLeast(wire.V20250618) {
		b = append(b, `,"structuredContent":{"penstock_error":{"type":`...)
		b = wire.AppendString(b, f.Reason)
		b = append(b, `,"server":`...)
		b = wire.AppendString(b, server)
		b = append(b, `,"retryable":`...)
		b = strconv.AppendBool(b, retryable(f))
		if f.Retry > 0 {
			b = append(b, `,"retry_after_ms":`...)
			b = strconv.AppendInt(b, f.Retry.Milliseconds(), 10)
		}
		b = append(b, `}}`...)
	}
	return append(b, '}')
}

// reasonOutcomeUnknown is the fault reason of a call that may have run (G-53): a client must not repeat it unasked.
const reasonOutcomeUnknown = "OUTCOME_UNKNOWN"

func retryable(f *fault.Fault) bool {
	return f.Reason != reasonOutcomeUnknown && f.Kind != fault.Precondition
}

// convertReply brings the upstream's answer into the client's form.
func convertReply(r call.Reply, to wire.Version) (call.Reply, error) {
	if r.Error != nil {
		return call.Reply{Error: convertError(r.Error)}, nil
	}
	var edits wire.Edits
	var err error
	if r.IsError, err = convert.Result(&edits, r.Result, convert.Options{To: to}); err != nil {
		return call.Reply{}, err
	}
	if edits.Len() > 0 {
		r.Result = edits.AppendTo(make([]byte, 0, len(r.Result)+64), r.Result)
	}
	return r, nil
}

// convertError replaces codes that the specification gives a meaning between one client and its server: passed on, they
// would claim that the client's own request was wrong (M-47).
func convertError(raw []byte) []byte {
	var m wire.Message
	if err := wire.ScanError(raw, &m); err != nil {
		return wire.AppendErrorObject(nil, wire.CodeInternal, "The server answered with a malformed error", nil)
	}
	code, ok := wire.Int(m.E.Code.Of(raw))
	if !ok || code > wire.CodeHeaderMismatch || code < -32099 {
		return raw
	}
	text, _ := wire.DecodeString(m.E.Message.Of(raw))
	data := strconv.AppendInt([]byte(`{"upstream_code":`), code, 10)
	return wire.AppendErrorObject(nil, wire.CodeInternal, text, append(data, '}'))
}
