// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/dispatch/confirm"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// The methods that dispatch tells apart.
const (
	methodCallTool    = "tools/call"
	methodGetPrompt   = "prompts/get"
	methodRead        = "resources/read"
	methodSubscribe   = "resources/subscribe"
	methodUnsubscribe = "resources/unsubscribe"
	methodComplete    = "completion/complete"
	methodListed      = "resources/list"
)

// whatMethod is target.what of a method that MCP does not define: what it takes and answers is not known.
const whatMethod = "method"

// target is who answers a request, and the one value in it that differs on the two sides.
type target struct {
	what               string     // for texts: "tool", "prompt", "resource"
	exposed            string     // name that the client knows, for traces
	server, connection string     // connection is empty until one is chosen
	atCall             bool       // the connection is chosen for the caller (G-12)
	tool               *view.Tool // nil for other methods than tools/call
	at                 wire.Span  // of the value that is replaced; absent for none
	value              string     // what it is replaced with
	retryable          bool
	round              uint8  // how often the person was asked to connect the server
	judged             string // of a task: what its id says of its call
	empty              bool   // the server cannot answer, and an empty answer says so

	params   []byte         // of the request as its client has them: what states that it brings back are bound to
	came     *confirm.State // that the retry brought of an approval; nil for none
	said     confirm.Answer // of the person, with came
	person   time.Duration  // that a person was waited for
	approved string         // uid of the policy that the call was approved for; empty if none asked
	counted  bool           // against the limits of calls

	sink     func([]byte) error // takes what the client is told during the call
	reminded uint32             // how often it was told that the call waits for a person

	confirmed *confirm.State // what a client without a session brings back of a confirmation that was not used yet; nil for none

	// claim uses what was approved: the last that is asked before the call leaves. The reply is a question in its place. It is nil if
	// nothing was to approve.
	claim func(context.Context) (call.Reply, error)
	noted // for the audit

	told decisions // what policies decide

	// Memory of the passage that the target belongs to; nil: it has none.
	out  *call.Outbound
	scan *wire.Message
	room []byte
}

// find returns the target of a request. What the caller does not see is the same NotFound fault as what does not exist
// (RS-21).
func (d *Dispatcher) find(c *call.Caller, k *call.Call) (target, error) {
	p := &k.Message.P
	switch k.Method {
	case methodCallTool:
		tool := c.Snapshot.Tool(c.Gateway, k.Name)
		if tool == nil {
			return target{}, fault.Newf(fault.NotFound, ReasonUnknownTool, "Unknown tool: %s", k.Name)
		}
		return target{
			what: "tool", exposed: tool.Exposed, server: tool.Server, connection: tool.Connection, atCall: tool.AtCall, tool: tool,
			at: p.Name.Span, value: tool.Upstream, retryable: tool.Retryable,
		}, nil
	case methodGetPrompt:
		return findPrompt(c, k.Name, p.Name.Span)
	case methodRead, methodSubscribe, methodUnsubscribe:
		uri, _ := wire.DecodeString(p.URI.Of(k.Body))
		return findResource(c, uri, p.URI.Span)
	case methodComplete:
		return findReference(c, k)
	case methodTask, methodTaskResult, methodTaskUpdate, methodTaskCancel:
		return d.findTask(c, k)
	}
	return findAlone(c)
}

func findPrompt(c *call.Caller, name string, at wire.Span) (target, error) {
	prompt := c.Gateway.Prompt(name)
	if prompt == nil || c.Snapshot.Denied("server", prompt.Server) {
		return target{}, fault.Newf(fault.NotFound, ReasonUnknownPrompt, "Unknown prompt: %s", name)
	}
	return target{
		what: "prompt", exposed: prompt.Exposed, server: prompt.Server, connection: prompt.Connection, atCall: prompt.AtCall,
		at: at, value: prompt.Upstream, retryable: true,
	}, nil
}

