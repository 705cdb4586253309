// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"errors"
	"strconv"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/dataplane/internal/wire/convert"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of refusals that dispatch itself makes.
const (
	ReasonUnknownTool       = "UNKNOWN_TOOL"
	ReasonUnknownPrompt     = "UNKNOWN_PROMPT"
	ReasonUnknownResource   = "RESOURCE_NOT_FOUND"
	ReasonUnknownReference  = "UNKNOWN_REFERENCE"
	ReasonUnknownMethod     = "METHOD_NOT_FOUND"
	ReasonUnknownTask       = "UNKNOWN_TASK"
	ReasonToolHeld          = "TOOL_CHANGE_PENDING"
	ReasonServerMissing     = "SERVER_MISSING"
	ReasonConnectionMissing = "CONNECTION_MISSING"
	ReasonBadCursor         = "BAD_CURSOR"
	ReasonPolicyBlocked     = "POLICY_BLOCKED"
	ReasonResultBlocked     = "RESULT_BLOCKED"
	ReasonUnreadable        = "UPSTREAM_RESULT_INVALID"
	// ReasonNotMarked: an untrusted result is held back, because the other nodes may not see that it was delivered.
	ReasonNotMarked = "CONTEXT_NOT_MARKED"
	// ReasonCredentialMissing is the authserver's word, too, for a secret that was deleted.
	ReasonCredentialMissing = "CREDENTIAL_MISSING"
	// ReasonRequiresUser: only a person's connection would do, and the caller is none (UP-2).
	ReasonRequiresUser = "CREDENTIAL_REQUIRES_USER"
	// ReasonAuthFailed: the upstream refused the credential, a renewed one too where there is one (UP-8).
	ReasonAuthFailed = "UPSTREAM_AUTH_FAILED"
	// ReasonScope is upstream's word, too: the credential is good for less than the call needs (UP-8).
	ReasonScope = "UPSTREAM_INSUFFICIENT_SCOPE"
	// ReasonConnectDeclined: the person did not agree to open the page (EL-8).
	ReasonConnectDeclined = "CONNECT_DECLINED"
	// ReasonApprovalRequired: the call waits for its approvers; the same call runs once they have approved it (G-34).
	ReasonApprovalRequired = "APPROVAL_REQUIRED"
	// ReasonApprovalDenied: the caller or an approver said no.
	ReasonApprovalDenied = "APPROVAL_DENIED"
	// ReasonApprovalExpired: nobody approved the call in time, or nobody ran it.
	ReasonApprovalExpired = "APPROVAL_EXPIRED"
	// ReasonApprovalUsed: what was approved has run once.
	ReasonApprovalUsed = "APPROVAL_USED"
	// ReasonApprovalUnasked: the caller would have to approve the call and cannot be asked.
	ReasonApprovalUnasked = "APPROVAL_CANNOT_ASK"
	// ReasonApprovalUser: the caller would have to approve the call and is no person.
	ReasonApprovalUser = "APPROVAL_REQUIRES_USER"
	// ReasonArguments is search's word, too: the names of arguments leave open what a policy would read.
	ReasonArguments = compile.ReasonArguments
	// ReasonState is bridge's word, too: the requestState is not one that this client was given for this request (EL-7).
	ReasonState = "REQUEST_STATE_INVALID"
)

func held(t *view.Tool) error {
	return fault.Newf(fault.Precondition, ReasonToolHeld,
		"The definition of this tool changed on the server %q and waits for an administrator to accept it.", t.Server)
}

// noCredential is a connection that was never given the secret that its server asks for (G-3, G-13).
func noCredential(c *view.Connection, what string) error {
	return fault.Newf(fault.Precondition, ReasonCredentialMissing,
		"The connection %q that this %s runs with has no credential. Ask an administrator to set its secret.", c.Name, what)
}

// answer turns a fault that happened after the tool was found into a result with isError, or keeps it a fault where the
// table of style.md §5 has a protocol error: that is all methods but tools/call. url is the link that mends it, if there is one.
func answer(v wire.Version, t *target, f *fault.Fault, url string) (call.Reply, error) {
	switch f.Kind {
	case fault.Precondition:
		if t.tool == nil { // nobody reads it but the client: to it the server cannot be reached
			return call.Reply{}, fault.New(fault.Unavailable, f.Reason, f.Public).Because(f)
		}
	case fault.Denied:
		if f.Reason != ReasonPolicyBlocked && (f.Reason != ReasonResultBlocked || t.tool == nil) {
			return call.Reply{}, f
		}
	case fault.Invalid:
		if f.Reason != ReasonArguments {
			return call.Reply{}, f
		}
	case fault.Unavailable, fault.Timeout, fault.Exhausted, fault.MissingCapability:
		if t.tool == nil || (f.Kind == fault.MissingCapability && v.Era() == wire.Modern) {
			return call.Reply{}, f
		}
	default:
		return call.Reply{}, f
	}
	return call.Reply{Result: toolError(v, t, f, url), IsError: true}, nil
}