func findResource(c *call.Caller, uri string, at wire.Span) (target, error) {
	f, upstream, ok := c.Gateway.RouteURI(uri)
	if !ok || c.Snapshot.Denied("server", f.Server) {
		return target{}, noResource()
	}
	return target{
		what: "resource", exposed: uri, server: f.Server, connection: f.Connection, atCall: f.AtCall, at: at, value: upstream, retryable: true,
	}, nil
}

func noResource() error {
	return fault.New(fault.NotFound, ReasonUnknownResource, "Resource not found")
}

// findReference finds the server of a completion by the prompt or the resource that it is for (M-53).
func findReference(c *call.Caller, k *call.Call) (t target, err error) {
	p := &k.Message.P
	if name, ok := wire.DecodeString(p.RefName.Of(k.Body)); ok && wire.EqualString(p.RefType.Of(k.Body), "ref/prompt") {
		t, err = findPrompt(c, name, p.RefName.Span)
	} else {
		uri, _ := wire.DecodeString(p.RefURI.Of(k.Body))
		if t, err = findResource(c, uri, p.RefURI.Span); err != nil { // a wrong parameter here, no resource that is missing
			err = fault.Newf(fault.Invalid, ReasonUnknownReference, "Unknown reference: %s", uri)
		}
	}
	if server := c.Snapshot.Server(t.server); err == nil && server != nil && !server.Capabilities.Completions {
		t.empty = true
	}
	return t, err
}

// findAlone finds the server for a method of an extension: the only one that the gateway has (M-60).
func findAlone(c *call.Caller) (target, error) {
	var found compile.Feature
	for _, t := range c.Gateway.Tools {
		if found.Server == "" {
			found = compile.Feature{Server: t.Server, Connection: t.Connection, AtCall: t.AtCall}
		}
		if t.Server != found.Server {
			return target{}, fault.New(fault.NotFound, ReasonUnknownMethod, "Method not found")
		}
	}
	for _, f := range c.Gateway.Features {
		if found.Server == "" || found.Connection == "" && !found.AtCall {
			found = f
		}
		if f.Server != found.Server {
			return target{}, fault.New(fault.NotFound, ReasonUnknownMethod, "Method not found")
		}
	}
	if found.Server == "" || c.Snapshot.Denied("server", found.Server) {
		return target{}, fault.New(fault.NotFound, ReasonUnknownMethod, "Method not found")
	}
	return target{what: whatMethod, server: found.Server, connection: found.Connection, atCall: found.AtCall}, nil
}

// locate finds the server and the connection of a target, which it notes in the target where it is chosen at the call. A
// deleted connection leaves the assignment in place; the call says which one is missing (G-11).
func locate(c *call.Caller, t *target) (*view.Server, *view.Connection, error) {
	s := c.Snapshot
	server := s.Server(t.server)
	if server == nil || s.Denied("server", t.server) {
		return nil, nil, fault.Newf(fault.Precondition, ReasonServerMissing,
			"The server %q behind this %s was removed. Ask an administrator of the gateway.", t.server, t.what)
	}
	if server.CallerOnly && c.Principal.Kind != ident.KindUser {
		return nil, nil, fault.Newf(fault.Precondition, ReasonRequiresUser,
			"This %s runs at %q as the person who calls it, and this token is nobody's. Call it as a person.", t.what, title(server))
	}
	if t.atCall {
		connection := s.Choose(c.Gateway, server, c.Principal)
		if connection == nil {
			return nil, nil, noConnection(c, server, t)
		}
		t.connection = connection.Name
		return server, connection, nil
	}
	connection := s.Connection(t.connection)
	if connection == nil || s.Denied("connection", t.connection) {
		return nil, nil, fault.Newf(fault.Precondition, ReasonConnectionMissing,
			"The connection %q that this %s runs with was deleted. Ask an administrator to create it again or to pin the %s to another one.",
			t.connection, t.what, t.what)
	}
	return server, connection, nil
}