// toolError is a result with isError: the text for the model, and for clients that know structuredContent the typed
// penstock_error of G-13.
func toolError(v wire.Version, t *target, f *fault.Fault, url string) []byte {
	b := append([]byte(nil), `{"content":[{"type":"text","text":`...)
	b = wire.AppendString(b, f.Public)
	b = append(b, `}],"isError":true`...)
	if v.AtLeast(wire.V20250618) {
		b = append(b, `,"structuredContent":{"penstock_error":{"type":`...)
		b = wire.AppendString(b, f.Reason)
		b = append(b, `,"server":`...)
		b = wire.AppendString(b, t.server)
		if url != "" {
			b = wire.AppendString(append(b, `,"connect_url":`...), url)
		}
		var waits *waitsFor
		if errors.As(f, &waits) {
			b = waits.append(b)
		}
		if f.Reason == ReasonArguments {
			b = appendProblems(b, f.Fields)
		}
		b = append(b, `,"retryable":`...)
		b = strconv.AppendBool(b, url != "" || waits != nil || retryable(t, f))
		if f.Retry > 0 {
			b = append(b, `,"retry_after_ms":`...)
			b = strconv.AppendInt(b, f.Retry.Milliseconds(), 10)
			b = append(b, `,"retry_after_seconds":`...)
			b = strconv.AppendInt(b, int64((f.Retry+time.Second-1)/time.Second), 10)
		}
		b = append(b, `}}`...)
	}
	return append(b, '}')
}

// appendProblems says what is wrong with arguments, as run_tool says it.
func appendProblems(b []byte, fields []fault.Field) []byte {
	b = append(b, `,"problems":[`...)
	for i, f := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(wire.AppendString(append(b, `{"path":`...), f.Path), `,"problem":`...)
		b = append(wire.AppendString(b, f.Problem), '}')
	}
	return append(b, ']')
}

// reasonOutcomeUnknown is the fault reason of a call that may have run (G-53): a client must not repeat it unasked.
const reasonOutcomeUnknown = "OUTCOME_UNKNOWN"

func retryable(t *target, f *fault.Fault) bool {
	switch f.Reason {
	case reasonOutcomeUnknown, ReasonUnreadable, ReasonNotMarked, convert.ReasonResultType: // it has run, or may have
		return false
	}
	if f.Kind == fault.Timeout { // so has this one
		return t.retryable
	}
	return f.Kind != fault.Precondition && f.Kind != fault.Denied && f.Kind != fault.Invalid
}

// receive brings the upstream's answer into the client's form.
func (d *Dispatcher) receive(c *call.Caller, t *target, server *view.Server, method string, r call.Reply) (call.Reply, error) {
	if r.Error != nil {
		if method == methodRead && t.exposed != t.value && missing(r.Error, t.value) {
			return call.Reply{}, noResource() // in the client's words
		}
		return r, nil
	}
	var err error
	if r.Result, err = d.namesOf(c, server, t).Result(method, r.Result); err != nil {
		return call.Reply{}, unreadable(err)
	}
	var edits wire.Edits
	seen, err := convert.Result(&edits, r.Result, convert.Options{To: c.Version, Prompt: method == methodGetPrompt, Task: method == methodTask, Scan: t.scan})
	if err != nil {
		return call.Reply{}, err
	}
	if !mayBe(c, t, method, seen.Type) {
		return call.Reply{}, fault.Newf(fault.Unavailable, convert.ReasonResultType,
			"The server %q answered with a kind of result that was not asked for.", t.server)
	}
	r.IsError, t.pending = seen.IsError, pending(seen.Type)
	if edits.Len() > 0 {
		r.Result = edits.AppendTo(make([]byte, 0, len(r.Result)+64), r.Result)
	}
	return r, nil
}

// mayBe reports whether the result of a method may have a resultType (M-26, M-30): questions were looked at by bridge.
func mayBe(c *call.Caller, t *target, method string, kind []byte) bool {
	switch {
	case kind == nil, wire.EqualString(kind, "complete"):
		return true
	case wire.EqualString(kind, "input_required"):
		return method == methodCallTool || method == methodGetPrompt || method == methodRead || t.what == whatMethod
	case wire.EqualString(kind, "task"):
		_, allowed := c.Gateway.Capabilities.Extensions[compile.ExtensionTasks]
		return method == methodCallTool && allowed && wire.IsObject(wire.Get(c.Client.Capabilities, "extensions", compile.ExtensionTasks))
	}
	return t.what == whatMethod && wire.IsString(kind)
}

func unreadable(err error) error {
	return fault.New(fault.Unavailable, ReasonUnreadable, "The server's answer cannot be read.").Because(err)
}

// missing reports whether an error of an upstream says that the resource does not exist: by the code of the versions
// before 2026-07-28, or by the one since, which means other things as well, with the URI that was read.
func missing(raw []byte, uri string) bool {
	var m wire.Message
	if wire.ScanError(raw, &m) != nil {
		return false
	}
	code, _ := wire.Int(m.E.Code.Of(raw))
	if code == wire.CodeResourceNotFound {
		return true
	}
	data := m.E.Data.Of(raw)
	if code != wire.CodeInvalidParams || !wire.IsObject(data) {
		return false
	}
	var room [4]wire.Field
	fields, err := wire.Fields(room[:0], data)
	return err == nil && wire.EqualString(wire.Lookup(fields, "uri").Of(data), uri)
}
